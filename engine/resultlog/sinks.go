package resultlog

import (
	"fmt"
	"io"
	"log/syslog"
)

// Stdout writes lines of both streams to W.
type Stdout struct{ W io.Writer }

// Name returns osquery's name of the logger.
func (s *Stdout) Name() string { return "stdout" }

// Write writes lines in one piece.
func (s *Stdout) Write(lines []Line) error {
	var text []byte
	for _, l := range lines {
		text = append(append(text, l.Text...), '\n')
	}
	_, err := s.W.Write(text)
	return err
}

// Syslog sends lines to the system's log (syslog(3)).
type Syslog struct {
	// Facility is from 0 to 23; osquery's default is 19, local3.
	Facility int
	// CEE puts @cee: before each line (logger_syslog_prepend_cee).
	CEE bool
	// Network and Address are those of a server, as net.Dial takes them; empty
	// for the host's own.
	Network, Address string

	log *syslog.Writer
}

// Name returns osquery's name of the logger.
func (s *Syslog) Name() string { return "syslog" }

// Close closes the connection; the next line opens another.
func (s *Syslog) Close() error {
	if s.log == nil {
		return nil
	}
	defer func() { s.log = nil }()
	return s.log.Close()
}

// Write sends lines at the level info. A line that was sent before one failed
// may come twice.
func (s *Syslog) Write(lines []Line) error {
	if s.log == nil {
		w, err := syslog.Dial(s.Network, s.Address, syslog.Priority(s.Facility<<3)|syslog.LOG_INFO, "osqueryd")
		if err != nil {
			return err
		}
		s.log = w
	}
	for _, l := range lines {
		text := l.Text
		if s.CEE {
			text = "@cee:" + text
		}
		if _, err := fmt.Fprint(s.log, text); err != nil {
			return err
		}
	}
	return nil
}

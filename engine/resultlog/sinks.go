package resultlog

import (
	"fmt"
	"io"
	"log/slog"
	"log/syslog"
	"sync"
)

// A StatusLine is a line of the status log as sinks take it.
type StatusLine struct {
	Level   slog.Level
	Message string
	// File and Line say where in the source the line comes from.
	File string
	Line int
}

// A StatusSink is a [Sink] that takes status lines as well. It is used by
// several goroutines at a time, and while Write runs.
type StatusSink interface {
	WriteStatus(StatusLine) error
}

// String returns the line in the form that osquery's loggers stdout and syslog
// give it.
func (l StatusLine) String() string {
	return fmt.Sprintf("severity=%d location=%s:%d message=%s", severity(l.Level), l.File, l.Line, l.Message)
}

// Stdout writes lines of both streams, and status lines, to W.
type Stdout struct {
	W io.Writer

	mu sync.Mutex
}

// Name returns osquery's name of the logger.
func (s *Stdout) Name() string { return "stdout" }

// Write writes lines in one piece.
func (s *Stdout) Write(lines []Line) error {
	var text []byte
	for _, l := range lines {
		text = append(append(text, l.Text...), '\n')
	}
	return s.write(text)
}

// WriteStatus writes a status line.
func (s *Stdout) WriteStatus(l StatusLine) error { return s.write([]byte(l.String() + "\n")) }

func (s *Stdout) write(text []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := s.W.Write(text)
	return err
}

// Syslog sends lines to the system's log (syslog(3)).
type Syslog struct {
	// Facility is from 0 to 23; osquery's default is 19, local3.
	Facility int
	// CEE puts @cee: before each line of results (logger_syslog_prepend_cee).
	CEE bool
	// Network and Address are those of a server, as net.Dial takes them; empty
	// for the host's own.
	Network, Address string

	mu  sync.Mutex
	log *syslog.Writer
}

// Name returns osquery's name of the logger.
func (s *Syslog) Name() string { return "syslog" }

// Close closes the connection; the next line opens another.
func (s *Syslog) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.log == nil {
		return nil
	}
	defer func() { s.log = nil }()
	return s.log.Close()
}

// dial connects, unless that is done.
func (s *Syslog) dial() (err error) {
	if s.log == nil {
		s.log, err = syslog.Dial(s.Network, s.Address, syslog.Priority(s.Facility<<3)|syslog.LOG_INFO, "osqueryd")
	}
	return err
}

// Write sends lines at the level info. A line that was sent before one failed
// may come twice.
func (s *Syslog) Write(lines []Line) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.dial(); err != nil {
		return err
	}
	for _, l := range lines {
		text := l.Text
		if s.CEE {
			text = "@cee:" + text
		}
		if err := s.log.Info(text); err != nil {
			return err
		}
	}
	return nil
}

// WriteStatus sends a status line at the level notice, warning or err, as
// osquery does.
func (s *Syslog) WriteStatus(l StatusLine) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.dial(); err != nil {
		return err
	}
	send := [3]func(string) error{s.log.Notice, s.log.Warning, s.log.Err}[severity(l.Level)]
	return send(l.String())
}

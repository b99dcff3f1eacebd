package resultlog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"
)

// Status is a [slog.Handler] that writes lines as osqueryd's status log has
// them, in the format of glog:
//
//	E1122 12:46:00.635376  8019 scheduler.go:128] Error executing scheduled query broken: no such table: nope
//
// The attributes query and error follow the message in osquery's words, others
// as name=value. Times are in UTC.
type Status struct {
	shared *statusShared
	attrs  []slog.Attr
	prefix string
}

type statusShared struct {
	mu     sync.Mutex
	config StatusConfig
	files  [3]*os.File
	broken bool
}

// A StatusConfig says where a [Status] writes. Its zero value writes nowhere.
type StatusConfig struct {
	// Dir is where the files osqueryd.INFO, .WARNING and .ERROR are, each a
	// link to a file of this process. A file has the lines of its level and of
	// those above. Empty stands for no files.
	Dir string
	// Mode is that of new files; 0 stands for 0640.
	Mode os.FileMode
	// Sinks take lines beside the files.
	Sinks []StatusSink
	// Min is the least level that goes to the files and sinks
	// (logger_min_status); lines below [slog.LevelInfo] never do.
	Min slog.Level
	// Stderr, if not nil, takes lines from the level MinStderr on
	// (logger_min_stderr); Human makes them short, for a terminal.
	Stderr    io.Writer
	MinStderr slog.Level
	Human     bool
}

// NewStatus returns a handler.
func NewStatus(c StatusConfig) *Status {
	c.Min = max(c.Min, slog.LevelInfo)
	return &Status{shared: &statusShared{config: c}}
}

// Enabled reports whether a level is written anywhere.
func (h *Status) Enabled(_ context.Context, level slog.Level) bool {
	c := &h.shared.config
	return (c.Dir != "" || len(c.Sinks) > 0) && level >= c.Min || c.Stderr != nil && level >= c.MinStderr
}

// WithAttrs returns a handler that adds attributes to each line.
func (h *Status) WithAttrs(attrs []slog.Attr) slog.Handler {
	copied := *h
	copied.attrs = append(append([]slog.Attr{}, h.attrs...), attrs...)
	return &copied
}

// WithGroup returns a handler that puts the name of a group before names.
func (h *Status) WithGroup(name string) slog.Handler {
	copied := *h
	copied.prefix += name + "."
	return &copied
}

// Handle writes a record. If a file or a sink fails, the line is on standard
// error at least, and so is the failure, once until all work again.
func (h *Status) Handle(_ context.Context, r slog.Record) error {
	text := h.text(r)
	s := h.shared
	s.mu.Lock()
	defer s.mu.Unlock()
	file, number := source(r)
	line := fmt.Sprintf("%c%s %5d %s:%d] %s\n", "IWE"[severity(r.Level)], r.Time.UTC().Format("0102 15:04:05.000000"), os.Getpid(), file, number, text)
	c := &s.config
	var err error
	if r.Level >= c.Min {
		err = s.writeFiles(r, line)
		for _, k := range c.Sinks {
			err = errors.Join(err, k.WriteStatus(StatusLine{Level: r.Level, Message: text, File: file, Line: number}))
		}
	}
	if c.Stderr != nil && (r.Level >= c.MinStderr || err != nil) {
		if c.Human {
			line = fmt.Sprintf("%s %-7s %s\n", r.Time.UTC().Format(time.TimeOnly), r.Level, text)
		}
		io.WriteString(c.Stderr, line)
		if err != nil && !s.broken {
			fmt.Fprintf(c.Stderr, "status log: %v\n", err)
		}
	}
	s.broken = err != nil
	return err
}

// text puts the attributes that osquery's messages name where they have them.
func (h *Status) text(r slog.Record) string {
	var b strings.Builder
	var query, failure string
	var rest []string
	collect := func(a slog.Attr) bool {
		switch a.Key {
		case "query":
			query = " " + a.Value.String()
		case "error":
			failure = ": " + a.Value.String()
		default:
			rest = append(rest, fmt.Sprintf(" %s%s=%s", h.prefix, a.Key, a.Value))
		}
		return true
	}
	for _, a := range h.attrs {
		collect(a)
	}
	r.Attrs(collect)
	b.WriteString(r.Message + query + failure)
	for _, a := range rest {
		b.WriteString(a)
	}
	return strings.ReplaceAll(b.String(), "\n", `\n`)
}

// severity returns glog's number of a level: 0 info, 1 warning, 2 error.
func severity(level slog.Level) int {
	switch {
	case level >= slog.LevelError:
		return 2
	case level >= slog.LevelWarn:
		return 1
	}
	return 0
}

// source returns the file and the line that made a record.
func source(r slog.Record) (file string, line int) {
	if r.PC == 0 {
		return "sockql", 0
	}
	frame, _ := runtime.CallersFrames([]uintptr{r.PC}).Next()
	return filepath.Base(frame.File), frame.Line
}

var severities = [3]string{"INFO", "WARNING", "ERROR"}

func (s *statusShared) writeFiles(r slog.Record, line string) error {
	if s.config.Dir == "" {
		return nil
	}
	var errs []error
	for i := range severity(r.Level) + 1 {
		if s.files[i] == nil {
			if err := s.open(i, r.Time.UTC()); err != nil {
				errs = append(errs, err)
				continue
			}
		}
		_, err := s.files[i].WriteString(line)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (s *statusShared) open(i int, now time.Time) error {
	mode := s.config.Mode
	if mode == 0 {
		mode = 0o640
	}
	link := filepath.Join(s.config.Dir, "osqueryd."+severities[i])
	path := fmt.Sprintf("%s.%s.%d", link, now.Format("20060102-150405"), os.Getpid())
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, mode)
	if err != nil {
		return err
	}
	host, _ := os.Hostname()
	fmt.Fprintf(file, "Log file created at: %s\nRunning on machine: %s\nRunning duration (h:mm:ss): 0:00:00\nLog line format: [IWEF]mmdd hh:mm:ss.uuuuuu threadid file:line] msg\n",
		now.Format("2006/01/02 15:04:05"), host)
	s.files[i] = file
	os.Remove(link)
	return os.Symlink(filepath.Base(path), link)
}

// Close closes the files.
func (h *Status) Close() error {
	h.shared.mu.Lock()
	defer h.shared.mu.Unlock()
	var errs []error
	for i, f := range h.shared.files {
		if f != nil {
			errs = append(errs, f.Close())
			h.shared.files[i] = nil
		}
	}
	return errors.Join(errs...)
}

package resultlog

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestSyslog(t *testing.T) {
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Skip(err)
	}
	defer server.Close()
	s := &Syslog{Facility: 19, CEE: true, Network: "udp", Address: server.LocalAddr().String()}
	defer s.Close()
	if err := s.Write([]Line{{Results, `{"name":"a"}`}, {Snapshots, `{"name":"b"}`}}); err != nil {
		t.Fatal(err)
	}
	log := slog.New(NewStatus(StatusConfig{Sinks: []StatusSink{s}, Min: slog.LevelWarn}))
	log.Info("not at this level")
	log.Warn("Scheduled query may have failed:", "query", "q")
	log.Error("Error executing scheduled query", "query", "q", "error", errors.New("no such table: nope"))
	server.SetReadDeadline(time.Now().Add(10 * time.Second))
	// The priority is local3, 19 * 8, and the level: 6 info, 4 warning, 3 err
	// (RFC 5424).
	for _, tt := range []struct{ priority, want string }{
		{"<158>", `^@cee:{"name":"a"}$`},
		{"<158>", `^@cee:{"name":"b"}$`},
		{"<156>", `^severity=1 location=sinks_test\.go:\d+ message=Scheduled query may have failed: q$`},
		{"<155>", `^severity=2 location=sinks_test\.go:\d+ message=Error executing scheduled query q: no such table: nope$`},
	} {
		buf := make([]byte, 1000)
		n, _, err := server.ReadFrom(buf)
		if err != nil {
			t.Fatal(err)
		}
		head, text, _ := strings.Cut(strings.TrimSpace(string(buf[:n])), "]: ")
		if !strings.HasPrefix(head, tt.priority) || !strings.Contains(head, " osqueryd[") || !regexp.MustCompile(tt.want).MatchString(text) {
			t.Errorf("message is %q, want %s and %s", buf[:n], tt.priority, tt.want)
		}
	}
	if err := s.WriteStatus(StatusLine{Level: slog.LevelInfo}); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1000)
	if n, _, err := server.ReadFrom(buf); err != nil || !strings.HasPrefix(string(buf[:n]), "<157>") {
		t.Errorf("an info line is %q, %v, and not a notice", buf[:n], err)
	}
	if err := (&Syslog{Network: "unixgram", Address: t.TempDir() + "/none"}).Write([]Line{{Results, "x"}}); err == nil {
		t.Error("a server that is not there takes lines")
	}
}

func TestStdout(t *testing.T) {
	var out, stderr bytes.Buffer
	s := &Stdout{W: &out}
	log := slog.New(NewStatus(StatusConfig{Sinks: []StatusSink{s}, Stderr: &stderr, MinStderr: slog.LevelError + 1}))
	log.Debug("never")
	log.Info("first\nline", "query", "q")
	if err := s.Write([]Line{{Results, "a"}, {Snapshots, "b"}}); err != nil {
		t.Fatal(err)
	}
	if want := `^severity=0 location=sinks_test\.go:\d+ message=first\\nline q\na\nb\n$`; !regexp.MustCompile(want).MatchString(out.String()) {
		t.Errorf("output is %q, want %s", out.String(), want)
	}
	// A line that a sink refuses is on standard error.
	log = slog.New(NewStatus(StatusConfig{Sinks: []StatusSink{&Stdout{W: brokenWriter{}}}, Stderr: &stderr, MinStderr: slog.LevelError + 1}))
	log.Info("one")
	log.Info("two")
	if got := stderr.String(); strings.Count(got, "status log: broken pipe") != 1 || strings.Count(got, "] one\n") != 1 || strings.Count(got, "] two\n") != 1 {
		t.Errorf("standard error is %q", got)
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

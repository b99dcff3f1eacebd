package resultlog

import (
	"net"
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
	server.SetReadDeadline(time.Now().Add(10 * time.Second))
	for _, want := range []string{`@cee:{"name":"a"}`, `@cee:{"name":"b"}`} {
		buf := make([]byte, 1000)
		n, _, err := server.ReadFrom(buf)
		if err != nil {
			t.Fatal(err)
		}
		// The priority is local3.info: 19 * 8 + 6 (RFC 5424).
		if got := strings.TrimSpace(string(buf[:n])); !strings.HasPrefix(got, "<158>") || !strings.Contains(got, " osqueryd[") || !strings.HasSuffix(got, "]: "+want) {
			t.Errorf("message is %q, want %q", got, want)
		}
	}
	if err := (&Syslog{Network: "unixgram", Address: t.TempDir() + "/none"}).Write([]Line{{Results, "x"}}); err == nil {
		t.Error("a server that is not there takes lines")
	}
}

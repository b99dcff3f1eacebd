package procfs

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"

	"sockql/fixtures"
	"sockql/tables/internal/socket"
)

// parseAll returns what a list makes of a text.
func parseAll(t *testing.T, kind socket.Kind, text []byte) ([]socket.Socket, *LineError) {
	t.Helper()
	l := list{
		lines:   lineReader{r: bytes.NewReader(text), buf: make([]byte, 4096)},
		decoder: newDecoder(kind, 7, 100),
	}
	var sockets []socket.Socket
	if err := l.each(func(s *socket.Socket) bool {
		sockets = append(sockets, *s)
		return true
	}); err != nil {
		t.Fatalf("a reader that does not fail: %v", err)
	}
	return sockets, l.bad
}

// fuzzList holds one parser to what must be so for any text.
func fuzzList(f *testing.F, file string, kind socket.Kind) {
	for _, text := range fixtures.Every(f, "net/"+file) {
		f.Add(text, uint(3), []byte("damaged"))
		f.Add(text, uint(1), []byte("\x00 :::: \xff"))
	}
	f.Fuzz(func(t *testing.T, text []byte, at uint, damage []byte) {
		sockets, bad := parseAll(t, kind, text)
		lines := strings.Count(string(text), "\n") + 1
		rejected := 0
		if bad != nil {
			rejected = 1 + bad.More
			if bad.Line < 2 || bad.Line > lines || bad.Err == nil {
				t.Fatalf("line %d of %d is said to be bad: %v", bad.Line, lines, bad.Err)
			}
		}
		if len(sockets)+rejected > lines {
			t.Fatalf("%d sockets and %d bad lines in %d lines", len(sockets), rejected, lines)
		}
		for _, s := range sockets {
			if s.Kind != kind || s.Family == 0 || s.Holder != nobody || s.Netns != 7 || s.Known&socket.FieldFamily == 0 {
				t.Fatalf("%+v", s)
			}
			if kind&socket.Inet != 0 && (s.Local.Is4() != (kind&socket.Inet4 != 0) || !s.Remote.IsValid()) {
				t.Fatalf("addresses of the wrong family: %+v", s)
			}
			if len(s.Path) > 4096 || kind != socket.Unix && s.Path != "" {
				t.Fatalf("path %q", s.Path)
			}
		}

		// A damaged line between two others costs nothing but itself. It must
		// not begin a line that is too long, and in the list of UNIX sockets it
		// looks like the beginning of one, since anything else may continue a name.
		damage = bytes.ReplaceAll(damage, []byte{'\n'}, []byte{'?'})
		if len(damage) > 1000 {
			damage = damage[:1000]
		}
		damage = append([]byte("ffffffffffffffff: ?"), damage...)
		split := slices.Collect(bytes.SplitSeq(text, []byte{'\n'}))
		i := int(at%uint(len(split))) + 1
		damaged := bytes.Join(slices.Insert(split, i, damage), []byte{'\n'})
		again, badAgain := parseAll(t, kind, damaged)
		if kind == socket.Unix {
			// Names that continue over the place of the damage lose their end.
			again, sockets = withoutContinued(again), withoutContinued(sockets)
		}
		if !slices.Equal(again, sockets) {
			t.Fatalf("%q after line %d: %d sockets became %d", damage, i, len(sockets), len(again))
		}
		if badAgain == nil {
			t.Fatalf("%q after line %d was not noticed", damage, i)
		}
	})
}

func withoutContinued(sockets []socket.Socket) []socket.Socket {
	for i := range sockets {
		if first, _, ok := strings.Cut(sockets[i].Path, "\n"); ok {
			sockets[i].Path = first
		}
		sockets[i].Known &^= socket.FieldPathExact
	}
	return sockets
}

func FuzzTCP(f *testing.F)     { fuzzList(f, "tcp", socket.TCP4) }
func FuzzTCP6(f *testing.F)    { fuzzList(f, "tcp6", socket.TCP6) }
func FuzzUDP(f *testing.F)     { fuzzList(f, "udp", socket.UDP4) }
func FuzzUDP6(f *testing.F)    { fuzzList(f, "udp6", socket.UDP6) }
func FuzzRaw(f *testing.F)     { fuzzList(f, "raw", socket.Raw4) }
func FuzzUnix(f *testing.F)    { fuzzList(f, "unix", socket.Unix) }
func FuzzPacket(f *testing.F)  { fuzzList(f, "packet", socket.Packet) }
func FuzzNetlink(f *testing.F) { fuzzList(f, "netlink", socket.Netlink) }

func FuzzStat(f *testing.F) {
	for _, text := range fixtures.Every(f, "stat") {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := parseStat(text)
		if err == nil && (!bytes.Contains(text, []byte("("+s.Comm+")")) || s.State == 0) {
			t.Fatalf("%+v", s)
		}
	})
}

func FuzzStatus(f *testing.F) {
	for _, text := range fixtures.Every(f, "status") {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := parseStatus(text)
		if err == nil && !bytes.Contains(text, []byte("Pid:")) {
			t.Fatalf("%+v of a file without Pid", s)
		}
		if strings.Count(s.Name, "")-1 > len(text) || len(s.NSPIDs)+len(s.Groups) > len(text) {
			t.Fatalf("%+v is more than the file holds", s)
		}
	})
}

func FuzzIO(f *testing.F) {
	for _, text := range fixtures.Every(f, "io") {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if io, err := parseIO(text); err == nil && !bytes.Contains(text, []byte("read_bytes:")) {
			t.Fatalf("%+v of a file without read_bytes", io)
		}
	})
}

func FuzzCgroups(f *testing.F) {
	for _, text := range fixtures.Every(f, "cgroup") {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		groups, err := parseCgroups(text)
		if len(groups) > bytes.Count(text, []byte{'\n'})+1 {
			t.Fatalf("%d groups in %q", len(groups), text)
		}
		if err != nil {
			return
		}
		for _, g := range groups {
			if !bytes.Contains(text, []byte(":"+g.Controllers+":"+g.Path)) {
				t.Fatalf("%+v is not in %q", g, text)
			}
		}
	})
}

func FuzzHidePID(f *testing.F) {
	f.Add([]byte("22 27 0:21 / /proc rw - proc proc rw,gid=7,hidepid=2\n"), uint32(0), uint32(21))
	f.Add([]byte("22 27 0:21 / /proc rw shared:1 master:2 - proc proc rw,hidepid=ptraceable"), uint32(0), uint32(21))
	f.Fuzz(func(t *testing.T, text []byte, major, minor uint32) {
		h, err := parseHidePID(text, major, minor)
		if err == nil && h.Hides() && !bytes.Contains(text, []byte("hidepid=")) {
			t.Fatalf("%+v of %q", h, text)
		}
	})
}

// The lines that a reader finds do not depend on how the text arrives.
func FuzzLines(f *testing.F) {
	f.Add([]byte("one\ntwo\n\nthree"), uint8(3))
	f.Add(bytes.Repeat([]byte("x"), 100), uint8(7))
	f.Fuzz(func(t *testing.T, text []byte, chunk uint8) {
		var got [][]byte
		l := lineReader{r: &chunkReader{text, int(chunk) + 1}, buf: make([]byte, 64)}
		for {
			line, err := l.next()
			if err == io.EOF {
				break
			}
			if err == errLineTooLong {
				line = nil
			}
			got = append(got, bytes.Clone(line))
		}
		want := slices.Collect(bytes.SplitSeq(text, []byte{'\n'}))
		if len(want[len(want)-1]) == 0 {
			want = want[:len(want)-1]
		}
		if len(got) != len(want) || l.number != len(want) {
			t.Fatalf("%d lines, numbered to %d, want %d", len(got), l.number, len(want))
		}
		for i := range got {
			if len(want[i]) < 64 && !bytes.Equal(got[i], want[i]) || len(want[i]) > 64 && len(got[i]) > 0 {
				t.Fatalf("line %d: %q, want %q", i+1, got[i], want[i])
			}
		}
	})
}

type chunkReader struct {
	text []byte
	size int
}

func (r *chunkReader) Read(b []byte) (int, error) {
	if len(r.text) == 0 {
		return 0, io.EOF
	}
	n := copy(b, r.text[:min(r.size, len(r.text))])
	r.text = r.text[n:]
	return n, nil
}

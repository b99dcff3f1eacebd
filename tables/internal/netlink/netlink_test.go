package netlink

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"sockql/tables/internal/recording"
)

// A script answers each request with the next datagrams.
type script struct {
	answers [][]byte
	sent    int
	closed  bool
}

func (s *script) Send([]byte) error { s.sent++; return nil }
func (s *script) Close() error      { s.closed = true; return nil }

func (s *script) Receive(buf []byte) (int, error) {
	if len(s.answers) == 0 {
		return 0, syscall.ENOBUFS
	}
	d := s.answers[0]
	s.answers = s.answers[1:]
	copy(buf, d)
	return len(d), nil
}

// silent is a kernel that lets the time limit pass.
type silent struct{}

func (silent) Send([]byte) error           { return nil }
func (silent) Receive([]byte) (int, error) { return 0, unix.EAGAIN }
func (silent) Close() error                { return nil }

// A socket to the kernel has the time limit set.
func TestTimeLimit(t *testing.T) {
	s, err := Open(unix.NETLINK_ROUTE)
	if err != nil {
		t.Skip(err)
	}
	defer s.Close()
	limit, err := unix.GetsockoptTimeval(int(s), unix.SOL_SOCKET, unix.SO_RCVTIMEO)
	if err != nil || limit.Sec != Timeout {
		t.Errorf("%+v, %v; want %d s", limit, err, Timeout)
	}
}

func encode(kind, flags uint16, seq uint32, payload ...byte) []byte {
	return Append(nil, Message{Type: kind, Flags: flags, Seq: seq, Payload: payload})
}

// objects is the type of the messages of a made-up list.
const objects = 100

func named(name string) []byte { return AppendAttribute(nil, 1, []byte(name)) }

// parseName takes messages apart whose first attribute is a name.
func parseName(b []byte, all []string) ([]string, error) {
	var name string
	if err := Attributes(b, func(a Attribute) { name = a.Text() }); err != nil {
		return all, err
	}
	return append(all, name), nil
}

func TestList(t *testing.T) {
	done := func(seq uint32) []byte { return encode(unix.NLMSG_DONE, unix.NLM_F_MULTI, seq, 0, 0, 0, 0) }
	first := encode(objects, unix.NLM_F_MULTI, 1, named("one")...)
	for name, test := range map[string]struct {
		answers [][]byte
		want    string // names of links
		err     error
		part    string // of the error
	}{
		"several datagrams":  {[][]byte{append(slices.Clone(first), encode(objects, unix.NLM_F_MULTI, 1, named("two")...)...), done(1)}, "one two", nil, ""},
		"an old answer":      {[][]byte{encode(objects, 0, 9, named("old")...), first, done(1)}, "one", nil, ""},
		"refused":            {[][]byte{encode(unix.NLMSG_ERROR, 0, 1, 0xff, 0xff, 0xff, 0xff)}, "", syscall.EPERM, ""},
		"refused at the end": {[][]byte{first, encode(unix.NLMSG_DONE, 0, 1, binary.NativeEndian.AppendUint32(nil, ^uint32(unix.ENOENT)+1)...)}, "one", syscall.ENOENT, ""},
		"lost":               {[][]byte{first}, "one", syscall.ENOBUFS, ""},
		"one is short":       {[][]byte{encode(objects, 0, 1, 1, 2, 3), first, done(1)}, "one", ErrShort, "attribute"},
		"a wrong length":     {[][]byte{{4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}}, "", nil, "message of 16 bytes"},
		"half a header":      {[][]byte{{1}}, "", ErrShort, ""},
		"too long":           {[][]byte{make([]byte, BufferSize+1)}, "", nil, "datagram of"},
		"interrupted once": {[][]byte{
			encode(objects, unix.NLM_F_DUMP_INTR, 1, named("gone")...), done(1),
			encode(objects, 0, 2, named("one")...), done(2)}, "one", nil, ""},
		"interrupted always": {[][]byte{
			encode(unix.NLMSG_DONE, unix.NLM_F_DUMP_INTR, 1), encode(unix.NLMSG_DONE, unix.NLM_F_DUMP_INTR, 2), encode(unix.NLMSG_DONE, unix.NLM_F_DUMP_INTR, 3),
			encode(unix.NLMSG_DONE, unix.NLM_F_DUMP_INTR, 4), encode(unix.NLMSG_DONE, unix.NLM_F_DUMP_INTR, 5)}, "", ErrInterrupted, ""},
	} {
		s := &script{answers: test.answers}
		c := New(s)
		names, err := List(t.Context(), c, objects, nil, parseName)
		if strings.Join(names, " ") != test.want {
			t.Errorf("%s: %q, want %q", name, names, test.want)
		}
		if wrong := test.err == nil && test.part == "" && err != nil || test.err != nil && !errors.Is(err, test.err) ||
			test.part != "" && (err == nil || !strings.Contains(err.Error(), test.part)); wrong {
			t.Errorf("%s: error %v", name, err)
		}
		if c.Close(); !s.closed {
			t.Errorf("%s: not closed", name)
		}
	}
	if _, err := List(t.Context(), New(silent{}), objects, nil, parseName); !errors.Is(err, unix.EAGAIN) || !strings.Contains(err.Error(), "no answer within 10 s") {
		t.Errorf("a kernel that does not answer: %v", err)
	}
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if _, err := List(ctx, New(&script{}), objects, nil, parseName); !errors.Is(err, why) {
		t.Errorf("a cancelled dump: %v", err)
	}
}

// What crosses a tap answers the same questions again.
func TestReplay(t *testing.T) {
	done := encode(unix.NLMSG_DONE, unix.NLM_F_MULTI, 1, 0, 0, 0, 0)
	tap := &Tap{Transport: &script{answers: [][]byte{encode(objects, 0, 1, named("one")...), done}}}
	if names, err := List(t.Context(), New(tap), objects, []byte{1}, parseName); err != nil || len(names) != 1 || tap.Stalled {
		t.Fatalf("%q, %v, stalled %v", names, err, tap.Stalled)
	}
	for range 2 {
		c := New(Replay(tap.Exchanges))
		for range 2 { // with other numbers
			if names, err := List(t.Context(), c, objects, []byte{1}, parseName); err != nil || !slices.Equal(names, []string{"one"}) {
				t.Errorf("replayed: %q, %v", names, err)
			}
		}
		for _, other := range []struct {
			kind    uint16
			request []byte
		}{{objects, []byte{2}}, {objects + 1, []byte{1}}} {
			if names, err := List(t.Context(), c, other.kind, other.request, parseName); !errors.Is(err, unix.ENODATA) {
				t.Errorf("not recorded: %q, %v", names, err)
			}
		}
	}
	cut := []recording.Exchange{{Request: tap.Exchanges[0].Request, Answers: tap.Exchanges[0].Answers[:1]}}
	if _, err := List(t.Context(), New(Replay(cut)), objects, []byte{1}, parseName); err == nil {
		t.Error("an answer without end")
	}
}

func FuzzNext(f *testing.F) {
	f.Add(encode(objects, 0, 1, named("one")...))
	f.Add([]byte{1, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		for m, rest := Next(b); m.Payload != nil; m, rest = Next(rest) {
			again, more := Next(Append(nil, m))
			if again.Type != m.Type || again.Seq != m.Seq || !bytes.Equal(again.Payload, m.Payload) || len(more) > 0 {
				t.Fatalf("%+v became %+v", m, again)
			}
			for typ, v, rest := NextAttribute(m.Payload); v != nil; typ, v, rest = NextAttribute(rest) {
				if gotType, got, _ := NextAttribute(AppendAttribute(nil, typ, v)); gotType != typ || !bytes.Equal(got, v) {
					t.Fatalf("attribute %d % x became %d % x", typ, v, gotType, got)
				}
			}
		}
	})
}

package sockdiag

import (
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sockql/tables/internal/netlink"
	"sockql/tables/internal/recording"
	"sockql/tables/internal/socket"
)

// inetMsg is the answer for an inet socket.
func inetMsg(family uint8, cookie uint32, local string) []byte {
	b := make([]byte, inetMsgSize)
	b[0], b[1] = family, socket.StateEstablished
	copy(b[8:], netip.MustParseAddr(local).AsSlice())
	binary.NativeEndian.PutUint32(b[44:], cookie)
	return msg(unix.SOCK_DIAG_BY_FAMILY, 0, b)
}

func exchange(list int, answers ...[]byte) recording.Exchange {
	req := socket.Everything()
	request := lists[list].request(nil, &lists[list], &req, nil)
	binary.NativeEndian.PutUint32(request, uint32(len(request)))
	return recording.Exchange{Request: request, Answers: answers}
}

const (
	listTCP  = 0 // both families
	listUnix = 15
)

func TestReplayLists(t *testing.T) {
	if lists[listUnix].name != "unix" || lists[listTCP].name != "tcp and tcp6" {
		t.Fatal("the lists have moved")
	}
	both := exchange(listTCP, join(inetMsg(unix.AF_INET, 1, "10.0.0.1"), inetMsg(unix.AF_INET6, 2, "fd00::1")), join(inetMsg(unix.AF_INET, 3, "10.0.0.2"), doneMsg))
	for name, c := range map[string]struct {
		exchanges []recording.Exchange
		kinds     socket.Kind
		want      result
	}{
		"both":   {[]recording.Exchange{both}, socket.TCP4 | socket.TCP6, result{cookies: []uint64{1, 2, 3}, answered: socket.TCP4 | socket.TCP6}},
		"four":   {[]recording.Exchange{both}, socket.TCP4, result{cookies: []uint64{1, 3}, answered: socket.TCP4}},
		"six":    {[]recording.Exchange{both}, socket.TCP6, result{cookies: []uint64{2}, answered: socket.TCP6}},
		"others": {[]recording.Exchange{both, exchange(listUnix, join(unixMsg(0, 7), doneMsg))}, socket.Unix, result{cookies: []uint64{7}, answered: socket.Unix}},
		"not recorded": {[]recording.Exchange{both}, socket.Unix,
			result{warnings: []string{"sockdiag: dump unix: no data available"}}},
		"refused": {[]recording.Exchange{exchange(listUnix, errnoMsg(unix.NLMSG_ERROR, unix.ENOENT))}, socket.Unix, result{}},
		"garbled request": {[]recording.Exchange{{Request: []byte("short"), Answers: [][]byte{doneMsg}}}, socket.Unix,
			result{warnings: []string{"sockdiag: dump unix: no data available"}}},
	} {
		got := dumpFake(new(Support).Replay(c.exchanges, 9), c.kinds)
		if got.err != nil || got.answered != c.want.answered || !slices.Equal(got.cookies, c.want.cookies) || !slices.Equal(got.warnings, c.want.warnings) {
			t.Errorf("%s: got %+v, want %+v", name, got, c.want)
		}
	}
	// An answer without an end must not be waited for.
	got := dumpFake(new(Support).Replay([]recording.Exchange{exchange(listUnix, unixMsg(0, 7))}, 9), socket.Unix)
	if got.err == nil || !strings.Contains(got.err.Error(), "has no end") {
		t.Errorf("an answer without an end: %+v", got)
	}
}

// TestRecordKeepsWholeAnswers has the kernel run out of memory in a dump, and a
// list change while it is written: of both the last, whole answer is kept.
func TestRecordKeepsWholeAnswers(t *testing.T) {
	k := &listKernel{answers: map[string][][]any{
		"unix": {
			{unixMsg(0, 1), unix.ENOBUFS, join(unixMsg(0, 2), doneMsg)},
			{errnoMsg(unix.NLMSG_ERROR, unix.EBUSY)},
			{join(unixMsg(0, 1), unixMsg(0, 2), doneMsg)},
			{join(unixMsg(unix.NLM_F_DUMP_INTR, 1), doneMsg)},
			{join(unixMsg(0, 1), unixMsg(0, 2), unixMsg(0, 3), doneMsg)},
		},
	}}
	c := new(Support).New(k, 9)
	exchanges, err := c.Record(context.Background(), func(error) {}, func(*socket.Socket) {})
	if err != nil {
		t.Fatal(err)
	}
	got := dumpFake(new(Support).Replay(exchanges, 9), socket.Unix)
	if want := []uint64{1, 2, 3}; !slices.Equal(got.cookies, want) || got.err != nil || got.warnings != nil {
		t.Errorf("got %+v, want %v", got, want)
	}
}

// A listKernel has answers for some lists and refuses the others.
type listKernel struct {
	fakeKernel
	answers map[string][][]any
}

func (k *listKernel) Send(request []byte) error {
	answer := []any{errnoMsg(unix.NLMSG_ERROR, unix.ENOENT)}
	if m, _ := netlink.Next(request); len(m.Payload) > 0 && m.Payload[0] == unix.AF_UNIX && len(k.answers["unix"]) > 0 {
		answer = k.answers["unix"][0]
		k.answers["unix"] = k.answers["unix"][1:]
	}
	k.fakeKernel.answers = [][]any{answer}
	return k.fakeKernel.Send(request)
}

// upside is a scrubber that can be told by its results.
type upside struct{}

func (upside) Addr(a netip.Addr) netip.Addr { return a.Next() }
func (upside) Path(p string) string {
	if strings.HasPrefix(p, "\x00") {
		return "\x00hidden"
	}
	return "/hidden"
}

func TestScrub(t *testing.T) {
	named := func(name string) []byte {
		m := unixMsg(0, 7)
		payload := netlink.AppendAttribute(slices.Clone(m[headerSize:]), unixDiagName, []byte(name))
		payload = netlink.AppendAttribute(payload, unixDiagUID, []byte{9, 0, 0, 0})
		payload = netlink.AppendAttribute(payload, 1, []byte("an attribute that nobody knows"))
		return msg(unix.SOCK_DIAG_BY_FAMILY, 0, payload)
	}
	exchanges := []recording.Exchange{
		exchange(listTCP, join(inetMsg(unix.AF_INET, 1, "10.0.0.1"), inetMsg(unix.AF_INET6, 2, "fd00::1"), doneMsg)),
		exchange(listUnix, join(named("/run/secret\x00"), named("\x00secret"), msg(unix.SOCK_DIAG_BY_FAMILY, 0, []byte("secret")), doneMsg)),
		{Request: []byte("secret?"), Answers: [][]byte{[]byte("secret")}},
	}
	scrubbed := Scrub(exchanges, upside{})
	for _, x := range scrubbed {
		for _, a := range x.Answers {
			if strings.Contains(string(a), "secret") || strings.Contains(string(a), "nobody knows") {
				t.Errorf("left in %q", a)
			}
		}
	}
	var got []string
	req := socket.Everything()
	_, err := new(Support).Replay(scrubbed, 9).Dump(context.Background(), &req, nil, func(s *socket.Socket) bool {
		switch {
		case s.Kind == socket.Unix:
			got = append(got, s.Path)
			if s.UID != 9 {
				t.Errorf("%q: user %d", s.Path, s.UID)
			}
		default:
			got = append(got, s.Local.String())
		}
		return true
	})
	if err != nil && !errors.Is(err, unix.EAGAIN) {
		t.Error(err)
	}
	if want := []string{"10.0.0.2", "fd00::2", "/hidden", "\x00hidden"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	s := socket.Socket{Local: netip.MustParseAddr("10.0.0.1"), Path: "/run/secret"}
	ScrubSocket(&s, upside{})
	if s.Local.String() != "10.0.0.2" || s.Remote.IsValid() || s.Path != "/hidden" {
		t.Errorf("socket %+v", s)
	}
}

func TestMarshalSocket(t *testing.T) {
	want := socket.Socket{
		Known: socket.AllFields, Kind: socket.Unix, Inode: 1 << 60, Cookie: 7, Path: "\x00not \xff UTF-8", PathAbstract: true,
		Local: netip.MustParseAddr("fe80::1"), LocalPort: 65535, Holder: socket.Holder{PID: -1, TID: -1, FD: -1},
	}
	b, err := MarshalSocket(&want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := UnmarshalSocket(b)
	if err != nil || *got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if _, err := UnmarshalSocket([]byte(`{"Path":7}`)); err == nil {
		t.Error("a number is taken for a path")
	}
}

// FuzzReplay replays and scrubs whatever stands in a recording.
func FuzzReplay(f *testing.F) {
	x := exchange(listUnix, join(unixMsg(0, 7), doneMsg))
	f.Add(x.Request, x.Answers[0])
	x = exchange(listTCP, join(inetMsg(unix.AF_INET, 1, "10.0.0.1"), doneMsg))
	f.Add(x.Request, x.Answers[0])
	f.Fuzz(func(t *testing.T, request, answer []byte) {
		exchanges := []recording.Exchange{{Request: request, Answers: [][]byte{answer}}}
		for _, exchanges := range [][]recording.Exchange{exchanges, Scrub(exchanges, upside{})} {
			if got := dumpFake(new(Support).Replay(exchanges, 9), socket.AllKinds); got.err == nil && got.answered == 0 && len(got.cookies) > 0 {
				t.Errorf("sockets of lists that were not answered: %+v", got)
			}
		}
	})
}

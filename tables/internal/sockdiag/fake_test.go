package sockdiag

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sockql/tables/internal/netlink"
	"sockql/tables/internal/socket"
)

// A fakeKernel answers each request with the next of its answers, which are
// sequences of datagrams, and errors in place of datagrams.
type fakeKernel struct {
	answers  [][]any // []byte with sequence numbers left out, or error
	queue    []any
	forbid   error // what sending fails with
	requests [][]byte
	closed   bool
}

func (k *fakeKernel) Send(request []byte) error {
	k.requests = append(k.requests, slices.Clone(request))
	if k.forbid != nil {
		return k.forbid
	}
	if len(k.answers) == 0 {
		return errors.New("an unexpected request")
	}
	seq := binary.NativeEndian.Uint32(request[8:])
	answer := k.answers[0]
	k.answers = k.answers[1:]
	for _, a := range answer {
		if b, ok := a.([]byte); ok {
			a = number(b, seq)
		}
		k.queue = append(k.queue, a)
	}
	return nil
}

// number fills in the sequence number of each message that has none.
func number(b []byte, seq uint32) []byte {
	b = slices.Clone(b)
	for at := 0; at+headerSize <= len(b); {
		if binary.NativeEndian.Uint32(b[at+8:]) == 0 {
			binary.NativeEndian.PutUint32(b[at+8:], seq)
		}
		n := int(binary.NativeEndian.Uint32(b[at:]))
		if n < headerSize {
			break
		}
		at += netlink.Align(n)
	}
	return b
}

func (k *fakeKernel) Receive(buf []byte) (int, error) {
	if len(k.queue) == 0 {
		return 0, unix.EAGAIN
	}
	a := k.queue[0]
	k.queue = k.queue[1:]
	if err, ok := a.(error); ok {
		return 0, err
	}
	copy(buf, a.([]byte))
	return len(a.([]byte)), nil
}

func (k *fakeKernel) Close() error { k.closed = true; return nil }

func msg(typ, flags uint16, payload []byte) []byte {
	b := binary.NativeEndian.AppendUint32(nil, uint32(headerSize+len(payload)))
	b = binary.NativeEndian.AppendUint16(b, typ)
	b = binary.NativeEndian.AppendUint16(b, flags)
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0)
	b = append(b, payload...)
	return append(b, make([]byte, netlink.Align(len(b))-len(b))...)
}

func errnoMsg(typ uint16, errno unix.Errno) []byte {
	return msg(typ, 0, binary.NativeEndian.AppendUint32(nil, uint32(-int32(errno))))
}

// unixMsg is the answer for a UNIX socket.
func unixMsg(flags uint16, cookie uint32) []byte {
	b := make([]byte, unixMsgSize)
	b[0], b[1], b[2] = unix.AF_UNIX, unix.SOCK_STREAM, socket.StateEstablished
	binary.NativeEndian.PutUint32(b[4:], cookie+1000)
	binary.NativeEndian.PutUint32(b[8:], cookie)
	return msg(unix.SOCK_DIAG_BY_FAMILY, flags, b)
}

var doneMsg = errnoMsg(unix.NLMSG_DONE, 0)

// result is what a dump over a fake kernel gave.
type result struct {
	cookies  []uint64
	answered socket.Kind
	warnings []string
	err      error
}

func dumpFake(c *Conn, kinds socket.Kind) (r result) {
	req := everything(kinds)
	r.answered, r.err = c.Dump(context.Background(), &req, func(err error) { r.warnings = append(r.warnings, err.Error()) },
		func(s *socket.Socket) bool {
			r.cookies = append(r.cookies, s.Cookie)
			return true
		})
	return r
}

func join(b ...[]byte) []byte { return slices.Concat(b...) }

func TestDumpAnswers(t *testing.T) {
	const intr = unix.NLM_F_DUMP_INTR
	one, two, three := unixMsg(0, 1), unixMsg(0, 2), unixMsg(0, 3)
	interrupted := []any{join(unixMsg(intr, 1), two), doneMsg}
	for name, test := range map[string]struct {
		answers  [][]any
		cookies  []uint64
		answered bool
		warning  string // part of the only one
		err      string // part of it
		requests int
	}{
		"multipart": {answers: [][]any{{join(one, two), three, doneMsg}}, cookies: []uint64{1, 2, 3}, answered: true, requests: 1},
		"done in the same datagram": {
			answers: [][]any{{join(one, doneMsg)}}, cookies: []uint64{1}, answered: true, requests: 1},
		"done without a number": {answers: [][]any{{msg(unix.NLMSG_DONE, 0, nil)}}, answered: true, requests: 1},
		"refused":               {answers: [][]any{{errnoMsg(unix.NLMSG_ERROR, unix.ENOENT)}}, requests: 1},
		"refused in done":       {answers: [][]any{{errnoMsg(unix.NLMSG_DONE, unix.EOPNOTSUPP)}}, requests: 1},
		"denied": {
			answers: [][]any{{errnoMsg(unix.NLMSG_ERROR, unix.EPERM)}}, warning: "operation not permitted", requests: 1},
		"fails in the middle": {
			answers: [][]any{{one, errnoMsg(unix.NLMSG_DONE, unix.ENOMEM)}}, cookies: []uint64{1}, answered: true,
			warning: "the rest is missing", requests: 1},
		"short message": {
			answers: [][]any{{join(one, msg(20, 0, []byte{1, 2, 3}), two), doneMsg}}, cookies: []uint64{1, 2}, answered: true,
			warning: "1 messages are too short", requests: 1},
		"garbled datagram": {answers: [][]any{{join(one, []byte{3, 0, 0, 0}), doneMsg}}, cookies: []uint64{1}, answered: true, requests: 1},
		"noop":             {answers: [][]any{{join(msg(unix.NLMSG_NOOP, 0, nil), one), doneMsg}}, cookies: []uint64{1}, answered: true, requests: 1},
		"interrupted once": {
			answers: [][]any{interrupted, {join(one, two, three), doneMsg}}, cookies: []uint64{1, 2, 3}, answered: true, requests: 2},
		"interrupted at the end": {
			answers: [][]any{{join(one, msg(unix.NLMSG_DONE, intr, []byte{0, 0, 0, 0}))}, {join(one, two), doneMsg}},
			cookies: []uint64{1, 2}, answered: true, requests: 2},
		"interrupted always": {
			answers: [][]any{interrupted, interrupted, interrupted, interrupted}, cookies: []uint64{1, 2}, answered: true,
			warning: "the list changed", requests: 1 + maxRepeats},
		"stalled": {
			answers: [][]any{{one, unix.ENOBUFS}, {errnoMsg(unix.NLMSG_ERROR, unix.EBUSY), number(join(two, doneMsg), 1)}, {join(one, two, three), doneMsg}},
			cookies: []uint64{1, 2, 3}, answered: true, requests: 3},
		"stalled and lost": {
			answers: [][]any{{one, unix.ENOBUFS}, {join(one, two), doneMsg}, {join(one, two), doneMsg}},
			cookies: []uint64{1, 2}, answered: true, requests: 3},
		"stalled always": {
			answers: [][]any{{unix.ENOBUFS, unix.ENOBUFS, unix.ENOBUFS, unix.ENOBUFS}, {}, {}, {}},
			warning: "no buffer space", requests: 1 + maxRepeats},
		"too long":  {answers: [][]any{{make([]byte, netlink.BufferSize+1)}}, err: "too long", requests: 1},
		"no answer": {answers: [][]any{{}}, err: "no answer within 10 s", requests: 1},
	} {
		t.Run(name, func(t *testing.T) {
			k := &fakeKernel{answers: test.answers}
			r := dumpFake(new(Support).New(k, 5), socket.Unix)
			if !slices.Equal(r.cookies, test.cookies) {
				t.Errorf("got %d, want %d", r.cookies, test.cookies)
			}
			if got := r.answered == socket.Unix; got != test.answered {
				t.Errorf("answered %v, want %v", got, test.answered)
			}
			warning := strings.Join(r.warnings, "; ")
			if (warning == "") != (test.warning == "") || !strings.Contains(warning, test.warning) || len(r.warnings) > 1 {
				t.Errorf("warnings %q, want one with %q", r.warnings, test.warning)
			}
			if (r.err == nil) != (test.err == "") || r.err != nil && !strings.Contains(r.err.Error(), test.err) {
				t.Errorf("error %v, want one with %q", r.err, test.err)
			}
			if len(k.requests) != test.requests {
				t.Errorf("%d requests, want %d", len(k.requests), test.requests)
			}
		})
	}
}

func TestSupportRemembersConclusiveRefusals(t *testing.T) {
	for errno, conclusive := range map[unix.Errno]bool{
		unix.ENOENT: true, unix.EINVAL: true, unix.EOPNOTSUPP: true, unix.EPERM: false, unix.ENOMEM: false,
	} {
		var support Support
		first := &fakeKernel{answers: [][]any{{errnoMsg(unix.NLMSG_ERROR, errno)}}}
		c := support.New(first, 0)
		dumpFake(c, socket.Vsock)
		if got := c.Refusals(); len(got) != 1 || got[0].Kinds != socket.Vsock || got[0].Err != errno {
			t.Errorf("%v: refusals %v", errno, got)
		}
		second := &fakeKernel{answers: [][]any{{doneMsg}}}
		r := dumpFake(support.New(second, 0), socket.Vsock)
		if asked := len(second.requests) == 1; asked == conclusive || asked != (r.answered == socket.Vsock) {
			t.Errorf("%v: asked again %v, answered %#x", errno, asked, r.answered)
		}
	}
}

func TestTCPFallsBackToTwoDumps(t *testing.T) {
	k := &fakeKernel{answers: [][]any{{errnoMsg(unix.NLMSG_ERROR, unix.EINVAL)}, {doneMsg}, {doneMsg}}}
	c := new(Support).New(k, 0)
	r := dumpFake(c, socket.TCP4|socket.TCP6)
	if r.answered != socket.TCP4|socket.TCP6 || len(k.requests) != 3 || len(c.Refusals()) != 0 {
		t.Errorf("answered %#x with %d requests, refusals %v", r.answered, len(k.requests), c.Refusals())
	}
}

func TestFilterIsLeftOutIfRefused(t *testing.T) {
	k := &fakeKernel{answers: [][]any{{errnoMsg(unix.NLMSG_ERROR, unix.EINVAL)}, {doneMsg}, {doneMsg}}}
	c := new(Support).New(k, 0)
	req := everything(socket.TCP4 | socket.UDP4)
	req.LocalPorts = socket.Ports{Restricted: true, Lo: 80, Hi: 80}
	answered, err := c.Dump(t.Context(), &req, nil, func(*socket.Socket) bool { return true })
	if err != nil || answered != req.Kinds || len(c.Refusals()) != 0 {
		t.Errorf("answered %#x, %v, refusals %v", answered, err, c.Refusals())
	}
	if len(k.requests) != 3 || len(k.requests[0]) <= len(k.requests[1]) || len(k.requests[1]) != len(k.requests[2]) {
		t.Errorf("%d requests, want one with a filter and two without", len(k.requests))
	}
}

func TestListenersNeedNoDatagramLists(t *testing.T) {
	k := &fakeKernel{answers: [][]any{{doneMsg}}}
	req := everything(socket.TCP4 | socket.TCP6 | socket.UDP4 | socket.UDP6)
	req.States = 1 << socket.StateListen
	answered, err := new(Support).New(k, 0).Dump(t.Context(), &req, nil, func(*socket.Socket) bool { return true })
	if err != nil || answered != req.Kinds || len(k.requests) != 1 {
		t.Fatalf("answered %#x with %d requests, %v", answered, len(k.requests), err)
	}
	// struct inet_diag_req: the states follow the socket's identity.
	if states := uint32At(k.requests[0], headerSize+4+sockIDSize); states != 1<<socket.StateListen {
		t.Errorf("asked for the states %#x", states)
	}
}

func TestStoppedDumpIsDrained(t *testing.T) {
	k := &fakeKernel{answers: [][]any{
		{join(unixMsg(0, 1), unixMsg(0, 2)), unixMsg(0, 3), doneMsg},
		{unixMsg(0, 4), doneMsg},
	}}
	c := new(Support).New(k, 0)
	req := everything(socket.Unix)
	n := 0
	if _, err := c.Dump(t.Context(), &req, nil, func(*socket.Socket) bool { n++; return false }); err != nil || n != 1 {
		t.Fatalf("%d sockets, %v", n, err)
	}
	if r := dumpFake(c, socket.Unix); !slices.Equal(r.cookies, []uint64{4}) || r.err != nil {
		t.Errorf("got %d, %v", r.cookies, r.err)
	}
}

func TestStoppedDumpStopsReading(t *testing.T) {
	k := &fakeKernel{answers: [][]any{{unixMsg(0, 1), unixMsg(0, 2), doneMsg}}}
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("the reason")
	req := everything(socket.AllKinds)
	req.Kinds = socket.Unix | socket.Packet
	n := 0
	answered, err := new(Support).New(k, 0).Dump(ctx, &req, nil, func(*socket.Socket) bool {
		n++
		cancel(cause)
		return true
	})
	if err != cause || n != 1 || len(k.queue) != 2 || answered != 0 {
		t.Errorf("error %v after %d sockets, %d datagrams left, answered %#x", err, n, len(k.queue), answered)
	}
}

func TestForbiddenRequests(t *testing.T) {
	r := dumpFake(new(Support).New(&fakeKernel{forbid: unix.EACCES}, 0), socket.Unix|socket.Packet)
	if r.err != nil || r.answered != 0 || len(r.warnings) != 2 || !strings.Contains(r.warnings[0], "permission denied") {
		t.Errorf("a security module's refusal: answered %#x, warnings %q, %v", r.answered, r.warnings, r.err)
	}
	r = dumpFake(new(Support).New(&fakeKernel{forbid: unix.EBADF}, 0), socket.Unix|socket.Packet)
	if !errors.Is(r.err, unix.EBADF) || r.answered != 0 {
		t.Errorf("a closed socket: answered %#x, %v", r.answered, r.err)
	}
}

func TestForeignAnswersAreIgnored(t *testing.T) {
	stale := number(join(unixMsg(0, 9), doneMsg), 1<<31)
	k := &fakeKernel{answers: [][]any{{stale, unixMsg(0, 1), doneMsg}}}
	c := new(Support).New(k, 0)
	r := dumpFake(c, socket.Unix)
	if !slices.Equal(r.cookies, []uint64{1}) || r.err != nil {
		t.Errorf("got %d, %v", r.cookies, r.err)
	}
	if err := c.Close(); err != nil || !k.closed {
		t.Error("not closed")
	}
}

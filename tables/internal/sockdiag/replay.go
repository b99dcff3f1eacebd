package sockdiag

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"sockql/tables/internal/recording"
	"sockql/tables/internal/socket"
)

// maxRecords bounds how often all lists are asked for anew because the kernel
// ran out of memory in the middle of one: an answer in two parts cannot be
// replayed.
const maxRecords = 3

// Record asks for every list that the kernel has, whole and with every field,
// and returns the requests with the answers as they came, but for the
// connection's own socket. The sockets go to yield too. Warnings and errors are those of [Conn.Dump].
func (c *Conn) Record(ctx context.Context, warn func(error), yield func(*socket.Socket)) ([]recording.Exchange, error) {
	kernel := c.transport
	defer func() { c.transport = kernel }()
	for records := 1; ; records++ {
		tap := &tap{Transport: kernel}
		c.transport = tap
		req := socket.Everything()
		_, err := c.Dump(ctx, &req, warn, func(s *socket.Socket) bool {
			yield(s)
			return true
		})
		if err != nil || !tap.stalled || records == maxRecords {
			return c.withoutOwn(latest(tap.exchanges)), err
		}
	}
}

// withoutOwn takes the connection's own socket out of recorded answers.
func (c *Conn) withoutOwn(exchanges []recording.Exchange) []recording.Exchange {
	for i, x := range exchanges {
		key, _ := keyOf(x.Request)
		for j, answer := range x.Answers {
			exchanges[i].Answers[j] = rewrite(answer, 0, func(payload []byte) []byte {
				if c.own != 0 && key.family == unix.AF_NETLINK && len(payload) >= netlinkMsgSize && cookieAt(payload, 20) == c.own {
					return nil
				}
				return payload
			})
		}
	}
	return exchanges
}

// rewrite returns a datagram with the numbers of its messages replaced and the
// payloads of those that show a socket changed by f, or left out where f
// returns nil.
func rewrite(datagram []byte, seq uint32, f func(payload []byte) []byte) []byte {
	var b []byte
	for m, rest := nextMessage(datagram); m.payload != nil; m, rest = nextMessage(rest) {
		if m.typ == tcpdiagGetsock || m.typ == unix.SOCK_DIAG_BY_FAMILY {
			if m.payload = f(m.payload); m.payload == nil {
				continue
			}
		}
		b = appendMessage(b, m, seq)
	}
	return b
}

// latest leaves of several requests for a list, which changed while the kernel
// wrote it, the last one.
func latest(exchanges []recording.Exchange) []recording.Exchange {
	var kept []recording.Exchange
	for i, x := range exchanges {
		key, ok := keyOf(x.Request)
		if !ok || slices.ContainsFunc(exchanges[i+1:], func(y recording.Exchange) bool {
			later, ok := keyOf(y.Request)
			return ok && later == key
		}) {
			continue
		}
		kept = append(kept, x)
	}
	return kept
}

// A tap is a transport that remembers what crosses it.
type tap struct {
	Transport
	exchanges []recording.Exchange
	stalled   bool
}

func (t *tap) Send(request []byte) error {
	t.exchanges = append(t.exchanges, recording.Exchange{Request: slices.Clone(request)})
	return t.Transport.Send(request)
}

func (t *tap) Receive(buf []byte) (int, error) {
	n, err := t.Transport.Receive(buf)
	switch {
	case err != nil:
		t.stalled = true
	case len(t.exchanges) > 0 && n <= len(buf):
		last := &t.exchanges[len(t.exchanges)-1]
		last.Answers = append(last.Answers, slices.Clone(buf[:n]))
	}
	return n, err
}

// Replay returns a connection to a recorded kernel, which answers each request
// with the recorded list, whatever its states, ports and fields. It knows
// nothing of a list that was not recorded.
func (s *Support) Replay(exchanges []recording.Exchange, netns uint64) *Conn {
	return s.New(&replay{exchanges: exchanges}, netns)
}

// A replay is the transport of a recorded kernel.
type replay struct {
	exchanges []recording.Exchange
	queue     [][]byte
}

func (r *replay) Send(request []byte) error {
	key, ok := keyOf(request)
	if !ok {
		return fmt.Errorf("replay: %w", unix.EINVAL)
	}
	seq := binary.NativeEndian.Uint32(request[8:])
	for _, x := range r.exchanges {
		recorded, ok := keyOf(x.Request)
		if ok && recorded.answers(key) {
			r.queue = append(r.queue, answersTo(x, seq, key.family)...)
			return nil
		}
	}
	r.queue = append(r.queue, errorMessage(seq, unix.ENODATA))
	return nil
}

func (r *replay) Receive(buf []byte) (int, error) {
	if len(r.queue) == 0 {
		return 0, errors.New("replay: the recorded answer has no end")
	}
	next := r.queue[0]
	r.queue = r.queue[1:]
	return copy(buf, next), nil
}

func (r *replay) Close() error { return nil }

// A listKey says which list a request asks for.
type listKey struct {
	typ      uint16 // of the message
	family   uint8
	protocol uint32
}

// keyOf reads a request that one of this package's functions wrote, now or for
// a recording.
func keyOf(request []byte) (k listKey, ok bool) {
	m, _ := nextMessage(request)
	if len(m.payload) < 4 {
		return listKey{}, false
	}
	k = listKey{m.typ, m.payload[0], uint32(m.payload[1])}
	const size = 8 + sockIDSize // struct inet_diag_req_v2
	switch {
	case m.typ == tcpdiagGetsock:
		k.protocol = unix.IPPROTO_TCP // the byte is struct inet_diag_req's length of an address
	case (k.family == unix.AF_INET || k.family == unix.AF_INET6) && len(m.payload) >= size:
		for typ, v, rest := nextAttribute(m.payload[size:]); v != nil; typ, v, rest = nextAttribute(rest) {
			if typ == reqProtocol && len(v) >= 4 {
				k.protocol = uint32At(v, 0)
			}
		}
	}
	return k, true
}

// answers reports whether the recorded answer to k answers another request:
// that of TCP holds both families.
func (k listKey) answers(other listKey) bool {
	return k == other || k.typ == tcpdiagGetsock && other.protocol == unix.IPPROTO_TCP &&
		(other.family == unix.AF_INET || other.family == unix.AF_INET6)
}

// answersTo returns a recorded answer with the number of the request and, of a
// list with both families, the wanted one.
func answersTo(x recording.Exchange, seq uint32, family uint8) [][]byte {
	var datagrams [][]byte
	for _, answer := range x.Answers {
		b := rewrite(answer, seq, func(payload []byte) []byte {
			if family != unix.AF_UNSPEC && len(payload) > 0 && payload[0] != family {
				return nil
			}
			return payload
		})
		if len(b) > 0 {
			datagrams = append(datagrams, b)
		}
	}
	return datagrams
}

// appendMessage appends a message with a number of its own.
func appendMessage(b []byte, m message, seq uint32) []byte {
	b = binary.NativeEndian.AppendUint32(b, uint32(headerSize+len(m.payload)))
	b = binary.NativeEndian.AppendUint16(b, m.typ)
	b = binary.NativeEndian.AppendUint16(b, m.flags)
	b = binary.NativeEndian.AppendUint32(b, seq)
	b = append(b, 0, 0, 0, 0) // the kernel's port
	b = append(b, m.payload...)
	return append(b, make([]byte, align(len(m.payload))-len(m.payload))...)
}

func errorMessage(seq uint32, errno unix.Errno) []byte {
	payload := binary.NativeEndian.AppendUint32(nil, uint32(-int32(errno)))
	return appendMessage(nil, message{typ: unix.NLMSG_ERROR, payload: payload}, seq)
}

// A told is a socket in JSON, which cannot hold a path that is no UTF-8 as
// text: as bytes it is written in base64.
type told struct {
	socket.Socket
	Path []byte
}

// MarshalSocket writes what [Lookup] found, for a recording.
func MarshalSocket(s *socket.Socket) ([]byte, error) { return json.Marshal(told{*s, []byte(s.Path)}) }

// UnmarshalSocket reads what [MarshalSocket] wrote.
func UnmarshalSocket(b []byte) (*socket.Socket, error) {
	var t told
	if err := json.Unmarshal(b, &t); err != nil {
		return nil, fmt.Errorf("sockdiag: recorded socket: %w", err)
	}
	t.Socket.Path = string(t.Path)
	return &t.Socket, nil
}

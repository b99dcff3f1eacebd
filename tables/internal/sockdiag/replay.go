package sockdiag

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"sockql/tables/internal/netlink"
	"sockql/tables/internal/recording"
	"sockql/tables/internal/socket"
)

// maxRecords bounds how often all lists are asked for anew because the kernel
// ran out of memory in the middle of one: an answer in two parts cannot be
// replayed.
const maxRecords = 3

// Record asks for every list that the kernel has, whole and with every field,
// and returns the requests with the answers as they came, but for the
// connection's own socket and for the keys that connections are signed with
// (TCP_MD5SIG, tcp(7)), which CAP_NET_ADMIN is told unasked and no table shows.
// The sockets go to yield too. Warnings and errors are those of [Conn.Dump].
func (c *Conn) Record(ctx context.Context, warn func(error), yield func(*socket.Socket)) ([]recording.Exchange, error) {
	kernel := c.transport
	defer func() { c.transport = kernel }()
	for records := 1; ; records++ {
		tap := &netlink.Tap{Transport: kernel}
		c.transport = tap
		req := socket.Everything()
		_, err := c.Dump(ctx, &req, warn, func(s *socket.Socket) bool {
			yield(s)
			return true
		})
		if err != nil || !tap.Stalled || records == maxRecords {
			return c.withoutSecrets(latest(tap.Exchanges)), err
		}
	}
}

// withoutSecrets takes the connection's own socket and everybody's keys out of
// recorded answers.
func (c *Conn) withoutSecrets(exchanges []recording.Exchange) []recording.Exchange {
	for i, x := range exchanges {
		key, _ := keyOf(x.Request)
		for j, answer := range x.Answers {
			exchanges[i].Answers[j] = rewrite(answer, 0, func(payload []byte) []byte {
				if c.own != 0 && key.family == unix.AF_NETLINK && len(payload) >= netlinkMsgSize && cookieAt(payload, 20) == c.own {
					return nil
				}
				switch key.family {
				case unix.AF_UNSPEC, unix.AF_INET, unix.AF_INET6:
					return withoutKeys(payload)
				}
				return payload
			})
		}
	}
	return exchanges
}

// withoutKeys returns the payload of an inet socket's message without the
// attribute INET_DIAG_MD5SIG.
func withoutKeys(payload []byte) []byte {
	if len(payload) < inetMsgSize {
		return payload
	}
	rest := payload[inetMsgSize:]
	for {
		typ, v, next := netlink.NextAttribute(rest)
		switch {
		case v == nil:
			return payload
		case typ == diagMD5Sig:
			return slices.Concat(payload[:len(payload)-len(rest)], next)
		}
		rest = next
	}
}

// rewrite returns a datagram with the numbers of its messages replaced and the
// payloads of those that show a socket changed by f, or left out where f
// returns nil.
func rewrite(datagram []byte, seq uint32, f func(payload []byte) []byte) []byte {
	var b []byte
	for m, rest := netlink.Next(datagram); m.Payload != nil; m, rest = netlink.Next(rest) {
		if m.Type == tcpdiagGetsock || m.Type == unix.SOCK_DIAG_BY_FAMILY {
			if m.Payload = f(m.Payload); m.Payload == nil {
				continue
			}
		}
		m.Seq = seq
		b = netlink.Append(b, m)
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
	r.queue = append(r.queue, netlink.ErrorMessage(seq, unix.ENODATA))
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
	m, _ := netlink.Next(request)
	if len(m.Payload) < 4 {
		return listKey{}, false
	}
	k = listKey{m.Type, m.Payload[0], uint32(m.Payload[1])}
	const size = 8 + sockIDSize // struct inet_diag_req_v2
	switch {
	case m.Type == tcpdiagGetsock:
		k.protocol = unix.IPPROTO_TCP // the byte is struct inet_diag_req's length of an address
	case (k.family == unix.AF_INET || k.family == unix.AF_INET6) && len(m.Payload) >= size:
		for typ, v, rest := netlink.NextAttribute(m.Payload[size:]); v != nil; typ, v, rest = netlink.NextAttribute(rest) {
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

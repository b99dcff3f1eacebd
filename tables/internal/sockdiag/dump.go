package sockdiag

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"sockql/tables/internal/socket"
)

// maxRepeats bounds how often an interrupted dump is begun again.
const maxRepeats = 3

// Kinds are the kinds of sockets that some kernel lists by sock_diag.
const Kinds = socket.AllKinds &^ (socket.ICMP4 | socket.ICMP6 | socket.Other)

// Dump yields the sockets that a request wants, and perhaps others, and
// returns the kinds of sockets that the kernel answered for, be it with no
// socket at all. The wanted rest has to come from another source. PIDs,
// Namespaces and NoHolders of the request mean nothing here; ports and
// addresses restrict inet sockets in the kernel.
//
// The socket behind the pointer is reused after yield returns. It has no
// holder: PID, TID and FD are -1. The connection's own netlink socket is left
// out, which is gone before anybody can look for its holder. A socket is not yielded twice for one kind,
// unless the kernel shows it twice in one pass over a list that changes
// meanwhile. An MPTCP connection is there as such, and once more for each of
// its TCP subflows, which have its inode and cookies of their own.
//
// Dump ends early without error when yield returns false, and with the
// context's cause when ctx ends. A list that breaks off is a warning, as are
// one that changed while it was read, too often to be repeated, and messages
// that are too short. Any other error means that the connection is of no use
// any more; the kinds answered before it are complete.
func (c *Conn) Dump(ctx context.Context, req *socket.Request, warn func(error), yield func(*socket.Socket) bool) (answered socket.Kind, err error) {
	if warn == nil {
		warn = func(error) {}
	}
	missing := req.Kinds
	for i := range lists {
		l := &lists[i]
		if l.kinds&^missing != 0 || c.support.refused.Load()&(1<<i) != 0 {
			continue
		}
		if l.states != 0 && l.states&req.States == 0 {
			missing &^= l.kinds
			answered |= l.kinds
			continue
		}
		d := dump{Conn: c, list: l, req: req, warn: warn, yield: yield}
		err := d.run(ctx)
		switch {
		case err == nil:
			missing &^= l.kinds
			answered |= l.kinds
			c.note(l.kinds, nil)
		case errors.Is(err, errStopped):
			return answered, nil
		case errors.As(err, new(answerError)):
			c.refuse(i, err, warn)
		default:
			if cause := context.Cause(ctx); cause != nil {
				return answered, cause
			}
			return answered, fmt.Errorf("sockdiag: dump %s: %w", l.name, err)
		}
	}
	return answered, nil
}

// refuse remembers why a list was refused: for all connections if the kernel
// does not have it.
func (c *Conn) refuse(i int, err error, warn func(error)) {
	var answer answerError
	errors.As(err, &answer)
	c.note(lists[i].kinds, answer.Errno)
	switch answer.Errno {
	case unix.ENOENT, unix.EINVAL, unix.EOPNOTSUPP, unix.EPROTONOSUPPORT, unix.EAFNOSUPPORT:
		// No module, no dump function, or a family beyond the kernel's last.
		c.support.refused.Or(1 << i)
	default:
		warn(fmt.Errorf("sockdiag: dump %s: %w", lists[i].name, answer.Errno))
	}
}

// A list is one dump of the kernel.
type list struct {
	name  string
	kinds socket.Kind
	// states are those that its sockets can be in, where these are few: a
	// request for others need not ask the kernel. 0 means any.
	states uint32
	family uint8
	// protocol is IPPROTO_* of an inet list, unix.IPPROTO_MPTCP included.
	protocol uint16
	request  func(b []byte, l *list, req *socket.Request, filter []byte) []byte
	decode   func(l *list, payload []byte, want socket.Fields, s *socket.Socket) bool
}

// datagramStates are those of UDP: with and without a fixed peer.
const datagramStates = 1<<socket.StateEstablished | 1<<socket.StateClose

// lists holds every dump that is tried, of those for the same kinds the best
// one first: one pass over TCP's hash table instead of two.
var lists = [...]list{
	{"tcp and tcp6", socket.TCP4 | socket.TCP6, 0, unix.AF_UNSPEC, unix.IPPROTO_TCP, appendTCPRequest, decodeInet},
	{"tcp", socket.TCP4, 0, unix.AF_INET, unix.IPPROTO_TCP, appendInetRequest, decodeInet},
	{"tcp6", socket.TCP6, 0, unix.AF_INET6, unix.IPPROTO_TCP, appendInetRequest, decodeInet},
	{"udp", socket.UDP4, datagramStates, unix.AF_INET, unix.IPPROTO_UDP, appendInetRequest, decodeInet},
	{"udp6", socket.UDP6, datagramStates, unix.AF_INET6, unix.IPPROTO_UDP, appendInetRequest, decodeInet},
	{"udplite", socket.UDPLite4, datagramStates, unix.AF_INET, unix.IPPROTO_UDPLITE, appendInetRequest, decodeInet},
	{"udplite6", socket.UDPLite6, datagramStates, unix.AF_INET6, unix.IPPROTO_UDPLITE, appendInetRequest, decodeInet},
	{"raw", socket.Raw4, 0, unix.AF_INET, unix.IPPROTO_RAW, appendInetRequest, decodeInet},
	{"raw6", socket.Raw6, 0, unix.AF_INET6, unix.IPPROTO_RAW, appendInetRequest, decodeInet},
	{"mptcp", socket.MPTCP4, 0, unix.AF_INET, unix.IPPROTO_MPTCP, appendInetRequest, decodeInet},
	{"mptcp6", socket.MPTCP6, 0, unix.AF_INET6, unix.IPPROTO_MPTCP, appendInetRequest, decodeInet},
	{"sctp", socket.SCTP4, 0, unix.AF_INET, unix.IPPROTO_SCTP, appendInetRequest, decodeInet},
	{"sctp6", socket.SCTP6, 0, unix.AF_INET6, unix.IPPROTO_SCTP, appendInetRequest, decodeInet},
	{"dccp", socket.DCCP4, 0, unix.AF_INET, unix.IPPROTO_DCCP, appendInetRequest, decodeInet},
	{"dccp6", socket.DCCP6, 0, unix.AF_INET6, unix.IPPROTO_DCCP, appendInetRequest, decodeInet},
	{"unix", socket.Unix, 0, unix.AF_UNIX, 0, appendUnixRequest, decodeUnix},
	{"packet", socket.Packet, 0, unix.AF_PACKET, 0, appendPacketRequest, decodePacket},
	{"netlink", socket.Netlink, 0, unix.AF_NETLINK, allNetlinkProtocols, appendNetlinkRequest, decodeNetlink},
	{"vsock", socket.Vsock, 0, unix.AF_VSOCK, 0, appendVsockRequest, decodeVsock},
	{"xdp", socket.XDP, 0, unix.AF_XDP, 0, appendXDPRequest, decodeXDP},
	{"tipc", socket.TIPC, 0, unix.AF_TIPC, 0, appendTIPCRequest, decodeTIPC},
	{"smc", socket.SMC, 0, unix.AF_SMC, 0, appendSMCRequest, decodeSMC},
}

// A dump is one list's way through one request.
type dump struct {
	*Conn
	*list
	req   *socket.Request
	warn  func(error)
	yield func(*socket.Socket) bool

	yielded     bool
	interrupted bool
	short       int             // messages that were too short
	seen        map[uint64]bool // cookies not to be yielded again
}

// run asks for the list until a pass over it was not interrupted. It returns
// an answerError only if no socket was yielded.
func (d *dump) run(ctx context.Context) error {
	d.cookies = d.cookies[:0]
	for repeats := 0; ; repeats++ {
		err := d.pass(ctx)
		if answer := new(answerError); errors.As(err, answer) && d.yielded {
			d.warn(fmt.Errorf("sockdiag: dump %s: the rest is missing: %w", d.name, answer.Errno))
			err = nil
		}
		if err != nil {
			return err
		}
		if !d.interrupted {
			break
		}
		if repeats == maxRepeats {
			d.warn(fmt.Errorf("sockdiag: dump %s: %w", d.name, errInterrupted))
			break
		}
		d.interrupted = false
		d.remember()
	}
	if d.short > 0 {
		d.warn(fmt.Errorf("sockdiag: dump %s: %d messages are too short; left out", d.name, d.short))
	}
	return nil
}

// remember notes the sockets yielded so far, so that they are not yielded
// again.
func (d *dump) remember() {
	if d.seen == nil {
		d.seen = make(map[uint64]bool, len(d.cookies))
	}
	for _, cookie := range d.cookies {
		d.seen[cookie] = true
	}
	d.cookies = d.cookies[:0]
}

// pass asks for the list once, again without a filter if the kernel does not
// take it.
func (d *dump) pass(ctx context.Context) error {
	filter := d.filter()
	err := d.ask(ctx, filter)
	if filter != nil && !d.yielded && errors.Is(err, unix.EINVAL) {
		if err = d.ask(ctx, nil); err == nil {
			d.noBytecode = true
		}
	}
	return err
}

// filter returns the request's ports and addresses as bytecode, or nil.
func (d *dump) filter() []byte {
	if d.noBytecode || d.kinds&socket.Inet == 0 {
		return nil
	}
	return compile(d.req)
}

// ask sends a request and reads the answer.
func (d *dump) ask(ctx context.Context, filter []byte) error {
	if err := d.drain(); err != nil {
		return err
	}
	d.Conn.request = d.list.request(d.Conn.request[:0], d.list, d.req, filter)
	if err := d.send(d.Conn.request); err != nil {
		if errno := unix.Errno(0); errors.As(err, &errno) && (errno == unix.EPERM || errno == unix.EACCES) {
			return answerError{errno} // a security module forbids the request, not the socket
		}
		return err
	}
	first := d.seq
	for stalls := 0; ; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		switch err := d.receive(first, d.visit); err {
		case nil:
		case errDone:
			return nil
		case errStalled:
			// A stalled dump goes on only when something is read, and there is
			// nothing to read. Asking again makes for a message: that the dump
			// still runs, or, if it does not, the list once more.
			if stalls++; stalls > maxRepeats {
				return answerError{unix.ENOBUFS}
			}
			d.interrupted = true
			d.remember()
			if err := d.send(d.Conn.request); err != nil {
				return err
			}
		default:
			return err
		}
	}
}

// visit decodes one message and yields its socket.
func (d *dump) visit(payload []byte, flags uint16) bool {
	if flags&unix.NLM_F_DUMP_INTR != 0 {
		d.interrupted = true
	}
	if payload == nil {
		return true
	}
	s := &d.sock
	*s = socket.Socket{Holder: socket.Holder{PID: -1, TID: -1, FD: -1}}
	if d.netns != 0 {
		s.Netns, s.Known = d.netns, socket.FieldNetns
	}
	if !d.decode(d.list, payload, d.req.Fields, s) {
		d.short++
		return true
	}
	if s.Kind&d.req.Kinds == 0 || d.seen[s.Cookie] || s.Cookie == d.own && d.own != 0 {
		return true
	}
	if s.Cookie != 0 {
		d.cookies = append(d.cookies, s.Cookie)
		if s.Kind == socket.Netlink {
			// A member of a multicast group stands in two of the kernel's lists,
			// and in the dump twice (__netlink_diag_dump, net/netlink/diag.c).
			d.remember()
		}
	}
	d.yielded = true
	return d.yield(s)
}

// kindOf returns the one of a list's kinds that has the family.
func (l *list) kindOf(family uint16) socket.Kind {
	switch family {
	case unix.AF_INET:
		return l.kinds & socket.Inet4
	case unix.AF_INET6:
		return l.kinds & socket.Inet6
	}
	return 0
}

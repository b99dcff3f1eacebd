package sockdiag

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"sockql/tables/internal/netlink"
	"sockql/tables/internal/netns"
	"sockql/tables/internal/socket"
)

// A Transport carries requests to the kernel and its answers back.
type Transport = netlink.Transport

// Support remembers across connections which lists the kernel has refused for
// good, so that it need not look for a module again in each namespace. The
// zero value knows of none. A module that is loaded later is found by a new
// Support.
type Support struct{ refused atomic.Uint64 }

// Open opens a connection to the network namespace of the calling thread.
func (s *Support) Open() (*Conn, error) {
	inode, err := netns.Current()
	if err != nil {
		return nil, fmt.Errorf("sockdiag: open: %w", err)
	}
	t, err := Dial()
	if err != nil {
		return nil, err
	}
	return s.New(t, inode), nil
}

// New returns a connection over a transport. netns is the inode, in nsfs, of
// the namespace that answers, or 0 if it is not known.
func (s *Support) New(t Transport, netns uint64) *Conn {
	c := &Conn{transport: t, netns: netns, support: s, buf: make([]byte, netlink.BufferSize)}
	if k, ok := t.(netlink.Socket); ok {
		c.own = k.Cookie()
	}
	return c
}

// Open opens a connection to the network namespace of the calling thread that
// shares what it finds out with no other one.
func Open() (*Conn, error) { return new(Support).Open() }

// A Conn is a connection to NETLINK_SOCK_DIAG of one network namespace, which
// it keeps alive until it is closed.
type Conn struct {
	transport Transport
	netns     uint64
	own       uint64 // cookie of the transport's socket
	support   *Support

	buf     []byte
	request []byte
	seq     uint32   // number of the last request, counted from 1
	open    []uint32 // requests whose last message has not been read
	broken  error

	refusals   []Refusal
	noBytecode bool

	sock    socket.Socket
	cookies []uint64 // of the sockets that a dump has yielded
}

// Netns returns the inode, in nsfs, of the namespace that answers.
func (c *Conn) Netns() uint64 { return c.netns }

// Close closes the connection. A dump that was not read to its end is dropped
// by the kernel.
func (c *Conn) Close() error { return c.transport.Close() }

// A Refusal says why the kernel does not list some kinds of sockets.
type Refusal struct {
	Kinds socket.Kind
	// Err is a syscall.Errno: ENOENT where there is no diag module.
	Err error
}

// Refusals returns which kinds of sockets the kernel has refused to list on
// this connection, oldest first. What another request was answered for is not
// among them, nor what was not asked for because of [Support].
func (c *Conn) Refusals() []Refusal { return slices.Clone(c.refusals) }

// note replaces what is known of refusals of some kinds; a nil error says that
// they were answered.
func (c *Conn) note(kinds socket.Kind, err error) {
	for i := range c.refusals {
		c.refusals[i].Kinds &^= kinds
	}
	c.refusals = slices.DeleteFunc(c.refusals, func(r Refusal) bool { return r.Kinds == 0 })
	if err != nil {
		c.refusals = append(c.refusals, Refusal{Kinds: kinds, Err: err})
	}
}

// Dial returns a transport to the running kernel, which answers for the
// network namespace of the calling thread. It is for those who put something
// between it and [Support.New], such as a recorder. It fails with
// EPROTONOSUPPORT where the kernel was built without sock_diag.
func Dial() (Transport, error) {
	s, err := netlink.Open(unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, fmt.Errorf("sockdiag: open: %w", err)
	}
	return s, nil
}

// send gives a request, which begins with room for a header, its length and
// number, and sends it.
func (c *Conn) send(request []byte) error {
	c.seq++
	binary.NativeEndian.PutUint32(request[0:], uint32(len(request)))
	binary.NativeEndian.PutUint32(request[8:], c.seq)
	if err := c.transport.Send(request); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	c.open = append(c.open, c.seq)
	return nil
}

// drain reads what is left of dumps that were not read to their end. The
// kernel runs one dump at a time on a netlink socket.
func (c *Conn) drain() error {
	for len(c.open) > 0 {
		if err := c.receive(0, nil); err != nil && !errors.As(err, new(answerError)) {
			return err
		}
	}
	return nil
}

// errStalled says that the kernel ran out of memory in the middle of a dump.
var errStalled = errors.New("the kernel ran out of buffers")

// errStopped says that visit wanted no more.
var errStopped = errors.New("stopped")

// An answerError is an error that the kernel gave in place of a list, or of
// its rest.
type answerError struct{ unix.Errno }

func (e answerError) Unwrap() error { return e.Errno }

// errDone says that a request was answered to its end.
var errDone = errors.New("done")

// errInterrupted says that the list changed under the kernel's hands, and
// that sockets may be missing.
var errInterrupted = errors.New("the list changed while the kernel wrote it, and sockets may be missing")

// receive reads one datagram and calls visit with the payload and flags of
// each message that answers a request numbered first or later; a nil visit
// throws everything away. It returns errDone or an answerError after the last
// message of an answer, errStopped if visit returned false, and errStalled. Any
// other error breaks the connection.
func (c *Conn) receive(first uint32, visit func(payload []byte, flags uint16) bool) error {
	if c.broken != nil {
		return c.broken
	}
	n, err := c.transport.Receive(c.buf)
	switch {
	case err == unix.ENOBUFS:
		return errStalled
	case err == unix.EAGAIN:
		c.broken = fmt.Errorf("receive: no answer within %d s: %w", netlink.Timeout, err)
	case err != nil:
		c.broken = fmt.Errorf("receive: %w", err)
	case n > len(c.buf):
		c.broken = fmt.Errorf("receive: a datagram of %d bytes is too long", n)
	}
	if c.broken != nil {
		return c.broken
	}
	var outcome error
	for m, rest := netlink.Next(c.buf[:n]); m.Payload != nil; m, rest = netlink.Next(rest) {
		if m.Seq == 0 || m.Seq > c.seq {
			continue
		}
		end := end(m)
		running := c.ended(m.Seq, end)
		if visit == nil || m.Seq < first || outcome != nil {
			continue
		}
		switch {
		case m.Type == unix.NLMSG_NOOP:
		case running:
			// The reminder that follows a stall found the dump going on.
		case end != nil:
			if m.Flags&unix.NLM_F_DUMP_INTR != 0 && end == errDone {
				visit(nil, m.Flags)
			}
			outcome = end
		case !visit(m.Payload, m.Flags):
			outcome = errStopped
		}
	}
	return outcome
}

// ended notes how a request has ended, if it has. It reports whether it found
// an earlier dump running: the kernel runs one at a time, so that any other
// end is also that of all requests before.
func (c *Conn) ended(seq uint32, end error) (running bool) {
	if end == nil {
		return false
	}
	running = end == answerError{unix.EBUSY} && len(c.open) > 0 && c.open[0] < seq
	c.open = slices.DeleteFunc(c.open, func(open uint32) bool {
		return open == seq || open < seq && !running
	})
	return running
}

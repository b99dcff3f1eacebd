package rtnetlink

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

const (
	// bufferSize holds two of the kernel's datagrams, which in a dump are at
	// most 32 KiB (net/netlink/af_netlink.c, netlink_dump).
	bufferSize = 64 << 10

	// receiveBuffer leaves room for many datagrams, in bytes.
	receiveBuffer = 1 << 20

	// answerTimeout is how long the kernel may take for one datagram, in
	// seconds. It answers within milliseconds, or has lost the dump.
	answerTimeout = 10

	// attempts is how often a dump is made that changes interrupt.
	attempts = 5
)

// A Transport carries requests to the kernel and its answers back, one datagram
// of netlink messages at a time.
type Transport interface {
	Send(request []byte) error
	// Receive reads a datagram into buf and returns its length, which is more
	// than that of buf if it did not fit.
	Receive(buf []byte) (n int, err error)
	Close() error
}

// A Conn asks one network namespace, which it keeps alive until it is closed.
type Conn struct {
	transport Transport
	seq       uint32
	buf       []byte
}

// Dial opens a connection to the network namespace of the calling thread.
func Dial() (*Conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("rtnetlink: open: socket: %w", err)
	}
	// Less room than this costs a few more calls.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: answerTimeout}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("rtnetlink: open: set receive timeout: %w", err)
	}
	return New(kernelSocket(fd)), nil
}

// New returns a connection over a transport.
func New(t Transport) *Conn { return &Conn{transport: t, buf: make([]byte, bufferSize)} }

// Close closes the connection.
func (c *Conn) Close() error { return c.transport.Close() }

type kernelSocket int

func (s kernelSocket) Close() error { return unix.Close(int(s)) }

func (s kernelSocket) Send(request []byte) error {
	for {
		err := unix.Sendto(int(s), request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
		if err != unix.EINTR {
			return err
		}
	}
}

func (s kernelSocket) Receive(buf []byte) (int, error) {
	for {
		n, from, err := unix.Recvfrom(int(s), buf, unix.MSG_TRUNC)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return 0, fmt.Errorf("no answer within %d seconds", answerTimeout)
		case err != nil:
			return 0, err
		}
		// Any process may send to a netlink port; the kernel's own is 0.
		if from, ok := from.(*unix.SockaddrNetlink); ok && from.Pid == 0 {
			return n, nil
		}
	}
}

// errInterrupted says that objects changed during a dump, so that some may be
// there twice or not at all (NLM_F_DUMP_INTR, netlink(7)).
var errInterrupted = errors.New("interrupted by changes")

// dump asks for all objects of a kind and calls found with the payload of each.
func (c *Conn) dump(ctx context.Context, kind uint16, request []byte, found func(payload []byte)) error {
	c.seq++
	message := make([]byte, unix.SizeofNlMsghdr, unix.SizeofNlMsghdr+len(request))
	message = append(message, request...)
	binary.NativeEndian.PutUint32(message, uint32(len(message)))
	binary.NativeEndian.PutUint16(message[4:], kind)
	binary.NativeEndian.PutUint16(message[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	binary.NativeEndian.PutUint32(message[8:], c.seq)
	if err := c.transport.Send(message); err != nil {
		return err
	}
	interrupted := false
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n, err := c.transport.Receive(c.buf)
		if err != nil {
			return err
		}
		if n > len(c.buf) {
			return fmt.Errorf("datagram of %d bytes", n)
		}
		for b := c.buf[:n]; len(b) > 0; {
			var m header
			if m, b, err = nextMessage(b); err != nil {
				return err
			}
			if m.seq != c.seq { // of a dump that was given up
				continue
			}
			interrupted = interrupted || m.flags&unix.NLM_F_DUMP_INTR != 0
			switch m.kind {
			case unix.NLMSG_DONE, unix.NLMSG_ERROR:
				if err := m.err(); err != nil {
					return err
				}
				if interrupted {
					return errInterrupted
				}
				return nil
			case unix.NLMSG_NOOP:
			default:
				found(m.payload)
			}
		}
	}
}

// list returns all objects of a kind. A dump during which objects changed is
// made again, a few times. Objects that make no sense are left out, and are the
// error that comes with the others.
func list[T any](ctx context.Context, c *Conn, what string, kind uint16, request []byte, parse func(payload []byte, all []T) ([]T, error)) ([]T, error) {
	for n := 1; ; n++ {
		var all []T
		var malformed error
		err := c.dump(ctx, kind, request, func(payload []byte) {
			var err error
			if all, err = parse(payload, all); err != nil && malformed == nil {
				malformed = err
			}
		})
		if errors.Is(err, errInterrupted) && n < attempts {
			continue
		}
		if err = errors.Join(err, malformed); err != nil {
			err = fmt.Errorf("rtnetlink: %s: %w", what, err)
		}
		return all, err
	}
}

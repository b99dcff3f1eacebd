package netlink

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// attempts is how often a dump is made that changes interrupt.
const attempts = 5

// A Conn asks for objects and collects them. It belongs to one goroutine.
type Conn struct {
	transport Transport
	seq       uint32
	buf       []byte
}

// New returns a connection over a transport.
func New(t Transport) *Conn { return &Conn{transport: t, buf: make([]byte, BufferSize)} }

// Close closes the transport.
func (c *Conn) Close() error { return c.transport.Close() }

// ErrInterrupted says that objects changed during a dump, so that some may be
// there twice or not at all (NLM_F_DUMP_INTR, netlink(7)).
var ErrInterrupted = errors.New("interrupted by changes")

// ask sends a request and calls found with the payload of each message of the
// answer. A single object is followed by an acknowledgement, a dump by its end.
func (c *Conn) ask(ctx context.Context, kind, flags uint16, request []byte, found func(payload []byte)) error {
	c.seq++
	if err := c.transport.Send(Append(nil, Message{Type: kind, Flags: unix.NLM_F_REQUEST | flags, Seq: c.seq, Payload: request})); err != nil {
		return err
	}
	interrupted := false
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n, err := c.transport.Receive(c.buf)
		switch {
		case err == unix.EAGAIN:
			return fmt.Errorf("no answer within %d s: %w", Timeout, err)
		case err != nil:
			return err
		case n > len(c.buf):
			return fmt.Errorf("a datagram of %d bytes is too long", n)
		}
		for b := c.buf[:n]; len(b) > 0; {
			m, rest := Next(b)
			if m.Payload == nil {
				return fmt.Errorf("message of %d bytes: %w", len(b), ErrShort)
			}
			b = rest
			if m.Seq != c.seq { // of a dump that was given up
				continue
			}
			interrupted = interrupted || m.Flags&unix.NLM_F_DUMP_INTR != 0
			switch m.Type {
			case unix.NLMSG_DONE, unix.NLMSG_ERROR:
				if err := m.Err(); err != nil {
					return err
				}
				if interrupted {
					return ErrInterrupted
				}
				return nil
			case unix.NLMSG_NOOP:
			default:
				found(m.Payload)
			}
		}
	}
}

// List asks for all objects of a kind that the request selects. A dump during
// which objects changed is made again, a few times. Objects that make no sense
// are left out, and are the error that comes with the others.
func List[T any](ctx context.Context, c *Conn, kind uint16, request []byte, parse func(payload []byte, all []T) ([]T, error)) ([]T, error) {
	for n := 1; ; n++ {
		var all []T
		var malformed error
		err := c.ask(ctx, kind, unix.NLM_F_DUMP, request, func(payload []byte) {
			var err error
			if all, err = parse(payload, all); err != nil && malformed == nil {
				malformed = err
			}
		})
		if errors.Is(err, ErrInterrupted) && n < attempts {
			continue
		}
		return all, errors.Join(err, malformed)
	}
}

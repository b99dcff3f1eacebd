package rtnetlink

import (
	"context"
	"fmt"

	"golang.org/x/sys/unix"

	"sockql/tables/internal/netlink"
)

// A Conn asks one network namespace, which it keeps alive until it is closed.
type Conn struct{ conn *netlink.Conn }

// Dial returns a transport to the running kernel, which answers for the
// network namespace of the calling thread.
func Dial() (netlink.Transport, error) {
	s, err := netlink.Open(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("rtnetlink: open: %w", err)
	}
	return s, nil
}

// New returns a connection over a transport: one of [Dial] or a recorded one.
func New(t netlink.Transport) *Conn { return &Conn{netlink.New(t)} }

// Close closes the connection.
func (c *Conn) Close() error { return c.conn.Close() }

// list returns all objects of a kind.
func list[T any](ctx context.Context, c *Conn, what string, kind uint16, request []byte, parse func(payload []byte, all []T) ([]T, error)) ([]T, error) {
	all, err := netlink.List(ctx, c.conn, kind, request, parse)
	if err != nil {
		err = fmt.Errorf("rtnetlink: %s: %w", what, err)
	}
	return all, err
}

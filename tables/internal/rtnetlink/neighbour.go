package rtnetlink

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"

	"sockql/tables/internal/netlink"
)

// A Neighbour is what is known of a host on a link: struct ndmsg and its
// attributes (include/uapi/linux/neighbour.h).
type Neighbour struct {
	Index   uint32 // of the interface
	State   uint16 // NUD_*
	Address netip.Addr
	MAC     net.HardwareAddr // empty while it is not known
}

// Neighbours returns the neighbours of a family, AF_INET or AF_INET6.
// Everybody may.
func (c *Conn) Neighbours(ctx context.Context, family uint8) ([]Neighbour, error) {
	request := make([]byte, unix.SizeofNdMsg)
	request[0] = family
	return list(ctx, c, "neighbours", unix.RTM_GETNEIGH, request, func(b []byte, all []Neighbour) ([]Neighbour, error) {
		n, err := parseNeighbour(b)
		if err != nil || !n.Address.IsValid() || b[0] != family {
			return all, err
		}
		return append(all, n), nil
	})
}

func parseNeighbour(b []byte) (Neighbour, error) {
	if len(b) < unix.SizeofNdMsg {
		return Neighbour{}, fmt.Errorf("neighbour: %w", netlink.ErrShort)
	}
	n := Neighbour{Index: binary.NativeEndian.Uint32(b[4:]), State: binary.NativeEndian.Uint16(b[8:])}
	err := netlink.Attributes(b[unix.SizeofNdMsg:], func(a netlink.Attribute) {
		switch a.Type {
		case unix.NDA_DST:
			n.Address = ipAddress(a.Value)
		case unix.NDA_LLADDR:
			n.MAC = bytes.Clone(a.Value)
		}
	})
	if err != nil {
		return Neighbour{}, fmt.Errorf("neighbour on interface %d: %w", n.Index, err)
	}
	return n, nil
}

package rtnetlink

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"sockql/tables/internal/netlink"
)

// An Address is an address of an interface: struct ifaddrmsg and its attributes
// (include/uapi/linux/if_addr.h).
type Address struct {
	Index     uint32 // of the interface
	Label     string // name by which ifconfig(8) knows it; IPv4 only
	Address   netip.Addr
	Peer      netip.Addr // the other end, or Address itself; IPv4 on a point-to-point link
	Broadcast netip.Addr
	Prefix    uint8 // length in bits
	Scope     uint8 // RT_SCOPE_*
	Flags     uint32
}

// Addresses returns the IPv4 and IPv6 addresses. Everybody may.
func (c *Conn) Addresses(ctx context.Context) ([]Address, error) {
	return list(ctx, c, "addresses", unix.RTM_GETADDR, make([]byte, unix.SizeofIfAddrmsg), func(b []byte, all []Address) ([]Address, error) {
		a, err := parseAddress(b)
		if err != nil || !a.Address.IsValid() {
			return all, err
		}
		return append(all, a), nil
	})
}

func parseAddress(b []byte) (Address, error) {
	if len(b) < unix.SizeofIfAddrmsg {
		return Address{}, fmt.Errorf("address: %w", netlink.ErrShort)
	}
	a := Address{Prefix: b[1], Flags: uint32(b[2]), Scope: b[3], Index: binary.NativeEndian.Uint32(b[4:])}
	var local, address netip.Addr
	err := netlink.Attributes(b[unix.SizeofIfAddrmsg:], func(attr netlink.Attribute) {
		switch attr.Type {
		case unix.IFA_ADDRESS:
			address = ipAddress(attr.Value)
		case unix.IFA_LOCAL:
			local = ipAddress(attr.Value)
		case unix.IFA_BROADCAST:
			a.Broadcast = ipAddress(attr.Value)
		case unix.IFA_LABEL:
			a.Label = attr.Text()
		case unix.IFA_FLAGS:
			a.Flags = attr.Uint32()
		}
	})
	if err != nil {
		return Address{}, fmt.Errorf("address of interface %d: %w", a.Index, err)
	}
	// On a point-to-point link the address of this end is the local one.
	if a.Address = address; local.IsValid() {
		a.Address, a.Peer = local, address
	}
	return a, nil
}

// ipAddress returns the address of 4 or 16 bytes in network byte order, and the
// zero Addr of any other number.
func ipAddress(b []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(b)
	return a
}

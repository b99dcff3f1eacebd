package network

import (
	"context"
	"net/netip"

	"golang.org/x/sys/unix"

	"sockql/tables"
	"sockql/tables/internal/rtnetlink"
)

type addressRow struct {
	*space
	rtnetlink.Address
	link *rtnetlink.Link
}

// InterfaceAddresses returns the table interface_addresses, with osquery's
// columns.
func InterfaceAddresses(c Config) (tables.Table, error) {
	columns := []tables.Column[addressRow]{
		text("interface", "Interface, or the label under which ifconfig(8) knows the address.", (*addressRow).name),
		text("address", "IPv4 or IPv6 address, with the interface behind a percent sign if it holds on the link only.", (*addressRow).text),
		text("mask", "Mask of the network, written as an address.", func(r *addressRow) string { return mask(r.Address.Address, int(r.Prefix)).String() }),
		text("broadcast", "Address of all hosts on the link; empty if there is none.", func(r *addressRow) string { return addressText(r.Broadcast) }),
		text("point_to_point", "Address of the other end, or of this one on an interface that leads nowhere; empty where broadcast is possible.", func(r *addressRow) string {
			if r.link.Flags&unix.IFF_BROADCAST != 0 {
				return ""
			}
			return addressText(r.Peer)
		}),
		text("type", "unknown: Linux does not tell how an address came to be.", func(*addressRow) string { return "unknown" }),
		namespaceColumn(func(r *addressRow) *location { return r.location }),
	}
	return tables.New(tables.Def[addressRow]{
		Name:      "interface_addresses",
		Doc:       "Addresses of network interfaces, one row each (rtnetlink(7), RTM_GETADDR).",
		Privilege: privilege,
		Examples: []string{
			"SELECT interface, address, mask FROM interface_addresses WHERE address NOT LIKE 'fe80:%';",
			"SELECT l.port, a.interface FROM listening_ports l JOIN interface_addresses a ON a.address = l.address;",
		},
		Columns: columns,
		Rows: func(ctx context.Context, q *tables.Query, yield func(*addressRow) bool) error {
			return c.spaces(ctx, q, len(columns)-1, func(s *space) (bool, error) {
				list, err := links(ctx, s)
				if err != nil {
					return true, err
				}
				byIndex := map[uint32]*rtnetlink.Link{}
				for i := range list {
					byIndex[uint32(list[i].Index)] = &list[i]
				}
				addresses, err := s.Addresses(ctx)
				for _, a := range addresses {
					link := byIndex[a.Index]
					if link == nil { // made in between
						link = &rtnetlink.Link{}
					}
					if !yield(&addressRow{s, a, link}) {
						return false, nil
					}
				}
				return true, err
			})
		},
	})
}

func (r *addressRow) name() string {
	if r.Label != "" {
		return r.Label
	}
	return r.link.Name
}

func (r *addressRow) text() string {
	if a := r.Address.Address; a.Is6() && a.IsLinkLocalUnicast() && r.link.Name != "" {
		return a.WithZone(r.link.Name).String()
	}
	return r.Address.Address.String()
}

// mask returns the address whose first bits are set.
func mask(a netip.Addr, bits int) netip.Addr {
	b := a.AsSlice()
	for i := range b {
		set := min(max(bits-8*i, 0), 8)
		b[i] = ^byte(0xff >> set)
	}
	m, _ := netip.AddrFromSlice(b)
	return m
}

// addressText returns an address, or nothing for the zero Addr.
func addressText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

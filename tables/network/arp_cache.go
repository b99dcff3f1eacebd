package network

import (
	"context"

	"golang.org/x/sys/unix"

	"sockql/tables"
	"sockql/tables/internal/rtnetlink"
)

type neighbourRow struct {
	*space
	rtnetlink.Neighbour
	device string
}

// ARPCache returns the table arp_cache, with osquery's columns.
func ARPCache(c Config) (tables.Table, error) {
	columns := []tables.Column[neighbourRow]{
		text("address", "IPv4 address.", func(r *neighbourRow) string { return r.Address.String() }),
		{Name: "mac", Type: tables.Text, Collate: "NOCASE", Doc: "Its address on the link, in hexadecimal digits with colons; zeros while that is not known.",
			Get: func(r *neighbourRow) tables.Value {
				if len(r.MAC) == 0 {
					return tables.String(noMAC.String())
				}
				return tables.String(r.MAC.String())
			}},
		text("interface", "Interface.", func(r *neighbourRow) string { return r.device }),
		text("permanent", "1 if the entry was made by hand and stays, else 0.", func(r *neighbourRow) string {
			if r.State&unix.NUD_PERMANENT != 0 {
				return "1"
			}
			return "0"
		}),
		namespaceColumn(func(r *neighbourRow) *location { return r.location }),
	}
	return tables.New(tables.Def[neighbourRow]{
		Name:      "arp_cache",
		Doc:       "IPv4 hosts on the links of this host whose address there is known or asked for (arp(7), rtnetlink(7), RTM_GETNEIGH).",
		Privilege: privilege,
		Examples: []string{
			"SELECT * FROM arp_cache;",
			"SELECT mac, count(*) FROM arp_cache WHERE mac <> '00:00:00:00:00:00' GROUP BY mac HAVING count(*) > 1;",
		},
		Columns: columns,
		Rows: func(ctx context.Context, q *tables.Query, yield func(*neighbourRow) bool) error {
			return c.spaces(ctx, q, len(columns)-1, func(s *space) (bool, error) {
				devices, err := names(ctx, s)
				if err != nil {
					return true, err
				}
				neighbours, err := s.Neighbours(ctx, unix.AF_INET)
				for _, n := range neighbours {
					// Addresses that need no asking, such as multicast, are no
					// entries of the cache.
					if n.State&unix.NUD_NOARP != 0 {
						continue
					}
					if !yield(&neighbourRow{s, n, devices[n.Index]}) {
						return false, nil
					}
				}
				return true, err
			})
		},
	})
}

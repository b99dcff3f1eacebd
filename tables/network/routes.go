package network

import (
	"context"
	"math"

	"golang.org/x/sys/unix"

	"sockql/tables"
	"sockql/tables/internal/rtnetlink"
)

type routeRow struct {
	*space
	rtnetlink.Route
	device string
}

// Routes returns the table routes, with osquery's columns and hidden ones for
// those of netstat -r.
func Routes(c Config) (tables.Table, error) {
	integer := func(name, doc string, get func(*routeRow) uint32) tables.Column[routeRow] {
		return column(tables.Integer, name, doc, func(r *routeRow) tables.Value { return tables.Int(int32(min(get(r), math.MaxInt32))) })
	}
	hidden := func(c tables.Column[routeRow]) tables.Column[routeRow] {
		c.Flags |= tables.Hidden
		return c
	}
	columns := []tables.Column[routeRow]{
		text("destination", "Network or host to which the route leads; 0.0.0.0 or :: with netmask 0 is the default.", func(r *routeRow) string { return r.Destination.Addr().String() }),
		integer("netmask", "Number of bits of the destination that count: 32 or 128 for a host.", func(r *routeRow) uint32 { return uint32(r.Destination.Bits()) }),
		text("gateway", "Where packets are sent to on the link; empty if the destination is there itself.", func(r *routeRow) string { return addressText(r.Gateway) }),
		text("source", "Address that such packets come from unless they have one; empty if none is set.", func(r *routeRow) string { return addressText(r.Source) }),
		integer("flags", "RTNH_F_* and RTM_F_* of rtnetlink.h.", func(r *routeRow) uint32 { return r.Flags }),
		text("interface", "Interface that packets leave by; empty if there is none.", func(r *routeRow) string { return r.device }),
		integer("mtu", "Bytes that a packet may have at most, 0 if that is the interface's.", func(r *routeRow) uint32 { return r.Metrics.MTU }),
		integer("metric", "Of routes to the same destination the one with the lowest metric counts.", func(r *routeRow) uint32 { return r.Priority }),
		{Name: "type", Type: tables.Text, Flags: tables.Additional, Doc: "gateway for a common route, local, broadcast, anycast, or other.",
			Get: func(r *routeRow) tables.Value { return tables.String(routeType(r.Route.Type)) }},
		integer("hopcount", "Hops that a packet may take, 0 for the default.", func(r *routeRow) uint32 { return r.Metrics.HopLimit }),
		hidden(integer("route_mss", "Bytes of data that TCP announces for a segment, 0 for the default.", func(r *routeRow) uint32 { return r.Metrics.MSS })),
		hidden(integer("route_window", "Bytes of window that TCP announces at most, 0 for the default.", func(r *routeRow) uint32 { return r.Metrics.Window })),
		hidden(integer("route_irtt", "Milliseconds of round trip that TCP assumes first, 0 for the default.", func(r *routeRow) uint32 { return r.Metrics.RTT >> 3 })),
		hidden(text("route_flag_letters", "Flags in netstat's letters: U up, G by a gateway, H to a host, ! none gets there.", func(r *routeRow) string { return routeLetters(&r.Route) })),
		namespaceColumn(func(r *routeRow) *location { return r.location }),
	}
	const typeColumn = 8
	return tables.New(tables.Def[routeRow]{
		Name:      "routes",
		Doc:       "Routes of all tables for IPv4 and IPv6; one with several next hops has a row for each (rtnetlink(7), RTM_GETROUTE).",
		Privilege: privilege,
		Examples: []string{
			"SELECT gateway, interface, metric FROM routes WHERE netmask = 0 AND type = 'gateway';",
			"SELECT destination, gateway, route_flag_letters, interface FROM routes WHERE type = 'gateway';",
		},
		Columns: columns,
		Rows: func(ctx context.Context, q *tables.Query, yield func(*routeRow) bool) error {
			types := q.Set(typeColumn)
			return c.spaces(ctx, q, len(columns)-1, func(s *space) (bool, error) {
				devices, err := names(ctx, s)
				if err != nil {
					return true, err
				}
				for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
					routes, err := s.Routes(ctx, family)
					for _, r := range routes {
						if !types.HasString(routeType(r.Type)) {
							continue
						}
						if !yield(&routeRow{s, r, devices[r.Index]}) {
							return false, nil
						}
					}
					if err != nil {
						return true, err
					}
				}
				return true, nil
			})
		},
	})
}

// routeType returns osquery's name of RTN_* (rtnetlink(7)).
func routeType(t uint8) string {
	switch t {
	case unix.RTN_UNICAST:
		return "gateway"
	case unix.RTN_LOCAL:
		return "local"
	case unix.RTN_BROADCAST:
		return "broadcast"
	case unix.RTN_ANYCAST:
		return "anycast"
	}
	return "other"
}

func routeLetters(r *rtnetlink.Route) string {
	letters := "U"
	switch r.Type {
	case unix.RTN_UNREACHABLE, unix.RTN_BLACKHOLE, unix.RTN_PROHIBIT, unix.RTN_THROW:
		letters = "!"
	}
	if r.Gateway.IsValid() {
		letters += "G"
	}
	if r.Destination.IsSingleIP() {
		letters += "H"
	}
	return letters
}

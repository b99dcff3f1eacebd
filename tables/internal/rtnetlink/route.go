package rtnetlink

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"sockql/tables/internal/netlink"
)

// A Route is a route, or one of the next hops of one: struct rtmsg and its
// attributes (include/uapi/linux/rtnetlink.h).
type Route struct {
	Destination netip.Prefix
	Gateway     netip.Addr // invalid if the destination is on the link
	Source      netip.Addr // preferred source address; invalid if none is set
	Index       uint32     // of the interface, 0 if there is none
	Table       uint32     // RT_TABLE_*
	Type        uint8      // RTN_*
	Flags       uint32     // RTNH_F_*, of rtm_flags
	Priority    uint32     // the metric
	Metrics     RouteMetrics
}

// RouteMetrics are the properties of RTA_METRICS that tools show, 0 if they
// are not set.
type RouteMetrics struct {
	MTU      uint32 // bytes
	Window   uint32 // bytes
	RTT      uint32 // milliseconds, in units of 1/8
	MSS      uint32 // RTAX_ADVMSS, bytes
	HopLimit uint32
}

// Routes returns the routes of all tables for a family, AF_INET or AF_INET6. A
// route with several next hops is there once for each. Everybody may.
func (c *Conn) Routes(ctx context.Context, family uint8) ([]Route, error) {
	request := make([]byte, unix.SizeofRtMsg)
	request[0] = family
	return list(ctx, c, "routes", unix.RTM_GETROUTE, request, func(b []byte, all []Route) ([]Route, error) {
		if len(b) > 0 && b[0] != family {
			return all, nil
		}
		return parseRoute(b, all)
	})
}

// parseRoute appends the next hops of a route.
func parseRoute(b []byte, all []Route) ([]Route, error) {
	if len(b) < unix.SizeofRtMsg {
		return all, fmt.Errorf("route: %w", netlink.ErrShort)
	}
	r := Route{Table: uint32(b[4]), Type: b[7], Flags: binary.NativeEndian.Uint32(b[8:])}
	bits := int(b[1])
	destination := netip.IPv4Unspecified()
	if b[0] == unix.AF_INET6 {
		destination = netip.IPv6Unspecified()
	}
	var hops []byte
	var metrics error
	err := netlink.Attributes(b[unix.SizeofRtMsg:], func(a netlink.Attribute) {
		switch a.Type {
		case unix.RTA_DST:
			if ip := ipAddress(a.Value); ip.IsValid() {
				destination = ip
			}
		case unix.RTA_PREFSRC:
			r.Source = ipAddress(a.Value)
		case unix.RTA_PRIORITY:
			r.Priority = a.Uint32()
		case unix.RTA_TABLE:
			r.Table = a.Uint32()
		case unix.RTA_METRICS:
			metrics = netlink.Attributes(a.Value, r.Metrics.set)
		case unix.RTA_MULTIPATH:
			hops = a.Value
		default:
			r.hop(a)
		}
	})
	if err = errors.Join(err, metrics); err != nil {
		return all, fmt.Errorf("route to %v: %w", destination, err)
	}
	r.Destination = netip.PrefixFrom(destination, bits)
	if !r.Destination.IsValid() {
		return all, fmt.Errorf("route to %v: %d bits", destination, bits)
	}
	if len(hops) == 0 {
		return append(all, r), nil
	}
	return parseHops(hops, r, all)
}

// hop reads an attribute that belongs to a next hop.
func (r *Route) hop(a netlink.Attribute) {
	switch a.Type {
	case unix.RTA_OIF:
		r.Index = a.Uint32()
	case unix.RTA_GATEWAY:
		r.Gateway = ipAddress(a.Value)
	case unix.RTA_VIA: // a gateway of the other family, behind the family
		if len(a.Value) > 2 {
			r.Gateway = ipAddress(a.Value[2:])
		}
	}
}

// parseHops reads the struct rtnexthop of a route with several.
func parseHops(b []byte, r Route, all []Route) ([]Route, error) {
	for len(b) > 0 {
		if len(b) < unix.SizeofRtNexthop {
			return all, fmt.Errorf("next hops to %v: %w", r.Destination, netlink.ErrShort)
		}
		size := int(binary.NativeEndian.Uint16(b))
		if size < unix.SizeofRtNexthop || size > len(b) {
			return all, fmt.Errorf("next hops to %v: length %d", r.Destination, size)
		}
		hop := r
		hop.Index = binary.NativeEndian.Uint32(b[4:])
		if err := netlink.Attributes(b[unix.SizeofRtNexthop:size], hop.hop); err != nil {
			return all, fmt.Errorf("next hops to %v: %w", r.Destination, err)
		}
		all = append(all, hop)
		b = b[min(netlink.Align(size), len(b)):]
	}
	return all, nil
}

func (m *RouteMetrics) set(a netlink.Attribute) {
	switch a.Type {
	case unix.RTAX_MTU:
		m.MTU = a.Uint32()
	case unix.RTAX_WINDOW:
		m.Window = a.Uint32()
	case unix.RTAX_RTT:
		m.RTT = a.Uint32()
	case unix.RTAX_ADVMSS:
		m.MSS = a.Uint32()
	case unix.RTAX_HOPLIMIT:
		m.HopLimit = a.Uint32()
	}
}

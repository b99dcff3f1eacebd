package rtnetlink

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net"

	"golang.org/x/sys/unix"

	"sockql/tables/internal/netlink"
)

// A Link is a network interface: struct ifinfomsg and its attributes
// (include/uapi/linux/if_link.h).
type Link struct {
	Index     int32
	Type      uint16 // ARPHRD_*, include/uapi/linux/if_arp.h
	Flags     uint32 // IFF_*, netdevice(7), with IFF_PROMISC for whatever reason
	Name      string
	Address   net.HardwareAddr // empty if it has none
	MTU       uint32           // bytes
	Stats     LinkStats
	StatsSeen bool
	Inet6     *Inet6Settings // nil if IPv6 is off or not there
}

// Inet6Settings are some of the numbers of net.ipv6.conf.<interface>
// (Documentation/networking/ip-sysctl.rst).
type Inet6Settings struct{ HopLimit, Forwarding, AcceptRedirects, AcceptRA int32 }

// LinkStats are the counters of struct rtnl_link_stats64 that tools show.
type LinkStats struct {
	RxPackets, TxPackets   uint64
	RxBytes, TxBytes       uint64
	RxErrors, TxErrors     uint64
	RxDropped, TxDropped   uint64
	Multicast, Collisions  uint64
	RxOverruns, TxOverruns uint64 // rx_fifo_errors, tx_fifo_errors
}

// Links returns the interfaces, also those that are down. Everybody may.
func (c *Conn) Links(ctx context.Context) ([]Link, error) {
	return list(ctx, c, "interfaces", unix.RTM_GETLINK, make([]byte, unix.SizeofIfInfomsg), func(b []byte, all []Link) ([]Link, error) {
		l, err := parseLink(b)
		if err != nil {
			return all, err
		}
		return append(all, l), nil
	})
}

func parseLink(b []byte) (Link, error) {
	if len(b) < unix.SizeofIfInfomsg {
		return Link{}, fmt.Errorf("interface: %w", netlink.ErrShort)
	}
	l := Link{
		Type:  binary.NativeEndian.Uint16(b[2:]),
		Index: int32(binary.NativeEndian.Uint32(b[4:])),
		Flags: binary.NativeEndian.Uint32(b[8:]),
	}
	err := netlink.Attributes(b[unix.SizeofIfInfomsg:], func(a netlink.Attribute) {
		switch a.Type {
		case unix.IFLA_IFNAME:
			l.Name = a.Text()
		case unix.IFLA_ADDRESS:
			l.Address = bytes.Clone(a.Value)
		case unix.IFLA_MTU:
			l.MTU = a.Uint32()
		case unix.IFLA_PROMISCUITY:
			if a.Uint32() > 0 { // the flag stands only for who asked with it
				l.Flags |= unix.IFF_PROMISC
			}
		case unix.IFLA_STATS64:
			l.Stats, l.StatsSeen = parseLinkStats(a.Value)
		case unix.IFLA_AF_SPEC:
			l.Inet6 = parseInet6(a.Value)
		}
	})
	if err != nil {
		return Link{}, fmt.Errorf("interface %d: %w", l.Index, err)
	}
	return l, nil
}

// parseLinkStats reads struct rtnl_link_stats64, to which kernels have added
// fields at the end.
func parseLinkStats(b []byte) (LinkStats, bool) {
	const fields = 23 // up to tx_compressed, Linux 2.6.35
	if len(b) < fields*8 {
		return LinkStats{}, false
	}
	field := func(i int) uint64 { return binary.NativeEndian.Uint64(b[8*i:]) }
	return LinkStats{
		RxPackets: field(0), TxPackets: field(1), RxBytes: field(2), TxBytes: field(3),
		RxErrors: field(4), TxErrors: field(5), RxDropped: field(6), TxDropped: field(7),
		Multicast: field(8), Collisions: field(9), RxOverruns: field(14), TxOverruns: field(18),
	}, true
}

// parseInet6 finds the array of settings (enum of include/uapi/linux/ipv6.h,
// DEVCONF_*) among what the address families tell of an interface.
func parseInet6(b []byte) *Inet6Settings {
	const (
		forwarding, hopLimit, acceptRA, acceptRedirects = 0, 1, 3, 4
		needed                                          = 5
	)
	var settings *Inet6Settings
	for family, v, rest := netlink.NextAttribute(b); v != nil; family, v, rest = netlink.NextAttribute(rest) {
		if family != unix.AF_INET6 {
			continue
		}
		for typ, v, rest := netlink.NextAttribute(v); v != nil; typ, v, rest = netlink.NextAttribute(rest) {
			if typ != unix.IFLA_INET6_CONF || len(v) < 4*needed {
				continue
			}
			at := func(i int) int32 { return int32(binary.NativeEndian.Uint32(v[4*i:])) }
			settings = &Inet6Settings{HopLimit: at(hopLimit), Forwarding: at(forwarding), AcceptRedirects: at(acceptRedirects), AcceptRA: at(acceptRA)}
		}
	}
	return settings
}

package network

import (
	"context"
	"math"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"sockql/tables"
	"sockql/tables/internal/rtnetlink"
)

type linkRow struct {
	*space
	rtnetlink.Link
	slot  string
	speed int64
}

// noMAC is what osquery shows of an interface without address.
var noMAC = net.HardwareAddr{0, 0, 0, 0, 0, 0}

func (r *linkRow) mac() string {
	if len(r.Address) == 0 {
		return noMAC.String()
	}
	return r.Address.String()
}

func linkInteger(name, doc string, get func(*linkRow) uint32) tables.Column[linkRow] {
	return column(tables.Integer, name, doc, func(r *linkRow) tables.Value { return tables.Int(int32(min(get(r), math.MaxInt32))) })
}

func linkCounter(name, doc string, get func(*rtnetlink.LinkStats) uint64) tables.Column[linkRow] {
	return column(tables.BigInt, name, doc+" NULL if the kernel does not count.", func(r *linkRow) tables.Value {
		if !r.StatsSeen {
			return tables.Null()
		}
		return tables.Uint(get(&r.Stats))
	})
}

// InterfaceDetails returns the table interface_details, with osquery's columns.
func InterfaceDetails(c Config) (tables.Table, error) {
	columns := []tables.Column[linkRow]{
		text("interface", "Interface.", func(r *linkRow) string { return r.Name }),
		{Name: "mac", Type: tables.Text, Collate: "NOCASE", Doc: "Address on the link, in hexadecimal digits with colons; zeros if it has none.",
			Get: func(r *linkRow) tables.Value { return tables.String(r.mac()) }},
		linkInteger("type", "Kind of link, ARPHRD_* of if_arp.h: 1 is Ethernet, 772 the loopback.", func(r *linkRow) uint32 { return uint32(r.Type) }),
		linkInteger("mtu", "Bytes that a packet may have at most.", func(r *linkRow) uint32 { return r.MTU }),
		linkInteger("metric", "0: Linux has no metric of interfaces.", func(*linkRow) uint32 { return 0 }),
		linkInteger("flags", "Bits of netdevice(7); 0x100 says that it takes packets that are not for this host.", func(r *linkRow) uint32 { return r.Flags }),
		linkCounter("ipackets", "Packets received.", func(s *rtnetlink.LinkStats) uint64 { return s.RxPackets }),
		linkCounter("opackets", "Packets sent.", func(s *rtnetlink.LinkStats) uint64 { return s.TxPackets }),
		linkCounter("ibytes", "Bytes received.", func(s *rtnetlink.LinkStats) uint64 { return s.RxBytes }),
		linkCounter("obytes", "Bytes sent.", func(s *rtnetlink.LinkStats) uint64 { return s.TxBytes }),
		linkCounter("ierrors", "Bad packets received.", func(s *rtnetlink.LinkStats) uint64 { return s.RxErrors }),
		linkCounter("oerrors", "Packets that could not be sent.", func(s *rtnetlink.LinkStats) uint64 { return s.TxErrors }),
		linkCounter("idrops", "Packets received and dropped, for want of room.", func(s *rtnetlink.LinkStats) uint64 { return s.RxDropped }),
		linkCounter("odrops", "Packets dropped on the way out.", func(s *rtnetlink.LinkStats) uint64 { return s.TxDropped }),
		linkCounter("collisions", "Collisions while sending.", func(s *rtnetlink.LinkStats) uint64 { return s.Collisions }),
		column(tables.BigInt, "last_change", "-1: Linux does not keep it.", func(*linkRow) tables.Value { return tables.Int(-1) }),
		column(tables.BigInt, "link_speed", "Speed of the link in megabits a second; 0 if the driver does not tell, the link is down or the interface is in another namespace.",
			func(r *linkRow) tables.Value { return tables.Int(r.speed) }),
		text("pci_slot", "Where the device is on its bus; empty for a virtual one, -1 if its driver does not tell or it is in another namespace.", func(r *linkRow) string { return r.slot }),
		namespaceColumn(func(r *linkRow) *location { return r.location }),
	}
	const speedColumn, slotColumn = 16, 17
	return tables.New(tables.Def[linkRow]{
		Name:      "interface_details",
		Doc:       "Network interfaces with their counters, also those that are down (rtnetlink(7), RTM_GETLINK).",
		Privilege: privilege,
		Examples: []string{
			"SELECT interface, mac, mtu FROM interface_details;",
			"SELECT interface FROM interface_details WHERE flags & 256;",
		},
		Columns: columns,
		Rows: func(ctx context.Context, q *tables.Query, yield func(*linkRow) bool) error {
			return c.eachLink(ctx, q, len(columns)-1, func(r *linkRow) bool {
				if q.Used(speedColumn) && r.own {
					r.speed = c.linkSpeed(r.Name)
				}
				if q.Used(slotColumn) {
					r.slot = pciSlot(r)
				}
				return yield(r)
			})
		},
	})
}

// eachLink calls yield for the interfaces that a query asks for until it
// returns false.
func (c Config) eachLink(ctx context.Context, q *tables.Query, namespaceColumn int, yield func(*linkRow) bool) error {
	return c.spaces(ctx, q, namespaceColumn, func(s *space) (bool, error) {
		list, err := links(ctx, s)
		for _, l := range list {
			if !yield(&linkRow{space: s, Link: l}) {
				return false, nil
			}
		}
		return true, err
	})
}

// linkSpeed reads /sys/class/net/<interface>/speed, megabits a second or -1
// (Documentation/ABI/testing/sysfs-class-net). A device that is down fails.
func (c Config) linkSpeed(name string) int64 {
	if c.Sys == "" {
		return 0
	}
	content, err := os.ReadFile(filepath.Join(c.Sys, "class/net", filepath.Base(name), "speed"))
	if err != nil {
		return 0
	}
	speed, err := strconv.ParseInt(strings.TrimSpace(string(content)), 10, 64)
	if err != nil {
		return 0
	}
	return max(speed, 0)
}

// pciSlot asks the driver of an interface of this process's namespace.
func pciSlot(r *linkRow) string {
	const unknown = "-1"
	if !r.own {
		return unknown
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return unknown
	}
	defer unix.Close(fd)
	info, err := unix.IoctlGetEthtoolDrvinfo(fd, r.Name)
	if err != nil {
		return unknown
	}
	return unix.ByteSliceToString(info.Bus_info[:])
}

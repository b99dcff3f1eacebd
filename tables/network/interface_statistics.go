package network

import (
	"context"

	"golang.org/x/sys/unix"

	"sockql/tables"
	"sockql/tables/internal/rtnetlink"
)

// InterfaceStatistics returns the table interface_statistics, which osquery
// does not have: what netstat(8) shows with -i and -a.
func InterfaceStatistics(c Config) (tables.Table, error) {
	columns := []tables.Column[linkRow]{
		text("interface", "Interface.", func(r *linkRow) string { return r.Name }),
		linkInteger("mtu", "Bytes that a packet may have at most.", func(r *linkRow) uint32 { return r.MTU }),
		linkInteger("metric", "0: Linux has no metric of interfaces.", func(*linkRow) uint32 { return 0 }),
		linkCounter("rx_packets", "Packets received, RX-OK.", func(s *rtnetlink.LinkStats) uint64 { return s.RxPackets }),
		linkCounter("rx_errors", "Bad packets received, RX-ERR.", func(s *rtnetlink.LinkStats) uint64 { return s.RxErrors }),
		linkCounter("rx_dropped", "Packets received and dropped, RX-DRP.", func(s *rtnetlink.LinkStats) uint64 { return s.RxDropped }),
		linkCounter("rx_overruns", "Packets that overran the device's queue, RX-OVR.", func(s *rtnetlink.LinkStats) uint64 { return s.RxOverruns }),
		linkCounter("tx_packets", "Packets sent, TX-OK.", func(s *rtnetlink.LinkStats) uint64 { return s.TxPackets }),
		linkCounter("tx_errors", "Packets that could not be sent, TX-ERR.", func(s *rtnetlink.LinkStats) uint64 { return s.TxErrors }),
		linkCounter("tx_dropped", "Packets dropped on the way out, TX-DRP.", func(s *rtnetlink.LinkStats) uint64 { return s.TxDropped }),
		linkCounter("tx_overruns", "Packets that the device's queue had no data for, TX-OVR.", func(s *rtnetlink.LinkStats) uint64 { return s.TxOverruns }),
		text("flag_letters", "Flags in netstat's letters: A all multicast, B broadcast, D debug, L loopback, M multicast, N no trailers, O no ARP, P promiscuous or point to point, R running, U up, m master, s slave.",
			func(r *linkRow) string { return flagLetters(r.Flags) }),
		namespaceColumn(func(r *linkRow) *location { return r.location }),
	}
	return tables.New(tables.Def[linkRow]{
		Name:      "interface_statistics",
		Doc:       "Network interfaces with their counters, also those that are down, as netstat -ia shows them.",
		Privilege: privilege,
		Examples:  []string{"SELECT * FROM interface_statistics WHERE rx_errors + rx_dropped + tx_errors + tx_dropped > 0;"},
		Columns:   columns,
		Rows: func(ctx context.Context, q *tables.Query, yield func(*linkRow) bool) error {
			return c.eachLink(ctx, q, len(columns)-1, yield)
		},
	})
}

// flagLetters writes flags of netdevice(7) as net-tools does (ife_print_short
// of lib/interface.c).
func flagLetters(flags uint32) string {
	if flags == 0 {
		return "[NO FLAGS]"
	}
	var letters []byte
	for _, f := range [...]struct {
		bit    uint32
		letter byte
	}{
		{unix.IFF_ALLMULTI, 'A'}, {unix.IFF_BROADCAST, 'B'}, {unix.IFF_DEBUG, 'D'}, {unix.IFF_LOOPBACK, 'L'},
		{unix.IFF_MULTICAST, 'M'}, {unix.IFF_NOTRAILERS, 'N'}, {unix.IFF_NOARP, 'O'}, {unix.IFF_POINTOPOINT, 'P'},
		{unix.IFF_PROMISC, 'P'}, {unix.IFF_SLAVE, 's'}, {unix.IFF_MASTER, 'm'}, {unix.IFF_RUNNING, 'R'}, {unix.IFF_UP, 'U'},
	} {
		if flags&f.bit != 0 {
			letters = append(letters, f.letter)
		}
	}
	return string(letters)
}

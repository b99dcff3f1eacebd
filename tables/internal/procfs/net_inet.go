package procfs

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"sockql/tables/internal/socket"
)

const (
	inetFields = socket.FieldFamily | socket.FieldType | socket.FieldProtocol | socket.FieldState |
		socket.FieldAddresses | socket.FieldQueues

	// tcpFields are the columns after the kernel's address of a TCP socket.
	tcpFields = socket.FieldRTO | socket.FieldATO | socket.FieldQuickACK | socket.FieldCWnd
)

// inetType returns type and protocol of the sockets in a list of AF_INET or
// AF_INET6. A raw socket's protocol stands in its own line.
func inetType(kind socket.Kind) (typ, protocol uint16) {
	switch kind {
	case socket.TCP4, socket.TCP6:
		return unix.SOCK_STREAM, unix.IPPROTO_TCP
	case socket.UDP4, socket.UDP6:
		return unix.SOCK_DGRAM, unix.IPPROTO_UDP
	case socket.UDPLite4, socket.UDPLite6:
		return unix.SOCK_DGRAM, unix.IPPROTO_UDPLITE
	case socket.ICMP4:
		return unix.SOCK_DGRAM, unix.IPPROTO_ICMP
	case socket.ICMP6:
		return unix.SOCK_DGRAM, unix.IPPROTO_ICMPV6
	}
	return unix.SOCK_RAW, 0
}

// decodeInet decodes a line of tcp, udp, udplite, raw, icmp and their twins for
// IPv6, described in proc_pid_net(5) and Documentation/networking/proc_net_tcp.rst.
// The columns up to the inode are always there; each kernel since 2.4 prints
// some more.
func decodeInet(d *decoder, line []byte, s *socket.Socket) error {
	c := cursor{line: line}
	c.slot()
	s.Local, s.LocalPort = c.endpoint(s.Family, "local address")
	s.Remote, s.RemotePort = c.endpoint(s.Family, "remote address")
	state := c.hex32(1, "state")
	if state > 0xff {
		c.fail("state")
	}
	s.State = uint8(state)
	c.more()
	s.TxQueue = c.word("tx_queue")
	c.colon("queues")
	s.RxQueue = c.word("rx_queue")
	c.more()
	timer := c.hex(1, "timer")
	c.colon("timer")
	expires := c.hex(1, "timer")
	if timer > 0xff || !c.ended() {
		c.fail("timer")
	}
	retransmits := c.hex32(1, "retransmits")
	s.UID = c.dec32("uid")
	timeout := c.dec("timeout")
	s.Inode = c.dec("inode")
	if c.bad != "" {
		return c.err()
	}
	s.Known |= inetFields | socket.FieldUID
	if c.more() {
		s.Refcount = c.dec32("reference count")
		c.token("pointer")
		s.Known |= socket.FieldRefcount
	}
	switch s.Kind {
	case socket.TCP4, socket.TCP6:
		s.Timer = socket.Timer(timer)
		s.TimerExpires = d.milliseconds(expires)
		s.Retransmits = uint8(min(retransmits, 0xff))
		s.Probes = uint8(min(timeout, 0xff))
		s.Known |= socket.FieldTimer | socket.FieldProbes
		d.tcp(&c, s)
	default:
		if s.Kind&(socket.Raw4|socket.Raw6) != 0 {
			s.Protocol = s.LocalPort
		}
		if c.more() {
			s.Drops = c.dec32("drops")
			s.Known |= socket.FieldDrops
		}
	}
	return c.err()
}

// tcp decodes what follows the kernel's address in get_tcp4_sock
// (net/ipv4/tcp_ipv4.c). Neither a TIME_WAIT socket (get_timewait4_sock) nor a
// request that awaits its last ACK (get_openreq4) has it; the former has zeros
// in place of a user and of probes, and may be in state FIN_WAIT2.
func (d *decoder) tcp(c *cursor, s *socket.Socket) {
	if s.Timer == socket.TimerTimeWait {
		s.Known &^= socket.FieldUID | socket.FieldProbes
	}
	if s.State == socket.StateListen {
		s.Backlog = s.RxQueue
		s.Known |= socket.FieldBacklog
	}
	if !c.more() {
		return
	}
	s.RTO = d.milliseconds(c.dec("rto"))
	s.ATO = d.milliseconds(c.dec("ato"))
	quick := c.dec32("quickack")
	s.QuickACK, s.PingPong = quick>>1, quick&1 != 0
	s.CongestionWindow = c.dec32("congestion window")
	s.Known |= tcpFields
	if !c.more() {
		return
	}
	last := c.signed("slow-start threshold")
	switch {
	case s.State == socket.StateListen:
		s.FastOpenLimit = uint32(max(last, 0))
		s.Known |= socket.FieldFastOpen
	case last >= 0:
		s.SlowStartThreshold = uint32(last)
		s.Known |= socket.FieldSSThresh
	}
}

// slot skips the number of the kernel's hash slot.
func (c *cursor) slot() {
	c.more()
	start := c.at
	for c.at < len(c.line) && c.line[c.at]-'0' <= 9 {
		c.at++
	}
	if c.at == start {
		c.fail("slot")
		return
	}
	c.colon("slot")
}

// endpoint takes an address, one or four 32-bit words each printed as a number
// of the host's byte order, and a port.
func (c *cursor) endpoint(family uint16, column string) (netip.Addr, uint16) {
	var b [16]byte
	words := 1
	if family == unix.AF_INET6 {
		words = 4
	}
	c.more()
	for i := range words {
		binary.NativeEndian.PutUint32(b[4*i:], c.word(column))
	}
	c.colon(column)
	port := c.hex(4, column)
	if !c.ended() || port > 0xffff {
		c.fail(column)
	}
	if c.bad != "" {
		return netip.Addr{}, 0
	}
	if words == 4 {
		return netip.AddrFrom16(b), uint16(port)
	}
	return netip.AddrFrom4([4]byte(b[:4])), uint16(port)
}

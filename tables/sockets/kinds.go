package sockets

import (
	"golang.org/x/sys/unix"

	"sockql/tables/internal/socket"
)

// A kindInfo is what all sockets of one kind have in common.
type kindInfo struct {
	kind   socket.Kind
	name   string
	family int64
	// protocol is the kernel's number, osquery the one that osquery shows for
	// the list, typ SOCK_*. They are varied where sockets of the kind differ.
	protocol, osquery, typ int64
	// lists says whether osquery reads these sockets at all.
	inOsquery bool
}

const varied = -1

// tcpLike are the kinds that follow TCP's state machine, and whose state
// osquery's tables show.
const tcpLike = socket.TCP4 | socket.TCP6 | socket.MPTCP4 | socket.MPTCP6

// osqueryRaw and osqueryICMP are what osquery shows as protocol for every
// socket of /proc/net/raw, raw6, icmp and icmp6: the list's number rather than
// the socket's, which for raw sockets is in the port.
const (
	osqueryRaw  = unix.IPPROTO_RAW
	osqueryICMP = unix.IPPROTO_ICMP
)

var kindInfos = [...]kindInfo{
	{socket.TCP4, "tcp", unix.AF_INET, unix.IPPROTO_TCP, unix.IPPROTO_TCP, unix.SOCK_STREAM, true},
	{socket.TCP6, "tcp6", unix.AF_INET6, unix.IPPROTO_TCP, unix.IPPROTO_TCP, unix.SOCK_STREAM, true},
	{socket.UDP4, "udp", unix.AF_INET, unix.IPPROTO_UDP, unix.IPPROTO_UDP, unix.SOCK_DGRAM, true},
	{socket.UDP6, "udp6", unix.AF_INET6, unix.IPPROTO_UDP, unix.IPPROTO_UDP, unix.SOCK_DGRAM, true},
	{socket.UDPLite4, "udplite", unix.AF_INET, unix.IPPROTO_UDPLITE, unix.IPPROTO_UDPLITE, unix.SOCK_DGRAM, true},
	{socket.UDPLite6, "udplite6", unix.AF_INET6, unix.IPPROTO_UDPLITE, unix.IPPROTO_UDPLITE, unix.SOCK_DGRAM, true},
	{socket.Raw4, "raw", unix.AF_INET, varied, osqueryRaw, unix.SOCK_RAW, true},
	{socket.Raw6, "raw6", unix.AF_INET6, varied, osqueryRaw, unix.SOCK_RAW, true},
	{socket.ICMP4, "icmp", unix.AF_INET, unix.IPPROTO_ICMP, osqueryICMP, unix.SOCK_DGRAM, true},
	{socket.ICMP6, "icmp6", unix.AF_INET6, unix.IPPROTO_ICMPV6, osqueryICMP, unix.SOCK_DGRAM, true},
	{socket.Unix, "unix", unix.AF_UNIX, 0, 0, varied, true},
	{socket.Packet, "packet", unix.AF_PACKET, varied, varied, varied, true},
	{socket.Netlink, "netlink", unix.AF_NETLINK, varied, varied, varied, false},
	{socket.MPTCP4, "mptcp", unix.AF_INET, unix.IPPROTO_MPTCP, unix.IPPROTO_MPTCP, unix.SOCK_STREAM, false},
	{socket.MPTCP6, "mptcp6", unix.AF_INET6, unix.IPPROTO_MPTCP, unix.IPPROTO_MPTCP, unix.SOCK_STREAM, false},
	{socket.SCTP4, "sctp", unix.AF_INET, unix.IPPROTO_SCTP, unix.IPPROTO_SCTP, varied, false},
	{socket.SCTP6, "sctp6", unix.AF_INET6, unix.IPPROTO_SCTP, unix.IPPROTO_SCTP, varied, false},
	{socket.DCCP4, "dccp", unix.AF_INET, unix.IPPROTO_DCCP, unix.IPPROTO_DCCP, varied, false},
	{socket.DCCP6, "dccp6", unix.AF_INET6, unix.IPPROTO_DCCP, unix.IPPROTO_DCCP, varied, false},
	{socket.Vsock, "vsock", unix.AF_VSOCK, varied, varied, varied, false},
	{socket.XDP, "xdp", unix.AF_XDP, varied, varied, varied, false},
	{socket.TIPC, "tipc", unix.AF_TIPC, varied, varied, varied, false},
	{socket.SMC, "smc", unix.AF_SMC, varied, varied, varied, false},
	{socket.Other, "other", varied, varied, varied, varied, false},
}

package procfs

import (
	"bytes"

	"sockql/tables/internal/socket"
)

// protocolKinds are the kinds of sockets by the names that the kernel gives
// protocols (struct proto of include/net/sock.h), where the number of sockets
// counts all that the kernel lists. That of TCP leaves out TIME_WAIT, that of
// NETLINK the kernel's own.
var protocolKinds = map[string]socket.Kind{
	"UDP": socket.UDP4, "UDPv6": socket.UDP6,
	"UDP-Lite": socket.UDPLite4, "UDPLITEv6": socket.UDPLite6,
	"RAW": socket.Raw4, "RAWv6": socket.Raw6,
	"PING": socket.ICMP4, "PINGv6": socket.ICMP6,
	"MPTCP": socket.MPTCP4, "MPTCPv6": socket.MPTCP6,
	"PACKET": socket.Packet,
}

// NoSockets reads /proc/<pid>/net/protocols (proc_net(5)) and returns kinds of
// which the process's network namespace has no socket.
func (p *FS) NoSockets(pid int32) (socket.Kind, error) {
	var none socket.Kind
	err := p.readProcess(pid, "net/protocols", func(b []byte) error {
		none = parseProtocols(b)
		return nil
	})
	return none, err
}

// parseProtocols takes the columns protocol, size and sockets, and leaves out
// lines that it does not understand. The kernel shows -1 where it does not count
// (proto_seq_printf, net/core/sock.c).
func parseProtocols(b []byte) (none socket.Kind) {
	for line := range bytes.SplitSeq(b, []byte{'\n'}) {
		c := cursor{line: line}
		kind := protocolKinds[string(c.token("protocol"))]
		c.more()
		c.dec("size")
		c.more()
		if c.dec("sockets") == 0 && c.err() == nil {
			none |= kind
		}
	}
	return none
}

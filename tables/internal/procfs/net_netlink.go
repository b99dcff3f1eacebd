package procfs

import "sockql/tables/internal/socket"

// decodeNetlink decodes a line of /proc/net/netlink (netlink_native_seq_show of
// net/netlink/af_netlink.c). Drops came with Linux 2.6.30 and the inode with
// 2.6.37; without the latter the socket has inode 0 and no holder is found.
func decodeNetlink(_ *decoder, line []byte, s *socket.Socket) error {
	c := cursor{line: line}
	c.token("pointer")
	protocol := c.dec32("protocol")
	port := c.signedOrUnsigned("port id")
	s.NetlinkGroups = c.hex32(8, "groups")
	s.RxQueue = c.dec32("receive queue")
	s.TxQueue = c.dec32("send queue")
	c.token("dump")
	s.Refcount = c.dec32("reference count")
	if protocol > 0xffff {
		c.fail("protocol")
	}
	s.Protocol, s.NetlinkPort = uint16(protocol), port
	s.Known |= socket.FieldFamily | socket.FieldProtocol | socket.FieldRefcount | socket.FieldQueues |
		socket.FieldNetlinkPort
	if c.more() {
		s.Drops = c.dec32("drops")
		s.Known |= socket.FieldDrops
	}
	if c.more() {
		s.Inode = c.dec("inode")
	}
	return c.err()
}

// signedOrUnsigned takes 32 bits that older kernels print with a sign.
func (c *cursor) signedOrUnsigned(column string) uint32 {
	c.more()
	if c.at < len(c.line) && c.line[c.at] == '-' {
		return uint32(c.signed(column))
	}
	return c.dec32(column)
}

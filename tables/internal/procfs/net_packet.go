package procfs

import "sockql/tables/internal/socket"

// decodePacket decodes a line of /proc/net/packet (packet_seq_show of
// net/packet/af_packet.c). The protocol is an EtherType in hexadecimal and
// host byte order. The text has no send queue: it counts as empty, as in ss(8).
func decodePacket(_ *decoder, line []byte, s *socket.Socket) error {
	c := cursor{line: line}
	c.token("pointer")
	s.Refcount = c.dec32("reference count")
	typ := c.dec32("type")
	protocol := c.hex32(1, "protocol")
	iface := c.signed("interface")
	c.dec32("running flag")
	s.RxQueue = c.dec32("receive queue")
	s.UID = c.dec32("uid")
	s.Inode = c.dec("inode")
	if typ > 0xffff {
		c.fail("type")
	}
	if protocol > 0xffff {
		c.fail("protocol")
	}
	s.Type, s.Protocol = uint16(typ), uint16(protocol)
	s.Known |= socket.FieldFamily | socket.FieldType | socket.FieldProtocol | socket.FieldRefcount |
		socket.FieldQueues | socket.FieldUID
	if iface >= 0 { // -1 once the interface is gone
		s.Interface = uint32(iface)
		s.Known |= socket.FieldInterface
	}
	return c.err()
}

package sockdiag

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"sockql/tables/internal/netlink"
	"sockql/tables/internal/socket"
)

// Packet requests and answers are those of include/uapi/linux/packet_diag.h.
const (
	packetShowInfo    = 0x01
	packetShowMemInfo = 0x10

	packetDiagInfo    = 0
	packetDiagUID     = 5
	packetDiagMemInfo = 6

	packetMsgSize = 16

	memRx = 0 * 4 // SK_MEMINFO_RMEM_ALLOC, include/uapi/linux/sock_diag.h
	memTx = 2 * 4 // SK_MEMINFO_WMEM_ALLOC
)

// appendPacketRequest appends struct packet_diag_req.
func appendPacketRequest(b []byte, l *list, req *socket.Request, _ []byte) []byte {
	var show uint32
	if req.Fields&(socket.FieldInterface|socket.FieldUID) != 0 {
		show |= packetShowInfo
	}
	if req.Fields&(socket.FieldQueues|socket.FieldDrops) != 0 {
		show |= packetShowMemInfo
	}
	return appendShowRequest(b, l, show)
}

// appendShowRequest appends the request that AF_PACKET, AF_NETLINK and AF_XDP
// have in common: family, protocol, padding, inode, what to show, cookie.
func appendShowRequest(b []byte, l *list, show uint32) []byte {
	b = appendHeader(b, unix.SOCK_DIAG_BY_FAMILY)
	b = append(b, l.family, uint8(l.protocol), 0, 0)
	b = append(b, 0, 0, 0, 0) // any inode
	b = binary.NativeEndian.AppendUint32(b, show)
	return append(b, 0, 0, 0, 0, 0, 0, 0, 0) // any cookie
}

// decodePacket decodes struct packet_diag_msg, whose protocol is an EtherType
// in host byte order, and its attributes. Packet sockets have no state.
func decodePacket(l *list, b []byte, _ socket.Fields, s *socket.Socket) bool {
	if len(b) < packetMsgSize || b[0] != unix.AF_PACKET {
		return false
	}
	s.Kind, s.Family, s.Type = l.kinds, unix.AF_PACKET, uint16(b[1])
	s.Protocol = binary.NativeEndian.Uint16(b[2:])
	s.Inode = uint64(uint32At(b, 4))
	s.Cookie = cookieAt(b, 8)
	s.Known |= socket.FieldFamily | socket.FieldType | socket.FieldProtocol | socket.FieldCookie
	for typ, v, rest := netlink.NextAttribute(b[packetMsgSize:]); v != nil; typ, v, rest = netlink.NextAttribute(rest) {
		switch typ {
		case packetDiagInfo:
			if len(v) >= 4 {
				// -1 once the interface is gone
				if index := uint32At(v, 0); int32(index) >= 0 {
					s.Interface = index
					s.Known |= socket.FieldInterface
				}
			}
		case packetDiagUID:
			if len(v) >= 4 {
				s.UID = uint32At(v, 0)
				s.Known |= socket.FieldUID
			}
		case packetDiagMemInfo:
			decodeMemory(v, s)
		}
	}
	return true
}

// decodeMemory decodes the array SK_MEMINFO of a socket whose queues are
// counted by the memory that they take.
func decodeMemory(v []byte, s *socket.Socket) {
	if len(v) >= memTx+4 {
		s.RxQueue, s.TxQueue = uint32At(v, memRx), uint32At(v, memTx)
		s.Known |= socket.FieldQueues
	}
	decodeDrops(v, s)
}

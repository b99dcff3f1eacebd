package sockdiag

import (
	"golang.org/x/sys/unix"

	"sockql/tables/internal/netlink"
	"sockql/tables/internal/socket"
)

// Netlink requests and answers are those of include/uapi/linux/netlink_diag.h.
const (
	allNetlinkProtocols = 0xff // NDIAG_PROTO_ALL

	netlinkShowMemInfo = 1
	netlinkShowGroups  = 2

	netlinkDiagMemInfo = 0
	netlinkDiagGroups  = 1

	netlinkMsgSize = 28
)

// appendNetlinkRequest appends struct netlink_diag_req.
func appendNetlinkRequest(b []byte, l *list, req *socket.Request, _ []byte) []byte {
	var show uint32
	if req.Fields&(socket.FieldQueues|socket.FieldDrops) != 0 {
		show |= netlinkShowMemInfo
	}
	if req.Fields&socket.FieldNetlinkPort != 0 {
		show |= netlinkShowGroups
	}
	return appendShowRequest(b, l, show)
}

// decodeNetlink decodes struct netlink_diag_msg and its attributes. The state
// is NETLINK_UNCONNECTED (0), NETLINK_CONNECTED (1), or TCP_CLOSE of a socket
// that is neither (net/netlink/af_netlink.c).
func decodeNetlink(l *list, b []byte, want socket.Fields, s *socket.Socket) bool {
	if len(b) < netlinkMsgSize || b[0] != unix.AF_NETLINK {
		return false
	}
	s.Kind, s.Family = l.kinds, unix.AF_NETLINK
	s.Type, s.Protocol, s.State = uint16(b[1]), uint16(b[2]), b[3]
	s.NetlinkPort = uint32At(b, 4)
	s.Inode = uint64(uint32At(b, 16))
	s.Cookie = cookieAt(b, 20)
	s.Known |= socket.FieldFamily | socket.FieldType | socket.FieldProtocol | socket.FieldState | socket.FieldCookie |
		want&socket.FieldNetlinkPort
	for typ, v, rest := netlink.NextAttribute(b[netlinkMsgSize:]); v != nil; typ, v, rest = netlink.NextAttribute(rest) {
		switch typ {
		case netlinkDiagMemInfo:
			decodeMemory(v, s)
		case netlinkDiagGroups:
			s.NetlinkGroups = uint32At(v, 0)
		}
	}
	return true
}

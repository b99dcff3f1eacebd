package sockdiag

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"sockql/tables/internal/netlink"
	"sockql/tables/internal/socket"
)

// UNIX requests and answers are those of include/uapi/linux/unix_diag.h.
const (
	unixShowName    = 0x01
	unixShowPeer    = 0x04
	unixShowRQLen   = 0x10
	unixShowMemInfo = 0x20
	unixShowUID     = 0x40 // Linux 5.3

	unixDiagName     = 0
	unixDiagPeer     = 2
	unixDiagRQLen    = 4
	unixDiagMemInfo  = 5
	unixDiagShutdown = 6
	unixDiagUID      = 7

	unixMsgSize = 16
)

const unixQueues = socket.FieldQueues | socket.FieldBacklog | socket.FieldBacklogLimit

// appendUnixRequest appends struct unix_diag_req.
func appendUnixRequest(b []byte, l *list, req *socket.Request, _ []byte) []byte {
	b = appendHeader(b, unix.SOCK_DIAG_BY_FAMILY)
	b = append(b, l.family, 0, 0, 0)
	b = binary.NativeEndian.AppendUint32(b, req.States)
	b = append(b, 0, 0, 0, 0) // any inode
	var show uint32
	for _, s := range []struct {
		fields socket.Fields
		flag   uint32
	}{
		{socket.FieldPath | socket.FieldPathExact, unixShowName},
		{socket.FieldPeer, unixShowPeer},
		{unixQueues, unixShowRQLen},
		{socket.FieldDrops, unixShowMemInfo},
		{socket.FieldUID, unixShowUID},
	} {
		if req.Fields&s.fields != 0 {
			show |= s.flag
		}
	}
	b = binary.NativeEndian.AppendUint32(b, show)
	return append(b, 0, 0, 0, 0, 0, 0, 0, 0) // any cookie
}

// decodeUnix decodes struct unix_diag_msg and its attributes. The kernel gives
// the state as TCP's code, and of a listener's queue the waiting connections
// and their limit (sk_diag_show_rqlen, net/unix/diag.c). The receive queue of a
// datagram socket is the length of the next datagram, as SIOCINQ tells it.
func decodeUnix(l *list, b []byte, want socket.Fields, s *socket.Socket) bool {
	if len(b) < unixMsgSize || b[0] != unix.AF_UNIX {
		return false
	}
	s.Kind, s.Family = l.kinds, unix.AF_UNIX
	s.Type, s.State = uint16(b[1]), b[2]
	s.Inode = uint64(uint32At(b, 4))
	s.Cookie = cookieAt(b, 8)
	s.Known |= socket.FieldFamily | socket.FieldType | socket.FieldProtocol | socket.FieldState | socket.FieldCookie
	// An attribute is left out for a socket without a name or a peer, which
	// is then known.
	s.Known |= want & (socket.FieldPath | socket.FieldPathExact | socket.FieldPeer)
	for typ, v, rest := netlink.NextAttribute(b[unixMsgSize:]); v != nil; typ, v, rest = netlink.NextAttribute(rest) {
		switch typ {
		case unixDiagName:
			setPath(v, s)
			s.Known |= socket.FieldPath | socket.FieldPathExact
		case unixDiagPeer:
			if len(v) >= 4 {
				s.PeerInode = uint64(uint32At(v, 0))
				s.Known |= socket.FieldPeer
			}
		case unixDiagRQLen:
			if len(v) >= 8 {
				s.RxQueue, s.TxQueue = uint32At(v, 0), uint32At(v, 4)
				s.Known |= socket.FieldQueues
			}
		case unixDiagMemInfo:
			decodeDrops(v, s)
		case unixDiagShutdown:
			decodeShutdown(v, s)
		case unixDiagUID:
			if len(v) >= 4 {
				s.UID = uint32At(v, 0)
				s.Known |= socket.FieldUID
			}
		}
	}
	if s.State == socket.StateListen && s.Known&socket.FieldQueues != 0 {
		s.Backlog, s.BacklogLimit = s.RxQueue, s.TxQueue
		s.Known |= socket.FieldBacklog | socket.FieldBacklogLimit
	}
	return true
}

// setPath takes a name as it stands in sun_path: abstract if it begins with
// NUL, else a file's, which the kernel ends with one.
func setPath(name []byte, s *socket.Socket) {
	s.PathAbstract = len(name) > 0 && name[0] == 0
	if n := len(name); n > 0 && !s.PathAbstract && name[n-1] == 0 {
		name = name[:n-1]
	}
	s.Path = string(name)
}

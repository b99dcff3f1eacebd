package sockdiag

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"sockql/tables/internal/netlink"
	"sockql/tables/internal/socket"
)

// appendVsockRequest appends struct vsock_diag_req
// (include/uapi/linux/vm_sockets_diag.h).
func appendVsockRequest(b []byte, l *list, req *socket.Request, _ []byte) []byte {
	b = appendHeader(b, unix.SOCK_DIAG_BY_FAMILY)
	b = append(b, l.family, 0, 0, 0)
	b = binary.NativeEndian.AppendUint32(b, req.States)
	return append(b, make([]byte, 16)...)
}

// decodeVsock decodes struct vsock_diag_msg. The states are TCP's.
func decodeVsock(l *list, b []byte, _ socket.Fields, s *socket.Socket) bool {
	if len(b) < 32 || b[0] != unix.AF_VSOCK {
		return false
	}
	s.Kind, s.Family = l.kinds, unix.AF_VSOCK
	s.Type, s.State, s.Shutdown = uint16(b[1]), b[2], b[3]
	s.Inode = uint64(uint32At(b, 20))
	s.Cookie = cookieAt(b, 24)
	s.Known |= socket.FieldFamily | socket.FieldType | socket.FieldProtocol | socket.FieldState |
		socket.FieldShutdown | socket.FieldCookie
	return true
}

// XDP requests and answers are those of include/uapi/linux/xdp_diag.h.
const (
	xdpShowInfo    = 1
	xdpShowMemInfo = 8

	xdpDiagInfo    = 1
	xdpDiagUID     = 2
	xdpDiagMemInfo = 8
)

// appendXDPRequest appends struct xdp_diag_req.
func appendXDPRequest(b []byte, l *list, req *socket.Request, _ []byte) []byte {
	var show uint32
	if req.Fields&(socket.FieldInterface|socket.FieldUID) != 0 {
		show |= xdpShowInfo
	}
	if req.Fields&(socket.FieldQueues|socket.FieldDrops) != 0 {
		show |= xdpShowMemInfo
	}
	return appendShowRequest(b, l, show)
}

// decodeXDP decodes struct xdp_diag_msg and its attributes.
func decodeXDP(l *list, b []byte, _ socket.Fields, s *socket.Socket) bool {
	const size = 16
	if len(b) < size || b[0] != unix.AF_XDP {
		return false
	}
	s.Kind, s.Family, s.Type = l.kinds, unix.AF_XDP, uint16(b[1])
	s.Inode = uint64(uint32At(b, 4))
	s.Cookie = cookieAt(b, 8)
	s.Known |= socket.FieldFamily | socket.FieldType | socket.FieldProtocol | socket.FieldCookie
	for typ, v, rest := netlink.NextAttribute(b[size:]); v != nil; typ, v, rest = netlink.NextAttribute(rest) {
		switch {
		case typ == xdpDiagInfo && len(v) >= 4:
			s.Interface = uint32At(v, 0)
			s.Known |= socket.FieldInterface
		case typ == xdpDiagUID && len(v) >= 4:
			s.UID = uint32At(v, 0)
			s.Known |= socket.FieldUID
		case typ == xdpDiagMemInfo:
			decodeMemory(v, s)
		}
	}
	return true
}

// TIPC answers are nested attributes of include/uapi/linux/tipc_netlink.h.
const (
	tipcSock = 2 // TIPC_NLA_SOCK

	tipcStat   = 5 // in TIPC_NLA_SOCK
	tipcType   = 6
	tipcInode  = 7
	tipcUID    = 8
	tipcState  = 9
	tipcCookie = 10

	tipcStatRx   = 1 // in TIPC_NLA_SOCK_STAT
	tipcStatTx   = 2
	tipcStatDrop = 5
)

// appendTIPCRequest appends struct tipc_sock_diag_req
// (include/uapi/linux/tipc_sockets_diag.h), whose states are TIPC's own.
func appendTIPCRequest(b []byte, l *list, _ *socket.Request, _ []byte) []byte {
	b = appendHeader(b, unix.SOCK_DIAG_BY_FAMILY)
	b = append(b, l.family, 0, 0, 0)
	return binary.NativeEndian.AppendUint32(b, socket.AllStates)
}

// decodeTIPC decodes what tipc_sk_fill_sock_diag (net/tipc/socket.c) writes.
func decodeTIPC(l *list, b []byte, _ socket.Fields, s *socket.Socket) bool {
	s.Kind, s.Family = l.kinds, unix.AF_TIPC
	s.Known |= socket.FieldFamily | socket.FieldProtocol
	found := false
	for typ, v, rest := netlink.NextAttribute(b); v != nil; typ, v, rest = netlink.NextAttribute(rest) {
		if typ != tipcSock {
			continue
		}
		found = true
		for typ, v, rest := netlink.NextAttribute(v); v != nil; typ, v, rest = netlink.NextAttribute(rest) {
			switch {
			case typ == tipcType && len(v) >= 4:
				s.Type = uint16(uint32At(v, 0))
				s.Known |= socket.FieldType
			case typ == tipcInode:
				s.Inode = uint64(uint32At(v, 0))
			case typ == tipcUID && len(v) >= 4:
				s.UID = uint32At(v, 0)
				s.Known |= socket.FieldUID
			case typ == tipcState && len(v) >= 4:
				s.State = uint8(uint32At(v, 0))
				s.Known |= socket.FieldState
			case typ == tipcCookie && len(v) >= 8:
				s.Cookie = uint64At(v, 0)
				s.Known |= socket.FieldCookie
			case typ == tipcStat:
				decodeTIPCStat(v, s)
			}
		}
	}
	return found
}

func decodeTIPCStat(b []byte, s *socket.Socket) {
	for typ, v, rest := netlink.NextAttribute(b); v != nil; typ, v, rest = netlink.NextAttribute(rest) {
		if len(v) < 4 {
			continue
		}
		switch typ {
		case tipcStatRx:
			s.RxQueue = uint32At(v, 0)
			s.Known |= socket.FieldQueues
		case tipcStatTx:
			s.TxQueue = uint32At(v, 0)
			s.Known |= socket.FieldQueues
		case tipcStatDrop:
			s.Drops = uint32At(v, 0)
			s.Known |= socket.FieldDrops
		}
	}
}

// appendSMCRequest appends struct smc_diag_req (include/uapi/linux/smc_diag.h).
func appendSMCRequest(b []byte, l *list, _ *socket.Request, _ []byte) []byte {
	b = appendHeader(b, unix.SOCK_DIAG_BY_FAMILY)
	b = append(b, l.family, 0, 0, 0)
	return append(b, make([]byte, sockIDSize)...)
}

// decodeSMC decodes struct smc_diag_msg, whose states are SMC's own
// (net/smc/smc.h) and whose addresses are those of the TCP connection below. An
// IPv4 address takes the first word and leaves the others zero
// (smc_diag_msg_common_fill, net/smc/smc_diag.c).
func decodeSMC(l *list, b []byte, _ socket.Fields, s *socket.Socket) bool {
	const size = 4 + sockIDSize + 4 + 8
	if len(b) < size || b[0] != unix.AF_SMC {
		return false
	}
	s.Kind, s.Family = l.kinds, unix.AF_SMC
	s.Type = unix.SOCK_STREAM
	s.State, s.Shutdown = b[1], b[3]
	decodeSockID(b[4:], s)
	if a, z := b[4+4:4+20], b[4+20:4+36]; allZero(a[4:]) && allZero(z[4:]) {
		s.Local, s.Remote = netip.AddrFrom4([4]byte(a[:4])), netip.AddrFrom4([4]byte(z[:4]))
	}
	s.UID = uint32At(b, 4+sockIDSize)
	s.Inode = uint64At(b, 4+sockIDSize+4)
	s.Known |= socket.FieldFamily | socket.FieldType | socket.FieldState | socket.FieldShutdown | socket.FieldUID
	return true
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

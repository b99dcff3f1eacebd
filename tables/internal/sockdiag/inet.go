package sockdiag

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"sockql/tables/internal/netlink"
	"sockql/tables/internal/socket"
)

// Inet requests and answers are those of include/uapi/linux/inet_diag.h.
const (
	tcpdiagGetsock = 18 // TCPDIAG_GETSOCK

	reqBytecode = 1 // INET_DIAG_REQ_BYTECODE
	reqProtocol = 3 // INET_DIAG_REQ_PROTOCOL, Linux 5.9

	diagInfo      = 2 // INET_DIAG_INFO
	diagSKMemInfo = 7 // INET_DIAG_SKMEMINFO
	diagShutdown  = 8
	diagProtocol  = 10
	diagSKV6Only  = 11
	diagMark      = 15
	diagMD5Sig    = 18
	diagCgroupID  = 21 // Linux 5.9

	sockIDSize  = 48 // struct inet_diag_sockid
	inetMsgSize = 4 + sockIDSize + 20

	memDrops = 8 * 4 // SK_MEMINFO_DROPS, include/uapi/linux/sock_diag.h
)

// tcpInfoFields are told by INET_DIAG_INFO only.
const tcpInfoFields = socket.FieldRTO | socket.FieldATO | socket.FieldCWnd | socket.FieldSSThresh | socket.FieldProbes

// appendInetRequest appends struct inet_diag_req_v2 and its attributes.
func appendInetRequest(b []byte, l *list, req *socket.Request, filter []byte) []byte {
	b = appendHeader(b, unix.SOCK_DIAG_BY_FAMILY)
	protocol := uint8(l.protocol)
	if l.protocol > 0xff {
		// A kernel that does not know the attribute must not take the number's
		// low byte for a protocol: 0 has no handler.
		protocol = 0
	}
	b = append(b, l.family, protocol, extensions(l, req.Fields), 0)
	b = binary.NativeEndian.AppendUint32(b, inetStates(l, req.States))
	b = append(b, make([]byte, sockIDSize)...)
	if l.protocol > 0xff {
		b = netlink.AppendAttribute(b, reqProtocol, binary.NativeEndian.AppendUint32(nil, uint32(l.protocol)))
	}
	return appendFilter(b, filter)
}

// appendTCPRequest appends struct inet_diag_req, which is older and has no
// protocol, but leaves the family open: the kernel goes over its hash tables
// once for IPv4 and IPv6.
func appendTCPRequest(b []byte, l *list, req *socket.Request, filter []byte) []byte {
	b = appendHeader(b, tcpdiagGetsock)
	b = append(b, unix.AF_UNSPEC, 0, 0, extensions(l, req.Fields))
	b = append(b, make([]byte, sockIDSize)...)
	b = binary.NativeEndian.AppendUint32(b, inetStates(l, req.States))
	b = append(b, 0, 0, 0, 0)
	return appendFilter(b, filter)
}

func appendFilter(b, filter []byte) []byte {
	if filter == nil {
		return b
	}
	return netlink.AppendAttribute(b, reqBytecode, filter)
}

// extensions returns the bits of the optional attributes that fields need.
// The kernel gathers them for every socket, under its lock in the case of
// INET_DIAG_INFO.
func extensions(l *list, fields socket.Fields) uint8 {
	var ext uint8
	if l.protocol == unix.IPPROTO_TCP && fields&tcpInfoFields != 0 {
		ext |= 1 << (diagInfo - 1)
	}
	if fields&socket.FieldDrops != 0 {
		ext |= 1 << (diagSKMemInfo - 1)
	}
	return ext
}

// inetStates returns the mask of states for the kernel. What a table shows as
// one state may be two to the kernel, and an SCTP association counts states
// differently, but for a listener's.
func inetStates(l *list, states uint32) uint32 {
	const (
		listen  = 1 << socket.StateListen
		synRecv = 1<<socket.StateSynRecv | 1<<socket.StateNewSynRecv
		closed  = 1<<socket.StateClose | 1<<socket.StateBoundInactive
	)
	if l.protocol == unix.IPPROTO_SCTP && states&^listen != 0 {
		return socket.AllStates
	}
	if states&synRecv != 0 {
		states |= synRecv
	}
	if states&closed != 0 {
		states |= closed
	}
	return states
}

// decodeInet decodes struct inet_diag_msg. Ports and addresses are in network
// byte order, everything else in host byte order.
func decodeInet(l *list, b []byte, want socket.Fields, s *socket.Socket) bool {
	if len(b) < inetMsgSize {
		return false
	}
	s.Family = uint16(b[0])
	s.Kind = l.kindOf(s.Family)
	s.State = b[1]
	s.Protocol = l.protocol
	decodeSockID(b[4:], s)
	s.Inode = uint64(uint32At(b, 68))
	s.Known |= socket.FieldFamily | socket.FieldProtocol | socket.FieldState
	s.Type = inetType(s.Kind)
	if s.Type != 0 {
		s.Known |= socket.FieldType
	}

	timer := socket.Timer(b[2])
	retransmits := b[3]
	if s.Kind&stream != 0 {
		s.Timer, s.TimerExpires = timer, uint32At(b, 52)
		// For the other timers the byte counts probes (inet_sk_diag_fill,
		// net/ipv4/inet_diag.c). Of a connection in SYN_RECV it counts every
		// answer that was sent again, while /proc/net/tcp leaves out those to a
		// repeated SYN (inet_req_diag_fill, get_openreq4).
		if timer == socket.TimerRetransmit {
			s.Retransmits = retransmits
		}
		s.Known |= socket.FieldTimer
	}
	s.RxQueue, s.TxQueue = uint32At(b, 56), uint32At(b, 60)
	s.Known |= socket.FieldQueues
	if s.State == socket.StateListen {
		s.Backlog, s.BacklogLimit = s.RxQueue, s.TxQueue
		s.Known |= socket.FieldBacklog | socket.FieldBacklogLimit
	}
	// What stands for a connection in TIME_WAIT, or one that is not yet made,
	// belongs to nobody; the kernel writes a zero (inet_twsk_diag_fill,
	// inet_req_diag_fill).
	if !(s.Kind&stream != 0 && (timer == socket.TimerTimeWait || s.State == socket.StateSynRecv)) {
		s.UID = uint32At(b, 64)
		s.Known |= socket.FieldUID
	}
	decodeInetAttributes(b[inetMsgSize:], s)
	return s.Kind != 0
}

// stream are the kinds that have timers.
const stream = socket.TCP4 | socket.TCP6 | socket.MPTCP4 | socket.MPTCP6 | socket.DCCP4 | socket.DCCP6

// inetType returns the type of a kind's sockets, or 0 if there are several.
func inetType(kind socket.Kind) uint16 {
	switch kind {
	case socket.TCP4, socket.TCP6, socket.MPTCP4, socket.MPTCP6:
		return unix.SOCK_STREAM
	case socket.UDP4, socket.UDP6, socket.UDPLite4, socket.UDPLite6:
		return unix.SOCK_DGRAM
	case socket.Raw4, socket.Raw6:
		return unix.SOCK_RAW
	case socket.DCCP4, socket.DCCP6:
		return unix.SOCK_DCCP
	}
	return 0
}

// decodeSockID decodes struct inet_diag_sockid, whose length has been checked.
func decodeSockID(b []byte, s *socket.Socket) {
	s.LocalPort = binary.BigEndian.Uint16(b)
	s.RemotePort = binary.BigEndian.Uint16(b[2:])
	if s.Family == unix.AF_INET {
		s.Local = netip.AddrFrom4([4]byte(b[4:8]))
		s.Remote = netip.AddrFrom4([4]byte(b[20:24]))
	} else {
		s.Local = netip.AddrFrom16([16]byte(b[4:20]))
		s.Remote = netip.AddrFrom16([16]byte(b[20:36]))
	}
	s.Interface = uint32At(b, 36)
	s.Cookie = cookieAt(b, 40)
	s.Known |= socket.FieldAddresses | socket.FieldInterface | socket.FieldCookie
}

func decodeInetAttributes(b []byte, s *socket.Socket) {
	for typ, v, rest := netlink.NextAttribute(b); v != nil; typ, v, rest = netlink.NextAttribute(rest) {
		switch typ {
		case diagInfo:
			if s.Kind&(socket.TCP4|socket.TCP6) != 0 {
				decodeTCPInfo(v, s)
			}
		case diagSKMemInfo:
			decodeDrops(v, s)
		case diagShutdown:
			decodeShutdown(v, s)
		case diagProtocol:
			if len(v) >= 1 && s.Kind&(socket.Raw4|socket.Raw6) != 0 {
				s.Protocol, s.LocalPort = uint16(v[0]), uint16(v[0])
			}
		case diagSKV6Only:
			if len(v) >= 1 {
				s.V6Only = v[0] != 0
				s.Known |= socket.FieldV6Only
			}
		case diagMark:
			if len(v) >= 4 {
				s.Mark = uint32At(v, 0)
				s.Known |= socket.FieldMark
			}
		case diagCgroupID:
			if len(v) >= 8 {
				s.CgroupID = uint64At(v, 0)
				s.Known |= socket.FieldCgroup
			}
		}
	}
}

// decodeDrops decodes the last word of the array SK_MEMINFO, Linux 4.6.
func decodeDrops(v []byte, s *socket.Socket) {
	if len(v) >= memDrops+4 {
		s.Drops = uint32At(v, memDrops)
		s.Known |= socket.FieldDrops
	}
}

func decodeShutdown(v []byte, s *socket.Socket) {
	if len(v) >= 1 {
		s.Shutdown = v[0]
		s.Known |= socket.FieldShutdown
	}
}

// decodeTCPInfo decodes struct tcp_info of include/uapi/linux/tcp.h, which has
// grown with the years and may be cut.
func decodeTCPInfo(v []byte, s *socket.Socket) {
	const (
		retransmits = 2
		probes      = 3
		rto         = 8  // microseconds
		ato         = 12 // microseconds
		ssthresh    = 76 // segments
		cwnd        = 80 // segments

		infiniteSSThresh = 0x7fffffff // TCP_INFINITE_SSTHRESH
	)
	if len(v) < cwnd+4 {
		return
	}
	s.CongestionWindow = uint32At(v, cwnd)
	s.Known |= socket.FieldCWnd
	s.Retransmits, s.Probes = v[retransmits], v[probes]
	s.Known |= socket.FieldProbes
	if s.State == socket.StateListen {
		return // tcp_get_info leaves the rest of a listener's at zero
	}
	s.RTO, s.ATO = uint32At(v, rto)/1000, uint32At(v, ato)/1000
	s.Known |= socket.FieldRTO | socket.FieldATO
	if n := uint32At(v, ssthresh); n < infiniteSSThresh {
		s.SlowStartThreshold = n
		s.Known |= socket.FieldSSThresh
	}
}

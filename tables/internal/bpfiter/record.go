package bpfiter

import (
	"encoding/binary"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"sockql/tables/internal/socket"
)

// Records are laid out as bpf/record.h says: struct record, cut after the user
// or whole, and then struct tcp_part or the name of a UNIX socket.
const (
	shortRecord = 56
	wholeRecord = 128
	tcpPart     = 32
)

// tcpFields stand in struct tcp_part.
const tcpFields = socket.FieldTimer | socket.FieldProbes | socket.FieldRTO | socket.FieldATO | socket.FieldQuickACK |
	socket.FieldCWnd | socket.FieldSSThresh | socket.FieldFastOpen

// shortFields stand in the part of struct record that is always there.
const shortFields = socket.FieldFamily | socket.FieldType | socket.FieldProtocol | socket.FieldState | socket.FieldUID |
	socket.FieldShutdown | socket.FieldV6Only | socket.FieldNetns

// A decoder turns records into sockets.
type decoder struct {
	jiffy time.Duration // the kernel's timers count in it
}

// newDecoder finds the length of a jiffy, which is the resolution of the coarse
// clocks (posix_get_coarse_res, kernel/time/posix-timers.c).
func newDecoder() decoder {
	var jiffy unix.Timespec
	if err := unix.ClockGetres(unix.CLOCK_MONOTONIC_COARSE, &jiffy); err != nil {
		return decoder{}
	}
	return decoder{time.Duration(jiffy.Nano())}
}

func (d decoder) milliseconds(jiffies uint32) uint32 {
	return uint32(uint64(jiffies) * uint64(d.jiffy) / uint64(time.Millisecond))
}

// next decodes the first record of b, and returns what identifies the socket
// and what follows the record. It returns false if b does not begin with a
// whole record.
func (d decoder) next(b []byte, s *socket.Socket) (id ID, rest []byte, ok bool) {
	if len(b) < shortRecord {
		return 0, nil, false
	}
	size := int(binary.NativeEndian.Uint16(b))
	kind := socket.Kind(1) << b[2]
	if size < shortRecord || size > len(b) || kind == 0 || kind > socket.Other {
		return 0, nil, false
	}
	b, rest = b[:size:size], b[size:]
	*s = socket.Socket{
		Kind:  kind,
		State: b[3],
		Known: socket.Fields(binary.NativeEndian.Uint32(b[4:])),
		Netns: uint64(binary.NativeEndian.Uint32(b[20:])),
		Inode: binary.NativeEndian.Uint64(b[24:]),

		Family:     binary.NativeEndian.Uint16(b[40:]),
		Type:       binary.NativeEndian.Uint16(b[42:]),
		Protocol:   binary.NativeEndian.Uint16(b[44:]),
		Shutdown:   b[46],
		LocalPort:  binary.NativeEndian.Uint16(b[48:]),
		RemotePort: binary.NativeEndian.Uint16(b[50:]),
		UID:        binary.NativeEndian.Uint32(b[52:]),

		Holder: socket.Holder{
			PID: int32(binary.NativeEndian.Uint32(b[8:])),
			TID: int32(binary.NativeEndian.Uint32(b[12:])),
			FD:  int32(binary.NativeEndian.Uint32(b[16:])),
		},
	}
	id = ID(binary.NativeEndian.Uint64(b[32:]))
	if kind&(socket.Raw4|socket.Raw6) != 0 {
		s.LocalPort = s.Protocol
	}
	if kind&socket.Inet6 != 0 {
		s.V6Only = b[47] != 0
	}
	if size < wholeRecord {
		s.Known &= shortFields
		return id, rest, true
	}
	d.whole(b, s)
	switch {
	case kind&(socket.TCP4|socket.TCP6) != 0 && size >= wholeRecord+tcpPart:
		d.tcp(b[wholeRecord:], s)
	case kind == socket.Unix && wholeRecord+int(b[47]) <= size:
		setPath(b[wholeRecord:wholeRecord+int(b[47])], s)
		s.Known &^= tcpFields
	default:
		// A socket of MPTCP has no timer, and is known not to.
		s.Known &^= tcpFields | socket.FieldPath | socket.FieldPathExact
		if kind&(socket.MPTCP4|socket.MPTCP6) != 0 {
			s.Known |= socket.Fields(binary.NativeEndian.Uint32(b[4:])) & socket.FieldTimer
		}
	}
	return id, rest, true
}

// whole decodes the second part of struct record.
func (d decoder) whole(b []byte, s *socket.Socket) {
	s.RxQueue = binary.NativeEndian.Uint32(b[56:])
	s.TxQueue = binary.NativeEndian.Uint32(b[60:])
	s.Interface = binary.NativeEndian.Uint32(b[64:])
	s.Mark = binary.NativeEndian.Uint32(b[68:])
	s.Drops = binary.NativeEndian.Uint32(b[72:])
	s.Refcount = binary.NativeEndian.Uint32(b[76:])
	s.Cookie = binary.NativeEndian.Uint64(b[80:])
	s.CgroupID = binary.NativeEndian.Uint64(b[88:])
	if s.State == socket.StateListen && s.Kind&(socket.Inet|socket.Unix) != 0 && s.Known&socket.FieldQueues != 0 {
		s.Backlog, s.BacklogLimit = s.RxQueue, s.TxQueue
		s.Known |= socket.FieldBacklog | socket.FieldBacklogLimit
	}
	switch {
	case s.Known&socket.FieldAddresses != 0 && s.Kind&socket.Inet4 != 0:
		s.Local, s.Remote = netip.AddrFrom4([4]byte(b[96:])), netip.AddrFrom4([4]byte(b[112:]))
	case s.Known&socket.FieldAddresses != 0 && s.Kind&socket.Inet6 != 0:
		s.Local, s.Remote = netip.AddrFrom16([16]byte(b[96:])), netip.AddrFrom16([16]byte(b[112:]))
	case s.Kind == socket.Unix:
		s.PeerInode = binary.NativeEndian.Uint64(b[96:])
	case s.Kind == socket.Netlink:
		s.NetlinkPort = binary.NativeEndian.Uint32(b[96:])
		s.NetlinkGroups = binary.NativeEndian.Uint32(b[100:])
	}
}

// tcp decodes struct tcp_part, whose length has been checked.
func (d decoder) tcp(b []byte, s *socket.Socket) {
	s.Timer = socket.Timer(b[0])
	s.Retransmits, s.Probes, s.PingPong = b[1], b[2], b[3] != 0
	s.TimerExpires = d.milliseconds(binary.NativeEndian.Uint32(b[4:]))
	s.RTO = d.milliseconds(binary.NativeEndian.Uint32(b[8:]))
	s.ATO = d.milliseconds(binary.NativeEndian.Uint32(b[12:]))
	s.QuickACK = binary.NativeEndian.Uint32(b[16:])
	s.CongestionWindow = binary.NativeEndian.Uint32(b[20:])
	if s.Known&socket.FieldSSThresh != 0 {
		s.SlowStartThreshold = binary.NativeEndian.Uint32(b[24:])
	}
	s.FastOpenLimit = binary.NativeEndian.Uint32(b[28:])
}

// setPath takes a name as it stands in sun_path: abstract if it begins with
// NUL, else a file's, which the kernel ends with one (unix(7)).
func setPath(name []byte, s *socket.Socket) {
	s.PathAbstract = len(name) > 0 && name[0] == 0
	if n := len(name); n > 0 && !s.PathAbstract && name[n-1] == 0 {
		name = name[:n-1]
	}
	s.Path = string(name)
}

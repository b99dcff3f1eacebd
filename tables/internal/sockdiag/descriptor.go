package sockdiag

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"

	"sockql/tables/internal/netns"
	"sockql/tables/internal/socket"
)

// Lookup asks the kernel what socket stands behind a descriptor of another
// process, given by a pidfd (pidfd_open(2)), and fills in s what socket(7)
// options tell: cookie, family, type, protocol, addresses or name, state, user,
// interface, mark, IPV6_V6ONLY. It has no holder. The socket's namespace comes
// as a handle, which the caller closes, if the caller has CAP_NET_ADMIN in it,
// and is nil otherwise; the caller's own namespace is recognized all the same.
//
// Lookup needs Linux 5.6 and leave to ptrace the process (pidfd_getfd(2)). It
// returns ESRCH or EBADF if the process or the descriptor is gone and ENOTSOCK
// if it is no socket. For an instant it holds a reference to the socket, which
// keeps a connection open whose holder closes it in that instant; so it is for
// sockets that no list shows.
func Lookup(pidfd int, fd int32, s *socket.Socket) (*netns.Handle, error) {
	dup, err := unix.PidfdGetfd(pidfd, int(fd), 0)
	if err != nil {
		return nil, fmt.Errorf("sockdiag: descriptor %d: pidfd_getfd: %w", fd, err)
	}
	defer unix.Close(dup)
	*s = socket.Socket{Kind: socket.Other, Holder: socket.Holder{PID: -1, TID: -1, FD: -1}}
	if err := describe(dup, s); err != nil {
		return nil, fmt.Errorf("sockdiag: descriptor %d: %w", fd, err)
	}
	ns, err := namespaceOf(dup)
	switch {
	case err == nil:
		s.Netns = ns.Inode()
		s.Known |= socket.FieldNetns
	case isLocal(dup):
		if s.Netns, err = netns.Current(); err == nil {
			s.Known |= socket.FieldNetns
		}
	}
	return ns, nil
}

// isLocal reports whether a socket is in the caller's own network namespace,
// which takes no privilege: SO_NETNS_COOKIE, Linux 5.14, numbers namespaces.
func isLocal(fd int) bool {
	own, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(own)
	here, err := unix.GetsockoptUint64(own, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if err != nil {
		return false
	}
	there, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	return err == nil && here == there
}

// namespaceOf opens the network namespace of a socket, Linux 4.9 (SIOCGSKNS,
// net/socket.c).
func namespaceOf(fd int) (*netns.Handle, error) {
	ns, err := unix.IoctlRetInt(fd, unix.SIOCGSKNS)
	if err != nil {
		return nil, err
	}
	unix.CloseOnExec(ns)
	return netns.FromFD(ns)
}

// describe fills in what the descriptor of a socket tells.
func describe(fd int, s *socket.Socket) error {
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return fmt.Errorf("SO_DOMAIN: %w", err)
	}
	s.Family = uint16(domain)
	s.Known |= socket.FieldFamily
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err == nil {
		s.Inode, s.UID = st.Ino, st.Uid
		s.Known |= socket.FieldUID
	}
	if n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE); err == nil {
		s.Type = uint16(n)
		s.Known |= socket.FieldType
	}
	if n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL); err == nil {
		s.Protocol = uint16(n)
		s.Known |= socket.FieldProtocol
	}
	if n, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_COOKIE); err == nil {
		s.Cookie = n
		s.Known |= socket.FieldCookie
	}
	if n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK); err == nil {
		s.Mark = uint32(n)
		s.Known |= socket.FieldMark
	}
	s.Kind = kind(s.Family, s.Type, s.Protocol)
	switch s.Family {
	case unix.AF_INET, unix.AF_INET6:
		describeInet(fd, s)
	case unix.AF_UNIX:
		describeUnix(fd, s)
	case unix.AF_PACKET:
		describePacket(fd, s)
	case unix.AF_NETLINK:
		describeNetlink(fd, s)
	}
	return nil
}

func describeInet(fd int, s *socket.Socket) {
	if n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX); err == nil { // Linux 5.0
		s.Interface = uint32(n)
		s.Known |= socket.FieldInterface
	}
	if s.Family == unix.AF_INET6 {
		if n, err := unix.GetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY); err == nil {
			s.V6Only = n != 0
			s.Known |= socket.FieldV6Only
		}
	}
	var buf sockaddr
	if name, err := buf.get(unix.SYS_GETSOCKNAME, fd); err == nil {
		s.Local, s.LocalPort = inetAddress(name)
		s.Remote = netip.IPv6Unspecified()
		if s.Family == unix.AF_INET {
			s.Remote = netip.IPv4Unspecified()
		}
		s.Known |= socket.FieldAddresses
	}
	if peer, err := buf.get(unix.SYS_GETPEERNAME, fd); err == nil {
		s.Remote, s.RemotePort = inetAddress(peer)
	}
	switch s.Kind {
	case socket.TCP4, socket.TCP6:
		var info [unix.SizeofTCPInfo]byte
		if n, err := getsockopt(fd, unix.IPPROTO_TCP, unix.TCP_INFO, info[:]); err == nil && n > 0 {
			s.State = info[0]
			s.Known |= socket.FieldState
			decodeTCPInfo(info[:n], s)
		}
	case socket.Raw4, socket.Raw6:
		s.LocalPort = s.Protocol
		setState(fd, s)
	default:
		setState(fd, s)
	}
}

func describeUnix(fd int, s *socket.Socket) {
	var buf sockaddr
	if name, err := buf.get(unix.SYS_GETSOCKNAME, fd); err == nil && len(name) >= 2 {
		setPath(name[2:], s)
		s.Known |= socket.FieldPath | socket.FieldPathExact
	}
	setState(fd, s)
}

// describePacket decodes struct sockaddr_ll (packet(7)), whose protocol is in
// network byte order. SO_PROTOCOL does not tell it.
func describePacket(fd int, s *socket.Socket) {
	s.Known &^= socket.FieldProtocol
	var buf sockaddr
	name, err := buf.get(unix.SYS_GETSOCKNAME, fd)
	if err != nil || len(name) < 8 {
		return
	}
	s.Protocol = binary.BigEndian.Uint16(name[2:])
	s.Known |= socket.FieldProtocol
	if index := uint32At(name, 4); int32(index) >= 0 {
		s.Interface = index
		s.Known |= socket.FieldInterface
	}
}

// describeNetlink decodes struct sockaddr_nl (netlink(7)).
func describeNetlink(fd int, s *socket.Socket) {
	var buf sockaddr
	if name, err := buf.get(unix.SYS_GETSOCKNAME, fd); err == nil && len(name) >= 12 {
		s.NetlinkPort, s.NetlinkGroups = uint32At(name, 4), uint32At(name, 8)
		s.Known |= socket.FieldNetlinkPort
	}
}

// setState finds the state of a socket that has no more than three.
func setState(fd int, s *socket.Socket) {
	s.State = socket.StateClose
	var buf sockaddr
	if n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err == nil && n != 0 {
		s.State = socket.StateListen
	} else if _, err := buf.get(unix.SYS_GETPEERNAME, fd); err == nil {
		s.State = socket.StateEstablished
	}
	s.Known |= socket.FieldState
}

// kind returns the list that a socket belongs to.
func kind(family, typ, protocol uint16) socket.Kind {
	switch family {
	case unix.AF_UNIX:
		return socket.Unix
	case unix.AF_PACKET:
		return socket.Packet
	case unix.AF_NETLINK:
		return socket.Netlink
	case unix.AF_VSOCK:
		return socket.Vsock
	case unix.AF_XDP:
		return socket.XDP
	case unix.AF_TIPC:
		return socket.TIPC
	case unix.AF_SMC:
		return socket.SMC
	case unix.AF_INET:
		if k := inetKind(typ, protocol) & socket.Inet4; k != 0 {
			return k
		}
	case unix.AF_INET6:
		if k := inetKind(typ, protocol) & socket.Inet6; k != 0 {
			return k
		}
	}
	return socket.Other
}

// inetKind returns the kinds of both families.
func inetKind(typ, protocol uint16) socket.Kind {
	if typ == unix.SOCK_RAW {
		return socket.Raw4 | socket.Raw6
	}
	if protocol == unix.IPPROTO_ICMP || protocol == unix.IPPROTO_ICMPV6 {
		return socket.ICMP4 | socket.ICMP6
	}
	var kinds socket.Kind
	for i := range lists {
		if l := &lists[i]; l.protocol == protocol && l.kinds&socket.Inet != 0 {
			kinds |= l.kinds
		}
	}
	return kinds
}

// A sockaddr has room for any address, struct sockaddr_storage.
type sockaddr [128]byte

// get calls getsockname(2) or getpeername(2). The wrappers of x/sys cut the
// name of an abstract UNIX socket at a NUL.
func (b *sockaddr) get(call uintptr, fd int) ([]byte, error) {
	size := uint32(len(b))
	_, _, errno := unix.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(b)), uintptr(unsafe.Pointer(&size)))
	if errno != 0 {
		return nil, errno
	}
	return b[:min(int(size), len(b))], nil
}

// inetAddress decodes struct sockaddr_in and sockaddr_in6 (ip(7), ipv6(7)),
// whose port and address are in network byte order.
func inetAddress(b []byte) (netip.Addr, uint16) {
	if len(b) < 8 {
		return netip.Addr{}, 0
	}
	port := binary.BigEndian.Uint16(b[2:])
	switch family := binary.NativeEndian.Uint16(b); {
	case family == unix.AF_INET:
		return netip.AddrFrom4([4]byte(b[4:8])), port
	case family == unix.AF_INET6 && len(b) >= 24:
		return netip.AddrFrom16([16]byte(b[8:24])), port
	}
	return netip.Addr{}, 0
}

func getsockopt(fd, level, option int, b []byte) (int, error) {
	size := uint32(len(b))
	_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(option),
		uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return 0, errno
	}
	return min(int(size), len(b)), nil
}

// kcmpFiles asks whether two tasks share a descriptor table (KCMP_FILES,
// include/uapi/linux/kcmp.h).
const kcmpFiles = 2

// SharesFiles reports whether two threads, usually of one process, have the
// same descriptor table. It needs leave to ptrace both and a kernel with
// CONFIG_KCMP, Linux 3.5 (kcmp(2)); it returns ESRCH if one is gone and ENOSYS
// if the kernel cannot tell. The numbers are those of the caller's own pid
// namespace.
func SharesFiles(pid, tid int32) (bool, error) {
	order, _, errno := unix.Syscall6(unix.SYS_KCMP, uintptr(pid), uintptr(tid), kcmpFiles, 0, 0, 0)
	if errno != 0 {
		return false, fmt.Errorf("sockdiag: compare descriptor tables of %d and %d: %w", pid, tid, errno)
	}
	return order == 0, nil
}

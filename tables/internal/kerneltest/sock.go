package kerneltest

import (
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A Sock is a socket whose descriptor belongs to the test process. It is
// closed at the end of the test, if not before.
type Sock struct {
	FD int // -1 once closed
	tb testing.TB
}

// Socket makes a socket inside the namespace as socket(2) does. It skips the
// test if the kernel does not have the family or protocol.
func (ns *Namespace) Socket(tb testing.TB, domain, typ, proto int) *Sock {
	tb.Helper()
	var fd int
	var err error
	ns.Do(tb, func() { fd, err = unix.Socket(domain, typ|unix.SOCK_CLOEXEC, proto) })
	if unsupported(err) {
		tb.Skipf("needs socket(%d, %d, %d): %v", domain, typ, proto, err)
	}
	if err != nil {
		tb.Fatalf("socket(%d, %d, %d): %v", domain, typ, proto, err)
	}
	return Adopt(tb, fd)
}

// Adopt takes over a socket's descriptor that the test made by other means.
func Adopt(tb testing.TB, fd int) *Sock {
	s := &Sock{FD: fd, tb: tb}
	tb.Cleanup(s.Close)
	return s
}

// Close closes the test's descriptor. A second call does nothing.
func (s *Sock) Close() {
	if s.FD >= 0 {
		unix.Close(s.FD)
		s.FD = -1
	}
}

// Dup returns another descriptor of the same socket.
func (s *Sock) Dup() *Sock {
	s.tb.Helper()
	fd, err := unix.FcntlInt(uintptr(s.FD), unix.F_DUPFD_CLOEXEC, 0)
	s.must("dup", err)
	return Adopt(s.tb, fd)
}

// Inode returns the socket's inode in sockfs.
func (s *Sock) Inode() uint64 {
	s.tb.Helper()
	n, err := inode(s.FD)
	s.must("inode", err)
	return n
}

// Cookie returns SO_COOKIE.
func (s *Sock) Cookie() uint64 {
	s.tb.Helper()
	c, err := unix.GetsockoptUint64(s.FD, unix.SOL_SOCKET, unix.SO_COOKIE)
	s.must("SO_COOKIE", err)
	return c
}

// Local returns the address and port of an inet socket.
func (s *Sock) Local() netip.AddrPort {
	s.tb.Helper()
	sa, err := unix.Getsockname(s.FD)
	s.must("getsockname", err)
	return addrPort(sa)
}

// Remote returns the peer's address and port of a connected inet socket.
func (s *Sock) Remote() netip.AddrPort {
	s.tb.Helper()
	sa, err := unix.Getpeername(s.FD)
	s.must("getpeername", err)
	return addrPort(sa)
}

// Bind binds an inet socket. The address is as in "127.0.0.1:0" or "[::1]:80".
func (s *Sock) Bind(addr string) *Sock {
	s.tb.Helper()
	s.must("bind "+addr, unix.Bind(s.FD, sockaddr(s.tb, addr)))
	return s
}

// Connect connects an inet socket.
func (s *Sock) Connect(addr string) *Sock {
	s.tb.Helper()
	s.must("connect "+addr, unix.Connect(s.FD, sockaddr(s.tb, addr)))
	return s
}

// Listen makes it a listener with room for backlog connections.
func (s *Sock) Listen(backlog int) *Sock {
	s.tb.Helper()
	s.must("listen", unix.Listen(s.FD, backlog))
	return s
}

// Accept returns the next connection of a listener, and waits for it.
func (s *Sock) Accept() *Sock {
	s.tb.Helper()
	fd, _, err := unix.Accept4(s.FD, unix.SOCK_CLOEXEC)
	s.must("accept", err)
	return Adopt(s.tb, fd)
}

// Set sets an integer option as setsockopt(2) does.
func (s *Sock) Set(level, option, value int) *Sock {
	s.tb.Helper()
	s.must("setsockopt", unix.SetsockoptInt(s.FD, level, option, value))
	return s
}

// Shutdown ends one direction or both: SHUT_RD, SHUT_WR, SHUT_RDWR.
func (s *Sock) Shutdown(how int) *Sock {
	s.tb.Helper()
	s.must("shutdown", unix.Shutdown(s.FD, how))
	return s
}

// Write sends data and fails the test if not all of it is taken at once.
func (s *Sock) Write(data string) *Sock {
	s.tb.Helper()
	n, err := unix.Write(s.FD, []byte(data))
	s.must("write", err)
	if n != len(data) {
		s.tb.Fatalf("write: %d of %d bytes", n, len(data))
	}
	return s
}

// Deafen has the socket drop every packet that comes from now on, by a socket
// filter that accepts none (SO_ATTACH_FILTER, socket(7)). What its peer sends
// is never acknowledged.
func (s *Sock) Deafen() *Sock {
	s.tb.Helper()
	none := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}}
	err := unix.SetsockoptSockFprog(s.FD, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(none)), Filter: &none[0]})
	s.must("SO_ATTACH_FILTER", err)
	return s
}

func (s *Sock) must(op string, err error) {
	s.tb.Helper()
	if err != nil {
		s.tb.Fatalf("socket %d: %s: %v", s.FD, op, err)
	}
}

func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port))
	}
	return netip.AddrPort{}
}

func sockaddr(tb testing.TB, addr string) unix.Sockaddr {
	tb.Helper()
	ap, err := netip.ParseAddrPort(addr)
	if err != nil {
		tb.Fatal(err)
	}
	if ap.Addr().Is4() {
		return &unix.SockaddrInet4{Addr: ap.Addr().As4(), Port: int(ap.Port())}
	}
	return &unix.SockaddrInet6{Addr: ap.Addr().As16(), Port: int(ap.Port())}
}

// domain returns the family that an address such as "[::1]:80" belongs to.
func domain(addr string) int {
	if strings.HasPrefix(addr, "[") {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

// UDP makes a datagram socket bound to an address.
func (ns *Namespace) UDP(tb testing.TB, local string) *Sock {
	tb.Helper()
	return ns.Socket(tb, domain(local), unix.SOCK_DGRAM, 0).Bind(local)
}

// UDPLite makes a UDP-Lite socket bound to an address.
func (ns *Namespace) UDPLite(tb testing.TB, local string) *Sock {
	tb.Helper()
	return ns.Socket(tb, domain(local), unix.SOCK_DGRAM, unix.IPPROTO_UDPLITE).Bind(local)
}

// Raw makes a raw socket of a family, AF_INET or AF_INET6, and protocol.
func (ns *Namespace) Raw(tb testing.TB, family, proto int) *Sock {
	tb.Helper()
	return ns.Socket(tb, family, unix.SOCK_RAW, proto)
}

// Ping makes a ping socket, icmp(7), bound to an address whose port is the
// identifier of its echo requests.
func (ns *Namespace) Ping(tb testing.TB, local string) *Sock {
	tb.Helper()
	proto := unix.IPPROTO_ICMP
	if domain(local) == unix.AF_INET6 {
		proto = unix.IPPROTO_ICMPV6
	}
	return ns.Socket(tb, domain(local), unix.SOCK_DGRAM, proto).Bind(local)
}

// Packet makes a packet(7) socket of an EtherType such as ETH_P_ALL, on the
// loopback interface.
func (ns *Namespace) Packet(tb testing.TB, typ int, etherType uint16) *Sock {
	tb.Helper()
	network := etherType<<8 | etherType>>8
	s := ns.Socket(tb, unix.AF_PACKET, typ, int(network))
	s.must("bind", unix.Bind(s.FD, &unix.SockaddrLinklayer{Protocol: network, Ifindex: loopbackIndex}))
	return s
}

// loopbackIndex is the index of lo in every namespace (LOOPBACK_IFINDEX,
// include/net/flow.h).
const loopbackIndex = 1

// Netlink makes a netlink(7) socket of a protocol such as NETLINK_ROUTE, with
// a port of the kernel's choice.
func (ns *Namespace) Netlink(tb testing.TB, proto int) *Sock {
	tb.Helper()
	s := ns.Socket(tb, unix.AF_NETLINK, unix.SOCK_RAW, proto)
	s.must("bind", unix.Bind(s.FD, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}))
	return s
}

// Vsock makes a vsock(7) listener. Vsock sockets belong to no network
// namespace.
func (ns *Namespace) Vsock(tb testing.TB) *Sock {
	tb.Helper()
	s := ns.Socket(tb, unix.AF_VSOCK, unix.SOCK_STREAM, 0)
	s.must("bind", unix.Bind(s.FD, &unix.SockaddrVM{CID: unix.VMADDR_CID_ANY, Port: unix.VMADDR_PORT_ANY}))
	return s.Listen(1)
}

// XDP makes an AF_XDP socket that is bound to no queue.
func (ns *Namespace) XDP(tb testing.TB) *Sock {
	tb.Helper()
	return ns.Socket(tb, unix.AF_XDP, unix.SOCK_RAW, 0)
}

package procfs

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"sockql/tables/internal/socket"
)

// kernelRoot is the only procfs that the tests below can ask.
const kernelRoot = "/proc"

func openKernel(t testing.TB, options ...Option) *FS {
	t.Helper()
	p, err := Open(kernelRoot, options...)
	if err != nil {
		t.Skipf("no procfs here: %v", err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func self() int32 { return int32(os.Getpid()) }

// find returns the sockets of our own namespace with one inode.
func find(t *testing.T, p *FS, kind socket.Kind, inode uint64) []socket.Socket {
	t.Helper()
	var found []socket.Socket
	err := p.List(context.Background(), self(), kind, 42, func(err error) { t.Errorf("warning: %v", err) },
		func(s *socket.Socket) bool {
			if s.Inode == inode {
				found = append(found, *s)
			}
			return true
		})
	if errors.Is(err, ErrNoList) {
		t.Skipf("this kernel: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// inodeOf returns the inode that the walk must find for a descriptor.
func inodeOf(t *testing.T, fd int) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

func only(t *testing.T, sockets []socket.Socket) socket.Socket {
	t.Helper()
	if len(sockets) != 1 {
		t.Fatalf("got %d sockets, want one: %+v", len(sockets), sockets)
	}
	return sockets[0]
}

func newSocket(t *testing.T, family, typ, protocol int) int {
	t.Helper()
	fd, err := unix.Socket(family, typ|unix.SOCK_CLOEXEC, protocol)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		t.Skipf("needs the privilege to make a socket of family %d, type %d: %v", family, typ, err)
	}
	if errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EPROTONOSUPPORT) {
		t.Skipf("the kernel has no socket of family %d, type %d, protocol %d: %v", family, typ, protocol, err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func TestKernelHost(t *testing.T) {
	p := openKernel(t)
	if !p.IsMounted() || !p.IsHost() {
		t.Errorf("IsMounted %v, IsHost %v: want both for our own procfs", p.IsMounted(), p.IsHost())
	}
	link, err := os.Readlink(kernelRoot + "/self/ns/pid")
	if err != nil {
		t.Fatal(err)
	}
	if want := link == "pid:[4026531836]"; p.IsInitial() != want {
		t.Errorf("IsInitial %v in %s", p.IsInitial(), link)
	}
	boot, err := p.BootTime()
	if err != nil {
		t.Fatal(err)
	}
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		t.Fatal(err)
	}
	uptime, err := p.Uptime()
	if err != nil || uptime <= 0 {
		t.Errorf("Uptime %v, %v", uptime, err)
	}
	if boot <= 0 {
		t.Errorf("BootTime %d", boot)
	}
	if p.ClockTicks() != 100 {
		t.Errorf("ClockTicks %d: every architecture we build for has 100", p.ClockTicks())
	}
	if _, err := p.HidePID(); err != nil {
		t.Error(err)
	}
}

func TestKernelProcesses(t *testing.T) {
	p := openKernel(t)
	pids, err := p.PIDs([]int32{-7})
	if err != nil {
		t.Fatal(err)
	}
	if pids[0] != -7 || !slices.IsSorted(pids[1:]) || !slices.Contains(pids, self()) {
		t.Errorf("PIDs must append all, ascending, us among them: %v", pids)
	}
	tids, err := p.TIDs(self(), nil)
	if entries, dirErr := os.ReadDir(kernelRoot + "/self/task"); err != nil || dirErr != nil || len(tids) != len(entries) && len(tids) < 2 {
		t.Errorf("TIDs %v, %v; the directory has %d", tids, err, len(entries))
	}
	for _, pid := range pids[1:] {
		tids, err := p.TIDs(pid, nil)
		if err == nil && !slices.Contains(tids, pid) {
			t.Errorf("TIDs(%d) = %v: the first thread has the process's number", pid, tids)
		}
	}
	stat, err := p.Stat(self())
	if err != nil {
		t.Fatal(err)
	}
	status, err := p.Status(self())
	if err != nil {
		t.Fatal(err)
	}
	if stat.PID != self() || int(stat.Parent) != os.Getppid() || int(stat.Group) != unix.Getpgrp() || stat.Comm != status.Name {
		t.Errorf("Stat %+v", stat)
	}
	if int(status.UID.Real) != os.Getuid() || int(status.GID.Effective) != os.Getegid() || status.ThreadGroup != self() || status.ResidentSize == 0 {
		t.Errorf("Status %+v", status)
	}
	cmdline, err := p.Cmdline(self())
	if want := strings.Join(os.Args, "\x00") + "\x00"; err != nil || cmdline != want {
		t.Errorf("Cmdline %q, %v; want %q", cmdline, err, want)
	}
	exe, err := p.Exe(self())
	if want, _ := os.Executable(); err != nil || exe != want {
		t.Errorf("Exe %q, %v; want %q", exe, err, want)
	}
	if on, err := p.OnDisk(self(), exe); err != nil || !on {
		t.Errorf("OnDisk %v, %v", on, err)
	}
	cwd, err := p.Cwd(self())
	if want, _ := os.Getwd(); err != nil || cwd != want {
		t.Errorf("Cwd %q, %v; want %q", cwd, err, want)
	}
	if root, err := p.RootDir(self()); err != nil || root == "" {
		t.Errorf("RootDir %q, %v", root, err)
	}
	if _, err := p.IO(self()); err != nil && !errors.Is(err, ErrVanished) {
		t.Error(err)
	}
	if _, err := p.Cgroups(self()); err != nil {
		t.Error(err)
	}
	for _, tid := range tids {
		if group, err := p.ThreadGroup(tid); !errors.Is(err, ErrVanished) && (err != nil || group != self()) {
			t.Errorf("ThreadGroup(%d) = %d, %v", tid, group, err)
		}
	}
	names, err := p.Interfaces(self())
	if err != nil {
		t.Fatal(err)
	}
	for index, name := range names {
		if i, err := net.InterfaceByName(name); err != nil || i.Index != int(index) {
			t.Errorf("interface %d is not %q: %+v, %v", index, name, i, err)
		}
	}
}

func TestKernelNoSuchProcess(t *testing.T) {
	p := openKernel(t)
	for _, pid := range []int32{-1, 0, 1<<31 - 1} {
		if ok, err := p.Exists(pid); ok || err != nil {
			t.Errorf("Exists(%d) = %v, %v", pid, ok, err)
		}
		var w Walker
		_, sockets := p.Sockets(&w, pid, nil)
		_, tasks := p.TaskSockets(&w, pid, pid, nil)
		_, netns := p.NetNS(pid)
		_, identity := p.NetIdentity(pid)
		_, stat := p.Stat(pid)
		_, tids := p.TIDs(pid, nil)
		list := p.List(t.Context(), pid, socket.TCP4, 0, nil, func(*socket.Socket) bool { return true })
		for i, err := range []error{sockets, tasks, netns, identity, stat, tids, list} {
			if !errors.Is(err, ErrVanished) {
				t.Errorf("pid %d, call %d: %v is not ErrVanished", pid, i, err)
			}
		}
	}
}

func TestKernelZombieHasNoLists(t *testing.T) {
	p := openKernel(t)
	child, err := os.StartProcess("/bin/true", []string{"true"}, &os.ProcAttr{})
	if err != nil {
		t.Skipf("cannot start a child: %v", err)
	}
	defer child.Wait()
	var info unix.Siginfo
	if err := unix.Waitid(unix.P_PID, child.Pid, &info, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	pid := int32(child.Pid)
	err = p.List(t.Context(), pid, socket.TCP4, 0, nil, func(*socket.Socket) bool { return true })
	if !errors.Is(err, ErrVanished) {
		t.Errorf("List of a zombie: %v", err)
	}
	stat, err := p.Stat(pid)
	if err != nil || stat.State != 'Z' {
		t.Errorf("Stat of a zombie: %+v, %v", stat, err)
	}
	if _, err := p.NetNS(pid); !errors.Is(err, ErrVanished) {
		t.Errorf("NetNS of a zombie: %v", err)
	}
	if cmdline, err := p.Cmdline(pid); err != nil || cmdline != "" {
		t.Errorf("Cmdline of a zombie: %q, %v", cmdline, err)
	}
	var w Walker
	if fds, err := p.Sockets(&w, pid, nil); len(fds) != 0 || err != nil && !errors.Is(err, ErrVanished) && !errors.Is(err, os.ErrPermission) {
		t.Errorf("Sockets of a zombie: %v, %v", fds, err)
	}
}

func TestKernelNamespace(t *testing.T) {
	p := openKernel(t)
	netns, err := p.NetNS(self())
	if err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(kernelRoot+"/self/ns/net", &st); err != nil {
		t.Fatal(err)
	}
	if netns != st.Ino {
		t.Errorf("NetNS %d, want %d", netns, st.Ino)
	}
	ours, err := p.NetIdentity(self())
	if err != nil {
		t.Fatal(err)
	}
	parent := int32(os.Getppid())
	if same, err := p.NetNS(parent); err == nil && same == netns {
		if theirs, err := p.NetIdentity(parent); err != nil || theirs != ours {
			t.Errorf("NetIdentity %d of us, %d of our parent in the same namespace, %v", ours, theirs, err)
		}
	}
}

func TestKernelSockets(t *testing.T) {
	p := openKernel(t)
	want := map[int32]uint64{}
	for _, typ := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM} {
		fd := newSocket(t, unix.AF_UNIX, typ, 0)
		want[int32(fd)] = inodeOf(t, fd)
	}
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var w Walker
	for range 2 { // the second walk reuses the buffers
		for name, walk := range map[string]func() ([]FDInode, error){
			"process": func() ([]FDInode, error) { return p.Sockets(&w, self(), nil) },
			"thread":  func() ([]FDInode, error) { return p.TaskSockets(&w, self(), self(), nil) },
		} {
			got, err := walk()
			if err != nil {
				t.Fatal(err)
			}
			for fd, inode := range want {
				if !slices.Contains(got, FDInode{fd, inode}) {
					t.Errorf("%s: descriptor %d with inode %d is missing in %v", name, fd, inode, got)
				}
			}
			if slices.ContainsFunc(got, func(f FDInode) bool { return f.FD == int32(file.Fd()) }) {
				t.Errorf("%s: descriptor %d is no socket: %v", name, file.Fd(), got)
			}
		}
	}
}

func TestKernelTCP(t *testing.T) {
	p := openKernel(t)
	for network, kind := range map[string]socket.Kind{"tcp4": socket.TCP4, "tcp6": socket.TCP6} {
		t.Run(network, func(t *testing.T) {
			host := map[string]string{"tcp4": "127.0.0.1", "tcp6": "::1"}[network]
			var config net.ListenConfig
			config.SetMultipathTCP(false) // the list shows a multipath listener's subflow instead
			l, err := config.Listen(t.Context(), network, net.JoinHostPort(host, "0"))
			if err != nil {
				t.Skipf("no %s here: %v", network, err)
			}
			defer l.Close()
			client, err := net.Dial(network, l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			listenerFD, clientFD := descriptor(t, l.(*net.TCPListener)), descriptor(t, client.(*net.TCPConn))

			s := only(t, find(t, p, kind, inodeOf(t, listenerFD)))
			at := l.Addr().(*net.TCPAddr).AddrPort()
			if got := netip.AddrPortFrom(s.Local, s.LocalPort); got.Compare(at) != 0 {
				t.Errorf("listener at %v, want %v", got, at)
			}
			if s.State != socket.StateListen || s.Backlog != 1 || s.Known&socket.FieldBacklog == 0 || s.Known&socket.FieldBacklogLimit != 0 ||
				s.RemotePort != 0 || s.Netns != 42 || int(s.UID) != os.Getuid() || s.Known&socket.FieldSSThresh != 0 || s.Known&socket.FieldFastOpen == 0 {
				t.Errorf("listener with a connection waiting: %+v", s)
			}
			if s.PID != -1 || s.FD != -1 {
				t.Errorf("a listed socket has no holder: %+v", s.Holder)
			}

			if _, err := client.Write([]byte("seven..")); err != nil {
				t.Fatal(err)
			}
			server, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer server.Close()
			s = only(t, find(t, p, kind, inodeOf(t, descriptor(t, server.(*net.TCPConn)))))
			if s.State != socket.StateEstablished || s.RxQueue != 7 || s.Type != unix.SOCK_STREAM || s.Protocol != unix.IPPROTO_TCP ||
				s.Known&socket.FieldRTO == 0 || s.RTO < 200 || s.CongestionWindow == 0 {
				t.Errorf("accepted connection with 7 bytes to read: %+v", s)
			}
			c := only(t, find(t, p, kind, inodeOf(t, clientFD)))
			from, to := client.LocalAddr().(*net.TCPAddr).AddrPort(), client.RemoteAddr().(*net.TCPAddr).AddrPort()
			if netip.AddrPortFrom(c.Local, c.LocalPort) != from || netip.AddrPortFrom(c.Remote, c.RemotePort) != to {
				t.Errorf("client %+v, want %v to %v", c, from, to)
			}
		})
	}
}

// descriptor returns the descriptor of a network connection. It stays valid
// while the connection is open.
func descriptor(t *testing.T, c syscall.Conn) int {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	fd := -1
	if err := raw.Control(func(n uintptr) { fd = int(n) }); err != nil {
		t.Fatal(err)
	}
	return fd
}

func TestKernelDatagrams(t *testing.T) {
	p := openKernel(t)
	loopback4 := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	loopback6 := &unix.SockaddrInet6{Addr: [16]byte{15: 1}}
	for name, test := range map[string]struct {
		kind                  socket.Kind
		family, typ, protocol int
		bind                  unix.Sockaddr
		port                  int // expected local port; -1 is whatever getsockname says
	}{
		"udp":      {socket.UDP4, unix.AF_INET, unix.SOCK_DGRAM, 0, loopback4, -1},
		"udp6":     {socket.UDP6, unix.AF_INET6, unix.SOCK_DGRAM, 0, loopback6, -1},
		"udplite":  {socket.UDPLite4, unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_UDPLITE, loopback4, -1},
		"udplite6": {socket.UDPLite6, unix.AF_INET6, unix.SOCK_DGRAM, unix.IPPROTO_UDPLITE, loopback6, -1},
		"raw":      {socket.Raw4, unix.AF_INET, unix.SOCK_RAW, 253, loopback4, 253},
		"raw6":     {socket.Raw6, unix.AF_INET6, unix.SOCK_RAW, 254, loopback6, 254},
		"icmp":     {socket.ICMP4, unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP, loopback4, -1},
		"icmp6":    {socket.ICMP6, unix.AF_INET6, unix.SOCK_DGRAM, unix.IPPROTO_ICMPV6, loopback6, -1},
	} {
		t.Run(name, func(t *testing.T) {
			fd := newSocket(t, test.family, test.typ, test.protocol)
			if err := unix.Bind(fd, test.bind); err != nil {
				t.Skipf("cannot bind: %v", err)
			}
			s := only(t, find(t, p, test.kind, inodeOf(t, fd)))
			addr, port := sockname(t, fd)
			if test.port >= 0 {
				port = test.port
			}
			protocol, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
			if err != nil {
				t.Fatal(err)
			}
			if s.Local != addr || int(s.LocalPort) != port || int(s.Type) != test.typ || int(s.Protocol) != protocol ||
				int(s.Family) != test.family || s.State != socket.StateClose || s.Known&socket.FieldDrops == 0 ||
				s.Known&socket.FieldTimer != 0 {
				t.Errorf("got %+v, want %v port %d protocol %d", s, addr, port, protocol)
			}
		})
	}
}

func sockname(t *testing.T, fd int) (netip.Addr, int) {
	t.Helper()
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	switch name := name.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrFrom4(name.Addr), name.Port
	case *unix.SockaddrInet6:
		return netip.AddrFrom16(name.Addr), name.Port
	}
	t.Fatalf("not an address: %v", name)
	return netip.Addr{}, 0
}

func TestKernelUnix(t *testing.T) {
	p := openKernel(t)
	t.Chdir(t.TempDir()) // names relative to it stay short
	unique := strconv.Itoa(os.Getpid())
	for name, test := range map[string]struct {
		typ        int
		name, path string
		exact      bool
	}{
		"unnamed":       {unix.SOCK_STREAM, "", "", true},
		"spaces":        {unix.SOCK_STREAM, "  a b ", "  a b ", true},
		"newline":       {unix.SOCK_DGRAM, "one\ntwo", "one\ntwo", false},
		"ends newline":  {unix.SOCK_SEQPACKET, "one\n\n", "one\n\n", false},
		"first newline": {unix.SOCK_STREAM, "\nx", "\nx", false},
		"not UTF-8":     {unix.SOCK_STREAM, "\xff\xfe", "\xff\xfe", true},
		"abstract":      {unix.SOCK_STREAM, "@a\x00b" + unique, "@a@b" + unique, false},
		"longest":       {unix.SOCK_STREAM, strings.Repeat("x", 107), strings.Repeat("x", 107), true},
	} {
		t.Run(name, func(t *testing.T) {
			fd := newSocket(t, unix.AF_UNIX, test.typ, 0)
			if test.name != "" {
				if err := unix.Bind(fd, &unix.SockaddrUnix{Name: test.name}); err != nil {
					t.Fatal(err)
				}
			}
			state := uint8(socket.StateClose)
			if test.typ == unix.SOCK_STREAM && test.name != "" {
				if err := unix.Listen(fd, 1); err != nil {
					t.Fatal(err)
				}
				state = socket.StateListen
			}
			s := only(t, find(t, p, socket.Unix, inodeOf(t, fd)))
			if s.Path != test.path || s.State != state || int(s.Type) != test.typ || s.Known&socket.FieldPathExact != 0 != test.exact {
				t.Errorf("got %q exact %v state %d type %d; want %q exact %v state %d type %d",
					s.Path, s.Known&socket.FieldPathExact != 0, s.State, s.Type, test.path, test.exact, state, test.typ)
			}
		})
	}
	t.Run("connected", func(t *testing.T) {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(pair[0])
		defer unix.Close(pair[1])
		if s := only(t, find(t, p, socket.Unix, inodeOf(t, pair[0]))); s.State != socket.StateEstablished {
			t.Errorf("state %d", s.State)
		}
	})
}

func TestKernelPacketAndNetlink(t *testing.T) {
	p := openKernel(t)
	t.Run("netlink", func(t *testing.T) {
		fd := newSocket(t, unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE)
		if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1 << (unix.RTNLGRP_LINK - 1)}); err != nil {
			t.Fatal(err)
		}
		name, err := unix.Getsockname(fd)
		if err != nil {
			t.Fatal(err)
		}
		s := only(t, find(t, p, socket.Netlink, inodeOf(t, fd)))
		want := name.(*unix.SockaddrNetlink)
		if s.NetlinkPort != want.Pid || s.NetlinkGroups != want.Groups || s.Protocol != unix.NETLINK_ROUTE || s.Known&socket.FieldNetlinkPort == 0 {
			t.Errorf("got %+v, want %+v", s, want)
		}
	})
	t.Run("packet", func(t *testing.T) {
		fd := newSocket(t, unix.AF_PACKET, unix.SOCK_DGRAM, 0)
		loopback, err := net.InterfaceByName("lo")
		if err != nil {
			t.Skipf("no lo: %v", err)
		}
		// ETH_P_IP in network byte order, as bind(2) wants it
		if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_IP), Ifindex: loopback.Index}); err != nil {
			t.Fatal(err)
		}
		s := only(t, find(t, p, socket.Packet, inodeOf(t, fd)))
		if s.Protocol != unix.ETH_P_IP || int(s.Interface) != loopback.Index || s.Type != unix.SOCK_DGRAM || int(s.UID) != os.Getuid() {
			t.Errorf("got %+v", s)
		}
	})
}

func TestKernelEveryListIsReadWithoutWarning(t *testing.T) {
	p := openKernel(t)
	for kind := socket.Kind(1); kind <= socket.Other; kind <<= 1 {
		n := 0
		err := p.List(t.Context(), self(), kind, 0, func(err error) { t.Errorf("warning: %v", err) }, func(s *socket.Socket) bool {
			n++
			if s.Kind != kind || s.Known&socket.FieldFamily == 0 || s.Known&socket.FieldNetns != 0 {
				t.Errorf("kind %#x: %+v", kind, s)
			}
			return true
		})
		if kind&Kinds == 0 {
			if !errors.Is(err, ErrNoList) || n > 0 {
				t.Errorf("kind %#x: %d sockets, %v; want ErrNoList", kind, n, err)
			}
		} else if err != nil && !errors.Is(err, ErrNoList) {
			t.Errorf("kind %#x: %v", kind, err)
		}
	}
}

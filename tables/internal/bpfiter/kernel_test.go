package bpfiter

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"sockql/tables/internal/kerneltest"
	"sockql/tables/internal/socket"
)

func TestSeesNamespaceWithoutProcess(t *testing.T) {
	s, ns := open(t), kerneltest.NewNamespace(t)
	udp := ns.UDP(t, "127.0.0.1:0") // held here, in another namespace
	if f := one(t, s.collect(t, inside(ns)), udp); f.Netns != ns.Inode {
		t.Errorf("namespace %d, want %d", f.Netns, ns.Inode)
	}
	list, err := s.Namespaces(nil)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(list, func(n Namespace) bool { return n.Inode == ns.Inode }) {
		t.Errorf("namespace %d is not in %v", ns.Inode, list)
	}
}

func TestSeesUnsharedTable(t *testing.T) {
	s, ns := open(t), kerneltest.NewNamespace(t)
	sock := ns.Listen(t, "127.0.0.1:0")
	inode := sock.Inode()
	own := kerneltest.HoldWith(t, kerneltest.HoldOptions{Namespace: ns, OwnTable: true}, sock)
	sock.Close()
	all := s.collect(t, inside(ns))
	if len(all) != 1 || all[0].Inode != inode || all[0].PID != int32(own.PID) || all[0].TID != int32(own.TID) || all[0].FD != int32(own.FDs[0]) {
		t.Errorf("got %v, want inode %d of thread %d of %d", all, inode, own.TID, own.PID)
	}
	// The filter by process has the thread too, and one by thread nothing.
	for pid, want := range map[int]int{own.PID: 1, own.TID: 0} {
		req := inside(ns)
		req.PIDs = []int32{int32(pid)}
		if all := s.collect(t, req); len(all) != want {
			t.Errorf("pid %d: got %v, want %d", pid, all, want)
		}
	}
}

// TestCopiesOfTables has threads leave the process's table with copies of it.
func TestCopiesOfTables(t *testing.T) {
	s, ns := open(t), kerneltest.NewNamespace(t)
	common := ns.UDP(t, "127.0.0.1:0")
	const threads = 3
	ready, done := make(chan error), make(chan struct{})
	ended := make(chan struct{})
	for range threads {
		go onOwnThread(func() {
			ready <- unix.Unshare(unix.CLONE_FILES)
			<-done
			ended <- struct{}{}
		})
	}
	for range threads {
		if err := <-ready; err != nil {
			t.Errorf("unshare: %v", err)
		}
	}
	one(t, s.collect(t, inside(ns)), common)
	// What is only in the copies, which is one file, is shown once.
	inode, fd := common.Inode(), common.FD
	common.Close()
	all := s.collect(t, inside(ns))
	if len(all) != 1 || all[0].Inode != inode || all[0].FD != int32(fd) || all[0].TID == all[0].PID {
		t.Errorf("got %v, want inode %d once, of a thread", all, inode)
	}
	close(done)
	for range threads {
		<-ended
	}
}

// onOwnThread calls f on a thread that ends with it, and is not the one whose
// descriptor table counts as the process's.
func onOwnThread(f func()) {
	runtime.LockOSThread()
	if unix.Gettid() != unix.Getpid() {
		f()
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		onOwnThread(f)
	}()
	<-done
	runtime.UnlockOSThread()
}

func TestSeesUnboundAndBound(t *testing.T) {
	s, ns := open(t), kerneltest.NewNamespace(t)
	socks := map[socket.Kind]*kerneltest.Sock{
		socket.TCP4: ns.Socket(t, unix.AF_INET, unix.SOCK_STREAM, 0),
		socket.TCP6: ns.Socket(t, unix.AF_INET6, unix.SOCK_STREAM, 0),
		socket.UDP4: ns.Socket(t, unix.AF_INET, unix.SOCK_DGRAM, 0),
		socket.UDP6: ns.Socket(t, unix.AF_INET6, unix.SOCK_DGRAM, 0),
		socket.Unix: ns.Unix(t, unix.SOCK_STREAM, ""),
	}
	bound := ns.BoundInactive(t, "127.0.0.1:0")
	all := s.collect(t, inside(ns))
	for kind, sock := range socks {
		if f := one(t, all, sock); f.Kind != kind || f.State != socket.StateClose || f.LocalPort != 0 {
			t.Errorf("unbound: %v", f)
		}
	}
	if f := one(t, all, bound); f.State != socket.StateClose || f.LocalPort != bound.Local().Port() {
		t.Errorf("bound: %v", f)
	}
}

// TestSeesKindsWithoutDiag has the sockets that many kernels cannot list by
// sock_diag.
func TestSeesKindsWithoutDiag(t *testing.T) {
	s := open(t)
	for kind, c := range map[socket.Kind]struct {
		make  func(*testing.T, *kerneltest.Namespace) *kerneltest.Sock
		check func(found) bool
	}{
		socket.Raw4: {func(t *testing.T, ns *kerneltest.Namespace) *kerneltest.Sock {
			return ns.Raw(t, unix.AF_INET, unix.IPPROTO_ICMP)
		}, func(f found) bool {
			return f.Protocol == unix.IPPROTO_ICMP && f.LocalPort == unix.IPPROTO_ICMP && f.Type == unix.SOCK_RAW && f.Local == netip.IPv4Unspecified()
		}},
		socket.Raw6: {func(t *testing.T, ns *kerneltest.Namespace) *kerneltest.Sock {
			return ns.Raw(t, unix.AF_INET6, unix.IPPROTO_UDP)
		}, func(f found) bool { return f.LocalPort == unix.IPPROTO_UDP && f.Local == netip.IPv6Unspecified() }},
		socket.ICMP4: {func(t *testing.T, ns *kerneltest.Namespace) *kerneltest.Sock {
			return ns.Ping(t, "127.0.0.1:77")
		}, func(f found) bool {
			return f.LocalPort == 77 && f.Type == unix.SOCK_DGRAM && f.Protocol == unix.IPPROTO_ICMP
		}},
		socket.ICMP6: {func(t *testing.T, ns *kerneltest.Namespace) *kerneltest.Sock {
			return ns.Ping(t, "[::1]:78")
		}, func(f found) bool { return f.LocalPort == 78 && f.Protocol == unix.IPPROTO_ICMPV6 }},
		socket.UDPLite4: {func(t *testing.T, ns *kerneltest.Namespace) *kerneltest.Sock {
			return ns.UDPLite(t, "127.0.0.1:0")
		}, func(f found) bool { return f.Protocol == unix.IPPROTO_UDPLITE && f.LocalPort != 0 }},
		socket.Vsock: {func(t *testing.T, ns *kerneltest.Namespace) *kerneltest.Sock {
			return ns.Vsock(t)
		}, func(f found) bool { return f.Family == unix.AF_VSOCK && f.State == socket.StateListen }},
		socket.XDP: {func(t *testing.T, ns *kerneltest.Namespace) *kerneltest.Sock {
			return ns.XDP(t)
		}, func(f found) bool { return f.Family == unix.AF_XDP && f.Known&socket.FieldState == 0 }},
		socket.Packet: {func(t *testing.T, ns *kerneltest.Namespace) *kerneltest.Sock {
			return ns.Packet(t, unix.SOCK_DGRAM, unix.ETH_P_ARP)
		}, func(f found) bool {
			return f.Protocol == unix.ETH_P_ARP && f.Interface == 1 && f.Known&(socket.FieldState|socket.FieldProtocol) == socket.FieldProtocol
		}},
		socket.Other: {func(t *testing.T, ns *kerneltest.Namespace) *kerneltest.Sock {
			return ns.Socket(t, unix.AF_ALG, unix.SOCK_SEQPACKET, 0)
		}, func(f found) bool {
			return f.Family == unix.AF_ALG && f.Type == unix.SOCK_SEQPACKET && f.Known&socket.FieldFamily != 0
		}},
	} {
		t.Run(kindName(kind), func(t *testing.T) {
			ns := kerneltest.NewNamespace(t)
			sock := c.make(t, ns)
			req := socket.Everything()
			req.PIDs = []int32{int32(os.Getpid())}
			req.Kinds = kind
			if f := one(t, s.collect(t, req), sock); f.Kind != kind || !c.check(f) {
				t.Errorf("got %v", f)
			}
		})
	}
}

func kindName(kind socket.Kind) string {
	names := []string{"tcp", "tcp6", "udp", "udp6", "udplite", "udplite6", "raw", "raw6", "icmp", "icmp6", "unix", "packet",
		"netlink", "mptcp", "mptcp6", "sctp", "sctp6", "dccp", "dccp6", "vsock", "xdp", "tipc", "smc", "other"}
	for i, name := range names {
		if kind == 1<<i {
			return name
		}
	}
	return "?"
}

func TestDoesNotSeeInFlight(t *testing.T) {
	s, ns := open(t), kerneltest.NewNamespace(t)
	sock := ns.UDP(t, "127.0.0.1:0")
	cookie := sock.Cookie()
	ns.InFlight(t, sock)
	if rows := withCookie(s.collect(t, inside(ns)), cookie); rows != nil {
		t.Errorf("a socket in no table is there: %v", rows)
	}
}

func TestSeesEveryHolder(t *testing.T) {
	s, ns := open(t), kerneltest.NewNamespace(t)
	sock := ns.Listen(t, "[::1]:0")
	want := map[int32]int32{int32(os.Getpid()): int32(sock.FD)}
	for range 4 {
		h := kerneltest.Hold(t, nil, sock)
		want[int32(h.PID)] = int32(h.FDs[0])
	}
	rows := of(s.collect(t, inside(ns)), sock)
	for _, f := range rows {
		if fd, ok := want[f.PID]; !ok || fd != f.FD || f.TID != f.PID || f.Inode != sock.Inode() {
			t.Errorf("unexpected %v", f)
		}
		delete(want, f.PID)
	}
	if len(want) > 0 {
		t.Errorf("missing %v", want)
	}
}

func TestUnixNames(t *testing.T) {
	s, ns := open(t), kerneltest.NewNamespace(t)
	for _, name := range kerneltest.UnixNames(t) {
		listener := ns.Unix(t, unix.SOCK_STREAM, name).Listen(7)
		client, server := ns.UnixConnection(t, listener)
		waiting := ns.UnixDial(t, listener)
		client.Write("four")
		all := s.collect(t, inside(ns))
		if f := one(t, all, listener); f.Path != name || f.PathAbstract != (name[0] == 0) || f.State != socket.StateListen ||
			f.Backlog != 1 || f.BacklogLimit != 7 || f.Known&socket.FieldPathExact == 0 {
			t.Errorf("listener %q: %v", name, f)
		}
		if f := one(t, all, server); f.Path != name || f.State != socket.StateEstablished || f.RxQueue != 4 || f.PeerInode != client.Inode() {
			t.Errorf("server %q: %v", name, f)
		}
		if f := one(t, all, client); f.Path != "" || f.PeerInode != server.Inode() || f.Known&socket.FieldPath == 0 {
			t.Errorf("client %q: %v", name, f)
		}
		if f := one(t, all, waiting); f.State != socket.StateEstablished || f.PeerInode != 0 {
			t.Errorf("not yet accepted %q: %v", name, f)
		}
	}
}

func TestUnixQueues(t *testing.T) {
	s, ns := open(t), kerneltest.NewNamespace(t)
	for typ, want := range map[int]uint32{unix.SOCK_STREAM: 11, unix.SOCK_SEQPACKET: 11, unix.SOCK_DGRAM: 5} {
		a, b := ns.UnixPair(t, typ)
		a.Write("first").Write("second")
		if f := one(t, s.collect(t, inside(ns)), b); f.RxQueue != want || f.Known&socket.FieldQueues == 0 || int(f.Type) != typ {
			t.Errorf("type %d: %d bytes, want %d", typ, f.RxQueue, want)
		}
	}
}

// TestOwnerless has every state in which a TCP socket can be without a holder.
func TestOwnerless(t *testing.T) {
	s, ns := open(t), kerneltest.NewNamespace(t)
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
		states := ns.States(t, addr)
		req := inside(ns)
		all, held := s.collectOwnerless(t, req), s.collect(t, req)
		for _, want := range states {
			i := slices.IndexFunc(all, func(f found) bool {
				return f.State == want.State && netip.AddrPortFrom(f.Local, f.LocalPort) == want.Local &&
					(!want.Remote.IsValid() || netip.AddrPortFrom(f.Remote, f.RemotePort) == want.Remote)
			})
			switch {
			case want.Sock != nil && i >= 0:
				t.Errorf("%v is there, though its holder is", all[i])
			case want.Sock != nil:
				one(t, held, want.Sock)
			case i < 0:
				t.Errorf("state %d of %v to %v is missing", want.State, want.Local, want.Remote)
			default:
				checkOwnerless(t, all[i], ns)
			}
		}
	}
}

func checkOwnerless(t *testing.T, f found, ns *kerneltest.Namespace) {
	t.Helper()
	if f.Inode != 0 || f.PID != -1 || f.FD != -1 || f.Netns != ns.Inode || f.id == 0 || f.Type != unix.SOCK_STREAM {
		t.Errorf("%v", f)
	}
	known := f.Known&socket.FieldUID != 0
	if want := f.Timer != socket.TimerTimeWait && f.State != socket.StateSynRecv; known != want {
		t.Errorf("user known %v, want %v: %v", known, want, f)
	}
	if f.State == socket.StateTimeWait && (f.Timer != socket.TimerTimeWait || f.TimerExpires == 0 || f.TimerExpires > 60_000) {
		t.Errorf("%v", f)
	}
}

// TestAccepted accepts a connection between the two passes.
func TestAccepted(t *testing.T) {
	s, ns := open(t), kerneltest.NewNamespace(t)
	listener := ns.Listen(t, "127.0.0.1:0")
	client := ns.Dial(t, listener)
	req := inside(ns)
	before := s.collectOwnerless(t, req)
	if len(before) != 1 || before[0].RemotePort != client.Local().Port() || before[0].State != socket.StateEstablished {
		t.Fatalf("waiting: %v", before)
	}
	server := listener.Accept()
	if after := s.collectOwnerless(t, req); len(after) != 0 {
		t.Errorf("accepted, and still there: %v", after)
	}
	if f := one(t, s.collect(t, req), server); f.id != before[0].id {
		t.Errorf("id %x, was %x", f.id, before[0].id)
	}
}

// TestConnections finds a connection that is nowhere but in a message, and
// those that Ownerless finds, too.
func TestConnections(t *testing.T) {
	s, ns := open(t), kerneltest.NewNamespace(t)
	client, server := ns.Pair(t, ns.Listen(t, "127.0.0.1:0"))
	inode, local := server.Inode(), server.Local()
	ns.InFlight(t, server)
	waiting := ns.Dial(t, ns.Listen(t, "127.0.0.1:0"))
	for _, briefly := range []bool{true, false} {
		req := inside(ns)
		all := collect(t, func(yield func(*socket.Socket, ID) bool) error {
			return s.Connections(t.Context(), &req, briefly, yield)
		})
		byInode := map[uint64]found{}
		for _, f := range all {
			byInode[f.Inode] = f
			if f.PID != -1 || f.Kind != socket.TCP4 || f.Netns != ns.Inode || (f.Known&socket.FieldAddresses == 0) != (briefly && f.Inode != 0) {
				t.Errorf("%v", f)
			}
		}
		if len(all) != 4 {
			t.Errorf("%d connections, want 4: %v", len(all), all)
		}
		for _, want := range []uint64{client.Inode(), waiting.Inode(), inode, 0} {
			if _, there := byInode[want]; !there {
				t.Errorf("briefly %v: inode %d is missing in %v", briefly, want, all)
			}
		}
		if f := byInode[inode]; f.LocalPort != local.Port() || !briefly && f.Local != local.Addr() {
			t.Errorf("in flight: %v, want %v", f, local)
		}
	}
	for _, f := range s.collect(t, inside(ns)) {
		if f.Inode == inode {
			t.Errorf("in flight, and in a descriptor table: %v", f)
		}
	}
}

func TestMPTCP(t *testing.T) {
	s, ns := open(t), kerneltest.NewNamespace(t)
	listener, client, server := ns.MPTCP(t)
	all := s.collect(t, inside(ns))
	for _, sock := range []*kerneltest.Sock{listener, client, server} {
		if f := one(t, all, sock); f.Kind != socket.MPTCP4 || f.Protocol != unix.IPPROTO_MPTCP || f.Known&socket.FieldTimer == 0 ||
			netip.AddrPortFrom(f.Local, f.LocalPort) != sock.Local() {
			t.Errorf("%v", f)
		}
		subflows := 0
		for _, f := range all {
			if f.Kind == socket.TCP4 && f.Inode == sock.Inode() {
				subflows++
				if f.FD != int32(sock.FD) || f.id == one(t, all, sock).id || f.LocalPort != sock.Local().Port() {
					t.Errorf("subflow: %v", f)
				}
			}
		}
		if subflows != 1 {
			t.Errorf("%d subflows, want 1", subflows)
		}
	}
	if f := one(t, all, listener); f.State != socket.StateListen || f.BacklogLimit != 16 {
		t.Errorf("listener: %v", f)
	}
	req := inside(ns)
	req.Kinds = socket.TCP4
	for _, f := range s.collect(t, req) {
		if f.Kind != socket.TCP4 {
			t.Errorf("%v, though only TCP was wanted", f)
		}
	}
	req.Kinds = socket.MPTCP4
	if all := s.collect(t, req); len(all) != 3 {
		t.Errorf("%v, want 3 of MPTCP", all)
	}
}

func TestManyProcesses(t *testing.T) {
	s, ns := open(t), kerneltest.NewNamespace(t)
	sock := ns.UDP(t, "127.0.0.1:0")
	holders := []*kerneltest.Holder{kerneltest.Hold(t, nil, sock), kerneltest.Hold(t, nil, sock), kerneltest.Hold(t, nil, sock)}
	for _, padding := range []int{0, maxTasks, maxListed} { // by task, by list, and more than a list takes
		req := inside(ns)
		for _, h := range holders[:2] {
			req.PIDs = append(req.PIDs, int32(h.PID))
		}
		for i := range padding {
			req.PIDs = append(req.PIDs, int32(1<<23+i)) // beyond PID_MAX_LIMIT
		}
		slices.Sort(req.PIDs)
		got := map[int32]bool{}
		for _, f := range s.collect(t, req) {
			got[f.PID] = true
		}
		if padding < maxListed && (len(got) != 2 || got[int32(holders[2].PID)]) || !got[int32(holders[0].PID)] || !got[int32(holders[1].PID)] {
			t.Errorf("%d more processes: got %v", padding, got)
		}
	}
	req := inside(ns)
	req.PIDs = []int32{}
	if all := s.collect(t, req); all != nil {
		t.Errorf("no process: %v", all)
	}
}

// TestWithoutTaskFilter behaves as on a kernel before 6.1.
func TestWithoutTaskFilter(t *testing.T) {
	s, ns := open(t), kerneltest.NewNamespace(t)
	s.noTaskFilter.Store(true)
	sock := ns.UDP(t, "127.0.0.1:0")
	h := kerneltest.Hold(t, nil, sock)
	req := inside(ns)
	req.PIDs = []int32{int32(h.PID)}
	if all := s.collect(t, req); len(all) != 1 || all[0].PID != int32(h.PID) {
		t.Errorf("got %v", all)
	}
}

// TestPushDown checks that what a request leaves out is not shown, and the rest
// is.
func TestPushDown(t *testing.T) {
	s, ns := open(t), kerneltest.NewNamespace(t)
	l4, l6 := ns.Listen(t, "127.0.0.1:0"), ns.Listen(t, "[::1]:0")
	c4, s4 := ns.Pair(t, l4)
	c6, s6 := ns.Pair(t, l6)
	udp := ns.UDP(t, "127.0.0.1:0")
	a, b := ns.UnixPair(t, unix.SOCK_STREAM)
	packet := ns.Packet(t, unix.SOCK_RAW, unix.ETH_P_ARP)
	socks := []*kerneltest.Sock{l4, l6, c4, s4, c6, s6, udp, a, b, packet}
	all := []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}
	port := func(s *kerneltest.Sock) uint16 { return s.Local().Port() }
	only := func(ports ...uint16) socket.Ports {
		slices.Sort(ports)
		return socket.Ports{Restricted: true, Lo: ports[0], Hi: ports[len(ports)-1], List: ports}
	}
	for name, c := range map[string]struct {
		restrict func(*socket.Request)
		want     []int
	}{
		"nothing":      {func(*socket.Request) {}, all},
		"kind":         {func(r *socket.Request) { r.Kinds = socket.TCP6 | socket.UDP4 }, []int{1, 4, 5, 6}},
		"no kind":      {func(r *socket.Request) { r.Kinds = 0 }, nil},
		"listeners":    {func(r *socket.Request) { r.States = 1 << socket.StateListen }, []int{0, 1, 9}}, // a packet socket has no state
		"bound state":  {func(r *socket.Request) { r.States = 1 << socket.StateBoundInactive }, []int{6, 9}},
		"local port":   {func(r *socket.Request) { r.LocalPorts = only(port(l4)) }, []int{0, 3, 7, 8, 9}},
		"local ports":  {func(r *socket.Request) { r.LocalPorts = only(port(c4), port(c6)) }, []int{2, 4, 7, 8, 9}},
		"port range":   {func(r *socket.Request) { r.LocalPorts = socket.Ports{Restricted: true, Lo: port(udp), Hi: port(udp)} }, []int{6, 7, 8, 9}},
		"remote port":  {func(r *socket.Request) { r.RemotePorts = only(port(l6)) }, []int{4, 7, 8, 9}},
		"not remote":   {func(r *socket.Request) { r.RemotePorts = socket.Ports{Restricted: true} }, []int{0, 1, 6, 7, 8, 9}},
		"local addr":   {func(r *socket.Request) { r.LocalAddrs = []netip.Addr{netip.MustParseAddr("127.0.0.1")} }, []int{0, 2, 3, 6, 7, 8, 9}},
		"remote addr":  {func(r *socket.Request) { r.RemoteAddrs = []netip.Addr{netip.IPv6Loopback()} }, []int{4, 5, 7, 8, 9}},
		"two addrs":    {func(r *socket.Request) { r.RemoteAddrs = []netip.Addr{netip.IPv6Loopback(), netip.IPv4Unspecified()} }, []int{0, 4, 5, 6, 7, 8, 9}},
		"mapped addr":  {func(r *socket.Request) { r.LocalAddrs = []netip.Addr{netip.MustParseAddr("::ffff:127.0.0.1")} }, []int{7, 8, 9}},
		"no addr":      {func(r *socket.Request) { r.LocalAddrs = []netip.Addr{} }, []int{7, 8, 9}},
		"no namespace": {func(r *socket.Request) { r.Namespaces = []uint64{} }, nil},
		"all of it": {func(r *socket.Request) {
			r.Kinds, r.States = socket.TCP4, 1<<socket.StateEstablished
			r.LocalPorts, r.RemotePorts = only(port(l4)), only(port(c4))
			r.LocalAddrs = []netip.Addr{netip.MustParseAddr("127.0.0.1")}
			r.Fields = 0
		}, []int{3}},
	} {
		t.Run(name, func(t *testing.T) {
			req := inside(ns)
			c.restrict(&req)
			inodes := map[uint64]int{}
			for i, sock := range socks {
				inodes[sock.Inode()] = i
			}
			var got []int
			for _, f := range s.collect(t, req) {
				i, ok := inodes[f.Inode]
				if !ok {
					t.Errorf("unexpected %v", f)
				}
				got = append(got, i)
			}
			slices.Sort(got)
			if !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestOnlyWantedFields(t *testing.T) {
	s, ns := open(t), kerneltest.NewNamespace(t)
	client, _ := ns.Pair(t, ns.Listen(t, "127.0.0.1:0"))
	named := ns.Unix(t, unix.SOCK_DGRAM, "\x00name")
	always := socket.FieldFamily | socket.FieldType | socket.FieldProtocol | socket.FieldState | socket.FieldNetns
	for bit := range 30 {
		field := socket.Fields(1) << bit
		req := inside(ns)
		req.Fields = field
		for _, f := range s.collect(t, req) {
			if f.Inode != client.Inode() && f.Inode != named.Inode() {
				continue
			}
			extra := f.Known &^ (always | field)
			if field&(socket.FieldBacklog|socket.FieldBacklogLimit) != 0 {
				extra &^= socket.FieldQueues
			}
			if field&(socket.FieldPath|socket.FieldPathExact) != 0 {
				extra &^= socket.FieldPath | socket.FieldPathExact
			}
			if extra != 0 || f.Known&always != always {
				t.Errorf("field %#x: known %#x", field, f.Known)
			}
			if f.Inode == named.Inode() && (f.Path != "") != (field&(socket.FieldPath|socket.FieldPathExact) != 0) {
				t.Errorf("field %#x: path %q", field, f.Path)
			}
		}
	}
}

func TestEndsEarly(t *testing.T) {
	s, ns := open(t), kerneltest.NewNamespace(t)
	for range 10 {
		ns.UDP(t, "127.0.0.1:0")
		ns.Dial(t, ns.Listen(t, "127.0.0.1:0"))
	}
	req := inside(ns)
	for name, scan := range map[string]func(context.Context, *socket.Request, func(*socket.Socket, ID) bool) error{
		"scan": s.Scan, "ownerless": s.Ownerless,
	} {
		n := 0
		if err := scan(t.Context(), &req, func(*socket.Socket, ID) bool { n++; return n < 3 }); err != nil || n != 3 {
			t.Errorf("%s: %d sockets, %v, want 3", name, n, err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		cause := errors.New("enough")
		cancel(cause)
		err := scan(ctx, &req, func(*socket.Socket, ID) bool { return true })
		if !errors.Is(err, cause) {
			t.Errorf("%s: %v, want the cause", name, err)
		}
	}
}

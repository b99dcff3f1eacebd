package sockdiag

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"sockql/tables/internal/kerneltest"
	"sockql/tables/internal/netns"
	"sockql/tables/internal/socket"
)

func TestMain(m *testing.M) { kerneltest.Main(m) }

// open returns a connection to a namespace, and checks when the test ends that
// no thread stayed there.
func open(tb testing.TB, ns *kerneltest.Namespace) *Conn {
	tb.Helper()
	h, err := netns.Open(ns.Path())
	if err != nil {
		tb.Fatal(err)
	}
	defer h.Close()
	var c *Conn
	err = netns.Do(h, func() (err error) {
		c, err = Open()
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		c.Close()
		if foreign := kerneltest.ForeignThreads(tb); foreign != nil {
			tb.Errorf("threads left in foreign namespaces: %q", foreign)
		}
	})
	return c
}

// collect dumps what a request wants, without warnings.
func collect(tb testing.TB, c *Conn, req socket.Request) (all []socket.Socket, answered socket.Kind) {
	tb.Helper()
	answered, err := c.Dump(tb.Context(), &req, func(err error) { tb.Errorf("warning: %v", err) },
		func(s *socket.Socket) bool {
			all = append(all, *s)
			return true
		})
	if err != nil {
		tb.Fatal(err)
	}
	return all, answered
}

func everything(kinds socket.Kind) socket.Request {
	req := socket.Everything()
	req.Kinds = kinds
	return req
}

// of returns the socket of a descriptor, by its cookie.
func of(tb testing.TB, all []socket.Socket, s *kerneltest.Sock) socket.Socket {
	tb.Helper()
	cookie := s.Cookie()
	var found []socket.Socket
	for _, have := range all {
		if have.Cookie == cookie {
			found = append(found, have)
		}
	}
	if len(found) != 1 {
		tb.Fatalf("socket %d is there %d times in %+v", s.Inode(), len(found), all)
	}
	if found[0].Inode != s.Inode() {
		tb.Errorf("inode %d, want %d", found[0].Inode, s.Inode())
	}
	return found[0]
}

func TestDumpStates(t *testing.T) {
	ns := kerneltest.NewNamespace(t)
	for kind, addr := range map[socket.Kind]string{socket.TCP4: "127.0.0.1:0", socket.TCP6: "[::1]:0"} {
		states := ns.States(t, addr)
		c := open(t, ns)
		both, _ := collect(t, c, everything(socket.TCP4|socket.TCP6))
		alone, answered := collect(t, c, everything(kind))
		if answered != kind {
			t.Errorf("%s: answered %#x, want %#x", addr, answered, kind)
		}
		for _, all := range [][]socket.Socket{both, alone} {
			for _, want := range states {
				checkState(t, all, kind, want)
			}
		}
		for _, s := range alone {
			if s.Kind != kind {
				t.Errorf("%s: got kind %#x", addr, s.Kind)
			}
		}
	}
}

func checkState(t *testing.T, all []socket.Socket, kind socket.Kind, want kerneltest.State) {
	t.Helper()
	for _, s := range all {
		if s.Kind != kind || s.State != want.State || netip.AddrPortFrom(s.Local, s.LocalPort) != want.Local ||
			want.Remote.IsValid() && netip.AddrPortFrom(s.Remote, s.RemotePort) != want.Remote {
			continue
		}
		var inode uint64
		if want.Sock != nil {
			inode = want.Sock.Inode()
			if s.Cookie != want.Sock.Cookie() {
				t.Errorf("state %d: cookie %d, want %d", want.State, s.Cookie, want.Sock.Cookie())
			}
		}
		if s.Inode != inode || s.Cookie == 0 {
			t.Errorf("state %d: inode %d, want %d; cookie %d", want.State, s.Inode, inode, s.Cookie)
		}
		known := s.Known&socket.FieldUID != 0
		if want := want.State != socket.StateTimeWait && want.State != socket.StateSynRecv; known != want {
			t.Errorf("state %d: user known %v, want %v", s.State, known, want)
		}
		return
	}
	t.Errorf("state %d of %v to %v is missing", want.State, want.Local, want.Remote)
}

func TestDumpTCPFields(t *testing.T) {
	ns := kerneltest.NewNamespace(t)
	listener := ns.Listen(t, "127.0.0.1:0")
	client, server := ns.Pair(t, listener)
	ns.Dial(t, listener)
	client.Set(unix.SOL_SOCKET, unix.SO_MARK, 0x1234).Write("hello").Shutdown(unix.SHUT_RD)
	inactive := ns.BoundInactive(t, "127.0.0.1:0")
	dual := ns.ListenDual(t)
	only := ns.Listen(t, "[::1]:0").Set(unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, 1)
	all, _ := collect(t, open(t, ns), everything(socket.TCP4|socket.TCP6))

	s := of(t, all, client)
	const connected = socket.FieldCookie | socket.FieldFamily | socket.FieldType | socket.FieldProtocol | socket.FieldState |
		socket.FieldAddresses | socket.FieldQueues | socket.FieldTimer | socket.FieldProbes | socket.FieldUID |
		socket.FieldRTO | socket.FieldATO | socket.FieldCWnd | socket.FieldDrops | socket.FieldInterface | socket.FieldMark |
		socket.FieldShutdown | socket.FieldNetns | socket.FieldCgroup
	if s.Known&^socket.FieldCgroup != connected&^socket.FieldCgroup {
		t.Errorf("client: known %#x, want %#x", s.Known, connected)
	}
	if s.Mark != 0x1234 || s.Shutdown != 1 || s.Netns != ns.Inode || s.CongestionWindow == 0 || s.RTO < 200 || s.RTO > 3000 ||
		s.Family != unix.AF_INET || s.Type != unix.SOCK_STREAM || s.Protocol != unix.IPPROTO_TCP || s.UID != uint32(unix.Geteuid()) {
		t.Errorf("client: %+v", s)
	}
	if s := of(t, all, server); s.RxQueue != 5 || s.Known&socket.FieldQueues == 0 {
		t.Errorf("server has %d bytes to read, want 5", s.RxQueue)
	}
	// A connection that waits to be accepted has no inode.
	waiting := 0
	for _, s := range all {
		if s.State == socket.StateEstablished && s.Inode == 0 {
			waiting++
		}
	}
	if waiting != 1 {
		t.Errorf("%d connections wait to be accepted, want 1", waiting)
	}

	s = of(t, all, listener)
	if s.Backlog != 1 || s.BacklogLimit != 16 || s.Known&(socket.FieldRTO|socket.FieldATO|socket.FieldSSThresh) != 0 ||
		s.Known&socket.FieldBacklog == 0 || s.Known&socket.FieldBacklogLimit == 0 {
		t.Errorf("listener: %+v", s)
	}
	s = of(t, all, inactive)
	if s.State != socket.StateClose && s.State != socket.StateBoundInactive || s.LocalPort != inactive.Local().Port() {
		t.Errorf("bound inactive: %+v", s)
	}
	if s := of(t, all, dual); s.V6Only || s.Known&socket.FieldV6Only == 0 || s.Local != netip.IPv6Unspecified() {
		t.Errorf("listener for both families: %+v", s)
	}
	if s := of(t, all, only); !s.V6Only || s.Interface != 1 {
		t.Errorf("IPv6 listener on lo: %+v", s)
	}
}

func TestDumpMapped(t *testing.T) {
	ns := kerneltest.NewNamespace(t)
	_, server := ns.Pair(t, ns.ListenDual(t))
	all, _ := collect(t, open(t, ns), everything(socket.TCP6))
	if s := of(t, all, server); netip.AddrPortFrom(s.Local, s.LocalPort) != server.Local() || !s.Local.Is4In6() ||
		netip.AddrPortFrom(s.Remote, s.RemotePort) != server.Remote() {
		t.Errorf("got %v to %v, want %v to %v", s.Local, s.Remote, server.Local(), server.Remote())
	}
}

func TestDumpSlowStartThreshold(t *testing.T) {
	ns := kerneltest.NewNamespace(t)
	listener := ns.Listen(t, "127.0.0.1:0")
	client, server := ns.Pair(t, listener)
	c := open(t, ns)
	all, _ := collect(t, c, everything(socket.TCP4))
	if s := of(t, all, client); s.Known&socket.FieldSSThresh != 0 {
		t.Errorf("a new connection has the threshold %d", s.SlowStartThreshold)
	}
	// A peer that does not answer makes the threshold fall, unless the host's
	// congestion control knows none.
	if err := unix.SetsockoptString(client.FD, unix.IPPROTO_TCP, unix.TCP_CONGESTION, "reno"); err != nil {
		t.Fatal(err)
	}
	server.Deafen()
	client.Write("lost")
	for range 1000 {
		all, _ = collect(t, c, everything(socket.TCP4))
		if s := of(t, all, client); s.Retransmits > 0 && s.Known&socket.FieldSSThresh != 0 {
			if s.Timer != socket.TimerRetransmit || s.TimerExpires == 0 || s.SlowStartThreshold > 100 || s.TxQueue != 4 {
				t.Errorf("a connection that retransmits: %+v", s)
			}
			return
		}
		unix.Nanosleep(&unix.Timespec{Nsec: 20e6}, nil)
	}
	t.Errorf("no threshold after retransmissions: %+v", of(t, all, client))
}

func TestDumpOnlyWantedExtensions(t *testing.T) {
	ns := kerneltest.NewNamespace(t)
	client, _ := ns.Pair(t, ns.Listen(t, "127.0.0.1:0"))
	named := ns.Unix(t, unix.SOCK_DGRAM, "\x00name")
	c := open(t, ns)
	for _, fields := range []socket.Fields{0, socket.FieldRTO, socket.FieldDrops, socket.FieldPath, socket.FieldPeer} {
		req := everything(socket.TCP4 | socket.Unix)
		req.Fields = fields
		all, _ := collect(t, c, req)
		tcp, path := of(t, all, client), of(t, all, named)
		if got := tcp.Known&socket.FieldRTO != 0; got != (fields == socket.FieldRTO) {
			t.Errorf("fields %#x: rto known %v", fields, got)
		}
		if got := tcp.Known&socket.FieldDrops != 0; got != (fields == socket.FieldDrops) {
			t.Errorf("fields %#x: drops known %v", fields, got)
		}
		if got := path.Known&socket.FieldPath != 0; got != (fields == socket.FieldPath) || got != (path.Path != "") {
			t.Errorf("fields %#x: path known %v, %q", fields, got, path.Path)
		}
		if got := path.Known&socket.FieldPeer != 0; got != (fields == socket.FieldPeer) {
			t.Errorf("fields %#x: peer known %v", fields, got)
		}
	}
}

func TestDumpDatagrams(t *testing.T) {
	ns := kerneltest.NewNamespace(t)
	c := open(t, ns)
	make := map[socket.Kind]func() *kerneltest.Sock{
		socket.UDP4:     func() *kerneltest.Sock { return ns.UDP(t, "127.0.0.1:0") },
		socket.UDP6:     func() *kerneltest.Sock { return ns.UDP(t, "[::1]:0") },
		socket.UDPLite4: func() *kerneltest.Sock { return ns.UDPLite(t, "127.0.0.1:0") },
		socket.UDPLite6: func() *kerneltest.Sock { return ns.UDPLite(t, "[::1]:0") },
	}
	for kind, make := range make {
		bound := make()
		connected := make().Connect(bound.Local().String()).Write("datagram")
		all, answered := collect(t, c, everything(kind))
		if answered&kind == 0 {
			t.Logf("this kernel does not list kind %#x: %v", kind, c.Refusals())
			continue
		}
		if s := of(t, all, bound); s.State != socket.StateClose || s.RxQueue < 8 || s.Type != unix.SOCK_DGRAM || s.Kind != kind ||
			netip.AddrPortFrom(s.Local, s.LocalPort) != bound.Local() || s.Known&socket.FieldDrops == 0 || s.Known&socket.FieldTimer != 0 {
			t.Errorf("kind %#x bound: %+v", kind, s)
		}
		if s := of(t, all, connected); s.State != socket.StateEstablished || netip.AddrPortFrom(s.Remote, s.RemotePort) != bound.Local() {
			t.Errorf("kind %#x connected: %+v", kind, s)
		}
	}
}

func TestDumpDrops(t *testing.T) {
	ns := kerneltest.NewNamespace(t)
	to := ns.UDP(t, "127.0.0.1:0").Set(unix.SOL_SOCKET, unix.SO_RCVBUF, 1)
	from := ns.UDP(t, "127.0.0.1:0").Connect(to.Local().String())
	for range 100 {
		from.Write("a datagram that soon finds no room in the queue")
	}
	all, _ := collect(t, open(t, ns), everything(socket.UDP4))
	if s := of(t, all, to); s.Drops == 0 || s.Drops > 100 {
		t.Errorf("%d drops, want 1 to 100", s.Drops)
	}
}

func TestDumpRaw(t *testing.T) {
	ns := kerneltest.NewNamespace(t)
	raw := ns.Raw(t, unix.AF_INET, unix.IPPROTO_ICMP)
	c := open(t, ns)
	all, answered := collect(t, c, everything(socket.Raw4))
	if answered == 0 {
		if len(c.Refusals()) != 1 || c.Refusals()[0].Err != unix.ENOENT {
			t.Errorf("refusals %v, want ENOENT", c.Refusals())
		}
		t.Skip("needs INET_RAW_DIAG")
	}
	if s := of(t, all, raw); s.Protocol != unix.IPPROTO_ICMP || s.LocalPort != unix.IPPROTO_ICMP || s.Type != unix.SOCK_RAW {
		t.Errorf("raw: %+v", s)
	}
}

func TestDumpMPTCP(t *testing.T) {
	ns := kerneltest.NewNamespace(t)
	listener, client, server := ns.MPTCP(t)
	c := open(t, ns)
	all, answered := collect(t, c, everything(socket.MPTCP4))
	if answered == 0 {
		t.Skipf("needs MPTCP diag: %v", c.Refusals())
	}
	for _, s := range all {
		if s.Kind != socket.MPTCP4 || s.Protocol != unix.IPPROTO_MPTCP || s.Known&socket.FieldRTO != 0 {
			t.Errorf("%+v", s)
		}
	}
	if s := of(t, all, listener); s.State != socket.StateListen || s.BacklogLimit != 16 {
		t.Errorf("listener: %+v", s)
	}
	of(t, all, server)
	if s := of(t, all, client); s.State != socket.StateEstablished || netip.AddrPortFrom(s.Remote, s.RemotePort) != listener.Local() {
		t.Errorf("client: %+v", s)
	}
	// The subflow has the inode too and a cookie of its own.
	tcp, _ := collect(t, c, everything(socket.TCP4))
	subflows := 0
	for _, s := range tcp {
		if s.Inode == client.Inode() && s.Cookie != client.Cookie() {
			subflows++
		}
	}
	if subflows != 1 {
		t.Errorf("%d subflows of the client, want 1", subflows)
	}
}

func TestDumpUnix(t *testing.T) {
	ns := kerneltest.NewNamespace(t)
	c := open(t, ns)
	for _, name := range kerneltest.UnixNames(t) {
		listener := ns.Unix(t, unix.SOCK_STREAM, name).Listen(7)
		client, server := ns.UnixConnection(t, listener)
		waiting := ns.UnixDial(t, listener)
		client.Write("four")
		all, _ := collect(t, c, everything(socket.Unix))
		if s := of(t, all, listener); s.Path != name || s.PathAbstract != (name[0] == 0) || s.State != socket.StateListen ||
			s.Backlog != 1 || s.BacklogLimit != 7 || s.Type != unix.SOCK_STREAM || s.Known&socket.FieldPathExact == 0 {
			t.Errorf("listener %q: %+v", name, s)
		}
		if s := of(t, all, server); s.Path != name || s.State != socket.StateEstablished || s.RxQueue != 4 || s.PeerInode != client.Inode() {
			t.Errorf("server %q: %+v", name, s)
		}
		if s := of(t, all, client); s.Path != "" || s.PeerInode != server.Inode() || s.Known&socket.FieldPath == 0 {
			t.Errorf("client %q: %+v", name, s)
		}
		if s := of(t, all, waiting); s.State != socket.StateEstablished || s.PeerInode != 0 {
			t.Errorf("not yet accepted %q: %+v", name, s)
		}
	}
	datagram := ns.Unix(t, unix.SOCK_DGRAM, "\x00datagram")
	ns.UnixDial(t, datagram).Write("first").Write("second")
	a, _ := ns.UnixPair(t, unix.SOCK_SEQPACKET)
	a.Shutdown(unix.SHUT_WR)
	unbound := ns.Unix(t, unix.SOCK_STREAM, "")
	all, _ := collect(t, c, everything(socket.Unix))
	// To the kernel both ends of a datagram connection are connected.
	if s := of(t, all, datagram); s.State != socket.StateEstablished || s.RxQueue != 5 || s.Type != unix.SOCK_DGRAM {
		t.Errorf("datagram: %+v", s)
	}
	if s := of(t, all, a); s.Shutdown != 2 || s.Type != unix.SOCK_SEQPACKET || s.UID != uint32(unix.Geteuid()) || s.Known&socket.FieldUID == 0 {
		t.Errorf("seqpacket: %+v", s)
	}
	if s := of(t, all, unbound); s.State != socket.StateClose || s.Path != "" || s.PathAbstract {
		t.Errorf("unbound: %+v", s)
	}
}

func TestDumpPacket(t *testing.T) {
	ns := kerneltest.NewNamespace(t)
	raw := ns.Packet(t, unix.SOCK_RAW, unix.ETH_P_ALL)
	cooked := ns.Packet(t, unix.SOCK_DGRAM, unix.ETH_P_ARP)
	ns.UDP(t, "127.0.0.1:0").Connect("127.0.0.1:9").Write("seen by the first")
	all, _ := collect(t, open(t, ns), everything(socket.Packet))
	if s := of(t, all, raw); s.Type != unix.SOCK_RAW || s.Protocol != unix.ETH_P_ALL || s.Interface != 1 || s.RxQueue == 0 ||
		s.Known&socket.FieldState != 0 || s.Known&socket.FieldUID == 0 {
		t.Errorf("raw: %+v", s)
	}
	if s := of(t, all, cooked); s.Type != unix.SOCK_DGRAM || s.Protocol != unix.ETH_P_ARP || s.RxQueue != 0 {
		t.Errorf("cooked: %+v", s)
	}
}

func TestDumpNetlink(t *testing.T) {
	ns := kerneltest.NewNamespace(t)
	route := ns.Netlink(t, unix.NETLINK_ROUTE).Set(unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, 3)
	sa, err := unix.Getsockname(route.FD)
	if err != nil {
		t.Fatal(err)
	}
	all, _ := collect(t, open(t, ns), everything(socket.Netlink))
	if s := of(t, all, route); s.Protocol != unix.NETLINK_ROUTE || s.Type != unix.SOCK_RAW || s.NetlinkGroups != 1<<2 ||
		s.NetlinkPort != sa.(*unix.SockaddrNetlink).Pid || s.Known&socket.FieldQueues == 0 {
		t.Errorf("%+v", s)
	}
}

func TestDumpLeavesItselfOut(t *testing.T) {
	ns := kerneltest.NewNamespace(t)
	c, other := open(t, ns), open(t, ns)
	collect(t, other, everything(socket.Packet)) // a socket without a port is in no list
	others := 0
	all, _ := collect(t, c, everything(socket.Netlink))
	for _, s := range all {
		if s.Cookie == c.own {
			t.Errorf("the connection shows itself: %+v", s)
		}
		if s.Cookie == other.own {
			others++
		}
	}
	if c.own == 0 || others != 1 {
		t.Errorf("own cookie %d; another connection is there %d times", c.own, others)
	}
}

// TestDumpEveryList asks for all that is there, and checks that what is not
// answered has a refusal with its reason, once.
func TestDumpEveryList(t *testing.T) {
	ns := kerneltest.NewNamespace(t)
	c := open(t, ns)
	_, answered := collect(t, c, socket.Everything())
	var refused socket.Kind
	for _, r := range c.Refusals() {
		t.Logf("refused %#x: %v", r.Kinds, r.Err)
		refused |= r.Kinds
	}
	if answered|refused != Kinds || answered&refused != 0 {
		t.Errorf("answered %#x, refused %#x, want together %#x", answered, refused, Kinds)
	}
	const always = socket.TCP4 | socket.TCP6 | socket.Unix
	if answered&always != always {
		t.Errorf("answered %#x, want at least %#x", answered, socket.Kind(always))
	}
	n := len(c.Refusals())
	if _, again := collect(t, c, socket.Everything()); again != answered || len(c.Refusals()) != n {
		t.Errorf("the second time answered %#x with %d refusals, want %#x and %d", again, len(c.Refusals()), answered, n)
	}
	if answered&(socket.ICMP4|socket.ICMP6|socket.Other) != 0 {
		t.Error("ping sockets have no diag")
	}
}

func TestDumpOwnNamespaceUnprivileged(t *testing.T) {
	c, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var pair [2]int
	if pair, err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	cookie, err := unix.GetsockoptUint64(pair[0], unix.SOL_SOCKET, unix.SO_COOKIE)
	if err != nil {
		t.Fatal(err)
	}
	all, _ := collect(t, c, everything(socket.Unix))
	for _, s := range all {
		if s.Cookie == cookie {
			if own, err := netns.Current(); err != nil || s.Netns != own || c.Netns() != own {
				t.Errorf("namespace %d, want %d, %v", s.Netns, own, err)
			}
			return
		}
	}
	t.Error("our own socket is missing")
}

// TestDumpOutlivesNamespace ends everything that lives in the namespace in
// the middle of a dump.
func TestDumpOutlivesNamespace(t *testing.T) {
	ns := kerneltest.NewNamespace(t)
	var socks []*kerneltest.Sock
	for range 200 {
		socks = append(socks, ns.UDP(t, "127.0.0.1:0"))
	}
	holder := kerneltest.Hold(t, ns)
	c := open(t, ns)
	req := everything(socket.TCP4 | socket.TCP6 | socket.UDP4 | socket.Unix)
	n := 0
	answered, err := c.Dump(t.Context(), &req, nil, func(*socket.Socket) bool {
		if n++; n == 1 {
			holder.End()
			for _, s := range socks {
				s.Close()
			}
		}
		return true
	})
	if err != nil || answered != req.Kinds || n == 0 {
		t.Errorf("answered %#x with %d sockets, %v", answered, n, err)
	}
}

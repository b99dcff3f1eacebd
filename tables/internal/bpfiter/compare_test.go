package bpfiter

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sockql/tables/internal/kerneltest"
	"sockql/tables/internal/netns"
	"sockql/tables/internal/procfs"
	"sockql/tables/internal/sockdiag"
	"sockql/tables/internal/socket"
)

// load makes sockets of every kind that sock_diag lists, as random as seed has
// it, that stay as they are.
func load(t *testing.T, ns *kerneltest.Namespace, seed uint64) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 0))
	listeners := []*kerneltest.Sock{ns.Listen(t, "127.0.0.1:0"), ns.Listen(t, "[::1]:0"), ns.ListenDual(t)}
	for range 5 + r.IntN(20) {
		client, server := ns.Pair(t, listeners[r.IntN(len(listeners))])
		switch r.IntN(5) {
		case 0:
			client.Write(strings.Repeat("x", 1+r.IntN(2000)))
		case 1:
			server.Shutdown(unix.SHUT_WR)
		case 2:
			server.Set(unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
		case 3:
			client.Set(unix.SOL_SOCKET, unix.SO_MARK, r.IntN(1<<16))
		}
	}
	for range 1 + r.IntN(4) {
		ns.Dial(t, listeners[r.IntN(len(listeners))])
	}
	for range 3 + r.IntN(10) {
		s := ns.UDP(t, []string{"127.0.0.1:0", "[::1]:0", "0.0.0.0:0", "[::]:0"}[r.IntN(4)])
		if r.IntN(2) == 0 && !s.Local().Addr().IsUnspecified() {
			s.Connect(s.Local().String()).Write("to itself")
		}
	}
	for i := range 3 + r.IntN(10) {
		typ := []int{unix.SOCK_STREAM, unix.SOCK_SEQPACKET}[r.IntN(2)]
		l := ns.Unix(t, typ, fmt.Sprintf("\x00listener %d", i)).Listen(5)
		client, _ := ns.UnixConnection(t, l)
		client.Write("unread")
		ns.UnixDial(t, l)
		a, _ := ns.UnixPair(t, unix.SOCK_DGRAM)
		a.Write("one").Write("another")
	}
	ns.Packet(t, unix.SOCK_RAW, unix.ETH_P_ARP)
	ns.Netlink(t, unix.NETLINK_ROUTE).Set(unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, 1)
	ns.Netlink(t, unix.NETLINK_KOBJECT_UEVENT)
	ns.Listen(t, "[::1]:0").Set(unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, 1)
	ns.BoundInactive(t, "127.0.0.1:0")
}

// diag returns what sock_diag lists of a namespace, by cookie. Being listed
// gives every socket its cookie.
func diag(t *testing.T, ns *kerneltest.Namespace) (map[uint64]socket.Socket, socket.Kind) {
	t.Helper()
	h, err := netns.Open(ns.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	var c *sockdiag.Conn
	if err := netns.Do(h, func() (err error) { c, err = sockdiag.Open(); return err }); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	req, all := socket.Everything(), map[uint64]socket.Socket{}
	answered, err := c.Dump(t.Context(), &req, func(err error) { t.Errorf("warning: %v", err) }, func(s *socket.Socket) bool {
		// Neither the kernel's own netlink sockets nor the one of the question.
		if s.Kind != socket.Netlink || s.NetlinkPort != 0 && s.Protocol != unix.NETLINK_SOCK_DIAG {
			all[s.Cookie] = *s
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return all, answered
}

// differ returns how two sources disagree on a socket, in the fields that both
// know.
func differ(got, want *socket.Socket) string {
	both := got.Known & want.Known
	var diffs []string
	check := func(f socket.Fields, name string, a, b any) {
		if both&f != 0 && a != b {
			diffs = append(diffs, fmt.Sprintf("%s is %v, want %v", name, a, b))
		}
	}
	check(^socket.Fields(0), "kind", got.Kind, want.Kind)
	check(^socket.Fields(0), "inode", got.Inode, want.Inode)
	check(socket.FieldCookie, "cookie", got.Cookie, want.Cookie)
	check(socket.FieldFamily, "family", got.Family, want.Family)
	check(socket.FieldType, "type", got.Type, want.Type)
	check(socket.FieldProtocol, "protocol", got.Protocol, want.Protocol)
	check(socket.FieldState, "state", got.State, want.State)
	check(socket.FieldAddresses, "local address", netip.AddrPortFrom(got.Local, got.LocalPort), netip.AddrPortFrom(want.Local, want.LocalPort))
	check(socket.FieldAddresses, "remote address", netip.AddrPortFrom(got.Remote, got.RemotePort), netip.AddrPortFrom(want.Remote, want.RemotePort))
	check(socket.FieldPathExact, "path", fmt.Sprintf("%q %v", got.Path, got.PathAbstract), fmt.Sprintf("%q %v", want.Path, want.PathAbstract))
	check(socket.FieldQueues, "receive queue", got.RxQueue, want.RxQueue)
	if want.Known&socket.FieldBacklogLimit != 0 || want.State != socket.StateListen {
		check(socket.FieldQueues, "send queue", got.TxQueue, want.TxQueue)
	}
	check(socket.FieldBacklog, "backlog", got.Backlog, want.Backlog)
	check(socket.FieldBacklogLimit, "backlog's limit", got.BacklogLimit, want.BacklogLimit)
	check(socket.FieldTimer, "timer", got.Timer, want.Timer)
	check(socket.FieldTimer, "retransmits", got.Retransmits, want.Retransmits)
	check(socket.FieldProbes, "probes", got.Probes, want.Probes)
	check(socket.FieldUID, "uid", got.UID, want.UID)
	// A timer's reference comes and goes, and text has 0 for a request.
	if d := int64(got.Refcount) - int64(want.Refcount); both&socket.FieldRefcount != 0 && want.Refcount != 0 && (d > 1 || d < -1) {
		diffs = append(diffs, fmt.Sprintf("%d references, want %d", got.Refcount, want.Refcount))
	}
	check(socket.FieldRTO, "rto", got.RTO/10, want.RTO/10) // the text counts in hundredths of a second
	check(socket.FieldATO, "ato", got.ATO/10, want.ATO/10)
	check(socket.FieldQuickACK, "quick acknowledgements", fmt.Sprint(got.QuickACK, got.PingPong), fmt.Sprint(want.QuickACK, want.PingPong))
	check(socket.FieldCWnd, "congestion window", got.CongestionWindow, want.CongestionWindow)
	check(socket.FieldSSThresh, "slow-start threshold", got.SlowStartThreshold, want.SlowStartThreshold)
	check(socket.FieldFastOpen, "fast-open limit", got.FastOpenLimit, want.FastOpenLimit)
	check(socket.FieldDrops, "drops", got.Drops, want.Drops)
	check(socket.FieldInterface, "interface", got.Interface, want.Interface)
	check(socket.FieldMark, "mark", got.Mark, want.Mark)
	check(socket.FieldShutdown, "shutdown", got.Shutdown, want.Shutdown)
	check(socket.FieldV6Only, "v6only", got.V6Only, want.V6Only)
	check(socket.FieldCgroup, "cgroup", got.CgroupID, want.CgroupID)
	check(socket.FieldNetns, "namespace", got.Netns, want.Netns)
	check(socket.FieldPeer, "peer", got.PeerInode, want.PeerInode)
	check(socket.FieldNetlinkPort, "netlink port", [2]uint32{got.NetlinkPort, got.NetlinkGroups}, [2]uint32{want.NetlinkPort, want.NetlinkGroups})
	if d := int64(got.TimerExpires) - int64(want.TimerExpires); both&socket.FieldTimer != 0 && (d > 1000 || d < -1000) {
		diffs = append(diffs, fmt.Sprintf("timer expires in %d, want %d ms", got.TimerExpires, want.TimerExpires))
	}
	return strings.Join(diffs, "; ")
}

// TestAgreesWithDiag compares with sock_diag everything that it lists, and asks
// for no less.
func TestAgreesWithDiag(t *testing.T) {
	s := open(t)
	for seed := range uint64(4) {
		ns := kerneltest.NewNamespace(t)
		load(t, ns, seed)
		ns.MPTCP(t)
		ns.States(t, "127.0.0.1:0")
		ns.States(t, "[::1]:0")
		// Sockets come and go with what their peers send again: what counts is
		// that the sources can agree.
		var diffs []string
		for try := range 12 {
			if diffs = compareDiag(t, s, ns); diffs == nil {
				break
			}
			time.Sleep(time.Duration(try) * 20 * time.Millisecond) // the pauses of retransmissions grow
		}
		for _, diff := range diffs {
			t.Errorf("seed %d: %s", seed, diff)
		}
	}
}

func compareDiag(t *testing.T, s *Source, ns *kerneltest.Namespace) (diffs []string) {
	t.Helper()
	want, answered := diag(t, ns)
	all := append(s.collectOwnerless(t, inside(ns)), s.collect(t, inside(ns))...)
	// Connections whose peer does not answer retransmit: one on which sock_diag
	// does not agree with itself tells nothing.
	again, _ := diag(t, ns)
	kinds := map[socket.Kind]int{}
	for i := range all {
		f := &all[i]
		if answered&f.Kind == 0 {
			continue
		}
		w, ok := want[f.Cookie]
		if !ok {
			// sock_diag lists no socket that is neither bound nor connected.
			diffs = append(diffs, fmt.Sprintf("sock_diag does not have %v", f))
			continue
		}
		delete(want, f.Cookie)
		kinds[f.Kind]++
		if missing := w.Known &^ f.Known; missing != 0 {
			diffs = append(diffs, fmt.Sprintf("kind %s state %d: unknown %#x", kindName(f.Kind), f.State, missing))
		}
		later, still := again[f.Cookie]
		if diff := differ(&f.Socket, &w); diff != "" && still && differ(&later, &w) == "" {
			diffs = append(diffs, fmt.Sprintf("kind %s %v:%d to %v:%d state %d: %s", kindName(f.Kind), f.Local, f.LocalPort, f.Remote, f.RemotePort, f.State, diff))
		}
	}
	for _, w := range want {
		diffs = append(diffs, fmt.Sprintf("missing %+v", w))
	}
	for _, kind := range []socket.Kind{socket.TCP4, socket.TCP6, socket.UDP4, socket.UDP6, socket.Unix, socket.Netlink, socket.Packet, socket.MPTCP4} {
		if answered&kind != 0 && kinds[kind] == 0 {
			diffs = append(diffs, "no socket compared of kind "+kindName(kind))
		}
	}
	return diffs
}

// TestAgreesWithProcfs compares with the text of /proc/net, which tells things
// that sock_diag does not.
func TestAgreesWithProcfs(t *testing.T) {
	s := open(t)
	for seed := range uint64(4) {
		ns := kerneltest.NewNamespace(t)
		load(t, ns, 100+seed)
		ns.States(t, "127.0.0.1:0")
		holder := kerneltest.Hold(t, ns)
		var diffs []string
		for try := range 12 {
			if try > 0 {
				time.Sleep(time.Duration(try) * 20 * time.Millisecond)
			}
			if diffs = compareProcfs(t, s, ns, int32(holder.PID)); diffs == nil {
				break
			}
		}
		for _, diff := range diffs {
			t.Errorf("seed %d: %s", seed, diff)
		}
	}
}

func compareProcfs(t *testing.T, s *Source, ns *kerneltest.Namespace, pid int32) (diffs []string) {
	t.Helper()
	fs, err := procfs.Open(host.Proc)
	if err != nil {
		t.Fatal(err)
	}
	defer fs.Close()
	key := func(s *socket.Socket) string {
		return fmt.Sprint(s.Kind, s.Inode, s.Local, s.LocalPort, s.Remote, s.RemotePort, s.NetlinkPort)
	}
	got := map[string]found{}
	for _, f := range append(s.collectOwnerless(t, inside(ns)), s.collect(t, inside(ns))...) {
		got[key(&f.Socket)] = f
	}
	const kinds = socket.TCP4 | socket.TCP6 | socket.UDP4 | socket.UDP6 | socket.Unix | socket.Packet | socket.Netlink
	var known socket.Fields
	for kind := socket.TCP4; kind <= socket.Netlink; kind <<= 1 {
		if kind&kinds == 0 {
			continue
		}
		err := fs.List(t.Context(), pid, kind, ns.Inode, func(err error) { t.Errorf("procfs: %v", err) }, func(w *socket.Socket) bool {
			f, ok := got[key(w)]
			switch {
			case !ok && w.Inode == 0 && w.Kind == socket.Unix: // not yet accepted: in no file, in no table of ours
			case !ok && w.Kind == socket.Netlink && w.NetlinkPort == 0: // the kernel's
			case !ok:
				diffs = append(diffs, fmt.Sprintf("missing %+v", *w))
			default:
				known |= f.Known & w.Known
				if w.State == socket.StateSynRecv && w.Kind&(socket.TCP4|socket.TCP6) != 0 {
					// The text counts the timeouts of a request (num_timeout),
					// sock_diag and we the answers sent (num_retrans).
					w.Retransmits = f.Retransmits
				}
				if diff := differ(&f.Socket, w); diff != "" {
					diffs = append(diffs, fmt.Sprintf("kind %s inode %d state %d: %s", kindName(kind), w.Inode, w.State, diff))
				}
			}
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, field := range []socket.Fields{socket.FieldRefcount, socket.FieldQuickACK, socket.FieldFastOpen, socket.FieldPath, socket.FieldRTO, socket.FieldDrops} {
		if known&field == 0 {
			diffs = append(diffs, fmt.Sprintf("field %#x was not compared", field))
		}
	}
	return diffs
}

// TestHeader checks that the programs' numbers of kinds and fields are ours.
func TestHeader(t *testing.T) {
	text, err := os.ReadFile("bpf/record.h")
	if err != nil {
		t.Fatal(err)
	}
	names := func(enum string) (list []string) {
		_, body, _ := strings.Cut(string(text), "enum "+enum+" {")
		body, _, _ = strings.Cut(body, "}")
		for _, item := range strings.Split(body, ",") {
			if item = strings.TrimSpace(item); item != "" {
				list = append(list, item)
			}
		}
		return list
	}
	kinds := names("kind")
	for i, name := range kinds {
		if want := "KIND_" + strings.ToUpper(kindName(1<<i)); name != want && name+"4" != want && name != want+"4" {
			t.Errorf("kind %d is %s, want %s", i, name, want)
		}
	}
	if socket.Kind(1)<<(len(kinds)-1) != socket.Other {
		t.Errorf("%d kinds", len(kinds))
	}
	fields := names("field")
	want := []string{"COOKIE", "FAMILY", "TYPE", "PROTOCOL", "STATE", "ADDRESSES", "PATH", "PATH_EXACT", "QUEUES", "BACKLOG", "TIMER",
		"PROBES", "UID", "REFCOUNT", "RTO", "ATO", "QUICKACK", "CWND", "SSTHRESH", "FASTOPEN", "DROPS", "INTERFACE", "MARK", "SHUTDOWN",
		"V6ONLY", "CGROUP", "NETNS", "PEER", "BACKLOG_LIMIT", "NETLINK_PORT"}
	for i := range want {
		want[i] = fmt.Sprintf("FIELD_%s = 1 << %d", want[i], i)
	}
	if !slices.Equal(fields, want) {
		t.Errorf("fields %q", fields)
	}
	// The positions that the list above stands for.
	for field, i := range map[socket.Fields]int{
		socket.FieldCookie: 0, socket.FieldPathExact: 7, socket.FieldTimer: 10, socket.FieldRTO: 14, socket.FieldDrops: 20,
		socket.FieldCgroup: 25, socket.FieldNetlinkPort: 29, socket.AllFields + 1: 30,
	} {
		if field != 1<<i {
			t.Errorf("field %#x is not bit %d", field, i)
		}
	}
}

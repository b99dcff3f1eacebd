package sockdiag

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"sockql/tables/internal/kerneltest"
	"sockql/tables/internal/netlink"
	"sockql/tables/internal/procfs"
	"sockql/tables/internal/socket"
)

// zoo makes sockets of every kind, as random as seed has it, that stay as they
// are.
func zoo(t *testing.T, ns *kerneltest.Namespace, seed uint64) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 0))
	listeners := []*kerneltest.Sock{ns.Listen(t, "127.0.0.1:0"), ns.Listen(t, "[::1]:0"), ns.ListenDual(t)}
	for range 5 + r.IntN(20) {
		l := listeners[r.IntN(len(listeners))]
		client, server := ns.Pair(t, l)
		switch r.IntN(4) {
		case 0:
			client.Write(strings.Repeat("x", 1+r.IntN(2000)))
		case 1:
			server.Shutdown(unix.SHUT_WR)
		case 2:
			server.Set(unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
		}
	}
	for range r.IntN(4) {
		ns.Dial(t, listeners[r.IntN(len(listeners))])
	}
	for range 3 + r.IntN(10) {
		addr := []string{"127.0.0.1:0", "[::1]:0", "0.0.0.0:0", "[::]:0"}[r.IntN(4)]
		s := ns.UDP(t, addr)
		if r.IntN(2) == 0 && !s.Local().Addr().IsUnspecified() {
			s.Connect(s.Local().String()).Write("to itself")
		}
	}
	for i := range 3 + r.IntN(10) {
		typ := []int{unix.SOCK_STREAM, unix.SOCK_SEQPACKET}[r.IntN(2)]
		l := ns.Unix(t, typ, fmt.Sprintf("\x00listener %d", i)).Listen(5)
		ns.UnixConnection(t, l)
		ns.UnixPair(t, unix.SOCK_DGRAM)
	}
	ns.Packet(t, unix.SOCK_RAW, unix.ETH_P_ARP)
	ns.Netlink(t, unix.NETLINK_ROUTE).Set(unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, 1)
	ns.Netlink(t, unix.NETLINK_KOBJECT_UEVENT)
}

// differ returns how two sources disagree on a socket, in the fields that both
// know.
func differ(diag, text *socket.Socket) string {
	both := diag.Known & text.Known
	d, p := *diag, *text
	var diffs []string
	check := func(f socket.Fields, name string, a, b any) {
		if both&f != 0 && a != b {
			diffs = append(diffs, fmt.Sprintf("%s is %v by diag and %v by procfs", name, a, b))
		}
	}
	check(socket.FieldFamily, "family", d.Family, p.Family)
	check(socket.FieldType, "type", d.Type, p.Type)
	check(socket.FieldProtocol, "protocol", d.Protocol, p.Protocol)
	check(socket.FieldState, "state", d.State, p.State)
	check(socket.FieldAddresses, "local address", netip.AddrPortFrom(d.Local, d.LocalPort), netip.AddrPortFrom(p.Local, p.LocalPort))
	check(socket.FieldAddresses, "remote address", netip.AddrPortFrom(d.Remote, d.RemotePort), netip.AddrPortFrom(p.Remote, p.RemotePort))
	check(socket.FieldPathExact, "path", d.Path, p.Path)
	check(socket.FieldPath, "path", strings.ReplaceAll(d.Path, "\x00", "@"), strings.ReplaceAll(p.Path, "\x00", "@"))
	check(socket.FieldQueues, "receive queue", d.RxQueue, p.RxQueue)
	if d.State != socket.StateListen { // the text has no limit of the backlog
		check(socket.FieldQueues, "send queue", d.TxQueue, p.TxQueue)
	}
	check(socket.FieldBacklog, "backlog", d.Backlog, p.Backlog)
	check(socket.FieldTimer, "timer", d.Timer, p.Timer)
	if d.State != socket.StateSynRecv { // one counts answers, the other timeouts
		check(socket.FieldTimer, "retransmits", d.Retransmits, p.Retransmits)
	}
	check(socket.FieldProbes, "probes", d.Probes, p.Probes)
	check(socket.FieldUID, "uid", d.UID, p.UID)
	check(socket.FieldRTO, "rto", d.RTO/10, p.RTO/10)
	check(socket.FieldATO, "ato", d.ATO/10, p.ATO/10)
	check(socket.FieldCWnd, "congestion window", d.CongestionWindow, p.CongestionWindow)
	check(socket.FieldSSThresh, "slow-start threshold", d.SlowStartThreshold, p.SlowStartThreshold)
	check(socket.FieldDrops, "drops", d.Drops, p.Drops)
	check(socket.FieldInterface, "interface", d.Interface, p.Interface)
	check(socket.FieldNetns, "namespace", d.Netns, p.Netns)
	check(socket.FieldNetlinkPort, "netlink port", [2]uint32{d.NetlinkPort, d.NetlinkGroups}, [2]uint32{p.NetlinkPort, p.NetlinkGroups})
	if diff := int64(d.TimerExpires) - int64(p.TimerExpires); both&socket.FieldTimer != 0 && (diff > 1000 || diff < -1000) {
		diffs = append(diffs, fmt.Sprintf("timer expires in %d and %d ms", d.TimerExpires, p.TimerExpires))
	}
	return strings.Join(diffs, "; ")
}

// key tells sockets apart that both sources see.
func key(s *socket.Socket) string {
	return fmt.Sprint(s.Kind, s.Inode, s.Local, s.LocalPort, s.Remote, s.RemotePort, s.NetlinkPort, s.Protocol)
}

func TestAgreesWithProcfs(t *testing.T) {
	for seed := range uint64(4) {
		ns := kerneltest.NewNamespace(t)
		zoo(t, ns, seed)
		ns.States(t, "127.0.0.1:0")
		ns.States(t, "[::1]:0")
		holder := kerneltest.Hold(t, ns)
		c := open(t, ns)
		// Connections whose peer does not answer retransmit, so that two looks
		// at them may differ: what counts is that the sources can agree.
		var diffs []string
		for range 5 {
			if diffs = disagreements(t, c, holder.PID); diffs == nil {
				break
			}
		}
		for _, diff := range diffs {
			t.Errorf("seed %d: %s", seed, diff)
		}
	}
}

// disagreements dumps a namespace, reads the lists of a process that lives in
// it, and returns what differs in the fields that both know.
func disagreements(t *testing.T, c *Conn, pid int) (diffs []string) {
	t.Helper()
	fs, err := procfs.Open("/proc")
	if err != nil {
		t.Fatal(err)
	}
	defer fs.Close()
	var own unix.Stat_t
	if err := unix.Fstat(int(c.transport.(netlink.Socket)), &own); err != nil {
		t.Fatal(err)
	}
	const kinds = socket.TCP4 | socket.TCP6 | socket.UDP4 | socket.UDP6 | socket.Unix | socket.Packet | socket.Netlink
	diag, answered := collect(t, c, everything(kinds))
	if answered != kinds {
		t.Skipf("needs more diag modules: answered %#x", answered)
	}
	byKey := map[string]*socket.Socket{}
	for i := range diag {
		byKey[key(&diag[i])] = &diag[i]
	}
	for kind := socket.TCP4; kind <= socket.Netlink; kind <<= 1 {
		if kind&kinds == 0 {
			continue
		}
		compared := 0
		err := fs.List(t.Context(), int32(pid), kind, c.Netns(), func(err error) { t.Errorf("procfs: %v", err) },
			func(s *socket.Socket) bool {
				d := byKey[key(s)]
				if d == nil && s.Inode == own.Ino {
					return true // the connection itself
				}
				if d == nil {
					diffs = append(diffs, fmt.Sprintf("diag does not have %+v", *s))
					return true
				}
				if s.Kind == socket.Netlink && s.Protocol == unix.NETLINK_SOCK_DIAG {
					// The kernel's own end holds the very question.
					d.RxQueue, d.TxQueue = s.RxQueue, s.TxQueue
				}
				if diff := differ(d, s); diff != "" {
					diffs = append(diffs, fmt.Sprintf("kind %#x %v:%d to %v:%d state %d: %s",
						kind, s.Local, s.LocalPort, s.Remote, s.RemotePort, s.State, diff))
				}
				delete(byKey, key(s))
				compared++
				return true
			})
		if err != nil {
			t.Fatal(err)
		}
		if compared == 0 {
			t.Errorf("no socket of kind %#x was compared", kind)
		}
	}
	for _, d := range byKey {
		// The text leaves out what is neither listening nor connected.
		if d.Kind&(socket.TCP4|socket.TCP6) == 0 || d.State != socket.StateClose {
			diffs = append(diffs, fmt.Sprintf("procfs does not have %+v", *d))
		}
	}
	return diffs
}

// TestAgreesWithSS compares with the lines of ss(8), which asks sock_diag too.
func TestAgreesWithSS(t *testing.T) {
	kerneltest.RequireProgram(t, "ss")
	ns := kerneltest.NewNamespace(t)
	zoo(t, ns, 7)
	ns.States(t, "127.0.0.1:0")
	c := open(t, ns)
	all, _ := collect(t, c, everything(socket.TCP4|socket.TCP6|socket.UDP4|socket.UDP6))
	var got []string
	for _, s := range all {
		network := "tcp"
		if s.Kind&(socket.UDP4|socket.UDP6) != 0 {
			network = "udp"
		}
		got = append(got, fmt.Sprintln(network, ssStates[s.State], s.RxQueue, s.TxQueue, ssAddr(s.Local, s.LocalPort, s.V6Only), ssAddr(s.Remote, s.RemotePort, s.V6Only)))
	}
	var want []string
	lines := bufio.NewScanner(strings.NewReader(ns.Output(t, "ss", "-H", "-a", "-n", "-t", "-u")))
	for lines.Scan() {
		want = append(want, fmt.Sprintln(strings.Join(strings.Fields(lines.Text()), " ")))
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("ss (-), diag (+):\n%s", diff)
	}
}

var ssStates = map[uint8]string{
	1: "ESTAB", 2: "SYN-SENT", 3: "SYN-RECV", 4: "FIN-WAIT-1", 5: "FIN-WAIT-2", 6: "TIME-WAIT", 7: "UNCONN",
	8: "CLOSE-WAIT", 9: "LAST-ACK", 10: "LISTEN", 11: "CLOSING",
}

// ssAddr writes an address as ss -n does.
func ssAddr(a netip.Addr, port uint16, v6only bool) string {
	host := a.String()
	if a.Is6() {
		host = "[" + host + "]"
	}
	if a == netip.IPv6Unspecified() && !v6only {
		host = "*"
	}
	if port == 0 {
		return host + ":*"
	}
	return fmt.Sprintf("%s:%d", host, port)
}

// TestDecodesRecordingOfSS replays what ss -D recorded, a TCP dump as it came
// from the kernel, and compares it with what ss makes of it.
func TestDecodesRecordingOfSS(t *testing.T) {
	ss := kerneltest.RequireProgram(t, "ss")
	ns := kerneltest.NewNamespace(t)
	zoo(t, ns, 9)
	file := filepath.Join(t.TempDir(), "dump")
	ns.Output(t, ss, "-a", "-D", file)
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	// The file holds one dump after the other, of which ss replays the first.
	k := &fakeKernel{answers: [][]any{nil}}
	var datagram []byte
	for m, rest := netlink.Next(data); m.Payload != nil; m, rest = netlink.Next(rest) {
		if m.Type == unix.NLMSG_DONE {
			break
		}
		datagram = append(datagram, msg(m.Type, m.Flags, m.Payload)...)
		if len(datagram) > netlink.BufferSize/2 {
			k.answers[0] = append(k.answers[0], datagram)
			datagram = nil
		}
	}
	k.answers[0] = append(k.answers[0], datagram, doneMsg)
	all, _ := collect(t, new(Support).New(k, ns.Inode), everything(socket.TCP4|socket.TCP6))
	states := map[string]int{}
	for _, s := range all {
		states[ssStates[s.State]]++
	}
	t.Setenv("TCPDIAG_FILE", file)
	want := map[string]int{}
	lines := bufio.NewScanner(strings.NewReader(ns.Output(t, ss, "-H", "-t", "-a", "-n", "-e")))
	for lines.Scan() {
		if f := strings.Fields(lines.Text()); len(f) > 0 {
			want[f[0]]++
		}
	}
	if len(all) == 0 || fmt.Sprint(states) != fmt.Sprint(want) {
		t.Errorf("states %v, ss says %v", states, want)
	}
}

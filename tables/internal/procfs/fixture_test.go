package procfs

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"sockql/fixtures"
	"sockql/tables/internal/socket"
)

func openFixture(t testing.TB, name string, options ...Option) *FS {
	t.Helper()
	p, err := Open(fixtures.Unpack(t, name), options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// all returns the sockets of one list and the warnings.
func all(t *testing.T, p *FS, pid int32, kind socket.Kind) ([]socket.Socket, []error) {
	t.Helper()
	var sockets []socket.Socket
	var warnings []error
	err := p.List(t.Context(), pid, kind, 0, func(err error) { warnings = append(warnings, err) },
		func(s *socket.Socket) bool {
			sockets = append(sockets, *s)
			return true
		})
	if err != nil {
		t.Fatalf("kind %#x: %v", kind, err)
	}
	return sockets, warnings
}

// quiet is all without warnings.
func quiet(t *testing.T, p *FS, pid int32, kind socket.Kind) []socket.Socket {
	t.Helper()
	sockets, warnings := all(t, p, pid, kind)
	if len(warnings) > 0 {
		t.Errorf("kind %#x: unexpected warnings %v", kind, warnings)
	}
	return sockets
}

var compareSockets = cmp.Options{
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
}

var nobody = socket.Holder{PID: -1, TID: -1, FD: -1}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

const (
	knownTCP = socket.FieldFamily | socket.FieldType | socket.FieldProtocol | socket.FieldState | socket.FieldAddresses |
		socket.FieldQueues | socket.FieldTimer | socket.FieldRefcount
	knownOwnTCP = knownTCP | socket.FieldUID | socket.FieldProbes | socket.FieldRTO | socket.FieldATO |
		socket.FieldQuickACK | socket.FieldCWnd
)

func TestListBash(t *testing.T) {
	p := openFixture(t, "bash")
	got := quiet(t, p, 14960, socket.TCP4)
	base := socket.Socket{Kind: socket.TCP4, Family: unix.AF_INET, Type: unix.SOCK_STREAM, Protocol: unix.IPPROTO_TCP, Holder: nobody}
	with := func(change func(*socket.Socket)) socket.Socket { s := base; change(&s); return s }
	want := []socket.Socket{
		with(func(s *socket.Socket) { // a listener with two connections to accept; the last column is no ssthresh
			s.Known = knownOwnTCP | socket.FieldBacklog | socket.FieldFastOpen
			s.Local, s.LocalPort, s.Remote, s.State, s.Inode = addr("0.0.0.0"), 22, addr("0.0.0.0"), socket.StateListen, 23106
			s.RxQueue, s.Backlog, s.Refcount, s.RTO, s.CongestionWindow = 2, 2, 1, 1000, 10
		}),
		with(func(s *socket.Socket) { // TIME_WAIT ends after the pointer
			s.Known = knownTCP
			s.Local, s.LocalPort, s.Remote, s.RemotePort = addr("192.168.2.156"), 46020, addr("140.211.10.93"), 443
			s.State, s.Timer, s.TimerExpires, s.Refcount = socket.StateTimeWait, socket.TimerTimeWait, 39460, 3
		}),
		with(func(s *socket.Socket) { // keepalive runs, ssthresh is set
			s.Known = knownOwnTCP | socket.FieldSSThresh
			s.Local, s.LocalPort, s.Remote, s.RemotePort = addr("192.168.2.156"), 22, addr("192.168.2.20"), 50122
			s.State, s.Inode, s.Timer, s.TimerExpires, s.Refcount = socket.StateEstablished, 290114, socket.TimerKeepalive, 3600000, 4
			s.RTO, s.ATO, s.PingPong, s.CongestionWindow, s.SlowStartThreshold = 210, 40, true, 10, 20
		}),
		with(func(s *socket.Socket) {
			s.Known = knownOwnTCP
			s.Local, s.LocalPort, s.Remote, s.RemotePort = addr("192.168.2.156"), 51118, addr("192.168.2.145"), 8888
			s.State, s.Inode, s.UID, s.Refcount, s.RTO, s.CongestionWindow = socket.StateEstablished, 307410, 1000, 1, 200, 10
		}),
	}
	got = slices.DeleteFunc(got, func(s socket.Socket) bool { return s.Inode == 21370 || s.Inode == 18204 })
	if diff := cmp.Diff(want, got, compareSockets); diff != "" {
		t.Errorf("net/tcp (-want +got):\n%s", diff)
	}

	var w Walker
	fds, err := p.Sockets(&w, 14960, nil)
	if err != nil || !slices.Equal(fds, []FDInode{{2, 307410}}) {
		t.Errorf("Sockets(14960) = %v, %v", fds, err)
	}
	for _, pid := range []int32{1, 812, 14960} {
		if netns, err := p.NetNS(pid); err != nil || netns != 4026531956 {
			t.Errorf("NetNS(%d) = %d, %v", pid, netns, err)
		}
	}
	if pids, err := p.PIDs(nil); err != nil || !slices.Equal(pids, []int32{1, 812, 14960}) {
		t.Errorf("PIDs = %v, %v", pids, err)
	}
	if p.IsMounted() || p.IsHost() || p.IsInitial() {
		t.Error("a recorded tree is no host")
	}
	if h, err := p.HidePID(); err != nil || h.Hides() {
		t.Errorf("HidePID = %+v, %v", h, err)
	}
}

func TestListStates(t *testing.T) {
	p := openFixture(t, "states")
	for kind, addresses := range map[socket.Kind][]string{
		socket.TCP4: {"192.0.2.1"},
		socket.TCP6: {"2001:db8::1", "::ffff:192.0.2.7", "fe80::1"},
	} {
		sockets := quiet(t, p, 300, kind)
		want := []uint8{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 14, socket.StateFinWait2}
		if len(sockets) != len(want) {
			t.Fatalf("kind %#x: %d sockets, want %d", kind, len(sockets), len(want))
		}
		for i, s := range sockets {
			if s.State != want[i] {
				t.Errorf("kind %#x: line %d: state %d, want %d", kind, i+2, s.State, want[i])
			}
			if kept := i == 5 || i == 12; s.Known&socket.FieldUID == 0 != kept || kept && s.Timer != socket.TimerTimeWait {
				t.Errorf("kind %#x: line %d: a socket in TIME_WAIT, and no other, has lost its user: %+v", kind, i+2, s)
			}
			if s.State == socket.StateListen {
				if s.FastOpenLimit != 16 || s.Backlog != 5 || s.Known&socket.FieldSSThresh != 0 {
					t.Errorf("listener %+v", s)
				}
			} else if i < 12 && s.Local != addr(addresses[i%len(addresses)]) {
				t.Errorf("kind %#x: line %d: %v, want %s", kind, i+2, s.Local, addresses[i%len(addresses)])
			}
			if i < 12 && s.LocalPort != 4000+uint16(want[i]) {
				t.Errorf("kind %#x: line %d: port %d", kind, i+2, s.LocalPort)
			}
		}
		first := sockets[0]
		if first.TxQueue != 42 || first.RxQueue != 500 || first.Timer != socket.TimerRetransmit || first.TimerExpires != 200 ||
			first.Retransmits != 2 || first.RTO != 800 || first.ATO != 160 || first.QuickACK != 15 || !first.PingPong ||
			first.CongestionWindow != 4 || first.SlowStartThreshold != 7 || first.UID != 33 || first.Refcount != 2 {
			t.Errorf("established: %+v", first)
		}
		request := sockets[2]
		if request.Inode != 0 || request.Known&socket.FieldRTO != 0 || request.Retransmits != 1 || request.UID != 33 {
			t.Errorf("request: %+v", request)
		}
		if probing := sockets[8]; probing.Timer != socket.TimerProbe || probing.Probes != 5 {
			t.Errorf("last ack: %+v", probing)
		}
	}
}

func TestListUnix(t *testing.T) {
	p := openFixture(t, "unix")
	const exact = socket.FieldPathExact
	type result struct {
		Inode uint64
		Path  string
		Type  uint16
		State uint8
		Exact bool
	}
	var got []result
	for _, s := range quiet(t, p, 350, socket.Unix) {
		if s.Known&socket.FieldPath == 0 || s.PathAbstract || s.Known&socket.FieldUID != 0 {
			t.Errorf("%+v", s)
		}
		got = append(got, result{s.Inode, s.Path, s.Type, s.State, s.Known&exact != 0})
	}
	const stream, dgram, packets = unix.SOCK_STREAM, unix.SOCK_DGRAM, unix.SOCK_SEQPACKET
	want := []result{
		{8001, "/run/plain.sock", stream, socket.StateListen, true},
		{8002, "  /tmp/two  spaces ", stream, socket.StateListen, true},
		{8003, "/tmp/first line\nsecond line", dgram, socket.StateClose, false},
		{8004, "/tmp/ends\n\n", stream, socket.StateListen, false},
		{8005, "\nbegins", packets, socket.StateListen, false},
		{8006, "", stream, socket.StateEstablished, true},
		{8007, "", stream, socket.StateEstablished, true},
		{8008, "@/org/abstract@with@nuls", stream, socket.StateListen, false},
		{8009, "@file", stream, socket.StateListen, false},
		{8010, "/tmp/\xff\xfe\x80", dgram, socket.StateClose, true},
		{8011, "/tmp/" + strings.Repeat("x", 102), stream, socket.StateListen, true},
		{0, "/run/plain.sock", stream, socket.StateEstablished, true},
		{0, "", stream, socket.StateClose, true},
		{8012, "/tmp/café \"quoted\" \\back", dgram, socket.StateClose, true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("net/unix (-want +got):\n%s", diff)
	}
}

func TestListKinds(t *testing.T) {
	p := openFixture(t, "kinds")
	const known = inetFields | socket.FieldUID | socket.FieldRefcount | socket.FieldDrops
	type s = socket.Socket
	any4, any6 := addr("0.0.0.0"), addr("::")
	for kind, want := range map[socket.Kind][]s{
		socket.UDP4: {
			{Known: known, Inode: 9010, Type: 2, Protocol: 17, State: 7, Local: any4, LocalPort: 68, Remote: any4, RxQueue: 0x300, Drops: 7},
			{Known: known, Inode: 9011, Type: 2, Protocol: 17, State: 1, Local: addr("10.0.0.1"), LocalPort: 55000, Remote: addr("10.0.0.53"), RemotePort: 53, TxQueue: 0x40, UID: 101},
		},
		socket.UDP6:     {{Known: known, Inode: 9012, Type: 2, Protocol: 17, State: 7, Local: addr("fe80::1"), LocalPort: 546, Remote: any6}},
		socket.UDPLite4: {{Known: known, Inode: 9013, Type: 2, Protocol: 136, State: 7, Local: addr("127.0.0.1"), LocalPort: 7000, Remote: any4}},
		socket.UDPLite6: {{Known: known, Inode: 9014, Type: 2, Protocol: 136, State: 7, Local: addr("::1"), LocalPort: 7000, Remote: any6}},
		socket.Raw4: {
			{Known: known, Inode: 9020, Type: 3, Protocol: 1, State: 7, Local: any4, LocalPort: 1, Remote: any4, Drops: 2},
			{Known: known, Inode: 9021, Type: 3, Protocol: 255, State: 1, Local: addr("10.0.0.1"), LocalPort: 255, Remote: addr("10.0.0.9")},
		},
		socket.Raw6:  {{Known: known, Inode: 9022, Type: 3, Protocol: 58, State: 7, Local: any6, LocalPort: 58, Remote: any6}},
		socket.ICMP4: {{Known: known, Inode: 9023, Type: 2, Protocol: 1, State: 1, Local: addr("10.0.0.1"), LocalPort: 77, Remote: addr("10.0.0.2"), UID: 1000}},
		socket.ICMP6: {{Known: known, Inode: 9024, Type: 2, Protocol: 58, State: 7, Local: addr("::1"), LocalPort: 78, Remote: any6, UID: 1000}},
	} {
		for i := range want {
			want[i].Kind, want[i].Family, want[i].Refcount, want[i].Holder = kind, unix.AF_INET, 2, nobody
			if kind&socket.Inet6 != 0 {
				want[i].Family = unix.AF_INET6
			}
		}
		if diff := cmp.Diff(want, quiet(t, p, 400, kind), compareSockets); diff != "" {
			t.Errorf("kind %#x (-want +got):\n%s", kind, diff)
		}
	}

	const packet = socket.FieldFamily | socket.FieldType | socket.FieldProtocol | socket.FieldRefcount | socket.FieldQueues | socket.FieldUID
	want := []s{
		{Known: packet | socket.FieldInterface, Inode: 9040, Type: 3, Protocol: 3, Refcount: 3, Interface: 2, RxQueue: 512},
		{Known: packet | socket.FieldInterface, Inode: 9041, Type: 2, Protocol: 0x800, Refcount: 3},
		{Known: packet, Inode: 9042, Type: 3, Protocol: 0x88cc, Refcount: 2},
	}
	for i := range want {
		want[i].Kind, want[i].Family, want[i].Holder = socket.Packet, unix.AF_PACKET, nobody
	}
	if diff := cmp.Diff(want, quiet(t, p, 400, socket.Packet), compareSockets); diff != "" {
		t.Errorf("net/packet (-want +got):\n%s", diff)
	}

	const netlink = socket.FieldFamily | socket.FieldProtocol | socket.FieldRefcount | socket.FieldQueues | socket.FieldDrops | socket.FieldNetlinkPort
	want = []s{
		{Inode: 4},
		{Inode: 9050, NetlinkPort: 400, NetlinkGroups: 0x11, RxQueue: 64, TxQueue: 128, Drops: 5},
		{Inode: 9051, Protocol: 15, NetlinkPort: 4294963175, NetlinkGroups: 2},
	}
	for i := range want {
		want[i].Kind, want[i].Family, want[i].Known, want[i].Refcount, want[i].Holder = socket.Netlink, unix.AF_NETLINK, netlink, 2, nobody
	}
	if diff := cmp.Diff(want, quiet(t, p, 400, socket.Netlink), compareSockets); diff != "" {
		t.Errorf("net/netlink (-want +got):\n%s", diff)
	}

	names, err := p.Interfaces(400)
	if diff := cmp.Diff(map[uint32]string{1: "lo", 2: "eth0", 3: "wlan0", 4: "br0"}, names); diff != "" || err != nil {
		t.Errorf("Interfaces: %v (-want +got):\n%s", err, diff)
	}
}

func TestSocketsOfThreadsAndForks(t *testing.T) {
	p := openFixture(t, "kinds")
	var w Walker
	ascending := func(a, b FDInode) int { return int(a.FD - b.FD) }
	got, err := p.Sockets(&w, 400, []FDInode{{-1, 1}})
	if err != nil || got[0] != (FDInode{-1, 1}) || len(got) != 22 || !slices.IsSortedFunc(got, ascending) ||
		!slices.Contains(got, FDInode{4, 9002}) || !slices.Contains(got, FDInode{23, 9002}) || !slices.Contains(got, FDInode{22, 9999}) {
		t.Errorf("Sockets(400) = %v, %v", got, err)
	}
	got, err = p.Sockets(&w, 401, nil)
	if err != nil || !slices.Equal(got, []FDInode{{4, 9002}}) {
		t.Errorf("Sockets(401) = %v, %v", got, err)
	}
	got, err = p.TaskSockets(&w, 400, 402, nil)
	if diff := cmp.Diff([]FDInode{{3, 9001}, {30, 9003}}, got); diff != "" || err != nil {
		t.Errorf("TaskSockets(400, 402): %v\n%s", err, diff)
	}
	if tids, err := p.TIDs(400, nil); err != nil || !slices.Equal(tids, []int32{400, 402}) {
		t.Errorf("TIDs(400) = %v, %v", tids, err)
	}
}

func TestListMalformed(t *testing.T) {
	p := openFixture(t, "malformed")
	for kind, want := range map[socket.Kind]struct {
		inodes  []uint64
		warning string // a part of it
	}{
		socket.TCP4:    {[]uint64{5001, 5003, 5008}, `procfs: 500/net/tcp: line 3: no valid remote address in "   1: 0100000A:03EA 0200"; left out with 4 more`},
		socket.TCP6:    {[]uint64{5102}, "procfs: 500/net/tcp6: line 2: no valid local address in"},
		socket.UDP4:    {[]uint64{5201, 5203}, "procfs: 500/net/udp: line 2: no valid slot in \"\"; left out with 2 more"},
		socket.Raw4:    {[]uint64{5302}, "procfs: 500/net/raw: line 2: no valid queues in"},
		socket.Unix:    {[]uint64{5401, 5402, 5404, 5406}, "procfs: 500/net/unix: line 3: "},
		socket.Packet:  {[]uint64{5501, 5503}, `procfs: 500/net/packet: line 3: no valid protocol in`},
		socket.Netlink: {[]uint64{5601, 5603}, `procfs: 500/net/netlink: line 3: no valid groups in`},
		socket.UDP6:    {nil, ""},
	} {
		sockets, warnings := all(t, p, 500, kind)
		var inodes []uint64
		for _, s := range sockets {
			inodes = append(inodes, s.Inode)
		}
		if !slices.Equal(inodes, want.inodes) {
			t.Errorf("kind %#x: inodes %v, want %v", kind, inodes, want.inodes)
		}
		if want.warning == "" {
			if len(warnings) > 0 {
				t.Errorf("kind %#x: warnings %v", kind, warnings)
			}
			continue
		}
		if len(warnings) != 1 || !strings.Contains(warnings[0].Error(), want.warning) {
			t.Errorf("kind %#x: warnings %v, want one: %s", kind, warnings, want.warning)
		}
	}
	for _, s := range quietPaths(t, p) {
		if s != "" && s != "/run/a" && s != "/run/b" && s != "/run/c" {
			t.Errorf("a damaged line changed the name of another socket to %q", s)
		}
	}

	var w Walker
	fds, err := p.Sockets(&w, 500, nil)
	if err != nil || !slices.Equal(fds, []FDInode{{0, 5001}, {1, 5003}, {2, 5008}, {7, 5101}}) {
		t.Errorf("Sockets = %v, %v: links that name no inode count for nothing", fds, err)
	}
	_, stat := p.Stat(501)
	_, status := p.Status(501)
	_, io := p.IO(501)
	_, cgroups := p.Cgroups(501)
	_, netns := p.NetNS(501)
	for i, err := range []error{stat, status, io, cgroups, netns} {
		if e := (*Error)(nil); !errors.As(err, &e) || e.Op != "parse" || errors.Is(err, ErrVanished) {
			t.Errorf("damaged file %d: %v, want a parse error", i, err)
		}
	}
}

func quietPaths(t *testing.T, p *FS) []string {
	var paths []string
	sockets, _ := all(t, p, 500, socket.Unix)
	for _, s := range sockets {
		paths = append(paths, s.Path)
	}
	return paths
}

func TestListOldKernel(t *testing.T) {
	p := openFixture(t, "old-kernel")
	tcp := quiet(t, p, 600, socket.TCP4)
	if len(tcp) != 3 || tcp[0].Inode != 1201 || tcp[0].Known&(socket.FieldRefcount|socket.FieldRTO) != 0 ||
		tcp[1].Known&socket.FieldRefcount == 0 || tcp[1].Known&(socket.FieldRTO|socket.FieldFastOpen) != 0 ||
		tcp[2].RTO != 2210 || tcp[2].QuickACK != 9 || tcp[2].Known&socket.FieldSSThresh != 0 {
		t.Errorf("net/tcp: %+v", tcp)
	}
	udp := quiet(t, p, 600, socket.UDP4)
	if len(udp) != 2 || udp[0].Refcount != 2 || udp[1].Known&socket.FieldRefcount != 0 || (udp[0].Known|udp[1].Known)&socket.FieldDrops != 0 {
		t.Errorf("net/udp: %+v", udp)
	}
	netlink := quiet(t, p, 600, socket.Netlink)
	if len(netlink) != 2 || netlink[1].Inode != 0 || netlink[1].NetlinkPort != 1<<32-4097 || netlink[1].Known&socket.FieldDrops != 0 {
		t.Errorf("net/netlink: %+v", netlink)
	}
	for _, kind := range []socket.Kind{socket.Raw4, socket.Unix, socket.Packet} {
		if got := quiet(t, p, 600, kind); len(got) != 1 {
			t.Errorf("kind %#x: %+v", kind, got)
		}
	}
	for _, kind := range []socket.Kind{socket.TCP6, socket.UDPLite4, socket.ICMP4, socket.SCTP4} {
		err := p.List(t.Context(), 600, kind, 0, nil, func(*socket.Socket) bool { return true })
		if !errors.Is(err, ErrNoList) || errors.Is(err, ErrVanished) {
			t.Errorf("kind %#x: %v, want ErrNoList", kind, err)
		}
	}
	if _, err := p.NetNS(600); !errors.Is(err, ErrVanished) {
		t.Errorf("NetNS: %v", err)
	}
}

func TestNamespaces(t *testing.T) {
	root := fixtures.Unpack(t, "namespaces")
	p, err := Open(root, OnOpen(fixtures.Denied(root)))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	identities := map[int32]uint64{}
	for pid, want := range map[int32]uint64{700: 4026531840, 701: 4026531840, 710: 4026532271, 711: 0, 720: 0, 721: 0} {
		netns, err := p.NetNS(pid)
		if netns != want || want == 0 != errors.Is(err, fs.ErrPermission) || errors.Is(err, ErrVanished) {
			t.Errorf("NetNS(%d) = %d, %v", pid, netns, err)
		}
		if identities[pid], err = p.NetIdentity(pid); err != nil {
			t.Error(err)
		}
	}
	for _, same := range [][2]int32{{700, 701}, {710, 711}, {720, 721}} {
		if identities[same[0]] != identities[same[1]] {
			t.Errorf("%v share a namespace and have identities %d, %d", same, identities[same[0]], identities[same[1]])
		}
	}
	if identities[700] == identities[710] || identities[710] == identities[720] || identities[700] == identities[720] {
		t.Errorf("identities %v do not tell three namespaces apart", identities)
	}
}

func TestDenied(t *testing.T) {
	root := fixtures.Unpack(t, "denied")
	p, err := Open(root, OnOpen(fixtures.Denied(root)))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	var w Walker
	_, sockets := p.Sockets(&w, 800, nil)
	_, netns := p.NetNS(800)
	_, io := p.IO(800)
	for i, err := range []error{sockets, netns, io} {
		if !errors.Is(err, fs.ErrPermission) || errors.Is(err, ErrVanished) {
			t.Errorf("denied file %d: %v", i, err)
		}
	}
	if _, err := p.Stat(800); err != nil {
		t.Errorf("everybody may read stat: %v", err)
	}
	if fds, err := p.Sockets(&w, 801, nil); err != nil || len(fds) != 1 {
		t.Errorf("Sockets(801) = %v, %v", fds, err)
	}
}

func TestVanishedInBetween(t *testing.T) {
	for _, at := range []string{"801/fd", "801/net/tcp", "801/stat", "801/ns/net"} {
		root := fixtures.Unpack(t, "denied")
		p, err := Open(root, OnOpen(fixtures.RemoveAt(root, at, "801")))
		if err != nil {
			t.Fatal(err)
		}
		if ok, err := p.Exists(801); !ok || err != nil {
			t.Errorf("Exists(801) = %v, %v", ok, err)
		}
		switch at {
		case "801/fd":
			_, err = p.Sockets(&Walker{}, 801, nil)
		case "801/net/tcp":
			err = p.List(t.Context(), 801, socket.TCP4, 0, nil, func(*socket.Socket) bool { return true })
		case "801/stat":
			_, err = p.Stat(801)
		case "801/ns/net":
			_, err = p.NetNS(801)
		}
		if !errors.Is(err, ErrVanished) || errors.Is(err, fs.ErrPermission) || errors.Is(err, ErrNoList) {
			t.Errorf("%s: %v is not ErrVanished", at, err)
		}
		if ok, err := p.Exists(801); ok || err != nil {
			t.Errorf("Exists(801) = %v, %v", ok, err)
		}
		p.Close()
	}
}

func TestListStops(t *testing.T) {
	p := openFixture(t, "states")
	for _, kind := range []socket.Kind{socket.TCP4, socket.Unix} {
		p := p
		if kind == socket.Unix {
			p = openFixture(t, "unix")
		}
		pid := int32(300)
		if kind == socket.Unix {
			pid = 350
		}
		n := 0
		err := p.List(t.Context(), pid, kind, 0, nil, func(*socket.Socket) bool { n++; return n < 3 })
		if n != 3 || err != nil {
			t.Errorf("kind %#x: %d sockets, %v: yield asked to stop after 3", kind, n, err)
		}
	}
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(context.Background())
	n := 0
	err := p.List(ctx, 300, socket.TCP4, 0, nil, func(*socket.Socket) bool { n++; cancel(cause); return true })
	if err != cause || n == 0 {
		t.Errorf("cancelled in the middle: %d sockets, %v", n, err)
	}
	if err := p.List(ctx, 300, socket.TCP4, 0, nil, func(*socket.Socket) bool { n++; return true }); err != cause {
		t.Errorf("cancelled before: %v", err)
	}
}

func TestOpen(t *testing.T) {
	empty := t.TempDir()
	file := filepath.Join(empty, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for root, want := range map[string]string{
		empty:                           "mount -t proc proc " + empty,
		file:                            "not a directory: name the mount point",
		filepath.Join(empty, "missing"): "no such file or directory: name the mount point",
	} {
		if p, err := Open(root); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Open(%q) = %v, %v; want %q", root, p, err, want)
		}
	}
}

func TestOnOpenSeesEveryFile(t *testing.T) {
	var opened []string
	p := openFixture(t, "kinds", OnOpen(func(path string) error {
		opened = append(opened, path)
		return nil
	}))
	opened = nil
	quiet(t, p, 400, socket.TCP4)
	var w Walker
	p.Sockets(&w, 400, nil)
	p.TaskSockets(&w, 400, 402, nil)
	p.NetNS(400)
	p.NetIdentity(400)
	p.Stat(400)
	p.PIDs(nil)
	want := []string{"400/net/tcp", "400/fd", "400/task/402/fd", "400/ns/net", "400/net/tcp", "400/stat", "."}
	if !slices.Equal(opened, want) {
		t.Errorf("announced %q, want %q", opened, want)
	}

	var denied atomic.Bool
	p = openFixture(t, "kinds", OnOpen(func(string) error {
		if denied.Load() {
			return syscall.EPERM
		}
		return nil
	}))
	denied.Store(true)
	if _, err := p.Cmdline(400); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("the hook's answer is lost: %v", err)
	}
}

func TestFixtureProcesses(t *testing.T) {
	p := openFixture(t, "kinds")
	stat, err := p.Stat(401)
	want := Stat{PID: 401, Comm: "kinds worker)", State: 'S', Parent: 400, Group: 401, Session: 401, UserTicks: 12, SystemTicks: 7,
		Priority: 20, Nice: -5, Threads: 1, StartTicks: 5000, VirtualSize: 1200 * 4 * 4096, RSS: 1200}
	if diff := cmp.Diff(want, stat); diff != "" || err != nil {
		t.Errorf("Stat: %v\n%s", err, diff)
	}
	status, err := p.Status(401)
	wantStatus := Status{Name: "kinds worker)", State: 'S', ThreadGroup: 401, PID: 401, Parent: 400, UID: IDs{33, 33, 33, 33}, GID: IDs{33, 33, 33, 33},
		Groups: []uint32{33}, NSPIDs: []int32{401}, VirtualSize: 19200 << 10, ResidentSize: 4800 << 10, Threads: 1,
		VoluntarySwitches: 214, InvoluntarySwitches: 9}
	if diff := cmp.Diff(wantStatus, status); diff != "" || err != nil {
		t.Errorf("Status: %v\n%s", err, diff)
	}
	io, err := p.IO(401)
	if want := (IO{3012, 411, 27, 9, 1425408, 20480, 4096}); io != want || err != nil {
		t.Errorf("IO = %+v, %v", io, err)
	}
	if groups, err := p.Cgroups(400); err != nil || !slices.Equal(groups, []Cgroup{{0, "", "/system.slice/kinds.service"}}) {
		t.Errorf("Cgroups = %v, %v", groups, err)
	}
	exe, err := p.Exe(401)
	if exe != "/usr/bin/kinds (deleted)" || err != nil {
		t.Errorf("Exe = %q, %v", exe, err)
	}
	if on, err := p.OnDisk(401, exe); on || err != nil {
		t.Errorf("OnDisk = %v, %v", on, err)
	}
	if comm, err := p.Comm(401); comm != "kinds worker)" || err != nil {
		t.Errorf("Comm = %q, %v", comm, err)
	}
	if boot, err := p.BootTime(); boot != 1795340000 || err != nil {
		t.Errorf("BootTime = %d, %v", boot, err)
	}
	if up, err := p.Uptime(); up != 350735.47 || err != nil {
		t.Errorf("Uptime = %v, %v", up, err)
	}
	if group, err := p.ThreadGroup(400); group != 400 || err != nil {
		t.Errorf("ThreadGroup = %d, %v", group, err)
	}
	p = openFixture(t, "unix")
	if cmdline, err := p.Cmdline(350); cmdline != "/usr/sbin/unixd\x00-f\x00two words\x00\x00" || err != nil {
		t.Errorf("Cmdline = %q, %v", cmdline, err)
	}
}

// What a list costs does not grow with its lines, but for the names of UNIX
// sockets, nor what a walk costs with its descriptors.
func TestAllocations(t *testing.T) {
	const most = 15
	p := openFixture(t, "states")
	var w Walker
	var fds []FDInode
	for name, f := range map[string]func() error{
		"list": func() error {
			return p.List(ctx, 300, socket.TCP6, 0, nil, func(*socket.Socket) bool { return true })
		},
		"walk": func() (err error) {
			fds, err = p.Sockets(&w, 300, fds[:0])
			return err
		},
	} {
		if err := f(); err != nil {
			t.Fatal(err)
		}
		if n := testing.AllocsPerRun(20, func() { f() }); n > most {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	if len(fds) <= most {
		t.Errorf("%d descriptors show nothing", len(fds))
	}
}

func TestConcurrentUse(t *testing.T) {
	p := openFixture(t, "kinds")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			var w Walker
			for range 20 {
				pids, err := p.PIDs(nil)
				if err != nil || len(pids) != 2 {
					t.Errorf("PIDs = %v, %v", pids, err)
				}
				if fds, err := p.Sockets(&w, 401, nil); err != nil || len(fds) != 1 {
					t.Errorf("Sockets = %v, %v", fds, err)
				}
				if stat, err := p.Stat(400); err != nil || stat.Comm != "kinds" {
					t.Errorf("Stat = %+v, %v", stat, err)
				}
				n := 0
				if err := p.List(ctx, 400, socket.Unix, 0, nil, func(s *socket.Socket) bool { n += len(s.Path); return true }); err != nil || n != len("/run/kinds.sock") {
					t.Errorf("List: %d, %v", n, err)
				}
			}
		})
	}
	wg.Wait()
}

package procfs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"sockql/tables/internal/kerneltest"
	"sockql/tables/internal/socket"
)

var ctx = context.Background()

func TestNamespaceStates(t *testing.T) {
	p := openKernel(t)
	for name, test := range map[string]struct {
		addr string
		kind socket.Kind
	}{"tcp": {"127.0.0.1:0", socket.TCP4}, "tcp6": {"[::1]:0", socket.TCP6}} {
		t.Run(name, func(t *testing.T) {
			ns := kerneltest.NewNamespace(t)
			states := ns.States(t, test.addr)
			var socks []*kerneltest.Sock
			for _, s := range states {
				if s.Sock != nil {
					socks = append(socks, s.Sock)
				}
			}
			holder := kerneltest.Hold(t, ns, socks...)
			sockets := quiet(t, p, int32(holder.PID), test.kind)
			seen := map[uint8]bool{}
			for _, want := range states {
				seen[want.State] = true
				i := slices.IndexFunc(sockets, func(s socket.Socket) bool {
					remote := netip.AddrPortFrom(s.Remote, s.RemotePort)
					return netip.AddrPortFrom(s.Local, s.LocalPort) == want.Local &&
						(remote == want.Remote || !want.Remote.IsValid() && s.RemotePort == 0)
				})
				if i < 0 {
					t.Errorf("state %d: %v to %v is not listed", want.State, want.Local, want.Remote)
					continue
				}
				s := sockets[i]
				inode := uint64(0)
				if want.Sock != nil {
					inode = want.Sock.Inode()
				}
				if s.State != want.State || s.Inode != inode {
					t.Errorf("%v to %v: state %d inode %d, want %d, %d", want.Local, want.Remote, s.State, s.Inode, want.State, inode)
				}
			}
			for state := uint8(1); state <= socket.StateClosing; state++ {
				if state != socket.StateClose && !seen[state] { // a closed socket is in no list
					t.Errorf("the test made no socket in state %d", state)
				}
			}
		})
	}
}

func TestNamespaceUnixNames(t *testing.T) {
	p := openKernel(t)
	ns := kerneltest.NewNamespace(t)
	names := kerneltest.UnixNames(t)
	var socks []*kerneltest.Sock
	for _, name := range names {
		socks = append(socks, ns.Unix(t, unix.SOCK_DGRAM, name))
	}
	holder := kerneltest.Hold(t, ns, socks...)
	sockets := quiet(t, p, int32(holder.PID), socket.Unix)
	for i, name := range names {
		shown := strings.ReplaceAll(name, "\x00", "@")
		at := slices.IndexFunc(sockets, func(s socket.Socket) bool { return s.Inode == socks[i].Inode() })
		if at < 0 {
			t.Errorf("%q is not listed", name)
			continue
		}
		s := sockets[at]
		if s.Path != shown {
			t.Errorf("%q is shown as %q, want %q", name, s.Path, shown)
		}
		if s.Known&socket.FieldPathExact != 0 && (s.Path != name || s.PathAbstract) {
			t.Errorf("%q is said to be exactly %q", name, s.Path)
		}
	}
}

func TestNamespacePing(t *testing.T) {
	p := openKernel(t)
	ns := kerneltest.NewNamespace(t)
	for addr, kind := range map[string]socket.Kind{"127.0.0.1:0": socket.ICMP4, "[::1]:0": socket.ICMP6} {
		s := ns.Ping(t, addr)
		holder := kerneltest.Hold(t, ns, s)
		found := quiet(t, p, int32(holder.PID), kind)
		if len(found) != 1 || found[0].Inode != s.Inode() || found[0].LocalPort != s.Local().Port() || found[0].Type != unix.SOCK_DGRAM {
			t.Errorf("%s: %+v, want inode %d at %v", addr, found, s.Inode(), s.Local())
		}
	}
}

func TestNamespaceThreadTable(t *testing.T) {
	p := openKernel(t)
	ns := kerneltest.NewNamespace(t)
	s := ns.UDP(t, "127.0.0.1:0")
	holder := kerneltest.HoldWith(t, kerneltest.HoldOptions{Namespace: ns, OwnTable: true}, s)
	pid, tid := int32(holder.PID), int32(holder.TID)
	want := FDInode{int32(holder.FDs[0]), s.Inode()}
	var w Walker
	ofThread, err := p.TaskSockets(&w, pid, tid, nil)
	if err != nil || !slices.Contains(ofThread, want) {
		t.Errorf("thread %d of %d holds %v, %v; want %v", tid, pid, ofThread, err, want)
	}
	ofProcess, err := p.Sockets(&w, pid, nil)
	if err != nil || slices.Contains(ofProcess, want) {
		t.Errorf("process %d holds %v, %v: its thread alone has %v", pid, ofProcess, err, want)
	}
	if tids, err := p.TIDs(pid, nil); err != nil || !slices.Contains(tids, tid) {
		t.Errorf("TIDs = %v, %v", tids, err)
	}
}

// line is what ss(8) and we have in common.
type line struct {
	kind          string
	state         uint8
	local, remote netip.AddrPort
	rx            uint64
}

func compareLines(a, b line) int {
	return cmp.Or(strings.Compare(a.kind, b.kind), cmp.Compare(a.state, b.state), a.local.Compare(b.local),
		a.remote.Compare(b.remote), cmp.Compare(a.rx, b.rx))
}

// parseSS reads the output of ss -H -tuan.
func parseSS(t *testing.T, text string) []line {
	t.Helper()
	states := map[string]uint8{"ESTAB": 1, "SYN-SENT": 2, "SYN-RECV": 3, "FIN-WAIT-1": 4, "FIN-WAIT-2": 5,
		"TIME-WAIT": 6, "UNCONN": 7, "CLOSE-WAIT": 8, "LAST-ACK": 9, "LISTEN": 10, "CLOSING": 11}
	parse := func(s string) netip.AddrPort {
		host, port, _ := strings.Cut(s[:strings.LastIndexByte(s, ':')]+" "+s[strings.LastIndexByte(s, ':')+1:], " ")
		host, _, _ = strings.Cut(strings.Trim(host, "[]"), "%")
		if host == "*" {
			host = "::"
		}
		if port == "*" {
			port = "0"
		}
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			t.Fatalf("ss: %q: %v", s, err)
		}
		return netip.AddrPortFrom(netip.MustParseAddr(host), uint16(n))
	}
	var lines []line
	for text := range strings.Lines(text) {
		f := strings.Fields(text)
		state, ok := states[f[1]]
		if len(f) < 6 || !ok {
			t.Fatalf("ss: %q", text)
		}
		rx, err := strconv.ParseUint(f[2], 10, 32)
		if err != nil {
			t.Fatalf("ss: %q: %v", text, err)
		}
		lines = append(lines, line{f[0], state, parse(f[4]), parse(f[5]), rx})
	}
	slices.SortFunc(lines, compareLines)
	return lines
}

// lists returns our lines of TCP and UDP.
func lists(t *testing.T, p *FS, pid int32) []line {
	t.Helper()
	var lines []line
	for kind, name := range map[socket.Kind]string{socket.TCP4: "tcp", socket.TCP6: "tcp", socket.UDP4: "udp", socket.UDP6: "udp"} {
		sockets, _ := all(t, p, pid, kind)
		for _, s := range sockets {
			lines = append(lines, line{name, s.State, netip.AddrPortFrom(s.Local, s.LocalPort),
				netip.AddrPortFrom(s.Remote, s.RemotePort), uint64(s.RxQueue)})
		}
	}
	slices.SortFunc(lines, compareLines)
	return lines
}

var allowLine = gocmp.AllowUnexported(line{})

func addrPorts(a, b netip.AddrPort) bool { return a == b }

// ss asks the kernel by netlink, we read text: of a quiet namespace with random
// sockets both must say the same.
func TestNamespaceAgreesWithSS(t *testing.T) {
	p := openKernel(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	ns := kerneltest.NewNamespace(t)
	var socks []*kerneltest.Sock
	addresses := []string{"127.0.0.1:0", "127.0.0.2:0", "[::1]:0", "0.0.0.0:0", "[::]:0"}
	for range 40 {
		addr := addresses[random.IntN(len(addresses))]
		switch random.IntN(4) {
		case 0:
			s := ns.UDP(t, addr)
			if random.IntN(2) == 0 && !strings.HasPrefix(addr, "0.") && !strings.HasPrefix(addr, "[::]") {
				s.Connect(s.Local().String()).Write("to itself")
			}
			socks = append(socks, s)
		case 1:
			socks = append(socks, ns.Listen(t, addr))
		case 2:
			l := ns.ListenDual(t)
			if addr != "[::]:0" {
				l = ns.Listen(t, addr)
			}
			socks = append(socks, l, ns.Dial(t, l)) // waits to be accepted
		case 3:
			client, server := ns.Pair(t, ns.Listen(t, addresses[random.IntN(3)]))
			client.Write(strings.Repeat("x", 1+random.IntN(1000)))
			socks = append(socks, client, server)
		}
	}
	holder := kerneltest.Hold(t, ns, socks...)
	want := parseSS(t, ns.Output(t, "ss", "-H", "-tuan"))
	got := lists(t, p, int32(holder.PID))
	if len(got) < 40 {
		t.Errorf("only %d sockets", len(got))
	}
	if diff := gocmp.Diff(want, got, allowLine, gocmp.Comparer(addrPorts)); diff != "" {
		t.Errorf("seed %d (-ss +ours):\n%s", seed, diff)
	}
	var w Walker
	fds, err := p.Sockets(&w, int32(holder.PID), nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range socks {
		if !slices.Contains(fds, FDInode{int32(holder.FDs[i]), s.Inode()}) {
			t.Errorf("descriptor %d with inode %d is missing", holder.FDs[i], s.Inode())
		}
	}
}

// ss reads a recorded tree too.
func TestFixturesAgreeWithSS(t *testing.T) {
	ss := kerneltest.RequireProgram(t, "ss")
	for name, pid := range map[string]int32{"bash": 14960, "kinds": 400, "denied": 801, "states": 300} {
		t.Run(name, func(t *testing.T) {
			p := openFixture(t, name)
			cmd := exec.Command(ss, "-H", "-tuan")
			cmd.Env = append(os.Environ(), "PROC_ROOT="+p.Root())
			out, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			got := slices.DeleteFunc(lists(t, p, pid), func(l line) bool { return l.state > socket.StateClosing })
			// Of a state that it has no name for ss prints whatever is in memory.
			text := slices.DeleteFunc(slices.Collect(strings.Lines(string(out))), func(s string) bool {
				return strings.Contains(s, ":4014 ")
			})
			if diff := gocmp.Diff(parseSS(t, strings.Join(text, "")), got, allowLine, gocmp.Comparer(addrPorts)); diff != "" {
				t.Errorf("(-ss +ours):\n%s", diff)
			}
		})
	}
}

func TestNobodySeesThreeNamespaces(t *testing.T) {
	kerneltest.RequireRoot(t)
	openKernel(t)
	var args []string
	var inodes []uint64
	for range 3 {
		ns := kerneltest.NewNamespace(t)
		s := ns.Listen(t, "127.0.0.1:0")
		inodes = append(inodes, s.Inode(), s.Inode())
		for range 2 {
			args = append(args, strconv.Itoa(kerneltest.Hold(t, ns, s).PID))
		}
	}
	var saw []nobodySaw
	help(t, nil, &saw, "nobody", args...)
	if len(saw) != 6 {
		t.Fatalf("%+v", saw)
	}
	identities := map[uint64]int{}
	for i, s := range saw {
		want := nobodySaw{NetNS: "denied", Sockets: "denied", Stat: "ok", List: "ok", Identity: s.Identity, Inodes: inodes[i : i+1]}
		if diff := gocmp.Diff(want, s); diff != "" {
			t.Errorf("process %d (-want +got):\n%s", i, diff)
		}
		identities[s.Identity]++
	}
	if len(identities) != 3 || saw[0].Identity != saw[1].Identity || saw[4].Identity != saw[5].Identity {
		t.Errorf("identities %v of two processes in each of three namespaces", identities)
	}
}

func TestHidePIDOfMounts(t *testing.T) {
	kerneltest.RequireRoot(t)
	openKernel(t)
	dir := publicDir(t)
	group := fmt.Sprintf(",gid=%d", nobodyID)
	options := []string{"hidepid=0", "hidepid=1", "hidepid=2", "hidepid=1" + group, "hidepid=2" + group, "hidepid=4" + group}
	want := []hideSaw{
		{Nobody: HidePID{}, NobodySees: true, Listed: true},
		{Nobody: HidePID{Mode: HideNoAccess}, Listed: true},
		{Nobody: HidePID{Mode: HideInvisible}},
		{Nobody: HidePID{Mode: HideNoAccess, GID: nobodyID, Exempt: true}, NobodySees: true, Listed: true},
		{Nobody: HidePID{Mode: HideInvisible, GID: nobodyID, Exempt: true}, NobodySees: true, Listed: true},
		{Nobody: HidePID{Mode: HidePtraceable, GID: nobodyID}},
	}
	for i := range want {
		want[i].Root, want[i].RootSees = want[i].Nobody, true
		want[i].Root.Exempt = want[i].Nobody.Mode != HideOff
	}
	var saw []hideSaw
	help(t, &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}, &saw, "hidepid", append([]string{dir}, options...)...)
	for i := range want {
		if diff := gocmp.Diff(want[i], saw[i]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", options[i], diff)
		}
		if h := saw[i].Nobody; h.Omits() == saw[i].Listed {
			t.Errorf("%s: Omits is %v, listed %v", options[i], h.Omits(), saw[i].Listed)
		}
	}
}

func TestForeignPIDNamespace(t *testing.T) {
	kerneltest.RequireRoot(t)
	own := openKernel(t)
	var saw []hostSaw
	help(t, &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID, Unshareflags: syscall.CLONE_NEWNS}, &saw, "pidns", publicDir(t))
	if len(saw) != 2 || saw[0].Host || saw[0].Initial || !saw[0].Mounted || saw[0].Shown != own.ShowsHost() || saw[0].PIDs < 2 {
		t.Errorf("the parent's procfs: %+v", saw)
	}
	if len(saw) == 2 && saw[1] != (hostSaw{Mounted: true, Host: true, PIDs: 1}) {
		t.Errorf("the own procfs: %+v", saw[1])
	}
}

// publicDir returns a directory that everybody may enter.
func publicDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "procfs")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// With leave to enter the directory but not to look at its links, which is
// what CAP_DAC_READ_SEARCH without CAP_SYS_PTRACE gives, a process is denied
// and not without sockets.
func TestLinksDenied(t *testing.T) {
	kerneltest.RequireRoot(t)
	p := openKernel(t)
	ns := kerneltest.NewNamespace(t)
	pid := int32(kerneltest.Hold(t, ns, ns.UDP(t, "127.0.0.1:0")).PID)
	type result struct {
		fds  []FDInode
		err  error
		drop error
	}
	results := make(chan result)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with its reduced privilege
		var r result
		if r.drop = dropPtrace(); r.drop == nil {
			r.fds, r.err = p.Sockets(&Walker{}, pid, nil)
		}
		results <- r
	}()
	r := <-results
	if r.drop != nil {
		t.Skipf("cannot drop a capability: %v", r.drop)
	}
	if len(r.fds) > 0 || outcome(r.err) != "denied" {
		t.Errorf("Sockets = %v, %v; want the denial", r.fds, r.err)
	}
	if e := (*Error)(nil); !errors.As(r.err, &e) || e.Op != "readlink" {
		t.Errorf("%v: the directory could not even be opened, so this test shows nothing", r.err)
	}
}

// dropPtrace takes CAP_SYS_PTRACE from the calling thread.
func dropPtrace() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return err
	}
	data[0].Effective &^= 1 << unix.CAP_SYS_PTRACE
	data[0].Permitted &^= 1 << unix.CAP_SYS_PTRACE
	return unix.Capset(&header, &data[0])
}

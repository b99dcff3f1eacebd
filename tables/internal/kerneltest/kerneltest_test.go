package kerneltest

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { Main(m) }

func TestNamespaceIsEnteredAndLeft(t *testing.T) {
	before, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	ns := NewNamespace(t)
	var inside string
	ns.Do(t, func() { inside, _ = os.Readlink("/proc/thread-self/ns/net") })
	if want := fmt.Sprintf("net:[%d]", ns.Inode); inside != want || inside == before {
		t.Errorf("inside is %q, want %q, and not the test's own %q", inside, want, before)
	}
	if foreign := ForeignThreads(t); foreign != nil {
		t.Errorf("threads in foreign namespaces: %q", foreign)
	}
	if got, err := os.Readlink(ns.Path()); err != nil || got != inside {
		t.Errorf("Path leads to %q, %v, want %q", got, err, inside)
	}
}

func TestForeignThreadsSeesOne(t *testing.T) {
	ns := NewNamespace(t)
	ns.Do(t, func() {
		if len(ForeignThreads(t)) != 1 {
			t.Errorf("got %q, want this thread", ForeignThreads(t))
		}
	})
}

func TestNamespaceIsLeftByEndedGoroutine(t *testing.T) {
	ns := NewNamespace(t)
	done := make(chan bool)
	go func() {
		defer close(done)
		ns.Do(t, runtime.Goexit)
	}()
	<-done
	if foreign := ForeignThreads(t); foreign != nil {
		t.Errorf("threads in foreign namespaces: %q", foreign)
	}
}

func TestStates(t *testing.T) {
	ns := NewNamespace(t)
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
		states := ns.States(t, addr)
		var codes []uint8
		for _, s := range states {
			codes = append(codes, s.State)
			if s.Sock == nil || s.State == tcpListen {
				continue
			}
			info, err := unix.GetsockoptTCPInfo(s.Sock.FD, unix.IPPROTO_TCP, unix.TCP_INFO)
			if err != nil || info.State != s.State {
				t.Errorf("%s: TCP_INFO says state %d, %v, want %d", addr, info.State, err, s.State)
			}
		}
		want := []uint8{1, 2, 3, 4, 4, 5, 8, 6, 9, 9, 10, 11}
		if !bytes.Equal(codes, want) {
			t.Errorf("%s: states %d, want %d", addr, codes, want)
		}
	}
}

func TestMappedConnection(t *testing.T) {
	ns := NewNamespace(t)
	client, server := ns.Pair(t, ns.ListenDual(t))
	if a := client.Local().Addr(); a != netip.MustParseAddr("127.0.0.1") {
		t.Errorf("client has %v", a)
	}
	if a := server.Local().Addr(); !a.Is4In6() {
		t.Errorf("server has %v, want a mapped address", a)
	}
}

func TestEverySocketCanBeMade(t *testing.T) {
	kinds := map[string]func(testing.TB, *Namespace) *Sock{
		"udp":      func(tb testing.TB, ns *Namespace) *Sock { return ns.UDP(tb, "127.0.0.1:0") },
		"udp6":     func(tb testing.TB, ns *Namespace) *Sock { return ns.UDP(tb, "[::1]:0") },
		"udplite":  func(tb testing.TB, ns *Namespace) *Sock { return ns.UDPLite(tb, "127.0.0.1:0") },
		"raw":      func(tb testing.TB, ns *Namespace) *Sock { return ns.Raw(tb, unix.AF_INET, unix.IPPROTO_ICMP) },
		"raw6":     func(tb testing.TB, ns *Namespace) *Sock { return ns.Raw(tb, unix.AF_INET6, unix.IPPROTO_UDP) },
		"ping":     func(tb testing.TB, ns *Namespace) *Sock { return ns.Ping(tb, "127.0.0.1:0") },
		"ping6":    func(tb testing.TB, ns *Namespace) *Sock { return ns.Ping(tb, "[::1]:0") },
		"packet":   func(tb testing.TB, ns *Namespace) *Sock { return ns.Packet(tb, unix.SOCK_RAW, unix.ETH_P_ALL) },
		"netlink":  func(tb testing.TB, ns *Namespace) *Sock { return ns.Netlink(tb, unix.NETLINK_ROUTE) },
		"vsock":    func(tb testing.TB, ns *Namespace) *Sock { return ns.Vsock(tb) },
		"xdp":      func(tb testing.TB, ns *Namespace) *Sock { return ns.XDP(tb) },
		"inactive": func(tb testing.TB, ns *Namespace) *Sock { return ns.BoundInactive(tb, "127.0.0.1:0") },
		"mptcp":    func(tb testing.TB, ns *Namespace) *Sock { _, c, _ := ns.MPTCP(tb); return c },
	}
	for name, fn := range kinds {
		t.Run(name, func(t *testing.T) {
			s := fn(t, NewNamespace(t))
			if s.Inode() == 0 || s.Cookie() == 0 {
				t.Errorf("inode %d, cookie %d", s.Inode(), s.Cookie())
			}
		})
	}
}

func TestUnixNames(t *testing.T) {
	ns := NewNamespace(t)
	for _, name := range UnixNames(t) {
		l := ns.Unix(t, unix.SOCK_SEQPACKET, name).Listen(1)
		_, server := ns.UnixConnection(t, l)
		if got := server.Name(); got != name {
			t.Errorf("bound %q, got %q", name, got)
		}
	}
}

func TestInFlightIsInNoTable(t *testing.T) {
	ns := NewNamespace(t)
	s := ns.UDP(t, "127.0.0.1:0")
	port := s.Local().Port()
	ns.InFlight(t, s)
	if s.FD != -1 {
		t.Error("the test still has a descriptor")
	}
	again := ns.Socket(t, unix.AF_INET, unix.SOCK_DGRAM, 0)
	err := unix.Bind(again.FD, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: int(port)})
	if err != unix.EADDRINUSE {
		t.Errorf("bind to the port of a socket in flight: %v, want EADDRINUSE", err)
	}
}

// fdLink returns what a descriptor of a thread refers to.
func fdLink(pid, tid, fd int) string {
	link, _ := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "task", strconv.Itoa(tid), "fd", strconv.Itoa(fd)))
	return link
}

func TestHold(t *testing.T) {
	ns := NewNamespace(t)
	s := ns.Listen(t, "127.0.0.1:0")
	want := fmt.Sprintf("socket:[%d]", s.Inode())
	first, second := Hold(t, ns, s, s.Dup()), Hold(t, ns, s)
	s.Close()
	for _, h := range []*Holder{first, second} {
		for _, fd := range h.FDs {
			if got := fdLink(h.PID, h.TID, fd); got != want {
				t.Errorf("pid %d fd %d is %q, want %q", h.PID, fd, got, want)
			}
		}
		link, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", h.PID))
		if err != nil || link != fmt.Sprintf("net:[%d]", ns.Inode) {
			t.Errorf("holder is in %q, %v", link, err)
		}
	}
	first.End()
	if _, err := os.Stat(fmt.Sprintf("/proc/%d", first.PID)); !os.IsNotExist(err) {
		t.Errorf("an ended holder is still there: %v", err)
	}
}

func TestHoldInOwnTable(t *testing.T) {
	ns := NewNamespace(t)
	s := ns.UDP(t, "127.0.0.1:0")
	want := fmt.Sprintf("socket:[%d]", s.Inode())
	h := HoldWith(t, HoldOptions{Namespace: ns, OwnTable: true}, s)
	if h.TID == h.PID {
		t.Fatal("no thread of its own")
	}
	if got := fdLink(h.PID, h.TID, h.FDs[0]); got != want {
		t.Errorf("the thread has %q, want %q", got, want)
	}
	if got := fdLink(h.PID, h.PID, h.FDs[0]); got == want {
		t.Error("the process's own table has the socket too")
	}
}

func TestHoldAsOtherUser(t *testing.T) {
	const nobody = 65534
	ns := NewNamespace(t)
	h := HoldWith(t, HoldOptions{Namespace: ns, UID: nobody})
	var st unix.Stat_t
	if err := unix.Stat(fmt.Sprintf("/proc/%d", h.PID), &st); err != nil || st.Uid != nobody {
		t.Errorf("holder runs as %d, %v", st.Uid, err)
	}
}

func TestHoldMounts(t *testing.T) {
	ns := NewNamespace(t)
	target := filepath.Join(t.TempDir(), "blue")
	if err := os.WriteFile(target, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	h := HoldWith(t, HoldOptions{Mounts: map[string]*Namespace{target: ns}})
	var st unix.Stat_t
	if err := unix.Stat(fmt.Sprintf("/proc/%d/root%s", h.PID, target), &st); err != nil || st.Ino != ns.Inode {
		t.Errorf("the holder sees inode %d, %v, want %d", st.Ino, err, ns.Inode)
	}
	if info, err := os.Stat(target); err != nil || !info.Mode().IsRegular() {
		t.Errorf("the mount shows in the test's own mount namespace: %v, %v", info, err)
	}
}

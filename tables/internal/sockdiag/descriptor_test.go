package sockdiag

import (
	"errors"
	"net/netip"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"sockql/tables/internal/kerneltest"
	"sockql/tables/internal/netns"
	"sockql/tables/internal/socket"
)

func pidfd(t *testing.T, pid int) int {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// TestLookup compares what descriptors tell with the dump of their namespace,
// in which no process lives.
func TestLookup(t *testing.T) {
	ns := kerneltest.NewNamespace(t)
	listener := ns.Listen(t, "127.0.0.1:0")
	client, server := ns.Pair(t, listener)
	client.Set(unix.SOL_SOCKET, unix.SO_MARK, 77)
	dual := ns.ListenDual(t)
	mapped, _ := ns.Pair(t, dual)
	_, mptcp, _ := ns.MPTCP(t)
	socks := []*kerneltest.Sock{listener, client, server, dual, mapped, mptcp,
		ns.UDP(t, "127.0.0.1:0").Set(unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, 1),
		ns.UDP(t, "[::1]:0").Connect("[::1]:9"),
		ns.UDPLite(t, "127.0.0.1:0"),
		ns.Packet(t, unix.SOCK_RAW, unix.ETH_P_ARP),
		ns.Netlink(t, unix.NETLINK_ROUTE),
		ns.Unix(t, unix.SOCK_STREAM, "\x00nul\x00inside\x00").Listen(1),
		ns.Unix(t, unix.SOCK_DGRAM, kerneltest.UnixNames(t)[2]),
		ns.Unix(t, unix.SOCK_SEQPACKET, ""),
	}
	a, _ := ns.UnixPair(t, unix.SOCK_STREAM)
	socks = append(socks, a)
	holder := kerneltest.HoldWith(t, kerneltest.HoldOptions{}, socks...)
	p := pidfd(t, holder.PID)
	c := open(t, ns)
	all, _ := collect(t, c, socket.Everything())
	compared := 0
	for i, sock := range socks {
		var got socket.Socket
		h, err := Lookup(p, int32(holder.FDs[i]), &got)
		if err != nil {
			t.Fatal(err)
		}
		if h == nil || h.Inode() != ns.Inode || got.Netns != ns.Inode {
			t.Fatalf("socket %d is in namespace %d, want %d", i, got.Netns, ns.Inode)
		}
		h.Close()
		if got.Inode != sock.Inode() || got.Cookie != sock.Cookie() || got.PID != -1 {
			t.Errorf("socket %d: %+v", i, got)
		}
		for j := range all {
			if d := &all[j]; d.Cookie == got.Cookie {
				compared++
				if d.Kind != got.Kind {
					t.Errorf("socket %d: kind %#x, want %#x", i, got.Kind, d.Kind)
				}
				got.Known &^= socket.FieldTimer
				if diff := differ(d, &got); diff != "" {
					t.Errorf("socket %d, by diag and by descriptor (called procfs): %s", i, diff)
				}
				if both := d.Known & got.Known; both&socket.FieldMark != 0 && d.Mark != got.Mark ||
					both&socket.FieldV6Only != 0 && d.V6Only != got.V6Only || d.PathAbstract != got.PathAbstract {
					t.Errorf("socket %d: by diag %+v, by descriptor %+v", i, *d, got)
				}
			}
		}
	}
	if compared < len(socks)-1 { // udplite may have no diag
		t.Errorf("%d of %d sockets were compared", compared, len(socks))
	}
}

func TestLookupWithoutDiag(t *testing.T) {
	ns := kerneltest.NewNamespace(t)
	ping, raw := ns.Ping(t, "127.0.0.1:0"), ns.Raw(t, unix.AF_INET6, unix.IPPROTO_UDP)
	holder := kerneltest.HoldWith(t, kerneltest.HoldOptions{}, ping, raw)
	p := pidfd(t, holder.PID)
	var s socket.Socket
	for i, want := range []struct {
		kind     socket.Kind
		protocol uint16
		port     uint16
		local    string
	}{
		{socket.ICMP4, unix.IPPROTO_ICMP, ping.Local().Port(), "127.0.0.1"},
		{socket.Raw6, unix.IPPROTO_UDP, unix.IPPROTO_UDP, "::"},
	} {
		h, err := Lookup(p, int32(holder.FDs[i]), &s)
		if err != nil {
			t.Fatal(err)
		}
		h.Close()
		if s.Kind != want.kind || s.Protocol != want.protocol || s.LocalPort != want.port || s.Local != netip.MustParseAddr(want.local) ||
			s.State != socket.StateClose {
			t.Errorf("got %+v, want %+v", s, want)
		}
	}
}

// TestLookupInOwnNamespace works for ordinary users too.
func TestLookupInOwnNamespace(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	var s socket.Socket
	h, err := Lookup(pidfd(t, os.Getpid()), int32(fd), &s)
	if err != nil {
		t.Fatal(err)
	}
	if h != nil {
		h.Close()
	}
	own, err := netns.Current()
	if err != nil {
		t.Fatal(err)
	}
	if s.Netns != own || s.Known&socket.FieldNetns == 0 || s.Kind != socket.TCP4 || s.State != socket.StateClose {
		t.Errorf("got %+v, want namespace %d", s, own)
	}
	if !isLocal(fd) {
		t.Error("the socket is not known to be in our own namespace")
	}
	if foreign := kerneltest.NewNamespace(t).UDP(t, "127.0.0.1:0"); isLocal(foreign.FD) {
		t.Error("a socket of another namespace is taken for one of ours")
	}
}

func TestLookupFails(t *testing.T) {
	ns := kerneltest.NewNamespace(t)
	holder := kerneltest.Hold(t, ns, ns.UDP(t, "127.0.0.1:0"))
	p := pidfd(t, holder.PID)
	var s socket.Socket
	for fd, want := range map[int32]error{0: unix.ENOTSOCK, 99: unix.EBADF} {
		if _, err := Lookup(p, fd, &s); !errors.Is(err, want) {
			t.Errorf("descriptor %d: %v, want %v", fd, err, want)
		}
	}
	holder.End()
	if _, err := Lookup(p, int32(holder.FDs[0]), &s); !errors.Is(err, unix.ESRCH) {
		t.Errorf("a process that has ended: %v, want ESRCH", err)
	}
}

func TestLookupLeavesNoReference(t *testing.T) {
	ns := kerneltest.NewNamespace(t)
	holder := kerneltest.Hold(t, ns, ns.UDP(t, "127.0.0.1:0"))
	p := pidfd(t, holder.PID)
	open := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	var s socket.Socket
	before := open()
	for range 10 {
		h, err := Lookup(p, int32(holder.FDs[0]), &s)
		if err != nil {
			t.Fatal(err)
		}
		h.Close()
	}
	if after := open(); after != before {
		t.Errorf("%d descriptors are open, were %d", after, before)
	}
}

func TestSharesFiles(t *testing.T) {
	pid := int32(os.Getpid())
	shared, err := SharesFiles(pid, pid)
	if errors.Is(err, unix.ENOSYS) {
		t.Skip("needs CONFIG_KCMP")
	}
	if err != nil || !shared {
		t.Errorf("a process with itself: %v, %v", shared, err)
	}
	if _, err := SharesFiles(pid, 1<<30-1); !errors.Is(err, unix.ESRCH) {
		t.Errorf("got %v, want ESRCH", err)
	}
	ns := kerneltest.NewNamespace(t)
	s := ns.UDP(t, "127.0.0.1:0")
	own := kerneltest.HoldWith(t, kerneltest.HoldOptions{OwnTable: true}, s)
	if shared, err := SharesFiles(int32(own.PID), int32(own.TID)); err != nil || shared {
		t.Errorf("a thread with its own table: %v, %v", shared, err)
	}
	entries, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) < 2 {
		t.Fatal("no second thread")
	}
	if shared, err := SharesFiles(int32(own.PID), pid); err != nil || shared {
		t.Errorf("two processes: %v, %v", shared, err)
	}
}

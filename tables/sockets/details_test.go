package sockets

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sockql/tables"
	"sockql/tables/internal/kerneltest"
	"sockql/tables/internal/procfs"
)

// TestKernelDetails sets what can be set of a socket and looks for it.
func TestKernelDetails(t *testing.T) {
	ns := kerneltest.NewNamespace(t)
	bound := ns.UDP(t, "127.0.0.1:0").Set(unix.SOL_SOCKET, unix.SO_MARK, 77)
	if err := unix.SetsockoptString(bound.FD, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, "lo"); err != nil {
		t.Fatal(err)
	}
	only := ns.Listen(t, "[::1]:0") // IPv6 only
	dual := ns.ListenDual(t)
	waiting := ns.Listen(t, "127.0.0.1:0")
	ns.Dial(t, waiting)
	ns.Dial(t, waiting)
	client, server := ns.Pair(t, ns.Listen(t, "127.0.0.1:0"))
	server.Shutdown(unix.SHUT_RD)
	client.Write("12345")
	packet := ns.Packet(t, unix.SOCK_DGRAM, unix.ETH_P_IP)
	stream := ns.Unix(t, unix.SOCK_STREAM, "\x00details").Listen(9)
	ns.UnixDial(t, stream)
	kerneltest.Hold(t, ns)
	const columns = "rx_queue tx_queue backlog backlog_limit interface mark shutdown v6only uid"
	for _, test := range []struct {
		name       string
		sock       *kerneltest.Sock
		text, diag string
		bpf        string // where it tells more than sock_diag
	}{
		{"bound to a device", bound, "0|0|NULL|NULL|NULL|NULL|NULL|NULL|0", "0|0|NULL|NULL|lo|77|0|NULL|0", ""},
		{"IPv6 only", only, "0|NULL|0|NULL|NULL|NULL|NULL|NULL|0", "0|16|0|16||0|0|1|0", ""},
		{"both families", dual, "0|NULL|0|NULL|NULL|NULL|NULL|NULL|0", "0|16|0|16||0|0|0|0", ""},
		{"two to accept", waiting, "2|NULL|2|NULL|NULL|NULL|NULL|NULL|0", "2|16|2|16||0|0|NULL|0", ""},
		{"shut down", server, "5|0|NULL|NULL|NULL|NULL|NULL|NULL|0", "5|0|NULL|NULL||0|1|NULL|0", ""},
		{"packet", packet, "0|0|NULL|NULL|lo|NULL|NULL|NULL|0", "0|0|NULL|NULL|lo|NULL|NULL|NULL|0", "0|0|NULL|NULL|lo|0|0|NULL|0"},
		{"UNIX listener", stream, "NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL", "1|9|1|9|NULL|NULL|0|NULL|0", "1|9|1|9|NULL|0|0|NULL|0"},
	} {
		eachSource(t, func(t *testing.T, h *Host) {
			table := must(t)(h.SocketStates())
			want := test.diag
			if h.source == Procfs {
				want = test.text
			} else if h.source == BPF && test.bpf != "" {
				want = test.bpf
			}
			all, _ := ask(t, table, columns+" socket", in(table, ns), where(table, "pid", tables.OpEq, os.Getpid()))
			if row := fmt.Sprintf("%s|%d", want, test.sock.Inode()); !slices.Contains(all, row) {
				t.Errorf("%s: %q is not among\n%s", test.name, row, strings.Join(all, "\n"))
			}
		})
	}
}

// TestKernelCgroup compares a socket's cgroup with that of its process.
func TestKernelCgroup(t *testing.T) {
	if unifiedRoot("/sys/fs/cgroup") == "" {
		t.Skip("needs cgroup v2 mounted at /sys/fs/cgroup")
	}
	ns := kerneltest.NewNamespace(t)
	listener := ns.Listen(t, "127.0.0.1:0")
	h := newHost(t, "/proc", Auto)
	groups, err := h.proc.Cgroups(int32(os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(groups, func(g procfs.Cgroup) bool { return g.Hierarchy == 0 })
	if at < 0 {
		t.Skip("needs a process in cgroup v2")
	}
	table := must(t)(h.SocketStates())
	got, _ := ask(t, table, "socket cgroup_path", in(table, ns), where(table, "pid", tables.OpEq, os.Getpid()))
	if want := fmt.Sprintf("%d|%s", listener.Inode(), groups[at].Path); !slices.Contains(got, want) {
		t.Errorf("%q is not among %q", want, got)
	}
}

// TestKernelMPTCP finds a connection of MPTCP and the TCP flow below it.
func TestKernelMPTCP(t *testing.T) {
	ns := kerneltest.NewNamespace(t)
	listener, client, server := ns.MPTCP(t)
	holder := kerneltest.Hold(t, ns, listener, client, server)
	h := newHost(t, "/proc", Auto)
	table := must(t)(h.SocketStates())
	got, _ := ask(t, table, "fd socket protocol type state local_port remote_port", where(table, "pid", tables.OpEq, holder.PID), where(table, "protocol", tables.OpEq, unix.IPPROTO_MPTCP))
	var want []string
	for i, s := range []*kerneltest.Sock{listener, client, server} {
		state, remote := "ESTABLISHED", 0
		if s == listener {
			state = "LISTEN"
		} else {
			remote = int(s.Remote().Port())
		}
		want = append(want, fmt.Sprintf("%d|%d|262|1|%s|%d|%d", holder.FDs[i], s.Inode(), state, s.Local().Port(), remote))
	}
	wantRows(t, got, want)
	flows, _ := ask(t, table, "fd state", where(table, "pid", tables.OpEq, holder.PID), where(table, "protocol", tables.OpEq, unix.IPPROTO_TCP))
	if want := fmt.Sprintf("%d|ESTABLISHED", holder.FDs[1]); !slices.Contains(flows, want) {
		t.Errorf("the flow %q of the client is not among %q", want, flows)
	}
}

// TestKernelOtherFamilies finds sockets of families that the kernel may not
// list.
func TestKernelOtherFamilies(t *testing.T) {
	for _, test := range []struct {
		name        string
		family, typ int
		make        func(*testing.T, *kerneltest.Namespace) *kerneltest.Sock
	}{
		{"xdp", unix.AF_XDP, unix.SOCK_RAW, func(t *testing.T, ns *kerneltest.Namespace) *kerneltest.Sock { return ns.XDP(t) }},
		{"vsock", unix.AF_VSOCK, unix.SOCK_STREAM, func(t *testing.T, ns *kerneltest.Namespace) *kerneltest.Sock { return ns.Vsock(t) }},
		{"alg", unix.AF_ALG, unix.SOCK_SEQPACKET, func(t *testing.T, ns *kerneltest.Namespace) *kerneltest.Sock {
			return ns.Socket(t, unix.AF_ALG, unix.SOCK_SEQPACKET, 0)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			ns := kerneltest.NewNamespace(t)
			sock := test.make(t, ns)
			holder := kerneltest.Hold(t, ns, sock)
			h := newHost(t, "/proc", Auto)
			table := must(t)(h.SocketStates())
			for name, constraints := range map[string][]tables.Constraint{
				"pid":    {where(table, "pid", tables.OpEq, holder.PID)},
				"family": {where(table, "family", tables.OpEq, test.family), where(table, "pid", tables.OpEq, holder.PID)},
				"type":   {where(table, "type", tables.OpEq, test.typ), where(table, "pid", tables.OpEq, holder.PID)},
			} {
				got, _ := ask(t, table, "fd socket family type", constraints...)
				if want := fmt.Sprintf("%d|%d|%d|%d", holder.FDs[0], sock.Inode(), test.family, test.typ); !slices.Equal(got, []string{want}) {
					t.Errorf("%s: got %q, want %q", name, got, want)
				}
			}
		})
	}
}

// TestKernelNetlinkAlone has the source named, and says what it cannot tell.
func TestKernelNetlinkAlone(t *testing.T) {
	ns := kerneltest.NewNamespace(t)
	listener := ns.Listen(t, "127.0.0.1:0")
	kerneltest.Hold(t, ns, ns.Ping(t, "127.0.0.1:0"))
	table := must(t)(newHost(t, "/proc", Netlink).ProcessOpenSockets())
	got, warnings := ask(t, table, "socket local_port", in(table, ns), where(table, "family", tables.OpEq, unix.AF_INET), where(table, "pid", tables.OpEq, os.Getpid()))
	if want := fmt.Sprintf("%d|%d", listener.Inode(), listener.Local().Port()); !slices.Contains(got, want) {
		t.Errorf("%q is not among %q", want, got)
	}
	if !slices.ContainsFunc(warnings, func(w error) bool {
		return errors.Is(w, tables.ErrUnavailable) && strings.Contains(w.Error(), "icmp")
	}) {
		t.Errorf("no warning says that sock_diag lists no ping sockets: %v", warnings)
	}
	if got, warnings := ask(t, table, "socket", in(table, ns), where(table, "protocol", tables.OpEq, 6)); len(got) == 0 || slices.ContainsFunc(warnings, func(w error) bool { return errors.Is(w, tables.ErrUnavailable) }) {
		t.Errorf("TCP alone: %q, warnings %v", got, warnings)
	}
}

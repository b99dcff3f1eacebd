package sockets

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"sockql/fixtures"
	"sockql/tables"
	"sockql/tables/internal/kerneltest"
	"sockql/tables/internal/procfs"
	"sockql/tables/tabletest"
)

func TestTCPStates(t *testing.T) {
	table := must(t)(TCPStates())
	tabletest.Run(t, table, tabletest.Options{Stable: true})
	got, _ := ask(t, table, "code code_hex kernel osquery netstat ss ss_filter connected synchronized bucket big")
	want := []string{
		"1|01|TCP_ESTABLISHED|ESTABLISHED|ESTABLISHED|ESTAB|established|1|1|0|1",
		"2|02|TCP_SYN_SENT|SYN_SENT|SYN_SENT|SYN-SENT|syn-sent|1|0|0|1",
		"3|03|TCP_SYN_RECV|SYN_RECV|SYN_RECV|SYN-RECV|syn-recv|1|1|1|0",
		"4|04|TCP_FIN_WAIT1|FIN_WAIT1|FIN_WAIT1|FIN-WAIT-1|fin-wait-1|1|1|0|1",
		"5|05|TCP_FIN_WAIT2|FIN_WAIT2|FIN_WAIT2|FIN-WAIT-2|fin-wait-2|1|1|0|1",
		"6|06|TCP_TIME_WAIT|TIME_WAIT|TIME_WAIT|TIME-WAIT|time-wait|1|1|1|0",
		"7|07|TCP_CLOSE|CLOSED|CLOSE|UNCONN|closed|0|0|0|1",
		"8|08|TCP_CLOSE_WAIT|CLOSE_WAIT|CLOSE_WAIT|CLOSE-WAIT|close-wait|1|1|0|1",
		"9|09|TCP_LAST_ACK|LAST_ACK|LAST_ACK|LAST-ACK|last-ack|1|1|0|1",
		"10|0A|TCP_LISTEN|LISTEN|LISTEN|LISTEN|listening|0|0|0|1",
		"11|0B|TCP_CLOSING|CLOSING|CLOSING|CLOSING|closing|1|1|0|1",
		"12|0C|TCP_NEW_SYN_RECV|SYN_RECV|SYN_RECV|SYN-RECV|syn-recv|1|1|1|0",
		"13|0D|TCP_BOUND_INACTIVE|CLOSED|CLOSE|UNCONN|bound-inactive|0|0|0|1",
	}
	wantRows(t, got, want)
}

// TestTCPStatesAgreeWithSS gives ss(8) the names of filters and sets, where
// there is a socket in each state.
func TestTCPStatesAgreeWithSS(t *testing.T) {
	ns := kerneltest.NewNamespace(t)
	ns.States(t, "127.0.0.1:0")
	kerneltest.Hold(t, ns)
	table := must(t)(newHost(t, "/proc", Auto).SocketStates())
	catalogue, _ := ask(t, must(t)(TCPStates()), "code ss ss_filter connected synchronized bucket big")
	sockets, _ := ask(t, table, "state_code", in(table, ns), where(table, "protocol", tables.OpEq, 6), where(table, "family", tables.OpEq, 2))
	perCode := map[string]int{}
	for _, code := range sockets {
		perCode[code]++
	}
	sets := map[string]int{}
	for _, row := range catalogue {
		f := strings.Split(row, "|")
		for i, name := range []string{"connected", "synchronized", "bucket", "big"} {
			if f[3+i] == "1" {
				sets[name] += perCode[f[0]]
			}
		}
		if perCode[f[0]] == 0 {
			continue
		}
		if lines := strings.Count(ns.Output(t, "ss", "-Hatn4", "state", f[2]), "\n"); lines != perCode[f[0]] {
			t.Errorf("state %s: ss has %d, we %d", f[2], lines, perCode[f[0]])
		}
	}
	for name, n := range sets {
		if lines := strings.Count(ns.Output(t, "ss", "-Hatn4", "state", name), "\n"); lines != n {
			t.Errorf("state %s: ss has %d, we %d", name, lines, n)
		}
	}
}

func TestNetworkNamespaces(t *testing.T) {
	root := fixtures.Unpack(t, "namespaces")
	var reads tabletest.Counter
	var o opened
	h := newHost(t, root, Auto, procfs.OnOpen(fixtures.Hooks(reads.Read, o.open, fixtures.Denied(root))))
	table := must(t)(h.NetworkNamespaces())
	tabletest.Run(t, table, tabletest.Options{Stable: true, Reads: &reads, Parallel: walkers})
	got, _ := ask(t, table, "inode names found processes is_current tcp_sockets udp_sockets unix_sockets sockets")
	wantRows(t, got, []string{
		"4026531840||process|2|0|3|1|0|4",
		"4026532271||process|2|0|3|1|0|4",
		"0||process|2|0|3|1|0|4",
	})
	o.reset()
	ask(t, table, "inode processes")
	if lists := o.matching("/net/udp"); len(lists) != 0 {
		t.Errorf("lists were read although nobody asked for sockets: %v", lists)
	}
}

func TestKernelNetworkNamespaces(t *testing.T) {
	h := newHost(t, "/proc", Auto)
	table := must(t)(h.NetworkNamespaces())
	const columns = "names mounts found processes is_current tcp_sockets udp_sockets unix_sockets packet_sockets"

	lived := kerneltest.NewNamespace(t)
	client, server := lived.Pair(t, lived.Listen(t, "127.0.0.1:0"))
	kerneltest.Hold(t, lived, client, server)
	kerneltest.Hold(t, lived, server, lived.UDP(t, "[::1]:0"))

	held := kerneltest.NewNamespace(t)
	held.Unix(t, unix.SOCK_STREAM, "\x00here").Listen(1)
	held.Packet(t, unix.SOCK_DGRAM, unix.ETH_P_IP)

	mounted := kerneltest.NewNamespace(t)
	dir := t.TempDir()
	mounts := map[string]*kerneltest.Namespace{}
	for _, name := range []string{"blue", "with, comma"} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		mounts[path] = mounted
	}
	kerneltest.HoldWith(t, kerneltest.HoldOptions{Mounts: mounts})

	for ns, want := range map[*kerneltest.Namespace]string{
		lived:   "||process|2|0|3|1|0|0",
		held:    "||descriptor|0|0|0|0|1|1",
		mounted: fmt.Sprintf("blue,with, comma|%s/blue,%s/with, comma|mount|0|0|0|0|0|0", dir, dir),
	} {
		if got, _ := ask(t, table, columns, where(table, "inode", tables.OpEq, ns.Inode)); !slices.Equal(got, []string{want}) {
			t.Errorf("namespace %d: got %q, want %q", ns.Inode, got, want)
		}
	}
	own, _ := ask(t, table, "inode is_current found", where(table, "inode", tables.OpGT, 0))
	link, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Trim(link, "net:[]") + "|1|process"; !slices.Contains(own, want) {
		t.Errorf("%q is not among %q", want, own)
	}
	if threads := kerneltest.ForeignThreads(t); threads != nil {
		t.Errorf("threads were left in other namespaces: %v", threads)
	}
}

// mountsEnv tells the test binary that it runs as an ordinary user among
// mounted namespaces, and which.
const mountsEnv = "SOCKQL_SOCKETS_MOUNTS"

// A mountScene is what an ordinary user looks at.
type mountScene struct {
	Lone, Lived, Listener uint64 // inodes
	Enters                bool   // has CAP_SYS_ADMIN
}

// TestKernelMountsAsNobody has an ordinary user look at mounted namespaces: a
// lone one and one where a process lives that hides the namespace's number.
// Without CAP_SYS_ADMIN nothing is known of them, and no number stands for it.
// With it their sockets are read, once.
func TestKernelMountsAsNobody(t *testing.T) {
	if env, child := os.LookupEnv(mountsEnv); child {
		mountsAsNobody(t, env)
		return
	}
	lone := kerneltest.NewNamespace(t)
	lone.Listen(t, "127.0.0.1:0") // held from elsewhere
	lived := kerneltest.NewNamespace(t)
	listener := lived.Listen(t, "127.0.0.1:0")
	kerneltest.Hold(t, lived, listener)
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o711); err != nil { // for the user to search
		t.Fatal(err)
	}
	mounts := map[string]*kerneltest.Namespace{}
	for name, ns := range map[string]*kerneltest.Namespace{"lone": lone, "lived": lived} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		mounts[path] = ns
	}
	holder := kerneltest.HoldWith(t, kerneltest.HoldOptions{Mounts: mounts})
	for _, enters := range []bool{false, true} {
		env, err := json.Marshal(mountScene{lone.Inode, lived.Inode, listener.Inode(), enters})
		if err != nil {
			t.Fatal(err)
		}
		const nobody = 65534
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestKernelMountsAsNobody$", "-test.v")
		cmd.Env = append(os.Environ(), mountsEnv+"="+string(env))
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		if enters {
			cmd.SysProcAttr.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN}
		}
		out, err := holder.InMounts(t, cmd)
		if err != nil || !strings.Contains(string(out), "--- PASS") {
			t.Errorf("enters %v: %v\n%s", enters, err, out)
		}
	}
}

func mountsAsNobody(t *testing.T, env string) {
	var scene mountScene
	if err := json.Unmarshal([]byte(env), &scene); err != nil {
		t.Fatal(err)
	}
	h := newHost(t, "/proc", Auto)
	table := must(t)(h.NetworkNamespaces())
	got, warnings := ask(t, table, "names found processes tcp_sockets", where(table, "inode", tables.OpEq, scene.Lone, scene.Lived))
	want := []string{"lone|mount|NULL|NULL", "lived|mount|NULL|NULL"}
	if scene.Enters {
		want = []string{"lone|mount|0|1", "lived|process,mount|1|1"}
	}
	wantRows(t, got, want)
	missing := slices.ContainsFunc(warnings, func(w error) bool { return strings.Contains(w.Error(), "their sockets are missing") })
	if missing == scene.Enters {
		t.Errorf("warnings %v", warnings)
	}
	table = must(t)(h.ProcessOpenSockets())
	got, _ = ask(t, table, "pid net_namespace", where(table, "socket", tables.OpEq, scene.Listener))
	want = []string{"-1|0"}
	if scene.Enters {
		want = []string{fmt.Sprintf("-1|%d", scene.Lived)}
	}
	wantRows(t, got, want)
}

// TestKernelConformance runs the suite over sockets of every kind in a
// namespace where nothing happens.
func TestKernelConformance(t *testing.T) {
	ns := kerneltest.NewNamespace(t)
	listener := ns.Listen(t, "127.0.0.1:0")
	client, server := ns.Pair(t, listener)
	names := kerneltest.UnixNames(t)
	stream := ns.Unix(t, unix.SOCK_STREAM, names[2]).Listen(3)
	a, b := ns.UnixConnection(t, stream)
	holder := kerneltest.Hold(t, ns, listener, client, server, stream, a, b, listener.Dup(),
		ns.ListenDual(t), ns.UDP(t, "127.0.0.1:0"), ns.UDP(t, "[::1]:0").Connect("[::1]:9"), ns.Raw(t, unix.AF_INET6, 89),
		ns.Packet(t, unix.SOCK_RAW, unix.ETH_P_ALL), ns.Netlink(t, unix.NETLINK_ROUTE), ns.BoundInactive(t, "127.0.0.1:0"),
		ns.Socket(t, unix.AF_INET6, unix.SOCK_STREAM, 0), ns.Unix(t, unix.SOCK_DGRAM, names[6]))
	eachSource(t, func(t *testing.T, h *Host) {
		list := []tables.Table{must(t)(h.ProcessOpenSockets()), must(t)(h.ListeningPorts()), must(t)(h.SocketStates())}
		if h.source == Procfs {
			list = list[:1] // text takes long to write, and the recorded trees test it
		}
		for _, table := range list {
			t.Run(table.Schema().Name, func(t *testing.T) {
				// Netlink is left out: two scans at once see each other's. The
				// ownerless cost a walk through every process each time.
				pids := []any{os.Getpid(), holder.PID}
				if h.source == Auto && table.Schema().Name == "process_open_sockets" {
					pids = append(pids, -1)
				}
				tabletest.Run(t, table, tabletest.Options{Stable: true, Constraints: []tables.Constraint{
					in(table, ns), where(table, "family", tables.OpEq, 1, 2, 10, 17), where(table, "pid", tables.OpEq, pids...),
				}})
			})
		}
	})
}

// TestKernelStatesPushdown asks for each state of TCP by name and by code.
func TestKernelStatesPushdown(t *testing.T) {
	ns := kerneltest.NewNamespace(t)
	ns.States(t, "127.0.0.1:0")
	ns.BoundInactive(t, "127.0.0.1:0")
	kerneltest.Hold(t, ns)
	eachSource(t, func(t *testing.T, h *Host) {
		c := connect(t, h)
		for _, s := range append(tcpStates[:], tcpState{code: 99, osquery: "UNKNOWN"}) {
			for _, condition := range []string{fmt.Sprintf("state = '%s'", s.osquery), fmt.Sprintf("state_code = %d", s.code)} {
				const sql = "select socket, local_port, remote_port, state from socket_states where %s and net_namespace = '%d' and family = 2"
				with := query(t, c, fmt.Sprintf(sql, condition, ns.Inode))
				without := query(t, c, fmt.Sprintf(sql, "+"+condition, ns.Inode))
				wantRows(t, with, without)
				if len(with) == 0 && s.code < 12 && s.code != 7 {
					t.Errorf("no socket with %s", condition)
				}
			}
		}
	})
}

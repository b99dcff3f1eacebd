package sockets

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"sockql/fixtures"
	"sockql/tables"
	"sockql/tables/internal/kerneltest"
	"sockql/tables/internal/procfs"
)

// TestKernelWithoutProcess finds a socket whose namespace no process lives in:
// by its descriptor, and by a bind mount of the namespace.
func TestKernelWithoutProcess(t *testing.T) {
	h := newHost(t, "/proc", Auto)
	table := must(t)(h.SocketStates())
	ns := kerneltest.NewNamespace(t)
	listener := ns.Listen(t, "127.0.0.1:0")
	want := fmt.Sprintf("%d|%d|%d|LISTEN|%d|16|%d", os.Getpid(), listener.FD, listener.Inode(), listener.Local().Port(), ns.Inode)
	const columns = "pid fd socket state local_port backlog_limit net_namespace"
	find := func(among string) {
		t.Helper()
		for name, constraints := range map[string][]tables.Constraint{
			"all":       nil,
			"pid":       {where(table, "pid", tables.OpEq, os.Getpid())},
			"state":     {where(table, "state", tables.OpEq, "LISTEN")},
			"port":      {where(table, "local_port", tables.OpEq, int(listener.Local().Port()))},
			"namespace": {in(table, ns)},
		} {
			if got, _ := ask(t, table, columns, constraints...); count(got, want) != 1 {
				t.Errorf("%s, among %s: %q is not there once among %d rows", name, among, want, len(got))
			}
		}
	}
	find("few")
	// More descriptors than are looked up one by one.
	for range maxLookups/2 + 1 {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(pair[0]); unix.Close(pair[1]) })
	}
	find("many")

	// Now nobody holds it but the mount: an orphan in a namespace of its own.
	mounted := kerneltest.NewNamespace(t)
	client, server := mounted.Pair(t, mounted.Listen(t, "127.0.0.1:0"))
	local, remote := client.Local(), client.Remote()
	server.Deafen()
	client.Close()
	target := filepath.Join(t.TempDir(), "blue")
	if err := os.WriteFile(target, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	kerneltest.HoldWith(t, kerneltest.HoldOptions{Mounts: map[string]*kerneltest.Namespace{target: mounted}})
	got, _ := ask(t, table, "pid state local_address remote_address local_port remote_port net_namespace", in(table, mounted),
		where(table, "state", tables.OpEq, "FIN_WAIT1"))
	if want := fmt.Sprintf("-1|FIN_WAIT1|%s|%d", endpoints(local, remote), mounted.Inode); !slices.Equal(got, []string{want}) {
		t.Errorf("mounted: got %q, want %q", got, want)
	}
	if threads := kerneltest.ForeignThreads(t); threads != nil {
		t.Errorf("threads were left in other namespaces: %v", threads)
	}
}

// TestKernelUnlisted finds sockets that are in no list of the kernel.
func TestKernelUnlisted(t *testing.T) {
	ns := kerneltest.NewNamespace(t)
	unbound := ns.Socket(t, unix.AF_INET, unix.SOCK_STREAM, 0)
	bound := ns.BoundInactive(t, "127.0.0.1:0")
	socks := []*kerneltest.Sock{unbound, bound}
	holder := kerneltest.Hold(t, ns, socks...)
	eachSource(t, func(t *testing.T, h *Host) {
		table := must(t)(h.SocketStates())
		const columns = "fd socket family protocol type local_port state is_listener net_namespace"
		want := []string{
			fmt.Sprintf("%d|%d|2|6|1|0|CLOSED|0|%d", holder.FDs[0], unbound.Inode(), ns.Inode),
			fmt.Sprintf("%d|%d|2|6|1|%d|CLOSED|0|%d", holder.FDs[1], bound.Inode(), bound.Local().Port(), ns.Inode),
		}
		inet := want
		if h.source == Procfs {
			want = []string{
				fmt.Sprintf("%d|%d|NULL|NULL|NULL|NULL|NULL|NULL|NULL", holder.FDs[0], unbound.Inode()),
				fmt.Sprintf("%d|%d|NULL|NULL|NULL|NULL|NULL|NULL|NULL", holder.FDs[1], bound.Inode()),
			}
			inet = nil
		}
		pid := where(table, "pid", tables.OpEq, holder.PID)
		got, _ := ask(t, table, columns, pid)
		wantRows(t, got, want)
		got, _ = ask(t, table, columns, pid, where(table, "family", tables.OpEq, 2))
		wantRows(t, got, inet)
		listening := must(t)(h.ListeningPorts())
		if got, _ := ask(t, listening, "port", where(listening, "pid", tables.OpEq, holder.PID)); len(got) != 0 {
			t.Errorf("listening_ports shows %q", got)
		}
		got, _ = ask(t, table, columns)
		for _, w := range want {
			if count(got, w) != 1 {
				t.Errorf("all: %q is not there once", w)
			}
		}
	})
}

// load makes a random set of TCP and UDP sockets, some shared, and a process
// in the namespace.
func load(t *testing.T, ns *kerneltest.Namespace, r *rand.Rand) {
	t.Helper()
	var socks []*kerneltest.Sock
	keep := func(s ...*kerneltest.Sock) { socks = append(socks, s...) }
	for range 5 + r.IntN(10) {
		addr := "127.0.0.1:0"
		if r.IntN(2) == 0 {
			addr = "[::1]:0"
		}
		switch r.IntN(8) {
		case 0:
			keep(ns.Listen(t, addr))
		case 1:
			listener := ns.Listen(t, addr)
			client, server := ns.Pair(t, listener)
			server.Write("some bytes that nobody reads")
			keep(listener, client, server)
		case 2:
			listener := ns.ListenDual(t)
			keep(listener, ns.Dial(t, listener)) // not accepted
		case 3:
			keep(ns.UDP(t, addr))
		case 4:
			to := ns.UDP(t, addr)
			from := ns.UDP(t, addr).Connect(to.Local().String())
			from.Write("a datagram that nobody reads")
			keep(to, from)
		case 5:
			s := ns.UDP(t, addr)
			keep(s, s.Dup())
		case 6: // FIN_WAIT2 and CLOSE_WAIT, one of them with a byte to read
			listener := ns.Listen(t, addr)
			client, server := ns.Pair(t, listener)
			server.Write("x")
			client.Shutdown(unix.SHUT_WR)
			keep(listener, client, server)
		case 7: // TIME_WAIT, which nobody holds
			listener := ns.Listen(t, addr)
			client, server := ns.Pair(t, listener)
			client.Close()
			server.Close()
			keep(listener)
		}
	}
	kerneltest.Hold(t, ns, socks...)
}

// TestKernelAgreesWithSS compares random sets of sockets with what ss(8) says.
func TestKernelAgreesWithSS(t *testing.T) {
	kerneltest.RequireProgram(t, "ss")
	r := rand.New(rand.NewPCG(1, uint64(os.Getpid())))
	for range 3 {
		ns := kerneltest.NewNamespace(t)
		load(t, ns, r)
		if testing.Verbose() {
			t.Logf("namespace %d", ns.Inode)
		}
		var want []string
		for line := range strings.Lines(ns.Output(t, "ss", "-Hanptu")) {
			want = append(want, ssRows(t, line)...)
		}
		eachSource(t, func(t *testing.T, h *Host) {
			table := must(t)(h.SocketStates())
			got, _ := ask(t, table, "pid fd protocol state rx_queue tx_queue local_address local_port remote_address remote_port",
				in(table, ns), where(table, "protocol", tables.OpEq, 6, 17), where(table, "family", tables.OpEq, 2, 10))
			if h.source == Procfs {
				// The text does not tell a listener's limit.
				for i := range got {
					got[i] = regexp.MustCompile(`LISTEN\|(\d+)\|NULL`).ReplaceAllString(got[i], "LISTEN|$1|16")
				}
			}
			wantRows(t, got, want)
		})
	}
}

// ssRows turns a line of ss -Hanptu into the rows it stands for.
func ssRows(t *testing.T, line string) []string {
	t.Helper()
	f := strings.Fields(line)
	if len(f) < 6 {
		t.Fatalf("ss printed %q", line)
	}
	protocol := map[string]string{"tcp": "6", "udp": "17"}[f[0]]
	state := f[1]
	for _, s := range tcpStates[:11] {
		if s.ss == state && protocol == "6" {
			state = s.osquery
		}
	}
	if state == "ESTAB" {
		state = "ESTABLISHED"
	}
	v6 := strings.HasPrefix(f[4], "[") || strings.HasPrefix(f[4], "*")
	address := func(s string) string {
		host, port, ok := cutLast(s, ":")
		if !ok {
			t.Fatalf("ss printed the address %q", s)
		}
		host, _, _ = strings.Cut(strings.Trim(host, "[]"), "%")
		switch {
		case host == "*" && v6:
			host = "::"
		case host == "*":
			host = "0.0.0.0"
		}
		if port == "*" {
			port = "0"
		}
		a, err := netip.ParseAddr(host)
		if err != nil {
			t.Fatalf("ss printed the address %q: %v", s, err)
		}
		return a.String() + "|" + port
	}
	tail := fmt.Sprintf("%s|%s|%s|%s|%s|%s", protocol, state, f[2], f[3], address(f[4]), address(f[5]))
	holders := regexp.MustCompile(`pid=(\d+),fd=(\d+)`).FindAllStringSubmatch(line, -1)
	if len(holders) == 0 {
		return []string{"-1|-1|" + tail}
	}
	var rows []string
	for _, h := range holders {
		rows = append(rows, h[1]+"|"+h[2]+"|"+tail)
	}
	return rows
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// TestKernelSourcesAgree compares the sources field by field.
func TestKernelSourcesAgree(t *testing.T) {
	sources := []Source{Procfs, Auto, BPF}
	hosts := map[Source]*Host{}
	for _, source := range sources {
		hosts[source] = newHost(t, "/proc", source)
	}
	r := rand.New(rand.NewPCG(2, uint64(os.Getpid())))
	for range 3 {
		ns := kerneltest.NewNamespace(t)
		load(t, ns, r)
		names := kerneltest.UnixNames(t)
		stream := ns.Unix(t, unix.SOCK_STREAM, names[r.IntN(len(names))]).Listen(7)
		client, server := ns.UnixConnection(t, stream)
		client.Write("unread")
		kerneltest.Hold(t, ns, stream, client, server, ns.Packet(t, unix.SOCK_DGRAM, unix.ETH_P_ALL), ns.Netlink(t, unix.NETLINK_ROUTE), ns.Raw(t, unix.AF_INET, 89))
		ns.UnixPair(t, unix.SOCK_SEQPACKET)
		ns.UnixDial(t, stream) // and nobody accepts
		ns.InFlight(t, ns.UDP(t, "127.0.0.1:0"))
		rows := map[Source][]map[string]string{}
		for _, source := range sources {
			rows[source] = stateRows(t, must(t)(hosts[source].SocketStates()), ns)
		}
		for i, one := range sources {
			for _, other := range sources[i+1:] {
				compareSources(t, one, rows[one], other, rows[other])
			}
		}
	}
}

// stateRows returns the rows of a namespace in a fixed order, but for the sockets
// through which sources ask.
func stateRows(t *testing.T, table tables.Table, ns *kerneltest.Namespace) (rows []map[string]string) {
	t.Helper()
	var columns []string
	for _, c := range table.Schema().Columns {
		columns = append(columns, c.Name)
	}
	got, _ := ask(t, table, strings.Join(columns, " "), in(table, ns))
	for _, line := range got {
		cells := strings.Split(line, "|")
		if len(cells) != len(columns) {
			continue // a name with the separator in it
		}
		row := map[string]string{}
		for j, name := range columns {
			row[name] = cells[j]
		}
		if row["family"] != "16" || row["protocol"] != "4" {
			rows = append(rows, row)
		}
	}
	slices.SortFunc(rows, func(a, b map[string]string) int { return strings.Compare(rowKey(a), rowKey(b)) })
	return rows
}

func compareSources(t *testing.T, one Source, a []map[string]string, other Source, b []map[string]string) {
	t.Helper()
	if len(a) != len(b) || len(a) == 0 {
		t.Errorf("%s has %d rows, %s %d:\n%v\n%v", one, len(a), other, len(b), a, b)
		return
	}
	for i := range a {
		for name, v := range a[i] {
			w := b[i][name]
			// BPF reads every descriptor table, the others those that they may.
			if name == "pid_reason" && (v == "denied" || w == "denied") {
				continue
			}
			if v != w && v != "NULL" && w != "NULL" && !moving[name] {
				t.Errorf("%s of %s: %s %q, %s %q", name, rowKey(a[i]), one, v, other, w)
			}
		}
	}
}

// moving are the columns whose value goes on while nothing happens, or that
// the text rounds. A timer that runs, such as that of a delayed
// acknowledgement, holds a reference.
var moving = map[string]bool{"timer_expires_ms": true, "rto_ms": true, "ato_ms": true, "timer": true, "refcount": true}

func rowKey(r map[string]string) string {
	return strings.Join([]string{r["pid"], r["tid"], r["fd"], r["socket"], r["family"], r["protocol"], r["local_port"], r["remote_port"], r["state_code"]}, " ")
}

// TestKernelVanishing scans while processes and their namespaces come and go.
func TestKernelVanishing(t *testing.T) {
	ns := kerneltest.NewNamespace(t)
	listener := ns.Listen(t, "127.0.0.1:0")
	eachSource(t, func(t *testing.T, h *Host) {
		var stop atomic.Bool
		done := make(chan struct{})
		t.Cleanup(func() { stop.Store(true); <-done })
		all := []tables.Table{must(t)(h.ProcessOpenSockets()), must(t)(h.ListeningPorts()), must(t)(h.SocketStates()), must(t)(h.NetworkNamespaces())}
		go func() {
			defer close(done)
			for !stop.Load() {
				cmd := exec.Command("/proc/self/exe", "-test.run=^$")
				cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
				cmd.Run()
			}
		}()
		for range 20 {
			for _, table := range all {
				columns := "pid socket"
				if table.Schema().Column("pid") < 0 {
					columns = "inode sockets"
				}
				rows, warnings := ask(t, table, columns)
				for _, w := range warnings {
					if !errors.Is(w, fs.ErrPermission) {
						t.Errorf("%s: %v", table.Schema().Name, w)
					}
				}
				if h.source == Auto && columns == "pid socket" && !slices.Contains(rows, fmt.Sprintf("%d|%d", os.Getpid(), listener.Inode())) {
					t.Errorf("%s: the test's own socket is missing", table.Schema().Name)
				}
			}
		}
	})
}

// TestRaced has a process end between its being listed and its descriptors'
// being read.
func TestRaced(t *testing.T) {
	root := fixtures.Unpack(t, "bash")
	h := newHost(t, root, Auto, procfs.OnOpen(fixtures.RemoveAt(root, "812/fd", "812")))
	table := must(t)(h.ProcessOpenSockets())
	got, warnings := ask(t, table, "pid socket pid_reason", where(table, "local_port", tables.OpEq, 22), where(table, "family", tables.OpEq, 2))
	wantRows(t, got, []string{"-1|23106|raced", "-1|290114|raced"})
	if warnings != nil {
		t.Errorf("warnings %v", warnings)
	}
}

// TestListVanished has the process end through which a namespace is read; its
// neighbour must serve instead.
func TestListVanished(t *testing.T) {
	root := fixtures.Unpack(t, "namespaces")
	gone := func(path string) error {
		if path == "710/net/udp" {
			return syscall.ESRCH
		}
		return nil
	}
	h := newHost(t, root, Auto, procfs.OnOpen(fixtures.Hooks(gone, fixtures.Denied(root))))
	table := must(t)(h.ProcessOpenSockets())
	got, _ := ask(t, table, "socket", where(table, "net_namespace", tables.OpEq, "4026532271"), where(table, "protocol", tables.OpEq, 17))
	wantRows(t, got, []string{"3103"})
}

// TestRewalk reads a list after descriptors: a socket made in between must not
// be called ownerless.
func TestRewalk(t *testing.T) {
	root := fixtures.Unpack(t, "bash")
	h := newHost(t, root, Auto)
	table := must(t)(h.ProcessOpenSockets())
	s := tables.NewSession(context.Background())
	defer s.Close()
	askIn(t, s, table, "pid", where(table, "family", tables.OpEq, 2))
	if err := os.Symlink("socket:[18203]", filepath.Join(root, "812/fd/9")); err != nil {
		t.Fatal(err)
	}
	// The list of UDP was read before: the session's picture of it stays.
	if got := askIn(t, s, table, "pid fd", where(table, "socket", tables.OpEq, 18203), where(table, "protocol", tables.OpEq, 17), where(table, "family", tables.OpEq, 2), where(table, "local_port", tables.OpEq, 53)); !slices.Equal(got, []string{"-1|-1"}) {
		t.Errorf("a list that was read before the walk: %q", got)
	}
	if err := os.Symlink("socket:[30127]", filepath.Join(root, "812/fd/10")); err != nil {
		t.Fatal(err)
	}
	got := askIn(t, s, table, "pid fd socket pid_reason", where(table, "family", tables.OpEq, 1))
	if !slices.Contains(got, "812|10|30127|") {
		t.Errorf("a list that was read after the walk: %q", got)
	}
}

// nobodyEnv tells the test binary that it runs as nobody and what to expect.
const nobodyEnv = "SOCKQL_SOCKETS_NOBODY"

// An expectation is a listener and the namespace that nobody should see it in.
type expectation struct {
	Inode uint64
	Netns uint64
	PID   int
}

// TestKernelAsNobody has an ordinary user look at three namespaces: one whose
// number nobody can tell, one that is known from a process of its own, and one
// with two processes of which neither tells.
func TestKernelAsNobody(t *testing.T) {
	if env, child := os.LookupEnv(nobodyEnv); child {
		asNobody(t, env)
		return
	}
	kerneltest.RequireRoot(t)
	const nobody = 65534
	var want []expectation
	hidden := kerneltest.NewNamespace(t)
	s := hidden.Listen(t, "127.0.0.1:0")
	kerneltest.Hold(t, hidden, s)
	want = append(want, expectation{s.Inode(), 0, -1})
	known := kerneltest.NewNamespace(t)
	s = known.Listen(t, "127.0.0.1:0")
	kerneltest.Hold(t, known) // root's, met first
	own := kerneltest.HoldWith(t, kerneltest.HoldOptions{Namespace: known, UID: nobody}, s)
	want = append(want, expectation{s.Inode(), known.Inode, own.PID})
	s = known.Listen(t, "127.0.0.1:0")
	kerneltest.Hold(t, known, s)
	want = append(want, expectation{s.Inode(), known.Inode, -1})
	shared := kerneltest.NewNamespace(t)
	s = shared.Listen(t, "127.0.0.1:0")
	kerneltest.Hold(t, shared, s)
	kerneltest.Hold(t, shared, s)
	want = append(want, expectation{s.Inode(), 0, -1})
	env, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestKernelAsNobody$", "-test.v")
	cmd.Env = append(os.Environ(), nobodyEnv+"="+string(env))
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Errorf("as nobody: %v\n%s", err, out)
	}
}

func asNobody(t *testing.T, env string) {
	var want []expectation
	if err := json.Unmarshal([]byte(env), &want); err != nil {
		t.Fatal(err)
	}
	for _, source := range []Source{Procfs, Auto} {
		var o opened
		h := newHost(t, "/proc", source, procfs.OnOpen(o.open))
		table := must(t)(h.ProcessOpenSockets())
		o.reset()
		got, warnings := ask(t, table, "pid socket net_namespace pid_reason")
		for _, w := range want {
			row := fmt.Sprintf("%d|%d|%d|", w.PID, w.Inode, w.Netns)
			if w.PID < 0 {
				row += "denied"
			}
			if count(got, row) != 1 {
				t.Errorf("%s: %q is not there once", source, row)
			}
		}
		var namespaces int
		for _, w := range warnings {
			if !errors.Is(w, fs.ErrPermission) {
				t.Errorf("%s: warning %v", source, w)
			}
			if strings.Contains(w.Error(), "network namespaces of other users") {
				namespaces++
			}
		}
		if namespaces != 1 {
			t.Errorf("%s: %d warnings about namespaces: %v", source, namespaces, warnings)
		}
		seen := map[uint64]string{}
		for path, n := range o.matching("/net/tcp") {
			// The path is asked for its inode, too: a list is what was opened
			// of udp.
			if o.matching("/net/udp")[strings.TrimSuffix(path, "tcp")+"udp"] == 0 {
				continue
			}
			pid, _, _ := strings.Cut(path, "/")
			number, err := strconv.Atoi(pid)
			if err != nil {
				t.Fatal(err)
			}
			identity, err := h.proc.NetIdentity(int32(number))
			if err != nil {
				continue // it ended since
			}
			if other, twice := seen[identity]; twice {
				t.Errorf("%s: %s and %s are lists of one namespace (%d)", source, other, path, n)
			}
			seen[identity] = path
		}
		if len(seen) < 3 {
			t.Errorf("%s: the lists of %d namespaces were read", source, len(seen))
		}
	}
}

// TestGoldenAgreesWithSS holds what PROC_ROOT makes ss print of a recorded tree
// against ours.
func TestGoldenAgreesWithSS(t *testing.T) {
	ss := kerneltest.RequireProgram(t, "ss")
	for _, name := range []string{"bash", "states"} {
		root := fixtures.Unpack(t, name)
		cmd := exec.Command(ss, "-Hant")
		cmd.Env = append(os.Environ(), "PROC_ROOT="+root, "PROC_NET_TCP="+filepath.Join(root, "net/tcp"), "PROC_NET_TCP6="+filepath.Join(root, "net/tcp6"))
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("ss: %v", err)
		}
		var want []string
		for s := bufio.NewScanner(strings.NewReader(string(out))); s.Scan(); {
			f := strings.Fields(s.Text())
			want = append(want, strings.Join(f[3:5], " "))
		}
		table := must(t)(newHost(t, root, Auto).SocketStates())
		// ss leaves out a state that it does not know.
		rows, _ := ask(t, table, "local_address local_port remote_address remote_port state_code", where(table, "protocol", tables.OpEq, 6), where(table, "family", tables.OpEq, 2, 10))
		rows = slices.DeleteFunc(rows, func(r string) bool { return strings.HasSuffix(r, "|14") })
		var got []string
		for _, r := range rows {
			f := strings.Split(r, "|")
			got = append(got, ssAddress(f[0], f[1])+" "+ssAddress(f[2], f[3]))
		}
		wantRows(t, got, want)
	}
}

func ssAddress(address, port string) string {
	if port == "0" {
		port = "*"
	}
	switch {
	case address == "::":
		address = "*"
	case strings.Contains(address, ":"):
		address = "[" + address + "]"
	}
	return address + ":" + port
}

// TestBornMeanwhile has a process appear after processes were listed and before
// descriptors are read: what it holds is not without an owner.
func TestBornMeanwhile(t *testing.T) {
	root := fixtures.Unpack(t, "bash")
	hidden := filepath.Join(t.TempDir(), "812")
	if err := os.Rename(filepath.Join(root, "812"), hidden); err != nil {
		t.Fatal(err)
	}
	born := func(path string) error {
		if path == "1/net/tcp" || path == "14960/net/tcp" {
			if err := os.Rename(hidden, filepath.Join(root, "812")); err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Error(err)
			}
		}
		return nil
	}
	h := newHost(t, root, Auto, procfs.OnOpen(born))
	table := must(t)(h.ProcessOpenSockets())
	got, _ := ask(t, table, "pid fd socket", where(table, "family", tables.OpEq, 2), where(table, "local_port", tables.OpEq, 22), where(table, "remote_port", tables.OpEq, 0))
	wantRows(t, got, []string{"812|3|23106"})
}

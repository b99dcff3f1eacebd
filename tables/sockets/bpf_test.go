package sockets

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"sockql/fixtures"
	"sockql/tables"
	"sockql/tables/internal/kerneltest"
	"sockql/tables/internal/procfs"
	"sockql/tables/internal/socket"
)

// TestInodeSet adds and removes inodes of the same word and of others.
func TestInodeSet(t *testing.T) {
	s := inodeSet{}
	for _, inode := range []uint64{1, 63, 64, 1 << 40} {
		s.add(inode)
	}
	s.remove(63)
	s.remove(2)
	s.remove(1 << 20)
	for inode, want := range map[uint64]bool{1: true, 63: false, 64: true, 65: false, 1 << 40: true} {
		if s.has(inode) != want {
			t.Errorf("has %d: %v", inode, !want)
		}
	}
	for _, inode := range []uint64{1, 64, 1 << 40} {
		s.remove(inode)
	}
	if len(s) != 0 {
		t.Errorf("left: %v", s)
	}
}

// TestBPFIsRefused has it where the numbers are not the running kernel's.
func TestBPFIsRefused(t *testing.T) {
	proc, err := procfs.Open(fixtures.Unpack(t, "bash"))
	if err != nil {
		t.Fatal(err)
	}
	defer proc.Close()
	if _, err := New(Config{Proc: proc, Source: BPF, Sys: "/sys"}); !errors.Is(err, tables.ErrUnavailable) {
		t.Errorf("a recorded tree: %v", err)
	}
	h, err := New(Config{Proc: proc, Sys: "/sys"})
	if err != nil {
		t.Fatal(err)
	}
	if source, err := h.bpf(&question{request: socket.Everything()}); source != nil || err != nil {
		t.Errorf("left to choose: %v, error %v", source, err)
	}
}

// TestKernelBPFFallback asks where the kernel's types are not to be found.
func TestKernelBPFFallback(t *testing.T) {
	ns := kerneltest.NewNamespace(t)
	listener := ns.Listen(t, "127.0.0.1:0")
	h := newHost(t, "/proc", Auto)
	h.sys = t.TempDir()
	table := must(t)(h.ProcessOpenSockets())
	got, _ := ask(t, table, "socket pid", in(table, ns), where(table, "family", tables.OpEq, 2))
	wantRows(t, got, []string{fmt.Sprintf("%d|%d", listener.Inode(), os.Getpid())})
	if h.lazyBPF.err == nil {
		t.Skip("nothing was tried")
	}
	h.source = BPF
	s := tables.NewSession(context.Background())
	defer s.Close()
	err := tables.Run(s.Context(), table, tables.NewQuery(s, table.Schema(), tables.Request{}), func(tables.Row) bool { return true })
	if !errors.Is(err, tables.ErrUnavailable) || !strings.Contains(err.Error(), `source "bpf"`) {
		t.Errorf("forced: %v", err)
	}
}

// TestKernelBPFHost loads nothing for who asks nothing, and leaves nothing.
func TestKernelBPFHost(t *testing.T) {
	before := descriptorsOf(t)
	h := newHost(t, "/proc", BPF)
	table := must(t)(h.ProcessOpenSockets())
	ask(t, table, "pid", where(table, "pid", tables.OpEq, -7))
	if h.lazyBPF.loaded != nil {
		t.Error("loaded for a process that cannot be")
	}
	ask(t, table, "pid")
	first := h.lazyBPF.loaded
	ask(t, table, "pid state", where(table, "family", tables.OpEq, 2))
	if first == nil || h.lazyBPF.loaded != first {
		t.Errorf("loaded %p, then %p", first, h.lazyBPF.loaded)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	if after := descriptorsOf(t); after > before+1 { // newHost keeps the procfs
		t.Errorf("%d descriptors, were %d", after, before)
	}
}

func descriptorsOf(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// TestKernelBPFSession has a session stream once, and from then on answer from
// one snapshot; look-ups of single processes come before that.
func TestKernelBPFSession(t *testing.T) {
	h := newHost(t, "/proc", BPF)
	ns := kerneltest.NewNamespace(t)
	holder := kerneltest.Hold(t, ns, ns.Listen(t, "127.0.0.1:0"), ns.UDP(t, "127.0.0.1:0"))

	s := tables.NewSession(context.Background())
	defer s.Close()
	collector, err := h.collector(context.Background(), s)
	if err != nil {
		t.Fatal(err)
	}
	table, ports := must(t)(h.ProcessOpenSockets()), must(t)(h.ListeningPorts())
	for i, step := range []struct {
		table    tables.Table
		where    []tables.Constraint
		snapshot bool // whether there is one afterwards
		rows     int  // 0 for any number
	}{
		{table, []tables.Constraint{where(table, "pid", tables.OpEq, holder.PID)}, false, 2},
		{ports, []tables.Constraint{where(ports, "pid", tables.OpEq, holder.PID)}, false, 2},
		{table, nil, false, 0},
		{table, []tables.Constraint{where(table, "net_namespace", tables.OpEq, ns.Inode), where(table, "family", tables.OpEq, 2)}, true, 3},
		{ports, nil, true, 0},
		{table, []tables.Constraint{where(table, "pid", tables.OpEq, holder.PID)}, true, 2},
		{table, []tables.Constraint{where(table, "pid", tables.OpEq, holder.PID), where(table, "protocol", tables.OpEq, 17)}, true, 1},
	} {
		rows := askIn(t, s, step.table, "pid", step.where...)
		if (collector.snapshot != nil) != step.snapshot {
			t.Errorf("step %d: a snapshot: %v", i, !step.snapshot)
		}
		// The test holds both sockets, too.
		if step.rows != 0 && len(rows) != step.rows && step.where[0].Column == 0 {
			t.Errorf("step %d: %d rows, want %d", i, len(rows), step.rows)
		}
	}
	first := collector.snapshot
	askIn(t, s, table, "pid state")
	askIn(t, s, ports, "port")
	if collector.snapshot != first {
		t.Error("everything was collected once more")
	}
}

// TestKernelBPFLookups has so many single look-ups that a snapshot pays.
func TestKernelBPFLookups(t *testing.T) {
	h := newHost(t, "/proc", BPF)
	table := must(t)(h.ProcessOpenSockets())
	s := tables.NewSession(context.Background())
	defer s.Close()
	c, err := h.collector(context.Background(), s)
	if err != nil {
		t.Fatal(err)
	}
	client, _ := kerneltest.NewNamespace(t).UnixPair(t, unix.SOCK_STREAM)
	mine := where(table, "pid", tables.OpEq, os.Getpid())
	want := askIn(t, s, table, "socket fd", mine)
	if !slices.Contains(want, fmt.Sprintf("%d|%d", client.Inode(), client.FD)) {
		t.Fatalf("own sockets %q", want)
	}
	for n := 0; c.snapshot == nil; n++ {
		if n > 100_000 {
			t.Fatal("no snapshot after 100,000 look-ups")
		}
		if got := askIn(t, s, table, "socket fd", mine); !slices.Equal(got, want) {
			t.Fatalf("look-up %d: %q, want %q", n, got, want)
		}
	}
	if n, err := h.proc.FilesInUse(); err != nil || c.lookups*10 < int(n) {
		t.Errorf("a snapshot after look-ups worth %d of %d files, error %v", c.lookups, n, err)
	}
}

// TestKernelBPFJoin joins both ways round, and asks by a subquery.
func TestKernelBPFJoin(t *testing.T) {
	ns := kerneltest.NewNamespace(t)
	for range 5 {
		kerneltest.Hold(t, ns, ns.Listen(t, "127.0.0.1:0"), ns.UDP(t, "127.0.0.1:0"))
	}
	c := connect(t, newHost(t, "/proc", BPF))
	space := fmt.Sprintf("net_namespace = '%d' and family = 2 and pid <> %d", ns.Inode, os.Getpid())
	for _, sql := range []string{
		"select count(*), count(distinct p.pid) from processes p cross join process_open_sockets s on s.pid = p.pid where " + "s." + strings.ReplaceAll(space, "and ", "and s."),
		"select count(*), count(distinct p.pid) from process_open_sockets s cross join processes p using (pid) where " + space,
		"select count(*), count(distinct pid) from process_open_sockets where pid in (select pid from processes) and " + space,
		"select count(*), count(distinct s.pid) from (select * from process_open_sockets) s join processes using (pid) where " + space,
		"select count(*), count(distinct pid) from socket_states join processes using (pid) where " + space,
		"select count(*), count(distinct l.pid) from listening_ports l join processes using (pid) where " + space,
	} {
		if got := query(t, c, sql); len(got) != 1 || got[0] != "10|5" {
			t.Errorf("%s: %q", sql, got)
		}
	}
}

// TestKernelBPFLimit stops early, and gives what there is if that is less.
func TestKernelBPFLimit(t *testing.T) {
	ns := kerneltest.NewNamespace(t)
	kerneltest.Hold(t, ns, ns.Listen(t, "127.0.0.1:0"))
	ns.InFlight(t, ns.UDP(t, "127.0.0.1:0"))
	c := connect(t, newHost(t, "/proc", BPF))
	if got := query(t, c, "select pid from process_open_sockets limit 3"); len(got) != 3 {
		t.Errorf("limit 3: %q", got)
	}
	sql := fmt.Sprintf("select pid, family from process_open_sockets where net_namespace = '%d' and protocol = 17 limit 100", ns.Inode)
	if got := query(t, c, sql); !slices.Contains(got, "-1|2") {
		t.Errorf("of a namespace: %q", got)
	}
}

// TestKernelBPFAccount has a scan say what it did.
func TestKernelBPFAccount(t *testing.T) {
	ns := kerneltest.NewNamespace(t)
	kerneltest.Hold(t, ns, ns.Listen(t, "127.0.0.1:0"))
	table := must(t)(newHost(t, "/proc", BPF).ProcessOpenSockets())
	s := tables.NewSession(context.Background())
	defer s.Close()
	space := in(table, ns)
	for _, step := range []struct {
		where []tables.Constraint
		want  tables.Account
	}{
		{[]tables.Constraint{where(table, "pid", tables.OpEq, os.Getpid())}, tables.Account{Source: "bpf", Pushed: []string{"pid"}}},
		{[]tables.Constraint{space, where(table, "state", tables.OpEq, "LISTEN")},
			tables.Account{Source: "bpf+netlink", Pushed: []string{"state", "net_namespace"}, Namespaces: 1}},
		{[]tables.Constraint{space, where(table, "family", tables.OpEq, 2), where(table, "state", tables.OpEq, "LISTEN")},
			tables.Account{Source: "bpf+netlink", Pushed: []string{"family", "state", "net_namespace"}, Namespaces: 1, Snapshot: true}},
	} {
		var got tables.Account
		q := tables.NewQuery(s, table.Schema(), tables.Request{Used: tables.AllUsed, Constraints: step.where})
		q.OnAccount(func(a tables.Account) { got = a })
		if err := tables.Run(s.Context(), table, q, func(tables.Row) bool { return true }); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(step.want, got); diff != "" {
			t.Errorf("account (-want +got):\n%s", diff)
		}
	}
}

// TestKernelBPFChurn scans while processes end and sockets come and go: no scan
// fails, and what stays is always there, once.
func TestKernelBPFChurn(t *testing.T) {
	ns := kerneltest.NewNamespace(t)
	stays := []*kerneltest.Sock{ns.Listen(t, "127.0.0.1:0"), ns.UDP(t, "127.0.0.1:0")}
	holder := kerneltest.Hold(t, ns, stays...)
	flying := ns.UDP(t, "127.0.0.1:0")
	inode := flying.Inode()
	ns.InFlight(t, flying)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
			}
			for range 50 {
				pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
				if err == nil {
					unix.Close(pair[0])
					unix.Close(pair[1])
				}
			}
			cmd := exec.Command("/proc/self/exe", "-test.run=^$")
			if cmd.Start() == nil {
				cmd.Process.Kill()
				cmd.Wait()
			}
		}
	}()
	defer func() { close(stop); <-done }()
	h := newHost(t, "/proc", BPF)
	states := must(t)(h.SocketStates())
	space := in(states, ns)
	want := []string{fmt.Sprintf("-1|-1|%d|17", inode)}
	for _, pid := range []int{os.Getpid(), holder.PID} {
		for i, sock := range stays {
			want = append(want, fmt.Sprintf("%d|%d|%d|%d", pid, pid, sock.Inode(), []int{6, 17}[i]))
		}
	}
	for range 30 {
		got, warnings := ask(t, states, "pid tid socket protocol", space, where(states, "family", tables.OpEq, 2))
		// A child has our descriptors until it has begun its own program.
		got = slices.DeleteFunc(got, func(r string) bool {
			pid, _, _ := strings.Cut(r, "|")
			return !slices.Contains([]string{"-1", fmt.Sprint(os.Getpid()), fmt.Sprint(holder.PID)}, pid)
		})
		wantRows(t, got, want)
		for _, w := range warnings {
			t.Errorf("warning %v", w)
		}
		rows, _ := ask(t, states, "pid fd socket family local_port")
		for _, r := range rows {
			if strings.HasPrefix(r, "-1|") != strings.HasPrefix(r, "-1|-1|") {
				t.Errorf("half a holder: %s", r)
			}
		}
	}
	if threads := kerneltest.ForeignThreads(t); threads != nil {
		t.Errorf("threads were left in other namespaces: %v", threads)
	}
}

// TestKernelBPFLone has BPF find a namespace that only a socket of another
// one's process keeps, whatever the question leaves out.
func TestKernelBPFLone(t *testing.T) {
	lone := kerneltest.NewNamespace(t)
	kerneltest.Hold(t, nil, lone.Listen(t, "127.0.0.1:0"))
	flying := lone.UDP(t, "127.0.0.1:0")
	inode := flying.Inode()
	lone.InFlight(t, flying)
	hosts := map[Source]*Host{Netlink: newHost(t, "/proc", Netlink), BPF: newHost(t, "/proc", BPF)}
	for _, family := range []int{2, 16} {
		rows := map[Source][]string{}
		for source, h := range hosts {
			for _, table := range []tables.Table{must(t)(h.ProcessOpenSockets()), must(t)(h.SocketStates())} {
				for _, space := range [][]tables.Constraint{nil, {in(table, lone)}} {
					got, warnings := ask(t, table, "net_namespace family protocol socket", append(space,
						where(table, "pid", tables.OpEq, -1), where(table, "family", tables.OpEq, family))...)
					got = slices.DeleteFunc(got, func(r string) bool { return !strings.HasPrefix(r, fmt.Sprintf("%d|", lone.Inode)) })
					if len(got) == 0 {
						t.Errorf("%s, %s, family %d: nothing; warnings %v", source, table.Schema().Name, family, warnings)
					}
					if rows[source] == nil {
						rows[source] = got
					}
					wantRows(t, got, rows[source])
				}
			}
		}
		wantRows(t, rows[BPF], rows[Netlink])
		if want := fmt.Sprintf("%d|2|17|%d", lone.Inode, inode); family == 2 && !slices.Contains(rows[BPF], want) {
			t.Errorf("%s is not among %q", want, rows[BPF])
		}
	}
	if threads := kerneltest.ForeignThreads(t); threads != nil {
		t.Errorf("threads were left in other namespaces: %v", threads)
	}
}

// TestKernelHelpers has every source show another process's connection to
// sock_diag, be its port our number, and none of our own.
func TestKernelHelpers(t *testing.T) {
	ns := kerneltest.NewNamespace(t)
	sock := ns.Netlink(t, unix.NETLINK_SOCK_DIAG)
	holder := kerneltest.Hold(t, ns, sock) // we hold it, too
	for _, source := range []Source{Procfs, Netlink, BPF} {
		t.Run(string(source), func(t *testing.T) {
			h := newHost(t, "/proc", source)
			for _, table := range []tables.Table{must(t)(h.ProcessOpenSockets()), must(t)(h.SocketStates())} {
				got, _ := ask(t, table, "pid socket", in(table, ns), where(table, "family", tables.OpEq, 16), where(table, "protocol", tables.OpEq, 4))
				got = slices.DeleteFunc(got, func(r string) bool { return strings.HasPrefix(r, "-1|") }) // the kernel's
				wantRows(t, got, []string{fmt.Sprintf("%d|%d", holder.PID, sock.Inode())})
			}
		})
	}
}

package sockets

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"sockql/engine"
	"sockql/fixtures"
	"sockql/tables"
	"sockql/tables/internal/procfs"
	"sockql/tables/processes"
)

// An opened counts what is opened below the root of a tree.
type opened struct {
	mu    sync.Mutex
	paths map[string]int
}

func (o *opened) open(path string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.paths == nil {
		o.paths = map[string]int{}
	}
	o.paths[path]++
	return nil
}

// matching returns how often paths that end so were opened.
func (o *opened) matching(suffix string) map[string]int {
	o.mu.Lock()
	defer o.mu.Unlock()
	m := maps.Clone(o.paths)
	maps.DeleteFunc(m, func(path string, _ int) bool { return !strings.HasSuffix(path, suffix) })
	return m
}

func (o *opened) reset() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.paths = nil
}

const (
	manySpaces    = 50
	manyProcesses = 250
	firstPID      = 1000
	header        = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
)

// manyNamespaces makes a tree of 250 processes in 50 namespaces. Each process
// holds a listener of its own and an established socket that the first process
// of its namespace holds too.
func manyNamespaces(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	write := func(path, content string) {
		t.Helper()
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	link := func(path, target string) {
		t.Helper()
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, path); err != nil {
			t.Fatal(err)
		}
	}
	var tcp [manySpaces]strings.Builder
	for i := range manyProcesses {
		pid, ns := firstPID+i, i%manySpaces
		write(fmt.Sprintf("%d/stat", pid), fmt.Sprintf("%d (p) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 5 4096 1 0\n", pid))
		write(fmt.Sprintf("%d/status", pid), fmt.Sprintf("Name:\tp\nTgid:\t%d\nPid:\t%d\n", pid, pid))
		link(fmt.Sprintf("%d/ns/net", pid), fmt.Sprintf("net:[%d]", 4026530000+ns))
		link(fmt.Sprintf("%d/fd/3", pid), fmt.Sprintf("socket:[%d]", 10000+i))
		link(fmt.Sprintf("%d/fd/4", pid), fmt.Sprintf("socket:[%d]", 20000+ns))
		if i >= manySpaces {
			link(fmt.Sprintf("%d/net", pid), fmt.Sprintf("../%d/net", firstPID+ns))
		} else {
			fmt.Fprintf(&tcp[ns], "%d: 0100000A:0016 0200000A:1000 01 00000000:00000000 00:00000000 00000000 0 0 %d 1 0 20 4 30 10 -1\n", ns, 20000+ns)
		}
		fmt.Fprintf(&tcp[ns], "%d: 00000000:%04X 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 %d 1 0 100 0 0 10 0\n", i, 1024+i, 10000+i)
	}
	for ns := range tcp {
		write(fmt.Sprintf("%d/net/tcp", firstPID+ns), header+tcp[ns].String())
		for _, name := range []string{"tcp6", "udp", "unix"} {
			write(fmt.Sprintf("%d/net/%s", firstPID+ns, name), header)
		}
	}
	write("stat", "btime 1795340000\n")
	return root
}

// connect opens a connection to an engine with a host's tables.
func connect(t testing.TB, h *Host) *engine.Conn {
	t.Helper()
	e, err := engine.New(engine.Config{Tables: []tables.Table{
		must(t)(h.ProcessOpenSockets()), must(t)(h.ListeningPorts()), must(t)(h.SocketStates()),
		must(t)(processes.Processes(h.proc)),
	}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := e.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// query returns the rows of statements, each with its cells joined by "|".
func query(t testing.TB, c *engine.Conn, sql string) []string {
	t.Helper()
	result, err := c.Query(context.Background(), sql)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	var rows []string
	for _, r := range result.Rows {
		cells := make([]string, len(r))
		for i, v := range r {
			if cells[i] = v.String(); v.IsNull() {
				cells[i] = "NULL"
			}
		}
		rows = append(rows, strings.Join(cells, "|"))
	}
	return rows
}

// TestReadOnce is the promise that everything is read once a session, whatever
// a statement asks for.
func TestReadOnce(t *testing.T) {
	var o opened
	h := newHost(t, manyNamespaces(t), Auto, procfs.OnOpen(o.open))
	c := connect(t, h)
	var pids []string
	for i := range 200 {
		pids = append(pids, fmt.Sprint(firstPID+i))
	}
	in := "(" + strings.Join(pids, ",") + ")"
	for _, test := range []struct {
		name, sql string
		rows      string // the first cell of the first row
		tables    int    // descriptor tables read
		spaces    int    // namespaces whose list of TCP sockets is read
	}{
		{"all", "select count(*) from process_open_sockets", "500", manyProcesses, manySpaces},
		{"200 values", "select count(*) from process_open_sockets where pid in " + in, "400", 200, manySpaces},
		{"200 values of a subselect", "select count(*) from process_open_sockets where pid in (select pid from processes where pid in " + in + ")", "400", 200, manySpaces},
		{"200 values and -1", "select count(*) from process_open_sockets where pid in (-1," + in[1:], "400", manyProcesses, manySpaces},
		{"one pid", "select count(*) from process_open_sockets where pid = 1003", "2", 1, 1},
		{"self-join", "select count(*) from process_open_sockets a join process_open_sockets b on a.socket = b.socket and a.pid <> b.pid", "1000", manyProcesses, manySpaces},
		{"self-join with pid inside", "select count(*) from process_open_sockets a join process_open_sockets b on a.pid = b.pid", "1000", manyProcesses, manySpaces},
		{"join with pid inside", "select count(*) from processes p cross join process_open_sockets s on s.pid = p.pid", "500", manyProcesses, manySpaces},
		{"join of different tables", "select count(*) from listening_ports l join process_open_sockets s using (pid) join socket_states t using (pid)", "1000", manyProcesses, manySpaces},
		{"two statements", "select count(*) from process_open_sockets where pid = 1003; select count(*) from socket_states; select count(*) from listening_ports where pid = 1004", "1", manyProcesses, manySpaces},
	} {
		t.Run(test.name, func(t *testing.T) {
			o.reset()
			got := query(t, c, test.sql)
			if len(got) != 1 || got[0] != test.rows {
				t.Errorf("result %q, want %s", got, test.rows)
			}
			lists, tables := o.matching("/net/tcp"), o.matching("/fd")
			if len(lists) != test.spaces {
				t.Errorf("lists of %d namespaces were read, want %d", len(lists), test.spaces)
			}
			if len(tables) != test.tables {
				t.Errorf("%d descriptor tables were read, want %d", len(tables), test.tables)
			}
			for _, opened := range []map[string]int{lists, tables, o.matching("/net/unix")} {
				for path, n := range opened {
					if n != 1 {
						t.Errorf("%s was read %d times", path, n)
					}
				}
			}
		})
	}
}

// TestNothingIsOpened asks for processes that cannot be.
func TestNothingIsOpened(t *testing.T) {
	var o opened
	h := newHost(t, fixtures.Unpack(t, "kinds"), Auto, procfs.OnOpen(o.open))
	c := connect(t, h)
	for _, value := range []string{"'abc'", "'../1'", "'400/../401'", "-2", "-9223372036854775808", "0", "NULL", "1e20", "4294968299", "1.5", "''", "x'31'"} {
		for _, table := range []string{"process_open_sockets", "listening_ports", "socket_states", "processes"} {
			o.reset()
			if got := query(t, c, "select * from "+table+" where pid = "+value); len(got) != 0 {
				t.Errorf("%s: pid = %s gave %q", table, value, got)
			}
			if opened := o.matching(""); len(opened) != 0 {
				t.Errorf("%s: pid = %s opened %v", table, value, slices.Sorted(maps.Keys(opened)))
			}
		}
	}
}

// TestOwnerless asks for the sockets without a holder, alone and among others.
func TestOwnerless(t *testing.T) {
	h := fixture(t, "bash")
	c := connect(t, h)
	all := query(t, c, "select pid, fd, socket, pid_reason from process_open_sockets")
	unowned := query(t, c, "select pid, fd, socket, pid_reason from process_open_sockets where pid = -1")
	if len(unowned) != 8 {
		t.Errorf("%d sockets without a holder, want 8: %q", len(unowned), unowned)
	}
	for _, r := range unowned {
		if !strings.HasPrefix(r, "-1|-1|") || !strings.HasSuffix(r, "|no owner") {
			t.Errorf("row %q", r)
		}
	}
	var want []string
	for _, r := range all {
		if strings.HasPrefix(r, "-1|") || strings.HasPrefix(r, "1|") {
			want = append(want, r)
		}
	}
	if got := query(t, c, "select pid, fd, socket, pid_reason from process_open_sockets where pid in (1, -1, -7, 'abc')"); !slices.Equal(got, want) {
		t.Errorf("pid in (1, -1, …):\n%q, want\n%q", got, want)
	}
	if got := query(t, c, "select pid, fd, socket, pid_reason from process_open_sockets where pid < 1"); !slices.Equal(got, unowned) {
		t.Errorf("pid < 1: %q, want %q", got, unowned)
	}
}

// TestDistinctNeedsNoDescriptors skips the walk only where nobody can see how
// many rows a socket gives.
func TestDistinctNeedsNoDescriptors(t *testing.T) {
	var o opened
	h := newHost(t, manyNamespaces(t), Auto, procfs.OnOpen(o.open))
	c := connect(t, h)
	for _, test := range []struct {
		sql    string
		rows   int
		walked bool
	}{
		{"select distinct local_port from process_open_sockets where state = 'LISTEN'", manyProcesses, false},
		{"select distinct socket from socket_states where family = 2", manyProcesses + manySpaces, false},
		{"select distinct net_namespace from listening_ports", manySpaces, false},
		// A socket in no list would show as a row of NULLs.
		{"select distinct state from process_open_sockets", 2, true},
		{"select distinct pid from process_open_sockets where state = 'LISTEN'", manyProcesses, true},
		{"select distinct state, fd from process_open_sockets where family = 2", 2, true},
		{"select distinct state, pid_reason from process_open_sockets where family = 2", 2, true},
		{"select distinct state from process_open_sockets where family = 2 and pid > 0", 2, true},
		{"select state, count(*) from process_open_sockets where family = 2 group by state", 2, true},
		{"select count(*) from process_open_sockets where family = 2", 1, true},
	} {
		o.reset()
		if got := query(t, c, test.sql); len(got) != test.rows {
			t.Errorf("%s: %d rows, want %d", test.sql, len(got), test.rows)
		}
		if walked := len(o.matching("/fd")) > 0; walked != test.walked {
			t.Errorf("%s: descriptors read: %v, want %v", test.sql, walked, test.walked)
		}
	}
}

// TestKindsAreNarrowed reads only the lists that can matter.
func TestKindsAreNarrowed(t *testing.T) {
	var o opened
	h := newHost(t, fixtures.Unpack(t, "kinds"), Auto, procfs.OnOpen(o.open))
	c := connect(t, h)
	for _, test := range []struct {
		sql   string
		lists string
	}{
		{"select 1 from process_open_sockets where state = 'LISTEN'", "tcp tcp6"},
		{"select 1 from process_open_sockets where state = 'NONE'", "packet"},
		{"select 1 from process_open_sockets where family = 2 and protocol = 6", "tcp"},
		{"select 1 from process_open_sockets where protocol in (17, 255)", "netlink packet raw raw6 udp udp6"},
		{"select 1 from process_open_sockets where family = 1", "unix"},
		{"select 1 from process_open_sockets where local_port = 1030", "icmp icmp6 raw raw6 tcp tcp6 udp udp6 udplite udplite6"},
		{"select 1 from process_open_sockets where local_address = '10.0.0.1' and family = 2", "icmp icmp6 raw tcp udp udplite"},
		{"select 1 from listening_ports where family <> 1", "icmp icmp6 packet raw raw6 tcp tcp6 udp udp6 udplite udplite6 unix"},
		{"select 1 from listening_ports where address = '::'", "icmp icmp6 raw raw6 tcp tcp6 udp udp6 udplite udplite6"},
		{"select 1 from socket_states where state = 'UNCONN' and type = 2", "icmp icmp6 netlink udp udp6 udplite udplite6 unix"},
		{"select 1 from socket_states where state_code = 10 and protocol = 6", "tcp tcp6"},
		{"select 1 from socket_states where state = 'LISTEN' and family = 10", "tcp6"},
	} {
		o.reset()
		query(t, c, test.sql)
		lists := map[string]bool{}
		for path := range o.matching("") {
			if dir, name := filepath.Split(path); strings.HasSuffix(dir, "/net/") {
				lists[name] = true
			}
		}
		if got := strings.Join(slices.Sorted(maps.Keys(lists)), " "); got != test.lists {
			t.Errorf("%s:\nread %s\nwant %s", test.sql, got, test.lists)
		}
	}
}

package record_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sockql/fixtures"
	"sockql/tables"
	"sockql/tables/builtin"
	"sockql/tables/internal/kerneltest"
)

func TestMain(m *testing.M) { kerneltest.Main(m) }

// A host is what the processes of a test's namespaces and their sockets look
// like from one source.
type host map[string]tables.Table

func open(t *testing.T, proc, source string) host {
	t.Helper()
	list, err := builtin.Tables(builtin.Config{Proc: proc, Source: source})
	if err != nil {
		t.Fatal(err)
	}
	h := host{}
	for _, table := range list {
		h[table.Schema().Name] = table
	}
	return h
}

// rows scans a table and returns all cells of the rows with one of the values
// in a column, in a fixed order, and the warnings.
func (h host) rows(t *testing.T, name, column string, values ...string) (rows []string, warnings []error) {
	t.Helper()
	s := tables.NewSession(context.Background())
	defer s.Close()
	schema := h[name].Schema()
	at := schema.Column(column)
	request := tables.Request{Used: tables.AllUsed}
	if column == "netns_inode" || column == "pid" && !slices.Contains(values, "-1") {
		// What other processes of a busy host hold must not count.
		c := tables.Constraint{Column: at, Op: tables.OpEq}
		for _, v := range values {
			c.Values = append(c.Values, tables.String(v))
		}
		request.Constraints = append(request.Constraints, c)
	}
	err := tables.Run(s.Context(), h[name], tables.NewQuery(s, schema, request), func(r tables.Row) bool {
		if !slices.Contains(values, r.Column(at).String()) {
			return true
		}
		var cells []string
		for i, c := range schema.Columns {
			v := r.Column(i)
			text := fmt.Sprintf("%s=%q", c.Name, v.String())
			if v.IsNull() {
				text = c.Name + "=NULL"
			}
			cells = append(cells, text)
		}
		rows = append(rows, strings.Join(cells, " "))
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(rows)
	return rows, s.TakeWarnings()
}

// A scene is a namespace with sockets of every kind and processes that hold
// them, one without a process, and one that only a mount keeps.
type scene struct {
	ns, lone, mounted *kerneltest.Namespace
	pids              []string
	addrs             []string // what a scrubbed recording must not show
	names             []string
}

func (s *scene) spaces() []string {
	return []string{fmt.Sprint(s.ns.Inode), fmt.Sprint(s.lone.Inode), fmt.Sprint(s.mounted.Inode)}
}

func newScene(t *testing.T) *scene {
	ns := kerneltest.NewNamespace(t)
	s := &scene{ns: ns, lone: kerneltest.NewNamespace(t), mounted: kerneltest.NewNamespace(t)}
	// Addresses that are not loopback ones, but lead nowhere else.
	s.addrs = []string{"10.77.31.5", "203.0.113.9", "2001:db8:77::5"}
	for _, a := range s.addrs {
		length := "/32"
		if strings.Contains(a, ":") {
			length = "/128"
		}
		arguments := []string{"addr", "add", a + length, "dev", "lo"}
		if length == "/128" {
			arguments = append(arguments, "nodad")
		}
		ns.Output(t, "ip", arguments...)
	}
	// The kernel routes to a new IPv6 address a moment later.
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(ns.Output(t, "ip", "-6", "route", "show", "table", "local"), "2001:db8:77::5"); {
		if time.Now().After(deadline) {
			t.Fatal("no route to an address of the namespace's own")
		}
	}
	var socks []*kerneltest.Sock
	keep := func(more ...*kerneltest.Sock) { socks = append(socks, more...) }
	for _, a := range append([]string{"127.0.0.1", "::1"}, s.addrs...) {
		address := netip.AddrPortFrom(netip.MustParseAddr(a), 0).String()
		listener := ns.Listen(t, address)
		client, server := ns.Pair(t, listener)
		server.Write("bytes that nobody reads")
		keep(listener, client, server, ns.UDP(t, address))
	}
	dual := ns.ListenDual(t)
	mapped, accepted := ns.Pair(t, dual)
	keep(dual, mapped, accepted, ns.Dial(t, dual), ns.BoundInactive(t, "10.77.31.5:0"))
	s.names = kerneltest.UnixNames(t)
	for _, name := range s.names {
		keep(ns.Unix(t, unix.SOCK_DGRAM, name))
	}
	stream := ns.Unix(t, unix.SOCK_STREAM, "\x00stream").Listen(3)
	client, server := ns.UnixConnection(t, stream)
	keep(stream, client, server, ns.Raw(t, unix.AF_INET, 89), ns.Raw(t, unix.AF_INET6, unix.IPPROTO_ICMPV6),
		ns.Ping(t, "127.0.0.1:77"), ns.Packet(t, unix.SOCK_RAW, unix.ETH_P_ARP), ns.Netlink(t, unix.NETLINK_ROUTE),
		ns.Socket(t, unix.AF_INET, unix.SOCK_STREAM, 0))
	first := kerneltest.Hold(t, ns, socks...)
	second := kerneltest.Hold(t, ns, socks[0], socks[1].Dup())
	thread := kerneltest.HoldWith(t, kerneltest.HoldOptions{Namespace: ns, OwnTable: true}, socks[2])
	// In its namespace no process lives.
	outside := kerneltest.Hold(t, nil, s.lone.Listen(t, "127.0.0.1:0"))
	mountPoint := filepath.Join(t.TempDir(), "mounted")
	if err := os.WriteFile(mountPoint, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	kerneltest.HoldWith(t, kerneltest.HoldOptions{Mounts: map[string]*kerneltest.Namespace{mountPoint: s.mounted}})
	gone, behind := ns.Pair(t, socks[0])
	gone.Close() // what closes first is in TIME_WAIT
	behind.Close()
	for _, h := range []*kerneltest.Holder{first, second, thread, outside} {
		s.pids = append(s.pids, fmt.Sprint(h.PID))
	}
	return s
}

// write records the host, with as many sockets as the test has made or more.
func write(t *testing.T, scrub bool, sockets int) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "recording")
	summary, err := builtin.Record(context.Background(), dir, scrub, builtin.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if summary.Processes < 2 || summary.Namespaces < 2 || summary.Sockets < sockets {
		t.Errorf("summary %+v", summary)
	}
	return dir
}

// moving are the cells that go on while nothing happens.
var moving = regexp.MustCompile(` (timer_expires_ms|elapsed_time|user_time|system_time|rto_ms|ato_ms|refcount|total_size|resident_size|disk_bytes_read|netlink_sockets|sockets)=\S+`)

func still(rows []string) []string {
	// Whoever else looks at the namespace has a sock_diag connection in it.
	rows = slices.DeleteFunc(slices.Clone(rows), func(r string) bool { return strings.Contains(r, ` family="16" protocol="4" `) })
	for i, r := range rows {
		rows[i] = moving.ReplaceAllString(r, "")
	}
	return rows
}

// TestReplay compares what is asked of a host with what is asked of its
// recording, cell by cell.
func TestReplay(t *testing.T) {
	kerneltest.RequireProgram(t, "ip")
	s := newScene(t)
	type question struct {
		table, column string
		values        []string
		want          []string
	}
	sources := []string{"auto", "netlink", "procfs"}
	asked := map[string][]question{}
	// What is in TIME_WAIT is gone after a minute: ask before recording.
	for _, source := range sources {
		live := open(t, "", source)
		questions := []question{
			{"process_open_sockets", "net_namespace", s.spaces(), nil},
			{"socket_states", "net_namespace", s.spaces(), nil},
			{"network_namespaces", "inode", s.spaces(), nil},
		}
		for name, table := range live {
			// Only files tell the counters of a namespace, by way of a process.
			if table.Schema().Column("netns_inode") >= 0 {
				questions = append(questions, question{name, "netns_inode", []string{fmt.Sprint(s.ns.Inode)}, nil})
			}
			if table.Schema().Column("pid") >= 0 {
				questions = append(questions, question{name, "pid", s.pids, nil})
			}
		}
		for i, q := range questions {
			questions[i].want, _ = live.rows(t, q.table, q.column, q.values...)
		}
		asked[source] = questions
	}
	dir := write(t, false, 20)
	for _, source := range sources {
		t.Run(source, func(t *testing.T) {
			replayed := open(t, dir, source)
			same := func(live, recorded string) bool { return live == recorded }
			if source == "auto" {
				same = sameButForBPF
			}
			total := 0
			for _, q := range asked[source] {
				got, warnings := replayed.rows(t, q.table, q.column, q.values...)
				want, got := still(q.want), still(got)
				for i, row := range want {
					if !slices.ContainsFunc(got, func(recorded string) bool { return same(row, recorded) }) {
						t.Errorf("%s by %s: missing %s", q.table, q.column, row)
					}
					if i > 0 && row == want[i-1] {
						t.Errorf("%s by %s: twice %s", q.table, q.column, row)
					}
				}
				for _, row := range got {
					if !slices.ContainsFunc(want, func(live string) bool { return same(live, row) }) {
						t.Errorf("%s by %s: additional %s", q.table, q.column, row)
					}
				}
				for _, w := range warnings {
					if !errors.Is(w, fs.ErrPermission) && !errors.Is(w, fs.ErrNotExist) && !errors.Is(w, tables.ErrUnavailable) {
						t.Errorf("%s by %s: warning %v", q.table, q.column, w)
					}
				}
				if q.table == "interface_addresses" && len(want) < len(s.addrs) {
					t.Errorf("%s has only %d rows", q.table, len(want))
				}
				total += len(want)
			}
			if total < 100 {
				t.Errorf("only %d rows were compared", total)
			}
		})
	}
	if threads := kerneltest.ForeignThreads(t); threads != nil {
		t.Errorf("threads were left in other namespaces: %v", threads)
	}
}

var cell = regexp.MustCompile(`(\w+)=(NULL|"(?:[^"\\]|\\.)*")`)

// sameButForBPF compares a row of the running kernel with a recorded one, but
// for what only one of BPF and sock_diag tells, and that BPF reads every table.
func sameButForBPF(live, recorded string) bool {
	if live == recorded {
		return true
	}
	a, b := cell.FindAllStringSubmatch(live, -1), cell.FindAllStringSubmatch(recorded, -1)
	return slices.EqualFunc(a, b, func(a, b []string) bool {
		return a[1] == b[1] && (a[2] == b[2] || a[2] == "NULL" || b[2] == "NULL" || a[1] == "pid_reason")
	})
}

// mountEnv tells the test binary that it runs as an ordinary user with
// CAP_SYS_ADMIN, and of which listener.
const mountEnv = "SOCKQL_RECORD_MOUNT"

// TestReplayMountedAsNobody records a namespace twice known: by a process that
// hides its number, and by a mount. Its sockets must not be there twice.
func TestReplayMountedAsNobody(t *testing.T) {
	if inode, child := os.LookupEnv(mountEnv); child {
		rows, _ := open(t, write(t, false, 1), "auto").rows(t, "process_open_sockets", "socket", inode)
		if len(rows) != 1 || !strings.Contains(rows[0], `net_namespace="0"`) {
			t.Errorf("got %q, want one row without a namespace", rows)
		}
		return
	}
	ns := kerneltest.NewNamespace(t)
	listener := ns.Listen(t, "127.0.0.1:0")
	kerneltest.Hold(t, ns, listener)
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o711); err != nil { // for the user to search
		t.Fatal(err)
	}
	mountPoint := filepath.Join(dir, "mounted")
	if err := os.WriteFile(mountPoint, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	holder := kerneltest.HoldWith(t, kerneltest.HoldOptions{Mounts: map[string]*kerneltest.Namespace{mountPoint: ns}})
	const nobody = 65534
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestReplayMountedAsNobody$", "-test.v")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", mountEnv, listener.Inode()))
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}, AmbientCaps: []uintptr{unix.CAP_SYS_ADMIN}}
	if out, err := holder.InMounts(t, cmd); err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestReplayNarrowed asks for parts of a recording, which hands out whole lists.
func TestReplayNarrowed(t *testing.T) {
	kerneltest.RequireProgram(t, "ip")
	s := newScene(t)
	recorded := open(t, write(t, false, 20), "auto")
	table := recorded["socket_states"]
	count := func(constraints ...tables.Constraint) (n int) {
		session := tables.NewSession(context.Background())
		defer session.Close()
		q := tables.NewQuery(session, table.Schema(), tables.Request{Used: 1, Constraints: append(constraints,
			tables.Constraint{Column: table.Schema().Column("net_namespace"), Op: tables.OpEq, Values: []tables.Value{tables.String(s.spaces()[0])}})})
		if err := tables.Run(session.Context(), table, q, func(tables.Row) bool { n++; return true }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	where := func(column string, value tables.Value) tables.Constraint {
		return tables.Constraint{Column: table.Schema().Column(column), Op: tables.OpEq, Values: []tables.Value{value}}
	}
	tcp := where("protocol", tables.Int(6))
	four, six := count(tcp, where("family", tables.Int(2))), count(tcp, where("family", tables.Int(10)))
	rows, _ := recorded.rows(t, "socket_states", "net_namespace", s.spaces()[0])
	all := strings.Join(rows, "\n")
	if want := strings.Count(all, `family="2" protocol="6"`); four < 10 || four != want {
		t.Errorf("%d sockets of TCP over IPv4, want %d", four, want)
	}
	if want := strings.Count(all, `family="10" protocol="6"`); six < 5 || six != want {
		t.Errorf("%d sockets of TCP over IPv6, want %d", six, want)
	}
	listening := count(tcp, where("state", tables.String("LISTEN")))
	if want := len(regexp.MustCompile(`protocol="6" [^\n]* state="LISTEN"`).FindAllString(all, -1)); listening < 6 || listening != want {
		t.Errorf("%d sockets listen, want %d", listening, want)
	}

	// A descriptor of somebody who is not asked for leads to the namespace.
	rows, _ = recorded.rows(t, "socket_states", "net_namespace", s.spaces()[1])
	want := strings.Count(strings.Join(rows, "\n"), `pid="-1" `)
	session := tables.NewSession(context.Background())
	defer session.Close()
	got := 0
	at := table.Schema().Column("net_namespace")
	q := tables.NewQuery(session, table.Schema(), tables.Request{Used: tables.AllUsed, Constraints: []tables.Constraint{where("pid", tables.Int(-1))}})
	if err := tables.Run(session.Context(), table, q, func(r tables.Row) bool {
		if r.Column(at).String() == s.spaces()[1] {
			got++
		}
		return true
	}); err != nil {
		t.Fatal(err)
	}
	if want == 0 || got != want {
		t.Errorf("%d sockets without a holder in a namespace without a process, want %d", got, want)
	}
}

// TestReplayDenied replays what its recorder could not read as such.
func TestReplayDenied(t *testing.T) {
	kerneltest.RequireProgram(t, "ip")
	s := newScene(t)
	dir := write(t, false, 20)
	denied := ""
	for _, pid := range s.pids {
		denied += fmt.Sprintf("%q\n%q\n", pid+"/fd", pid+"/ns")
	}
	if err := os.WriteFile(filepath.Join(dir, "recording/denied"), []byte(denied), 0o600); err != nil {
		t.Fatal(err)
	}
	got, warnings := open(t, dir, "auto").rows(t, "process_open_sockets", "pid_reason", "denied")
	if len(got) < 10 {
		t.Errorf("%d sockets lack their holders", len(got))
	}
	if len(warnings) == 0 || !slices.ContainsFunc(warnings, func(w error) bool { return errors.Is(w, fs.ErrPermission) }) {
		t.Errorf("warnings %v", warnings)
	}
}

// TestScrub looks for what was there in every file of a scrubbed recording, and
// holds its answers to those of the host.
func TestScrub(t *testing.T) {
	kerneltest.RequireProgram(t, "ip")
	s := newScene(t)
	sources := []string{"netlink", "procfs"}
	questions := []struct {
		table, column string
		values        []string
	}{{"socket_states", "net_namespace", s.spaces()}, {"listening_ports", "pid", s.pids}}
	ask := func() map[string][]string {
		answers := map[string][]string{}
		for _, source := range sources {
			live := open(t, "", source)
			for _, q := range questions {
				rows, _ := live.rows(t, q.table, q.column, q.values...)
				answers[source+" "+q.table] = still(rows)
			}
		}
		return answers
	}
	// Timers of connections that nobody serves fire now and then: what was there
	// before and after a recording was there while it was made.
	var dir string
	seen := ask()
	for try := 0; ; try++ {
		dir = write(t, true, 20)
		after := ask()
		quiet := maps.EqualFunc(seen, after, slices.Equal[[]string])
		seen = after
		if quiet {
			break
		}
		if try == 20 {
			t.Fatal("the connections never rest")
		}
	}

	secrets := map[string][]byte{
		"program":     []byte(filepath.Base(os.Args[0])),
		"temporary":   []byte(filepath.Base(filepath.Dir(s.names[0]))),
		"abstract":    []byte("abstract"),
		"environment": []byte("SOCKQL_KERNELTEST"),
		"variable":    []byte("GOMAXPROCS"),
		"mount":       []byte("sysfs /sys"),
	}
	for _, a := range s.addrs {
		addr := netip.MustParseAddr(a)
		raw := addr.AsSlice()
		if addr.Is6() && strings.HasPrefix(a, "2001:db8:") {
			raw = raw[:6] // replacements share the beginning 2001:db8
		}
		secrets[a] = raw
		secrets[a+" in text"] = []byte(wordHex(addr.AsSlice()))
		secrets[a+" as such"] = []byte(a)
	}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var content []byte
		switch d.Type() {
		case fs.ModeSymlink:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			content = []byte(target)
		case 0:
			if content, err = os.ReadFile(path); err != nil {
				return err
			}
		}
		for what, secret := range secrets {
			if bytes.Contains(content, secret) {
				t.Errorf("%s holds %s (%q)", strings.TrimPrefix(path, dir), what, secret)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}

	for _, source := range sources {
		scrubbed := open(t, dir, source)
		mapping := map[string]string{}
		for _, q := range questions {
			want := slices.Clone(seen[source+" "+q.table])
			got, warnings := scrubbed.rows(t, q.table, q.column, q.values...)
			for _, w := range warnings {
				if !errors.Is(w, fs.ErrPermission) && !errors.Is(w, fs.ErrNotExist) && !errors.Is(w, tables.ErrUnavailable) {
					t.Errorf("%s %s: warning %v", source, q.table, w)
				}
			}
			got = still(got)
			for i := range want {
				// A name without its newline is exact in text, too.
				want[i] = exactness.ReplaceAllString(want[i], "")
			}
			for i := range got {
				got[i] = exactness.ReplaceAllString(got[i], "")
			}
			compareScrubbed(t, source+" "+q.table, want, got, mapping)
		}
		for _, a := range s.addrs {
			to := mapping[a]
			if to == "" || to == a || netip.MustParseAddr(to).Is4() != netip.MustParseAddr(a).Is4() ||
				netip.MustParseAddr(to).IsPrivate() != netip.MustParseAddr(a).IsPrivate() {
				t.Errorf("%s: %s became %q", source, a, to)
			}
		}
		for _, a := range []string{"127.0.0.1", "::1", "0.0.0.0", "::", "::ffff:127.0.0.1"} {
			if to := mapping[a]; to != a {
				t.Errorf("%s: %s became %q", source, a, to)
			}
		}
		processes, _ := scrubbed.rows(t, "processes", "pid", s.pids...)
		if len(processes) != len(s.pids) || !regexp.MustCompile(`name="x\d+" path="(/x\d+)+" cmdline="(/x\d+)+`).MatchString(processes[0]) {
			t.Errorf("%s: processes %q", source, processes)
		}
	}
}

// wordHex writes an address as /proc/net/tcp does on a little-endian host.
func wordHex(b []byte) string {
	var text strings.Builder
	for i := 0; i+4 <= len(b); i += 4 {
		fmt.Fprintf(&text, "%02X%02X%02X%02X", b[i+3], b[i+2], b[i+1], b[i])
	}
	return text.String()
}

var replaced = regexp.MustCompile(` (local_address|remote_address|address|path)=("(?:[^"\\]|\\.)*")`)

var exactness = regexp.MustCompile(` path_(bytes|abstract)=(NULL|"(?:[^"\\]|\\.)*")`)

// compareScrubbed matches rows by all that is not replaced and notes what
// became of the rest. What was equal must be equal and different different.
func compareScrubbed(t *testing.T, what string, want, got []string, mapping map[string]string) {
	t.Helper()
	if len(want) < 10 || len(want) != len(got) {
		t.Errorf("%s: %d rows became %d", what, len(want), len(got))
		return
	}
	without := func(rows []string) map[string][]string {
		m := map[string][]string{}
		for _, r := range rows {
			key := replaced.ReplaceAllString(r, "")
			m[key] = append(m[key], r)
		}
		return m
	}
	wanted := without(want)
	for key, rows := range without(got) {
		if len(wanted[key]) != len(rows) {
			t.Errorf("%s: %d rows %s, want %d", what, len(rows), key, len(wanted[key]))
			continue
		}
		if len(rows) > 1 {
			continue // which became which cannot be told
		}
		was, is := replaced.FindAllStringSubmatch(wanted[key][0], -1), replaced.FindAllStringSubmatch(rows[0], -1)
		for i := range was {
			var from, to string
			if json.Unmarshal([]byte(was[i][2]), &from) != nil || json.Unmarshal([]byte(is[i][2]), &to) != nil {
				continue // not UTF-8
			}
			if known, ok := mapping[from]; ok && known != to {
				t.Errorf("%s: %q became %q, and %q", what, from, known, to)
			}
			mapping[from] = to
		}
	}
	from := map[string]string{}
	for was, is := range mapping {
		if other, ok := from[is]; ok {
			t.Errorf("%s: %q and %q became %q", what, was, other, is)
		}
		from[is] = was
	}
}

func TestRefuses(t *testing.T) {
	if _, err := builtin.Record(context.Background(), t.TempDir(), false, builtin.Config{Proc: fixtures.Unpack(t, "bash")}); err == nil || !strings.Contains(err.Error(), "copy it instead") {
		t.Errorf("a recorded tree: %v", err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := builtin.Record(context.Background(), dir, false, builtin.Config{}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a directory with something in it: %v", err)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	cause := errors.New("enough")
	cancel(cause)
	dir = filepath.Join(t.TempDir(), "new")
	if _, err := builtin.Record(ctx, dir, false, builtin.Config{}); !errors.Is(err, cause) {
		t.Errorf("a context that has ended: %v", err)
	}
	if _, err := builtin.Tables(builtin.Config{Proc: dir}); err == nil || !strings.Contains(err.Error(), "was not finished") {
		t.Errorf("an unfinished recording: %v", err)
	}
}

// TestDamaged replays recordings with damaged files: what is left is shown, and
// a warning names the place.
func TestDamaged(t *testing.T) {
	kerneltest.RequireProgram(t, "ip")
	s := newScene(t)
	dir := write(t, false, 20)
	answers := filepath.Join(dir, "recording/netns", s.spaces()[0], "answers")
	b, err := os.ReadFile(answers)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(answers, b, 0o600); err != nil {
		t.Fatal(err)
	}
	got, warnings := open(t, dir, "netlink").rows(t, "socket_states", "net_namespace", s.spaces()...)
	damaged := regexp.MustCompile(`/answers": offset \d+: a (wrong checksum|record of)`)
	if !slices.ContainsFunc(warnings, func(w error) bool { return damaged.MatchString(w.Error()) }) {
		t.Errorf("warnings %v", warnings)
	}
	if len(got) == 0 {
		t.Error("a damaged file of one namespace cost the other one, too")
	}
	// Text takes the place of what is damaged.
	got, _ = open(t, dir, "auto").rows(t, "socket_states", "net_namespace", s.spaces()[0])
	if len(got) < 20 {
		t.Errorf("auto shows %d rows", len(got))
	}
}

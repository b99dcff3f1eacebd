package daemon

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"sockql/engine"
	"sockql/engine/schedule"
	"sockql/engine/sqlfunc"
	"sockql/fixtures"
	"sockql/tables"
	"sockql/tables/builtin"
)

// TestMain lets the test binary be the command: the watchdog starts it again.
func TestMain(m *testing.M) {
	if len(os.Args) < 2 || os.Args[1] != "daemon" {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(Main(ctx, Config{
		Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv, OsqueryVersion: "5.23.0",
		Engine: func(from Sources, further []tables.Table, limits engine.Limits) (*engine.Engine, error) {
			all, err := builtin.Tables(builtin.Config{Proc: from.Proc, Source: from.Source})
			if err != nil {
				return nil, err
			}
			all = slices.DeleteFunc(append(all, further...), func(t tables.Table) bool { return !from.Offered(t.Schema().Name) })
			return engine.New(engine.Config{Tables: all, Functions: sqlfunc.All(sqlfunc.Config{}), Collations: sqlfunc.Collations(), Limits: limits})
		},
	}, os.Args[2:]))
}

// A site is a directory with all that a daemon reads and writes.
type site struct {
	t   *testing.T
	dir string
}

func newSite(t *testing.T, config string) *site {
	h := &site{t: t, dir: t.TempDir()}
	h.write("osquery.conf", config)
	return h
}

func (h *site) path(name string) string { return filepath.Join(h.dir, name) }

// write makes a file appear whole: a daemon may read it at any moment.
func (h *site) write(name, text string) {
	h.t.Helper()
	if err := os.WriteFile(h.path(name+".new"), []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
	if err := os.Rename(h.path(name+".new"), h.path(name)); err != nil {
		h.t.Fatal(err)
	}
}

func (h *site) read(name string) string {
	text, _ := os.ReadFile(h.path(name))
	return string(text)
}

func (h *site) command(args ...string) *exec.Cmd {
	args = append([]string{"daemon", "--config_path=" + h.path("osquery.conf"), "--database_path", h.path("state"),
		"--logger_path=" + h.path("log"), "--pidfile=" + h.path("pid")}, args...)
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "NOTIFY_SOCKET=") || strings.HasPrefix(v, "WATCHDOG_")
	})
	return cmd
}

// run runs a command to its end.
func (h *site) run(args ...string) (status int, stdout, stderr string) {
	h.t.Helper()
	var out, errs bytes.Buffer
	cmd := h.command(args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		h.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

const oneQuery = `{"schedule": {"q": {"query": "select 'v' as v", "interval": 3600}}}`

func TestOnce(t *testing.T) {
	h := newSite(t, oneQuery)
	for range 2 { // the second time nothing is due
		if status, _, stderr := h.run("--once", "--host_identifier=specified", "--specified_identifier", "h", "--nologger_numerics"); status != 0 {
			t.Fatalf("status is %d: %s", status, stderr)
		}
		got := h.read("log/osqueryd.results.log")
		if strings.Count(got, "\n") != 1 || !strings.HasPrefix(got, `{"name":"q","hostIdentifier":"h",`) || !strings.HasSuffix(got, `"columns":{"v":"v"},"action":"added"}`+"\n") {
			t.Errorf("results are %s", got)
		}
	}
	if _, err := os.Stat(h.path("pid")); err == nil {
		t.Error("the pidfile is left")
	}
	// Standard output has results and, in osquery's form, the status log.
	status, stdout, stderr := h.run("--once", "--ephemeral", "--logger_plugin=stdout", "--disable_watchdog")
	if status != 0 || !strings.Contains(stdout, `"columns":{"v":"v"}`) || stderr != "" {
		t.Errorf("status is %d, standard output %s, standard error %s", status, stdout, stderr)
	}
	if want := `(?m)^severity=0 location=scheduler\.go:\d+ message=Storing initial results for new scheduled query: q$`; !regexp.MustCompile(want).MatchString(stdout) {
		t.Errorf("standard output is %s, want %s", stdout, want)
	}
	if _, stdout, _ = h.run("--once", "--ephemeral", "--logger_plugin=stdout", "--logger_min_status=3"); strings.Contains(stdout, "severity") {
		t.Errorf("standard output is %s", stdout)
	}
	// What a logger does not take is not passed over.
	for state, want := range map[string]string{"--ephemeral": "1 lines are lost", "--database_path=" + h.path("other"): "1 lines, which a logger did not take, wait in the state"} {
		if err := os.MkdirAll(h.path("bad/osqueryd.results.log"), 0o755); err != nil {
			t.Fatal(err)
		}
		status, _, stderr := h.run("--once", state, "--logger_path="+h.path("bad"))
		if status != statusCatastrophic || !strings.Contains(stderr, want) || !strings.Contains(stderr, "is a directory") {
			t.Errorf("status is %d, standard error %s, want %s", status, stderr, want)
		}
	}
	if _, _, stderr = h.run("--once", "--ephemeral", "--nologger_stderr"); stderr != "" {
		t.Errorf("standard error is %s", stderr)
	}
}

// opens counts how often each of the paths is opened while f runs (inotify(7)).
func opens(t *testing.T, paths []string, f func()) map[string]int {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		t.Skip(err)
	}
	defer unix.Close(fd)
	watched := map[int32]string{}
	for _, path := range paths {
		wd, err := unix.InotifyAddWatch(fd, path, unix.IN_OPEN)
		if err != nil {
			t.Fatal(err)
		}
		watched[int32(wd)] = path
	}
	f()
	count := map[string]int{}
	buf := make([]byte, 1<<16)
	for {
		n, err := unix.Read(fd, buf)
		if err != nil || n <= 0 {
			return count
		}
		for b := buf[:n]; len(b) >= unix.SizeofInotifyEvent; {
			name := int(binary.NativeEndian.Uint32(b[12:]))
			// A directory also tells of what is opened in it, by name.
			if name == 0 {
				count[watched[int32(binary.NativeEndian.Uint32(b))]]++
			}
			b = b[unix.SizeofInotifyEvent+name:]
		}
	}
}

// Twenty queries of one moment read each list of sockets and each table of
// descriptors once, as one query does.
func TestCollectedOnce(t *testing.T) {
	root := fixtures.Unpack(t, "kinds")
	var paths []string
	for _, pattern := range []string{"*/net/tcp", "*/net/udp", "*/net/unix", "*/fd"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, found...)
	}
	var queries []string
	for i := range 20 {
		sql := []string{
			"select * from process_open_sockets", "select pid, port from listening_ports where port > %d", "select state, count(*) from socket_states group by state",
			"select * from process_open_sockets where family = 2 and local_port <> %d", "select * from listening_ports join process_open_sockets using (pid)",
		}[i%5]
		queries = append(queries, fmt.Sprintf(`"q%d": {"query": "%s", "interval": 60, "snapshot": true}`, i, strings.ReplaceAll(sql, "%d", strconv.Itoa(i))))
	}
	var counts [2]map[string]int
	for i, n := range []int{1, len(queries)} {
		h := newSite(t, `{"schedule": {`+strings.Join(queries[:n], ",")+`}}`)
		counts[i] = opens(t, paths, func() {
			status, stdout, stderr := h.run("--once", "--ephemeral", "--logger_plugin=stdout", "--proc="+root)
			if got := strings.Count(stdout, `{"snapshot":[{`); status != 0 || got != n {
				t.Errorf("status is %d, %d results of %d: %s%s", status, got, n, stdout, stderr)
			}
		})
	}
	if diff := cmp.Diff(counts[0], counts[1]); diff != "" || len(counts[0]) == 0 {
		t.Errorf("opened (-for one query +for twenty):\n%s", diff)
	}
	for path, n := range counts[1] {
		if n != 1 {
			t.Errorf("%s was read %d times", path, n)
		}
	}
}

func TestConfigurations(t *testing.T) {
	for name, tt := range map[string]struct {
		config string
		args   []string
		status int
		want   string
	}{
		"good":         {oneQuery, []string{"--config_check"}, 0, ""},
		"dump":         {oneQuery, []string{"--config_dump"}, 0, `osquery.conf": ` + oneQuery + "}\n"},
		"syntax":       {"{\n  \"a\": }", []string{"--config_check"}, 1, "osquery.conf:2:8: invalid character '}'"},
		"start":        {"{\n  \"a\": }", nil, 1, "osquery.conf:2:8: invalid character '}'"},
		"bad query":    {`{"schedule": {"x": {"query": "select * from nope"}}}`, []string{"--config_check"}, 1, `error: DIR/osquery.conf:1:15: query "x": no such table: nope`},
		"unknown key":  {`{"shedule": {}}`, []string{"--config_check"}, 0, `warning: DIR/osquery.conf:1:2: unknown key "shedule"`},
		"option":       {`{"options": {"logger_mode": "0600", "nope": 1, "schedule_epoch": "x", "tls_hostname": "h", "custom_x": 1}}`, []string{"--config_check"}, 0, "warning: cannot set unknown or invalid flag \"nope\"\nwarning: illegal value \"x\" for flag --schedule_epoch: parse error\nwarning: the option \"logger_mode\" is ignored; give it on the command line or in a flagfile\nwarning: the option \"tls_hostname\" has no effect here\n"},
		"unknown flag": {oneQuery, []string{"--shedule"}, 1, `unknown command line flag "shedule"`},
		"no value":     {oneQuery, []string{"--host_identifier"}, 1, "flag --host_identifier needs a value"},
		"bad value":    {oneQuery, []string{"--host_identifier=x"}, 1, `illegal value "x" for flag --host_identifier: not hostname`},
		"argument":     {oneQuery, []string{"x"}, 1, `unexpected argument "x"`},
		"missing":      {oneQuery, []string{"--config_path=/nonexistent/x"}, 1, "no such file"},
		"help":         {oneQuery, []string{"--help"}, 0, "schedule_splay_percent"},
		"flagfile":     {oneQuery, []string{"--flagfile=DIR/flags", "--config_check"}, 1, `DIR/flags": unknown command line flag "bad"`},
	} {
		t.Run(name, func(t *testing.T) {
			h := newSite(t, tt.config)
			h.write("flags", "# comment\n\n--verbose\n--bad=1\n")
			for i := range tt.args {
				tt.args[i] = strings.ReplaceAll(tt.args[i], "DIR", h.dir)
			}
			status, stdout, stderr := h.run(tt.args...)
			if got := stdout + stderr; status != tt.status || !strings.Contains(strings.ReplaceAll(got, h.dir, "DIR"), tt.want) {
				t.Errorf("status is %d, output %s; want %d, %s", status, got, tt.status, tt.want)
			}
		})
	}
}

// A manager listens where systemd would.
type manager struct {
	t    *testing.T
	conn *net.UnixConn
}

func newManager(t *testing.T, path string) *manager {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &manager{t: t, conn: conn}
}

// await reads messages until one contains the text, and returns it.
func (m *manager) await(text string) string {
	m.t.Helper()
	buf := make([]byte, 1000)
	m.conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	for {
		n, err := m.conn.Read(buf)
		if err != nil {
			m.t.Fatalf("no message has %q: %v", text, err)
		}
		if got := string(buf[:n]); strings.Contains(got, text) {
			return got
		}
	}
}

// start starts a daemon under a manager.
func (h *site) start(args ...string) (*exec.Cmd, *manager) {
	h.t.Helper()
	m := newManager(h.t, h.path("notify"))
	cmd := h.command(args...)
	cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+h.path("notify"), "WATCHDOG_USEC=1000000")
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		cmd.Process.Kill()
		if h.t.Failed() {
			h.t.Logf("the daemon wrote:\n%s", output.String())
		}
	})
	return cmd, m
}

func TestSignals(t *testing.T) {
	for _, args := range [][]string{{"--disable_watchdog"}, nil} {
		t.Run(fmt.Sprint(args), func(t *testing.T) {
			h := newSite(t, oneQuery)
			cmd, m := h.start(args...)
			m.await("READY=1\nSTATUS=1 queries")
			m.await("WATCHDOG=1")
			if got := h.read("pid"); got != strconv.Itoa(cmd.Process.Pid)+"\n" {
				t.Errorf("the pidfile has %q", got)
			}
			if status, _, stderr := h.run(); status != statusCatastrophic || !strings.Contains(stderr, "is running") {
				t.Errorf("a second daemon: status %d, %s", status, stderr)
			}
			if status, _, stderr := h.run("--pidfile=", "--disable_watchdog"); status != statusCatastrophic || !strings.Contains(stderr, "in use by another process") {
				t.Errorf("a second daemon without a pidfile: status %d, %s", status, stderr)
			}
			h.write("osquery.conf", `{"schedule": {"q": {"query": "select 1", "interval": 1}, "r": {"query": "select 1 as r", "interval": 1}}}`)
			cmd.Process.Signal(syscall.SIGHUP)
			if got := m.await("RELOADING=1"); !strings.Contains(got, "\nMONOTONIC_USEC=") {
				t.Errorf("message is %q", got)
			}
			m.await("STATUS=2 queries")
			m.await("WATCHDOG=1")
			h.write("osquery.conf", "{")
			cmd.Process.Signal(syscall.SIGHUP)
			m.await("STATUS=the configuration is broken; the old one goes on")
			cmd.Process.Signal(syscall.SIGTERM)
			m.await("STOPPING=1")
			if err := cmd.Wait(); err != nil {
				t.Errorf("SIGTERM: %v", err)
			}
			if got := h.read("log/osqueryd.results.log"); !strings.Contains(got, `"columns":{"r":"1"}`) {
				t.Errorf("results are %s", got)
			}
			if got := h.read("log/osqueryd.ERROR"); !strings.Contains(got, "The configuration is broken; the old one goes on: pack: parse: ") {
				t.Errorf("errors are %s", got)
			}
			if _, err := os.Stat(h.path("pid")); err == nil {
				t.Error("the pidfile is left")
			}
		})
	}
}

// A refresh takes what has changed, and says nothing of what has not.
func TestRefresh(t *testing.T) {
	h := newSite(t, "")
	h.write("osquery.conf", fmt.Sprintf(`{"packs": {"p": %q}}`, h.path("pack.conf")))
	pack := func(n int) string {
		return fmt.Sprintf(`{"queries": {"q": {"query": "select %d as n", "interval": 1}}}`, n)
	}
	h.write("pack.conf", pack(1))
	cmd, m := h.start("--disable_watchdog", "--config_refresh=1", "--config_accelerated_refresh=1")
	m.await("READY=1")
	for range 6 { // more than two refreshes
		m.await("WATCHDOG=1")
	}
	h.write("pack.conf", pack(2))
	m.await("RELOADING=1")
	m.await("STATUS=1 queries")
	text := h.read("osquery.conf")
	h.write("osquery.conf", "{")
	m.await("STATUS=the configuration is broken; the old one goes on")
	h.write("osquery.conf", text)
	m.await("STATUS=1 queries")
	m.await("WATCHDOG=1")
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
	log := h.read("log/osqueryd.INFO")
	for want, n := range map[string]int{"The configuration was read again": 1, "The configuration is as it was before it was broken": 1} {
		if got := strings.Count(log, want); got != n {
			t.Errorf("%d times %q in %s", got, want, log)
		}
	}
	if got := h.read("log/osqueryd.results.log"); strings.Count(got, `"action":"added"`) != 2 || strings.Count(got, `"action":"removed"`) != 1 {
		t.Errorf("results are %s", got)
	}
}

// workerOf finds the process that writes the status log.
func (h *site) workerOf() int {
	h.t.Helper()
	link, err := os.Readlink(h.path("log/osqueryd.INFO"))
	if err != nil {
		h.t.Fatal(err)
	}
	pid, err := strconv.Atoi(link[strings.LastIndexByte(link, '.')+1:])
	if err != nil {
		h.t.Fatal(err)
	}
	return pid
}

// A worker that takes too much is ended, which the next one logs with the query
// that ran.
func TestWatchdogRestarts(t *testing.T) {
	const endless = "with recursive r(n) as (select 1 union all select n + 1 from r) select count(*) from r"
	// What UNION has seen it keeps, some megabytes a second.
	growing := strings.Replace(endless, "union all", "union", 1)
	for name, tt := range map[string]struct {
		sql    string
		args   []string
		reason string
	}{
		"cpu": {endless, []string{"--watchdog_utilization_limit=1", "--watchdog_latency_limit=3"},
			"Maximum sustainable CPU utilization limit "},
		"memory": {growing, []string{"--watchdog_utilization_limit=100", "--watchdog_memory_limit=10", "--schedule_memory_max=400000000"},
			"Memory limits exceeded: "},
	} {
		t.Run(name, func(t *testing.T) {
			h := newSite(t, `{"schedule": {"greedy": {"query": "`+tt.sql+`", "interval": 1}}}`)
			cmd, m := h.start(append(tt.args, "--watchdog_delay=0", "--schedule_query_timeout=10m")...)
			m.await("READY=1")
			first := h.workerOf()
			m.await("READY=1") // of the second worker
			if got := h.workerOf(); got == first || first == cmd.Process.Pid {
				t.Errorf("worker is %d as before", got)
			}
			for _, want := range []string{
				"The watchdog started this worker anew reason=" + tt.reason,
				"Scheduled query may have failed: greedy",
			} {
				if got := h.read("log/osqueryd.WARNING"); !strings.Contains(got, want) {
					t.Errorf("warnings are %s, want %s", got, want)
				}
			}
			cmd.Process.Signal(syscall.SIGTERM)
			if err := cmd.Wait(); err != nil {
				t.Errorf("SIGTERM: %v", err)
			}
		})
	}
}

func TestBackoff(t *testing.T) {
	var b backoff
	for i, step := range []struct{ life, want time.Duration }{
		{time.Second, 5 * time.Second}, {time.Second, 10 * time.Second}, {0, 20 * time.Second},
		{4 * time.Second, 0}, {3 * time.Second, 5 * time.Second},
	} {
		if got := b.after(step.life); got != step.want {
			t.Errorf("step %d: %v, want %v", i, got, step.want)
		}
	}
	for range 20 {
		b.after(0)
	}
	if got := b.after(0); got != 10*time.Minute {
		t.Errorf("in the end it waits %v", got)
	}
}

func TestWorkerDies(t *testing.T) {
	h := newSite(t, oneQuery)
	cmd, m := h.start()
	m.await("READY=1")
	syscall.Kill(h.workerOf(), syscall.SIGKILL)
	m.await("READY=1")
	if got := h.read("log/osqueryd.WARNING"); !strings.Contains(got, "reason=the worker ended: signal: killed") {
		t.Errorf("warnings are %s", got)
	}
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
}

func TestJudge(t *testing.T) {
	f := newFlags()
	normal, on := f.limits()
	if !on || normal != (limits{memory: 200 << 20, cpu: 0.1, latency: 12 * time.Second, delay: time.Minute}) {
		t.Errorf("limits are %+v", normal)
	}
	if _, err := f.parse([]string{"--watchdog_level=1", "--watchdog_memory_limit", "50", "--watchdog_delay=0"}); err != nil {
		t.Fatal(err)
	}
	strict, _ := f.limits()
	if strict != (limits{memory: 50 << 20, cpu: 0.05, latency: 6 * time.Second}) {
		t.Errorf("limits are %+v", strict)
	}
	j := judge{limits: strict, cores: 2} // 300 ms in 3 s
	for i, step := range []struct {
		cpu    time.Duration // since the last step
		memory int64
		want   string
	}{
		{300 * time.Millisecond, 100 << 20, ""},
		{301 * time.Millisecond, 150 << 20, ""},
		{0, 150 << 20, ""},
		{time.Second, 0, ""},
		{time.Second, 0, "Maximum sustainable CPU utilization limit 300ms exceeded for 6 seconds"},
		{0, 150<<20 + 1, "Memory limits exceeded: 52428801 bytes (limit is 50MB)"},
	} {
		if got := j.sentence(sample{cpu: j.cpu + step.cpu, memory: step.memory}, time.Hour); got != step.want {
			t.Errorf("step %d: %q, want %q", i, got, step.want)
		}
	}
	j.limits.delay = time.Minute
	if got := j.sentence(sample{memory: 1 << 40}, time.Second); got != "" {
		t.Errorf("within the delay: %q", got)
	}
	if _, err := f.parse([]string{"--watchdog_level", "-1"}); err != nil {
		t.Fatal(err)
	}
	if _, on := f.limits(); on {
		t.Error("level -1 limits")
	}
}

func TestSettings(t *testing.T) {
	f := newFlags()
	useless, err := f.parse([]string{"--logger-event-type=false", "--decorations_top_level", "--tls_hostname", "x", "--noverbose", "--disable_events=true", "--noutc", "--carver_expiry=1", "--schedule_epoch=7"})
	if err != nil || !slices.Equal(useless, []string{"tls_hostname", "disable_events", "noutc", "carver_expiry"}) {
		t.Fatalf("useless are %q, %v", useless, err)
	}
	if refused := f.options(map[string]string{"schedule_splay_percent": "0", "logger_path": "/x", "pack_delimiter": "/"}, false); refused != nil {
		t.Errorf("refused are %v", refused)
	}
	got := f.settings(nil)
	want := schedule.Settings{
		Delimiter: "/", DefaultInterval: 3600, Epoch: 7, DiscoveryInterval: 3600, Timeout: 2 * time.Minute,
		ResultBytes: 32 << 20, MemoryBytes: 150 << 20, Decorators: true,
	}
	want.Format.TopLevel = true
	if got.HostIdentifier = nil; fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) || f.loggerPath == "/x" {
		t.Errorf("settings are %+v, want %+v", got, want)
	}
	for memory, want := range map[string][2]int64{"0": {75 << 20, 75 << 18}, "-1": {0, 32 << 20}, "1000": {1000, 250}, "1000000000": {1e9, 32 << 20}} {
		g := newFlags()
		if _, err := g.parse([]string{"--watchdog_level=1", "--schedule_memory_max=" + memory}); err != nil || g.memoryLimit() != want[0] || g.resultLimit() != want[1] {
			t.Errorf("with --schedule_memory_max=%s a query may take %d bytes and its result %d, want %d (%v)", memory, g.memoryLimit(), g.resultLimit(), want, err)
		}
	}
	if !f.offered("t") {
		t.Error("t is not offered")
	}
	f.enableTables, f.disableTables = "t, u", "u"
	if f.offered("u") || f.offered("v") || !f.offered("t") {
		t.Error("wrong tables are offered")
	}
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sockql/extension/host"
	"sockql/tables"
	"sockql/tables/builtin"
)

// mainVariable makes the test's binary the command itself.
const mainVariable = "SOCKQL_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(mainVariable) != "" {
		main()
	}
	goleak.VerifyTestMain(m)
}

// A catalog knows the tables that extensions bring, and answers the one question
// that an extension asks before it registers.
type catalog struct {
	own []string

	mu     sync.Mutex
	tables map[string]tables.Table
}

func (c *catalog) Attach(t tables.Table) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tables[t.Schema().Name] = t
	return nil
}

func (c *catalog) Detach(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.tables, name)
}

func (c *catalog) Query(context.Context, string) (*host.Result, error) {
	r := &host.Result{Columns: []host.Column{{Name: "name", Type: "TEXT"}}}
	for _, name := range c.own {
		r.Rows = append(r.Rows, []tables.Value{tables.String(name)})
	}
	return r, nil
}

func (c *catalog) Columns(context.Context, string) ([]host.Column, error) { return nil, nil }

func (c *catalog) table(name string) tables.Table {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tables[name]
}

// load starts a host with the command as its extension.
func load(t *testing.T, own ...string) (*host.Host, *catalog) {
	t.Helper()
	t.Setenv(mainVariable, "1")
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	h, err := host.New(host.Config{
		Socket: filepath.Join(t.TempDir(), "em"), Extensions: []string{path}, Require: []string{"sockql"},
		Timeout: 20 * time.Second, Interval: time.Second,
		Output: t.Output(), Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	c := &catalog{own: own, tables: map[string]tables.Table{}}
	if err := h.Start(context.Background(), c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := h.Await(t.Context()); err != nil {
		t.Fatal(err)
	}
	return h, c
}

func scan(t *testing.T, table tables.Table, r tables.Request) (rows [][]tables.Value, err error) {
	t.Helper()
	s := tables.NewSession(t.Context())
	defer s.Close()
	schema := table.Schema()
	err = tables.Run(t.Context(), table, tables.NewQuery(s, schema, r), func(row tables.Row) bool {
		cells := make([]tables.Value, len(schema.Columns))
		for i := range cells {
			cells[i] = row.Column(i)
		}
		rows = append(rows, cells)
		return true
	})
	return rows, err
}

// The real command with all its tables, loaded over a real socket.
func TestLoaded(t *testing.T) {
	_, c := load(t, "process_open_sockets", "processes")
	c.mu.Lock()
	var names []string
	for name := range c.tables {
		names = append(names, name)
	}
	c.mu.Unlock()
	slices.Sort(names)
	t.Log(names)
	for _, want := range []string{"sockql_process_open_sockets", "listening_ports", "socket_states"} {
		if !slices.Contains(names, want) {
			t.Errorf("no table %s", want)
		}
	}
	for _, name := range names {
		table := c.table(name)
		if slices.ContainsFunc(table.Schema().Columns, func(k tables.ColumnInfo) bool { return k.Flags.Has(tables.Required) }) {
			continue
		}
		rows, err := scan(t, table, tables.Request{Used: tables.AllUsed})
		// Some kernel or privilege may be missing here, which is an answer, too.
		t.Logf("%s: %d rows, %v", name, len(rows), err)
		if err != nil && !strings.Contains(err.Error(), "error generating table") {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The push-down of pid reaches the table: this process has sockets.
	table := c.table("sockql_process_open_sockets")
	pid := table.Schema().Column("pid")
	rows, err := scan(t, table, tables.Request{Used: tables.AllUsed, Constraints: []tables.Constraint{
		{Column: pid, Op: tables.OpEq, Values: []tables.Value{tables.Int(os.Getpid())}},
	}})
	if err != nil || len(rows) == 0 {
		t.Fatalf("%d sockets of this process, %v", len(rows), err)
	}
	for _, row := range rows {
		if row[pid].Int64() != int64(os.Getpid()) {
			t.Errorf("asked for one process, got %v", row[pid])
		}
	}
}

// An output can be read while a process writes it.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// SIGTERM ends it in an orderly way: exit status 0 and no socket left.
func TestTerminated(t *testing.T) {
	h, err := host.New(host.Config{Socket: filepath.Join(t.TempDir(), "em"), Require: []string{"sockql"}, Timeout: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Start(context.Background(), &catalog{tables: map[string]tables.Table{}}); err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		path, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(path, "--socket", h.Socket(), "--timeout", "10", "--interval", "3", "--verbose")
		cmd.Env = append(os.Environ(), mainVariable+"=1", flagsVariable+"=--tables=socket_states --prefix=mine_")
		out := new(output)
		cmd.Stderr = out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for range 4000 {
			if strings.Contains(out.String(), `msg="extension registered"`) {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
		began := time.Now()
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		t.Logf("%v: ended in %s", sig, time.Since(began))
		if !strings.Contains(out.String(), "tables=1") {
			t.Errorf("the subset of %s is not registered:\n%s", flagsVariable, out)
		}
		if left, _ := filepath.Glob(h.Socket() + ".*"); len(left) != 0 {
			t.Errorf("left behind: %q", left)
		}
	}
}

// osqueryiVariable names a real osqueryi, 5.23.0 or later.
const osqueryiVariable = "SOCKQL_OSQUERYI"

// A real osqueryi loads the command, has all tables, and gets from each the rows
// that it counts whatever way it asks.
func TestOsquery(t *testing.T) {
	osqueryi := os.Getenv(osqueryiVariable)
	if osqueryi == "" {
		t.Skipf("needs osquery's shell: its path in %s", osqueryiVariable)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "sockql.ext")
	if err := os.WriteFile(path, text, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv(mainVariable, "1")
	ask := func(sql string) []map[string]string {
		t.Helper()
		cmd := exec.Command(osqueryi, "--json", "--extension", path, "--extensions_require=sockql",
			"--extensions_timeout=20", "--extensions_socket="+filepath.Join(dir, "em"))
		cmd.Stdin = strings.NewReader(sql + ";\n")
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		var rows []map[string]string
		if err == nil {
			err = json.Unmarshal(out, &rows)
		}
		if err != nil || strings.Contains(stderr.String(), "Error: ") {
			t.Fatalf("%s: %v\n%s%s", sql, err, out, &stderr)
		}
		return rows
	}
	names := ask("SELECT name FROM osquery_registry WHERE registry = 'table' AND owner_uuid != 0")
	list, err := builtin.Tables(builtin.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if len(names) != len(list) {
		t.Errorf("%d tables are registered of %d", len(names), len(list))
	}
	for sql, want := range map[string]string{
		"SELECT count(*) AS n FROM tcp_states":                                                                "13",
		"SELECT count(*) AS n FROM (SELECT * FROM tcp_states LIMIT 5 OFFSET 2)":                               "5",
		"SELECT count(*) AS n FROM tcp_states WHERE osquery IN ('LISTEN', 'CLOSED') OR code IN (1,2)":         "5",
		"SELECT count(*) AS n FROM tcp_states a JOIN tcp_states b USING (code)":                               "13",
		"SELECT count(*) AS n FROM tcp_states a RIGHT JOIN tcp_states b ON a.code = b.code + 1":               "13",
		"SELECT sum(p.pid = o.pid) AS n FROM processes o JOIN sockql_processes p USING (pid) WHERE o.pid = 1": "1",
	} {
		if rows := ask(sql); len(rows) != 1 || rows[0]["n"] != want {
			t.Errorf("%s: %v, want %s", sql, rows, want)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "em*")); len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestFlags(t *testing.T) {
	for _, c := range []struct {
		args, variable string
		status         int
		stdout, stderr string
	}{
		{"--help", "", 0, "", "usage: sockql.ext --socket PATH"},
		{"--version", "", 0, "sockql.ext unknown", ""},
		{"", "", 2, "", "--socket is needed"},
		{"--socket", "", 2, "", "flag needs an argument"},
		{"--timeout x", "", 2, "", "invalid value"},
		{"--timeout 0", "", 2, "", "must be positive"},
		{"--fly", "", 2, "", "not defined: -fly"},
		{"", "--fly", 2, "", "not defined: -fly"},
		{"--socket s extra", "", 2, "", `unexpected argument "extra"`},
		{"--socket /nonexistent/em --timeout 0.05", "", 1, "", `"/nonexistent/em" is not there`},
		{"--socket /nonexistent/em --tables=nothing", "", 1, "", `pattern "nothing"`},
		{"--socket /nonexistent/em", "--tables=nothing", 1, "", `pattern "nothing"`},
		{"--socket /nonexistent/em --prefix=a-", "", 1, "", `prefix "a-"`},
		{"--socket /" + strings.Repeat("x", 97), "", 1, "", "97 is the most"},
	} {
		var stdout, stderr bytes.Buffer
		getenv := func(string) string { return c.variable }
		status := run(append([]string{"sockql.ext"}, strings.Fields(c.args)...), getenv, &stdout, &stderr)
		if status != c.status || !strings.Contains(stdout.String(), c.stdout) || !strings.Contains(stderr.String(), c.stderr) {
			t.Errorf("%q, %q: status %d, %q, %q", c.args, c.variable, status, &stdout, &stderr)
		}
	}
}

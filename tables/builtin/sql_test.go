package builtin_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"sockql/engine"
	"sockql/tables"
	"sockql/tables/builtin"
)

// open returns a connection to the tables of this host.
func open(t testing.TB, c builtin.Config) *engine.Conn {
	t.Helper()
	list, err := builtin.Tables(c)
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.New(engine.Config{Tables: list})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := e.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// query returns the rows of a statement, joined by a bar, in order.
func query(t testing.TB, conn *engine.Conn, sql string) []string {
	t.Helper()
	r, err := conn.Query(context.Background(), sql)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	var rows []string
	for _, row := range r.Rows {
		var cells []string
		for _, v := range row {
			cells = append(cells, text(v))
		}
		rows = append(rows, strings.Join(cells, "|"))
	}
	slices.Sort(rows)
	return rows
}

func text(v tables.Value) string {
	if v.IsNull() {
		return "NULL"
	}
	return v.String()
}

func expect(t *testing.T, conn *engine.Conn, sql string, want ...string) {
	t.Helper()
	if got := query(t, conn, sql); !slices.Equal(got, want) {
		t.Errorf("%s:\n got %q\nwant %q", sql, got, want)
	}
}

func TestFilesThroughSQL(t *testing.T) {
	root := t.TempDir()
	for name, content := range map[string]string{"home/ann/.ssh/id": "abc", "home/ann/note": "hello", "home/bob/note": "hello", "etc/passwd": ""} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	conn := open(t, builtin.Config{Root: root})
	expect(t, conn, "select path, type from file where directory = '/home/ann'", "/home/ann/.ssh|directory", "/home/ann/note|regular")
	expect(t, conn, "select path from file where path = '/home/ann/note' or path like '/home/b%/%'", "/home/ann/note", "/home/bob/note")
	expect(t, conn, "select path from file where path like '/home/a%/%' or path like '/home/b%/%' or directory = '/etc'", "/etc/passwd", "/home/ann/note", "/home/bob/note")
	expect(t, conn, "select path from file where path in ('/etc/passwd', '/home/bob/note', '/none') and filename = 'note'", "/home/bob/note")
	expect(t, conn, "select f.path, md5 from file f join hash h on f.path = h.path where f.path like '/home/%%' and type = 'regular'",
		"/home/ann/.ssh/id|900150983cd24fb0d6963f7d28e17f72", "/home/ann/note|5d41402abc4b2a76b9719d911017c592", "/home/bob/note|5d41402abc4b2a76b9719d911017c592")
	expect(t, conn, "select md5 from (select '/home/ann/note' as p union select '/home') x left join hash on hash.path = x.p", "5d41402abc4b2a76b9719d911017c592", "NULL")
	expect(t, conn, "select count(*) from hash where path like '/home/%/note'", "2")
	expect(t, conn, "select path from hash where sha1 = 'AAF4C61DDCC5E8A2DABEDE0F3B482CD9AEA9434D' and directory like '/home/%'", "/home/ann/note", "/home/bob/note")
	for _, sql := range []string{"select * from file", "select * from hash where md5 = 'x'", "select * from extended_attributes", "select * from file where path > '/etc'"} {
		if _, err := conn.Query(context.Background(), sql); err == nil || !strings.Contains(err.Error(), "queried without a required column in the WHERE clause") {
			t.Errorf("%s: %v", sql, err)
		}
	}
}

func TestProcessesThroughSQL(t *testing.T) {
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Skipf("needs sleep: %v", err)
	}
	cmd := exec.Command(sleep, "1000")
	cmd.Env = []string{"SOCKQL_TEST=yes"}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	conn := open(t, builtin.Config{})
	child, self := strconv.Itoa(cmd.Process.Pid), strconv.Itoa(os.Getpid())
	expect(t, conn, "select p.pid, p.parent from process_envs e join processes p using (pid) where key = 'SOCKQL_TEST' and p.name = 'sleep'", child+"|"+self)
	expect(t, conn, "select json_extract(process_ancestry, '$[0].pid') from processes where pid = "+child, self)
	expect(t, conn, "select a.pid from process_namespaces a join process_namespaces b using (net_namespace) where a.pid = "+child+" and b.pid = "+self, child)
	expect(t, conn, "select count(*) > 0 from process_memory_map m join processes p using (pid) where pid = "+child+" and m.path = p.path", "1")
	expect(t, conn, "select fd, path from process_open_files where pid in ("+child+") and fd < 3", "0|/dev/null", "1|/dev/null", "2|/dev/null")
}

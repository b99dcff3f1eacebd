package processes

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"sockql/fixtures"
	"sockql/tables"
	"sockql/tables/internal/procfs"
	"sockql/tables/tabletest"
)

func open(t testing.TB, root string, options ...procfs.Option) tables.Table {
	t.Helper()
	proc, err := procfs.Open(root, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { proc.Close() })
	table, err := Processes(proc)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// ask returns the named columns of each row, by pid, and the warnings.
func ask(t testing.TB, table tables.Table, columns string, pids ...int) (map[string]string, []error) {
	t.Helper()
	s := tables.NewSession(context.Background())
	defer s.Close()
	schema := table.Schema()
	r := tables.Request{Used: 1 << schema.Column("pid")}
	var at []int
	for name := range strings.FieldsSeq(columns) {
		i := schema.Column(name)
		if i < 0 {
			t.Fatalf("no column %q", name)
		}
		at = append(at, i)
		r.Used |= 1 << i
	}
	if len(pids) > 0 {
		c := tables.Constraint{Column: schema.Column("pid"), Op: tables.OpEq}
		for _, pid := range pids {
			c.Values = append(c.Values, tables.Int(pid))
		}
		r.Constraints = []tables.Constraint{c}
	}
	rows := map[string]string{}
	err := tables.Run(s.Context(), table, tables.NewQuery(s, schema, r), func(r tables.Row) bool {
		cells := make([]string, len(at))
		for i, col := range at {
			if v := r.Column(col); v.IsNull() {
				cells[i] = "NULL"
			} else {
				cells[i] = v.String()
			}
		}
		rows[r.Column(schema.Column("pid")).String()] = strings.Join(cells, "|")
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return rows, s.TakeWarnings()
}

func TestConformance(t *testing.T) {
	for _, name := range fixtures.Names() {
		root := fixtures.Unpack(t, name)
		var reads tabletest.Counter
		table := open(t, root, procfs.OnOpen(fixtures.Hooks(reads.Read, fixtures.Denied(root))))
		t.Run(name, func(t *testing.T) {
			tabletest.Run(t, table, tabletest.Options{Stable: true, Reads: &reads, Checks: map[string]func(tables.Value) error{
				"on_disk": func(v tables.Value) error {
					if n := v.Int64(); n < -1 || n > 1 {
						return fmt.Errorf("%d", n)
					}
					return nil
				},
				"state": func(v tables.Value) error {
					if len(v.String()) != 1 {
						return fmt.Errorf("%q is not one letter", v)
					}
					return nil
				},
			}})
		})
	}
}

func TestGolden(t *testing.T) {
	table := open(t, fixtures.Unpack(t, "bash"))
	rows, warnings := ask(t, table, "pid name path cmdline state cwd root uid gid euid egid suid sgid on_disk wired_size resident_size total_size "+
		"user_time system_time disk_bytes_read disk_bytes_written start_time parent pgroup threads nice cgroup_path upid", 14960)
	want := "14960|bash|/usr/bin/bash|bash|S|/home/reader|/|1000|1000|1000|1000|1000|1000|1|0|4915200|19660800|" +
		"120|70|1425408|16384|1795358301|14952|14960|1|0|/user.slice/user-1000.slice/session-3.scope|NULL"
	if got := rows["14960"]; got != want || len(rows) != 1 || warnings != nil {
		t.Errorf("got %q, want %q; %d rows, warnings %v", got, want, len(rows), warnings)
	}
	kinds := open(t, fixtures.Unpack(t, "kinds"))
	rows, _ = ask(t, kinds, "name path on_disk cmdline nice cgroup_path", 401)
	if got, want := rows["401"], "kinds worker)|/usr/bin/kinds|0|kinds: worker|-5|/system.slice/kinds worker).service"; got != want {
		t.Errorf("a deleted program: got %q, want %q", got, want)
	}
}

// TestOnlyUsedIsRead looks at the files that a column costs.
func TestOnlyUsedIsRead(t *testing.T) {
	for columns, files := range map[string]string{
		"pid":                          "",
		"wired_size":                   "",
		"name parent nice":             "14960/stat stat",
		"uid resident_size":            "14960/status",
		"cmdline":                      "14960/cmdline",
		"path on_disk":                 "14960/exe",
		"cwd":                          "14960/cwd",
		"disk_bytes_read":              "14960/io",
		"cgroup_path":                  "14960/cgroup",
		"name root disk_bytes_written": "14960/io 14960/root 14960/stat stat",
	} {
		var opened []string
		table := open(t, fixtures.Unpack(t, "bash"), procfs.OnOpen(func(path string) error {
			opened = append(opened, path)
			return nil
		}))
		opened = nil
		if rows, _ := ask(t, table, columns); len(rows) != 3 {
			t.Errorf("%s: %d rows", columns, len(rows))
		}
		slices.Sort(opened)
		opened = slices.DeleteFunc(opened, func(path string) bool {
			return path == "." || strings.HasPrefix(path, "1/") || strings.HasPrefix(path, "812/")
		})
		if got := strings.Join(opened, " "); got != files {
			t.Errorf("%s read %q, want %q", columns, got, files)
		}
	}
}

// TestOnlyAskedIsRead looks at the processes that a constraint costs.
func TestOnlyAskedIsRead(t *testing.T) {
	var opened []string
	table := open(t, fixtures.Unpack(t, "bash"), procfs.OnOpen(func(path string) error {
		opened = append(opened, path)
		return nil
	}))
	opened = nil
	rows, _ := ask(t, table, "name", 812, 14960, 77, -1, 0, 1<<40)
	if len(rows) != 2 || rows["812"] != "sshd" || rows["14960"] != "bash" {
		t.Errorf("rows %v", rows)
	}
	for _, path := range opened {
		if path == "." || strings.HasPrefix(path, "1/") {
			t.Errorf("%s was opened", path)
		}
	}
}

func TestDenied(t *testing.T) {
	root := fixtures.Unpack(t, "denied")
	denied := func(path string) error {
		for _, name := range []string{"800/exe", "800/cwd", "800/root"} {
			if path == name {
				return syscall.EACCES
			}
		}
		return fixtures.Denied(root)(path)
	}
	table := open(t, root, procfs.OnOpen(denied))
	rows, warnings := ask(t, table, "name path on_disk cwd root disk_bytes_read disk_bytes_written cmdline")
	if got, want := rows["800"], "sshd|NULL|-1|NULL|NULL|NULL|NULL|sshd"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := rows["801"], "curl|/usr/bin/curl|1|/home/user|/|1425408|16384|curl https://example.org"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if len(warnings) != 1 || !errors.Is(warnings[0], fs.ErrPermission) {
		t.Errorf("warnings %v, want one of fs.ErrPermission", warnings)
	}
}

// TestVanished has a process end between the list and its first file, and
// between two of its files.
func TestVanished(t *testing.T) {
	for _, at := range []string{"1/stat", "812/stat", "812/status", "812/exe", "812/cmdline", "812/io", "812/cgroup", "812/cwd"} {
		root := fixtures.Unpack(t, "bash")
		table := open(t, root, procfs.OnOpen(fixtures.RemoveAt(root, at, "812")))
		rows, warnings := ask(t, table, "name uid path cwd root cmdline disk_bytes_read cgroup_path")
		if len(rows) != 2 || rows["812"] != "" {
			t.Errorf("ended at %s: rows %v", at, rows)
		}
		if warnings != nil {
			t.Errorf("ended at %s: warnings %v", at, warnings)
		}
	}
}

// TestMalformed reads a process whose files are damaged.
func TestMalformed(t *testing.T) {
	table := open(t, fixtures.Unpack(t, "malformed"))
	rows, warnings := ask(t, table, "name disk_bytes_read")
	if rows["500"] != "victim|1425408" || rows["501"] != "NULL|NULL" || len(rows) != 2 {
		t.Errorf("rows %v", rows)
	}
	if len(warnings) != 2 || !strings.Contains(warnings[0].Error(), "501/stat") || !strings.Contains(warnings[1].Error(), "501/io") {
		t.Errorf("warnings %v, want those that name 501/stat and 501/io", warnings)
	}
}

// start runs a program that has an environment until the test ends. execve(2)
// closes the descriptors, by which the parent learns that it succeeded, before
// it lays out the arguments and then the environment: start waits for that.
func start(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	environ := fmt.Sprintf("/proc/%d/environ", cmd.Process.Pid)
	for range 10_000 {
		if b, err := os.ReadFile(environ); err != nil || len(b) > 0 {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("%s stays empty", environ)
}

// TestKernel compares a child process with what is known of it.
func TestKernel(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Skipf("needs sleep: %v", err)
	}
	program := filepath.Join(dir, "sleep") // may be a link to a program of many names
	content, err := os.ReadFile(sleep)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, content, 0o755); err != nil {
		t.Fatal(err)
	}
	began := time.Now().Unix()
	cmd := exec.Command(program, "1000")
	cmd.Dir = dir
	start(t, cmd)
	pid := cmd.Process.Pid
	table := open(t, "/proc")
	rows, warnings := ask(t, table, "name path cmdline cwd root uid egid on_disk parent threads", pid)
	want := fmt.Sprintf("sleep|%s|%s 1000|%s|/|%d|%d|1|%d|1", program, program, dir, os.Getuid(), os.Getegid(), os.Getpid())
	if got := rows[fmt.Sprint(pid)]; got != want || warnings != nil {
		t.Errorf("got %q, want %q, warnings %v", got, want, warnings)
	}
	if err := os.Remove(program); err != nil {
		t.Fatal(err)
	}
	rows, _ = ask(t, table, "path on_disk", pid)
	if got, want := rows[fmt.Sprint(pid)], program+"|0"; got != want {
		t.Errorf("after removal: got %q, want %q", got, want)
	}
	rows, _ = ask(t, table, "start_time", pid)
	var started int64
	if _, err := fmt.Sscan(rows[fmt.Sprint(pid)], &started); err != nil || started < began-2 || started > time.Now().Unix()+2 {
		t.Errorf("start_time %q, want about %d", rows[fmt.Sprint(pid)], began)
	}
	// A thread answers under its own number too, but is no process.
	tids, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range tids {
		if e.Name() == fmt.Sprint(os.Getpid()) {
			continue
		}
		var tid int
		fmt.Sscan(e.Name(), &tid)
		if rows, _ := ask(t, table, "name", tid); len(rows) != 0 {
			t.Errorf("thread %d gave %v", tid, rows)
		}
	}
	all, _ := ask(t, table, "name state")
	if !bytes.HasPrefix([]byte(all[fmt.Sprint(pid)]), []byte("sleep|")) {
		t.Errorf("the whole table has %q for the child", all[fmt.Sprint(pid)])
	}
}

package builtin_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sockql/tables"
	"sockql/tables/builtin"
)

// TestPacks runs the queries of osquery's own packs. Those that name a table
// that is not here fail for that and for nothing else.
func TestPacks(t *testing.T) {
	content, err := os.ReadFile("testdata/packs.tsv")
	if err != nil {
		t.Fatal(err)
	}
	// What stands below a large /tmp is not what is asked here.
	conn := open(t, builtin.Config{Root: t.TempDir()})
	ran, missing := 0, map[string]int{}
	for line := range strings.Lines(string(content)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), "\t", 3)
		name, table, sql := fields[0], fields[1], fields[2]
		_, err := conn.Query(context.Background(), sql)
		switch {
		case table == "-" && err != nil:
			t.Errorf("%s: %s: %v", name, sql, err)
		case table == "-":
			ran++
		case err == nil || !strings.Contains(err.Error(), "no such table: "+table):
			t.Errorf("%s: %s: %v, want no table %s", name, sql, err, table)
		default:
			missing[table]++
		}
	}
	if ran < 70 {
		t.Errorf("only %d queries ran", ran)
	}
	t.Logf("%d queries ran", ran)
	for _, table := range slices.SortedFunc(maps.Keys(missing), func(a, b string) int { return missing[b] - missing[a] }) {
		t.Logf("%d lack %s", missing[table], table)
	}
}

// TestDetections asks what detection packs ask, of a scene in which there is
// something to find.
func TestDetections(t *testing.T) {
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Skipf("needs sleep: %v", err)
	}
	shell, err := exec.LookPath("bash")
	if err != nil {
		t.Skipf("needs bash: %v", err)
	}
	dir := t.TempDir()
	program, err := os.ReadFile(sleep)
	if err != nil {
		t.Fatal(err)
	}
	start := func(name string, cmd *exec.Cmd) string {
		t.Helper()
		if err := cmd.Start(); err != nil {
			t.Skipf("%s: %v", name, err)
		}
		t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
		return strconv.Itoa(cmd.Process.Pid)
	}
	place := func(name string, mode fs.FileMode) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(path, program, 0o755), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	hidden, deleted, open4all := place(".hidden", 0o755), place("deleted", 0o755), place("open", fs.ModeSetuid|0o757)
	hiddenPID := start("hidden", exec.Command(hidden, "1000"))
	deletedPID := start("deleted", exec.Command(deleted, "1000"))
	if err := os.Remove(deleted); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	port := strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
	reverse := exec.Command(shell, "-c", "exec 3<>/dev/tcp/127.0.0.1/"+port+" && echo up && read -r -u 3 line")
	up, err := reverse.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	shellPID := start("bash", reverse)
	if n, err := up.Read(make([]byte, 8)); n == 0 {
		t.Skipf("needs a bash with /dev/tcp: %v", err)
	}
	conn, self := open(t, builtin.Config{}), strconv.Itoa(os.Getpid())
	// Who started it, three joins up, and with which program.
	sum := query(t, conn, "select sha256 from hash where path = '"+hidden+"'")
	expect(t, conn, "select p.pid, pp.pid, gp.pid is not null, h.sha256 from processes p join processes pp on pp.pid = p.parent "+
		"left join processes gp on gp.pid = pp.parent left join hash h on h.path = p.path where p.pid = "+hiddenPID, hiddenPID+"|"+self+"|1|"+sum[0])
	expect(t, conn, "select p.pid, f.filename from processes p join file f on f.path = p.path where f.filename like '.%' and f.directory = '"+dir+"'", hiddenPID+"|.hidden")
	expect(t, conn, "select pid from processes where on_disk = 0 and path like '"+dir+"/deleted%'", deletedPID)
	expect(t, conn, "select path, mode from file where directory = '"+dir+"' and mode like '4%7'", open4all+"|4757")
	expect(t, conn, "select p.pid, p.name, s.remote_address, s.remote_port from processes p join process_open_sockets s using (pid) "+
		"where p.name in ('sh', 'bash', 'dash', 'zsh') and s.family = 2 and s.remote_port = "+port, shellPID+"|bash|127.0.0.1|"+port)
	expect(t, conn, "select p.pid, substr(cast(json_extract(process_ancestry, '$[0].pid') as text), 1) from processes p where p.pid = "+shellPID, shellPID+"|"+self)
}

// TestJoinReadsEachFileOnce measures how much is read for a join with processes
// of which several run the same large program.
func TestJoinReadsEachFileOnce(t *testing.T) {
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Skipf("needs sleep: %v", err)
	}
	content, err := os.ReadFile(sleep)
	if err != nil {
		t.Fatal(err)
	}
	const size = 8 << 20
	content = append(content, make([]byte, size)...)
	dir := t.TempDir()
	for _, name := range []string{"a", "b"} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o755); err != nil {
			t.Fatal(err)
		}
		for range 4 {
			cmd := exec.Command(path, "1000")
			if err := cmd.Start(); err != nil {
				t.Skipf("%s: %v", path, err)
			}
			t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
		}
	}
	conn := open(t, builtin.Config{})
	before := bytesRead(t)
	expect(t, conn, "select p.path, count(*), count(distinct sha256) from processes p join hash h on p.path = h.path where p.path like '"+dir+"/%' group by 1",
		dir+"/a|4|1", dir+"/b|4|1")
	if read := bytesRead(t) - before; read < 2*size || read >= 3*size {
		t.Errorf("%d bytes were read of two files of %d", read, size)
	}
}

// bytesRead returns what this process has read (rchar of proc_pid_io(5)).
func bytesRead(t *testing.T) int64 {
	t.Helper()
	b, err := os.ReadFile("/proc/self/io")
	if err != nil {
		t.Skip(err)
	}
	var n int64
	if _, err := fmt.Sscanf(string(b), "rchar: %d", &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// childEnv tells the test binary that it is the child of a test.
const childEnv = "SOCKQL_BUILTIN_CHILD"

// patience is long enough for any table on any host: what takes longer hangs.
const patience = 2 * time.Minute

// everything asks each table for all that it has, and returns how many there are.
func everything(t *testing.T, c builtin.Config) int {
	t.Helper()
	list, err := builtin.Tables(c)
	if err != nil {
		t.Fatal(err)
	}
	conn := open(t, c)
	for _, table := range list {
		s := table.Schema()
		sql := "select * from " + s.Name
		if at := s.Column("path"); at >= 0 && s.Columns[at].Flags.Has(tables.Required) {
			sql += " where path like '/etc/%'"
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		begin := time.Now()
		r, err := conn.Query(ctx, sql)
		cancel()
		if err != nil {
			t.Errorf("%s: %v", sql, err)
			continue
		}
		t.Logf("%-22s %5d rows %8s %v", s.Name, len(r.Rows), time.Since(begin).Round(time.Millisecond), r.Warnings)
	}
	return len(list)
}

// child runs the test again in a process of its own.
func child(t *testing.T, attr *syscall.SysProcAttr) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), childEnv+"=1")
	cmd.Dir = "/"
	cmd.SysProcAttr = attr
	out, err := cmd.CombinedOutput()
	switch {
	case errors.Is(err, fs.ErrPermission):
		t.Skipf("needs more privilege: %v", err)
	case strings.Contains(string(out), "--- SKIP"):
		t.Skipf("%s", out)
	case err != nil || !strings.Contains(string(out), "--- PASS"):
		t.Errorf("%v\n%s", err, out)
	default:
		t.Logf("%s", out)
	}
}

func TestEverything(t *testing.T) {
	if everything(t, builtin.Config{Root: t.TempDir()}) < 30 {
		t.Error("tables are missing")
	}
}

func TestEverythingAsNobody(t *testing.T) {
	const nobody = 65534
	if os.Getenv(childEnv) == "" {
		child(t, nil)
		return
	}
	if err := errors.Join(syscall.Setgroups(nil), syscall.Setresgid(nobody, nobody, nobody), syscall.Setresuid(nobody, nobody, nobody)); err != nil {
		t.Skipf("needs root: %v", err)
	}
	everything(t, builtin.Config{Root: "/etc"}) // a small root, whose /etc/passwd is missing
}

// TestEverythingInContainer looks from a root directory that has nothing but
// /proc and /sys, and from namespaces of its own.
func TestEverythingInContainer(t *testing.T) {
	if os.Getenv(childEnv) == "" {
		child(t, &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET})
		return
	}
	root := t.TempDir()
	step := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Skipf("needs leave to %s: %v", what, err)
		}
	}
	step("make mounts private", unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	step("mount a root", unix.Mount("none", root, "tmpfs", 0, ""))
	for _, name := range []string{"proc", "sys", "etc"} {
		if err := os.Mkdir(filepath.Join(root, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	step("mount procfs", unix.Mount("proc", filepath.Join(root, "proc"), "proc", 0, ""))
	step("bind sysfs", unix.Mount("/sys", filepath.Join(root, "sys"), "", unix.MS_BIND|unix.MS_REC, ""))
	step("change the root", unix.Chroot(root))
	if err := os.Chdir("/"); err != nil {
		t.Fatal(err)
	}
	everything(t, builtin.Config{})
	conn := open(t, builtin.Config{})
	expect(t, conn, "select count(*) from users", "0")
	expect(t, conn, "select pid from processes", fmt.Sprint(os.Getpid()))
}

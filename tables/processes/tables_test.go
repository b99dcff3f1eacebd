package processes

import (
	"context"
	"encoding/json"
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

	"sockql/tables"
	"sockql/tables/internal/procfs"
	"sockql/tables/tabletest"
)

// host is a recorded host: a web server with a worker, a shell that pipes into
// cat, and a process whose tables are closed to us.
var host = map[string]string{
	"stat": "btime 1795340000\n",

	"1/stat": stat(1, "systemd", 0), "1/status": "Tgid:\t1\n", "1/cgroup": "0::/init.scope\n", "1/environ": "HOME=/\x00TERM=linux\x00",
	"1/maps": "", "1/fd/0": "->/dev/null", "1/fdinfo/0": "flags:\t02\n",
	"1/ns/net": "->net:[4026531840]", "1/ns/mnt": "->mnt:[4026531841]", "1/ns/pid": "->pid:[4026531836]", "1/ns/user": "->user:[4026531837]",
	"1/ns/uts": "->uts:[4026531838]", "1/ns/ipc": "->ipc:[4026531839]", "1/ns/cgroup": "->cgroup:[4026531835]",

	"40/stat": stat(40, "nginx: \"m) (x", 1), "40/status": "Tgid:\t40\n", "40/environ": "A=1=2\x00\x00garbage\x00=x\x00N=new\nline\x00",
	"40/cgroup": "0::/system.slice/nginx.service\n",
	"40/maps": "00400000-00401000 r-xp 00000000 fe:00 77                         /usr/sbin/nginx (deleted)\n" +
		"garbage\n" +
		"7f0000000000-7f0000001000 rw-p 00001000 fe:00 4294967297                 /lib/a b.so\n" +
		"7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0                          [stack]\n" +
		"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0\n",
	"40/fd/0": "->/dev/null", "40/fd/1": "->/var/log/pipe:[1] socket: x (deleted)", "40/fd/2": "->socket:[9]", "40/fd/10": "->anon_inode:[eventpoll]",
	"40/fd/3": "->pipe:[100]", "40/fdinfo/3": "pos:\t0\nflags:\t0\n", "40/fd/4": "->pipe:[100]", "40/fdinfo/4": "flags:\t0100001\n",
	"40/fd/5": "->pipe:[300]", "40/fdinfo/5": "flags:\t01\n", "40/fd/6": "->pipe:[400]", "40/fd/7": "->net:[4026531840]",
	"40/ns/net": "->net:[7]", "40/ns/mnt": "->garbage",

	"41/stat": stat(41, "worker", 40), "41/status": "Tgid:\t41\n", "41/environ": "", "41/maps": "",
	"41/cgroup": "12:cpu:/kubepods/burstable/pod8ea7bd5a-2b1c-4f6e-9d0a-1234567890ab/" + strings.Repeat("c0de", 16) + "\n1:name=systemd:/system.slice/kubelet.service\n",
	"41/fd/3":   "->pipe:[100]", "41/fdinfo/3": "flags:\t00\n", "41/fd/8": "->pipe:[500]", "41/fdinfo/8": "flags:\t02\n", "41/fd/9": "->pipe:[500]", "41/fdinfo/9": "flags:\t02\n",

	"50/stat": stat(50, "closed", 1), "50/status": "Tgid:\t50\n", "50/cgroup": "0::/\n", "50/fd/0": "->/secret", "50/environ": "SECRET=1\x00",
	"50/maps": "00400000-00401000 r-xp 00000000 fe:00 77 /secret\n", "50/ns/net": "->net:[8]",
}

func stat(pid int, name string, parent int) string {
	return fmt.Sprintf("%d (%s) S %d %d %d 0 -1 4194304 2201 15310 3 17 12 7 31 19 20 0 2 0 5000 19660800 1200 18446744073709551615 1 1 0 0 0 0 0 4096 65536 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n",
		pid, name, parent, pid, pid)
}

// record writes a recorded tree. A content that begins with -> is the target
// of a link.
func record(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		path := filepath.Join(root, name)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if target, link := strings.CutPrefix(content, "->"); link {
			err = errors.Join(err, os.Symlink(target, path))
		} else {
			err = errors.Join(err, os.WriteFile(path, []byte(content), 0o644))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// closed denies what takes leave to ptrace of process 50.
func closed(path string) error {
	for _, name := range []string{"50/fd", "50/fdinfo", "50/environ", "50/maps", "50/ns"} {
		if path == name || strings.HasPrefix(path, name+"/") {
			return syscall.EACCES
		}
	}
	return nil
}

type constructor func(*procfs.FS) (tables.Table, error)

var constructors = map[string]constructor{
	"process_open_files": ProcessOpenFiles, "process_open_pipes": ProcessOpenPipes, "process_memory_map": ProcessMemoryMap,
	"process_envs": ProcessEnvs, "process_namespaces": ProcessNamespaces, "processes": Processes,
}

func make1(t *testing.T, new constructor, root string, options ...procfs.Option) tables.Table {
	t.Helper()
	proc, err := procfs.Open(root, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { proc.Close() })
	table, err := new(proc)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// rows returns all visible columns of each row, or the named ones.
func rows(t *testing.T, table tables.Table, columns string, pids ...int) ([]string, []error) {
	t.Helper()
	s := tables.NewSession(context.Background())
	defer s.Close()
	schema := table.Schema()
	var at []int
	for i, c := range schema.Columns {
		if columns == "" && !c.Flags.Has(tables.Hidden) || slices.Contains(strings.Fields(columns), c.Name) {
			at = append(at, i)
		}
	}
	r := tables.Request{Used: tables.AllUsed}
	if len(pids) > 0 {
		c := tables.Constraint{Column: pidColumn, Op: tables.OpEq}
		for _, pid := range pids {
			c.Values = append(c.Values, tables.Int(pid))
		}
		r.Constraints = []tables.Constraint{c}
	}
	var list []string
	err := tables.Run(s.Context(), table, tables.NewQuery(s, schema, r), func(row tables.Row) bool {
		var cells []string
		for _, i := range at {
			if v := row.Column(i); v.IsNull() {
				cells = append(cells, "NULL")
			} else {
				cells = append(cells, v.String())
			}
		}
		list = append(list, strings.Join(cells, "|"))
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return list, s.TakeWarnings()
}

func TestTablesGolden(t *testing.T) {
	root := record(t, host)
	container := strings.Repeat("c0de", 16)
	for _, test := range []struct {
		table, columns string
		pids           []int
		want           []string
		warnings       int // one is of process 50, where it is read
	}{
		{"process_open_files", "", nil, []string{"1|0|/dev/null", "40|0|/dev/null", "40|1|/var/log/pipe:[1] socket: x (deleted)", "40|7|net:[4026531840]"}, 1},
		{"process_open_files", "fd path", []int{40, 77, -1, 0}, []string{"0|/dev/null", "1|/var/log/pipe:[1] socket: x (deleted)", "7|net:[4026531840]"}, 0},
		{"process_open_pipes", "", nil, []string{
			"40|3|r|100|anonymous|40|4|w", "40|4|w|100|anonymous|40|3|r", "40|4|w|100|anonymous|41|3|r",
			"40|5|w|300|anonymous|NULL|NULL|NULL", "40|6|-|400|anonymous|NULL|NULL|NULL",
			"41|3|r|100|anonymous|40|4|w", "41|8|rw|500|anonymous|41|9|rw", "41|9|rw|500|anonymous|41|8|rw"}, 1},
		{"process_open_pipes", "", []int{41}, []string{
			"41|3|r|100|anonymous|40|4|w", "41|8|rw|500|anonymous|41|9|rw", "41|9|rw|500|anonymous|41|8|rw"}, 1},
		{"process_open_pipes", "", []int{-5, 77}, nil, 1},
		{"process_memory_map", "", []int{40}, []string{
			"40|0x00400000|0x00401000|r-xp|0|fe:00|77|/usr/sbin/nginx (deleted)|0",
			"40|0x7f0000000000|0x7f0000001000|rw-p|4096|fe:00|NULL|/lib/a b.so|0",
			"40|0x7ffc00000000|0x7ffc00021000|rw-p|0|00:00|0|[stack]|1",
			"40|0xffffffffff600000|0xffffffffff601000|--xp|0|00:00|0||0"}, 1},
		{"process_memory_map", "pid", []int{50}, nil, 1},
		{"process_envs", "", nil, []string{"1|HOME|/", "1|TERM|linux", "40|A|1=2", "40|garbage|", "40||x", "40|N|new\nline"}, 1},
		{"process_envs", "key", []int{1}, []string{"HOME", "TERM"}, 0},
		{"process_namespaces", "", []int{1, 50}, []string{
			"1|4026531835|4026531839|4026531841|4026531840|4026531836|4026531837|4026531838", "50|NULL|NULL|NULL|NULL|NULL|NULL|NULL"}, 1},
		{"process_namespaces", "pid net_namespace mnt_namespace", []int{40}, []string{"40|NULL|7"}, 1}, // one link is garbage
		{"processes", "pid process_ancestry", nil, []string{
			`1|[]`, `40|[{"pid":1,"name":"systemd"}]`, `41|[{"pid":40,"name":"nginx: \"m) (x"},{"pid":1,"name":"systemd"}]`, `50|[{"pid":1,"name":"systemd"}]`}, -1},
		{"processes", "pid process_container_id process_pod_uid process_systemd_unit", nil, []string{
			"1|NULL|NULL|init.scope", "40|NULL|NULL|nginx.service", "41|" + container + "|8ea7bd5a-2b1c-4f6e-9d0a-1234567890ab|kubelet.service", "50|NULL|NULL|NULL"}, -1},
	} {
		table := make1(t, constructors[test.table], root, procfs.OnOpen(closed))
		got, warnings := rows(t, table, test.columns, test.pids...)
		if !slices.Equal(got, test.want) {
			t.Errorf("%s of %s, pids %v:\n got %q\nwant %q", test.columns, test.table, test.pids, got, test.want)
		}
		if test.warnings >= 0 && len(warnings) != test.warnings {
			t.Errorf("%s, pids %v: %d warnings %q, want %d", test.table, test.pids, len(warnings), warnings, test.warnings)
		}
	}
}

func TestTablesConformance(t *testing.T) {
	root := record(t, host)
	for name, new := range constructors {
		var reads tabletest.Counter
		hook := func(path string) error { reads.Read(path); return closed(path) }
		table := make1(t, new, root, procfs.OnOpen(hook))
		t.Run(name, func(t *testing.T) {
			tabletest.Run(t, table, tabletest.Options{Stable: true, Reads: &reads})
		})
	}
}

// A process that ends before any of its files is read costs its rows only.
func TestTablesVanished(t *testing.T) {
	for name, new := range constructors {
		root := record(t, host)
		hook := func(path string) error {
			if strings.HasPrefix(path, "41/") {
				return errors.Join(os.RemoveAll(filepath.Join(root, "41")), syscall.ESRCH)
			}
			return nil
		}
		table := make1(t, new, root, procfs.OnOpen(func(path string) error {
			if err := hook(path); err != nil {
				return syscall.ESRCH
			}
			return nil
		}))
		got, warnings := rows(t, table, "")
		for _, w := range warnings {
			if strings.Contains(w.Error(), "41/") {
				t.Errorf("%s: %v", name, w)
			}
		}
		if slices.ContainsFunc(got, func(r string) bool { return strings.HasPrefix(r, "41|") }) || len(got) == 0 {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// Only the files of the processes that are asked for are read, except by
// process_open_pipes, whose partners may be anywhere.
func TestTablesReadWhatIsAsked(t *testing.T) {
	root := record(t, host)
	for name, new := range constructors {
		if name == "process_open_pipes" {
			continue
		}
		var opened []string
		table := make1(t, new, root, procfs.OnOpen(func(path string) error {
			opened = append(opened, path)
			return nil
		}))
		opened = nil
		rows(t, table, "", 40)
		for _, path := range opened {
			if !strings.HasPrefix(path, "40") && path != "stat" && (name != "processes" || path != "1/stat") {
				t.Errorf("%s reads %s", name, path)
			}
		}
	}
}

func TestLineageCircle(t *testing.T) {
	root := record(t, map[string]string{"1/stat": stat(1, "a", 2), "1/status": "Tgid:\t1\n", "2/stat": stat(2, "\xff", 1), "2/status": "Tgid:\t2\n"})
	got, _ := rows(t, make1(t, Processes, root), "process_ancestry", 1)
	var list []ancestor
	if len(got) != 1 || json.Unmarshal([]byte(got[0]), &list) != nil || len(list) != maxAncestors || list[0].Name != "\ufffd" {
		t.Errorf("%.200q", got)
	}
}

func TestCgroupNames(t *testing.T) {
	id := strings.Repeat("0a1b2c3d", 8)
	for _, test := range []struct{ path, container, pod, unit string }{
		{"/", "", "", ""},
		{"/init.scope", "", "", "init.scope"},
		{"/docker/" + id, id, "", ""},
		{"/system.slice/docker-" + id + ".scope", id, "", "docker-" + id + ".scope"},
		{"/docker/" + id + "/system.slice/cron.service", id, "", ""},
		{"/machine.slice/libpod-" + id + ".scope/container", id, "", "libpod-" + id + ".scope"},
		{"/machine.slice/libpod-conmon-" + id + ".scope", "", "", "libpod-conmon-" + id + ".scope"},
		{"/user.slice/user-1000.slice/user@1000.service/app.slice/x.scope", "", "", "user@1000.service"},
		{"/user.slice/user-1000.slice/session-3.scope", "", "", "session-3.scope"},
		{"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod8ea7bd5a_2b1c_4f6e_9d0a_1234567890ab.slice/cri-containerd-" + id + ".scope",
			id, "8ea7bd5a-2b1c-4f6e-9d0a-1234567890ab", "cri-containerd-" + id + ".scope"},
		{"/kubepods/besteffort/pod" + id[:32] + "/" + id, id, id[:32], ""},
		{"/kubepods.slice/kubepods-pod" + id[:32] + ".slice/crio-" + id + ".scope", id, id[:32], "crio-" + id + ".scope"},
		{"/system.slice/containerd.service/kubepods-pod1-2.slice:cri-containerd:" + id, id, "", "containerd.service"},
		{"/ecs/task/" + id[:32] + "-1234567890", id[:32] + "-1234567890", "", ""},
		{"/lxc.payload.web/system.slice/cron.service", "web", "", ""},
		{"/system.slice/_cpu.service", "", "", "cpu.service"},
		{"/system.slice/podcast.service", "", "", "podcast.service"},
		{"/system.slice/" + id[:63] + "g", "", "", ""},
		{"/..", "", "", ""},
	} {
		g := []procfs.Cgroup{{Path: test.path}}
		if c, p, u := containerID(g), podUID(g), systemdUnit(g); c != test.container || p != test.pod || u != test.unit {
			t.Errorf("%s: container %q, pod %q, unit %q", test.path, c, p, u)
		}
	}
	v1 := []procfs.Cgroup{{Hierarchy: 5, Controllers: "pids", Path: "/other.service"}, {Hierarchy: 1, Controllers: "name=systemd", Path: "/system.slice/a.service"}}
	if got := systemdUnit(v1); got != "a.service" {
		t.Errorf("cgroup v1: %q", got)
	}
}

func FuzzCgroupNames(f *testing.F) {
	f.Add("/kubepods/besteffort/pod8ea7bd5a-2b1c-4f6e-9d0a-1234567890ab/" + strings.Repeat("0a1b2c3d", 8))
	f.Add("/system.slice/docker-" + strings.Repeat("0a1b2c3d", 8) + ".scope")
	f.Fuzz(func(t *testing.T, path string) {
		g := []procfs.Cgroup{{Path: path}}
		for _, name := range []string{containerID(g), systemdUnit(g)} {
			if !strings.Contains(path, name) || strings.Contains(name, "/") {
				t.Fatalf("%q of %q", name, path)
			}
		}
		if uid := podUID(g); uid != "" && !isUUID(uid) && len(uid) != 32 {
			t.Fatalf("pod %q of %q", uid, path)
		}
	})
}

// A child that we know all about, against the kernel.
func TestTablesKernel(t *testing.T) {
	cat, err := exec.LookPath("cat")
	if err != nil {
		t.Skipf("needs cat: %v", err)
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Create(filepath.Join(dir, "with space\nand line"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	named, err := os.OpenFile(fifo, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer named.Close()
	cmd := exec.Command(cat)
	cmd.Env = []string{"ONE=1", "TWO=a=b"}
	cmd.ExtraFiles = []*os.File{file, named}
	if _, err := cmd.StdinPipe(); err != nil { // what keeps it waiting
		t.Fatal(err)
	}
	start(t, cmd)
	pid, self := cmd.Process.Pid, os.Getpid()

	got, _ := rows(t, make1(t, ProcessEnvs, "/proc"), "", pid)
	if want := []string{fmt.Sprintf("%d|ONE|1", pid), fmt.Sprintf("%d|TWO|a=b", pid)}; !slices.Equal(got, want) {
		t.Errorf("environment %q, want %q", got, want)
	}
	got, _ = rows(t, make1(t, ProcessOpenFiles, "/proc"), "fd path", pid)
	if want := "3|" + file.Name(); !slices.Contains(got, want) {
		t.Errorf("open files %q lack %q", got, want)
	}
	if err := os.Remove(file.Name()); err != nil {
		t.Fatal(err)
	}
	got, _ = rows(t, make1(t, ProcessOpenFiles, "/proc"), "fd path", pid)
	if want := "3|" + file.Name() + " (deleted)"; !slices.Contains(got, want) {
		t.Errorf("open files %q lack %q", got, want)
	}
	got, _ = rows(t, make1(t, ProcessOpenPipes, "/proc"), "pid fd mode type partner_pid partner_mode", pid)
	if want := fmt.Sprintf("%d|0|r|anonymous|%d|w", pid, self); !slices.Contains(got, want) {
		t.Errorf("pipes %q lack %q", got, want)
	}
	if want := fmt.Sprintf("%d|4|rw|named|%d|rw", pid, self); !slices.Contains(got, want) {
		t.Errorf("pipes %q lack %q", got, want)
	}
	real, err := filepath.EvalSymlinks(cat)
	if err != nil {
		t.Fatal(err)
	}
	got, _ = rows(t, make1(t, ProcessMemoryMap, "/proc"), "permissions path pseudo", pid)
	if !slices.ContainsFunc(got, func(r string) bool { return strings.HasSuffix(r, "|"+real+"|0") && strings.HasPrefix(r, "r-xp") }) ||
		!slices.Contains(got, "rw-p|[stack]|1") {
		t.Errorf("mappings %q", got)
	}
	link, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/uts", pid))
	if err != nil {
		t.Fatal(err)
	}
	got, _ = rows(t, make1(t, ProcessNamespaces, "/proc"), "uts_namespace", pid)
	if !slices.Equal(got, []string{strings.Trim(link, "uts:[]")}) {
		t.Errorf("namespaces %q, want %s", got, link)
	}
	got, _ = rows(t, make1(t, Processes, "/proc"), "process_ancestry", pid)
	if want := fmt.Sprintf(`[{"pid":%d,"name":`, self); len(got) != 1 || !strings.HasPrefix(got[0], want) {
		t.Errorf("ancestry %q, want it to begin with %s", got, want)
	}
	for name, new := range constructors {
		table := make1(t, new, "/proc")
		t.Run(name, func(t *testing.T) { tabletest.Run(t, table, tabletest.Options{}) })
	}
}

// lsfd(1) must show the same files of this process.
func TestOpenFilesAgreeWithLsfd(t *testing.T) {
	lsfd, err := exec.LookPath("lsfd")
	if err != nil {
		t.Skipf("needs lsfd: %v", err)
	}
	file, err := os.Create(filepath.Join(t.TempDir(), "open"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	out, err := exec.Command(lsfd, "--json", "--pid", fmt.Sprint(os.Getpid()), "--output", "FD,NAME").Output()
	if err != nil {
		t.Skipf("lsfd: %v", err)
	}
	var answer struct {
		Lsfd []struct {
			FD   *int   `json:"fd"`
			Name string `json:"name"`
		} `json:"lsfd"`
	}
	if err := json.Unmarshal(out, &answer); err != nil {
		t.Skipf("lsfd: %v", err) // some versions print no valid JSON
	}
	var want []string
	for _, f := range answer.Lsfd {
		if f.FD != nil && strings.HasPrefix(f.Name, "/") {
			want = append(want, fmt.Sprintf("%d|%s", *f.FD, f.Name))
		}
	}
	got, _ := rows(t, make1(t, ProcessOpenFiles, "/proc"), "fd path", os.Getpid())
	for _, row := range want {
		if !slices.Contains(got, row) && strings.Contains(row, file.Name()) {
			t.Errorf("%q lack lsfd's %q", got, row)
		}
	}
	if len(want) == 0 || !slices.Contains(want, fmt.Sprintf("%d|%s", file.Fd(), file.Name())) {
		t.Errorf("lsfd shows %q", want)
	}
}

// Somebody else's processes give one warning and their rows are left out.
func TestTablesDenied(t *testing.T) {
	root := record(t, host)
	for _, name := range []string{"process_open_files", "process_open_pipes", "process_memory_map", "process_envs", "process_namespaces"} {
		_, warnings := rows(t, make1(t, constructors[name], root, procfs.OnOpen(closed)), "pid", 1, 50)
		if len(warnings) != 1 || !errors.Is(warnings[0], fs.ErrPermission) {
			t.Errorf("%s: %v", name, warnings)
		}
	}
}

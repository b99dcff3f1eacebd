package files

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sockql/tables"
	"sockql/tables/tabletest"
)

var home = map[string]string{
	"home/ann/.ssh/id_rsa": "key\n", "home/ann/.ssh/idxrsa": "", "home/ann/note": "hello\n", "home/ann/new\nline": "",
	"home/ann/deep/er/.dot/file": "x", "home/ann/link": "->note", "home/ann/dirlink": "->deep", "home/ann/loop": "->loop",
	"home/ann/up": "->../..", "home/ann/gone": "->nowhere", "home/ann/pipe|": "", "home/ann/abs": "->/etc/passwd",
	"home/bob/.bashrc": "", "home/bob/100%": "", "home/bob/star*": "", "home/bob/b[1]": "", "etc/passwd": "root:x:0:0::/:\n", "home/file": "",
}

func TestFilePatterns(t *testing.T) {
	root := tree(t, home)
	table, err := File(Config{Root: root})
	must(t, table, err)
	for _, test := range []struct {
		terms []where
		want  string // paths, blanks between them
	}{
		{[]where{equal("path", "/home/ann/note", "/home/ann/nothing", "/home/bob/", "/")}, "/ /home/ann/note /home/bob/"},
		{[]where{equal("directory", "/home")}, "/home/ann /home/bob /home/file"},
		{[]where{equal("directory", "/home/", "/etc", "/home/file", "/no")}, "/etc/passwd /home/ann /home/bob /home/file"},
		{[]where{like("path", "/home/%")}, "/home/ann/ /home/bob/ /home/file"},
		{[]where{like("path", "/home/%/")}, "/home/ann/ /home/bob/"},
		{[]where{like("path", "/home/%n")}, "/home/ann"},
		{[]where{like("path", "/home/%/.ssh/id_rsa")}, "/home/ann/.ssh/id_rsa"},
		{[]where{like("path", "/home/%/.%")}, "/home/ann/.ssh/ /home/bob/.bashrc"},
		{[]where{like("path", "/home/%/%/id%")}, ""},
		{[]where{like("path", "/home/ann/dir%/er%")}, "/home/ann/dirlink/er/"},
		{[]where{like("path", "/home/ann/dee%%")}, "/home/ann/deep/ /home/ann/deep/er/ /home/ann/deep/er/.dot/ /home/ann/deep/er/.dot/file"},
		{[]where{like("path", "/home/bob/s%*")}, "/home/bob/star*"},
		{[]where{like("path", "/home/bob/b[%]")}, "/home/bob/b[1]"},
		{[]where{like("path", "/%%/note")}, ""},
		{[]where{like("path", "/etc/passwd")}, "/etc/passwd"},
		{[]where{like("path", "etc/%")}, "warning"},
		{[]where{like("path", "%.rc"), equal("directory", "/etc")}, "/etc/passwd"},
		{[]where{like("path", "/home/%%"), like("path", "/etc/%")}, "/home/ann/ /home/ann/abs /home/ann/deep/ /home/ann/deep/er/ /home/ann/deep/er/.dot/ " +
			"/home/ann/deep/er/.dot/file /home/ann/dirlink/ /home/ann/gone /home/ann/link /home/ann/loop /home/ann/new\nline /home/ann/note /home/ann/pipe " +
			"/home/ann/up/ /home/ann/.ssh/ /home/ann/.ssh/id_rsa /home/ann/.ssh/idxrsa /home/bob/ /home/bob/.bashrc /home/bob/100% /home/bob/b[1] /home/bob/star* /home/file"},
		{[]where{like("directory", "/home/%")}, "/home/ann/.ssh /home/ann/abs /home/ann/deep /home/ann/dirlink /home/ann/gone /home/ann/link /home/ann/loop " +
			"/home/ann/new\nline /home/ann/note /home/ann/pipe /home/ann/up /home/bob/.bashrc /home/bob/100% /home/bob/b[1] /home/bob/star*"},
		{[]where{like("directory", "/home/ann/d%%")}, "/home/ann/deep/er /home/ann/deep/er/.dot /home/ann/deep/er/.dot/file /home/ann/dirlink/er"},
		{[]where{like("directory", "/home/%/.ssh")}, "/home/ann/.ssh/id_rsa /home/ann/.ssh/idxrsa"},
		{[]where{like("directory", "%/.ssh"), like("path", "/etc/%")}, "/etc/passwd"},
		{[]where{glob("path", "/home/*/*e")}, "/home/ann/gone /home/ann/new\nline /home/ann/note /home/ann/pipe"},
		{[]where{glob("path", "/home/[ab]??/.bash*")}, "/home/bob/.bashrc"},
		{[]where{glob("path", "/home/bob/100%")}, "/home/bob/100%"},
		{[]where{equal("path", "/home/ann/note"), equal("directory", "/home/ann/")}, "/home/ann/note"},
		{[]where{equal("path", "/home/ann/note"), equal("directory", "/etc", "/home")}, ""},
		{[]where{equal("path", "\x00", "")}, ""},
		{[]where{{"path", tables.OpIs, []any{}}}, ""},
	} {
		got, warnings := ask(t, table, "path", test.terms...)
		want := strings.Fields(strings.ReplaceAll(test.want, "new\nline", "new~line"))
		for i := range want {
			want[i] = strings.ReplaceAll(want[i], "~", "\n")
		}
		slices.Sort(want)
		if test.want == "warning" {
			if len(got) != 0 || len(warnings) != 1 {
				t.Errorf("%v: %q, warnings %q", test.terms, got, warnings)
			}
			continue
		}
		if !slices.Equal(got, want) || len(warnings) != 0 {
			t.Errorf("%v:\n got %q, warnings %q\nwant %q", test.terms, got, warnings, want)
		}
	}
}

func TestFileColumns(t *testing.T) {
	root := tree(t, home)
	if err := os.Chmod(filepath.Join(root, "home/ann/note"), 0o755|os.ModeSetuid|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	table, err := File(Config{Root: root})
	must(t, table, err)
	const columns = "path directory filename mode size hard_links symlink type symlink_target_path pid_with_namespace mount_namespace_id"
	for path, want := range map[string]string{
		"/home/ann/note":     "/home/ann|note|5755|6|1|0|regular||0|",
		"/home/ann/link":     "/home/ann|link|5755|6|1|1|regular|note|0|",
		"/home/ann/abs":      "/home/ann|abs|0644|15|1|1|regular|/etc/passwd|0|", // that of the root asked for
		"/home/ann/pipe":     "/home/ann|pipe|0644|0|1|0|fifo||0|",
		"/home/bob/.bashrc":  "/home/bob|.bashrc|0644|0|1|0|regular||0|",
		"//home//ann///note": "//home//ann|note|5755|6|1|0|regular||0|",
	} {
		expect(t, table, columns, []where{equal("path", path)}, path+"|"+want)
	}
	expect(t, table, "directory filename type symlink", []where{equal("path", "/home/ann/")}, "/home/ann|.|directory|0")
	expect(t, table, "directory filename type", []where{equal("path", "/")}, "|/|directory")
	expect(t, table, "type symlink symlink_target_path mode", []where{equal("path", "/home/ann/gone")}, "unknown|1|nowhere|0777")
	expect(t, table, "type symlink symlink_target_path", []where{equal("path", "/home/ann/loop")}, "unknown|1|loop")
	expect(t, table, "path directory", []where{equal("directory", "/etc/")}, "/etc/passwd|/etc/")
	// .. in a link or a path stays in the root.
	expect(t, table, "path type", []where{equal("path", "/home/ann/up/../../../../etc/passwd")}, "/home/ann/up/../../../../etc/passwd|regular")
}

func TestFileConformance(t *testing.T) {
	root := tree(t, home)
	var reads tabletest.Counter
	table, err := File(Config{Root: root, OnOpen: reads.Read})
	must(t, table, err)
	tabletest.Run(t, table, tabletest.Options{
		Stable: true, Reads: &reads,
		Constraints: []tables.Constraint{like("path", "/home/%%").constraint(table)},
		Checks: map[string]func(tables.Value) error{
			"mode": func(v tables.Value) error {
				if s := v.String(); len(s) != 4 || strings.Trim(s, "01234567") != "" {
					return fmt.Errorf("%q", s)
				}
				return nil
			},
		},
	})
}

func TestFileDenied(t *testing.T) {
	root := tree(t, home)
	table, err := File(Config{Root: root, OnOpen: deny("/home/ann/deep")})
	must(t, table, err)
	rows, warnings := ask(t, table, "path", like("path", "/home/ann/%%"))
	if slices.Contains(rows, "/home/ann/deep/er/") || !slices.Contains(rows, "/home/ann/note") || len(warnings) != 2 || !os.IsPermission(unwrapAll(warnings[0])) {
		t.Errorf("rows %q, warnings %v", rows, warnings)
	}
	rows, warnings = ask(t, table, "path", equal("path", "/home/ann/deep", "/home/ann/note"))
	if !slices.Equal(rows, []string{"/home/ann/note"}) || !deniedOnce(warnings) {
		t.Errorf("rows %q, warnings %v", rows, warnings)
	}
}

func unwrapAll(err error) error {
	for {
		u, ok := err.(interface{ Unwrap() error })
		if !ok {
			return err
		}
		err = u.Unwrap()
	}
}

// A chain of directories deeper than a path may be long, as rm(1) meets it.
func TestFileDeep(t *testing.T) {
	root := tree(t, nil)
	fd, err := unix.Open(root, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.Repeat("d", 200)
	for range 100 {
		if err := unix.Mkdirat(fd, name, 0o755); err != nil {
			t.Fatal(err)
		}
		next, err := unix.Openat(fd, name, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		unix.Close(fd)
		if err != nil {
			t.Fatal(err)
		}
		fd = next
	}
	unix.Close(fd)
	table, err := File(Config{Root: root})
	must(t, table, err)
	rows, _ := ask(t, table, "path", like("path", "/%%"))
	if len(rows) < 15 || len(rows) > 25 { // as many as fit PATH_MAX
		t.Errorf("%d rows", len(rows))
	}
	short := tree(t, map[string]string{strings.Repeat("d/", 100): ""})
	table, err = File(Config{Root: short})
	must(t, table, err)
	rows, warnings := ask(t, table, "path", like("path", "/%%"))
	if len(rows) != maxDepth+1 || len(warnings) != 1 || !strings.Contains(warnings[0].Error(), "64 levels") {
		t.Errorf("%d rows, warnings %v", len(rows), warnings)
	}
}

// A search is over as soon as its context.
func TestFileCancel(t *testing.T) {
	table, err := File(Config{Root: tree(t, home)})
	must(t, table, err)
	ctx, cancel := context.WithCancel(context.Background())
	s := tables.NewSession(ctx)
	q := tables.NewQuery(s, table.Schema(), tables.Request{Used: 1, Constraints: []tables.Constraint{like("path", "/%%").constraint(table)}})
	rows := 0
	err = tables.Run(ctx, table, q, func(tables.Row) bool { rows++; cancel(); return true })
	if err != context.Canceled || rows != 1 {
		t.Errorf("%d rows, %v", rows, err)
	}
}

// Each file below /dev and /etc must be what stat(1) says.
func TestFileAgreesWithStat(t *testing.T) {
	stat, err := exec.LookPath("stat")
	if err != nil {
		t.Skipf("needs stat: %v", err)
	}
	table, err := File(Config{})
	must(t, table, err)
	paths := []any{"/", "/dev/null", "/etc", "/tmp", os.Args[0], filepath.Join(tree(t, home), "home/ann/note")}
	for _, path := range paths {
		out, err := exec.Command(stat, "-L", "-c", "%n|%i|%u|%g|%04a|%s|%o|%X|%Y|%Z|%W|%h", path.(string)).Output()
		if err != nil {
			t.Fatal(err)
		}
		fields := strings.Split(strings.TrimSpace(string(out)), "|")
		fields[4] = strings.Repeat("0", max(0, 4-len(fields[4]))) + fields[4]
		expect(t, table, "path inode uid gid mode size block_size atime mtime ctime btime hard_links", []where{equal("path", path)}, strings.Join(fields, "|"))
	}
	expect(t, table, "type device", []where{equal("path", "/dev/null")}, fmt.Sprintf("character|%d", unix.Mkdev(1, 3)))
}

// A process without a root directory of its own shows what the host has, and
// one in a recorded tree never shows this host's.
func TestFileOfProcess(t *testing.T) {
	if _, err := os.Readlink("/proc/self/root"); err != nil {
		t.Skipf("needs procfs: %v", err)
	}
	table, err := File(Config{Proc: openProc(t, "/proc")})
	must(t, table, err)
	namespace, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		t.Skip(err)
	}
	number := strings.Trim(namespace, "mnt:[]")
	pid := os.Getpid()
	expect(t, table, "path type pid_with_namespace mount_namespace_id", []where{equal("path", "/dev/null"), equal("pid_with_namespace", pid)},
		fmt.Sprintf("/dev/null|character|%d|%s", pid, number))
	expect(t, table, "path", []where{equal("path", "/dev/null"), equal("pid_with_namespace", 1<<30, -1)})

	recorded := tree(t, map[string]string{"1/ns/mnt": "->mnt:[5]", "1/root": "->/", "2/ns/mnt": "->mnt:[6]", "2/root/etc/x": "12"})
	table, err = File(Config{Proc: openProc(t, recorded)})
	must(t, table, err)
	rows, _ := ask(t, table, "path size mount_namespace_id", equal("path", "/etc/passwd", "/etc/x", "/"), equal("pid_with_namespace", 1, 2))
	if !slices.Contains(rows, "/etc/x|2|6") || slices.ContainsFunc(rows, func(r string) bool { return strings.HasPrefix(r, "/etc/passwd") || strings.HasSuffix(r, "|5") }) {
		t.Errorf("%q", rows)
	}
}

func FuzzPattern(f *testing.F) {
	for _, p := range []string{"/home/%/.ssh/%%", "/etc/%", "/%%", "/a[%", `/\%`, "%", "/home//%/x"} {
		f.Add(p, false)
		f.Add(strings.ReplaceAll(p, "%", "*"), true)
	}
	root := tree(f, home)
	table, err := File(Config{Root: root})
	must(f, table, err)
	f.Fuzz(func(t *testing.T, text string, isGlob bool) {
		term := like("path", text)
		if isGlob {
			term.op = tables.OpGlob
		}
		rows, _ := ask(t, table, "path symlink_target_path", term)
		if len(rows) > 1000 {
			t.Fatalf("%q: %d rows", text, len(rows))
		}
		for _, row := range rows {
			if !strings.HasPrefix(row, "/") {
				t.Fatalf("%q: %q", text, row)
			}
		}
	})
}

package system

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sockql/tables"
	"sockql/tables/internal/procfs"
	"sockql/tables/tabletest"
)

// tree makes files below a new directory. A content that begins with -> is the
// target of a symbolic link.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, link := strings.CutPrefix(content, "->"); link {
			err = os.Symlink(target, path)
		} else {
			err = os.WriteFile(path, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// recorded returns the procfs of a recorded tree.
func recorded(t *testing.T, files map[string]string) *procfs.FS {
	t.Helper()
	return openProc(t, tree(t, files))
}

func openProc(t *testing.T, root string) *procfs.FS {
	t.Helper()
	proc, err := procfs.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { proc.Close() })
	return proc
}

// where is an equality in a WHERE clause.
type where struct {
	column string
	values []any
}

// ask returns the rows of a table as texts joined by a bar, and the warnings.
func ask(t *testing.T, table tables.Table, terms ...where) (rows []string, warnings []error) {
	t.Helper()
	r := tables.Request{Used: tables.AllUsed}
	for _, w := range terms {
		c := tables.Constraint{Column: table.Schema().Column(w.column), Op: tables.OpEq}
		for _, v := range w.values {
			switch v := v.(type) {
			case int:
				c.Values = append(c.Values, tables.Int(v))
			case string:
				c.Values = append(c.Values, tables.String(v))
			}
		}
		r.Constraints = append(r.Constraints, c)
	}
	s := tables.NewSession(context.Background())
	defer s.Close()
	err := tables.Run(s.Context(), table, tables.NewQuery(s, table.Schema(), r), func(row tables.Row) bool {
		var cells []string
		for i := range table.Schema().Columns {
			if v := row.Column(i); v.IsNull() {
				cells = append(cells, "NULL")
			} else {
				cells = append(cells, v.String())
			}
		}
		rows = append(rows, strings.Join(cells, "|"))
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return rows, s.TakeWarnings()
}

func expect(t *testing.T, table tables.Table, terms []where, want ...string) {
	t.Helper()
	got, warnings := ask(t, table, terms...)
	if !slices.Equal(got, want) || len(warnings) > 0 {
		t.Errorf("%s where %v:\n got %q, warnings %q\nwant %q", table.Schema().Name, terms, got, warnings, want)
	}
}

const (
	passwd = "root:x:0:0:root:/root:/bin/bash\n" +
		"bin:x:2:2:bin:/bin:/usr/sbin/nologin\n" +
		"garbage\n" +
		"toor:x:0:0::/root:\n" +
		"nobody:x:4294967294:4294967294:nobody:/:/bin/false"
	group = "root:x:0:\nadm:x:4:bin,root\nagain:x:4:\nnobody:x:4294967294:\n"
)

func TestUsers(t *testing.T) {
	proc := recorded(t, map[string]string{
		"1/root/etc/passwd": "->host/passwd",
		"7/root/etc/passwd": "->/data/passwd", "7/root/data/passwd": "inside:x:5:5:::\n",
		"8/root/etc/passwd": "->../../../../9/root/etc/passwd",
		"9/root/etc/passwd": "nine:x:9:9:::\n",
		"10/root":           "->/", // this host, not the recorded one
		"11/root/etc/other": "",
	})
	table, err := Users(Config{Root: tree(t, map[string]string{"etc/passwd": passwd}), Proc: proc})
	if err != nil {
		t.Fatal(err)
	}
	const (
		root   = "0|0|0|0|root|root|/root|/bin/bash||0|0||NULL"
		toor   = "0|0|0|0|toor||/root|||0|0||NULL"
		bin    = "2|2|2|2|bin|bin|/bin|/usr/sbin/nologin||0|0||NULL"
		nobody = "4294967294|4294967294|-2|-2|nobody|nobody|/|/bin/false||0|0||NULL"
	)
	expect(t, table, nil, root, bin, toor, nobody)
	expect(t, table, []where{{"uid", []any{0}}}, root, toor)
	expect(t, table, []where{{"uid", []any{2, "4294967294"}}}, bin, nobody)
	expect(t, table, []where{{"uid", []any{-2}}})
	expect(t, table, []where{{"username", []any{"bin", "nobody", "x"}}}, bin, nobody)
	expect(t, table, []where{{"username", []any{"bin"}}, {"uid", []any{0}}})
	const pid = "pid_with_namespace"
	expect(t, table, []where{{pid, []any{0}}}, root, bin, toor, nobody)
	expect(t, table, []where{{pid, []any{9}}}, "9|9|9|9|nine||||"+"|9|0||NULL")
	expect(t, table, []where{{pid, []any{7}}}, "5|5|5|5|inside||||"+"|7|0||NULL") // an absolute link stays in its root
	expect(t, table, []where{{pid, []any{7, 9, 12}}, {"uid", []any{9}}}, "9|9|9|9|nine||||"+"|9|0||NULL")
	for _, none := range []int{1, 8, 10, 11, 12, -1} {
		expect(t, table, []where{{pid, []any{none}}})
	}
	got, warnings := ask(t, table, where{"include_remote", []any{1}}, where{"uid", []any{2}})
	if want := strings.Replace(bin, "|0|0||", "|0|1||", 1); len(got) != 1 || got[0] != want || len(warnings) != 1 {
		t.Errorf("with remote accounts %q, warnings %q; want %q and one warning", got, warnings, want)
	}
	tabletest.Run(t, table, tabletest.Options{Stable: true})
}

func TestGroups(t *testing.T) {
	proc := recorded(t, map[string]string{"9/root/etc/group": "nine:x:9:\n"})
	table, err := Groups(Config{Root: tree(t, map[string]string{"etc/group": group}), Proc: proc})
	if err != nil {
		t.Fatal(err)
	}
	expect(t, table, nil, "0|0|root|0|||NULL", "4|4|adm|0|||NULL", "4294967294|-2|nobody|0|||NULL")
	expect(t, table, []where{{"gid", []any{4}}}, "4|4|adm|0|||NULL")
	expect(t, table, []where{{"pid_with_namespace", []any{9}}}, "9|9|nine|9|||NULL")
	tabletest.Run(t, table, tabletest.Options{Stable: true})
}

func TestEtcServices(t *testing.T) {
	table, err := EtcServices(Config{Root: tree(t, map[string]string{
		"etc/services": "# x\nssh\t22/tcp # SSH # Shell\ndomain 53/udp nameserver dns\n",
	})})
	if err != nil {
		t.Fatal(err)
	}
	expect(t, table, nil, "ssh|22|tcp||SSH # Shell", "domain|53|udp|nameserver dns|")
	tabletest.Run(t, table, tabletest.Options{Stable: true})
}

func TestEtcProtocols(t *testing.T) {
	table, err := EtcProtocols(Config{Root: tree(t, map[string]string{
		"etc/protocols": "ip\t0\tIP\t\t# internet protocol\ntcp 6 TCP\nodd 7\n",
	})})
	if err != nil {
		t.Fatal(err)
	}
	expect(t, table, nil, "ip|0|IP|internet protocol", "tcp|6|TCP|", "odd|7||")
	tabletest.Run(t, table, tabletest.Options{Stable: true})
}

func TestUnreadableFilesAreWarnings(t *testing.T) {
	for name, root := range map[string]string{
		"missing":   t.TempDir(),
		"directory": tree(t, map[string]string{"etc/passwd/x": ""}),
	} {
		table, err := Users(Config{Root: root})
		if err != nil {
			t.Fatal(err)
		}
		rows, warnings := ask(t, table)
		if len(rows) > 0 || len(warnings) != 1 || !strings.HasPrefix(warnings[0].Error(), "users: /etc/passwd: open: ") {
			t.Errorf("%s: rows %q, warnings %q; want one warning", name, rows, warnings)
		}
		if name == "missing" && !errors.Is(warnings[0], os.ErrNotExist) {
			t.Errorf("%s: %v", name, warnings[0])
		}
	}
	pipe := t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(pipe, "etc"), 0o755), unix.Mkfifo(filepath.Join(pipe, "etc/passwd"), 0o644)); err != nil {
		t.Skipf("no pipe can be made: %v", err)
	}
	table, err := Users(Config{Root: pipe})
	if err != nil {
		t.Fatal(err)
	}
	if rows, warnings := ask(t, table); len(rows) > 0 || len(warnings) != 1 {
		t.Errorf("pipe: rows %q, warnings %q; want one warning", rows, warnings)
	}
}

// A live procfs: this test's own process has the host's accounts.
func TestUsersOfAProcess(t *testing.T) {
	if _, err := os.Stat("/proc/self/root/etc/passwd"); err != nil {
		t.Skipf("there is no passwd file to compare with: %v", err)
	}
	table, err := Users(Config{Proc: openProc(t, "/proc")})
	if err != nil {
		t.Fatal(err)
	}
	host, _ := ask(t, table)
	own, warnings := ask(t, table, where{"pid_with_namespace", []any{os.Getpid()}})
	if len(warnings) > 0 {
		t.Skipf("openat2 does not work here: %q", warnings)
	}
	if len(host) == 0 || len(own) != len(host) {
		t.Errorf("%d accounts of the process, %d of the host", len(own), len(host))
	}
}

func TestSessionReadsAFileOnce(t *testing.T) {
	root := tree(t, map[string]string{"etc/passwd": passwd})
	table, err := Users(Config{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	s := tables.NewSession(context.Background())
	defer s.Close()
	count := func() (n int) {
		t.Helper()
		err := tables.Run(s.Context(), table, tables.NewQuery(s, table.Schema(), tables.Request{}), func(tables.Row) bool { n++; return true })
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	first := count()
	if err := os.WriteFile(filepath.Join(root, "etc/passwd"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if again := count(); first != 4 || again != first {
		t.Errorf("%d rows, then %d; want 4 both times", first, again)
	}
}

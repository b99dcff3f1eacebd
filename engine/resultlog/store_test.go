package resultlog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sockql/tables"
)

// values returns rows of one cell.
func values(list ...tables.Value) *Rows {
	rows := NewRows([]string{"n"}, true)
	for _, v := range list {
		rows.Add([]tables.Value{v})
	}
	return rows
}

func numbers(list ...int) *Rows {
	var cells []tables.Value
	for _, n := range list {
		cells = append(cells, tables.Int(n))
	}
	return values(cells...)
}

func text(rows []Row) string {
	var s []string
	for _, r := range rows {
		_, value, _, _ := cut(string(r[1:]))
		s = append(s, unquote(value))
	}
	return strings.Join(s, " ")
}

func openStore(t *testing.T, path string) *Store {
	t.Helper()
	s, moved, err := Open(path)
	if err != nil || moved != nil {
		t.Fatal(err, moved)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestCompare(t *testing.T) {
	s := openStore(t, "")
	for i, tt := range []struct {
		sql            string
		epoch          uint64
		rows           *Rows
		removed, added string
		counter        uint64
		flags          string // First, NewEpoch, NewSQL
		logged         bool
	}{
		{"q", 0, numbers(), "", "", 0, "101", true},
		{"q", 0, numbers(), "", "", 0, "000", false},
		{"q", 0, numbers(3, 1, 1), "", "3 1 1", 1, "000", true},
		{"q", 0, numbers(1, 3, 1), "", "", 1, "000", false},
		{"q", 0, numbers(1, 2), "1 3", "2", 2, "000", true},
		{"r", 0, numbers(1, 2), "", "", 2, "001", false},
		{"r", 0, numbers(1, 2), "", "", 2, "000", false},
		{"r", 7, numbers(1, 2), "", "1 2", 0, "010", true},
		{"r", 7, numbers(10, 9), "1 2", "10 9", 1, "000", true},
		{"r", 7, values(tables.Int(9), tables.String("10")), "10", "10", 2, "000", true},
	} {
		c, err := s.Compare("name", tt.sql, tt.epoch, tt.rows)
		if err != nil {
			t.Fatal(err)
		}
		var flags strings.Builder
		for _, f := range []bool{c.First, c.NewEpoch, c.NewSQL} {
			flags.WriteByte("01"[map[bool]int{true: 1}[f]])
		}
		if text(c.Removed) != tt.removed || text(c.Added) != tt.added || c.Counter != tt.counter || flags.String() != tt.flags || c.Logged(true) != tt.logged {
			t.Errorf("step %d: removed %q, added %q, counter %d, flags %s, logged %t; want %+v", i, text(c.Removed), text(c.Added), c.Counter, flags.String(), c.Logged(true), tt)
		}
		if err := s.Commit(c, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Forget("name"); err != nil {
		t.Fatal(err)
	}
	if c, err := s.Compare("name", "r", 7, numbers()); err != nil || !c.First {
		t.Errorf("after Forget: %+v, %v", c, err)
	}
}

func TestSettings(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dir", "state")
	s := openStore(t, path)
	if err := s.Commit(nil, nil, map[string]string{"a.1": "x", "a.2": "y", "b": "z"}); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode is %v, %v", info.Mode(), err)
	}
	if _, _, err := Open(path); !errors.Is(err, ErrLocked) {
		t.Errorf("opened twice: %v", err)
	}
	s.Set("a.1", "")
	s.Close()
	s = openStore(t, path)
	var got []string
	if err := s.Settings("a.", func(name, value string) { got = append(got, name+value) }); err != nil || !slices.Equal(got, []string{"a.2y"}) {
		t.Errorf("settings are %q, %v", got, err)
	}
	if v, err := s.Setting("b"); v != "z" || err != nil {
		t.Errorf("setting is %q, %v", v, err)
	}
}

func TestUnusableStore(t *testing.T) {
	for name, spoil := range map[string]func(path string){
		"no database": func(path string) { os.WriteFile(path, bytes.Repeat([]byte("not a database\n"), 100), 0o600) },
		"damaged": func(path string) {
			f, _ := os.OpenFile(path, os.O_WRONLY, 0)
			f.WriteAt(bytes.Repeat([]byte{0xa5}, 9000), 4096)
			f.Close()
		},
		"later version": func(path string) {
			s, err := open(path)
			if err != nil {
				t.Fatal(err)
			}
			s.exec("PRAGMA user_version = 99")
			s.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "state")
			s := openStore(t, path)
			c, _ := s.Compare("q", "sql", 0, numbers(1))
			if err := s.Commit(c, nil, nil); err != nil {
				t.Fatal(err)
			}
			s.Close()
			spoil(path)
			before, _ := os.ReadFile(path)
			s, moved, err := Open(path)
			if err != nil || moved == nil {
				t.Fatalf("error %v, moved %v", err, moved)
			}
			defer s.Close()
			aside, _ := filepath.Glob(path + ".unusable-*")
			if len(aside) == 0 || !strings.Contains(moved.Error(), aside[0]) {
				t.Fatalf("moved to %q: %v", aside, moved)
			}
			if after, _ := os.ReadFile(aside[0]); !bytes.Equal(before, after) {
				t.Error("the file that was moved aside has changed")
			}
			if names, err := s.Queries(); len(names) != 0 || err != nil {
				t.Errorf("queries %q, %v", names, err)
			}
		})
	}
}

type fakeSink struct {
	name  string
	fail  error
	lines []string
}

func (f *fakeSink) Name() string { return f.name }

func (f *fakeSink) Write(lines []Line) error {
	if f.fail != nil {
		return f.fail
	}
	for _, l := range lines {
		f.lines = append(f.lines, l.Text)
	}
	return nil
}

func TestDeliver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	s := openStore(t, path)
	good, bad := &fakeSink{name: "good"}, &fakeSink{name: "bad", fail: errors.New("disk full")}
	if err := s.Attach(3, good, bad); err != nil {
		t.Fatal(err)
	}
	put := func(s *Store, texts ...string) error {
		t.Helper()
		for _, text := range texts {
			if err := s.Commit(nil, slices.Values([]Line{{Results, text}}), nil); err != nil {
				t.Fatal(err)
			}
		}
		return s.Deliver()
	}
	if err := put(s, "1", "2"); err == nil || !strings.Contains(err.Error(), "logger bad: disk full") {
		t.Errorf("error is %v", err)
	}
	if err := put(s, "3"); err != nil {
		t.Errorf("the failure is reported twice: %v", err)
	}
	if n, err := s.Waiting(); n != 3 || err != nil {
		t.Errorf("%d lines wait, %v", n, err)
	}
	var dropped *DroppedError
	if err := put(s, "4", "5"); !errors.As(err, &dropped) || dropped.Lines != 2 {
		t.Errorf("error is %v, want 2 dropped lines", err)
	}
	s.Close()
	s = openStore(t, path) // what waits survives the process
	bad.fail = nil
	if err := s.Attach(3, good, bad); err != nil {
		t.Fatal(err)
	}
	if err := put(s, "6"); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(good.lines, ""); got != "123456" {
		t.Errorf("the good logger has %s", got)
	}
	if got := strings.Join(bad.lines, ""); got != "3456" {
		t.Errorf("the logger that failed has %s", got)
	}
	if n, err := s.Waiting(); n != 0 || err != nil {
		t.Errorf("%d lines wait, %v", n, err)
	}
	if row, err := s.one("SELECT count(*) FROM line"); err != nil || row[0].Int64() != 0 {
		t.Errorf("%v lines are left, %v", row, err)
	}
}

func TestFilesystem(t *testing.T) {
	dir := t.TempDir()
	f := &Filesystem{Dir: dir, Mode: 0o600, RotateSize: 10, RotateFiles: 2}
	read := func(name string) string { b, _ := os.ReadFile(filepath.Join(dir, name)); return string(b) }
	for _, line := range []string{"first line", "second line", "third line", "fourth line"} {
		if err := f.Write([]Line{{Results, line}, {Snapshots, "s"}}); err != nil {
			t.Fatal(err)
		}
	}
	if got := read(resultsFile) + read(resultsFile+".1") + read(resultsFile+".2") + read(resultsFile+".3"); got != "fourth line\nthird line\nsecond line\n" {
		t.Errorf("rotated files are %q", got)
	}
	if got := read(snapshotsFile); got != "s\ns\ns\ns\n" {
		t.Errorf("snapshots are %q", got)
	}
	if info, err := os.Stat(filepath.Join(dir, resultsFile)); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode is %v, %v", info, err)
	}
	// The second file of a batch cannot be written: the first is as before.
	f = &Filesystem{Dir: t.TempDir()}
	os.Mkdir(f.path(Snapshots), 0o700)
	if err := f.Write([]Line{{Results, "r"}, {Snapshots, "s"}}); err == nil {
		t.Error("no error")
	}
	if b, _ := os.ReadFile(f.path(Results)); len(b) != 0 {
		t.Errorf("results are %q", b)
	}
}

// A disk that is full keeps lines in the store and not half in the file.
func TestFullDisk(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip(err)
	}
	f := &Filesystem{Dir: t.TempDir()}
	if err := os.Symlink("/dev/full", f.path(Snapshots)); err != nil {
		t.Fatal(err)
	}
	s := openStore(t, "")
	if err := s.Attach(0, f); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(nil, slices.Values([]Line{{Results, "r"}, {Snapshots, "s"}}), nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Deliver(); err == nil || !strings.Contains(err.Error(), "no space left on device") {
		t.Errorf("error is %v", err)
	}
	os.Remove(f.path(Snapshots))
	if err := s.Deliver(); err != nil {
		t.Fatal(err)
	}
	for stream, want := range map[Stream]string{Results: "r\n", Snapshots: "s\n"} {
		if got, err := os.ReadFile(f.path(stream)); string(got) != want {
			t.Errorf("stream %d is %q, %v", stream, got, err)
		}
	}
}

func TestResume(t *testing.T) {
	lines := []Line{{Results, "one"}, {Snapshots, "snap"}, {Results, "two"}, {Results, "two"}, {Results, "three"}}
	for name, tt := range map[string]struct {
		results, snapshots string
		done               int
		left               string
	}{
		"nothing":          {"old\n", "", 0, "old\n"},
		"fragment":         {"old\non", "", 0, "old\n"},
		"foreign fragment": {"old\nxx", "", 0, "old\nxx\n"},
		"one":              {"old\none\n", "", 1, "old\none\n"},
		"beyond a gap":     {"old\none\ntwo\nt", "", 1, "old\none\n"},
		"both":             {"one\ntwo\ntwo\nthr", "snap\n", 4, "one\ntwo\ntwo\n"},
		"all":              {"one\ntwo\ntwo\nthree\n", "x\nsnap\n", 5, "one\ntwo\ntwo\nthree\n"},
	} {
		t.Run(name, func(t *testing.T) {
			f := &Filesystem{Dir: t.TempDir()}
			os.WriteFile(f.path(Results), []byte(tt.results), 0o600)
			os.WriteFile(f.path(Snapshots), []byte(tt.snapshots), 0o600)
			done, err := f.Resume(lines)
			left, _ := os.ReadFile(f.path(Results))
			if err != nil || done != tt.done || string(left) != tt.left {
				t.Errorf("%d lines done, %q left, %v; want %+v", done, left, err, tt)
			}
		})
	}
	if n, err := (&Filesystem{Dir: t.TempDir()}).Resume(lines); n != 0 || err != nil {
		t.Errorf("without files: %d, %v", n, err)
	}
}

const crashDir = "SOCKQL_TEST_CRASH_DIR"

// TestCrashChild is what TestCrash kills: each run sees rows n to n+4.
func TestCrashChild(t *testing.T) {
	dir := os.Getenv(crashDir)
	if dir == "" {
		t.Skip("TestCrash runs it")
	}
	s := openStore(t, filepath.Join(dir, "state"))
	if err := s.Attach(0, &Filesystem{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	for {
		if err := s.Deliver(); err != nil {
			t.Fatal(err)
		}
		v, err := s.Setting("n")
		if err != nil {
			t.Fatal(err)
		}
		n, _ := strconv.Atoi(v)
		c, err := s.Compare("q", "sql", 0, numbers(n, n+1, n+2, n+3, n+4))
		if err != nil {
			t.Fatal(err)
		}
		lines := Format{Events: true}.Differential(&Item{Name: "q", Counter: c.Counter, Removed: c.Removed, Added: c.Added})
		if err := s.Commit(c, lines, map[string]string{"n": strconv.Itoa(n + 1)}); err != nil {
			t.Fatal(err)
		}
	}
}

// A process is killed again and again at any moment. No line may be lost,
// repeated or torn.
func TestCrash(t *testing.T) {
	kills := 200
	if testing.Short() {
		kills = 20
	}
	dir := t.TempDir()
	log := filepath.Join(dir, resultsFile)
	size := func() int64 {
		if info, err := os.Stat(log); err == nil {
			return info.Size()
		}
		return 0
	}
	for i := range kills {
		cmd := exec.Command(os.Args[0], "-test.run=^TestCrashChild$")
		cmd.Env = append(os.Environ(), crashDir+"="+dir)
		var out bytes.Buffer
		cmd.Stdout = &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- cmd.Wait() }()
		// Not before it has written something, and then at another point of
		// its work each time.
		for before := size(); size() == before; {
			select {
			case err := <-done:
				t.Fatalf("the child ended by itself: %v\n%s", err, out.String())
			case <-time.After(time.Millisecond):
			}
		}
		time.Sleep(time.Duration(i%7) * 137 * time.Microsecond)
		cmd.Process.Kill()
		<-done
	}
	s := openStore(t, filepath.Join(dir, "state"))
	if err := s.Attach(0, &Filesystem{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	if err := s.Deliver(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(string(b)) {
		var l struct {
			Counter int
			Columns struct{ N string }
			Action  string
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		got = append(got, fmt.Sprint(l.Counter, l.Action, l.Columns.N))
	}
	want := []string{"0added0", "0added1", "0added2", "0added3", "0added4"}
	for n := 1; len(want) < len(got); n++ {
		want = append(want, fmt.Sprint(n, "removed", n-1), fmt.Sprint(n, "added", n+4))
	}
	if !slices.Equal(got, want) {
		for i := range got {
			if got[i] != want[i] {
				t.Fatalf("line %d is %s, want %s", i+1, got[i], want[i])
			}
		}
	}
	t.Logf("%d lines after %d kills", len(got), kills)
}

func TestStatus(t *testing.T) {
	dir := t.TempDir()
	var stderr bytes.Buffer
	h := NewStatus(StatusConfig{Dir: dir, Stderr: &stderr, MinStderr: slog.LevelError, Human: true})
	defer h.Close()
	log := slog.New(h)
	log.Debug("nothing")
	log.Info("Storing initial results for new scheduled query:", "query", "a")
	log.With("query", "b").Error("Error executing scheduled query", "error", errors.New("no such table:\nnope"), "rows", 3)
	info, _ := os.ReadFile(filepath.Join(dir, "osqueryd.INFO"))
	failed, _ := os.ReadFile(filepath.Join(dir, "osqueryd.ERROR"))
	lines := strings.Split(strings.TrimSpace(string(info)), "\n")
	if len(lines) != 6 || !strings.HasPrefix(lines[0], "Log file created at: ") {
		t.Fatalf("INFO is %q", info)
	}
	for i, want := range []string{
		"] Storing initial results for new scheduled query: a",
		`] Error executing scheduled query b: no such table:\nnope rows=3`,
	} {
		line := lines[4+i]
		var month, second, pid, number int
		n, err := fmt.Sscanf(line[1:], "%4d %2d:%2d:%2d.%6d %d store_test.go:%d]", &month, &second, &second, &second, &second, &pid, &number)
		if err != nil || n != 7 || line[0] != "IE"[i] || pid != os.Getpid() || !strings.HasSuffix(line, want) {
			t.Errorf("line is %q, want %q: %v", line, want, err)
		}
	}
	if n := strings.Count(string(failed), "] "); n != 2 { // the header has one
		t.Errorf("ERROR is %q", failed)
	}
	if got := stderr.String(); !strings.HasSuffix(got, " ERROR   Error executing scheduled query b: no such table:\\nnope rows=3\n") || strings.Count(got, "\n") != 1 {
		t.Errorf("standard error is %q", got)
	}
	if h.Enabled(context.Background(), slog.LevelDebug) {
		t.Error("debug is enabled")
	}
	// A file that cannot be made leaves the line on standard error.
	stderr.Reset()
	lost := NewStatus(StatusConfig{Dir: filepath.Join(dir, "none"), Stderr: &stderr, MinStderr: slog.LevelError})
	slog.New(lost).Info("still here")
	if !strings.Contains(stderr.String(), "] still here\nstatus log: ") {
		t.Errorf("standard error is %q", stderr.String())
	}
}

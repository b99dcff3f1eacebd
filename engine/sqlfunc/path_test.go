package sqlfunc

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParentDirectory(t *testing.T) {
	const text = "Invalid inputs to parent_directory, TEXT was expected"
	check(t, "parent_directory", []call{
		{args: []any{"/usr/bin/ls"}, want: "/usr/bin"},
		{args: []any{"/usr/bin/"}, want: "/usr/bin"},
		{args: []any{"/ls"}, want: ""},
		{args: []any{"a/b"}, want: "a"},
		{args: []any{"ls"}}, {args: []any{""}},
		{args: []any{"ls\x00/x"}},
		{args: []any{nil}, err: text}, {args: []any{1}, err: text}, {args: []any{[]byte("/a/b")}, err: text},
	})
}

func TestProgramOfCommand(t *testing.T) {
	dir := t.TempDir()
	if strings.ContainsAny(dir, " \t") {
		t.Skipf("the directory for temporary files has white space in its name: %q", dir)
	}
	for _, name := range []string{"run", "run it", `back\slash`} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "directory"), 0o755); err != nil {
		t.Fatal(err)
	}
	in := func(s string) string { return strings.ReplaceAll(s, "$", dir+"/") }
	const invalid = "Invalid inputs to find_binary_path_from_cmd"
	for _, k := range []struct {
		args []any
		want string
		sure int
	}{
		{[]any{"$run"}, "$run", 1},
		{[]any{"$run -x y"}, "$run", 1},
		{[]any{"  \t$run -x"}, "$run", 1},
		{[]any{"$run it"}, "$run", 0},
		{[]any{"$run it now"}, "$run", 0},
		{[]any{`$run\ it now`}, "$run it", 1},
		{[]any{`"$run it" now`, 1}, "$run it", 1},
		{[]any{`"$run it" now`, 0}, "", 1},
		{[]any{`"$run it" now`}, "", 1},
		{[]any{"$run^ it now", 0, "^"}, "$run it", 1},
		{[]any{`$back\\slash x`}, `$back\slash`, 1},
		{[]any{`$back\slash x`, 0, "^"}, `$back\slash`, 1},
		{[]any{"$directory x"}, "", 1},
		{[]any{"$missing"}, "", 1},
		{[]any{""}, "", 1},
		{[]any{strings.Repeat(" x", 5000)}, "", 1},
		{[]any{"$run " + strings.Repeat("x ", 5000)}, "$run", 1},
	} {
		args := append([]any{in(k.args[0].(string))}, k.args[1:]...)
		check(t, "find_file_path_in_cmd", []call{{args: args, want: in(k.want)}})
		check(t, "is_path_deterministic", []call{{args: args, want: k.sure}})
	}
	for _, args := range [][]any{{}, {nil}, {"x", nil}, {"x", 1, nil}, {"x", 1, ""}, {"x", 1, "ab"}} {
		check(t, "find_file_path_in_cmd", []call{{args: args, err: invalid}})
		check(t, "is_path_deterministic", []call{{args: args, err: "Invalid inputs to is_path_deterministic"}})
	}
}

func TestProgramAsksSeldom(t *testing.T) {
	asked := 0
	stat := func(string) (fs.FileInfo, error) { asked++; return nil, fs.ErrNotExist }
	find := findFilePathInCmd(stat)
	c, _ := newCall()
	if _, err := find(context.Background(), c, values([]any{strings.Repeat("x ", 1<<20)})); err != nil {
		t.Fatal(err)
	}
	if asked > maxProbes+1 {
		t.Errorf("a long command asks for %d files, want at most %d", asked, maxProbes+1)
	}
}

func FuzzProgramOfCommand(f *testing.F) {
	f.Add(`"/bin/sh" -c\ x`, true, byte('\\'))
	f.Fuzz(func(t *testing.T, line string, quoting bool, escape byte) {
		var asked []string
		stat := func(name string) (fs.FileInfo, error) { asked = append(asked, name); return nil, fs.ErrNotExist }
		c := command{line: text(value(line)), quoting: quoting, escape: escape}
		if got := c.program(stat, true); got != "" {
			t.Errorf("found %q where nothing is", got)
		}
		for _, name := range asked {
			if name == "" || len(name) > len(line) {
				t.Errorf("asked for %q", name)
			}
		}
	})
}

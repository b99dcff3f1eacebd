package shell

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sockql/engine"
	"sockql/shell/internal/render"
	"sockql/tables"
)

func TestSplitDot(t *testing.T) {
	for line, want := range map[string][]string{
		"mode csv":           {"mode", "csv"},
		"  a\t b ":           {"a", "b"},
		`print 'a b' "c d"`:  {"print", "a b", "c d"},
		`print "a\"b" 'c\n'`: {"print", `a"b`, `c\n`},
		`separator \t`:       {"separator", "\t"},
		`separator "\101\n"`: {"separator", "A\n"},
		`print 'open`:        {"print", "open"},
		`print "open\`:       {"print", `open\`},
		`print ''`:           {"print", ""},
		"":                   nil,
	} {
		if got := splitDot(line); !slices.Equal(got, want) {
			t.Errorf("%q splits into %q, want %q", line, got, want)
		}
	}
}

func FuzzSplitDot(f *testing.F) {
	for _, s := range []string{"mode csv", `print "a\"b" 'c`, `\`, `"\`, `x\777 \1`, "'", "\x00 \xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		words := splitDot(line)
		if len(words) > 50 {
			t.Fatalf("%d words", len(words))
		}
		for _, w := range words {
			if len(w) > len(line) {
				t.Fatalf("%q grew to %q", line, w)
			}
		}
		if !strings.ContainsAny(line, "'\"\\") && len(words) < 50 && !slices.Equal(words, strings.FieldsFunc(line, func(r rune) bool { return r < 0x80 && isSpace(byte(r)) })) {
			t.Fatalf("%q splits into %q", line, words)
		}
	})
}

func TestInteger(t *testing.T) {
	for text, want := range map[string]int{
		"3": 3, "-12": -12, "+7": 7, "0x1F": 31, "2k": 2000, "2KiB": 2048, "3MB": 3_000_000, "1G": 1_000_000_000,
		"": 0, "abc": 0, "12abc": 12, "-": 0, "0x": 0,
	} {
		if got := integer(text); got != want {
			t.Errorf("integer(%q) = %d, want %d", text, got, want)
		}
	}
}

func TestBlank(t *testing.T) {
	for text, want := range map[string]bool{
		"": true, " \t": true, "-- x": true, "/* x */ -- y": true, "/* x": false, "-- x\n1": false, "1": false, "/**/": true, "-": false,
	} {
		if got := blank(text); got != want {
			t.Errorf("blank(%q) = %v", text, got)
		}
	}
}

func TestFlags(t *testing.T) {
	f := newFlags()
	rest, err := f.parse([]string{"a", "-csv", "--noheader", "--separator", "--", "--nullvalue=x=y", "-", "--json=0", "--", "--line"})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"a", "-", "--line"}; !slices.Equal(rest, want) {
		t.Errorf("left over is %q, want %q", rest, want)
	}
	for name, want := range map[string]string{"csv": "true", "header": "false", "separator": "--", "nullvalue": "x=y", "json": "false", "line": "false"} {
		if got := f.string(name); got != want {
			t.Errorf("--%s is %q, want %q", name, got, want)
		}
	}
	names := map[string]bool{}
	for _, d := range flagDefs {
		if names[d.name] {
			t.Errorf("flag %q is there twice", d.name)
		}
		names[d.name] = true
		if d.use == effective && d.doc == "" {
			t.Errorf("flag %q has no documentation", d.name)
		}
		if strings.HasPrefix(d.name, "no") && names[d.name[2:]] {
			t.Errorf("flag %q reads as the opposite of another", d.name)
		}
	}
}

func FuzzFlags(f *testing.F) {
	f.Add("--json\x1fselect 1")
	f.Add("-separator\x1f=\x1f--no\x1f---\x1f--=x")
	f.Fuzz(func(t *testing.T, line string) {
		args := strings.Split(line, "\x1f")
		if strings.Contains(line, "flagfile") {
			t.Skip("reads files")
		}
		flags := newFlags()
		rest, err := flags.parse(args)
		if err != nil && !strings.HasPrefix(err.Error(), "ERROR: ") {
			t.Fatalf("%q: %v", args, err)
		}
		for _, a := range rest {
			if !slices.Contains(args, a) {
				t.Fatalf("%q made up %q", args, a)
			}
		}
	})
}

func TestDotCommands(t *testing.T) {
	for _, d := range dotCommands() {
		if d.doc == "" || d.run == nil || d.least < 1 || d.least > len(d.name) || d.max >= 0 && d.max < d.min {
			t.Errorf(".%s is not defined well", d.name)
		}
	}
}

func TestHistoryLines(t *testing.T) {
	for text, want := range map[string][]string{
		"select 1;":               {"select 1;"},
		"select\n1;":              {"select 1;"},
		"select -- one\n1;":       {"select -- one", "1;"},
		"  \n":                    nil,
		"select 'a' -- x\n\n, 2;": {"select 'a' -- x", ", 2;"},
	} {
		if got := entries(text); !slices.Equal(got, want) {
			t.Errorf("%q is remembered as %q, want %q", text, got, want)
		}
	}
	var lines []string
	for i := range historyLimit + 10 {
		lines = remember(lines, fmt.Sprint(i))
	}
	lines = remember(lines, "500")
	if len(lines) != historyLimit || lines[len(lines)-1] != "500" || slices.Index(lines, "500") != len(lines)-1 || lines[0] != "10" {
		t.Errorf("%d lines from %q to %q", len(lines), lines[0], lines[len(lines)-1])
	}
}

// TestHistoryShared checks that two shells at once lose nothing of each other.
func TestHistoryShared(t *testing.T) {
	dir := t.TempDir()
	getenv := func(name string) string { return map[string]string{"HOME": dir}[name] }
	a, err := openHistory(getenv)
	if err != nil {
		t.Fatal(err)
	}
	b, err := openHistory(getenv)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		h    *history
		text string
	}{{a, "one"}, {b, "two"}, {a, "three"}, {b, "one"}} {
		if err := step.h.add(step.text); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, ".local/state/sockql/history"))
	if err != nil || string(text) != "two\nthree\none\n" {
		t.Errorf("the file holds %q, %v", text, err)
	}
}

func TestUserFileOfOthers(t *testing.T) {
	// HOME that belongs to somebody else is not used: sudo leaves it so.
	if os.Geteuid() == 0 {
		dir := t.TempDir()
		if err := os.Chown(dir, 65534, -1); err != nil {
			t.Fatal(err)
		}
		got, err := userFile(func(string) string { return dir }, "XDG_STATE_HOME", ".local/state", "history")
		if err != nil || strings.HasPrefix(got, dir) {
			t.Errorf("root would write %q, %v", got, err)
		}
		return
	}
	got, err := userFile(func(string) string { return "/" }, "XDG_STATE_HOME", ".local/state", "history")
	if err == nil && strings.HasPrefix(got, "/.local") {
		t.Errorf("an ordinary user would write %q", got)
	}
}

func FuzzHasOrder(f *testing.F) {
	for _, s := range []string{"select 1 order by 1", "order", ")(order by", "'order by"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, sql string) { hasOrder(sql) })
}

func TestHasOrder(t *testing.T) {
	for sql, want := range map[string]bool{
		"select 1 order by 1":                             true,
		"select * from (select 1 order by 1)":             false,
		"select rank() over (order by n) from t":          false,
		"select 'order by'":                               false,
		"select 1 -- order by":                            false,
		"select * from (select 2 order by 1) ORDER\nBY 1": true,
	} {
		if got := hasOrder(sql); got != want {
			t.Errorf("hasOrder(%q) = %v", sql, got)
		}
	}
}

func rowsOf(texts ...string) []watchedRow {
	var rows []watchedRow
	for _, text := range texts {
		cells := []tables.Value{tables.String(text)}
		rows = append(rows, watchedRow{cells: cells, key: rowKey(cells)})
	}
	return rows
}

func TestMerge(t *testing.T) {
	show := func(rows []watchedRow) string {
		var b strings.Builder
		for _, r := range rows {
			b.WriteString([]string{"", "+", "-"}[r.status] + r.cells[0].String() + " ")
		}
		return strings.TrimSpace(b.String())
	}
	view := merge(nil, rowsOf("a", "b", "c"), false, true)
	for _, step := range []struct {
		fresh []watchedRow
		want  string
	}{
		{rowsOf("c", "b", "a"), "a b c"},                // the order stays
		{rowsOf("d", "c", "a"), "a -b c +d"},            // what is gone keeps its place once
		{rowsOf("d", "a", "c", "e"), "a c d +e"},        //
		{rowsOf("a", "a", "c", "d", "e"), "a c d e +a"}, // equal rows count
		{rowsOf("a", "c", "d", "e"), "a c d e -a"},
		{nil, "-a -c -d -e"},
		{nil, ""},
	} {
		view = merge(view, step.fresh, false, false)
		if got := show(view); got != step.want {
			t.Errorf("the view is %q, want %q", got, step.want)
		}
	}
	view = merge(nil, rowsOf("1", "2", "3"), true, true)
	view = merge(view, rowsOf("0", "3", "2"), true, false)
	if got, want := show(view), "-1 +0 3 2"; got != want {
		t.Errorf("in the statement's order the view is %q, want %q", got, want)
	}
}

func TestRowKey(t *testing.T) {
	seen := map[string]string{}
	for _, cells := range [][]tables.Value{
		{tables.String("ab"), tables.String("")},
		{tables.String("a"), tables.String("b")},
		{tables.String(""), tables.String("ab")},
		{tables.Int(1), tables.Null()},
		{tables.String("1"), tables.Null()},
		{tables.Float(1), tables.Null()},
	} {
		key, text := rowKey(cells), fmt.Sprint(cells)
		if other, ok := seen[key]; ok {
			t.Errorf("%s and %s have one key", text, other)
		}
		seen[key] = text
	}
}

func TestInterval(t *testing.T) {
	for text, want := range map[string]time.Duration{"1s": time.Second, "500ms": 500 * time.Millisecond, "2": 2 * time.Second, "0.5": 500 * time.Millisecond} {
		if got, err := interval(text); err != nil || got != want {
			t.Errorf("interval(%q) = %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "x", "0", "-1s", "1ms", "NaN", "1e300", "25h"} {
		if got, err := interval(text); err == nil {
			t.Errorf("interval(%q) = %v", text, got)
		}
	}
}

func TestNearest(t *testing.T) {
	words := []string{"people", "pets", "processes", "process_open_sockets"}
	for name, want := range map[string]string{"peple": "people", "PETS": "pets", "proceses": "processes", "x": "", "nothing": "", "process_open_socket": "process_open_sockets"} {
		if got := nearest(name, words); got != want {
			t.Errorf("nearest(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestPrimaryKey(t *testing.T) {
	column := func(name string, f tables.Flags) tables.ColumnInfo {
		return tables.ColumnInfo{Name: name, Type: tables.BigInt, Flags: f}
	}
	for _, c := range []struct {
		columns []tables.ColumnInfo
		want    string
	}{
		{[]tables.ColumnInfo{column("a", 0), column("b", tables.Pushdown)}, "CREATE TABLE t(`a` BIGINT, `b` BIGINT);"},
		{[]tables.ColumnInfo{column("a", 0), column("b", tables.Index), column("c", tables.Additional)}, "CREATE TABLE t(`a` BIGINT, `b` BIGINT, `c` BIGINT, PRIMARY KEY (`b`, `c`)) WITHOUT ROWID;"},
		{[]tables.ColumnInfo{column("a", tables.Additional), column("b", 0), column("h", tables.Hidden)}, "CREATE TABLE t(`a` BIGINT, `b` BIGINT, `h` BIGINT HIDDEN, PRIMARY KEY (`a`, `b`)) WITHOUT ROWID;"},
	} {
		if got := createTable(namedSchema{"t", &tables.Schema{Name: "t", Columns: c.columns}}); got != c.want {
			t.Errorf("got %s\nwant %s", got, c.want)
		}
	}
}

func TestManual(t *testing.T) {
	var b strings.Builder
	writeManual(&b, &Config{Version: "1.2.3"})
	for _, d := range documented(false) {
		if !strings.Contains(b.String(), strings.NewReplacer("-", `\-`, "…", "...").Replace(flagForm(d))) {
			t.Errorf("the manual lacks --%s", d.name)
		}
	}
	for line := range strings.Lines(b.String()) {
		if strings.HasPrefix(line, "'") || strings.Contains(line, "…") {
			t.Errorf("roff would stumble over %q", line)
		}
	}
}

func TestWrap(t *testing.T) {
	if d := cmp.Diff("aa bb\n  cc", wrap("aa  bb cc", 6, "  ")); d != "" {
		t.Error(d)
	}
}

func BenchmarkExec(b *testing.B) {
	type row struct{ n int64 }
	def := tables.Def[row]{
		Name: "wide", Doc: "Many rows.",
		Rows: func(_ context.Context, _ *tables.Query, yield func(*row) bool) error {
			for r := (row{}); r.n < 100_000 && yield(&r); r.n++ {
			}
			return nil
		},
	}
	for i := range 12 {
		c := tables.Column[row]{Name: fmt.Sprintf("c%d", i), Doc: "A number.", Type: tables.BigInt, Get: func(r *row) tables.Value { return tables.Int(r.n) }}
		if i >= 8 {
			c.Type, c.Get = tables.Text, func(*row) tables.Value { return tables.String("192.168.2.156") }
		}
		def.Columns = append(def.Columns, c)
	}
	table, err := tables.New(def)
	if err != nil {
		b.Fatal(err)
	}
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer null.Close()
	c := Config{
		Stdout: null, Stderr: os.Stderr, Getenv: func(string) string { return "" },
		Engine: func(Sources) (*engine.Engine, error) {
			return engine.New(engine.Config{Tables: []tables.Table{table}})
		},
	}
	for _, m := range []render.Mode{render.Pretty, render.CSV, render.JSON} {
		b.Run(fmt.Sprintf("%s/100000x12", m), func(b *testing.B) {
			s, err := newShell(&c, newFlags(), m)
			if err != nil {
				b.Fatal(err)
			}
			defer s.close()
			b.ReportAllocs()
			for b.Loop() {
				if err := s.exec(b.Context(), "select * from wide"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

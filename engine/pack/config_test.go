package pack_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"sockql/engine/pack"
)

// write makes files of a map from names to texts and returns the path of the
// first name.
func write(t *testing.T, files map[string]string, first string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "DIR", dir)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, first)
}

func load(t *testing.T, text string) *pack.Config {
	t.Helper()
	c, err := pack.Load(write(t, map[string]string{"osquery.conf": text}, "osquery.conf"), pack.Target{Version: "5.23.0"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// warnings returns the texts of the warnings with the name of the file instead
// of its path.
func warnings(c *pack.Config) []string {
	var list []string
	for _, w := range c.Warnings {
		w.Position.File = filepath.Base(w.Position.File)
		list = append(list, w.String())
	}
	return list
}

func wantWarnings(t *testing.T, c *pack.Config, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, warnings(c)); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
}

func TestQueryKeys(t *testing.T) {
	c := load(t, `{"schedule": {
		"b": {"query": "select 1", "interval": "60", "description": "d"},
		"a": {"query": "select 2", "interval": 3600.0, "snapshot": "true", "removed": 0, "denylist": false},
		"first": {"query": "select 3", "startup_priority": 2},
		"zeroth": {"query": "select 4", "interval": 10, "startup_priority": "1"}
	}}`)
	want := []pack.Pack{{Name: pack.Main, Queries: []pack.Query{
		{Name: "zeroth", SQL: "select 4", Interval: 10, Removed: true, Denylist: true, Startup: true, Priority: 1},
		{Name: "first", SQL: "select 3", Removed: true, Denylist: true, Startup: true, Priority: 2},
		{Name: "a", SQL: "select 2", Interval: 3600, Snapshot: true},
		{Name: "b", SQL: "select 1", Interval: 60, Removed: true, Denylist: true},
	}}}
	if diff := cmp.Diff(want, c.Packs, cmpopts.IgnoreFields(pack.Pack{}, "File"), cmpopts.IgnoreFields(pack.Query{}, "Position")); diff != "" {
		t.Errorf("packs (-want +got):\n%s", diff)
	}
	wantWarnings(t, c)
}

func TestTextBeyondJSON(t *testing.T) {
	c := load(t, "# comment\n{\n  // another, continued \\\n not json\n"+
		"\"schedule\": {\"q\": {\"query\": \"select '//no' \\\n, '#' \\\r\n, 2\", \"interval\": 5, \"odd\": 1}},\n   # \"schedule\": 1\n\"odd\": 2}\n// end")
	if got, want := c.Packs[0].Queries[0].SQL, "select '//no' , '#' , 2"; got != want {
		t.Errorf("SQL is %q, want %q", got, want)
	}
	wantWarnings(t, c,
		`osquery.conf:7:22: unknown key of a query "odd"`,
		`osquery.conf:9:1: unknown key "odd"`)
}

func TestSyntaxErrors(t *testing.T) {
	for name, tt := range map[string]struct{ text, want string }{
		"comma":       {"{\n  \"schedule\": {},\n}", ":3:1: invalid character '}'"},
		"after cut":   {"# x\n{\"a\": \"b \\\n c\", x}", ":3:6: invalid character 'x'"},
		"unfinished":  {"{\n\"a\": [1,\n", ":3:1: unexpected end of JSON input"},
		"empty":       {"", ":1:1: unexpected end of JSON input"},
		"no object":   {"\n [1]", ":2:2: the text is not an object"},
		"too deep":    {`{"a":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + "}", ":1:38: more than 32 levels"},
		"second text": {"{}\n{}", ":2:1: invalid character '{' after top-level value"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := pack.Load(write(t, map[string]string{"c": tt.text}, "c"), pack.Target{})
			var syntax *pack.SyntaxError
			if !errors.As(err, &syntax) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error is %v, want a SyntaxError with %q", err, tt.want)
			}
		})
	}
}

func TestTooLarge(t *testing.T) {
	path := write(t, map[string]string{"c": `{"a": "` + strings.Repeat("x", 4<<20) + `"}`}, "c")
	if _, err := pack.Load(path, pack.Target{}); err == nil || !strings.Contains(err.Error(), "limit") {
		t.Errorf("error is %v", err)
	}
}

func TestConditions(t *testing.T) {
	path := write(t, map[string]string{"c": `{"packs": {
		"all": {"queries": {
			"posix": {"query": "x", "platform": "posix"}, "ubuntu": {"query": "x", "platform": "ubuntu,darwin"},
			"null": {"query": "x", "platform": "null", "version": "null"}, "mac": {"query": "x", "platform": "darwin"},
			"old": {"query": "x", "version": "5.22.9"}, "same": {"query": "x", "version": "5.23.0.1"},
			"new": {"query": "x", "version": "5.24"}, "low": {"query": "x", "shard": 49}, "high": {"query": "x", "shard": "50"}}},
		"mac": {"platform": "darwin", "queries": {"q": {"query": "x"}}},
		"new": {"version": "99.0.0", "queries": {"q": {"query": "x"}}},
		"few": {"shard": 10, "queries": {"q": {"query": "x"}}}}}`}, "c")
	c, err := pack.Load(path, pack.Target{Version: "5.23.0", Shard: 50})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, q := range c.Packs[0].Queries {
		names = append(names, q.Name)
	}
	if want := []string{"high", "null", "old", "posix", "same", "ubuntu"}; !slices.Equal(names, want) {
		t.Errorf("queries are %q, want %q", names, want)
	}
	for i, want := range []string{"", `"darwin"`, "99.0.0", "shard of 10"} {
		if skip := c.Packs[i].Skip; (skip == "") != (want == "") || !strings.Contains(skip, want) {
			t.Errorf("pack %s: skip is %q, want %q", c.Packs[i].Name, skip, want)
		}
	}
}

// The values are those of sha1sum(1).
func TestShard(t *testing.T) {
	for name, want := range map[string]uint64{"": 0xda * 100 / 255, "abc": 0xa9 * 100 / 255} {
		if got := pack.Shard(name); got != want {
			t.Errorf("Shard(%q) = %d, want %d", name, got, want)
		}
	}
}

func TestBadQueries(t *testing.T) {
	c := load(t, `{"schedule": {
"none": {"interval": 1}, "zero": {"query": "x", "interval": 0}, "long": {"query": "x", "interval": 604801},
"word": {"query": "x", "interval": "soon"}, "list": [], "good": {"query": "x", "interval": 604800},
"good": {"query": "y"}, "number": {"query": 1}}}`)
	if q := c.Packs[0].Queries; len(q) != 2 || q[0].Name != "good" || q[0].SQL != "x" {
		t.Errorf("queries are %+v", q)
	}
	wantWarnings(t, c,
		`osquery.conf:2:1: query "none" has no SQL`,
		`osquery.conf:2:61: query "zero": interval 0 is not between 1 and 604800 seconds`,
		`osquery.conf:2:100: query "long": interval 604801 is not between 1 and 604800 seconds`,
		`osquery.conf:3:36: "interval": "soon" is not a whole number`,
		`osquery.conf:3:53: query "list" is not an object`,
		`osquery.conf:4:1: query "good" is there twice; the first counts`,
		`osquery.conf:4:45: "query" is not a text`)
}

func TestMerge(t *testing.T) {
	path := write(t, map[string]string{
		"o.conf": `{"options": {"a": 1, "b": true, "c": "x", "d": []},
"schedule": {"q": {"query": "one"}, "r": {"query": "r"}}, "views": {"v": "select 1"},
"decorators": {"load": ["L1"]}}`,
		"o.conf.d/20.conf": `{"schedule": {"q": {"query": "three"}}, "views": {"v": "select 2"}}`,
		"o.conf.d/10.conf": `{"options": {"a": "2"}, "schedule": {"q": {"query": "two"}},
"decorators": {"always": ["A", 5], "interval": {"120": ["I"], "61": ["no"]}, "sometimes": []}}`,
		"o.conf.d/readme": `not read`,
	}, "o.conf")
	c, err := pack.Load(path, pack.Target{})
	if err != nil {
		t.Fatal(err)
	}
	var sql []string
	for _, p := range c.Packs {
		for _, q := range p.Queries {
			sql = append(sql, q.SQL)
		}
	}
	if want := []string{"r", "three"}; !slices.Equal(sql, want) {
		t.Errorf("queries are %q, want %q", sql, want)
	}
	if diff := cmp.Diff(map[string]string{"a": "2", "b": "true", "c": "x"}, c.Options); diff != "" {
		t.Errorf("options (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]pack.View{{Name: "v", SQL: "select 2"}}, c.Views); diff != "" {
		t.Errorf("views (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]pack.Decorators{
		{Load: []string{"L1"}},
		{Always: []string{"A"}, Interval: []pack.IntervalDecorators{{Seconds: 120, Queries: []string{"I"}}}},
	}, c.Decorators); diff != "" {
		t.Errorf("decorators (-want +got):\n%s", diff)
	}
	if n := len(c.Files); n != 3 || filepath.Base(c.Files[2].Path) != "20.conf" {
		t.Errorf("files are %d", n)
	}
	got := strings.Join(warnings(c), "\n")
	for _, want := range []string{`option "d"`, `"always" holds something`, `interval "61"`, `"sometimes"`, `query "q" is replaced by that of ` + path + ".d/20.conf"} {
		if !strings.Contains(got, want) {
			t.Errorf("no warning has %q:\n%s", want, got)
		}
	}
}

func TestPackFiles(t *testing.T) {
	path := write(t, map[string]string{
		"o.conf": `{"packs": {
"one": "DIR/packs/a.conf", "gone": "DIR/none.conf", "bad": "DIR/packs/bad.json", "*": "DIR/packs/%.conf", "n": 5,
"inline": {"discovery": ["select 1"], "queries": {"q": {"query": "i"}}}, "empty": {"oncall": "me", "odd": 1}}}`,
		"packs/a.conf":       `{"queries": {"q": {"query": "a"}}}`,
		"packs/b.conf":       "# a comment\n{\"queries\": {\"q\": {\"query\": \"b\"}}}",
		"packs/bad.json":     "{\n]",
		"packs/sub/deep.txt": `{"queries": {"q": {"query": "d"}}}`,
	}, "o.conf")
	c, err := pack.Load(path, pack.Target{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range c.Packs {
		names = append(names, p.Name+" "+filepath.Base(p.File))
	}
	if want := []string{"one a.conf", "a a.conf", "b b.conf", "inline o.conf", "empty o.conf"}; !slices.Equal(names, want) {
		t.Errorf("packs are %q, want %q", names, want)
	}
	got := strings.Join(warnings(c), "\n")
	for _, want := range []string{
		`pack "gone" cannot be read: open `, `bad.json:2:1: pack "bad" is left out: invalid character ']'`,
		`pack "n": neither`, `pack "empty" has no queries`, `unknown key of a pack "odd"`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no warning has %q:\n%s", want, got)
		}
	}
	for pattern, want := range map[string]int{"packs/%%": 3, "packs/%%/x": 0, "packs/[": 0, "packs/none*": 0} {
		// One warning each: of the file that is broken, or of the pattern.
		text := strings.ReplaceAll(`{"packs": {"*": "DIR/`+pattern+`"}}`, "DIR", filepath.Dir(path))
		c := load(t, text)
		if len(c.Packs) != want || len(c.Warnings) != 1 {
			t.Errorf("%s: %d packs, warnings %q", pattern, len(c.Packs), warnings(c))
		}
	}
}

func TestMissing(t *testing.T) {
	_, err := pack.Load(filepath.Join(t.TempDir(), "none"), pack.Target{})
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error is %v", err)
	}
	path := write(t, map[string]string{"c": "{}", "c.d": "a file"}, "c")
	c, err := pack.Load(path, pack.Target{})
	if err != nil || len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0].Text, "directory") {
		t.Errorf("warnings are %v, error is %v", c, err)
	}
}

// The packs are osquery's own; the numbers of queries were counted with a JSON
// parser.
func TestOsqueryPacks(t *testing.T) {
	c := load(t, `{"packs": {"*": "`+must(filepath.Abs("testdata/packs"))+`/*.conf"}}`)
	got := map[string]int{}
	for _, p := range c.Packs {
		if p.Skip == "" {
			got[p.Name] = len(p.Queries)
		}
		for _, q := range p.Queries {
			if q.Interval == 0 || q.Interval > pack.MaxInterval || strings.Contains(q.SQL, "\n") {
				t.Errorf("%s: query %+v", p.Name, q)
			}
		}
	}
	want := map[string]int{
		"hardware-monitoring": 9,
		"incident-response":   18,
		"it-compliance":       12,
		"osquery-monitoring":  3,
		"ossec-rootkit":       60,
		"vuln-management":     11,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("queries (-want +got):\n%s", diff)
	}
	for _, w := range c.Warnings {
		t.Errorf("%s", w)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func FuzzLoad(f *testing.F) {
	for _, text := range []string{
		`{"schedule": {"q": {"query": "x", "interval": "5"}}, "packs": {"*": {"p": {"queries": {}}}}}`,
		"{\"a\": \\\n[1, {\"b\": null}]} // c", "# \\\n{}", "{\"views\": {\"v\": \"s\"}, \"decorators\": {\"interval\": {\"60\": []}}}",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "c")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := pack.Load(path, pack.Target{})
		if err != nil {
			return
		}
		for _, p := range c.Packs {
			for _, q := range p.Queries {
				if q.SQL == "" || q.Interval > pack.MaxInterval || q.Position.Line < 1 || q.Position.Column < 1 {
					t.Errorf("query %+v", q)
				}
			}
		}
	})
}

// The sum changes with whatever was read, and with what could not be.
func TestSum(t *testing.T) {
	path := write(t, map[string]string{
		"osquery.conf": `{"packs": {"p": "DIR/p.conf", "q": "DIR/q.conf"}}`, "osquery.conf.d/a.conf": "{}",
		"p.conf": `{"queries": {"q": {"query": "select 1"}}}`,
	}, "osquery.conf")
	dir := filepath.Dir(path)
	sum := func() [32]byte {
		c, err := pack.Load(path, pack.Target{})
		if err != nil {
			t.Fatal(err)
		}
		return c.Sum
	}
	last := sum()
	if sum() != last {
		t.Error("the sum changes by itself")
	}
	for _, name := range []string{"q.conf", "p.conf", "osquery.conf.d/a.conf", "osquery.conf.d/b.conf", "osquery.conf"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(`{"description": "x"}`), 0o600); err != nil {
			t.Fatal(err)
		}
		next := sum()
		if next == last {
			t.Errorf("the sum does not change with %s", name)
		}
		last = next
	}
}

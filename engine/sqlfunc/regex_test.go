package sqlfunc

import (
	"bufio"
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
	"unsafe"

	"sockql/tables"
)

func TestRegexArguments(t *testing.T) {
	long := strings.Repeat("|", maxPattern+1)
	check(t, "regex_match", []call{
		{args: []any{"hello world", "(l)(o).*", 0}, want: "lo world"},
		{args: []any{"hello world", "(l)(o).*", 2}, want: "o"},
		{args: []any{"hello world", "(l)(o).*", 3}},
		{args: []any{"hello world", "(l)(o).*", -1}},
		{args: []any{"hello world", "", 0}, want: ""},
		{args: []any{"ab", "(a)|(b)", 2}, want: ""}, // a group that took no part
		{args: []any{"foo/bar", "|", 0}, want: ""},
		{args: []any{"foo/bar", "(/", 0}, err: "Invalid regex"},
		{args: []any{"foo/bar", "+", 0}, err: "Invalid regex"},
		{args: []any{"a\x00b", "b", 0}},
		{args: []any{"ab", "b\x00(", 0}, want: "b"},
		{args: []any{12345, "3.", "0"}, want: "34"},
		{args: []any{"aé", ".*", 0}, want: "aé"},
		{args: []any{"x", long[:maxPattern], 0}, want: ""},
		{args: []any{"x", long, 0}, err: "Invalid regex: too big, max size is 256 bytes"},
		{args: []any{nil, "(", 0}}, {args: []any{"a", nil, 0}}, {args: []any{"a", "(", nil}},
	})
	check(t, "regex_split", []call{
		{args: []any{"/foo/bar", "/", 0}, want: ""},
		{args: []any{"/foo/bar", "/", 2}, want: "bar"},
		{args: []any{"/foo/bar", "/", 3}},
		{args: []any{"/foo/bar", "/", -1}},
		{args: []any{"a1b22c", "[0-9]+", 2}, want: "c"},
		{args: []any{"foo/bar", "", 0}, err: "Invalid input to split function"},
		{args: []any{"foo/bar", "(/", -1}, err: "Invalid regex"},
		{args: []any{"x", long, 0}, err: "Invalid regex"},
		{args: []any{nil, "", 0}}, {args: []any{"a", nil, 0}}, {args: []any{"a", "(", nil}},
	})
}

// TestStdRegex compares with what std::regex answered.
func TestStdRegex(t *testing.T) {
	f, err := os.Open("testdata/std_regex.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	passed, lines := 0, bufio.NewScanner(f)
	for line := 1; lines.Scan(); line++ {
		if strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		var fields []string
		for quoted := range strings.SplitSeq(lines.Text(), "\t") {
			field, err := strconv.Unquote(quoted)
			if err != nil {
				t.Fatalf("line %d: %q: %v", line, quoted, err)
			}
			fields = append(fields, field)
		}
		if len(fields) < 4 {
			t.Fatalf("line %d: %d fields", line, len(fields))
		}
		name, expr, in, outcome, want := "regex_"+fields[0], fields[1], fields[2], fields[3], fields[4:]
		f := function(t, Config{}, name)
		failed := false
		for i := range len(want) + 1 {
			c, _ := newCall()
			got, err := f.Eval(context.Background(), c, values([]any{in, expr, i}))
			switch {
			case outcome == "error":
				failed = err == nil || err.Error() != "Invalid regex"
			case i < len(want):
				failed = err != nil || !got.Equal(value(want[i]))
			default:
				failed = err != nil || !got.IsNull()
			}
			if failed {
				t.Errorf("line %d: %s(%q, %q, %d) = %s, %v; want %s %q", line, name, in, expr, i, show(got), err, outcome, want)
				break
			}
		}
		if !failed {
			passed++
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d answers of std::regex are the same", passed)
	if passed < 500 {
		t.Errorf("only %d lines checked", passed)
	}
}

// Where std::regex as osquery has it departs from ECMAScript without need, or
// cannot be had from regexp2.
func TestRegexDifferences(t *testing.T) {
	check(t, "regex_match", []call{
		{args: []any{"aa", `(a)(?=\1)`, 0}, want: "a"}, // osquery: Invalid regex
		{args: []any{"aa", `(|a)+`, 0}, want: "aa"},    // osquery: the empty text
		{args: []any{"aab", `(a*)*b`, 1}, want: "aa"},  // osquery: the empty text
	})
}

func TestPathologicalPatternsEnd(t *testing.T) {
	for _, k := range []struct{ name, expr, in string }{
		{"regex_match", "(a+)+$", strings.Repeat("a", 40) + "b"},
		{"regex_match", "(x+x+)+y", strings.Repeat("x", 60)},
		{"regex_match", "(a?){40}a{40}", strings.Repeat("a", 39) + "bbb"},
		{"regex_match", "((a{0,9999}){0,9999}){0,9999}b", strings.Repeat("a", 99)},
		{"regex_split", "(a|aa)+$", strings.Repeat("a", 60) + "b"},
	} {
		c, _ := newCall()
		v, err := function(t, Config{}, k.name).Eval(context.Background(), c, values([]any{k.in, k.expr, 0}))
		if err == nil || !errors.Is(err, errRegex) || !strings.HasPrefix(err.Error(), "Invalid regex: ") {
			t.Errorf("%s with %q = %s, %v; want an error that begins with Invalid regex", k.name, k.expr, show(v), err)
		}
	}
}

func TestRegexBoundsItsMemory(t *testing.T) {
	c, _ := newCall()
	in := strings.Repeat("ab", 1<<20)
	v, err := regexMatch(context.Background(), c, values([]any{in, "(a|b)*c", 0}))
	if err == nil && !v.IsNull() {
		t.Errorf("%d bytes match", len(v.String()))
	}
	state := regexStateOf(c)
	for i := range 3 * regexCached {
		if _, err := state.compile(regexKey{expr: strconv.Itoa(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(state.compiled); n > regexCached {
		t.Errorf("%d patterns kept, want at most %d", n, regexCached)
	}
	key := regexKey{expr: "kept"}
	first, _ := state.compile(key)
	if again, _ := state.compile(key); again != first {
		t.Error("a pattern is compiled twice")
	}
}

// The engine uses the memory of arguments again for the next call.
func TestRegexKeepsNoArgument(t *testing.T) {
	c, _ := newCall()
	expr := strings.Repeat("a", 3)
	if _, err := regexMatch(context.Background(), c, values([]any{"aaa", expr, 0})); err != nil {
		t.Fatal(err)
	}
	for key := range regexStateOf(c).compiled {
		if unsafe.StringData(key.expr) == unsafe.StringData(expr) {
			t.Error("the cache holds on to the argument's memory")
		}
	}
}

func TestRegexEndsWithTheStatement(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	stop := errors.New("stop")
	cancel(stop)
	c, _ := newCall()
	if _, err := regexSplit(ctx, c, values([]any{"a,b", ",", 1})); !errors.Is(err, stop) {
		t.Errorf("err = %v, want %v", err, stop)
	}
}

// Whatever translate takes, regexp2 takes too, and says the same with and
// without the anchors that regex_split adds.
func FuzzRegex(f *testing.F) {
	for _, expr := range []string{`(\w+)@(?:a|[^\W\d])*?$`, `[[:alpha:]-z]{2,3}?\1`, `(?=a)(?!\b)\x41\cA\u0041`, "é|[é]", `(a)\1`} {
		f.Add(expr, "me@example.com é")
	}
	f.Fuzz(func(t *testing.T, expr, in string) {
		expr, in = text(value(expr)), text(value(in))
		if len(expr) > 64 || len(in) > 64 {
			return
		}
		translated, err := translate(expr, false)
		if err != nil {
			return
		}
		if !utf8.ValidString(translated) {
			t.Fatalf("%q becomes %q, which is not UTF-8", expr, translated)
		}
		for _, here := range []bool{false, true} {
			if newRegex(regexKey{expr, here}) == nil {
				t.Fatalf("regexp2 does not take %q, made of %q", translated, expr)
			}
		}
		c, _ := newCall()
		ctx := context.Background()
		whole, err := regexMatch(ctx, c, []tables.Value{tables.String(in), tables.String(expr), tables.Int(0)})
		if err != nil {
			return // out of time
		}
		if !strings.Contains(in, whole.String()) {
			t.Errorf("%q matches %s, which is no part of %q", expr, show(whole), in)
		}
		if expr == "" {
			return
		}
		first, err := regexSplit(ctx, c, []tables.Value{tables.String(in), tables.String(expr), tables.Int(0)})
		if err == nil && !strings.HasPrefix(in, first.String()) {
			t.Errorf("%q is not what %q begins with", first, in)
		}
	})
}

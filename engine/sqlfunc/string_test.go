package sqlfunc

import (
	"context"
	"strings"
	"testing"

	"sockql/tables"
)

func TestSplit(t *testing.T) {
	check(t, "split", []call{
		{args: []any{"/foo/bar", "/", 0}, want: "foo"},
		{args: []any{"/foo/bar", "/", 1}, want: "bar"},
		{args: []any{"/foo/bar", "/", 2}},
		{args: []any{"/foo/bar", "/", -1}},
		{args: []any{"foo;;bar", ";;", 1}, want: "bar"},
		{args: []any{"a,b;c", ",;", 2}, want: "c"},
		{args: []any{" a , \t, b ", ",", 0}, want: "a"},
		{args: []any{" a , \t, b ", ",", 1}, want: ""}, // trimmed after the empty ones were dropped
		{args: []any{" a , \t, b ", ",", 2}, want: "b"},
		{args: []any{"", ",", 0}},
		{args: []any{",,,", ",", 0}},
		{args: []any{"abc", ",", 0}, want: "abc"},
		{args: []any{"abc", "", 0}, err: "Invalid input to split function"},
		{args: []any{"", "", 0}, err: "Invalid input to split function"},
		{args: []any{nil, "", 0}},
		{args: []any{"a", nil, 0}},
		{args: []any{"a", ",", nil}},
		{args: []any{"a,b", ",", "1x"}, want: "b"},
		{args: []any{"a,b", ",", 1.9}, want: "b"},
		{args: []any{"a,b", ",", int64(1) << 32}, want: "a"},
		{args: []any{"a,b\x00,c", ",", 2}},
		{args: []any{102, "0", 1}, want: "2"},
		{args: []any{"aéb", "\xa9", 0}, want: "a\xc3"},
	})
}

func TestConcat(t *testing.T) {
	check(t, "concat", []call{
		{},
		{args: []any{"hello"}, want: "hello"},
		{args: []any{"hello", nil, "world"}, want: "helloworld"},
		{args: []any{1, 2.5, 3, "go"}, want: "12.53go"},
		{args: []any{nil}, want: ""},
		{args: []any{""}, want: ""},
		{args: []any{"a\x00b", "c"}, want: "ac"},
	})
	check(t, "concat_ws", []call{
		{err: "Missing separator to concat_ws"},
		{args: []any{""}},
		{args: []any{nil}},
		{args: []any{", ", "hello", "world", 1, 2}, want: "hello, world, 1, 2"},
		{args: []any{"", "a", 1}, want: "a1"},
		{args: []any{nil, "a", 1}, want: "a1"},
		{args: []any{" ", "a", nil, "b"}, want: "a b"},
		{args: []any{"-", "a", nil}, want: "a-"},
		{args: []any{"-", nil, "a"}, want: "a"},
		{args: []any{"-", nil, nil}, want: ""},
		{args: []any{"x", "hello"}, want: "hello"},
		{args: []any{"x", "", ""}, want: "x"},
	})
}

// TestConcatBoundsItsMemory joins what is as long as allowed, and a byte more.
func TestConcatBoundsItsMemory(t *testing.T) {
	f := function(t, Config{}, "concat_ws")
	c, _ := newCall()
	c.MaxBytes = 12
	if got, err := f.Eval(context.Background(), c, values([]any{"--", "abc", "def", "gh"})); err != nil || got.String() != "abc--def--gh" {
		t.Errorf("12 bytes: %s, %v", show(got), err)
	}
	if got, err := f.Eval(context.Background(), c, values([]any{"--", "abc", "def", "ghi"})); err == nil || err.Error() != "Too much data for concat_ws" {
		t.Errorf("13 bytes: %s, %v", show(got), err)
	}
}

func TestInetAton(t *testing.T) {
	check(t, "inet_aton", []call{
		{args: []any{"1.2.3.4"}, want: 16909060},
		{args: []any{"0.0.0.0"}, want: 0},
		{args: []any{"255.255.255.255"}, want: 4294967295},
		{args: []any{"1.2.3"}}, {args: []any{"1.2.3.4.5"}}, {args: []any{"01.2.3.4"}}, {args: []any{"256.1.1.1"}},
		{args: []any{" 1.2.3.4"}}, {args: []any{""}}, {args: []any{"::1"}}, {args: []any{"::ffff:1.2.3.4"}}, {args: []any{nil}}, {args: []any{16909060}},
	})
}

func FuzzSplit(f *testing.F) {
	f.Add("a,b;c", ",;", 1)
	f.Add("\x00é \t", "\xff", 0)
	f.Fuzz(func(t *testing.T, s, characters string, index int) {
		c, _ := newCall()
		v, err := split(context.Background(), c, []tables.Value{tables.String(s), tables.String(characters), tables.Int(index)})
		set := text(tables.String(characters))
		if (err != nil) != (set == "") {
			t.Fatalf("err = %v for the characters %q", err, set)
		}
		// The pieces as the standard library cuts them.
		var want []string
		if set != "" {
			start, in := 0, text(tables.String(s))
			for i := 0; i <= len(in); i++ {
				if i == len(in) || strings.IndexByte(set, in[i]) >= 0 {
					if i > start {
						want = append(want, strings.Trim(in[start:i], space))
					}
					start = i + 1
				}
			}
		}
		at := int(int32(index))
		if at < 0 || at >= len(want) {
			if !v.IsNull() {
				t.Errorf("%s beyond %q", show(v), want)
			}
		} else if v.String() != want[at] || v.IsNull() {
			t.Errorf("%s, want %q", show(v), want[at])
		}
	})
}

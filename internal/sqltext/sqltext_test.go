package sqltext

import (
	"slices"
	"testing"
)

func TestTokenize(t *testing.T) {
	for sql, want := range map[string][]string{
		"":                            nil,
		"select a.b from t_1 as x":    {"select", "a", ".", "b", "from", "t_1", "as", "x"},
		"a -- c\nb/* d */c":           {"a", "b", "c"},
		"'it''s' \"q\" `b`":           {"it''s", "q", "b"},
		"x<=1.5":                      {"x", "<", "=", "1", ".", "5"},
		"\u00e9t\u00e9 = 'a' -- open": {"\u00e9t\u00e9", "=", "a", ""},
		"'open":                       {"open"},
		"/* open":                     {""},
		"count(*)":                    {"count", "(", "*", ")"},
	} {
		var got []string
		tokens := Tokenize(sql)
		for _, k := range tokens {
			got = append(got, k.Text)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q gives %q, want %q", sql, got, want)
		}
	}
	tokens := Tokenize("'a' \"b\" 'c")
	if !tokens[0].Quoted || tokens[1].Quoted || !tokens[2].Quoted || tokens[0].Open || !tokens[2].Open {
		t.Errorf("strings and names are mixed up: %+v", tokens)
	}
}

func TestStatements(t *testing.T) {
	for sql, want := range map[string][]string{
		"":                             nil,
		" ;; -- nothing\n; /* ; */":    nil,
		"select 1":                     {"select 1"},
		"select ';'; select \"a;b\" ;": {"select ';'", "select \"a;b\""},
		"a -- x;y\n; b":                {"a -- x;y", "b"},
		"select 'open; b":              {"select 'open; b"},
		"select 1; -- the end":         {"select 1"},
	} {
		if got := Statements(sql); !slices.Equal(got, want) {
			t.Errorf("%q gives %q, want %q", sql, got, want)
		}
	}
}

func FuzzTokenize(f *testing.F) {
	for _, s := range []string{"select a.b from t as x, u -- c", "'it''s' \"q\" `b` /* c", "select 'open", "a;b", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		end := 0
		for i, k := range Tokenize(sql) {
			if k.Start < end || k.End <= k.Start || k.End > len(sql) {
				t.Fatalf("token %d of %q is %+v", i, sql, k)
			}
			end = k.End
		}
	})
}

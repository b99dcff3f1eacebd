package extension

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"

	"sockql/tables"
)

// A constraint's text has lost its type. What a table is told must then still
// hold every value that SQLite would have let through.
func TestRequestIsASuperset(t *testing.T) {
	const over = 1 << 53
	for _, c := range []struct {
		typ  tables.Type
		op   tables.Op
		expr string
		has  []any // must be left
		not  []any // need not be: the constraint is of use
	}{
		{tables.BigInt, tables.OpEq, "1", []any{1}, []any{2}},
		{tables.BigInt, tables.OpEq, " 1", []any{1}, []any{2}},
		{tables.BigInt, tables.OpEq, "1.0", []any{1}, []any{2}},
		{tables.BigInt, tables.OpIs, "-7", []any{-7}, []any{7}},
		{tables.BigInt, tables.OpEq, "9007199254740993", []any{over + 1}, []any{over}},
		{tables.BigInt, tables.OpEq, "9.00719925474099e+15", []any{over, over + 1, over - 2}, nil}, // 2^53 as a float
		{tables.BigInt, tables.OpEq, "9.22337203685478e+18", []any{math.MaxInt64}, nil},
		{tables.BigInt, tables.OpGT, "2.0", []any{2, 3}, []any{1}}, // 1.9999999999999998
		{tables.BigInt, tables.OpLT, "2.0", []any{1, 2}, []any{3}}, // 2.0000000000000004
		{tables.BigInt, tables.OpGT, "-Inf", []any{math.MinInt64, 0}, nil},
		{tables.BigInt, tables.OpLT, "Inf", []any{math.MaxInt64, 0}, nil},
		{tables.BigInt, tables.OpLT, "abc", []any{math.MaxInt64}, nil},
		{tables.BigInt, tables.OpEq, "0x10", nil, []any{16}}, // a text, to SQLite
		{tables.Text, tables.OpEq, "abc", []any{"abc"}, []any{"abd"}},
		{tables.Text, tables.OpEq, "", []any{"", nil}, nil}, // NULL is an empty text, to osqueryd
		{tables.Text, tables.OpIs, "", []any{"", nil}, nil},
		{tables.Text, tables.OpLike, "", []any{nil}, nil},
		{tables.Text, tables.OpLike, "%%", []any{nil}, nil},
		{tables.Text, tables.OpGlob, "*", []any{nil}, nil},
		{tables.Text, tables.OpEq, "1", []any{"1", "01", "1.0"}, []any{"2"}}, // may have been a number
		{tables.Text, tables.OpEq, "01", []any{"01"}, []any{"1"}},            // cannot
		{tables.Text, tables.OpEq, "0.3", []any{"0.3", "0.30000000000000004"}, nil},
		{tables.Text, tables.OpEq, "a\ufffd", []any{"a\xff"}, nil}, // JSON has no such byte
		{tables.Text, tables.OpEq, `a\0b`, []any{"a\x00b", `a\0b`}, nil},
		{tables.Text, tables.OpGT, "m", []any{"a", "z"}, nil},
		{tables.Text, tables.OpLike, "a\ufffd%", []any{"a\xffb"}, nil},
		{tables.Text, 64, "abc", []any{"x"}, nil}, // MATCH
		{tables.Text, 68, "abc", []any{"x"}, nil}, // !=
		{tables.BigInt, 73, "2", []any{1}, nil},   // LIMIT
		{tables.BigInt, 74, "1", []any{2}, nil},   // OFFSET
		{tables.BigInt, 255, "1", []any{2}, nil},
	} {
		schema := &tables.Schema{Columns: []tables.ColumnInfo{{Name: "c", Type: c.typ}}}
		r, err := parseRequest(schema, contextOf(t, "c", int(c.op), c.expr))
		if err != nil {
			t.Fatal(err)
		}
		q := tables.NewQuery(tables.NewSession(t.Context()), schema, r)
		has := func(v any) bool {
			if v == nil {
				return len(q.Constraints()) == 0
			}
			if q.Empty() {
				return false
			}
			if text, ok := v.(string); ok {
				return q.Set(0).HasString(text) && len(q.Set(0).Patterns()) == 0
			}
			return q.Set(0).HasInt(int64(v.(int)))
		}
		for _, v := range c.has {
			if !has(v) {
				t.Errorf("%s column, %v %q: %v is lost", c.typ, c.op, c.expr, v)
			}
		}
		for _, v := range c.not {
			if has(v) {
				t.Errorf("%s column, %v %q: %v is left", c.typ, c.op, c.expr, v)
			}
		}
	}
}

func contextOf(t testing.TB, column string, terms ...any) string {
	t.Helper()
	type term struct {
		Op   int    `json:"op"`
		Expr string `json:"expr"`
	}
	list := []term{}
	for i := 0; i+1 < len(terms); i += 2 {
		list = append(list, term{terms[i].(int), terms[i+1].(string)})
	}
	text, err := json.Marshal(map[string]any{
		"constraints": []any{map[string]any{"name": column, "list": list, "affinity": "TEXT"}},
		"colsUsed":    []string{column},
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestRequestForms(t *testing.T) {
	schema := people(t, "p", 1).Schema()
	for _, c := range []struct {
		text        string
		used        uint64
		constraints int
	}{
		{``, tables.AllUsed, 0},
		{`{}`, tables.AllUsed, 0},
		{`{"constraints":[]}`, tables.AllUsed, 0}, // an osqueryd that does not tell what is used
		{`{"colsUsed":[]}`, 0, 0},
		{`{"colsUsed":["dbl","pid","gone"]}`, 0b1001, 0},
		{`{"constraints":[{"name":"pid","list":"","affinity":"INTEGER"}]}`, tables.AllUsed, 0}, // before 3.0
		{`{"constraints":[{"name":"pid","list":[{"op":"2","expr":"7"}]}]}`, tables.AllUsed, 1}, // before 3.0
		{`{"constraints":[{"name":"gone","list":[{"op":2,"expr":"7"}]}]}`, tables.AllUsed, 0},
		{`{"constraints":[{"name":"pid","list":[{"op":73,"expr":"7"},{"op":74,"expr":"1"}]}]}`, tables.AllUsed, 0},
		{`{"constraints":[{"name":"pid","list":[{"op":2,"expr":"7"},{"op":2,"expr":"8"},{"op":4,"expr":"1"}]}]}`, tables.AllUsed, 2},
		// One value of a list that is not known well leaves the list open.
		{`{"constraints":[{"name":"pid","list":[{"op":2,"expr":"7"},{"op":2,"expr":"9.1e+15"}]}]}`, tables.AllUsed, 0},
	} {
		r, err := parseRequest(schema, c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if r.Used != c.used || len(r.Constraints) != c.constraints || r.HasLimit {
			t.Errorf("%s: %+v", c.text, r)
		}
	}
	for _, text := range []string{`{`, `[]`, `{"constraints":[{"name":"pid","list":[{"op":"x"}]}]}`, `{"constraints":7}`} {
		if _, err := parseRequest(schema, text); err == nil {
			t.Errorf("%s is understood", text)
		}
	}
}

// A table that cannot answer without a column gets even a value that is not
// known exactly.
func TestRequestKeepsRequired(t *testing.T) {
	schema := &tables.Schema{Name: "file", Columns: []tables.ColumnInfo{{Name: "path", Type: tables.Text, Flags: tables.Required}}}
	r, err := parseRequest(schema, contextOf(t, "path", 2, "/a\ufffd"))
	if err != nil {
		t.Fatal(err)
	}
	q := tables.NewQuery(tables.NewSession(t.Context()), schema, r)
	if _, missing := q.Missing(); missing {
		t.Error("the required column is taken for missing")
	}
}

func FuzzParseRequest(f *testing.F) {
	for _, r := range recordings(f) {
		for _, q := range r.Requests {
			f.Add(string(q.Context))
		}
	}
	f.Add(`{"constraints":[{"name":"pid","list":"","affinity":""}]}`)
	schema := people(f, "p", 1).Schema()
	f.Fuzz(func(t *testing.T, text string) {
		r, err := parseRequest(schema, text)
		if err != nil {
			return
		}
		q := tables.NewQuery(tables.NewSession(t.Context()), schema, r)
		for i := range schema.Columns {
			for range q.Equal(i) {
			}
		}
	})
}

func TestAppendCell(t *testing.T) {
	for _, c := range []struct {
		typ  tables.Type
		v    tables.Value
		want string
	}{
		{tables.Text, tables.String(""), ""},
		{tables.Text, tables.String("a\x00b"), `a\0b`},
		{tables.Text, tables.String("\xff"), "\xff"},
		{tables.BigInt, tables.Int(int64(math.MinInt64)), "-9223372036854775808"},
		{tables.UnsignedBigInt, tables.Uint(math.MaxUint64), "-1"}, // osqueryd reads no more than 2^63-1
		{tables.Integer, tables.Int(uint32(math.MaxUint32)), "4294967295"},
		{tables.BigInt, tables.Float(3), "3"},
		{tables.Double, tables.Float(0.1), "0.1"},
		{tables.Double, tables.Float(1.0 / 3), "0.3333333333333333"},
		{tables.Double, tables.Float(1e300), "1e+300"},
		{tables.Double, tables.Float(math.Inf(-1)), "-Inf"},
		{tables.Double, tables.Int(7), "7"},
		{tables.Blob, tables.Bytes("\x00\xab"), "00AB"},
		{tables.Blob, tables.Bytes(""), ""},
	} {
		before := "what is\x00there\x00stays: "
		b, ok := appendCell([]byte(before), c.typ, c.v)
		if got := strings.TrimPrefix(string(b), before); !ok || got != c.want {
			t.Errorf("%s %v: %q, %v; want %q", c.typ, c.v, got, ok, c.want)
		}
	}
	for _, v := range []tables.Value{tables.Null(), tables.Float(math.NaN())} {
		if got, ok := appendCell(nil, tables.Double, v); ok {
			t.Errorf("%v is not left out but %q", v, got)
		}
	}
}

func TestRoutes(t *testing.T) {
	column := func(name string, typ tables.Type, flags tables.Flags) tables.Column[int] {
		return tables.Column[int]{Name: name, Type: typ, Flags: flags, Get: func(*int) tables.Value { return tables.Null() }}
	}
	table, err := tables.New(tables.Def[int]{
		Name:    "all_kinds",
		Aliases: []string{"every_kind", "kinds"},
		Columns: []tables.Column[int]{
			column("pid", tables.Integer, tables.Index),
			column("port", tables.Integer, tables.Pushdown),
			column("path", tables.Text, tables.Required|tables.Index),
			column("plain", tables.UnsignedBigInt, 0),
			column("secret", tables.Blob, tables.Hidden),
			column("secret_key", tables.Double, tables.Hidden|tables.Additional),
		},
		Rows: func(context.Context, *tables.Query, func(*int) bool) error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	want := "pid BIGINT 12, port BIGINT 9, path TEXT 11, plain UNSIGNED BIGINT 0, secret TEXT 16, secret_key DOUBLE 25"
	var got, aliases []string
	for _, r := range plugin(t, Limits{}, table).Routes() {
		if r["id"] == "alias" {
			aliases = append(aliases, r["alias"])
			continue
		}
		got = append(got, fmt.Sprint(r["name"], " ", r["type"], " ", r["op"]))
	}
	if strings.Join(got, ", ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, ", "), want)
	}
	if strings.Join(aliases, ", ") != "every_kind, kinds" {
		t.Errorf("aliases %q", aliases)
	}
}

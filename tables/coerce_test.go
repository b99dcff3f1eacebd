package tables

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

// show writes what is left of a column, for comparison: its values, else its
// bounds, else that anything or nothing is left.
func show(s Set) string {
	var parts []string
	if s.Empty() {
		return "none"
	}
	if s.Unrestricted() {
		return "any"
	}
	if values, ok := s.Values(); ok {
		var list []string
		for _, v := range values {
			list = append(list, fmt.Sprintf("%c:%s", "nifsb"[v.Kind()], v))
		}
		parts = append(parts, "{"+strings.Join(list, " ")+"}")
	}
	if lo, hi := s.Bounds(); lo != math.MinInt64 || hi != math.MaxInt64 {
		parts = append(parts, fmt.Sprintf("[%d %d]", lo, hi))
	}
	for _, p := range s.Patterns() {
		parts = append(parts, fmt.Sprintf("%s %q", p.Op, p.Text))
	}
	if len(parts) == 0 {
		parts = append(parts, fmt.Sprintf("written %q", s.Written()))
	}
	return strings.Join(parts, " ")
}

func narrowedTo(t Type, terms ...Constraint) Set {
	schema := &Schema{Name: "t", Columns: []ColumnInfo{{Name: "c", Type: t}}}
	return NewQuery(NewSession(context.Background()), schema, Request{Constraints: terms}).Set(0)
}

func is(op Op, values ...Value) Constraint { return Constraint{Op: op, Values: values} }

func TestCoercion(t *testing.T) {
	text, blob := String[string], Bytes[string]
	for _, test := range []struct {
		typ   Type
		terms []Constraint
		want  string
	}{
		// The comparisons of https://www.sqlite.org/datatype3.html with the
		// affinity of the column.
		{BigInt, nil, "any"},
		{BigInt, []Constraint{is(OpEq, Int(5))}, "{i:5}"},
		{BigInt, []Constraint{is(OpEq, text("5"))}, "{i:5}"},
		{BigInt, []Constraint{is(OpEq, text(" +5\n"))}, "{i:5}"},
		{BigInt, []Constraint{is(OpEq, text("5.0"))}, "{i:5}"},
		{BigInt, []Constraint{is(OpEq, text("50e-1"))}, "{i:5}"},
		{BigInt, []Constraint{is(OpEq, Float(5))}, "{i:5}"},
		{BigInt, []Constraint{is(OpEq, Float(5.5))}, "none"},
		{BigInt, []Constraint{is(OpEq, Float(1e20))}, "none"},
		{BigInt, []Constraint{is(OpEq, Float(-1<<63))}, "{i:-9223372036854775808}"},
		{BigInt, []Constraint{is(OpEq, Float(1<<63))}, "none"},
		{BigInt, []Constraint{is(OpEq, Float(math.NaN()))}, "none"},
		{BigInt, []Constraint{is(OpEq, text("9223372036854775807"))}, "{i:9223372036854775807}"},
		{BigInt, []Constraint{is(OpEq, text("9223372036854775808"))}, "none"},
		{BigInt, []Constraint{is(OpEq, text("abc"))}, "none"},
		{BigInt, []Constraint{is(OpEq, text("5x"))}, "none"},
		{BigInt, []Constraint{is(OpEq, text("0x5"))}, "none"},
		{BigInt, []Constraint{is(OpEq, text(""))}, "none"},
		{BigInt, []Constraint{is(OpEq, text("5\x00"))}, "none"},
		{BigInt, []Constraint{is(OpEq, text("1_000"))}, "none"},
		{BigInt, []Constraint{is(OpEq, text("inf"))}, "none"},
		{BigInt, []Constraint{is(OpEq, blob("5"))}, "none"},
		{BigInt, []Constraint{is(OpEq, Null())}, "none"},
		{BigInt, []Constraint{is(OpIs, Null())}, "any"},
		{BigInt, []Constraint{is(OpIs, text("5"))}, "{i:5}"},
		{Integer, []Constraint{is(OpEq, Int(int64(1)<<40))}, "{i:1099511627776}"},
		{UnsignedBigInt, []Constraint{is(OpEq, Int(-1))}, "{i:-1}"},
		// Lists.
		{BigInt, []Constraint{is(OpEq, Int(3), text("1"), Float(3), Null(), text("x"), Int(2))}, "{i:1 i:2 i:3}"},
		{BigInt, []Constraint{is(OpEq)}, "none"},
		{BigInt, []Constraint{is(OpEq, Null(), Null())}, "none"},
		{BigInt, []Constraint{is(OpEq, Int(1), Int(2)), is(OpEq, Int(2), Int(3))}, "{i:2}"},
		{BigInt, []Constraint{is(OpEq, Int(1)), is(OpEq, Int(3))}, "none"},
		{BigInt, []Constraint{is(OpEq, Int(1), Int(5), Int(9)), is(OpGT, Int(1)), is(OpLT, Int(9))}, "{i:5} [2 8]"},
		{BigInt, []Constraint{is(OpGT, Int(1)), is(OpEq, Int(1))}, "none"},
		// Bounds.
		{BigInt, []Constraint{is(OpGT, Int(5))}, "[6 9223372036854775807]"},
		{BigInt, []Constraint{is(OpGE, Float(5.5))}, "[6 9223372036854775807]"},
		{BigInt, []Constraint{is(OpGT, Float(5))}, "[6 9223372036854775807]"},
		{BigInt, []Constraint{is(OpLT, Float(5.5))}, "[-9223372036854775808 5]"},
		{BigInt, []Constraint{is(OpLT, Float(5))}, "[-9223372036854775808 4]"},
		{BigInt, []Constraint{is(OpLE, text("5"))}, "[-9223372036854775808 5]"},
		{BigInt, []Constraint{is(OpLE, text("x"))}, "any"},
		{BigInt, []Constraint{is(OpGE, text("x"))}, "none"},
		{BigInt, []Constraint{is(OpLT, blob(""))}, "any"},
		{BigInt, []Constraint{is(OpGT, blob(""))}, "none"},
		{BigInt, []Constraint{is(OpGT, Null())}, "none"},
		{BigInt, []Constraint{is(OpLE, Float(1e20))}, "any"},
		{BigInt, []Constraint{is(OpGE, Float(1e20))}, "none"},
		{BigInt, []Constraint{is(OpLE, Float(-1e20))}, "none"},
		{BigInt, []Constraint{is(OpGT, Float(-1e20))}, "any"},
		{BigInt, []Constraint{is(OpGT, Int(int64(math.MaxInt64)))}, "none"},
		{BigInt, []Constraint{is(OpLT, Int(int64(math.MinInt64)))}, "none"},
		{BigInt, []Constraint{is(OpGE, Float(-1<<63))}, "any"},
		{BigInt, []Constraint{is(OpLE, Float(math.Inf(1)))}, "any"},
		{BigInt, []Constraint{is(OpLE, Float(math.Inf(-1)))}, "none"},
		{BigInt, []Constraint{is(OpGE, Int(7)), is(OpLE, Int(3))}, "none"},
		{BigInt, []Constraint{is(OpLike, text("1%"))}, "any"},
		// Floats.
		{Double, []Constraint{is(OpEq, Int(1), text("0.5"), text("x"), Null())}, "{f:0.5 f:1.0}"},
		{Double, []Constraint{is(OpEq, blob("1"))}, "none"},
		{Double, []Constraint{is(OpLT, Int(1))}, "any"},
		{Double, []Constraint{is(OpLT, Null())}, "none"},
		// Texts.
		{Text, []Constraint{is(OpEq, text("b"), text("a"), text("a"))}, "{s:a s:b}"},
		{Text, []Constraint{is(OpEq, Decimal(7), text("7"))}, "{s:7}"},
		{Text, []Constraint{is(OpEq, Int(1))}, `written ["1"]`},
		{Text, []Constraint{is(OpEq, text("a"), Float(1))}, `written ["1.0" "a"]`},
		{Text, []Constraint{is(OpEq, Int(1)), is(OpEq, text("a"))}, "{s:a}"},
		{Text, []Constraint{is(OpEq, text("a")), is(OpEq, Int(1))}, "{s:a}"},
		{Text, []Constraint{is(OpEq, blob("a"))}, "none"},
		{Text, []Constraint{is(OpEq, Null())}, "none"},
		{Text, []Constraint{is(OpGT, text("a"))}, "any"},
		{Text, []Constraint{is(OpGT, Null())}, "none"},
		{Text, []Constraint{is(OpLike, text("a%")), is(OpGlob, text("*b"))}, `LIKE "a%" GLOB "*b"`},
		{Text, []Constraint{is(OpLike, Null())}, "none"},
		{Text, []Constraint{is(OpEq, text("a")), is(OpLike, text("a%"))}, `{s:a} LIKE "a%"`},
		// Blobs.
		{Blob, []Constraint{is(OpEq, blob("a"), text("a"), Int(1))}, "{b:a}"},
		{Blob, []Constraint{is(OpEq, text("a"))}, "none"},
	} {
		if got := show(narrowedTo(test.typ, test.terms...)); got != test.want {
			t.Errorf("%s column, %v: %s, want %s", test.typ, test.terms, got, test.want)
		}
	}
}

func TestSetHas(t *testing.T) {
	number := narrowedTo(BigInt, is(OpEq, Int(1), Int(5)), is(OpLT, Int(5)))
	for n, want := range map[int64]bool{1: true, 5: false, 0: false} {
		if got := number.HasInt(n); got != want {
			t.Errorf("number: HasInt(%d) = %v", n, got)
		}
	}
	// More values than are searched one by one.
	var many []Value
	for n := range 100 {
		many = append(many, Int(99-n), String(fmt.Sprint(n)))
	}
	long := narrowedTo(BigInt, is(OpEq, many...))
	for n, want := range map[int64]bool{0: true, 99: true, 100: false, -1: false, 50: true} {
		if got := long.HasInt(n); got != want {
			t.Errorf("long list: HasInt(%d) = %v", n, got)
		}
	}
	words := narrowedTo(Text, is(OpEq, String("1"), String("a"), Decimal(42)))
	for s, want := range map[string]bool{"1": true, "a": true, "42": true, "01": false, "": false, "A": false} {
		if got := words.HasString(s); got != want {
			t.Errorf("words: HasString(%q) = %v", s, got)
		}
	}
	if !words.HasUint(42) || words.HasUint(2) {
		t.Error("words: HasUint")
	}
	// A number may equal many texts.
	loose := narrowedTo(Text, is(OpEq, Int(1)))
	for s, want := range map[string]bool{"1": true, "1.0": true, " 01 ": true, "1e0": true, "2": false, "x": false, "": false} {
		if got := loose.HasString(s); got != want {
			t.Errorf("loose: HasString(%q) = %v", s, got)
		}
	}
	big := narrowedTo(Text, is(OpEq, Int(int64(1)<<53+1)))
	if !big.HasString("9007199254740993") || big.HasString("9007199254740992") {
		t.Error("an integer beyond 2^53 is compared as a float")
	}
	if none := narrowedTo(Text, is(OpEq, Null())); none.HasString("") || none.HasUint(0) {
		t.Error("nothing equals NULL")
	}
	if everything.HasInt(1) != true || !everything.HasString("x") || !everything.HasUint(3) {
		t.Error("an unrestricted set leaves something out")
	}
}

func TestQuery(t *testing.T) {
	schema := &Schema{Name: "t", Columns: []ColumnInfo{
		{Name: "a", Type: BigInt, Flags: Index | Required},
		{Name: "b", Type: Text},
	}}
	s := NewSession(t.Context())
	q := NewQuery(s, schema, Request{
		Used: 1 | 1<<63, Distinct: true, Limit: 3, HasLimit: true,
		Constraints: []Constraint{{Column: 0, Op: OpEq, Values: []Value{Int(2), Int(1)}}, {Column: 7, Op: OpEq}, {Column: -1, Op: OpEq}},
	})
	if got := slices.Collect(q.Equal(0)); !slices.Equal(got, []Value{Int(1), Int(2)}) {
		t.Errorf("Equal: %v", got)
	}
	if got := slices.Collect(q.Equal(1)); len(got) != 0 || !q.Set(1).Unrestricted() {
		t.Errorf("a column without a term: %v", got)
	}
	if !q.Used(0) || q.Used(1) || !q.Used(63) || !q.Used(1000) {
		t.Error("used columns")
	}
	if n, ok := q.Limit(); n != 3 || !ok || !q.Distinct() || q.Empty() || q.Session() != s || q.Schema() != schema {
		t.Error("a request's fields do not come back")
	}
	if name, missing := q.Missing(); missing {
		t.Errorf("column %q is missing", name)
	}
	if empty := NewQuery(s, schema, Request{Constraints: []Constraint{{Column: 0, Op: OpEq, Values: []Value{Null()}}}}); !empty.Empty() {
		t.Error("a query that can match nothing does not know")
	}
	for op, want := range map[Op]bool{OpEq: false, OpIs: false, OpLike: false, OpGlob: false, OpLT: true, OpGE: true} {
		q := NewQuery(s, schema, Request{Constraints: []Constraint{{Column: 0, Op: op, Values: []Value{Int(1)}}}})
		if _, missing := q.Missing(); missing != want {
			t.Errorf("%s: missing %v", op, missing)
		}
	}
	if name, missing := NewQuery(s, schema, Request{}).Missing(); !missing || name != "a" {
		t.Errorf("missing %q", name)
	}
	either := &Schema{Name: "t", Columns: []ColumnInfo{{Name: "a", Flags: Required}, {Name: "b", Flags: Required}}}
	for column := range either.Columns {
		q := NewQuery(s, either, Request{Constraints: []Constraint{{Column: column, Op: OpEq, Values: []Value{String("x")}}}})
		if name, missing := q.Missing(); missing {
			t.Errorf("with column %d, column %q is missing", column, name)
		}
	}
	if name, missing := NewQuery(s, either, Request{}).Missing(); !missing || name != "a" {
		t.Errorf("of two, missing %q", name)
	}
}

// FuzzNumericText checks the conversion against its definition: a text that is
// taken for a number says the same number when written back.
func FuzzNumericText(f *testing.F) {
	for _, s := range []string{"1", " -1.5e3 ", "0x10", "1e", "+.5", "9223372036854775808", "1e999", "--1", "1 2", "\v1\f", "nan", "1e+5", "1e-"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, ok := numericText(s)
		if !ok {
			return
		}
		if strings.Trim(s, "0123456789+-.eE \t\n\v\f\r") != "" || !strings.ContainsAny(s, "0123456789") {
			t.Errorf("%q is taken for %v", s, v)
		}
		if v.Kind() == KindInt {
			if w, ok := numericText(v.String()); !ok || w != v {
				t.Errorf("%q is %v, which is %v", s, v, w)
			}
		}
	})
}

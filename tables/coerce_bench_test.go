package tables

import (
	"fmt"
	"testing"
)

// BenchmarkNewQuery coerces the constraints of one scan: in a join that is done
// for each row of the outer table.
func BenchmarkNewQuery(b *testing.B) {
	schema := &Schema{Columns: []ColumnInfo{
		{Name: "pid", Type: BigInt}, {Name: "path", Type: Text}, {Name: "ratio", Type: Double},
	}}
	list := func(n int, value func(int) Value) []Value {
		values := make([]Value, n)
		for i := range values {
			values[i] = value(n - i)
		}
		return values
	}
	integer := func(n int) Value { return Int(n) }
	text := func(n int) Value { return String(fmt.Sprint(n)) }
	session := NewSession(b.Context())
	for _, bench := range []struct {
		name        string
		constraints []Constraint
	}{
		{"none", nil},
		{"one integer", []Constraint{{Column: 0, Op: OpEq, Values: list(1, integer)}}},
		{"one text as integer", []Constraint{{Column: 0, Op: OpEq, Values: list(1, text)}}},
		{"range", []Constraint{{Column: 0, Op: OpGE, Values: list(1, integer)}, {Column: 0, Op: OpLE, Values: list(1, text)}}},
		{"pattern", []Constraint{{Column: 1, Op: OpLike, Values: list(1, text)}}},
		{"1000 integers", []Constraint{{Column: 0, Op: OpEq, Values: list(1000, integer)}}},
		{"1000 texts as integers", []Constraint{{Column: 0, Op: OpEq, Values: list(1000, text)}}},
		{"1000 texts", []Constraint{{Column: 1, Op: OpEq, Values: list(1000, text)}}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if q := NewQuery(session, schema, Request{Used: AllUsed, Constraints: bench.constraints}); q.Empty() {
					b.Fatal("nothing is left")
				}
			}
		})
	}
}

// BenchmarkSet looks a value up in the list that constraints leave of a column.
func BenchmarkSet(b *testing.B) {
	for _, n := range []int{1, 8, 1000} {
		b.Run(fmt.Sprintf("values=%d", n), func(b *testing.B) {
			c := Constraint{Op: OpEq}
			for i := range n {
				c.Values = append(c.Values, Int(2*i))
			}
			set := everything
			set.restrict(BigInt, c)
			i, found := int64(0), 0
			b.ReportAllocs()
			for b.Loop() {
				if set.HasInt(i % int64(2*n)) {
					found++
				}
				i++
			}
			if i > 1 && found == 0 {
				b.Fatal("nothing is found")
			}
		})
	}
}

package tables

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
)

type number struct{ n int64 }

// numbers is a table of the numbers from 0 on; asked counts the rows it made.
func numbers(t testing.TB, count int, asked *int) Table {
	t.Helper()
	table, err := New(Def[number]{
		Name: "numbers",
		Doc:  "Whole numbers.",
		Columns: []Column[number]{
			{Name: "n", Doc: "The number.", Type: BigInt, Flags: Pushdown, Get: func(r *number) Value { return Int(r.n) }},
			{Name: "text", Doc: "Its digits.", Type: Text, Get: func(r *number) Value { return Decimal(uint64(r.n)) }},
		},
		Rows: func(ctx context.Context, q *Query, yield func(*number) bool) error {
			var r number
			for i := range count {
				*asked++
				r.n = int64(i)
				if !yield(&r) {
					return nil
				}
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestRunStopsWithTheCaller(t *testing.T) {
	asked := 0
	table := numbers(t, 1000, &asked)
	var got []int64
	err := Run(t.Context(), table, NewQuery(NewSession(t.Context()), table.Schema(), Request{Used: AllUsed}), func(r Row) bool {
		got = append(got, r.Column(0).Int64())
		return len(got) < 3
	})
	if err != nil || !slices.Equal(got, []int64{0, 1, 2}) || asked != 3 {
		t.Errorf("rows %v, %d asked, error %v", got, asked, err)
	}
}

func TestRunEndsWithTheContext(t *testing.T) {
	asked := 0
	table := numbers(t, 1000, &asked)
	why := errors.New("deadline of the pack")
	ctx, cancel := context.WithCancelCause(t.Context())
	err := Run(ctx, table, NewQuery(NewSession(ctx), table.Schema(), Request{}), func(Row) bool {
		cancel(why)
		return true
	})
	if !errors.Is(err, why) || asked != 2 {
		t.Errorf("error %v after %d rows, want the cause after one more", err, asked)
	}
	if err := Run(ctx, table, NewQuery(NewSession(ctx), table.Schema(), Request{}), func(Row) bool { return true }); !errors.Is(err, why) || asked != 2 {
		t.Errorf("a scan started under an ended context: %v", err)
	}
}

func TestRunAsksNobodyForNothing(t *testing.T) {
	asked := 0
	table := numbers(t, 10, &asked)
	for _, c := range []Constraint{
		{Column: 0, Op: OpEq, Values: []Value{Null()}},
		{Column: 0, Op: OpEq, Values: []Value{String("abc")}},
		{Column: 0, Op: OpEq},
		{Column: 0, Op: OpGT, Values: []Value{String("abc")}},
	} {
		q := NewQuery(NewSession(t.Context()), table.Schema(), Request{Constraints: []Constraint{c}})
		if err := Run(t.Context(), table, q, func(Row) bool { return true }); err != nil || asked != 0 {
			t.Errorf("%v: %d rows asked, error %v", c, asked, err)
		}
	}
}

func TestRunTurnsPanicIntoError(t *testing.T) {
	table, err := New(Def[number]{
		Name: "broken", Columns: []Column[number]{{Name: "n", Get: func(*number) Value { return Null() }}},
		Rows: func(context.Context, *Query, func(*number) bool) error { panic("index out of range") },
	})
	if err != nil {
		t.Fatal(err)
	}
	err = Run(t.Context(), table, NewQuery(NewSession(t.Context()), table.Schema(), Request{}), func(Row) bool { return true })
	var p *PanicError
	if !errors.As(err, &p) || p.Table != "broken" || !strings.Contains(string(p.Stack), "run_test.go") {
		t.Errorf("error = %v", err)
	}
}

func TestRunWantsRequiredColumns(t *testing.T) {
	table, err := New(Def[number]{
		Name: "file", Columns: []Column[number]{{Name: "path", Type: Text, Flags: Index | Required, Get: func(*number) Value { return Null() }}},
		Rows: func(_ context.Context, _ *Query, yield func(*number) bool) error { yield(&number{}); return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	run := func(c ...Constraint) error {
		return Run(t.Context(), table, NewQuery(NewSession(t.Context()), table.Schema(), Request{Constraints: c}), func(Row) bool { return true })
	}
	var required *RequiredError
	if err := run(); !errors.As(err, &required) || err.Error() != "Table file was queried without a required column in the WHERE clause" {
		t.Errorf("error = %v", err)
	}
	if err := run(Constraint{Column: 0, Op: OpGT, Values: []Value{String("/")}}); !errors.As(err, &required) {
		t.Errorf("a bound passed for a value: %v", err)
	}
	for _, op := range []Op{OpEq, OpIs, OpLike, OpGlob} {
		if err := run(Constraint{Column: 0, Op: op, Values: []Value{String("/etc/%")}}); err != nil {
			t.Errorf("%v: %v", op, err)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	get := func(*number) Value { return Null() }
	rows := func(context.Context, *Query, func(*number) bool) error { return nil }
	for name, d := range map[string]Def[number]{
		"no name":         {Columns: []Column[number]{{Name: "a", Get: get}}, Rows: rows},
		"no columns":      {Name: "t", Rows: rows},
		"no rows":         {Name: "t", Columns: []Column[number]{{Name: "a", Get: get}}},
		"nameless column": {Name: "t", Columns: []Column[number]{{Get: get}}, Rows: rows},
		"no accessor":     {Name: "t", Columns: []Column[number]{{Name: "a"}}, Rows: rows},
		"twice":           {Name: "t", Columns: []Column[number]{{Name: "a", Get: get}, {Name: "a", Get: get}}, Rows: rows},
	} {
		if _, err := New(d); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestUsed(t *testing.T) {
	q := NewQuery(NewSession(t.Context()), &Schema{}, Request{Used: 1<<2 | 1<<63})
	for col, want := range map[int]bool{0: false, 2: true, 62: false, 63: true, 64: true, 200: true} {
		if q.Used(col) != want {
			t.Errorf("Used(%d) = %v", col, !want)
		}
	}
}

func BenchmarkScan(b *testing.B) {
	for _, read := range []int{0, 2} {
		b.Run(map[int]string{0: "columns=0", 2: "columns=2"}[read], func(b *testing.B) {
			asked := 0
			table := numbers(b, b.N, &asked)
			q := NewQuery(NewSession(b.Context()), table.Schema(), Request{Used: AllUsed})
			b.ReportAllocs()
			var buf []byte
			if err := Run(b.Context(), table, q, func(r Row) bool {
				for i := range read {
					buf = r.Column(i).Append(buf[:0])
				}
				return true
			}); err != nil {
				b.Fatal(err)
			}
		})
	}
}

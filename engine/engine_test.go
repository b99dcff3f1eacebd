package engine_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"sockql/engine"
	"sockql/engine/sqlfunc"
	"sockql/tables"
)

func tableNamed(tb testing.TB, name string, aliases []string, columns ...tables.Column[int]) tables.Table {
	return newTable(tb, tables.Def[int]{
		Name: name, Doc: "Empty.", Aliases: aliases, Columns: columns,
		Rows: func(context.Context, *tables.Query, func(*int) bool) error { return nil },
	})
}

func columnNamed(name, collate string) tables.Column[int] {
	return tables.Column[int]{Name: name, Doc: "c", Type: tables.Text, Collate: collate, Get: func(*int) tables.Value { return tables.Null() }}
}

func TestNewRefuses(t *testing.T) {
	eval := func(context.Context, *sqlfunc.Call, []tables.Value) (tables.Value, error) { return tables.Null(), nil }
	a := columnNamed("a", "")
	for part, cfg := range map[string]engine.Config{
		`table "": not a plain name`:        {Tables: []tables.Table{schemaOnly("")}},
		`table "a b": not a plain name`:     {Tables: []tables.Table{tableNamed(t, "a b", nil, a)}},
		"table \"x`y\": not a plain name":   {Tables: []tables.Table{tableNamed(t, "x`y", nil, a)}},
		`table "1x": not a plain name`:      {Tables: []tables.Table{tableNamed(t, "1x", nil, a)}},
		`table "sqlite_x": the name is`:     {Tables: []tables.Table{tableNamed(t, "sqlite_x", nil, a)}},
		`table "pragma_x": the name is`:     {Tables: []tables.Table{tableNamed(t, "pragma_x", nil, a)}},
		`table "X": the name is there twic`: {Tables: []tables.Table{tableNamed(t, "x", nil, a), tableNamed(t, "X", nil, a)}},
		`table "y": the name is there twic`: {Tables: []tables.Table{tableNamed(t, "x", []string{"y"}, a), tableNamed(t, "y", nil, a)}},
		`column "A": the name is there twi`: {Tables: []tables.Table{tableNamed(t, "x", nil, a, columnNamed("A", ""))}},
		`column "a)": not a plain name`:     {Tables: []tables.Table{tableNamed(t, "x", nil, columnNamed("a)", ""))}},
		`unknown collating sequence "nope"`: {Tables: []tables.Table{tableNamed(t, "x", nil, columnNamed("a", "nope"))}},
		`function "f g": needs`:             {Functions: []sqlfunc.Function{{Name: "f g", Eval: eval}}},
		`function "f": needs`:               {Functions: []sqlfunc.Function{{Name: "f"}}},
		`function "LIKE": must not be`:      {Functions: []sqlfunc.Function{{Name: "LIKE", Eval: eval}}},
		`collating sequence "k": needs`:     {Collations: []sqlfunc.Collation{{Name: "k"}}},
	} {
		if _, err := engine.New(cfg); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("error %v, want %q", err, part)
		}
	}
}

// schemaOnly is a table that tables.New would refuse.
type schemaOnly string

func (s schemaOnly) Schema() *tables.Schema { return &tables.Schema{Name: string(s)} }

func (s schemaOnly) Scan(context.Context, *tables.Query, func(tables.Row) bool) error { return nil }

func TestTables(t *testing.T) {
	e := newEngine(t, engine.Config{Tables: []tables.Table{
		tableNamed(t, "zebra", []string{"horse"}, columnNamed("a", "")),
		tableNamed(t, "ant", nil, columnNamed("group", ""), columnNamed("order", "rtrim")),
	}})
	var names []string
	for _, table := range e.Tables() {
		names = append(names, table.Schema().Name)
	}
	if !slices.Equal(names, []string{"ant", "zebra"}) {
		t.Errorf("tables %q", names)
	}
	for name, want := range map[string]string{"ant": "ant", "Horse": "zebra", "ZEBRA": "zebra"} {
		if got := e.Table(name); got == nil || got.Schema().Name != want {
			t.Errorf("table %q is %v", name, got)
		}
	}
	if got := e.Table("cow"); got != nil {
		t.Errorf("there is a table cow: %v", got)
	}
	c := mustOpen(t, e)
	defer c.Close()
	rows(t, c, "select `group`, `order` from ant join horse on a = `group`")
}

func TestTableInfo(t *testing.T) {
	p := &probe{name: "p", flags: tables.Index}
	c := open(t, engine.Config{Tables: []tables.Table{p.table(t)}})
	if got, want := rows(t, c, "pragma table_info(p)"), []string{"0|id|BIGINT|0|∅|0", "1|name|TEXT|0|∅|0"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := rows(t, c, "pragma table_xinfo(p_alias)"), []string{"0|id|BIGINT|0|∅|0|0", "1|name|TEXT|0|∅|0|0", "2|secret|INTEGER|0|∅|0|1"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestValues takes every kind of value from a table through SQLite and back.
func TestValues(t *testing.T) {
	values := []tables.Value{
		tables.Null(), tables.Int(0), tables.Int(int64(math.MaxInt64)), tables.Int(int64(math.MinInt64)), tables.Uint(math.MaxUint64),
		tables.Float(0.5), tables.Float(math.Inf(1)), tables.Float(math.Copysign(0, -1)), tables.String(""), tables.String("x"), tables.String("a\x00b"),
		tables.String("\xff\xfe"), tables.String(strings.Repeat("long ", 10_000)), tables.Bytes(""), tables.Bytes("\x00\xff"),
		tables.Decimal(math.MaxUint64), tables.Bool(true),
	}
	table := newTable(t, tables.Def[tables.Value]{
		Name: "vals", Doc: "Values.",
		Columns: []tables.Column[tables.Value]{{Name: "v", Doc: "v", Type: tables.Blob, Get: func(v *tables.Value) tables.Value { return *v }}},
		Rows: func(_ context.Context, _ *tables.Query, yield func(*tables.Value) bool) error {
			for i := range values {
				if !yield(&values[i]) {
					break
				}
			}
			return nil
		},
	})
	echo := sqlfunc.Function{Name: "echo", Args: []int{1}, Eval: func(_ context.Context, _ *sqlfunc.Call, args []tables.Value) (tables.Value, error) {
		return args[0], nil
	}}
	c := open(t, engine.Config{Tables: []tables.Table{table}, Functions: []sqlfunc.Function{echo}})
	for _, sql := range []string{"select v from vals", "select echo(v) from vals"} {
		res, err := c.Query(context.Background(), sql)
		if err != nil || len(res.Rows) != len(values) {
			t.Fatalf("%s: %d rows, %v", sql, len(res.Rows), err)
		}
		for i, want := range values {
			if got := res.Rows[i][0]; got.Kind() != want.Kind() || got.String() != want.String() {
				t.Errorf("%s: %v became %v", sql, want, got)
			}
		}
	}
	// SQLite knows no NaN.
	values = []tables.Value{tables.Float(math.NaN())}
	if got := rows(t, c, "select v from vals"); !slices.Equal(got, []string{"∅"}) {
		t.Errorf("NaN became %q", got)
	}
}

func TestFunctions(t *testing.T) {
	errRefused := errors.New("Invalid thing")
	type key struct{}
	contextKey := key{}
	functions := []sqlfunc.Function{
		{Name: "fails", Args: []int{0}, Eval: func(context.Context, *sqlfunc.Call, []tables.Value) (tables.Value, error) {
			return tables.Null(), errRefused
		}},
		{Name: "panics", Eval: func(context.Context, *sqlfunc.Call, []tables.Value) (tables.Value, error) { panic("oh") }},
		{Name: "warns", Args: []int{1}, Eval: func(_ context.Context, c *sqlfunc.Call, args []tables.Value) (tables.Value, error) {
			c.Warn(errRefused)
			return args[0], nil
		}},
		{Name: "calls", Args: []int{0}, Eval: func(_ context.Context, c *sqlfunc.Call, _ []tables.Value) (tables.Value, error) {
			n, _ := c.Cache[key{}].(int)
			c.Cache[key{}] = n + 1
			return tables.Int(n + 1), nil
		}},
		{Name: "from_context", Args: []int{0}, Eval: func(ctx context.Context, _ *sqlfunc.Call, _ []tables.Value) (tables.Value, error) {
			return tables.String(ctx.Value(contextKey).(string)), nil
		}},
		{Name: "upper", Args: []int{1}, Deterministic: true, Eval: func(context.Context, *sqlfunc.Call, []tables.Value) (tables.Value, error) {
			return tables.String("ours"), nil
		}},
		{Name: "log", Args: []int{1}, Deterministic: true, Eval: func(context.Context, *sqlfunc.Call, []tables.Value) (tables.Value, error) {
			return tables.String("ours"), nil
		}},
		{Name: "n_args", Args: []int{0, 2}, Deterministic: true, Eval: func(_ context.Context, _ *sqlfunc.Call, args []tables.Value) (tables.Value, error) {
			return tables.Int(len(args)), nil
		}},
		{Name: "any_args", Deterministic: true, Eval: func(_ context.Context, _ *sqlfunc.Call, args []tables.Value) (tables.Value, error) {
			return tables.Int(len(args)), nil
		}},
	}
	c := open(t, engine.Config{Functions: functions, Collations: []sqlfunc.Collation{
		{Name: "by_length", Compare: func(a, b string) int { return len(a) - len(b) }},
		{Name: "broken", Compare: func(a, b string) int { panic("no order") }},
	}})
	for sql, want := range map[string]string{
		"select upper('x'), lower('X')":                     "ours|x",
		"select log(10), log(2, 8)":                         "ours|3.0", // the other form stays SQLite's
		"select n_args(), n_args(1, 2)":                     "0|2",
		"select any_args(), any_args(1), any_args(1, 2, 3)": "0|1|3",
		"select calls() + calls() * 10":                     "21",
		"select calls()":                                    "1", // a statement of its own
		"select 'aaa' > 'bb' collate by_length":             "1",
		"select group_concat(c, ' ') from (select column1 c from (values ('ccc'), ('a'), ('bb')) order by 1 collate by_length)": "a bb ccc",
	} {
		if got := rows(t, c, sql); !slices.Equal(got, []string{want}) {
			t.Errorf("%s: %q, want %q", sql, got, want)
		}
	}
	var e *engine.Error
	if _, err := c.Query(context.Background(), "select fails()"); !errors.Is(err, errRefused) || !errors.As(err, &e) || e.Code != 1 || e.Message != "Invalid thing" {
		t.Errorf("fails: %v", err)
	}
	for _, sql := range []string{"select panics()", "select 'a' < 'b' collate broken union select 1", "select column1 from (values ('b'), ('a'), ('c')) order by column1 collate broken"} {
		if _, err := c.Query(context.Background(), sql); err == nil || !strings.Contains(err.Error(), "panic: ") {
			t.Errorf("%s: %v", sql, err)
		}
		rows(t, c, "select 1")
	}
	if _, err := c.Query(context.Background(), "select n_args(1)"); err == nil || err.Error() != "wrong number of arguments to function n_args()" {
		t.Errorf("n_args: %v", err)
	}
	res, err := c.Query(context.Background(), "select warns(5)")
	if err != nil || len(res.Warnings) != 1 || !errors.Is(res.Warnings[0], errRefused) {
		t.Errorf("warnings %v, %v", res.Warnings, err)
	}
	res, err = c.Query(context.WithValue(context.Background(), contextKey, "here"), "select from_context()")
	if err != nil || res.Rows[0][0].String() != "here" {
		t.Errorf("context: %v, %v", res, err)
	}
}

// TestDialect runs what public detection queries lean on.
func TestDialect(t *testing.T) {
	c := open(t, engine.Config{})
	for sql, want := range map[string]string{
		`select "a string in double quotes"`:                                                   "a string in double quotes",
		"select strftime('%Y', 0, 'unixepoch'), datetime(0, 'unixepoch')":                      "1970|1970-01-01 00:00:00",
		"select sum(x) over (order by x) from (values (1), (2)) v(x) limit 1":                  "",
		"select row_number() over () from (select 1)":                                          "1",
		"select json_extract('{\"a\":[1,2]}', '$.a[1]')":                                       "2",
		"select group_concat(value) from json_each('[1,2,3]')":                                 "1,2,3",
		"select '10%' like '10!%' escape '!', 'ABC' like 'abc', 'ABC' glob 'abc'":              "1|1|0",
		"select sqrt(16), power(2, 10), pi() > 3, mod(5, 3)":                                   "4.0|1024.0|1|2.0",
		"select iif(1, 2, 3), instr('abc', 'b'), printf('%05d', 42), 0x10":                     "2|2|00042|16",
		"with a as (select 1 x union all select 2) select max(x) from a":                       "2",
		"select count(*) filter (where x > 1) from (select 1 x union select 2 union select 3)": "2",
		"select soundex('robert'), quote('it''s'), unhex('41')":                                "R163|'it''s'|A",
	} {
		res, err := c.Query(context.Background(), sql)
		if want == "" { // a syntax of other databases
			if err == nil {
				t.Errorf("%s: no error", sql)
			}
			continue
		}
		if err != nil || !slices.Equal(texts(res), []string{want}) {
			t.Errorf("%s: %q, %v; want %q", sql, texts(res), err, want)
		}
	}
}

// TestFloatsAsText compares our text of a float with SQLite's, which a
// statement may mix.
func TestFloatsAsText(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	values := []float64{0, 1, -1, 0.1, 0.5, 1e15, 1e16, 123456789012345, 1234567890123456, 1e-4, 1e-5, 1.5e-5, 1e100, 1e-100, 1e20, 0.1 + 0.2, math.Pi,
		math.MaxFloat64, math.SmallestNonzeroFloat64, 999999999999999.9, 9.999999999999999e22, 100, 1e2, 12345.678, math.Inf(1), math.Inf(-1), math.Copysign(0, -1)}
	for range 5000 {
		values = append(values, math.Float64frombits(r.Uint64()), r.NormFloat64(), math.Round(r.Float64()*1e6)/1e3, math.Pow(10, float64(r.IntN(40)-20)))
	}
	values = slices.DeleteFunc(values, math.IsNaN)
	table := newTable(t, tables.Def[float64]{
		Name: "f", Doc: "Floats.",
		Columns: []tables.Column[float64]{{Name: "v", Doc: "v", Type: tables.Double, Get: func(v *float64) tables.Value { return tables.Float(*v) }}},
		Rows: func(_ context.Context, _ *tables.Query, yield func(*float64) bool) error {
			for i := range values {
				if !yield(&values[i]) {
					break
				}
			}
			return nil
		},
	})
	c := open(t, engine.Config{Tables: []tables.Table{table}})
	bad := 0
	for i, got := range rows(t, c, "select v || '' from f") {
		if want := tables.Float(values[i]).String(); got != want {
			if bad++; bad < 20 {
				t.Errorf("%b: SQLite writes %s, we write %s", values[i], got, want)
			}
		}
	}
	if bad > 0 {
		t.Errorf("%d of %d differ", bad, len(values))
	}
}

// TestColumnCollation declares a sequence of our own and one of SQLite's.
func TestColumnCollation(t *testing.T) {
	words := []string{"ccc", "A", "bb", "a"}
	table := newTable(t, tables.Def[string]{
		Name: "words", Doc: "Words.",
		Columns: []tables.Column[string]{
			{Name: "w", Doc: "By length.", Type: tables.Text, Collate: "by_length", Flags: tables.Index, Get: func(w *string) tables.Value { return tables.String(*w) }},
			{Name: "n", Doc: "Without case.", Type: tables.Text, Collate: "nocase", Flags: tables.Index, Get: func(w *string) tables.Value { return tables.String(*w) }},
		},
		Rows: func(_ context.Context, q *tables.Query, yield func(*string) bool) error {
			for i := range words {
				if q.Set(0).HasString(words[i]) && q.Set(1).HasString(words[i]) && !yield(&words[i]) {
					break
				}
			}
			return nil
		},
	})
	c := open(t, engine.Config{Tables: []tables.Table{table}, Collations: []sqlfunc.Collation{
		{Name: "by_length", Compare: func(a, b string) int { return len(a) - len(b) }},
	}})
	for sql, want := range map[string][]string{
		"select w from words order by w desc limit 2":             {"ccc", "bb"},
		"select count(*) from words where w = 'x'":                {"2"},
		"select count(*) from words where w > 'x'":                {"2"},
		"select count(*) from words where n = 'a'":                {"2"},
		"select count(*) from words where n in ('a', 'CCC')":      {"3"},
		"select count(*) from words where n = 'a' collate binary": {"1"},
		"select count(distinct n) from words":                     {"3"},
	} {
		if got := rows(t, c, sql); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", sql, got, want)
		}
	}
}

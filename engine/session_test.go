package engine_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sockql/engine"
	"sockql/engine/sqlfunc"
	"sockql/tables"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// endless yields the same row until somebody stops it, and counts.
type endless struct {
	yielded int64
	begun   int
	ended   int
	onRow   func(n int64)
}

func (e *endless) table(tb testing.TB) tables.Table {
	return newTable(tb, tables.Def[int64]{
		Name: "endless", Doc: "Rows without end.",
		Columns: []tables.Column[int64]{
			{Name: "n", Doc: "A number.", Type: tables.BigInt, Get: func(n *int64) tables.Value { return tables.Int(*n) }},
			{Name: "s", Doc: "A text.", Type: tables.Text, Get: func(n *int64) tables.Value { return tables.Decimal(uint64(*n)) }},
		},
		Rows: func(ctx context.Context, q *tables.Query, yield func(*int64) bool) error {
			e.begun++
			defer func() { e.ended++ }()
			var n int64 // one for all rows
			for {
				n++
				e.yielded = n
				if e.onRow != nil {
					e.onRow(n)
				}
				if !yield(&n) {
					return nil
				}
			}
		},
	})
}

func TestCancelStopsAScan(t *testing.T) {
	cause := errors.New("enough")
	for _, sql := range []string{"select n from endless", "select count(*) from endless", "select max(s) from endless where n < 0"} {
		e := &endless{}
		c := open(t, engine.Config{Tables: []tables.Table{e.table(t)}})
		ctx, cancel := context.WithCancelCause(context.Background())
		e.onRow = func(n int64) {
			if n == 1000 {
				cancel(cause)
			}
		}
		_, err := c.Query(ctx, sql)
		var ee *engine.Error
		if !errors.Is(err, cause) || !errors.As(err, &ee) || ee.Code != 9 || ee.Message != "interrupted: enough" {
			t.Errorf("%s: error %v", sql, err)
		}
		if e.yielded != 1000 || e.begun != 1 || e.ended != 1 {
			t.Errorf("%s: %d rows, %d scans of which %d ended", sql, e.yielded, e.begun, e.ended)
		}
		rows(t, c, "select 1")
	}
}

func TestCancelStopsSQLite(t *testing.T) {
	// The function runs inside the statement, so that no time is involved.
	ctx, cancel := context.WithCancel(context.Background())
	c := open(t, engine.Config{Functions: []sqlfunc.Function{{
		Name: "tick", Args: []int{1},
		Eval: func(_ context.Context, _ *sqlfunc.Call, args []tables.Value) (tables.Value, error) {
			if args[0].Int64() == 5000 {
				cancel()
			}
			return args[0], nil
		},
	}}})
	const forever = "with recursive r(n) as (select 1 union all select tick(n+1) from r) select count(*) from r"
	if _, err := c.Query(ctx, forever); !errors.Is(err, context.Canceled) || err.Error() != "interrupted" {
		t.Errorf("error %v", err)
	}
	if got := rows(t, c, "select 2"); !slices.Equal(got, []string{"2"}) {
		t.Errorf("afterwards: %q", got)
	}
	// A context that has ended runs nothing.
	if _, err := c.Query(ctx, "create table t(a)"); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if _, err := c.Query(context.Background(), "select * from t"); err == nil {
		t.Error("a statement ran after its context had ended")
	}
}

// TestStatementsTakeTurns runs two statements of one session row by row, each
// with a scan of its own.
func TestStatementsTakeTurns(t *testing.T) {
	e := &endless{}
	c := open(t, engine.Config{Tables: []tables.Table{e.table(t)}})
	s := c.Begin(context.Background())
	defer s.Close()
	var stmts []*engine.Stmt
	for _, sql := range []string{"select n from endless", "select 2 * n from endless", "select -n from endless where n % 2"} {
		st, _, err := s.Prepare(sql)
		if err != nil {
			t.Fatal(err)
		}
		stmts = append(stmts, st)
	}
	for i := range int64(50) {
		for k, want := range []int64{i + 1, 2 * (i + 1), -(2*i + 1)} {
			if st := stmts[k]; !st.Next() || st.Value(0).Int64() != want {
				t.Fatalf("row %d of statement %d: %v, %v", i, k, st.Value(0), st.Err())
			}
		}
	}
}

func TestTimeoutFromAnotherGoroutine(t *testing.T) {
	c := open(t, engine.Config{})
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	_, err := c.Query(ctx, "with recursive r(n) as (select 1 union all select n+1 from r) select count(*) from r")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

func TestClosingAStatementEndsItsScan(t *testing.T) {
	e := &endless{}
	c := open(t, engine.Config{Tables: []tables.Table{e.table(t)}})
	for i, end := range []func(*engine.Session, *engine.Stmt) error{
		func(_ *engine.Session, st *engine.Stmt) error { return st.Close() },
		func(s *engine.Session, _ *engine.Stmt) error { return s.Close() },
	} {
		s := c.Begin(context.Background())
		st, _, err := s.Prepare("select a.n from endless a, endless b")
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			if !st.Next() {
				t.Fatal(st.Err())
			}
		}
		if e.begun-e.ended != 2 {
			t.Fatalf("%d scans run", e.begun-e.ended)
		}
		if err := end(s, st); err != nil {
			t.Fatal(err)
		}
		if e.begun != e.ended {
			t.Errorf("way %d: %d of %d scans ended", i, e.ended, e.begun)
		}
		if st.Next() || !st.Value(0).IsNull() || !errors.Is(st.Err(), engine.ErrClosed) {
			t.Error("a closed statement goes on")
		}
		s.Close()
	}
}

func TestMemoryDoesNotGrowWithRows(t *testing.T) {
	n := 10_000_000
	if raceEnabled || testing.Short() {
		n = 300_000
	}
	e := &endless{}
	c := open(t, engine.Config{Tables: []tables.Table{e.table(t)}})
	s := c.Begin(context.Background())
	defer s.Close()
	st, _, err := s.Prepare("select * from endless")
	if err != nil {
		t.Fatal(err)
	}
	held := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	step := func(rows int) {
		for range rows {
			if !st.Next() {
				t.Fatal(st.Err())
			}
		}
	}
	step(1000)
	heap, used := held(), engine.MemoryUsed()
	step(n)
	if grown := int64(held()) - int64(heap); grown > 1<<20 {
		t.Errorf("Go's heap grew by %d bytes over %d rows", grown, n)
	}
	if grown := engine.MemoryUsed() - used; grown > 64<<10 {
		t.Errorf("SQLite's memory grew by %d bytes over %d rows", grown, n)
	}
	if e.yielded != int64(n)+1000 {
		t.Errorf("the table gave %d rows for %d", e.yielded, n+1000)
	}
}

// TestCellsCostNoAllocation measures what rows cost beside the chunks that
// their texts are copied to.
func TestCellsCostNoAllocation(t *testing.T) {
	e := &endless{}
	c := open(t, engine.Config{Tables: []tables.Table{e.table(t)}})
	s := c.Begin(context.Background())
	defer s.Close()
	st, _, err := s.Prepare("select n, s, n, s from endless")
	if err != nil {
		t.Fatal(err)
	}
	const batch = 1000
	allocs := testing.AllocsPerRun(20, func() {
		for range batch {
			if !st.Next() {
				t.Fatal(st.Err())
			}
		}
	})
	if allocs > batch/100 {
		t.Errorf("%v allocations for %d rows of four cells", allocs, batch)
	}
}

var errBroken = errors.New("broken: the source said no")

// trouble is a table that fails in the way its row says.
func trouble(tb testing.TB) tables.Table {
	type row struct{ way string }
	return newTable(tb, tables.Def[row]{
		Name: "trouble", Doc: "Fails.",
		Columns: []tables.Column[row]{
			{Name: "way", Doc: "How.", Type: tables.Text, Flags: tables.Index, Get: func(r *row) tables.Value { return tables.String(r.way) }},
			{Name: "bad", Doc: "Panics.", Type: tables.Text, Get: func(*row) tables.Value { panic("no cell") }},
		},
		Rows: func(_ context.Context, q *tables.Query, yield func(*row) bool) error {
			for v := range q.Equal(0) {
				switch v.String() {
				case "panic":
					panic("no rows")
				case "library":
					q.Warn(errors.New(strings.Repeat("x", -1)))
				case "error":
					return fmt.Errorf("trouble: open: %w", errBroken)
				case "late":
					if !yield(&row{"late"}) {
						return nil
					}
					return errBroken
				case "late panic":
					if yield(&row{"late panic"}) {
						panic("after a row")
					}
				case "ignores":
					for range 3 {
						yield(&row{"ignores"})
					}
				case "warn":
					q.Warn(errBroken)
					q.Warn(errBroken)
					yield(&row{"warn"})
				}
			}
			return nil
		},
	})
}

func TestErrorsOfATable(t *testing.T) {
	c := open(t, engine.Config{Tables: []tables.Table{trouble(t)}})
	for _, test := range []struct {
		sql, message string
		panics       bool
		rows         int
	}{
		{"select way from trouble where way = 'error'", "trouble: open: broken: the source said no", false, 0},
		{"select way from trouble where way = 'late'", "broken: the source said no", false, 1},
		{"select count(*) from trouble where way = 'late'", "broken: the source said no", false, 0},
		{"select way from trouble where way = 'panic'", "table trouble: panic: no rows", true, 0},
		{"select way from trouble where way = 'library'", "table trouble: panic: strings: negative Repeat count", true, 0},
		{"select way from trouble where way = 'late panic'", "table trouble: panic: after a row", true, 1},
		{"select bad from trouble where way = 'late'", "table trouble: panic: no cell", true, 0},
		{"select 1 from trouble where bad = 1 and way = 'late'", "table trouble: panic: no cell", true, 0},
	} {
		res, err := c.Query(context.Background(), test.sql)
		var e *engine.Error
		if !errors.As(err, &e) || e.Message != test.message || e.Code != 1 {
			t.Errorf("%s: error %v", test.sql, err)
			continue
		}
		var p *tables.PanicError
		switch {
		case test.panics && (!errors.As(err, &p) || p.Table != "trouble" || !strings.Contains(string(p.Stack), "session_test.go")):
			t.Errorf("%s: no panic with a stack behind %v", test.sql, err)
		case !test.panics && !errors.Is(err, errBroken):
			t.Errorf("%s: the table's error is not behind %v", test.sql, err)
		case len(res.Rows) != test.rows:
			t.Errorf("%s: %d rows before the error, want %d", test.sql, len(res.Rows), test.rows)
		}
	}
	if got := rows(t, c, "select way from trouble where way = 'ignores' limit 1"); len(got) != 1 {
		t.Errorf("a table that ignores the stop gave %q", got)
	}
}

func TestWarnings(t *testing.T) {
	c := open(t, engine.Config{Tables: []tables.Table{trouble(t)}})
	res, err := c.Query(context.Background(), "select way from trouble where way = 'warn'")
	if err != nil || len(res.Rows) != 1 || len(res.Warnings) != 1 || !errors.Is(res.Warnings[0], errBroken) {
		t.Errorf("result %v, error %v", res, err)
	}
	s := c.Begin(context.Background())
	defer s.Close()
	for range 2 { // the same text counts once a session
		st, _, err := s.Prepare("select way from trouble where way = 'warn'")
		if err != nil || !st.Next() {
			t.Fatal(err)
		}
		st.Close()
	}
	if got := s.TakeWarnings(); len(got) != 1 {
		t.Errorf("warnings %v", got)
	}
	if got := s.TakeWarnings(); len(got) != 0 {
		t.Errorf("warnings came again: %v", got)
	}
}

func TestPrepare(t *testing.T) {
	c := open(t, engine.Config{})
	s := c.Begin(context.Background())
	defer s.Close()
	sql, got := " ; /* c */ select 1 as a, 'x' ;; -- end\nselect 2; ", []string{}
	for sql != "" {
		st, tail, err := s.Prepare(sql)
		if err != nil {
			t.Fatal(err)
		}
		if len(tail) >= len(sql) {
			t.Fatalf("no progress: %q after %q", tail, sql)
		}
		sql = tail
		if st == nil {
			continue
		}
		for st.Next() {
			line := ""
			for i, column := range st.Columns() {
				line += column.Name + "=" + st.Value(i).String() + " "
			}
			got = append(got, line)
		}
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"a=1 'x'=x ", "2=2 "}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	var e *engine.Error
	if _, _, err := s.Prepare("select 1 +"); !errors.As(err, &e) || e.Code != 1 || e.Message != "incomplete input" {
		t.Errorf("error %v", err)
	}
	if _, _, err := s.Prepare("select nope"); !errors.As(err, &e) || e.Offset != 7 {
		t.Errorf("offset %d of %v", e.Offset, err)
	}
}

func TestColumns(t *testing.T) {
	p := &probe{name: "p"}
	c := open(t, engine.Config{Tables: []tables.Table{p.table(t)}})
	rows(t, c, "create view v as select id, secret as s from p")
	s := c.Begin(context.Background())
	defer s.Close()
	st, _, err := s.Prepare("select p.*, p.secret, id + 1, (select s from v limit 1) as sub, v.s from p_alias p join v using (id)")
	if err != nil {
		t.Fatal(err)
	}
	want := []engine.ResultColumn{
		{Name: "id", DeclType: "BIGINT", Table: "p_alias", Column: "id"},
		{Name: "name", DeclType: "TEXT", Table: "p_alias", Column: "name"},
		{Name: "secret", DeclType: "INTEGER", Table: "p_alias", Column: "secret"},
		{Name: "id + 1"},
		{Name: "sub", DeclType: "INTEGER", Table: "p", Column: "secret"},
		{Name: "s", DeclType: "INTEGER", Table: "p", Column: "secret"},
	}
	if got := st.Columns(); !slices.Equal(got, want) {
		t.Errorf("columns\n%+v, want\n%+v", got, want)
	}
}

func TestComplete(t *testing.T) {
	for sql, want := range map[string]bool{
		"": false, " ": false, ";": true, "select 1": false, "select 1;": true, "select ';": false, "select ';';": true,
		"/* ;": false, "select 1; -- c": true, "create trigger t after insert on x begin select 1;": false,
	} {
		if got := engine.Complete(sql); got != want {
			t.Errorf("%q: complete %v, want %v", sql, got, want)
		}
	}
}

func TestObjectsLiveInTheConnection(t *testing.T) {
	p := &probe{name: "p"}
	e := newEngine(t, engine.Config{Tables: []tables.Table{p.table(t)}})
	a, b := mustOpen(t, e), mustOpen(t, e)
	defer a.Close()
	defer b.Close()
	rows(t, a, "create view v as select max(id) from p")
	rows(t, a, "create temp table t as select id from p where id < 3")
	if got := rows(t, a, "select * from v"); !slices.Equal(got, []string{"99"}) {
		t.Errorf("view: %q", got)
	}
	if got := rows(t, a, "select count(*) from t"); !slices.Equal(got, []string{"3"}) {
		t.Errorf("table: %q", got)
	}
	for _, sql := range []string{"select * from v", "select * from t"} {
		if _, err := b.Query(context.Background(), sql); err == nil {
			t.Errorf("%s: another connection has it too", sql)
		}
	}
}

func mustOpen(tb testing.TB, e *engine.Engine) *engine.Conn {
	tb.Helper()
	c, err := e.Open()
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func TestManyConnectionsAtOnce(t *testing.T) {
	e := newEngine(t, engine.Config{
		Tables: []tables.Table{socketTable(t, "s", 2000), processTable(t, 20)},
		Functions: []sqlfunc.Function{{
			Name: "twice", Args: []int{1}, Deterministic: true,
			Eval: func(_ context.Context, _ *sqlfunc.Call, args []tables.Value) (tables.Value, error) {
				return tables.Int(2 * args[0].Int64()), nil
			},
		}},
		Collations: []sqlfunc.Collation{{Name: "backwards", Compare: func(a, b string) int { return strings.Compare(b, a) }}},
	})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			c, err := e.Open()
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			for range 10 {
				res, err := c.Query(context.Background(), "select max(twice(s.fd)), count(*), min(la collate backwards) from p join s using (pid)")
				if err != nil || len(res.Rows) != 1 || res.Rows[0][0].Int64() != 198 || res.Rows[0][1].Int64() != 2000 {
					t.Errorf("%v: %v", res, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestASecondGoroutineIsRefused(t *testing.T) {
	e := &endless{}
	c := open(t, engine.Config{Tables: []tables.Table{e.table(t)}})
	entered, leave := make(chan struct{}), make(chan struct{})
	e.onRow = func(n int64) {
		if n == 1 {
			close(entered)
			<-leave
		}
	}
	s := c.Begin(context.Background())
	st, _, err := s.Prepare("select * from endless")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan bool)
	go func() { done <- st.Next() }()
	<-entered
	if _, _, err := s.Prepare("select 1"); !errors.Is(err, engine.ErrBusy) {
		t.Errorf("prepare: %v", err)
	}
	if err := st.Close(); !errors.Is(err, engine.ErrBusy) {
		t.Errorf("close the statement: %v", err)
	}
	if err := s.Close(); !errors.Is(err, engine.ErrBusy) {
		t.Errorf("close the session: %v", err)
	}
	if err := c.Close(); !errors.Is(err, engine.ErrBusy) {
		t.Errorf("close the connection: %v", err)
	}
	if _, err := c.Query(context.Background(), "select 1"); !errors.Is(err, engine.ErrBusy) {
		t.Errorf("query: %v", err)
	}
	close(leave)
	if !<-done {
		t.Errorf("the first goroutine lost its row: %v", st.Err())
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestReentry runs SQL from inside a table, on the connection that runs it.
func TestReentry(t *testing.T) {
	e := &endless{}
	c := open(t, engine.Config{Tables: []tables.Table{e.table(t)}})
	var inner error
	e.onRow = func(int64) { _, inner = c.Query(context.Background(), "select 1") }
	rows(t, c, "select n from endless limit 1")
	if !errors.Is(inner, engine.ErrBusy) {
		t.Errorf("inner query: %v", inner)
	}
}

func TestClosed(t *testing.T) {
	c := mustOpen(t, newEngine(t, engine.Config{}))
	s := c.Begin(context.Background())
	st, _, err := s.Prepare("select 1")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	if st.Next() {
		t.Error("a statement outlives its connection")
	}
	if _, _, err := s.Prepare("select 1"); !errors.Is(err, engine.ErrClosed) {
		t.Errorf("prepare: %v", err)
	}
	if _, err := c.Query(context.Background(), "select 1"); !errors.Is(err, engine.ErrClosed) {
		t.Errorf("query: %v", err)
	}
	if err := errors.Join(st.Close(), s.Close()); err != nil {
		t.Error(err)
	}
}

// TestNothingLeaks repeats what a daemon does for months.
func TestNothingLeaks(t *testing.T) {
	e := newEngine(t, engine.Config{
		Tables: []tables.Table{socketTable(t, "s", 200), processTable(t, 20), trouble(t), (&endless{}).table(t)},
	})
	round := func() {
		c := mustOpen(t, e)
		for _, sql := range []string{
			"select * from s", "select count(*) from p join s using (pid)", "select * from s where pid in (1, 2, 3) or fd = 4",
			"select bad from trouble where way = 'late'", "select way from trouble where way = 'error'", "selec", "select * from nope",
			"create temp table t as select * from s", "select n from endless limit 5",
		} {
			c.Query(context.Background(), sql)
		}
		s := c.Begin(context.Background())
		st, _, err := s.Prepare("select * from endless") // left open
		if err != nil || !st.Next() {
			t.Fatal(err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	measure := func() (goHeap, sqlite int64, goroutines int) {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc), engine.MemoryUsed(), runtime.NumGoroutine()
	}
	for range 20 {
		round()
	}
	heap, used, goroutines := measure()
	for range 300 {
		round()
	}
	heap2, used2, goroutines2 := measure()
	if heap2-heap > 1<<20 {
		t.Errorf("Go's heap went from %d to %d", heap, heap2)
	}
	if used2 > used {
		t.Errorf("SQLite's memory went from %d to %d", used, used2)
	}
	if goroutines2 > goroutines {
		t.Errorf("goroutines went from %d to %d", goroutines, goroutines2)
	}
}

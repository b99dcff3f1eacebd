package engine_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	"sockql/engine"
	"sockql/tables"
)

// numbers makes a table of n rows that counts from 0, with an alias.
func numbers(tb testing.TB, name string, n int) tables.Table {
	return newTable(tb, tables.Def[int]{
		Name: name, Aliases: []string{name + "_alias"},
		Columns: []tables.Column[int]{{Name: "n", Type: tables.Integer, Flags: tables.Index, Get: func(i *int) tables.Value { return tables.Int(*i) }}},
		Rows: func(_ context.Context, q *tables.Query, yield func(*int) bool) error {
			for i := range n {
				if q.Set(0).HasInt(int64(i)) && !yield(&i) {
					break
				}
			}
			return nil
		},
	})
}

func TestAttachAndDetach(t *testing.T) {
	e := newEngine(t, engine.Config{Tables: []tables.Table{numbers(t, "b", 2)}})
	c, err := e.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	gone := func(name string) {
		t.Helper()
		if _, err := c.Query(t.Context(), "SELECT * FROM "+name); err == nil || !strings.Contains(err.Error(), "no such table") {
			t.Errorf("%s is still there: %v", name, err)
		}
	}
	gone("a")
	for round := range 3 { // names are free again, whatever was there before
		if err := e.Attach(numbers(t, "a", 3+round)); err != nil {
			t.Fatal(err)
		}
		want := []string{string(rune('3' + round))}
		for _, sql := range []string{"SELECT count(*) FROM a", "SELECT count(*) FROM A_ALIAS"} {
			if got := rows(t, c, sql); !slices.Equal(got, want) {
				t.Errorf("round %d: %s: %v, want %v", round, sql, got, want)
			}
		}
		if got := rows(t, c, "SELECT a.n FROM a JOIN b USING (n) WHERE a.n = 1"); !slices.Equal(got, []string{"1"}) {
			t.Errorf("join: %v", got)
		}
		if got := e.Tables()[0].Schema().Name + " " + e.Tables()[1].Schema().Name; got != "a b" || e.Table("A_alias") == nil {
			t.Errorf("tables %s", got)
		}
		if err := e.Attach(numbers(t, "A", 1)); err == nil {
			t.Error("a name is there twice")
		}
		if !e.Detach("A") || e.Detach("a") {
			t.Error("Detach does not tell whether the table was there")
		}
		gone("a")
		gone("a_alias")
		if e.Table("a") != nil || len(e.Tables()) != 1 {
			t.Error("the engine still has the table")
		}
	}
}

// A name that is attached can no longer be given to a view, and one that is
// detached can.
func TestAttachedNameIsTaken(t *testing.T) {
	e := newEngine(t, engine.Config{})
	c, err := e.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := e.Attach(numbers(t, "a", 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Query(t.Context(), "CREATE VIEW a AS SELECT 1"); err == nil {
		t.Error("a view hides the table")
	}
	e.Detach("a")
	rows(t, c, "CREATE VIEW a AS SELECT 7 AS n")
	if err := e.Attach(numbers(t, "a", 1)); err != nil {
		t.Fatal(err)
	}
	if got := rows(t, c, "SELECT n FROM a"); !slices.Equal(got, []string{"7"}) {
		t.Errorf("the view is gone: %v", got)
	}
}

// A statement goes on with the table that it began with.
func TestDetachWhileReading(t *testing.T) {
	e := newEngine(t, engine.Config{Tables: []tables.Table{numbers(t, "a", 1000)}})
	c, err := e.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s := c.Begin(t.Context())
	defer s.Close()
	st, _, err := s.Prepare("SELECT x.n FROM a AS x JOIN a AS y ON x.n = y.n")
	if err != nil || !st.Next() {
		t.Fatal(err, st.Err())
	}
	e.Detach("a")
	if err := e.Attach(numbers(t, "a", 2)); err != nil {
		t.Fatal(err)
	}
	other, _, err := s.Prepare("SELECT count(*) FROM a")
	if err != nil || !other.Next() || other.Value(0).Int64() != 2 {
		t.Errorf("the new table: %v", err)
	}
	n := 1
	for st.Next() {
		n++
	}
	if n != 1000 || st.Err() != nil {
		t.Errorf("%d rows: %v", n, st.Err())
	}
}

func TestAttachConcurrently(t *testing.T) {
	e := newEngine(t, engine.Config{Tables: []tables.Table{numbers(t, "fixed", 5)}})
	var wg sync.WaitGroup
	for _, name := range []string{"x", "y"} {
		wg.Go(func() {
			for range 200 {
				if err := e.Attach(numbers(t, name, 3)); err != nil {
					t.Error(err)
				}
				e.Detach(name)
			}
		})
		wg.Go(func() {
			c, err := e.Open()
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			for range 200 {
				if got := rows(t, c, "SELECT count(*) FROM fixed"); !slices.Equal(got, []string{"5"}) {
					t.Error(got)
				}
				res, err := c.Query(t.Context(), "SELECT count(*) FROM "+name)
				if err != nil && !strings.Contains(err.Error(), "no such table") {
					t.Error(err)
				}
				if err == nil && !slices.Equal(texts(res), []string{"3"}) {
					t.Error(texts(res))
				}
			}
		})
	}
	wg.Wait()
	if len(e.Tables()) != 1 {
		t.Errorf("%d tables", len(e.Tables()))
	}
}

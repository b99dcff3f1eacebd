package extension

import (
	"context"
	"strconv"
	"testing"

	"sockql/tables"
)

// SQLite answers "pid = 7 OR big = 0" with two calls and tells their rows
// apart by number: the same row must have the same number in both, and no two
// rows may share one.
func TestRowIDs(t *testing.T) {
	p := plugin(t, Limits{Moment: -1}, people(t, "people", 50))
	ids := func(terms ...any) map[string]string {
		t.Helper()
		r := p.Call(t.Context(), map[string]string{"action": "generate", "context": contextOf(t, "pid", terms...)})
		if r.Status.Code != 0 {
			t.Fatal(r.Status)
		}
		pids := map[string]string{}
		for _, row := range r.Response {
			if _, err := strconv.ParseInt(row["rowid"], 10, 64); err != nil {
				t.Errorf("row %v: %v", row, err)
			}
			if other, twice := pids[row["rowid"]]; twice {
				t.Errorf("pids %s and %s have one number", other, row["pid"])
			}
			pids[row["rowid"]] = row["pid"]
		}
		return pids
	}
	all, some := ids(), ids(2, "7", 2, "49")
	if len(all) != 50 || len(some) != 2 {
		t.Fatal(all, some)
	}
	for id, pid := range some {
		if all[id] != pid {
			t.Errorf("pid %s has the number of pid %q", pid, all[id])
		}
	}
}

// Rows that are equal in all that the statement reads are still so many.
func TestRowIDsOfEqualRows(t *testing.T) {
	table := custom(t, "equal", func(_ context.Context, _ *tables.Query, yield func(*string) bool) error {
		for _, text := range []string{"a", "b", "a", "a", "b"} {
			if !yield(&text) {
				break
			}
		}
		return nil
	})
	p := plugin(t, Limits{}, table)
	for _, used := range []string{`["text"]`, `[]`} {
		seen := map[string]bool{}
		for range 2 { // the second call's are those of the first
			r := p.Call(t.Context(), map[string]string{"action": "generate", "context": `{"colsUsed":` + used + `}`})
			for _, row := range r.Response {
				seen[row["rowid"]] = true
			}
		}
		if len(seen) != 5 {
			t.Errorf("columns %s: %d numbers of five rows", used, len(seen))
		}
	}
}

// What is in one column must not look like the same in the next.
func TestRowIDsTellColumnsApart(t *testing.T) {
	type pair struct{ a, b string }
	orNull := func(s string) tables.Value {
		if s == "NULL" {
			return tables.Null()
		}
		return tables.String(s)
	}
	list := []pair{{"", "ab"}, {"a", "b"}, {"ab", ""}, {"ab", "NULL"}, {"NULL", "ab"}, {"NULL", "NULL"}}
	table, err := tables.New(tables.Def[pair]{
		Name: "pairs",
		Columns: []tables.Column[pair]{
			{Name: "a", Type: tables.Text, Get: func(p *pair) tables.Value { return orNull(p.a) }},
			{Name: "b", Type: tables.Text, Get: func(p *pair) tables.Value { return orNull(p.b) }},
		},
		Rows: func(_ context.Context, _ *tables.Query, yield func(*pair) bool) error {
			for i := range list {
				if !yield(&list[i]) {
					break
				}
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, row := range plugin(t, Limits{}, table).Call(t.Context(), map[string]string{"action": "generate"}).Response {
		seen[row["rowid"]] = true
	}
	if len(seen) != len(list) {
		t.Errorf("%d numbers of %d rows", len(seen), len(list))
	}
}

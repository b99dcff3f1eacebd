package engine_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sockql/engine"
	"sockql/tables"
)

// A keyed table has n rows in tens, which it has to search each time, and notes
// how it is asked.
type keyedTable struct {
	n      int64
	flags  tables.Flags
	row    time.Duration // each row of a scan for all
	text   string
	odd    bool // a number is a text
	unique bool // id is a key
	cheap  bool // look-ups never cost more than a pass
	scans  int
	all    int // scans for all values of grp
	rows   int
}

type keyedRow struct{ id, grp int64 }

func (k *keyedTable) table(tb testing.TB) tables.Table {
	return newTable(tb, tables.Def[keyedRow]{
		Name: "k", Doc: "Rows in groups.",
		Columns: []tables.Column[keyedRow]{
			{Name: "id", Doc: "The number.", Type: tables.BigInt, Flags: k.idFlags(), Get: func(r *keyedRow) tables.Value { return tables.Int(r.id) }},
			{Name: "grp", Doc: "Its group.", Type: tables.BigInt, Flags: k.flags, Get: func(r *keyedRow) tables.Value {
				if k.odd && r.grp == 3 {
					return tables.String("3")
				}
				return tables.Int(r.grp)
			}},
			{Name: "txt", Doc: "A text.", Type: tables.Text, Flags: k.flags &^ tables.Required, Get: func(r *keyedRow) tables.Value {
				return tables.String(fmt.Sprint(k.text, r.grp))
			}},
			{Name: "zone", Doc: "What a scan must name.", Type: tables.BigInt, Flags: k.flags & tables.Required, Get: func(*keyedRow) tables.Value { return tables.Int(1) }},
		},
		Rows: func(ctx context.Context, q *tables.Query, yield func(*keyedRow) bool) error {
			k.scans++
			all := q.Set(1).Unrestricted() && q.Set(0).Unrestricted()
			if all {
				k.all++
			}
			for id := range k.n {
				if !q.Set(0).HasInt(id) || !q.Set(1).HasInt(id/10) {
					continue
				}
				if all && k.row > 0 {
					time.Sleep(k.row)
				}
				k.rows++
				if !yield(&keyedRow{id, id / 10}) {
					break
				}
			}
			return nil
		},
	})
}

func (k *keyedTable) idFlags() tables.Flags {
	if k.unique {
		return tables.Index
	}
	return 0
}

// numbersTo makes a table of numbers to join with.
func numbersTo(tb testing.TB, c *engine.Conn, n int) {
	rows(tb, c, "create table n(v)")
	rows(tb, c, fmt.Sprintf("insert into n with recursive g(i) as (select 0 union all select i+1 from g where i < %d) select i from g", n-1))
}

func TestLookUpInCopy(t *testing.T) {
	for name, test := range map[string]struct {
		table      keyedTable
		sql        string
		want       string
		scans, all int // at most
		widened    bool
	}{
		"a column that the table cannot look up by": {
			keyedTable{n: 200}, "select count(*), sum(k.id) from n cross join k on k.grp = n.v", "200|19900", 2, 2, true},
		"two of them, numbers as text": {
			keyedTable{n: 200}, "select count(*) from n cross join k on k.txt = n.v || '' and k.grp = n.v || ''", "200", 2, 2, true},
		"a text compared with numbers, which are no key": {
			keyedTable{n: 100}, "select count(*) from n cross join k on k.txt = n.v", "0", 2, 2, true},
		"a cell of another type": {
			keyedTable{n: 100, odd: true}, "select count(*) from n cross join k on k.grp = n.v", "100", 2, 2, true},
		"a search that costs more than a pass": {
			keyedTable{n: 200, flags: tables.Pushdown}, "select count(*), sum(k.id) from n cross join k on k.grp = n.v", "200|19900", 12, 1, true},
		"a lasting term beside it": {
			keyedTable{n: 200, flags: tables.Pushdown}, "select count(*) from n cross join k on k.grp = n.v and k.txt >= ''", "200", 12, 1, true},
		"an outer join": {
			keyedTable{n: 150, flags: tables.Pushdown}, "select count(*), count(k.id) from n left join k on k.grp = n.v", "235|150", 12, 1, true},
		"a subquery": {
			keyedTable{n: 200, flags: tables.Pushdown}, "select sum((select count(*) from k where k.grp = n.v)) from n", "200", 12, 1, true},
		"look-ups that cost nothing": {
			keyedTable{n: 200, flags: tables.Pushdown, cheap: true}, "select count(*) from n cross join k on k.grp = n.v", "200", 100, 0, false},
		"a key that gives many rows": {
			keyedTable{n: 1000, flags: tables.Index}, "select count(*) from n cross join k on k.grp = n.v", "1000", 100, 0, false},
		"a key of a large table": {
			keyedTable{n: 50_000, flags: tables.Index, unique: true}, "select count(*) from n cross join k on k.id = n.v", "100", 110, 6, false},
		"a key of a small table": {
			keyedTable{n: 200, flags: tables.Index, unique: true}, "select count(*) from n cross join k on k.id = n.v", "100", 9, 1, true},
		"a column that decides what is there": {
			keyedTable{n: 200, flags: tables.Additional}, "select count(*) from n cross join k on k.grp = n.v", "200", 100, 0, false},
		"a column that the table needs": {
			keyedTable{n: 200, flags: tables.Required}, "select count(*) from n cross join k on k.grp = n.v", "200", 100, 0, false},
		"another question each time": {
			keyedTable{n: 200, flags: tables.Pushdown}, "select count(*) from n cross join k on k.grp = n.v and k.txt >= n.v || ''", "200", 100, 0, false},
		"too much to copy": {
			keyedTable{n: 200, flags: tables.Pushdown, text: strings.Repeat("x", 400_000)}, "select count(*), max(length(txt)) from n cross join k on k.grp = n.v", "200|400002", 110, 6, false},
		"a pass that takes too long": {
			keyedTable{n: 2000, flags: tables.Pushdown, row: 100 * time.Microsecond}, "select count(*) from n cross join k on k.grp = n.v", "1000", 110, 6, false},
		"LIMIT": {
			keyedTable{n: 200}, "select count(*) from n cross join (select * from k where grp = 1 limit 1) on v = grp", "1", 1, 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			k := test.table
			c := open(t, engine.Config{Tables: []tables.Table{k.table(t)}})
			numbersTo(t, c, 100)
			if c.LookUpAfter(8, 0); k.cheap {
				c.LookUpAfter(8, time.Hour)
			}
			k.scans, k.all, k.rows = 0, 0, 0
			e := explain(t, c, test.sql)
			var stats engine.ScanStats
			for _, step := range e.Steps {
				if step.Scan != nil {
					stats = step.Scan.ScanStats
				}
			}
			if k.scans > test.scans || k.all > test.all {
				t.Errorf("%d scans, %d of them for all; want at most %d and %d", k.scans, k.all, test.scans, test.all)
			}
			if (stats.Copied > 0) != test.widened || stats.Indexed > stats.Copied {
				t.Errorf("copied %d, indexed %d of %d", stats.Copied, stats.Indexed, stats.Scans)
			}
			if got := rows(t, c, test.sql); !slices.Equal(got, []string{test.want}) {
				t.Errorf("%q, want %q", got, test.want)
			}
			// The same rows as without.
			c.NeverLookUp()
			if got := rows(t, c, test.sql); !slices.Equal(got, []string{test.want}) {
				t.Errorf("%q without copies, want %q", got, test.want)
			}
		})
	}
}

// TestLookUpEndsWithItsContext interrupts the pass that fills a copy.
func TestLookUpEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	k := keyedTable{n: 1 << 40, flags: tables.Pushdown}
	table := newTable(t, tables.Def[keyedRow]{
		Name: "k", Doc: "Rows without end.",
		Columns: []tables.Column[keyedRow]{{Name: "grp", Doc: "g", Type: tables.BigInt, Flags: tables.Pushdown, Get: func(r *keyedRow) tables.Value { return tables.Int(r.grp) }}},
		Rows: func(_ context.Context, q *tables.Query, yield func(*keyedRow) bool) error {
			if !q.Set(0).Unrestricted() {
				return nil
			}
			k.all++
			for id := int64(0); yield(&keyedRow{id, id}); id++ {
				if id == 100 {
					cancel()
				}
			}
			return nil
		},
	})
	c := open(t, engine.Config{Tables: []tables.Table{table}})
	c.LookUpAfter(2, 0)
	numbersTo(t, c, 10)
	if _, err := c.Query(ctx, "select count(*) from n cross join k on k.grp = n.v"); !errors.Is(err, context.Canceled) || k.all != 1 {
		t.Errorf("%v after %d passes", err, k.all)
	}
}

// TestPlanPutsTheSmallSideOutside: a term that no table takes still says that
// few rows are left.
func TestPlanPutsTheSmallSideOutside(t *testing.T) {
	a, b := &sourced{name: "a", n: 100}, &sourced{name: "b", n: 100}
	c := open(t, engine.Config{Tables: []tables.Table{a.table(t), b.table(t)}})
	for sql, want := range map[string]string{
		"select count(*) from a join b using (id) where a.plain = 5":   "a b",
		"select count(*) from b join a using (id) where a.plain = 5":   "a b",
		"select count(*) from a join b using (id) where b.plain = 5":   "b a",
		"select count(*) from b join a using (id) where b.plain = 5":   "b a",
		"select count(*) from a join b using (id) where a.name = 'n5'": "a b",
		"select count(*) from a, b where a.plain = b.id":               "a b",
		"select count(*) from b, a where b.plain = a.id":               "b a",
	} {
		var got []string
		var scans int64
		for _, step := range explain(t, c, sql).Steps {
			got = append(got, step.Scan.Name)
			scans += step.Scan.Scans
		}
		if strings.Join(got, " ") != want || scans > 101 {
			t.Errorf("%s reads %q in %d scans, want %s", sql, got, scans, want)
		}
	}
}

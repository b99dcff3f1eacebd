package engine_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"sockql/engine"
	"sockql/tables"
)

// A sourced is a table over n numbers that gives an account of each scan, and
// counts for itself what the explanation must find.
type sourced struct {
	name  string
	n     int64
	wait  time.Duration // before the first row
	scans int64
	rows  int64
}

func (s *sourced) table(tb testing.TB) tables.Table {
	get := func(f func(int64) tables.Value) func(*int64) tables.Value {
		return func(n *int64) tables.Value { return f(*n) }
	}
	number := func(n int64) tables.Value { return tables.Int(n) }
	return newTable(tb, tables.Def[int64]{
		Name: s.name, Doc: "Numbers.",
		Columns: []tables.Column[int64]{
			{Name: "id", Doc: "The number.", Type: tables.BigInt, Flags: tables.Index, Get: get(number)},
			{Name: "grp", Doc: "Its tens.", Type: tables.BigInt, Flags: tables.Pushdown, Get: get(func(n int64) tables.Value { return tables.Int(n / 10) })},
			{Name: "name", Doc: "Its name.", Type: tables.Text, Flags: tables.Pushdown, Get: get(func(n int64) tables.Value { return tables.String(fmt.Sprint("n", n)) })},
			{Name: "plain", Doc: "The number once more.", Type: tables.BigInt, Get: get(number)},
		},
		Rows: func(_ context.Context, q *tables.Query, yield func(*int64) bool) error {
			s.scans++
			if s.wait > 0 {
				time.Sleep(s.wait)
			}
			a := tables.Account{Source: "bpf", Namespaces: 2, Snapshot: s.scans > 1}
			if !q.Set(0).Unrestricted() {
				a.Source, a.Pushed = "netlink", []string{"id"}
			}
			q.Account(a)
			for n := range s.n {
				if !q.Set(0).HasInt(n) {
					continue
				}
				s.rows++
				if !yield(&n) {
					break
				}
			}
			return nil
		},
	})
}

func explain(t *testing.T, c *engine.Conn, sql string) *engine.Explanation {
	t.Helper()
	s := c.Begin(t.Context())
	defer s.Close()
	e, tail, err := s.Explain(sql)
	if err != nil || tail != "" {
		t.Fatalf("%s: left %q, %v", sql, tail, err)
	}
	return e
}

// outline writes an explanation without its times.
func outline(e *engine.Explanation) []string {
	var lines []string
	for _, step := range e.Steps {
		line := strings.Repeat("  ", step.Depth) + step.Text
		if s := step.Scan; s != nil {
			line += fmt.Sprintf(": %s %q %d/%d scans %d rows %d kept", s.Name, s.Terms, s.Scans, s.Copied, s.Rows, s.Kept)
		}
		lines = append(lines, line)
		if s := step.Scan; s != nil {
			for _, c := range s.Checked {
				lines = append(lines, "  - "+c.SQL+": "+c.Reason)
			}
		}
	}
	return lines
}

func TestExplain(t *testing.T) {
	a, b := &sourced{name: "a", n: 100}, &sourced{name: "b", n: 50}
	c := open(t, engine.Config{Tables: []tables.Table{a.table(t), b.table(t)}})
	const lookUp = "the table cannot look up by plain"
	for _, test := range []struct {
		sql  string
		rows int64
		want []string
	}{
		{"select 1", 1, []string{"one row of constants"}},
		{"select id from a", 100, []string{`each row of a: a [] 1/0 scans 100 rows 100 kept`}},
		{"select id from a where plain < 5 order by name", 5, []string{
			`each row of a: a [] 1/0 scans 100 rows 5 kept`, "  - plain < 5: " + lookUp, "sort for ORDER BY"}},
		{"select count(*) from a where plain + 0 = 7", 1, []string{
			`each row of a: a [] 1/0 scans 100 rows 1 kept`, "  - plain + 0 = 7: it does not compare a column by itself"}},
		{"select count(*) filter (where plain = 1) from a", 1, []string{`each row of a: a [] 1/0 scans 100 rows -1 kept`}},
		{"select count(*) + 1 from a", 1, []string{`each row of a: a [] 1/0 scans 100 rows -1 kept`}},
		{"select sum(id) from a where id in (1, '2', 300)", 1, []string{`each row of a: a ["id IN (1, 2, 300)"] 1/0 scans 2 rows -1 kept`}},
		{"select id from a where id = 1 or plain + 0 = 2", 2, []string{
			`each row of a: a [] 1/0 scans 100 rows 2 kept`,
			"  - id = 1 or plain + 0 = 2: what OR joins reaches a table only as values of one column"}},
		{"select id from a where id = 1 or grp = 2 and name like 'n2%'", 11, []string{
			"alternatives of OR, one after the other", "  alternative 1", `    each row of a: a ["id = 1"] 1/0 scans 1 rows -1 kept`,
			"  alternative 2", `    each row of a: a ["grp = 2" "name LIKE 'n2%'"] 1/0 scans 100 rows -1 kept`}},
		{"select id from a where id = 1 or id = 2", 2, []string{`each row of a: a ["id IN (1, 2)"] 1/0 scans 2 rows 2 kept`}},
		{"select x.id, y.plain from a x cross join b as y on y.id = x.id where x.plain between 10 and 19 and y.name <> 'n11' and 3 < y.plain", 9, []string{
			`each row of x: a [] 1/0 scans 100 rows 10 kept`,
			"  - x.plain between 10 and 19: " + lookUp,
			`  each row of y: b ["id = ?"] 10/0 scans 10 rows 9 kept`,
			"  - 3 < y.plain: " + lookUp,
			"  - y.name <> 'n11': no table takes this operator"}},
		{"select id from a where name = 'n5' collate nocase and grp >= 0", 1, []string{
			`each row of a: a ["grp >= 0"] 1/0 scans 100 rows 1 kept`,
			"  - name = 'n5' collate nocase: it compares with the collation NOCASE"}},
		{"select x.id from a x left join b y where x.id = y.plain and x.id < 3", 3, []string{
			`each row of x: a ["id < 3"] 1/0 scans 3 rows 3 kept`,
			`  each row of y: b [] 3/1 scans 150 rows -1 kept`,
			"  - x.id = y.plain: WHERE counts after the LEFT JOIN; in its ON the term could narrow the table"}},
		{"select id from a where id in (select id from b where plain < 2) limit 4 offset 1", 1, []string{
			`each row of a: a ["id IN (0, 1)"] 1/0 scans 2 rows -1 kept`,
			"list 1 of an IN, once",
			`  each row of b: b [] 1/0 scans 50 rows -1 kept`, "    - plain < …: " + lookUp,
			"list 1 once more"}},
		{"select id from a limit 4 offset 1", 4, []string{`each row of a: a ["LIMIT 5"] 1/0 scans 5 rows -1 kept`}},
		{"select (select max(plain) from b where b.id = a.id) from a where a.id < 2", 2, []string{
			`each row of a: a ["id < 2"] 1/0 scans 2 rows -1 kept`,
			"  subquery 1, for each row around it",
			`    each row of b: b ["id = ?"] 2/0 scans 2 rows -1 kept`}},
		{"create temp table made as select id from a where id = 1", 0, []string{`each row of a: a ["id = 1"] 1/0 scans 1 rows -1 kept`}},
		{"select made.id from made join b using (id)", 1, []string{
			"each row of made", `  each row of b: b ["id = 1"] 1/0 scans 1 rows -1 kept`}},
		{"explain query plan select id from a", 1, nil},
		{"explain select id from a", 0, nil},
	} {
		a.scans, a.rows, b.scans, b.rows = 0, 0, 0, 0
		e := explain(t, c, test.sql)
		got := outline(e)
		for i := range got {
			// A hint stands below its loop, whatever that is nested in.
			if j := strings.Index(got[i], "- "); strings.HasPrefix(strings.TrimSpace(got[i]), "- ") && test.want != nil {
				got[i] = "  " + got[i][j:]
			}
		}
		for i := range test.want {
			test.want[i] = strings.Replace(test.want[i], "    - ", "  - ", 1)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: want- got+\n%s", test.sql, diff)
		}
		if test.rows > 0 && e.Rows != test.rows {
			t.Errorf("%s: %d rows, want %d", test.sql, e.Rows, test.rows)
		}
		// What is said of a table is what the table itself has counted.
		scans, rows := map[string]int64{}, map[string]int64{}
		for _, step := range e.Steps {
			if s := step.Scan; s != nil {
				scans[s.Name] += s.Scans - s.Copied
				if s.Copied == 0 {
					rows[s.Name] += s.Rows
				}
			}
		}
		for _, table := range []*sourced{a, b} {
			if scans[table.name] != table.scans || rows[table.name] > table.rows {
				t.Errorf("%s: %d scans and %d rows of %s, it counts %d and %d itself", test.sql, scans[table.name], rows[table.name], table.name, table.scans, table.rows)
			}
		}
	}
}

func TestExplainAccounts(t *testing.T) {
	a, b := &sourced{name: "a", n: 3, wait: 20 * time.Millisecond}, &sourced{name: "b", n: 3}
	c := open(t, engine.Config{Tables: []tables.Table{a.table(t), b.table(t)}})
	e := explain(t, c, "select a.id from a cross join b using (id)")
	var got []engine.Scan
	var inTables time.Duration
	for _, step := range e.Steps {
		got = append(got, *step.Scan)
		inTables += step.Scan.Elapsed
	}
	want := []engine.Scan{
		{ScanStats: engine.ScanStats{Table: "a", Scans: 1, Rows: 3}, Name: "a", Alias: "a", Kept: 3,
			Source: "bpf", Namespaces: 2, Accounted: true, Narrowing: []string{"id", "grp", "name"}},
		{ScanStats: engine.ScanStats{Table: "b", Terms: []string{"id = ?"}, Scans: 3, Rows: 3}, Name: "b", Alias: "b", Kept: 3,
			Source: "netlink", Pushed: []string{"id"}, Namespaces: 2, Snapshots: 2, Accounted: true},
	}
	ignore := cmp.Options{cmpopts.IgnoreUnexported(engine.Scan{}), cmpopts.IgnoreFields(engine.Scan{}, "Elapsed")}
	if diff := cmp.Diff(want, got, ignore); diff != "" {
		t.Errorf("want- got+\n%s", diff)
	}
	if e.InTables != inTables || e.Elapsed < e.InTables || got[0].Elapsed < a.wait || got[1].Elapsed >= got[0].Elapsed {
		t.Errorf("of %v, %v in tables; a %v, b %v", e.Elapsed, e.InTables, got[0].Elapsed, got[1].Elapsed)
	}
}

func TestExplainTellsHowFarItCame(t *testing.T) {
	fails := newTable(t, tables.Def[int64]{
		Name: "fails", Doc: "Fails.",
		Columns: []tables.Column[int64]{{Name: "n", Doc: "n", Type: tables.BigInt, Get: func(n *int64) tables.Value { return tables.Int(*n) }}},
		Rows: func(_ context.Context, _ *tables.Query, yield func(*int64) bool) error {
			for n := range int64(2) {
				yield(&n)
			}
			return errors.New("fails: as ever")
		},
	})
	c := open(t, engine.Config{Tables: []tables.Table{fails}})
	s := c.Begin(t.Context())
	defer s.Close()
	e, tail, err := s.Explain("select n from fails; select 2")
	if err == nil || err.Error() != "fails: as ever" || tail != " select 2" {
		t.Errorf("left %q, %v", tail, err)
	}
	if e == nil || e.Rows != 2 || len(e.Steps) != 1 || e.Steps[0].Scan.Rows != 2 {
		t.Errorf("after the error: %+v", e)
	}
	for _, sql := range []string{"", " -- nothing", "select nothing", "select n from absent"} {
		if e, _, err := s.Explain(sql); e != nil || (err == nil) != (strings.TrimSpace(sql) == "" || sql[0] == ' ') {
			t.Errorf("%q: %+v, %v", sql, e, err)
		}
	}
	// Explaining leaves no trace in what comes after it.
	st, _, err := s.Prepare("explain query plan select n from fails")
	if err != nil {
		t.Fatal(err)
	}
	if !st.Next() || st.Value(3).String() != "SCAN fails VIRTUAL TABLE INDEX 0:1" {
		t.Errorf("the plan of a statement is %q", st.Value(3))
	}
	st.Close()
}

// FuzzExplain explains whatever is no error, and holds its figures together.
func FuzzExplain(f *testing.F) {
	for _, sql := range []string{
		"select * from a join b using (id) where a.id = 1 or b.plain = 2",
		"select * from (a left join b on a.id = b.id) where (a.id in (1, 2) and (b.name like 'n%'))",
		"with x as (select id from a union select id from b) select * from x where id between 1 and 3 and case when id = 1 then 1 else 0 end",
		"select distinct grp from a where exists (select 1 from b where b.id = a.id) order by 1 limit 2",
		"select count(*) from a where not (id = 1) and a.name glob 'n*' group by grp having count(*) > 1",
		"select 1 from a right join b on a.plain = b.plain where ((a.id))",
	} {
		f.Add(sql)
	}
	a, b := &sourced{name: "a", n: 20}, &sourced{name: "b", n: 20}
	c := open(f, engine.Config{Tables: []tables.Table{a.table(f), b.table(f)}, Limits: engine.Limits{Instructions: 1_000_000, ValueBytes: 1 << 16}})
	f.Fuzz(func(t *testing.T, sql string) {
		if strings.Contains(strings.ToLower(sql), "create") {
			return // it would stay
		}
		s := c.Begin(t.Context())
		defer s.Close()
		a.scans, b.scans = 0, 0
		e, _, err := s.Explain(sql)
		if err != nil || e == nil {
			return
		}
		scans := int64(0)
		for _, step := range e.Steps {
			if scan := step.Scan; scan != nil {
				scans += scan.Scans - scan.Copied
				if scan.Kept > scan.Rows || scan.Copied > scan.Scans {
					t.Errorf("%q: %+v", sql, scan)
				}
				if slices.ContainsFunc(scan.Checked, func(c engine.CheckedTerm) bool { return c.SQL == "" || c.Reason == "" }) {
					t.Errorf("%q: %+v", sql, scan.Checked)
				}
			}
		}
		if scans < a.scans+b.scans { // a table is not asked for what cannot be
			t.Errorf("%q: %d scans are told, %d there were", sql, scans, a.scans+b.scans)
		}
	})
}

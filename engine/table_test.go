package engine_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sockql/engine"
	"sockql/tables"
)

// A probe is a table of a hundred numbered rows that notes what it is asked.
type probe struct {
	name    string
	flags   tables.Flags
	queries []*tables.Query
	rows    int // yielded so far
}

type probeRow struct {
	id   int64
	name string
}

func (p *probe) table(tb testing.TB) tables.Table {
	return newTable(tb, tables.Def[probeRow]{
		Name: p.name, Doc: "Numbered rows.", Aliases: []string{p.name + "_alias"},
		Columns: []tables.Column[probeRow]{
			{Name: "id", Doc: "The number.", Type: tables.BigInt, Flags: p.flags, Get: func(r *probeRow) tables.Value { return tables.Int(r.id) }},
			{Name: "name", Doc: "Its name.", Type: tables.Text, Flags: p.flags &^ tables.Required, Get: func(r *probeRow) tables.Value { return tables.String(r.name) }},
			{Name: "secret", Doc: "Hidden.", Type: tables.Integer, Flags: tables.Hidden, Get: func(r *probeRow) tables.Value { return tables.Int(r.id * 2) }},
		},
		Rows: func(ctx context.Context, q *tables.Query, yield func(*probeRow) bool) error {
			p.queries = append(p.queries, q)
			for i := range int64(100) {
				if !q.Set(0).HasInt(i) {
					continue
				}
				p.rows++
				if !yield(&probeRow{i, fmt.Sprint("n", i)}) {
					return nil
				}
			}
			return nil
		},
	})
}

// asked describes the queries that a statement led to.
func (p *probe) asked(tb testing.TB, c *engine.Conn, sql string) []string {
	tb.Helper()
	p.queries, p.rows = nil, 0
	rows(tb, c, sql)
	lines := []string{}
	for _, q := range p.queries {
		var parts []string
		for _, k := range q.Constraints() {
			var values []string
			for _, v := range k.Values {
				values = append(values, cell(v))
			}
			parts = append(parts, fmt.Sprintf("%s %s %s", q.Schema().Columns[k.Column].Name, k.Op, strings.Join(values, ",")))
		}
		slices.Sort(parts)
		if n, ok := q.Limit(); ok {
			parts = append(parts, fmt.Sprint("limit ", n))
		}
		if q.Distinct() {
			parts = append(parts, "distinct")
		}
		lines = append(lines, strings.Join(parts, "; "))
	}
	return lines
}

func TestConstraintsReachTheTable(t *testing.T) {
	p := &probe{name: "p", flags: tables.Index}
	c := open(t, engine.Config{Tables: []tables.Table{p.table(t)}})
	rows(t, c, "create table w(v); ")
	if _, err := c.Query(context.Background(), "insert into w values (3), ('4'), (null), (5.5)"); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		sql  string
		want []string
	}{
		{"select id from p", []string{""}},
		{"select id from p where id = 5", []string{"id = 5"}},
		{"select id from p where id = '5'", []string{"id = 5"}},
		{"select id from p where 5 = id", []string{"id = 5"}},
		{"select id from p where id is 5", []string{"id IS 5"}},
		{"select id from p where id is null", []string{""}},
		{"select id from p where id in (1, 2, 'x', null)", []string{"id = ∅,1,2,x"}},
		{"select id from p where id in (1)", []string{"id = 1"}},
		{"select id from p where id in (select v from w)", []string{"id = ∅,3,4,5.5"}},
		{"select id from p where id in (select v from w where v is 999)", nil},
		{"select id from p where id = 1 or id = 7", []string{"id = 1,7"}},
		{"select id from p where id between 3 and 4.5", []string{"id <= 4.5; id >= 3"}},
		{"select id from p where id > 1 and id < 9 and id != 4", []string{"id < 9; id > 1"}},
		{"select id from p where name like 'N1%' and id >= 1", []string{"id >= 1; name LIKE N1%"}},
		{"select id from p where name glob 'n1*'", []string{"name < n2; name >= n1; name GLOB n1*"}},
		{"select id from p where name like 'n1%' escape '!'", []string{""}},
		{"select id from p where name = 'n3'", []string{"name = n3"}},
		{"select id from p where name = 'N3' collate nocase", []string{""}},
		{"select id from p where name in ('n1', 'n2')", []string{"name = n1,n2"}},
		{"select id from p where secret = 4", []string{""}},
		{"select id from p where +id = 4", []string{""}},
		{"select id from p where id = null", nil}, // SQLite knows the answer
		{"select id from p_alias where id = 5", []string{"id = 5"}},
		// Join terms: the inner table is looked up once for each outer row,
		// but not for 5.5, which no integer equals.
		{"select p.id from w cross join p on p.id = w.v", []string{"id = 3", "id = 4"}},
		{"select p.id from w join p on p.id = w.v", []string{"id = 3", "id = 4"}},
		{"select (select name from p where id = w.v) from w", []string{"id = 3", "id = 4"}},
		// LIMIT, only where nothing else decides which rows count.
		{"select id from p limit 3", []string{"limit 3"}},
		{"select id from p limit 3 offset 2", []string{"limit 5"}},
		{"select id from p limit 9223372036854775807 offset 2", []string{""}},
		{"select id from p limit -1", []string{""}},
		{"select id from p order by name limit 3", []string{""}},
		{"select id from p where id > 5 limit 3", []string{"id > 5"}},
		{"select id from p where secret > 5 limit 3", []string{""}},
		{"select id from p where length(name) > 2 limit 3", []string{""}},
		{"select distinct name from p limit 3", []string{"distinct"}},
		{"select count(*) from p limit 3", []string{""}},
		{"select p.id from p, w limit 1", nil}, // see below: not with a join
		// Whether equal rows may be dropped.
		{"select distinct name from p", []string{"distinct"}},
		{"select distinct name from p order by name", []string{"distinct"}},
		{"select name, count(*) from p group by name", []string{""}},
		{"select count(distinct name) from p", []string{""}},
		{"select name from p union select name from p", []string{"", ""}},
	} {
		if test.sql == "select p.id from p, w limit 1" {
			for _, asked := range p.asked(t, c, test.sql) {
				if strings.Contains(asked, "limit") {
					t.Errorf("%s: asked %q", test.sql, asked)
				}
			}
			continue
		}
		got := p.asked(t, c, test.sql)
		for i := range got {
			// A term that can match nothing is noticed before the table is.
			if test.want == nil {
				t.Errorf("%s: asked %q", test.sql, got[i])
			}
		}
		if diff := cmp.Diff(test.want, got); test.want != nil && diff != "" {
			t.Errorf("%s: asked (-want +got)\n%s", test.sql, diff)
		}
	}
}

func TestUsedColumns(t *testing.T) {
	p := &probe{name: "p"}
	c := open(t, engine.Config{Tables: []tables.Table{p.table(t)}})
	for sql, want := range map[string][]bool{
		"select * from p":                     {true, true, false},
		"select secret from p":                {false, false, true},
		"select count(*) from p":              {false, false, false},
		"select 1 from p where name like 'n'": {false, true, false},
	} {
		p.asked(t, c, sql)
		got := []bool{p.queries[0].Used(0), p.queries[0].Used(1), p.queries[0].Used(2)}
		if !slices.Equal(got, want) {
			t.Errorf("%s: used %v, want %v", sql, got, want)
		}
	}
}

// TestWideTable reads columns beyond the 63rd, for which SQLite has one bit.
func TestWideTable(t *testing.T) {
	type row struct{}
	var columns []tables.Column[row]
	for i := range 70 {
		columns = append(columns, tables.Column[row]{
			Name: fmt.Sprintf("c%d", i), Doc: "c", Type: tables.Integer,
			Get: func(*row) tables.Value { return tables.Int(i) },
		})
	}
	var used []bool
	wide := newTable(t, tables.Def[row]{
		Name: "wide", Doc: "Wide.", Columns: columns,
		Rows: func(_ context.Context, q *tables.Query, yield func(*row) bool) error {
			used = []bool{q.Used(0), q.Used(62), q.Used(63), q.Used(69)}
			yield(&row{})
			return nil
		},
	})
	c := open(t, engine.Config{Tables: []tables.Table{wide}})
	if got := rows(t, c, "select c62, c69 from wide"); !slices.Equal(got, []string{"62|69"}) {
		t.Errorf("got %q", got)
	}
	if want := []bool{false, true, true, true}; !slices.Equal(used, want) {
		t.Errorf("used %v, want %v", used, want)
	}
}

func TestRequiredColumn(t *testing.T) {
	p := &probe{name: "p", flags: tables.Required | tables.Index}
	q := &probe{name: "q"}
	c := open(t, engine.Config{Tables: []tables.Table{p.table(t), q.table(t)}})
	for _, sql := range []string{
		"select * from p",
		"select * from p where id > 3",
		"select * from p where +id = 3",
		"select * from p where id = 3 or name = 'n4'",
		"select * from p left join q on q.id = p.id",
		// No order of this join can have the value first.
		"select * from p cross join q on p.id = q.id",
	} {
		_, err := c.Query(context.Background(), sql)
		var e *engine.Error
		var required *tables.RequiredError
		if !errors.As(err, &e) || !errors.As(err, &required) {
			t.Errorf("%s: error %v", sql, err)
			continue
		}
		if want := "Table p was queried without a required column in the WHERE clause"; e.Code != 19 || e.Message != want {
			t.Errorf("%s: code %d, message %q", sql, e.Code, e.Message)
		}
		if required.Table != "p" || required.Column != "id" {
			t.Errorf("%s: error for column %q of %q", sql, required.Column, required.Table)
		}
	}
	for sql, want := range map[string]int{
		"select * from p where id = 3":                                          1,
		"select * from p where id in (3, 4, 500)":                               2,
		"select * from p where id in (select id from q)":                        100,
		"select * from p join q using (id) where q.id < 4":                      4,
		"select * from p, q where p.id = q.id and q.id < 4":                     4,
		"select * from q left join p on p.id = q.id":                            100,
		"select * from q where exists (select 1 from p where p.id = q.id + 98)": 2,
	} {
		if got := len(rows(t, c, sql)); got != want {
			t.Errorf("%s: %d rows, want %d", sql, got, want)
		}
	}
}

// TestJoinLooksUpTheIndexedTable makes sure that neither way of writing a join
// reads a table once for each row of the other.
func TestJoinLooksUpTheIndexedTable(t *testing.T) {
	for _, flags := range []tables.Flags{tables.Additional, tables.Pushdown} {
		procs, socks := &probe{name: "procs", flags: tables.Index}, &probe{name: "socks", flags: flags}
		c := open(t, engine.Config{Tables: []tables.Table{procs.table(t), socks.table(t)}})
		for _, sql := range []string{
			"select count(*) from procs p join socks s using (id)",
			"select count(*) from socks s join procs p using (id)",
			"select count(*) from socks s left join procs p using (id)",
			"select count(*) from procs p left join socks s using (id)",
			"select count(*) from socks s, procs p where s.id = p.id and p.name like 'n%'",
		} {
			procs.rows, socks.rows = 0, 0
			if got := rows(t, c, sql); !slices.Equal(got, []string{"100"}) {
				t.Fatalf("%s: %q", sql, got)
			}
			if procs.rows > 100 || socks.rows > 100 {
				t.Errorf("%s: read %d and %d rows", sql, procs.rows, socks.rows)
			}
		}
	}
}

// TestRowNumbers covers where SQLite recognises a row by its number although
// the table has no key: equal rows must neither merge nor double.
func TestRowNumbers(t *testing.T) {
	odd := []oddRow{}
	for i := range 4 {
		row := oddRow{i: tables.Int(1), n: tables.Int(1), t: tables.String("x")}
		if i == 3 {
			row.n = tables.Int(2)
		}
		odd = append(odd, row)
	}
	c := open(t, engine.Config{Tables: []tables.Table{strictTable(t, "s", odd), plainTable(t, "x", odd)}})
	for sql, want := range map[string]string{
		"select count(*) from s where i = 1 or t = 'x'":                    "4",
		"select count(*) from s where n = 1 or t = 'y'":                    "3",
		"select count(*) from s where n = 1 or t = 'x' or i = 1":           "4",
		"select count(*) from x left join s on s.i = x.i or s.t = x.t":     "16",
		"select count(*) from s a right join s b on a.n = b.n and b.n = 2": "4",
		"select count(*) from s a full join s b on a.n = b.n and b.n = 2":  "7",
		"select count(*), count(distinct rowid) from s":                    "4|4",
	} {
		if got := rows(t, c, sql); !slices.Equal(got, []string{want}) {
			t.Errorf("%s: %q, want %q", sql, got, want)
		}
	}
}

func TestStreaming(t *testing.T) {
	p := &probe{name: "p", flags: tables.Index}
	c := open(t, engine.Config{Tables: []tables.Table{p.table(t)}})
	for _, test := range []struct {
		sql  string
		most int // rows that the table may have given
	}{
		{"select * from p limit 3", 4},
		{"select * from p where name = 'n3' limit 1", 4},
		{"select 1 where exists (select 1 from p)", 2},
		{"select 1 from p limit 10", 32}, // rows without cells are read ahead
	} {
		p.rows = 0
		rows(t, c, test.sql)
		if p.rows > test.most {
			t.Errorf("%s: read %d rows, want at most %d", test.sql, p.rows, test.most)
		}
	}

	s := c.Begin(context.Background())
	defer s.Close()
	p.rows = 0
	st, _, err := s.Prepare("select id from p")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		if !st.Next() || st.Value(0).Int64() != int64(i) {
			t.Fatalf("row %d: %v", i, st.Err())
		}
	}
	if p.rows != 5 {
		t.Errorf("five rows took %d of the table", p.rows)
	}
}

func TestScanStats(t *testing.T) {
	p, q := &probe{name: "p", flags: tables.Index}, &probe{name: "q"}
	c := open(t, engine.Config{Tables: []tables.Table{p.table(t), q.table(t)}})
	s := c.Begin(context.Background())
	defer s.Close()
	st, _, err := s.Prepare("select * from q cross join p_alias using (id) where q.id < 10 and p_alias.name >= ''")
	if err != nil {
		t.Fatal(err)
	}
	for st.Next() {
	}
	want := []engine.ScanStats{
		{Table: "q", Scans: 1, Rows: 100},
		{Table: "p_alias", Terms: []string{"id = ?", "name >= ?"}, Scans: 10, Rows: 10},
	}
	got := s.Scans()
	for i := range got {
		slices.Sort(got[i].Terms)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("scans (-want +got)\n%s", diff)
	}
}

// TestRepeatedScansAreCopied runs the inside of a join that offers nothing to
// look up by. SQLite keeps a term of WHERE from the right side of a LEFT JOIN.
func TestRepeatedScansAreCopied(t *testing.T) {
	p, q := &probe{name: "p", flags: tables.Index}, &probe{name: "q", flags: tables.Index}
	c := open(t, engine.Config{Tables: []tables.Table{p.table(t), q.table(t)}})
	for _, test := range []struct {
		sql, want string
		scans     int // of q
	}{
		{"select count(*), sum(q.secret) from p left join q where p.id = q.id", "100|9900", 2},
		{"select count(*) from p cross join q on p.id = q.id + 0", "100", 2},
		{"select count(*) from p cross join q on p.id + q.id < 3 and q.id in (0, 1, 2)", "6", 2},
		{"select count(*) from p cross join q", "10000", 2},
		{"select count(*) from p where exists (select 1 from q where q.secret = p.id)", "50", 100}, // none runs to its end but the odd ones
		{"select count(*) from p left join q on q.id = p.id", "100", 100},
		{"select count(*) from p cross join q on q.id = p.id / 50", "100", 4},
		{"select count(*), count(q.id) from p left join q on q.rowid = p.rowid or p.id = q.id + 0", "100|100", 2},
	} {
		q.queries, q.rows = nil, 0
		if got := rows(t, c, test.sql); !slices.Equal(got, []string{test.want}) {
			t.Errorf("%s: %q, want %q", test.sql, got, test.want)
		}
		if len(q.queries) > test.scans {
			t.Errorf("%s: %d scans, want at most %d", test.sql, len(q.queries), test.scans)
		}
	}
}

// TestCopiesAreBounded repeats a scan of more text than a copy may hold.
func TestCopiesAreBounded(t *testing.T) {
	scans := 0
	text := strings.Repeat("x", 1<<20)
	table := newTable(t, tables.Def[int]{
		Name: "big", Doc: "Long texts.",
		Columns: []tables.Column[int]{{Name: "t", Doc: "t", Type: tables.Text, Get: func(*int) tables.Value { return tables.String(text) }}},
		Rows: func(_ context.Context, _ *tables.Query, yield func(*int) bool) error {
			scans++
			for i := range 70 {
				if !yield(&i) {
					break
				}
			}
			return nil
		},
	})
	c := open(t, engine.Config{Tables: []tables.Table{table}})
	rows(t, c, "create table v as select 1 n union select 2 union select 3 union select 4")
	if got := rows(t, c, "select sum(length(t) > n) from v cross join big"); !slices.Equal(got, []string{"280"}) || scans != 4 {
		t.Errorf("%q after %d scans", got, scans)
	}
}

package engine_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"sockql/engine"
	"sockql/engine/sqlfunc"
	"sockql/tables"
)

// TestHostileStatements ends each of them in an error, or in an answer where
// there is nothing wrong, and goes on with the same connection.
func TestHostileStatements(t *testing.T) {
	p := &probe{name: "p"}
	c := open(t, engine.Config{
		Tables:    []tables.Table{p.table(t)},
		Functions: sqlfunc.All(sqlfunc.Config{}),
		Limits:    engine.Limits{HeapBytes: 256 << 20},
	})
	deep := func(open, inner, close string, n int) string {
		return strings.Repeat(open, n) + inner + strings.Repeat(close, n)
	}
	// One text in SQLite's memory that every mention of a shares.
	const shared = "with t(a) as materialized (select hex(zeroblob(20000000))) "
	for _, test := range []struct {
		name, sql string
		code      int    // 0 if it may well be answered
		part      string // of the message
	}{
		{"2 MB literal", "select '" + strings.Repeat("x", 2<<20) + "'", 18, "string or blob too big: a statement may have 1000000 bytes, a value or row 67108864"},
		{"2 MB blob", "select x'" + strings.Repeat("00", 1<<20) + "'", 18, "string or blob too big"},
		{"2 MB of white space", strings.Repeat(" ", 2<<20) + "select 1", 18, "string or blob too big"},
		{"2 MB comment", "/*" + strings.Repeat("x", 2<<20) + "*/ select 1", 18, "string or blob too big"},
		{"deep parentheses", "select " + deep("(", "1", ")", 100_000), 1, ""},
		{"deep functions", "select " + deep("abs(", "1", ")", 50_000), 1, ""},
		{"deep not", "select " + deep("not ", "1", "", 100_000), 1, ""},
		{"deep minus", "select " + deep("- ", "1", "", 100_000), 1, ""},
		{"long sum", "select 1" + strings.Repeat("+1", 100_000), 1, "Expression tree is too large"},
		{"long and", "select 1" + strings.Repeat(" and 1", 100_000), 1, "Expression tree is too large"},
		{"deep subqueries", deep("select * from (", "select 1", ")", 20_000), 1, ""},
		{"deep scalar subqueries", "select " + deep("(select ", "1", ")", 20_000), 1, ""},
		{"deep exists", "select " + deep("exists(select ", "1", ")", 20_000), 1, ""},
		{"deep case", "select " + deep("case when 1 then ", "1", " end", 20_000), 1, ""},
		{"many unions", "select 1" + strings.Repeat(" union all select 1", 20_000), 1, ""},
		{"many columns", "select 1" + strings.Repeat(",1", 100_000), 1, "too many columns"},
		{"many values", "values (1)" + strings.Repeat(",(1)", 100_000), 0, ""},
		{"many terms of IN", "select 1 in (1" + strings.Repeat(",1", 200_000) + ")", 0, ""},
		{"many tables", "select 1 from p" + strings.Repeat(",p", 100), 1, "at most 64 tables in a join"},
		{"many arguments", "select max(1" + strings.Repeat(",1", 100_000) + ")", 1, "too many arguments"},
		{"many CTEs", "with a0 as (select 1)" + func() string {
			var b strings.Builder
			for i := range 1500 {
				fmt.Fprintf(&b, ", a%d as (select * from a%d)", i+1, i)
			}
			return b.String()
		}() + " select * from a1500", 0, ""},
		{"doubling CTEs", "with a0 as (select 1 x)" + func() string {
			var b strings.Builder
			for i := range 40 {
				fmt.Fprintf(&b, ", a%d as (select l.x from a%d l, a%d r)", i+1, i, i)
			}
			return b.String()
		}() + " select count(*) from a40", 7, "out of memory"},
		{"zeroblob", "select zeroblob(1000000000)", 18, "string or blob too big"},
		{"randomblob", "select length(randomblob(1000000000))", 18, "string or blob too big"},
		{"printf width", "select printf('%999999999d', 1)", 18, "string or blob too big"},
		{"printf precision", "select printf('%.999999999f', 1)", 18, "string or blob too big"},
		{"replace", "select length(replace(hex(zeroblob(1000000)), '0', hex(zeroblob(100000))))", 18, "string or blob too big"},
		{"group_concat", "with recursive r(n) as (select 1 union all select n+1 from r where n < 10000) select length(group_concat(hex(zeroblob(50000)))) from r", 18, "string or blob too big"},
		{"json", "select json('" + deep("[", "", "]", 100_000) + "')", 1, "malformed JSON"},
		{"json array", "with recursive r(n) as (select 1 union all select n+1 from r where n < 10000) select length(json_group_array(hex(zeroblob(50000)))) from r", 7, "out of memory"},
		{"one text in all columns", shared + "select a" + strings.Repeat(",a", 500) + " from t", 18, "string or blob too big: a statement"},
		{"one text in all arguments", shared + "select md5(concat(a" + strings.Repeat(",a", 500) + ")) from t", 18, "string or blob too big"},
		{"one text between all arguments", shared + "select md5(concat_ws(a" + strings.Repeat(",1", 500) + ")) from t", 1, "Too much data for concat_ws"},
		{"regular expression", "select regex_match('" + strings.Repeat("a", 60) + "', '(a*)*b', 0)", 1, "Invalid regex"},
		{"a text for a block", shared + "select ip_in('127.0.0.1', a) from t", 1, "is no block of addresses"},
		{"long pattern", "select 'a' like '" + strings.Repeat("%a", 50_000) + "'", 1, "LIKE or GLOB pattern too complex"},
		{"pattern", "select hex(zeroblob(20000)) like '" + strings.Repeat("%0", 200) + "%1'", 0, ""},
		{"glob", "select hex(zeroblob(20000)) glob '" + strings.Repeat("*0", 200) + "*1'", 0, ""},
		{"heap", "with recursive r(n) as (select 1 union all select n+1 from r where n < 2000) select count(*) from (select zeroblob(1000000 + n) b, n from r order by b)", 7, "out of memory: what statements sort, group and keep may take 256 MiB together"},
		{"heap of a table", "create temp table big as with recursive r(n) as (select 1 union all select n+1 from r where n < 2000) select zeroblob(1000000) from r", 7, "out of memory"},
		{"parameters", "select ?32767", 1, "variable number must be between ?1 and ?32766"},
		{"parameter", "select ?1", 0, ""},
		{"recursive view", "create view v as select * from v; select * from v", 1, "circularly defined"},
		{"truncated UTF-8", "select '\xf0\x9f', upper('\xff\xfe')", 0, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			_, err := c.Query(ctx, test.sql)
			var e *engine.Error
			switch {
			case ctx.Err() != nil:
				t.Fatalf("took a minute: %v", err)
			case test.code == 0 && err != nil:
				t.Errorf("error %v", err)
			case test.code == 0:
			case !errors.As(err, &e):
				t.Errorf("error %v, want code %d", err, test.code)
			case e.Code != test.code || !strings.Contains(e.Message, test.part):
				t.Errorf("code %d, %q; want %d, %q", e.Code, e.Message, test.code, test.part)
			}
			if got := rows(t, c, "select count(*) from p"); got[0] != "100" {
				t.Errorf("afterwards: %q", got)
			}
		})
	}
}

// TestGenerousEnough runs what real query packs need and more.
func TestGenerousEnough(t *testing.T) {
	c := open(t, engine.Config{})
	list := "1" + strings.Repeat(",1", 20_000)
	for _, sql := range []string{
		"select 1 in (" + list + ")",
		"select '" + strings.Repeat("x", 900_000) + "'",
		"select 1" + strings.Repeat(" or 0", 900),
		"select 1" + strings.Repeat(" union select 1", 400),
		"select length(hex(zeroblob(10000000)))",
		"select " + strings.Repeat("(", 60) + "1" + strings.Repeat(")", 60),
	} {
		rows(t, c, sql)
	}
}

func TestInstructionLimit(t *testing.T) {
	c := open(t, engine.Config{Limits: engine.Limits{Instructions: 1_000_000}})
	_, err := c.Query(context.Background(), "with recursive r(n) as (select 1 union all select n+1 from r) select count(*) from r")
	if !errors.Is(err, engine.ErrInstructions) {
		t.Errorf("error %v", err)
	}
	rows(t, c, "select 1")
}

// TestResultsAreBounded gathers more than a connection may, and reads the same
// rows one by one.
func TestResultsAreBounded(t *testing.T) {
	c := open(t, engine.Config{Limits: engine.Limits{ResultBytes: 1 << 20}})
	const sql = "with recursive n(i) as (select 1 union all select i+1 from n where i < %d) select i, hex(zeroblob(500)) from n"
	res, err := c.Query(t.Context(), fmt.Sprintf(sql, 1500))
	var e *engine.Error
	if !errors.Is(err, engine.ErrTooLarge) || !errors.As(err, &e) || e.Code != 18 || len(res.Rows) != 0 {
		t.Errorf("1.5 MB: %d rows, %v", len(res.Rows), err)
	}
	if want := "result takes too much memory: it may have 1 MiB; ask for fewer rows or columns"; err != nil && err.Error() != want {
		t.Errorf("%q, want %q", err, want)
	}
	if res, err := c.Query(t.Context(), fmt.Sprintf(sql, 900)); err != nil || len(res.Rows) != 900 {
		t.Errorf("0.9 MB: %d rows, %v", len(res.Rows), err)
	}
	s := c.Begin(t.Context())
	defer s.Close()
	st, _, err := s.Prepare(fmt.Sprintf(sql, 1500))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for st.Next() {
		n++
	}
	if st.Err() != nil || n != 1500 {
		t.Errorf("one by one: %d rows, %v", n, st.Err())
	}
}

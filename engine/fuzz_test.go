package engine_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"sockql/engine"
	"sockql/engine/sqlfunc"
	"sockql/tables"
)

// FuzzSQL runs any text. Whatever it is, it ends, and in an error of ours or
// in rows as wide as the result, and the connection goes on.
func FuzzSQL(f *testing.F) {
	for _, sql := range []string{
		"select * from s where i = 1 or t like 'a%' limit 3",
		"select distinct t from s join x using (i) order by 1 limit 2 offset 1",
		"with recursive r(n) as (select 1 union all select n+1 from r) select n from r limit 5",
		"create view v as select max(i) over (partition by t) from s; select * from v",
		"pragma table_info(s); values (1), (2); explain query plan select * from s full join x on s.n is x.d",
		"select group_concat(t, x'00') from s group by b having count(*) > 1",
		"select fails(1), json_each.value from s, json_each('[1,2]') where e in (select t from x) and c > 'A'",
		"create temp table q as select * from s; insert into q select * from x; update q set i = 5; delete from q; drop table q",
		"select * from s right join x on s.rowid = x.rowid;;; select 'x",
		"select * from s where (i, n) in (select n, i from x) and (t, c) > ('a', 'b')",
		"begin; select printf('%.*c', 1000000, 'x'); rollback; select zeroblob(1e9)",
	} {
		f.Add(sql)
	}
	rows := oddRows()
	e := newEngine(f, engine.Config{
		Tables: []tables.Table{strictTable(f, "s", rows), plainTable(f, "x", rows)},
		Functions: []sqlfunc.Function{{Name: "fails", Eval: func(_ context.Context, _ *sqlfunc.Call, args []tables.Value) (tables.Value, error) {
			if len(args) > 1 {
				panic("too many")
			}
			return tables.Null(), errors.New("no")
		}}},
		Collations: []sqlfunc.Collation{{Name: "equal", Compare: func(a, b string) int { return 0 }}},
		Limits:     engine.Limits{HeapBytes: 64 << 20, Instructions: 2_000_000, ValueBytes: 1 << 20},
	})
	f.Fuzz(func(t *testing.T, sql string) {
		c := mustOpen(t, e)
		defer c.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		res, err := c.Query(ctx, sql)
		var failure *engine.Error
		if err != nil && !errors.As(err, &failure) {
			t.Errorf("%q: error %T %v", sql, err, err)
		}
		if failure != nil && (failure.Code <= 0 || failure.Message == "") {
			t.Errorf("%q: error %+v", sql, failure)
		}
		for _, row := range res.Rows {
			if len(row) != len(res.Columns) {
				t.Fatalf("%q: %d cells in %d columns", sql, len(row), len(res.Columns))
			}
		}
		// A statement may have begun a transaction or run out of memory.
		_, _ = c.Query(context.Background(), "rollback")
		got, err := c.Query(context.Background(), "select count(*) from s")
		if err != nil || got.Rows[0][0].Int64() != int64(len(rows)) {
			t.Fatalf("%q: afterwards: %v", sql, err)
		}
	})
}

package engine_test

import (
	"context"
	"fmt"
	"testing"

	"sockql/engine"
	"sockql/tables"
)

// socketRow is as wide as a socket of the benchmark's table: eight numbers and
// four texts.
type socketRow struct {
	numbers [8]int64
	texts   [4]string
}

// socketTable holds n rows in memory, a hundred for each pid, and looks a pid
// up without reading the others.
func socketTable(tb testing.TB, name string, n int) tables.Table {
	states := []string{"ESTABLISHED", "LISTEN", "TIME_WAIT", "CLOSE_WAIT"}
	rows := make([]socketRow, n)
	for i := range rows {
		rows[i] = socketRow{
			numbers: [8]int64{int64(i/100 + 1), int64(i % 100), int64(100000 + i), 4026531840, int64(i % 5), 0, int64(1024 + i%60000), 443},
			texts: [4]string{"tcp", fmt.Sprintf("127.0.%d.%d", i/250%250, i%250),
				fmt.Sprintf("10.1.%d.%d", i/250%250, i%250), states[i%4]},
		}
	}
	columns := []tables.Column[socketRow]{}
	for i, name := range []string{"pid", "fd", "ino", "netns", "uid", "rxq", "lport", "rport"} {
		flags := tables.Flags(0)
		if name == "pid" {
			flags = tables.Index
		}
		columns = append(columns, tables.Column[socketRow]{
			Name: name, Doc: name, Type: tables.BigInt, Flags: flags,
			Get: func(r *socketRow) tables.Value { return tables.Int(r.numbers[i]) },
		})
	}
	for i, name := range []string{"proto", "la", "ra", "state"} {
		columns = append(columns, tables.Column[socketRow]{
			Name: name, Doc: name, Type: tables.Text,
			Get: func(r *socketRow) tables.Value { return tables.String(r.texts[i]) },
		})
	}
	return newTable(tb, tables.Def[socketRow]{
		Name: name, Doc: "Made-up sockets.", Columns: columns,
		Rows: func(ctx context.Context, q *tables.Query, yield func(*socketRow) bool) error {
			if values, ok := q.Set(0).Values(); ok {
				for _, v := range values {
					pid := v.Int64()
					for i := max((pid-1)*100, 0); i < min(pid*100, int64(n)); i++ {
						if !yield(&rows[i]) {
							return nil
						}
					}
				}
				return nil
			}
			for i := range rows {
				if !yield(&rows[i]) {
					return nil
				}
			}
			return nil
		},
	})
}

func processTable(tb testing.TB, n int) tables.Table {
	return newTable(tb, tables.Def[int64]{
		Name: "p", Doc: "Made-up processes.",
		Columns: []tables.Column[int64]{
			{Name: "pid", Doc: "pid", Type: tables.BigInt, Flags: tables.Index, Get: func(r *int64) tables.Value { return tables.Int(*r) }},
			{Name: "name", Doc: "name", Type: tables.Text, Get: func(*int64) tables.Value { return tables.String("bash") }},
		},
		Rows: func(ctx context.Context, q *tables.Query, yield func(*int64) bool) error {
			if values, ok := q.Set(0).Values(); ok {
				for _, v := range values {
					if pid := v.Int64(); pid >= 1 && pid <= int64(n) && !yield(&pid) {
						return nil
					}
				}
				return nil
			}
			for pid := int64(1); pid <= int64(n); pid++ {
				if !yield(&pid) {
					return nil
				}
			}
			return nil
		},
	})
}

func BenchmarkQuery(b *testing.B) {
	const rows = 100_000
	c := open(b, engine.Config{Tables: []tables.Table{socketTable(b, "s", rows), processTable(b, 1000)}})
	for _, bench := range []struct {
		name, sql string
		want      int
	}{
		{"count", "select count(*) from s", 1},
		{"sum of 8", "select sum(pid+fd+ino+netns+uid+rxq+lport+rport) from s", 1},
		{"four texts", "select max(length(state)), max(length(la)), max(length(ra)), max(length(proto)) from s", 1},
		{"all", "select * from s", rows},
		{"group", "select state, count(*) from s group by state", 4},
		{"where", "select pid from s where lport = 1030", 2},
		{"join sockets inside", "select count(*) from p cross join s using (pid)", 1},
		{"join processes inside", "select count(*) from s cross join p using (pid)", 1},
		{"one pid", "select * from s where pid = 500", 100},
		{"one", "select 1", 1},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s := c.Begin(b.Context())
				st, _, err := s.Prepare(bench.sql)
				if err != nil {
					b.Fatal(err)
				}
				n := 0
				for st.Next() {
					n++
				}
				if st.Err() != nil || n != bench.want {
					b.Fatalf("%d rows, want %d: %v", n, bench.want, st.Err())
				}
				if err := s.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkOpen shows what a connection costs before its first statement.
func BenchmarkOpen(b *testing.B) {
	var list []tables.Table
	for i := range 150 {
		list = append(list, socketTable(b, fmt.Sprint("t", i), 1))
	}
	e := newEngine(b, engine.Config{Tables: list})
	b.ReportAllocs()
	for b.Loop() {
		c, err := e.Open()
		if err != nil {
			b.Fatal(err)
		}
		if err := c.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

package extension

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"sockql/tables"
)

type person struct {
	pid  int
	name string
	big  int64
	dbl  float64
}

// people makes a table like the one of the recorded requests. It narrows by
// pid as strictly as it may, so that a term lost or wrongly understood shows.
func people(t testing.TB, name string, n int) tables.Table {
	t.Helper()
	table, err := tables.New(tables.Def[person]{
		Name: name,
		Columns: []tables.Column[person]{
			{Name: "pid", Type: tables.Integer, Flags: tables.Additional, Get: func(p *person) tables.Value { return tables.Int(p.pid) }},
			{Name: "name", Type: tables.Text, Flags: tables.Index, Get: func(p *person) tables.Value { return tables.String(p.name) }},
			{Name: "big", Type: tables.BigInt, Flags: tables.Index, Get: func(p *person) tables.Value { return tables.Int(p.big) }},
			{Name: "dbl", Type: tables.Double, Flags: tables.Index, Get: func(p *person) tables.Value { return tables.Float(p.dbl) }},
		},
		Rows: func(_ context.Context, q *tables.Query, yield func(*person) bool) error {
			for i := range n {
				p := person{i, fmt.Sprintf("proc%d", i), int64(i) << 40, float64(i) + 0.5}
				if !q.Set(0).HasInt(int64(p.pid)) || !q.Set(1).HasString(p.name) || !q.Set(2).HasInt(p.big) {
					continue
				}
				if !yield(&p) {
					return nil
				}
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// custom makes a table of one text column.
func custom(t testing.TB, name string, rows func(context.Context, *tables.Query, func(*string) bool) error) tables.Table {
	t.Helper()
	table, err := tables.New(tables.Def[string]{
		Name:    name,
		Columns: []tables.Column[string]{{Name: "text", Type: tables.Text, Get: func(s *string) tables.Value { return tables.String(*s) }}},
		Rows:    rows,
	})
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// plugin makes the plugin of one table.
func plugin(t testing.TB, l Limits, table tables.Table) *Plugin {
	t.Helper()
	list, stop := NewPlugins(t.Context(), l, log(t), []tables.Table{table}, func(t tables.Table) string { return t.Schema().Name })
	t.Cleanup(stop)
	return list[0]
}

func log(t testing.TB) *slog.Logger { return slog.New(slog.NewTextHandler(t.Output(), nil)) }

// A journal collects what is logged.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

func (j *journal) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(j, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

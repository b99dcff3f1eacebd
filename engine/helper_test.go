package engine_test

import (
	"context"
	"strings"
	"testing"

	"sockql/engine"
	"sockql/tables"
)

func newTable[R any](tb testing.TB, d tables.Def[R]) tables.Table {
	tb.Helper()
	t, err := tables.New(d)
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

func newEngine(tb testing.TB, cfg engine.Config) *engine.Engine {
	tb.Helper()
	e, err := engine.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

func open(tb testing.TB, cfg engine.Config) *engine.Conn {
	tb.Helper()
	c, err := newEngine(tb, cfg).Open()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := c.Close(); err != nil {
			tb.Errorf("close: %v", err)
		}
	})
	return c
}

// rows runs a statement and returns its rows as text, cells joined by "|", in
// which NULL is "∅".
func rows(tb testing.TB, c *engine.Conn, sql string) []string {
	tb.Helper()
	res, err := c.Query(context.Background(), sql)
	if err != nil {
		tb.Fatalf("%s: %v", sql, err)
	}
	return texts(res)
}

func texts(res *engine.Result) []string {
	lines := []string{}
	for _, row := range res.Rows {
		cells := make([]string, len(row))
		for i, v := range row {
			cells[i] = cell(v)
		}
		lines = append(lines, strings.Join(cells, "|"))
	}
	return lines
}

func cell(v tables.Value) string {
	if v.IsNull() {
		return "∅"
	}
	return v.String()
}

package sockets

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"sockql/tables"
	"sockql/tables/internal/bpfiter"
	"sockql/tables/internal/kerneltest"
	"sockql/tables/internal/procfs"
)

func TestMain(m *testing.M) { kerneltest.Main(m) }

// newHost returns the tables' maker for a root, with options of its reader. It
// has BPF only if that is asked for; the test is skipped where there is none.
func newHost(t testing.TB, root string, source Source, options ...procfs.Option) *Host {
	t.Helper()
	proc, err := procfs.Open(root, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { proc.Close() })
	c := Config{Proc: proc, Source: source, CgroupRoot: "/sys/fs/cgroup"}
	if source == BPF {
		c.Sys = "/sys"
		loaded, err := bpfiter.Open(bpfiter.Config{Proc: root, Sys: c.Sys}, nil)
		if err != nil {
			t.Skip(err)
		}
		loaded.Close()
	}
	h, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// must returns a table or ends the test.
func must(t testing.TB) func(tables.Table, error) tables.Table {
	return func(table tables.Table, err error) tables.Table {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return table
	}
}

// where makes a constraint from a column's name and values.
func where(table tables.Table, name string, op tables.Op, values ...any) tables.Constraint {
	c := tables.Constraint{Column: table.Schema().Column(name), Op: op}
	if c.Column < 0 {
		panic("no column " + name)
	}
	for _, v := range values {
		switch v := v.(type) {
		case nil:
			c.Values = append(c.Values, tables.Null())
		case string:
			c.Values = append(c.Values, tables.String(v))
		case int:
			c.Values = append(c.Values, tables.Int(v))
		case int32:
			c.Values = append(c.Values, tables.Int(v))
		case uint64:
			c.Values = append(c.Values, tables.Uint(v))
		default:
			panic(fmt.Sprintf("no value of %T", v))
		}
	}
	return c
}

// ask scans a table in a session of its own and returns the named columns of
// each row, joined by "|", with NULL for NULL, and the warnings.
func ask(t testing.TB, table tables.Table, columns string, constraints ...tables.Constraint) (rows []string, warnings []error) {
	t.Helper()
	s := tables.NewSession(context.Background())
	defer s.Close()
	rows = askIn(t, s, table, columns, constraints...)
	return rows, s.TakeWarnings()
}

func askIn(t testing.TB, s *tables.Session, table tables.Table, columns string, constraints ...tables.Constraint) (rows []string) {
	t.Helper()
	r := tables.Request{Constraints: constraints}
	var at []int
	for name := range strings.FieldsSeq(columns) {
		i := table.Schema().Column(name)
		if i < 0 {
			t.Fatalf("no column %s", name)
		}
		at = append(at, i)
		r.Used |= 1 << min(i, 63)
	}
	q := tables.NewQuery(s, table.Schema(), r)
	err := tables.Run(s.Context(), table, q, func(r tables.Row) bool {
		cells := make([]string, len(at))
		for i, col := range at {
			if v := r.Column(col); v.IsNull() {
				cells[i] = "NULL"
			} else {
				cells[i] = v.String()
			}
		}
		rows = append(rows, strings.Join(cells, "|"))
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// sorted returns the rows in a fixed order.
func sorted(rows []string) []string {
	rows = slices.Clone(rows)
	slices.Sort(rows)
	return rows
}

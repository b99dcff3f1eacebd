package sockets

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"sockql/tables"
)

// TestRandomConditions compares random conditions with themselves, once pushed
// down and once kept from it, and in a session of their own and in one that
// has answered others before.
func TestRandomConditions(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	for _, tree := range []string{"kinds", "states", "namespaces", "denied"} {
		h := fixture(t, tree)
		c := connect(t, h)
		for _, table := range []tables.Table{must(t)(h.ProcessOpenSockets()), must(t)(h.ListeningPorts()), must(t)(h.SocketStates())} {
			schema := table.Schema()
			var columns []string
			for _, col := range schema.Columns {
				columns = append(columns, col.Name)
			}
			rows, _ := ask(t, table, strings.Join(columns, " "))
			shared := c.Begin(context.Background())
			for range 100 {
				var pushed []string
				for range 1 + r.IntN(3) {
					i := r.IntN(len(columns))
					for !schema.Columns[i].Flags.Any(tables.Constrainable) {
						i = r.IntN(len(columns))
					}
					pushed = append(pushed, condition(r, columns[i], func() string {
						return strings.Split(rows[r.IntN(len(rows))], "|")[i]
					}))
				}
				selected := strings.Join(columns, ",")
				if r.IntN(3) == 0 {
					selected = "distinct " + columns[r.IntN(len(columns))]
				}
				sql := "select " + selected + " from " + schema.Name + " where "
				// SQLite pushes nothing into a subselect with a limit.
				want := sorted(query(t, c, fmt.Sprintf("select %s from (select %s from %s limit -1) where %s",
					selected, strings.Join(columns, ","), schema.Name, strings.Join(pushed, " and "))))
				if got := sorted(query(t, c, sql+strings.Join(pushed, " and "))); !slices.Equal(got, want) {
					t.Fatalf("%s: %s%s:\n%s\nwithout push-down\n%s", tree, sql, strings.Join(pushed, " and "), strings.Join(got, "\n"), strings.Join(want, "\n"))
				}
				st, _, err := shared.Prepare(sql + strings.Join(pushed, " and "))
				if err != nil {
					t.Fatal(err)
				}
				var got []string
				for st.Next() {
					var cells []string
					for _, v := range st.AppendRow(nil) {
						if v.IsNull() {
							v = tables.String("NULL")
						}
						cells = append(cells, v.String())
					}
					got = append(got, strings.Join(cells, "|"))
				}
				if err := st.Err(); err != nil {
					t.Fatal(err)
				}
				st.Close()
				if got = sorted(got); !slices.Equal(got, want) {
					t.Fatalf("%s: in a session with others: %s%s:\n%s\nwant\n%s", tree, sql, strings.Join(pushed, " and "), strings.Join(got, "\n"), strings.Join(want, "\n"))
				}
			}
			shared.Close()
		}
	}
}

// condition makes a condition on a column of values that it has, and others.
func condition(r *rand.Rand, column string, value func() string) string {
	literal := func() string {
		v := value()
		switch {
		case r.IntN(6) == 0:
			v = []string{"-1", "0", "7", "LISTEN", "ESTABLISHED", "", "::", "no such"}[r.IntN(8)]
		case v == "NULL":
			return v
		}
		if r.IntN(4) == 0 && v != "" && strings.Trim(v, "0123456789") == "" {
			return v // a number, whatever the column
		}
		return "'" + strings.ReplaceAll(v, "'", "''") + "'"
	}
	switch r.IntN(6) {
	case 0, 1, 2:
		return column + " = " + literal()
	case 3:
		return column + " " + []string{"<", "<=", ">", ">="}[r.IntN(4)] + " " + literal()
	case 4:
		return fmt.Sprintf("%s in (%s, %s, %s)", column, literal(), literal(), literal())
	}
	return column + " is " + literal()
}

package engine_test

import (
	"context"
	"fmt"

	"sockql/engine"
	"sockql/tables"
)

// A program's own table beside the others: its rows are streamed, and a term
// that it can use reaches it.
func Example() {
	type planet struct {
		name  string
		moons int
	}
	planets, err := tables.New(tables.Def[planet]{
		Name: "planets", Doc: "The planets and their moons.",
		Columns: []tables.Column[planet]{
			{Name: "name", Doc: "The name.", Type: tables.Text, Flags: tables.Index, Get: func(p *planet) tables.Value { return tables.String(p.name) }},
			{Name: "moons", Doc: "How many moons.", Type: tables.Integer, Get: func(p *planet) tables.Value { return tables.Int(p.moons) }},
		},
		Rows: func(ctx context.Context, q *tables.Query, yield func(*planet) bool) error {
			for _, p := range []planet{{"Earth", 1}, {"Mars", 2}, {"Venus", 0}} {
				if q.Set(0).HasString(p.name) && !yield(&p) {
					return nil
				}
			}
			return nil
		},
	})
	if err != nil {
		panic(err)
	}
	e, err := engine.New(engine.Config{Tables: []tables.Table{planets}})
	if err != nil {
		panic(err)
	}
	c, err := e.Open()
	if err != nil {
		panic(err)
	}
	defer c.Close()

	s := c.Begin(context.Background())
	defer s.Close()
	st, _, err := s.Prepare("SELECT name, moons FROM planets WHERE name IN ('Earth', 'Mars') ORDER BY moons DESC")
	if err != nil {
		panic(err)
	}
	for st.Next() {
		fmt.Println(st.Value(0), st.Value(1))
	}
	if err := st.Err(); err != nil {
		panic(err)
	}
	for _, scan := range s.Scans() {
		fmt.Println(scan.Table, scan.Terms, scan.Rows, "rows")
	}
	// Output:
	// Mars 2
	// Earth 1
	// planets [name IN (…)] 2 rows
}

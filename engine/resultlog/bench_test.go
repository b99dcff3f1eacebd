package resultlog

import (
	"fmt"
	"testing"
	"time"

	"sockql/tables"
)

// socketRows are n rows like those of process_open_sockets, of which the first
// ones are other rows in each generation.
func socketRows(n, changed, generation int) *Rows {
	rows := NewRows([]string{"pid", "fd", "socket", "family", "protocol", "local_address", "remote_address", "local_port", "remote_port", "path", "state", "net_namespace"}, true)
	for i := range n {
		inode := i
		if i < changed {
			inode += generation * n
		}
		rows.Add([]tables.Value{
			tables.Int(i / 100), tables.Int(i % 100), tables.Int(inode), tables.Int(2), tables.Int(6),
			tables.String("192.168.2.156"), tables.String("192.168.2.145"), tables.Int(51118), tables.Int(8888),
			tables.String(""), tables.String("ESTABLISHED"), tables.String("4026531956"),
		})
	}
	return rows
}

// BenchmarkDifferential finds what has changed since the last run, stores it
// and makes its lines.
func BenchmarkDifferential(b *testing.B) {
	const n = 10_000
	for _, changed := range []int{0, n / 100, n} {
		b.Run(fmt.Sprintf("rows=%d/changed=%d", n, changed), func(b *testing.B) {
			s, _, err := Open("")
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			generations := [2]*Rows{socketRows(n, changed, 0), socketRows(n, changed, 1)}
			format := Format{Events: true}
			run := func(rows *Rows) int {
				c, err := s.Compare("q", "sql", 0, rows)
				if err != nil {
					b.Fatal(err)
				}
				if err := s.Commit(c, nil, nil); err != nil {
					b.Fatal(err)
				}
				lines := 0
				for range format.Differential(&Item{Name: "q", Time: time.Unix(0, 0), Counter: c.Counter, Removed: c.Removed, Added: c.Added}) {
					lines++
				}
				return lines
			}
			run(generations[1])
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				if lines := run(generations[i%2]); lines != 2*changed {
					b.Fatalf("%d lines, want %d", lines, 2*changed)
				}
				i++
			}
		})
	}
}

// BenchmarkRow makes rows of what a statement gives.
func BenchmarkRow(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if socketRows(1000, 0, 0).count != 1000 {
			b.Fatal("rows are missing")
		}
	}
}

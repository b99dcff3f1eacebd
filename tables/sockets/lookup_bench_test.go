package sockets

import (
	"context"
	"fmt"
	"os"
	"testing"

	"sockql/tables"
	"sockql/tables/internal/kerneltest"
)

// BenchmarkLookups asks for one pid after the other within one session, as a
// join with the sockets inside does. Most of the pids have no socket here.
func BenchmarkLookups(b *testing.B) {
	ns := kerneltest.NewNamespace(b)
	pairs(b, ns, 10_000)
	table := must(b)(newHost(b, "/proc", Auto).ProcessOpenSockets())
	for _, n := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("pids=%d", n), func(b *testing.B) {
			constraints := make([][]tables.Constraint, n)
			for i := range constraints {
				constraints[i] = []tables.Constraint{where(table, "pid", tables.OpEq, os.Getpid()+i)}
			}
			b.ReportAllocs()
			for b.Loop() {
				s := tables.NewSession(context.Background())
				for _, c := range constraints {
					q := tables.NewQuery(s, table.Schema(), tables.Request{Used: tables.AllUsed, Constraints: c})
					if err := tables.Run(s.Context(), table, q, func(tables.Row) bool { return true }); err != nil {
						b.Fatal(err)
					}
				}
				s.Close()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/pid")
		})
	}
}

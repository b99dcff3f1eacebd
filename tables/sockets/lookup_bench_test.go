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
	for _, source := range []Source{BPF, Netlink} {
		b.Run(string(source), func(b *testing.B) {
			table := must(b)(newHost(b, "/proc", source).ProcessOpenSockets())
			for _, n := range []int{1, 100, 1000} {
				b.Run(fmt.Sprintf("pids=%d", n), func(b *testing.B) { lookUp(b, table, n) })
			}
		})
	}
}

func lookUp(b *testing.B, table tables.Table, pids int) {
	constraints := make([][]tables.Constraint, pids)
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
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(pids), "ns/pid")
}

package sockets

import (
	"context"
	"fmt"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"sockql/tables"
	"sockql/tables/internal/kerneltest"
)

// pairs makes connected UNIX sockets, held by as many processes as the limit on
// descriptors takes.
func pairs(b *testing.B, ns *kerneltest.Namespace, sockets int) {
	b.Helper()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		b.Fatal(err)
	}
	most := int(min(limit.Cur, 1<<20))/2 - 100
	for sockets > 0 {
		var socks []*kerneltest.Sock
		for range min(most, sockets) / 2 {
			x, y := ns.UnixPair(b, unix.SOCK_STREAM)
			socks = append(socks, x, y)
		}
		kerneltest.Hold(b, ns, socks...)
		for _, s := range socks {
			s.Close()
		}
		sockets -= len(socks)
	}
}

// BenchmarkScan reads all columns of all sockets, asks for one kind that there
// is little of, and joins on pid. live-B/socket is the heap in use before the
// session is closed.
func BenchmarkScan(b *testing.B) {
	for _, size := range []int{10_000, 100_000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			ns := kerneltest.NewNamespace(b)
			pairs(b, ns, size)
			for _, source := range []Source{Procfs, Auto} {
				h := newHost(b, "/proc", source)
				table := must(b)(h.ProcessOpenSockets())
				every := tables.Request{Used: tables.AllUsed}
				for name, r := range map[string]tables.Request{
					"all":      every,
					"listen":   {Used: tables.AllUsed, Constraints: []tables.Constraint{where(table, "state", tables.OpEq, "LISTEN")}},
					"distinct": {Used: 1 << table.Schema().Column("socket"), Distinct: true, Constraints: []tables.Constraint{where(table, "family", tables.OpEq, 2)}},
				} {
					b.Run(string(source)+"/"+name, func(b *testing.B) {
						b.ReportAllocs()
						var live uint64
						for b.Loop() {
							s := tables.NewSession(context.Background())
							rows := 0
							q := tables.NewQuery(s, table.Schema(), r)
							if err := tables.Run(s.Context(), table, q, func(r tables.Row) bool {
								rows++
								for i := range 12 {
									if r.Column(i).IsNull() {
										break
									}
								}
								return true
							}); err != nil {
								b.Fatal(err)
							}
							if name == "all" && rows < size {
								b.Fatalf("%d rows of %d sockets", rows, size)
							}
							b.StopTimer()
							if live == 0 {
								runtime.GC()
								var m runtime.MemStats
								runtime.ReadMemStats(&m)
								live = m.HeapAlloc
							}
							s.Close()
							b.StartTimer()
						}
						b.ReportMetric(float64(live)/float64(size), "live-B/socket")
					})
				}
			}
		})
	}
}

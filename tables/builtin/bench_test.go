package builtin_test

import (
	"os"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"sockql/tables/builtin"
)

// benchPIDEnv names the process that BenchmarkStatement asks about. The whole
// benchmark sets it beside a large load; see docs/benchmarks.md.
const benchPIDEnv = "SOCKQL_BENCH_PID"

// BenchmarkStatement asks this host, from SQL down to the kernel, on a
// connection that is open already.
func BenchmarkStatement(b *testing.B) {
	pid, ok := os.LookupEnv(benchPIDEnv)
	if !ok {
		pid = strconv.Itoa(os.Getpid())
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { unix.Close(pair[0]); unix.Close(pair[1]) })
	}
	conn := open(b, builtin.Config{})
	for _, bench := range []struct{ name, sql string }{
		{"one_process", "SELECT * FROM process_open_sockets WHERE pid = " + pid},
		{"first_ten", "SELECT * FROM process_open_sockets LIMIT 10"},
		{"count", "SELECT count(*) FROM process_open_sockets"},
		{"by_state", "SELECT state, count(*) FROM process_open_sockets GROUP BY state"},
		{"listeners", "SELECT pid, fd, local_address, local_port FROM process_open_sockets WHERE state = 'LISTEN'"},
		{"every_column", "SELECT * FROM process_open_sockets"},
		{"join_sockets_inside", "SELECT count(*) FROM processes p CROSS JOIN process_open_sockets s USING (pid)"},
		{"join_processes_inside", "SELECT count(*) FROM process_open_sockets s CROSS JOIN processes p USING (pid)"},
	} {
		b.Run(bench.name, func(b *testing.B) {
			rows := 0
			b.ReportAllocs()
			for b.Loop() {
				rows = 0
				session := conn.Begin(b.Context())
				st, _, err := session.Prepare(bench.sql)
				if err != nil {
					b.Fatal(err)
				}
				for st.Next() {
					rows++
				}
				if err := st.Err(); err != nil {
					b.Fatal(err)
				}
				if err := session.Close(); err != nil {
					b.Fatal(err)
				}
			}
			if bench.name == "one_process" && rows == 0 {
				b.Fatalf("process %s shows no socket", pid)
			}
			b.ReportMetric(float64(rows), "rows")
		})
	}
}

package shell

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sockql/engine"
	"sockql/shell/internal/render"
)

// made is an explanation with all that one can hold.
var made = engine.Explanation{
	SQL:     "SELECT …",
	Rows:    17,
	Elapsed: 5640 * time.Microsecond, InTables: 5310 * time.Microsecond,
	Steps: []engine.Step{
		{Text: "each row of s", Scan: &engine.Scan{
			ScanStats: engine.ScanStats{Table: "socket_states", Terms: []string{"state = 'LISTEN'", "local_port IN (22, 80, 443, 8080, … 2 more)"}, Scans: 1, Rows: 140_200},
			Name:      "socket_states", Alias: "s", Kept: 1017,
			Source: "bpf+netlink", Pushed: []string{"state"}, Namespaces: 51, Accounted: true, Elapsed: 4100 * time.Microsecond,
			Checked: []engine.CheckedTerm{{SQL: "s.remote_port + 0 = 443", Reason: "it does not compare a column by itself"}},
		}},
		{Depth: 1, Text: "each row of p", Scan: &engine.Scan{
			ScanStats: engine.ScanStats{Table: "processes", Terms: []string{"pid = ?"}, Scans: 1017, Copied: 1003, Indexed: 1000, Rows: 17},
			Name:      "processes", Alias: "processes", Kept: -1, Elapsed: 1210 * time.Microsecond,
		}},
		{Depth: 2, Text: "subquery 1, for each row around it"},
		{Depth: 3, Text: "each row of l", Scan: &engine.Scan{
			ScanStats: engine.ScanStats{Table: "listening_ports", Scans: 17},
			Name:      "listening_ports", Alias: "\x1b[31ma name that is rather long", Kept: 0,
			Source: "procfs", Namespaces: 1, Snapshots: 17, Accounted: true, Narrowing: []string{"pid", "a", "b", "c", "d", "e", "f"},
		}},
		{Text: "list 2 of an IN, once"},
		{Depth: 1, Text: "each row of empty", Scan: &engine.Scan{
			ScanStats: engine.ScanStats{Table: "empty", Terms: []string{"id = 1", "LIMIT 3"}}, Name: "empty", Alias: "empty", Kept: -1,
			Accounted: true,
		}},
		{Text: "sort for ORDER BY"},
	},
}

const madeText = `                                 source        scans      rows     kept     time
1  socket_states s               bpf+netlink       1   140,200    1,017   4.1 ms
2    processes                                 1,017        17            1.2 ms
       subquery 1, for each row around it
3        listening_ports \x1b[31ma name that is rather long
                                 procfs           17         0        0     0 µs
   list 2 of an IN, once
4    empty                                         0         0              0 µs
   sort for ORDER BY
   SQLite                                                                 330 µs
   total                                                    17            5.6 ms

1  socket_states s
   pushed    state = 'LISTEN' AND local_port IN (22, 80, 443, 8080, … 2 more)
   reached   state: the source itself left out the rest
   SQLite    s.remote_port + 0 = 443: it does not compare a column by itself
   collected 51 network namespaces

2  processes
   pushed    pid = ?
   indexed   1,000 of 1,017 scans looked rows up in a copy of the table
   copies    3 of 1,017 scans answered from a copy of one before

3  listening_ports \x1b[31ma name that is rather long
   pushed    nothing: every row is read; a constraint on pid, a, b, c, d, e, …
             would narrow it
   collected 1 network namespace
   snapshots 17 of 17 scans answered from what was collected before

4  empty
   pushed    id = 1 LIMIT 3
   scans     never: what is around it gave no row

The statement ran; its rows are not shown.
`

func TestExplanationText(t *testing.T) {
	got := explanationText(&made)
	if diff := cmp.Diff(madeText, got); diff != "" {
		t.Errorf("want- got+\n%s", diff)
	}
	for line := range strings.Lines(got) {
		if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > explainWidth {
			t.Errorf("%d columns: %q", n, line)
		}
	}
}

func TestExplanationRows(t *testing.T) {
	var b strings.Builder
	p := render.New(&b, render.Options{Mode: render.JSONL, Typed: true})
	p.Columns(explanationColumns)
	for _, row := range explanationRows(&made, 2) {
		if err := p.Row(row); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.End(); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(b.String(), "\n")
	for i, want := range map[int]string{
		0: `{"alias":"s","checked":"s.remote_port + 0 = 443","copied":0,"depth":0,"indexed":0,"kept":1017,"kind":"scan","microseconds":4100,"namespaces":51,"pushed":"state = 'LISTEN' AND local_port IN (22, 80, 443, 8080, … 2 more)","reached":"state","rows":140200,"scans":1,"snapshots":0,"source":"bpf+netlink","statement":2,"step":1,"table":"socket_states","text":"each row of s"}`,
		1: `{"alias":"processes","checked":null,"copied":1003,"depth":1,"indexed":1000,"kept":null,"kind":"scan","microseconds":1210,"namespaces":null,"pushed":"pid = ?","reached":null,"rows":17,"scans":1017,"snapshots":null,"source":null,"statement":2,"step":2,"table":"processes","text":"each row of p"}`,
		2: `{"alias":null,"checked":null,"copied":null,"depth":2,"indexed":null,"kept":null,"kind":"step","microseconds":null,"namespaces":null,"pushed":null,"reached":null,"rows":null,"scans":null,"snapshots":null,"source":null,"statement":2,"step":3,"table":null,"text":"subquery 1, for each row around it"}`,
		8: `{"alias":null,"checked":null,"copied":null,"depth":null,"indexed":null,"kept":null,"kind":"total","microseconds":5640,"namespaces":null,"pushed":null,"reached":null,"rows":17,"scans":null,"snapshots":null,"source":null,"statement":2,"step":9,"table":null,"text":"SELECT …"}`,
	} {
		if lines[i] != want {
			t.Errorf("row %d: %s", i+1, cmp.Diff(want, lines[i]))
		}
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 µs", 999 * time.Microsecond: "999 µs", 1500 * time.Microsecond: "1.5 ms", 82 * time.Millisecond: "82 ms",
		1250 * time.Millisecond: "1.2 s", 3 * time.Minute: "180 s",
	} {
		if got := span(d); got != want {
			t.Errorf("span(%v) = %q, want %q", d, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1000: "-1,000", -100: "-100"} {
		if got := count(n); got != want {
			t.Errorf("count(%d) = %q, want %q", n, got, want)
		}
	}
}

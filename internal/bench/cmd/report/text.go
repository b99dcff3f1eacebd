package main

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"sockql/internal/bench/timing"
)

// writeText writes tables for a terminal. Errors stay in w, which buffers.
func writeText(w io.Writer, r timing.Result) {
	for _, l := range r.Loads {
		fmt.Fprintf(w, "\n%s\n", strings.ToUpper(l.Title()))
		var n notes
		for _, q := range l.Questions {
			fmt.Fprintf(w, "\n%s\n", q.Title)
			table := [][]string{rowNames}
			for _, row := range rowsOf(q, r.Floor, &n) {
				table = append(table, row.cells())
			}
			align(w, table)
		}
		if list := l.Benchmarks(); len(list) > 0 {
			fmt.Fprintf(w, "\nin process\n")
			align(w, benchmarkRows(list))
		}
		for i, text := range n {
			fmt.Fprintf(w, "\n  [%d] on standard error: %s\n", i+1, text)
		}
	}
	fmt.Fprintf(w, "\nGOALS\n\n")
	table := [][]string{{"question", "goal", "measured", ""}}
	for _, g := range r.Goals() {
		table = append(table, []string{g.Question, strings.ReplaceAll(g.Want, "`", ""), g.Got, string(g.Verdict)})
	}
	align(w, table)
	for _, text := range warnings(r) {
		fmt.Fprintf(w, "\n%s\n", text)
	}
}

func benchmarkRows(list []timing.Benchmark) [][]string {
	table := [][]string{{"statement", "time", "memory", "allocations"}}
	for _, b := range list {
		table = append(table, []string{strings.ReplaceAll(b.Name, "_", " "), timing.Time(b.Time), timing.Memory(b.Bytes), timing.Number(int(b.Allocations))})
	}
	return table
}

// align writes columns two spaces apart.
func align(w io.Writer, table [][]string) {
	var widths []int
	for _, row := range table {
		for i, text := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(text))
		}
	}
	for _, row := range table {
		var line strings.Builder
		for i, text := range row {
			fmt.Fprintf(&line, "  %-*s", widths[i], text)
		}
		fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
	}
}

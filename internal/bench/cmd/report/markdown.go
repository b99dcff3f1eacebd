package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"sockql/internal/bench/timing"
)

// writeMarkdown writes the generated part of the page. Errors stay in w, which
// is memory.
func writeMarkdown(w io.Writer, r timing.Result) {
	fmt.Fprintf(w, "%s · %s, %d cores, %s of memory · Linux %s\n\n", r.Date, r.Host.CPU, r.Host.Cores, gibibytes(r.Host.Memory), r.Host.Kernel)
	var versions []string
	for _, v := range r.Versions {
		if v.Text != "" {
			versions = append(versions, v.Program+" "+v.Text)
		}
	}
	fmt.Fprintf(w, "%s\n", strings.Join(versions, " · "))
	for _, text := range warnings(r) {
		fmt.Fprintf(w, "\n**%s**\n", text)
	}

	fmt.Fprintf(w, "\n### Goals\n\n")
	table := [][]string{{"question", "goal", "measured", ""}}
	for _, g := range r.Goals() {
		table = append(table, []string{g.Question, g.Want, g.Got, string(g.Verdict)})
	}
	pipes(w, table)

	fmt.Fprintf(w, "\n### Time against the number of sockets\n\n")
	for _, c := range charts {
		fmt.Fprintf(w, "![%s](benchmarks/%s.svg)\n\n", c.title, c.file)
	}
	pipes(w, overview(r))

	fmt.Fprintf(w, "\n### In full\n")
	for _, l := range r.Loads {
		fmt.Fprintf(w, "\n<details><summary>%s</summary>\n\n", l.Title())
		var n notes
		for _, q := range l.Questions {
			fmt.Fprintf(w, "**%s**\n\n", q.Title)
			table := [][]string{rowNames}
			for _, row := range rowsOf(q, r.Floor, &n) {
				row.program = code(row.program)
				table = append(table, row.cells())
			}
			pipes(w, table)
			fmt.Fprintln(w)
		}
		if list := l.Benchmarks(); len(list) > 0 {
			fmt.Fprintf(w, "**in process**\n\n")
			pipes(w, benchmarkRows(list))
			fmt.Fprintln(w)
		}
		for i, text := range n {
			fmt.Fprintf(w, "[%d] on standard error: %s\n\n", i+1, text)
		}
		fmt.Fprintf(w, "</details>\n")
	}
}

// overview has a row for each program and question, and the median for each
// load.
func overview(r timing.Result) [][]string {
	head := []string{"question", "program"}
	for _, l := range r.Loads {
		head = append(head, columnTitle(l))
	}
	table := [][]string{head}
	if len(r.Loads) == 0 {
		return table
	}
	for _, q := range r.Loads[0].Questions {
		title := q.Title
		for _, a := range q.Answers {
			row := []string{title, code(a.Program)}
			for _, l := range r.Loads {
				there, _ := l.Question(q.Key).Answer(a.Program)
				row = append(row, rowOf(there, timing.Answer{}, 0, new(notes)).median)
			}
			table = append(table, row)
			title = ""
		}
	}
	return table
}

func code(text string) string { return "`" + text + "`" }

func gibibytes(n uint64) string { return fmt.Sprintf("%d GiB", (n+1<<29)>>30) }

// pipes writes a table of Markdown, whose first row is the head. A column that
// has nothing but its head is left out.
func pipes(w io.Writer, table [][]string) {
	var columns []int
	for i := range table[0] {
		if slices.ContainsFunc(table[1:], func(row []string) bool { return row[i] != "" }) {
			columns = append(columns, i)
		}
	}
	for n, row := range table {
		fmt.Fprint(w, "|")
		for _, i := range columns {
			fmt.Fprintf(w, " %s |", strings.ReplaceAll(row[i], "|", "\\|"))
		}
		fmt.Fprintln(w)
		if n == 0 {
			fmt.Fprintf(w, "|%s\n", strings.Repeat("---|", len(columns)))
		}
	}
}

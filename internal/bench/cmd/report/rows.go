package main

import (
	"fmt"
	"slices"
	"strings"

	"sockql/internal/bench/timing"
)

// A row is an answer in words.
type row struct {
	program, median, ends, cpu, peak, sockets, factor, remark string
}

func (r row) cells() []string {
	return []string{r.program, r.median, r.ends, r.cpu, r.peak, r.sockets, r.factor, r.remark}
}

var rowNames = []string{"program", "median", "min – max", "CPU", "peak", "sockets", "× sockql", "remark"}

// notes are remarks that stand below a table; a cell refers to them by number.
type notes []string

// number returns the number of a note, which it adds if it is new.
func (n *notes) number(text string) int {
	i := slices.Index(*n, text)
	if i < 0 {
		i = len(*n)
		*n = append(*n, text)
	}
	return i + 1
}

// rowOf describes an answer beside sockql's. floor is the least peak that can
// be told. What the program wrote to standard error goes to the notes.
func rowOf(a, sockql timing.Answer, floor int64, n *notes) row {
	r := row{program: a.Program, sockets: timing.Seen(a)}
	if ratio, atLeast := a.Times(sockql); ratio > 0 && a.Program != sockql.Program {
		r.factor = timing.Factor(ratio, atLeast)
	}
	var remarks []string
	if a.Limit > 0 {
		r.median = "> " + timing.Time(a.Limit)
		remarks = append(remarks, "ended at the limit")
	}
	if len(a.Runs) > 0 {
		wall, peak := a.Wall(), a.Peak().Max
		r.median, r.cpu = timing.Time(wall.Median), timing.Time(a.CPU().Median)
		r.ends = timing.Time(wall.Min) + " – " + timing.Time(wall.Max)
		if r.peak = timing.Memory(peak); peak <= floor {
			r.peak = "< " + timing.Memory(floor)
		}
		if a.Exit != 0 {
			remarks = append(remarks, fmt.Sprintf("exit status %d", a.Exit))
		}
	}
	if a.Remark != "" {
		remarks = append(remarks, fmt.Sprintf("[%d]", n.number(a.Remark)))
	}
	r.remark = strings.Join(remarks, " ")
	return r
}

func rowsOf(q timing.Question, floor int64, n *notes) []row {
	sockql, _ := q.Answer("sockql")
	var rows []row
	for _, a := range q.Answers {
		rows = append(rows, rowOf(a, sockql, floor, n))
	}
	return rows
}

// columnTitle is [timing.Load.Title] for the head of a table.
func columnTitle(l timing.Load) string {
	title := timing.Number(l.Sockets)
	if l.Namespaces > 1 {
		title += fmt.Sprintf(", %d namespaces", l.Namespaces)
	}
	return title
}

// warnings are what a reader of the figures must know.
func warnings(r timing.Result) []string {
	var list []string
	for _, l := range r.Loads {
		if n, ok := l.Others(); ok && n > l.Sockets/10 {
			list = append(list, fmt.Sprintf("The host had %s more sockets beside the load of %s: programs that look at the whole host appear slower.", timing.Number(n), timing.Number(l.Sockets)))
		}
	}
	if r.Busy > float64(r.Host.Cores)/4 {
		list = append(list, fmt.Sprintf("The machine was busy: %.1f processes were running on average in the minute before.", r.Busy))
	}
	if !r.Host.Root {
		list = append(list, "Measured without root: no namespaces, and the owners of other users' sockets are unknown to all programs.")
	}
	if !r.AsSet() {
		list = append(list, "The goals are set for 100,000 sockets.")
	}
	return list
}

package engine

import (
	"regexp"
	"strconv"
	"strings"
)

// A planLine is a line of EXPLAIN QUERY PLAN
// (https://www.sqlite.org/eqp.html). Lines come in the order of the program,
// so that of several loops with one parent each is within the one before.
type planLine struct {
	id, parent int64
	detail     string
	name       string // the alias of a loop over a virtual table
	number     int32  // of the choice of that table
	left       bool   // it is the right side of a LEFT JOIN
}

const virtualTable = " VIRTUAL TABLE INDEX "

func newPlanLine(id, parent int64, detail string) planLine {
	line := planLine{id: id, parent: parent, detail: detail}
	before, index, found := strings.Cut(detail, virtualTable)
	if !found {
		return line
	}
	digits, _, _ := strings.Cut(index, ":")
	if n, err := strconv.ParseInt(digits, 10, 32); err == nil {
		_, name, _ := strings.Cut(before, " ")
		line.number, line.name = int32(n), strings.TrimSuffix(name, " EXISTS")
		line.left = strings.HasSuffix(index, " LEFT-JOIN")
	}
	return line
}

// loops reports whether the lines that follow with the same parent are within
// this one.
func (l *planLine) loops() bool {
	return strings.HasPrefix(l.detail, "SCAN ") || strings.HasPrefix(l.detail, "SEARCH ") || l.detail == "MULTI-INDEX OR"
}

// nesting returns how deep each line is nested.
func nesting(lines []planLine) []int {
	depths := make([]int, len(lines))
	at := map[int64]int{}     // a line's depth by its id
	within := map[int64]int{} // the loops so far by their parent
	for i, l := range lines {
		if parent, ok := at[l.parent]; ok {
			depths[i] = parent + 1
		}
		switch {
		case l.loops():
			depths[i] += within[l.parent]
			within[l.parent]++
		case strings.HasPrefix(l.detail, "CORRELATED "):
			depths[i] += within[l.parent]
		}
		at[l.id] = depths[i]
	}
	return depths
}

// phrases say in words what SQLite's terse lines mean. The first that matches
// counts.
var phrases = []struct {
	line  *regexp.Regexp
	words string
}{
	{regexp.MustCompile(`^USE TEMP B-TREE FOR ORDER BY$`), "sort for ORDER BY"},
	{regexp.MustCompile(`^USE TEMP B-TREE FOR GROUP BY$`), "sort for GROUP BY"},
	{regexp.MustCompile(`^USE TEMP B-TREE FOR DISTINCT$`), "drop repeated rows for DISTINCT"},
	{regexp.MustCompile(`^USE TEMP B-TREE FOR LAST (.+) OF ORDER BY$`), "sort by the last $1 of ORDER BY"},
	{regexp.MustCompile(`^USE TEMP B-TREE FOR (.+)$`), "keep values for $1"},
	{regexp.MustCompile(`^CORRELATED SCALAR SUBQUERY (\d+)$`), "subquery $1, for each row around it"},
	{regexp.MustCompile(`^CORRELATED LIST SUBQUERY (\d+)$`), "list $1 of an IN, for each row around it"},
	{regexp.MustCompile(`^SCALAR SUBQUERY (\d+)$`), "subquery $1, once"},
	{regexp.MustCompile(`^LIST SUBQUERY (\d+)$`), "list $1 of an IN, once"},
	{regexp.MustCompile(`^REUSE LIST SUBQUERY (\d+)$`), "list $1 once more"},
	{regexp.MustCompile(`^REUSE SUBQUERY (\d+)$`), "subquery $1 once more"},
	{regexp.MustCompile(`^MATERIALIZE (.+)$`), "gather all rows of $1 first"},
	{regexp.MustCompile(`^CO-ROUTINE (.+)$`), "rows of $1 as they are needed"},
	{regexp.MustCompile(`^SCAN CONSTANT ROW$`), "one row of constants"},
	{regexp.MustCompile(`^SCAN (\d+) CONSTANT ROWS?$`), "$1 rows of constants"},
	{regexp.MustCompile(`^SCAN (.+?)(?: LEFT-JOIN)?$`), "each row of $1"},
	{regexp.MustCompile(`^SEARCH (.+) USING AUTOMATIC (?:PARTIAL )?(?:COVERING )?INDEX \((.+)\)`), "look up $1 by $2, in an index made for this statement"},
	{regexp.MustCompile(`^SEARCH (.+) USING .*INDEX .*\((.+)\)`), "look up $1 by $2"},
	{regexp.MustCompile(`^BLOOM FILTER ON (.+) \((.+)\)$`), "skip early what $1 lacks by $2"},
	{regexp.MustCompile(`^MULTI-INDEX OR$`), "alternatives of OR, one after the other"},
	{regexp.MustCompile(`^INDEX (\d+)$`), "alternative $1"},
	{regexp.MustCompile(`^RIGHT-JOIN (.+)$`), "rows of $1 that matched nothing"},
	{regexp.MustCompile(`^COMPOUND QUERY$`), "compound of queries"},
	{regexp.MustCompile(`^LEFT-MOST SUBQUERY$`), "first query"},
	{regexp.MustCompile(`^UNION ALL$`), "UNION ALL: further rows"},
	{regexp.MustCompile(`^(UNION|EXCEPT|INTERSECT) USING TEMP B-TREE$`), "$1: compares all rows"},
	{regexp.MustCompile(`^MERGE \((.+)\)$`), "$1: merges two sorted queries"},
	{regexp.MustCompile(`^SETUP$`), "first rows"},
	{regexp.MustCompile(`^RECURSIVE STEP$`), "further rows, from each row before"},
}

// words says what the line means.
func (l *planLine) words() string {
	if l.number > 0 {
		return "each row of " + l.name
	}
	for _, p := range phrases {
		if m := p.line.FindStringSubmatchIndex(l.detail); m != nil {
			text := string(p.line.ExpandString(nil, p.words, l.detail, m))
			return strings.ReplaceAll(text, "=?", "")
		}
	}
	return l.detail
}

// An instruction is a line of EXPLAIN (https://www.sqlite.org/opcode.html). Its
// address is its position.
type instruction struct {
	opcode     string
	p1, p2, p3 int64
	p4         string
}

type program []instruction

// A keeper says what counts the rows of a loop that passed SQLite's checks: the
// scans of the loop within, the rows of the result, or the number that it is.
type keeper struct {
	inner           int32
	result, counted bool // counted: without a FILTER clause
}

// keepers finds for each loop over a table, by the number of the table's
// choice, what counts the rows that it keeps. Where it cannot be told for
// sure, there is none.
func (p program) keepers(lines []planLine) map[int32]keeper {
	found := map[int32]keeper{}
	for i := range lines {
		if strings.HasPrefix(lines[i].detail, "RIGHT-JOIN") || lines[i].detail == "MULTI-INDEX OR" {
			return found
		}
	}
	spans := p.spans()
	plain := len(lines) > 0 // the statement is one nest of loops over tables
	var last *planLine
	for i := range lines {
		l := &lines[i]
		if l.number == 0 {
			plain = plain && l.detail == "USE TEMP B-TREE FOR ORDER BY"
			continue
		}
		plain = plain && l.parent == 0
		last = l
		if i+1 == len(lines) || lines[i+1].number == 0 || lines[i+1].parent != l.parent {
			continue
		}
		inner := lines[i+1].number
		if outer, ok := spans[l.number]; ok && p.directly(outer, spans[inner]) {
			found[l.number] = keeper{inner: inner}
		}
	}
	if !plain || last == nil || last.left {
		return found
	}
	switch {
	case p.count("ResultRow") != 1:
	case !p.has("AggStep", "AggStep1", "Count", "DecrJumpZero", "IfPos", "IfNotZero", "OffsetLimit", "Found", "NotFound", "NoConflict"):
		found[last.number] = keeper{result: true}
	case p.counts():
		found[last.number] = keeper{counted: true}
	}
	return found
}

// A span is the part of a program that runs for each row of a table.
type span struct{ start, end int }

// spans returns the loops over tables by the numbers of their choices, which
// stand in the register before the arguments of a scan.
func (p program) spans() map[int32]span {
	found := map[int32]span{}
	for start, filter := range p {
		if filter.opcode != "VFilter" {
			continue
		}
		number := int64(0)
		for at := start - 1; at >= 0; at-- {
			if p[at].opcode == "Integer" && p[at].p2 == filter.p3 {
				number = p[at].p1
				break
			}
		}
		for end := start + 1; end < len(p); end++ {
			if p[end].opcode == "VNext" && p[end].p1 == filter.p1 {
				if number > 0 {
					found[int32(number)] = span{start, end}
				}
				break
			}
		}
	}
	return found
}

// directly reports whether a loop begins once for each row of another that
// passes its checks: it is within it, and no further loop lies between.
func (p program) directly(outer, inner span) bool {
	if inner.start <= outer.start || inner.end >= outer.end {
		return false
	}
	for at := inner.end + 1; at < outer.end; at++ {
		switch p[at].opcode {
		case "Next", "Prev", "VNext", "SorterNext", "Goto", "Gosub":
			if to := int(p[at].p2); to > outer.start && to <= inner.start {
				return false
			}
		}
	}
	return true
}

// counts reports whether the result is count(*) of all rows that are kept, unless
// it has a FILTER clause, which looks like WHERE in a program.
func (p program) counts() bool {
	if p.count("AggStep") != 1 || p.has("AggStep1", "DecrJumpZero", "Gosub", "Compare", "SorterOpen", "Found", "NotFound") {
		return false
	}
	for at, step := range p {
		if step.opcode != "AggStep" {
			continue
		}
		final := at + 1
		for final < len(p) && p[final].opcode != "AggFinal" {
			final++
		}
		// Nothing is made of the number.
		for _, after := range p[min(final+1, len(p)):] {
			switch after.opcode {
			case "Copy", "SCopy":
			default:
				return step.p4 == "count(0)" && after.opcode == "ResultRow"
			}
		}
	}
	return false
}

func (p program) count(opcode string) int {
	n := 0
	for _, i := range p {
		if i.opcode == opcode {
			n++
		}
	}
	return n
}

func (p program) has(opcodes ...string) bool {
	for _, o := range opcodes {
		if p.count(o) > 0 {
			return true
		}
	}
	return false
}

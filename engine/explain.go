package engine

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"sockql/engine/internal/plan"
	"sockql/tables"
)

// An Explanation tells how a statement was answered. The statement ran, and its
// rows were dropped.
type Explanation struct {
	SQL string
	// Steps are what SQLite did, loops from the outside in.
	Steps []Step
	// Rows is the number of rows of the result.
	Rows int64
	// Elapsed is what the statement took, planning included, InTables how much
	// of it the tables' own code did. The rest is SQLite's and the engine's.
	Elapsed, InTables time.Duration
}

// A Step is a line of SQLite's plan.
type Step struct {
	// Depth says how deep it is nested: in loops, subqueries and views.
	Depth int
	// Text says in words what it does.
	Text string
	// Scan is what is known of a loop over a table; nil for other steps.
	Scan *Scan
}

// A Scan is a loop over a table. It may run more than once.
type Scan struct {
	ScanStats
	// Name is the table's own name, Alias that by which the statement calls it.
	Name, Alias string
	// Kept is how many of the rows that the table gave passed what SQLite
	// checked itself; -1 where it cannot be told.
	Kept int64
	// Source, Pushed, Namespaces and Snapshots are what the table told of
	// itself, see [tables.Account]: Source names all that answered, Pushed the
	// columns whose constraints reached the source, Namespaces counts those
	// collected by the scan that collected most. Snapshots counts the scans
	// that were answered from what the session had collected before.
	Source     string
	Pushed     []string
	Namespaces int
	Snapshots  int64
	// Accounted says that the table told anything of itself.
	Accounted bool
	// Checked are terms on the table that SQLite checked itself, row by row,
	// because the table did not take them.
	Checked []CheckedTerm
	// Narrowing names columns whose constraints the table would take, if no
	// term restricts the scan.
	Narrowing []string
	// Elapsed is the time that the table's code took.
	Elapsed time.Duration

	schema *tables.Schema
	lists  []string // columns of which it takes all values of an IN at once
	outer  bool     // it is the right side of a LEFT JOIN
}

// A CheckedTerm is a term that did not reach a table.
type CheckedTerm struct {
	SQL    string
	Reason string
}

// Explain runs the first statement of sql, drops its rows and tells how it was
// answered. What follows the statement is returned as tail. Without a statement
// the explanation is nil. With an error it tells what happened until then,
// unless the statement could not be prepared.
func (s *Session) Explain(sql string) (e *Explanation, tail string, err error) {
	x := explainer{session: s}
	start := time.Now()
	st, tail, err := x.prepare("", sql, &x.choices)
	elapsed := time.Since(start)
	if err != nil || st == nil {
		return nil, tail, err
	}
	defer func() {
		if e := st.Close(); err == nil {
			err = e
		}
	}()
	x.sql = strings.TrimSpace(sql[:len(sql)-len(tail)])
	if !st.raw.IsExplain() {
		// Before it runs: a table that it creates would be in the way.
		if err := x.readPlan(); err != nil {
			return nil, tail, err
		}
	}
	first := len(s.scans)
	e = &Explanation{SQL: x.sql}
	start = time.Now()
	for st.Next() {
		e.Rows++
		x.last = st.Value(0)
	}
	e.Elapsed = elapsed + time.Since(start)
	x.counts = s.scans[first:]
	x.describe(e)
	return e, tail, st.Err()
}

// A planned is one answer of a table to SQLite's planner.
type planned struct {
	module *module
	terms  []plan.Term
	choice plan.Choice
}

// An explainer gathers what an [Explanation] is made of.
type explainer struct {
	session *Session
	sql     string
	choices []planned // by number, counted from 1
	lines   []planLine
	program program
	counts  []*scanCount
	last    tables.Value // the first cell of the last row of the result
}

// prepare prepares a statement and notes in a list what tables were asked.
func (x *explainer) prepare(prefix, sql string, list *[]planned) (*Stmt, string, error) {
	c := x.session.conn
	c.planned = list
	defer func() { c.planned = nil }()
	return x.session.Prepare(prefix + sql)
}

// readPlan asks SQLite how it is going to run the statement. The planner asks
// tables the same each time, so the numbers of its choices are the same, too.
func (x *explainer) readPlan() error {
	for _, form := range []struct {
		prefix string
		take   func(*Stmt)
	}{
		{"EXPLAIN QUERY PLAN ", func(st *Stmt) {
			x.lines = append(x.lines, newPlanLine(st.Value(0).Int64(), st.Value(1).Int64(), st.Value(3).String()))
		}},
		{"EXPLAIN ", func(st *Stmt) {
			x.program = append(x.program, instruction{
				opcode: st.Value(1).String(),
				p1:     st.Value(2).Int64(), p2: st.Value(3).Int64(), p3: st.Value(4).Int64(), p4: st.Value(5).String(),
			})
		}},
	} {
		var again []planned
		st, _, err := x.prepare(form.prefix, x.sql, &again)
		if err != nil {
			return err
		}
		for st.Next() {
			form.take(st)
		}
		if err := st.Err(); err != nil {
			return err
		}
		if err := st.Close(); err != nil {
			return err
		}
		if len(again) != len(x.choices) {
			// Tables came or went: the numbers mean something else.
			x.choices, x.lines, x.program = nil, nil, nil
			return nil
		}
	}
	return nil
}

// describe brings the plan and what was counted together.
func (x *explainer) describe(e *Explanation) {
	counts := map[int32]*scanCount{}
	for _, n := range x.counts {
		counts[n.number] = n
		e.InTables += n.elapsed
	}
	conjuncts := conjunctsOf(x.sql)
	var scans []*Scan
	shown := map[int32]*Scan{}
	depths := nesting(x.lines)
	for i, line := range x.lines {
		step := Step{Depth: depths[i], Text: line.words()}
		if n := line.number; n > 0 && int(n) <= len(x.choices) {
			scan := newScan(&x.choices[n-1], line.name, counts[n])
			scan.outer = line.left
			step.Scan, shown[n] = scan, scan
			scans = append(scans, scan)
		}
		e.Steps = append(e.Steps, step)
	}
	// A statement that was planned anew while it ran has scans beside its plan.
	for _, n := range x.counts {
		if shown[n.number] == nil {
			scan := &Scan{ScanStats: n.ScanStats, Name: n.Table, Alias: n.Table, Kept: -1}
			n.report(scan)
			e.Steps = append(e.Steps, Step{Text: "each row of " + n.Table, Scan: scan})
		}
	}
	for n, k := range x.program.keepers(x.lines) {
		scan := shown[n]
		switch {
		case scan == nil:
		case k.inner > 0 && shown[k.inner] != nil:
			scan.Kept = shown[k.inner].Scans
		case k.result:
			scan.Kept = e.Rows
		case k.counted && !conjuncts.filter && e.Rows == 1 && x.last.Kind() == tables.KindInt:
			scan.Kept = x.last.Int64()
		}
		if scan != nil && scan.Kept > scan.Rows {
			scan.Kept = -1
		}
	}
	for _, line := range x.lines {
		if scan := shown[line.number]; scan != nil {
			scan.Checked = checkedTerms(x.choices[line.number-1].terms, scan, scans, conjuncts)
		}
	}
}

func newScan(p *planned, alias string, count *scanCount) *Scan {
	schema := p.module.schema
	scan := &Scan{Name: schema.Name, Alias: alias, Kept: -1, schema: schema}
	if count == nil { // it never ran
		scan.Table = p.module.name
		for _, a := range tableArgs(schema, p.choice.Plan.Args) {
			scan.Terms = append(scan.Terms, describe(schema, a))
		}
	} else {
		scan.ScanStats = count.ScanStats
		scan.Terms = slices.DeleteFunc(slices.Clone(count.written), func(term string) bool { return term == "" })
		count.report(scan)
	}
	for _, a := range p.choice.Plan.Args {
		if a.List {
			scan.lists = append(scan.lists, schema.Columns[a.Column].Name)
		}
	}
	if len(scan.Terms) == 0 {
		scan.Narrowing = narrowing(schema)
	}
	return scan
}

// narrowing names the columns whose constraints a table takes, those that it
// looks up by first.
func narrowing(schema *tables.Schema) []string {
	var first, rest []string
	for i := range schema.Columns {
		switch c := &schema.Columns[i]; {
		case c.Flags.Any(tables.Index | tables.Required):
			first = append(first, c.Name)
		case c.Flags.Any(tables.Constrainable):
			rest = append(rest, c.Name)
		}
	}
	return append(first, rest...)
}

// A scanCount counts the scans of a table by one plan.
type scanCount struct {
	ScanStats
	// The rest is noted only while the statement is explained.
	number     int32 // of the choice; 0 if nobody asks for an explanation
	elapsed    time.Duration
	written    []string // the terms, with their values as long as they are always the same
	sources    []string
	pushed     []string
	namespaces int
	snapshots  int64
	accounted  bool
}

// note keeps what a scan asks for.
func (n *scanCount) note(schema *tables.Schema, p plan.Plan, r *tables.Request) {
	terms := slices.Clone(n.Terms)
	constraints := r.Constraints
	for i, a := range tableArgs(schema, p.Args) {
		switch a.Op {
		case plan.OpLimit:
			terms[i] = fmt.Sprintf("LIMIT %d", r.Limit)
		case plan.OpOffset:
			terms[i] = "" // the limit counts what is left out
		default:
			terms[i] = writeTerm(schema, &constraints[0], a.List)
			constraints = constraints[1:]
		}
	}
	if n.written == nil {
		n.written = terms
		return
	}
	for i := range terms {
		if terms[i] != n.written[i] {
			n.written[i] = n.Terms[i]
		}
	}
}

// take keeps what a table tells of a scan.
func (n *scanCount) take(a tables.Account) {
	n.accounted = true
	if a.Source != "" && !slices.Contains(n.sources, a.Source) {
		n.sources = append(n.sources, a.Source)
	}
	for _, c := range a.Pushed {
		if !slices.Contains(n.pushed, c) {
			n.pushed = append(n.pushed, c)
		}
	}
	n.namespaces = max(n.namespaces, a.Namespaces)
	if a.Snapshot {
		n.snapshots++
	}
}

func (n *scanCount) report(scan *Scan) {
	scan.Source, scan.Pushed = strings.Join(n.sources, ", "), n.pushed
	scan.Namespaces, scan.Snapshots, scan.Accounted = n.namespaces, n.snapshots, n.accounted
	scan.Elapsed = n.elapsed
}

// writeTerm writes a term with its values.
func writeTerm(schema *tables.Schema, c *tables.Constraint, list bool) string {
	const most = 4
	name := schema.Columns[c.Column].Name
	if !list {
		return name + " " + c.Op.String() + " " + literal(c.Values[0])
	}
	var values []string
	for _, v := range c.Values[:min(len(c.Values), most)] {
		values = append(values, literal(v))
	}
	if more := len(c.Values) - most; more > 0 {
		values = append(values, fmt.Sprintf("… %d more", more))
	}
	return name + " IN (" + strings.Join(values, ", ") + ")"
}

// literal writes a value as SQL does, a long one cut.
func literal(v tables.Value) string {
	const most = 40
	switch v.Kind() {
	case tables.KindNull:
		return "NULL"
	case tables.KindText:
		text := v.String()
		if runes := []rune(text); len(runes) > most {
			text = string(runes[:most]) + "…"
		}
		return "'" + strings.ReplaceAll(text, "'", "''") + "'"
	case tables.KindBlob:
		text := v.String()
		return fmt.Sprintf("x'%x'", text[:min(len(text), most)])
	}
	return v.String()
}

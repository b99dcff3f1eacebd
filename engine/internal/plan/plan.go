// Package plan decides which terms of a WHERE clause a scan of a table takes
// and what such a scan costs. It knows nothing of SQLite but the meaning of
// its numbers (https://www.sqlite.org/vtab.html#the_xbestindex_method), so it
// is tested without it.
//
// It is pure: no state, no privilege, safe for concurrent use.
package plan

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"sockql/tables"
)

// The terms that are no comparison
// (https://www.sqlite.org/c3ref/c_index_constraint_eq.html).
const (
	OpLimit  tables.Op = 73
	OpOffset tables.Op = 74
)

// A Term is one term of a WHERE clause that SQLite offers to a table.
type Term struct {
	Column int // position in the schema; meaningless with OpLimit and OpOffset
	Op     tables.Op
	// Usable says that the right-hand side is known before the scan starts.
	Usable bool
	// Collation names the sequence by which the term compares texts.
	Collation string
	// List says that the term is an IN whose values can come all at once.
	List bool
}

// An Offer is one question of SQLite's planner.
type Offer struct {
	Terms []Term
	// Used has bit i set if the i-th column is read; bit 63 stands for the
	// 64th column and all beyond it.
	Used uint64
	// Ordered says that the rows will be sorted afterwards.
	Ordered bool
	// Distinct is what sqlite3_vtab_distinct returns
	// (https://www.sqlite.org/c3ref/vtab_distinct.html).
	Distinct int
}

// An Arg is one argument of a scan, in the order in which SQLite hands them
// over.
type Arg struct {
	Column int
	Op     tables.Op
	List   bool // the argument is a list of values
}

// A Plan is what a scan has to know beside the values of its arguments.
type Plan struct {
	Args     []Arg
	Used     uint64
	Distinct bool
}

// A Choice is the answer to an [Offer].
type Choice struct {
	Plan Plan
	// Take holds, for each term of the offer, the position of its argument
	// counted from 1, or 0 if the scan does not take it.
	Take []int
	Cost float64 // in SQLite's unit, about one seek
	Rows int64
	// Number comes back with each scan beside the plan, and EXPLAIN QUERY PLAN
	// shows it. [Choose] leaves it 0.
	Number int32
	// Missing names the first required column, if no term of this plan
	// restricts any.
	Missing string
	// Unusable says that another order of the join restricts the missing
	// column: SQLite should look for that.
	Unusable bool
}

// What a scan is taken to cost. Only the relations matter: a look-up by an
// index is cheaper than one by an additional column, which may still have to
// read what it then leaves out, and both are far cheaper than reading all.
const (
	fullRows  = 100_000
	fullCost  = 1_000_000.0
	indexRows = 4
	indexCost = 40.0
	equalRows = 40
	equalCost = 1_000.0
	// One scan for all values of a list is cheaper than two scans for one each.
	// Reading all for a term that the engine looks up is hardly cheaper than
	// reading all; two such scans for the sides of an OR are dearer.
	ownCost  = 0.9 * fullCost
	listRows = 25
	listCost = 1.5
)

// Choose answers an offer for a table. It takes every usable term of a column
// that has one of [tables.Constrainable]: a term only narrows, and SQLite
// checks each one again. It also takes what the engine can look up in a copy of
// the table, see [Own].
func Choose(schema *tables.Schema, offer Offer) Choice {
	c := Choice{
		Plan: Plan{Used: offer.Used, Distinct: offer.Distinct >= 2},
		Take: make([]int, len(offer.Terms)),
	}
	for i, t := range offer.Terms {
		if t.Usable && (takes(schema, t) || own(schema, t)) {
			c.take(i, Arg{Column: t.Column, Op: t.Op, List: t.List})
		}
	}
	c.limit(offer)
	c.estimate(schema)
	c.require(schema, offer)
	return c
}

func (c *Choice) take(term int, a Arg) {
	c.Plan.Args = append(c.Plan.Args, a)
	c.Take[term] = len(c.Plan.Args)
}

// takes reports whether a table can use a term.
func takes(schema *tables.Schema, t Term) bool {
	if t.Column < 0 || t.Column >= len(schema.Columns) {
		return false
	}
	column := &schema.Columns[t.Column]
	if !column.Flags.Any(tables.Constrainable) {
		return false
	}
	switch t.Op {
	case tables.OpEq, tables.OpIs, tables.OpLT, tables.OpLE, tables.OpGT, tables.OpGE:
		// A table compares texts byte by byte. Under another collation rows
		// would be lost, unless the column is required: its values say what
		// to read, and its author declared the collation.
		return column.Flags.Has(tables.Required) || bytewise(schema, t)
	case tables.OpLike, tables.OpGlob:
		return true
	}
	return false
}

// Own reports whether an argument is for the engine alone: the table cannot look
// up by its column.
func Own(schema *tables.Schema, a Arg) bool {
	return a.Column >= 0 && a.Column < len(schema.Columns) && !schema.Columns[a.Column].Flags.Any(tables.Constrainable)
}

// own reports whether the engine can look a term up in a copy of the table.
func own(schema *tables.Schema, t Term) bool {
	return t.Op == tables.OpEq && !t.List && Own(schema, Arg{Column: t.Column}) && bytewise(schema, t)
}

// Key reports whether an argument names one value of a column, and rows that
// have another may be left out or not: what scans with different values return
// is then a part of what a scan without the term returns.
func Key(schema *tables.Schema, a Arg) bool {
	return a.Op == tables.OpEq && !a.List && !schema.Columns[a.Column].Flags.Any(tables.Required|tables.Additional)
}

// bytewise reports whether a term compares texts as tables and the engine do.
func bytewise(schema *tables.Schema, t Term) bool {
	return schema.Columns[t.Column].Type != tables.Text || t.Collation == "" || strings.EqualFold(t.Collation, "BINARY")
}

// Refusal says why a table does not take a usable term, or "" if it does.
func Refusal(schema *tables.Schema, t Term) string {
	if t.Column < 0 || t.Column >= len(schema.Columns) {
		return "rowid is the engine's own"
	}
	column := &schema.Columns[t.Column]
	switch {
	case takes(schema, t):
		return ""
	case !column.Flags.Any(tables.Constrainable):
		return "the table cannot look up by " + column.Name
	case !slices.Contains(comparisons, t.Op):
		return "no table takes this operator"
	}
	return "it compares with the collation " + t.Collation
}

// comparisons are the operators that a table can take.
var comparisons = []tables.Op{
	tables.OpEq, tables.OpIs, tables.OpLT, tables.OpLE, tables.OpGT, tables.OpGE, tables.OpLike, tables.OpGlob,
}

// limit takes LIMIT and OFFSET if nothing else decides which rows count: a
// table returns a superset, of which SQLite may drop rows again.
func (c *Choice) limit(offer Offer) {
	limit, offset := -1, -1
	for i, t := range offer.Terms {
		switch {
		case t.Op == OpLimit && t.Usable:
			limit = i
		case t.Op == OpOffset && t.Usable:
			offset = i
		default:
			return
		}
	}
	if limit < 0 || offer.Ordered || offer.Distinct != 0 {
		return
	}
	c.take(limit, Arg{Op: OpLimit})
	if offset >= 0 {
		c.take(offset, Arg{Op: OpOffset})
	}
}

func (c *Choice) estimate(schema *tables.Schema) {
	cost, rows := fullCost, int64(fullRows)
	for _, a := range c.Plan.Args {
		if a.Op == OpLimit || a.Op == OpOffset {
			continue
		}
		flags := schema.Columns[a.Column].Flags
		n, times := int64(1), 1.0
		if a.List {
			n, times = listRows, listCost
		}
		switch a.Op {
		case tables.OpEq, tables.OpIs:
			if Own(schema, a) {
				// All of the table is read, once; but few rows are left.
				cost, rows = min(cost, ownCost), min(rows, equalRows)
				break
			}
			if flags.Any(tables.Index | tables.Required) {
				cost, rows = min(cost, indexCost*times), min(rows, indexRows*n)
			} else {
				cost, rows = min(cost, equalCost*times), min(rows, equalRows*n)
			}
		default:
			cost, rows = cost*0.9, max(rows*9/10, 1)
		}
	}
	c.Cost, c.Rows = cost, rows
}

// require looks for a term that names the values of a required column. Of
// several required columns one is enough, as in osquery.
func (c *Choice) require(schema *tables.Schema, offer Offer) {
	for i := range schema.Columns {
		if !schema.Columns[i].Flags.Has(tables.Required) {
			continue
		}
		if slices.ContainsFunc(c.Plan.Args, func(a Arg) bool { return a.Column == i && names(a.Op) }) {
			c.Missing, c.Unusable = "", false
			return
		}
		if c.Missing == "" {
			c.Missing = schema.Columns[i].Name
		}
		c.Unusable = c.Unusable || slices.ContainsFunc(offer.Terms, func(t Term) bool {
			return t.Column == i && !t.Usable && names(t.Op)
		})
	}
	if c.Missing != "" {
		// Any other way is better: this one ends in an error.
		c.Cost, c.Rows = 1e12, 1<<40
	}
}

// names reports whether a term names values or patterns of its column.
func names(op tables.Op) bool {
	switch op {
	case tables.OpEq, tables.OpIs, tables.OpLike, tables.OpGlob:
		return true
	}
	return false
}

// String encodes the plan for SQLite to keep, which hands it back to each scan:
// the used columns in hexadecimal, a d where equal rows may be dropped, then
// an operator number and a column for each argument, an i before a list.
func (p Plan) String() string {
	b := strconv.AppendUint(nil, p.Used, 16)
	if p.Distinct {
		b = append(b, " d"...)
	}
	for _, a := range p.Args {
		b = append(b, ' ')
		if a.List {
			b = append(b, 'i')
		}
		b = strconv.AppendUint(b, uint64(a.Op), 10)
		b = append(b, ':')
		b = strconv.AppendInt(b, int64(a.Column), 10)
	}
	return string(b)
}

// Parse decodes what [Plan.String] wrote.
func Parse(s string) (Plan, error) {
	var p Plan
	used, rest, more := strings.Cut(s, " ")
	var err error
	if p.Used, err = strconv.ParseUint(used, 16, 64); err != nil {
		return Plan{}, fmt.Errorf("plan: parse %q: used columns: %w", s, err)
	}
	for more {
		var field string
		field, rest, more = strings.Cut(rest, " ")
		if field == "d" {
			p.Distinct = true
			continue
		}
		var a Arg
		field, a.List = strings.CutPrefix(field, "i")
		op, column, found := strings.Cut(field, ":")
		if !found {
			return Plan{}, fmt.Errorf("plan: parse %q: argument %q", s, field)
		}
		n, err := strconv.ParseUint(op, 10, 8)
		if err != nil {
			return Plan{}, fmt.Errorf("plan: parse %q: operator: %w", s, err)
		}
		a.Op = tables.Op(n)
		if a.Column, err = strconv.Atoi(column); err != nil {
			return Plan{}, fmt.Errorf("plan: parse %q: column: %w", s, err)
		}
		p.Args = append(p.Args, a)
	}
	return p, nil
}

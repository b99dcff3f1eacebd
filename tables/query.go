package tables

import (
	"context"
	"fmt"
	"iter"
	"slices"
)

// Op is a comparison of a [Constraint]. The numbers are SQLite's
// (https://www.sqlite.org/c3ref/c_index_constraint_eq.html), which osquery's
// extension protocol uses too.
type Op uint8

// The comparisons that reach a table.
const (
	OpEq   Op = 2  // =, and all values of an IN list
	OpGT   Op = 4  // >
	OpLE   Op = 8  // <=
	OpLT   Op = 16 // <
	OpGE   Op = 32 // >=
	OpLike Op = 65 // LIKE with two operands; ASCII letters match in either case
	OpGlob Op = 66 // GLOB
	OpIs   Op = 72 // IS
)

// String returns the operator as SQL writes it.
func (o Op) String() string {
	switch o {
	case OpEq:
		return "="
	case OpGT:
		return ">"
	case OpLE:
		return "<="
	case OpLT:
		return "<"
	case OpGE:
		return ">="
	case OpLike:
		return "LIKE"
	case OpGlob:
		return "GLOB"
	case OpIs:
		return "IS"
	}
	return fmt.Sprintf("operator %d", uint8(o))
}

// A Constraint is one term of a WHERE clause as it was handed over: values
// carry no affinity of the column yet. Terms hold together, the values of one
// term are alternatives.
type Constraint struct {
	Column int // position in the schema
	Op     Op
	Values []Value // one; with OpEq any number
}

// A Request is what a caller asks of a table; [NewQuery] makes a [Query] of it.
// The zero Request asks for every row and no column.
type Request struct {
	// Used has bit i set if the i-th column is read; bit 63 stands for the
	// 64th column and all beyond it.
	Used uint64
	// Constraints all hold for the rows that matter.
	Constraints []Constraint
	// Distinct says that the number of equal rows cannot be seen in the result.
	Distinct bool
	// Limit, where HasLimit, is a number of rows after which nobody reads on.
	Limit    int64
	HasLimit bool
}

// AllUsed is the [Request.Used] of a caller that reads every column.
const AllUsed = ^uint64(0)

// A Query is one question to one table.
type Query struct {
	session *Session
	schema  *Schema
	request Request
	narrow  []narrowed // the columns that have a constraint
	empty   bool
	account func(Account) // nil if nobody listens
}

// narrowed is what constraints leave of one column. A query has a handful, so
// that looking for one costs less than a slice as wide as the table, which the
// inside of a join would need for each row of the outside.
type narrowed struct {
	column int
	set    Set
}

// NewQuery brings the constraints of a request to the columns' types. The
// request's slices must not change afterwards.
func NewQuery(s *Session, schema *Schema, r Request) *Query {
	q := &Query{session: s, schema: schema, request: r}
	if len(r.Constraints) == 0 {
		return q
	}
	q.narrow = make([]narrowed, 0, len(r.Constraints))
	for _, c := range r.Constraints {
		if c.Column < 0 || c.Column >= len(schema.Columns) {
			continue
		}
		set := q.setOf(c.Column)
		if set == nil {
			q.narrow = append(q.narrow, narrowed{column: c.Column, set: everything})
			set = &q.narrow[len(q.narrow)-1].set
		}
		set.restrict(schema.Columns[c.Column].Type, c)
		q.empty = q.empty || set.Empty()
	}
	return q
}

func (q *Query) setOf(col int) *Set {
	for i := range q.narrow {
		if q.narrow[i].column == col {
			return &q.narrow[i].set
		}
	}
	return nil
}

// Session returns the session that the query belongs to.
func (q *Query) Session() *Session { return q.session }

// Schema returns the schema of the table that is asked.
func (q *Query) Schema() *Schema { return q.schema }

// Used reports whether the column at this position is read.
func (q *Query) Used(col int) bool { return q.request.Used&(1<<min(col, 63)) != 0 }

// Set returns what the constraints leave of a column.
func (q *Query) Set(col int) Set {
	if set := q.setOf(col); set != nil {
		return *set
	}
	return everything
}

// Equal yields the values to which constraints restrict a column, each once,
// in the column's type. It yields none if they do not restrict it to a list:
// a query that can match nothing never reaches a table.
func (q *Query) Equal(col int) iter.Seq[Value] {
	values, _ := q.Set(col).Values()
	return slices.Values(values)
}

// Constraints returns the terms as they were handed over.
func (q *Query) Constraints() []Constraint { return q.request.Constraints }

// Empty reports whether no row can satisfy the constraints.
func (q *Query) Empty() bool { return q.empty }

// Distinct reports whether a table may drop rows whose used columns equal
// those of another row.
func (q *Query) Distinct() bool { return q.request.Distinct }

// Limit returns a number of rows after which nobody reads on, if there is one.
func (q *Query) Limit() (n int64, ok bool) { return q.request.Limit, q.request.HasLimit }

// Warn says that the result is partial, and why. Each text is shown once a
// session.
func (q *Query) Warn(err error) { q.session.Warn(err) }

// Missing returns the name of the first required column, if the table has any
// and no constraint names values or patterns of one: a table that takes a path
// or a directory needs either, as in osquery.
func (q *Query) Missing() (column string, missing bool) {
	for i := range q.schema.Columns {
		c := &q.schema.Columns[i]
		if !c.Flags.Has(Required) {
			continue
		}
		if slices.ContainsFunc(q.request.Constraints, func(k Constraint) bool {
			return k.Column == i && (k.Op == OpEq || k.Op == OpIs || k.Op == OpLike || k.Op == OpGlob)
		}) {
			return "", false
		}
		if !missing {
			column, missing = c.Name, true
		}
	}
	return column, missing
}

// A RequiredError says that a table was asked without a column that it needs.
// Its text is osquery's.
type RequiredError struct{ Table, Column string }

func (e *RequiredError) Error() string {
	return "Table " + e.Table + " was queried without a required column in the WHERE clause"
}

// A PanicError is a panic of a table, turned into the error of one statement.
type PanicError struct {
	Table string
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("table %s: panic: %v", e.Table, e.Value) }

// ErrUnavailable says that a source of rows does not exist on this host. Errors
// that wrap it name the remedy.
var ErrUnavailable = fmt.Errorf("source unavailable")

// Context returns a context that ends with ctx and with the session.
func (q *Query) Context(ctx context.Context) (context.Context, context.CancelFunc) {
	if ctx == q.session.ctx {
		return context.WithCancel(ctx)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(q.session.ctx, func() { cancel(context.Cause(q.session.ctx)) })
	return ctx, func() { stop(); cancel(nil) }
}

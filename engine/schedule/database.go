package schedule

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"sockql/engine"
	"sockql/engine/resultlog"
	"sockql/tables"
)

// A Database answers SQL.
type Database interface {
	// Begin starts a session that ends with ctx.
	Begin(ctx context.Context) Session
}

// A Session runs statements one after the other, which share what tables
// collect.
type Session interface {
	// Query runs all statements of sql. Out takes the rows of those that have
	// columns.
	Query(sql string, out Output) error
	// Check compiles the statements of sql without running them.
	Check(sql string) error
	// TakeWarnings returns the warnings since the last call.
	TakeWarnings() []error
	Close() error
}

// An Output takes the rows of statements.
type Output interface {
	// Columns begins with another statement, in whose place those before do not
	// count.
	Columns(names []string)
	// Row takes a row, which it may not keep. Its error ends the query.
	Row(values []tables.Value) error
}

// A Result keeps the first rows of a statement.
type Result struct {
	names []string
	rows  [][]tables.Value
}

// keptRows are enough to know that there was a second one.
const keptRows = 2

// Columns begins with another statement.
func (r *Result) Columns(names []string) { r.names, r.rows = names, nil }

// Row keeps a row, or does not.
func (r *Result) Row(values []tables.Value) error {
	if len(r.rows) < keptRows {
		r.rows = append(r.rows, slices.Clone(values))
	}
	return nil
}

// output makes rows of the log.
type output struct {
	rows    *resultlog.Rows
	control bool
	limit   int64 // bytes, or 0
}

func (o *output) Columns(names []string) { o.rows = resultlog.NewRows(names, o.control) }

func (o *output) Row(values []tables.Value) error {
	o.rows.Add(values)
	if o.limit > 0 && o.rows.Bytes() > o.limit {
		return fmt.Errorf("%w of %d bytes", ErrTooLarge, o.limit)
	}
	return nil
}

// ErrTooLarge says that a result was larger than the limit.
var ErrTooLarge = errors.New("the result is larger than the limit")

// Conn returns the database behind a connection of the engine.
func Conn(c *engine.Conn) Database { return database{c} }

type database struct{ conn *engine.Conn }

func (d database) Begin(ctx context.Context) Session { return session{d.conn.Begin(ctx)} }

type session struct{ *engine.Session }

func (s session) Query(sql string, out Output) error {
	for sql != "" {
		st, tail, err := s.Prepare(sql)
		if err != nil {
			return err
		}
		sql = tail
		if st == nil {
			continue
		}
		if err := run(st, out); err != nil {
			return err
		}
	}
	return nil
}

func run(st *engine.Stmt, out Output) error {
	defer st.Close()
	if columns := st.Columns(); len(columns) > 0 {
		names := make([]string, len(columns))
		for i, c := range columns {
			names[i] = c.Name
		}
		out.Columns(names)
	}
	var row []tables.Value
	for st.Next() {
		row = st.AppendRow(row[:0])
		if err := out.Row(row); err != nil {
			return err
		}
	}
	return st.Err()
}

func (s session) Check(sql string) error {
	for sql != "" {
		st, tail, err := s.Prepare(sql)
		if err != nil {
			return err
		}
		if st != nil {
			st.Close()
		}
		sql = tail
	}
	return nil
}

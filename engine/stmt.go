package engine

import (
	"context"
	"fmt"

	"sockql/engine/internal/sqlite"
	"sockql/tables"
)

// A ResultColumn describes a column of a result.
type ResultColumn struct {
	Name string
	// DeclType is the declared type of a table's column, and empty for an
	// expression.
	DeclType string
	// Table and Column name the origin of a table's column, through views and
	// subqueries, and are empty for an expression.
	Table, Column string
}

// A Stmt is a prepared statement. It is run once.
type Stmt struct {
	session      *Session
	raw          *sqlite.Stmt
	columns      []ResultColumn
	row          []tables.Value
	scans        map[scanKey]*scanCount
	instructions int64
	copied       int // bytes of snapshots
	done, closed bool
	err          error
}

// Columns describes the result; it is empty for a statement without one, such
// as CREATE VIEW.
func (st *Stmt) Columns() []ResultColumn { return st.columns }

// Next runs the statement to its next row and reports whether there is one. If
// not, [Stmt.Err] tells why, and no scan of the statement runs any more.
func (st *Stmt) Next() bool {
	if st.closed && st.err == nil {
		st.err = ErrClosed
	}
	if st.done {
		return false
	}
	c := st.session.conn
	if err := c.enter(); err != nil {
		st.err = err
		return false
	}
	defer c.leave()
	st.row = st.row[:0]
	c.running, c.session = st, st.session
	more, err := false, context.Cause(st.session.ctx)
	if err != nil {
		err = &sqlite.Error{Code: codeInterrupt, Extended: codeInterrupt, Offset: -1, Err: err}
	} else {
		more, err = st.raw.Step()
	}
	if more {
		st.row, err = st.raw.Row(st.row)
		if err == nil {
			return true
		}
		st.row = nil
	}
	st.done = true
	if err != nil {
		st.err = c.wrap(st.session.ctx, err)
	}
	st.raw.Reset()
	return false
}

// Err returns the error that ended the statement: an [*Error], [ErrBusy] or
// [ErrClosed].
func (st *Stmt) Err() error { return st.err }

// Value returns the i-th cell of the current row, or NULL if there is no such
// cell. It is a copy that stays valid.
//
// Texts of several cells share an allocation, so that copying costs little.
// Keeping a few of very many rows is better done with [strings.Clone].
func (st *Stmt) Value(i int) tables.Value {
	if i < 0 || i >= len(st.row) {
		return tables.Null()
	}
	return st.row[i]
}

// AppendRow appends the cells of the current row to dst.
func (st *Stmt) AppendRow(dst []tables.Value) []tables.Value { return append(dst, st.row...) }

// Collect runs the statement to its end and returns the rows that are left. The
// error is that of [Stmt.Err], or an [*Error] that wraps [ErrTooLarge].
func (st *Stmt) Collect() ([][]tables.Value, error) {
	var rows [][]tables.Value
	room := st.session.conn.limits.ResultBytes
	for st.Next() {
		row := st.AppendRow(nil)
		room -= rowBytes + cap(row)*cellBytes
		for i := range row {
			if text, ok := row[i].Literal(); ok {
				room -= len(text)
			}
		}
		if room < 0 {
			return nil, &Error{
				Code: codeTooBig, ExtendedCode: codeTooBig, Offset: -1, Err: ErrTooLarge,
				Message: fmt.Sprintf("%v: it may have %d MiB; ask for fewer rows or columns", ErrTooLarge, st.session.conn.limits.ResultBytes>>20),
			}
		}
		rows = append(rows, row)
	}
	return rows, st.Err()
}

// rowBytes is what a row takes beside its cells.
const rowBytes = 24

// Close ends the statement. A second call does nothing.
func (st *Stmt) Close() error {
	if err := st.session.conn.enter(); err != nil {
		return err
	}
	defer st.session.conn.leave()
	st.session.conn.session = st.session
	st.close()
	return nil
}

func (st *Stmt) close() {
	if st.closed {
		return
	}
	st.closed, st.done, st.row = true, true, nil
	delete(st.session.stmts, st)
	st.raw.Close()
}

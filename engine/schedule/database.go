package schedule

import (
	"context"
	"errors"

	"sockql/engine"
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
	// Query runs all statements of sql and returns the rows of the last one
	// that has columns. It fails with [ErrTooLarge] if they take more bytes
	// than the limit, unless that is 0.
	Query(sql string, limit int64) (*Result, error)
	// Check compiles the statements of sql without running them.
	Check(sql string) error
	// TakeWarnings returns the warnings since the last call.
	TakeWarnings() []error
	Close() error
}

// A Result holds the rows of a statement.
type Result struct {
	Columns []string
	Rows    [][]tables.Value
}

// ErrTooLarge says that a result was larger than the limit.
var ErrTooLarge = errors.New("the result is larger than the limit")

// Conn returns the database behind a connection of the engine.
func Conn(c *engine.Conn) Database { return database{c} }

type database struct{ conn *engine.Conn }

func (d database) Begin(ctx context.Context) Session { return session{d.conn.Begin(ctx)} }

type session struct{ *engine.Session }

func (s session) Query(sql string, limit int64) (*Result, error) {
	res := &Result{}
	for sql != "" {
		st, tail, err := s.Prepare(sql)
		if err != nil {
			return nil, err
		}
		sql = tail
		if st == nil {
			continue
		}
		if err := s.run(st, res, limit); err != nil {
			return nil, err
		}
	}
	return res, nil
}

func (s session) run(st *engine.Stmt, res *Result, limit int64) error {
	defer st.Close()
	if columns := st.Columns(); len(columns) > 0 {
		*res = Result{}
		for _, c := range columns {
			res.Columns = append(res.Columns, c.Name)
		}
	}
	// A cell takes 32 bytes beside its text.
	const cell = 32
	var size int64
	for st.Next() {
		row := st.AppendRow(nil)
		size += int64(len(row)) * cell
		for _, v := range row {
			if text, ok := v.Literal(); ok {
				size += int64(len(text))
			}
		}
		if limit > 0 && size > limit {
			return ErrTooLarge
		}
		res.Rows = append(res.Rows, row)
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

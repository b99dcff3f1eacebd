package engine

import (
	"context"
	"slices"

	"sockql/tables"
)

// A Session is what statements have in common that run one after the other: a
// context, warnings, and whatever tables collected for them. A prompt begins
// one for each line, a scheduler one for each tick.
type Session struct {
	conn   *Conn
	ctx    context.Context
	cancel context.CancelCauseFunc
	inner  *tables.Session
	stmts  map[*Stmt]struct{}
	scans  []*scanCount
	closed bool
}

// ScanStats tells how often and how much a statement read a table by one plan.
type ScanStats struct {
	// Table is the name by which the statement knows the table.
	Table string
	// Terms are the constraints that the table was given, as SQL writes them
	// with a question mark for a value, such as "pid = ?" or "pid IN (…)".
	Terms []string
	// Scans counts how often SQLite scanned the table, and Copied how often
	// it read a copy instead, because it had asked the same before.
	Scans, Copied int64
	// Indexed counts those of Copied that looked rows up in the copy by an
	// index, because they differed in nothing but the values of some columns.
	Indexed int64
	// Rows counts the rows that SQLite was given, some of which it may have
	// dropped.
	Rows int64
}

// Begin starts a session that ends with ctx. The caller closes it.
func (c *Conn) Begin(ctx context.Context) *Session {
	ctx, cancel := context.WithCancelCause(ctx)
	return &Session{
		conn: c, ctx: ctx, cancel: cancel,
		inner: tables.NewSession(ctx),
		stmts: map[*Stmt]struct{}{},
	}
}

// TakeWarnings returns the warnings since the last call, oldest first.
func (s *Session) TakeWarnings() []error { return s.inner.TakeWarnings() }

// Scans returns what the session's statements read so far, in the order in
// which they began.
func (s *Session) Scans() []ScanStats {
	stats := make([]ScanStats, len(s.scans))
	for i, scan := range s.scans {
		stats[i] = scan.ScanStats
		stats[i].Terms = slices.Clone(scan.Terms)
	}
	return stats
}

// Prepare compiles the first statement of sql and returns what follows it. The
// statement is nil if there is only white space and comments. The error is an
// [*Error], [ErrBusy] or [ErrClosed].
func (s *Session) Prepare(sql string) (st *Stmt, tail string, err error) {
	c := s.conn
	if err := c.enter(); err != nil {
		return nil, "", err
	}
	defer c.leave()
	if s.closed || c.closed {
		return nil, "", ErrClosed
	}
	if err := c.catchUp(); err != nil {
		return nil, "", err
	}
	c.sessions[s] = struct{}{}
	c.session, c.missing = s, nil
	clear(c.call.Cache)
	raw, tail, err := c.db.Prepare(sql)
	if err != nil {
		return nil, "", c.wrap(s.ctx, err)
	}
	if raw == nil {
		return nil, tail, nil
	}
	st = &Stmt{session: s, raw: raw}
	s.stmts[st] = struct{}{}
	for i := range raw.Columns() {
		table, column := raw.Origin(i)
		st.columns = append(st.columns, ResultColumn{
			Name: raw.Name(i), DeclType: raw.DeclType(i), Table: table, Column: column,
		})
	}
	return st, tail, nil
}

// Close closes the session with its statements and releases what tables
// collected. A second call does nothing.
func (s *Session) Close() error {
	if err := s.conn.enter(); err != nil {
		return err
	}
	defer s.conn.leave()
	return s.close()
}

func (s *Session) close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	delete(s.conn.sessions, s)
	s.conn.session = s
	for st := range s.stmts {
		st.close()
	}
	s.cancel(ErrClosed)
	return s.inner.Close()
}

package sqlite

import (
	"strings"
	"unsafe"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"

	"sockql/tables"
)

// A Stmt is a prepared statement.
type Stmt struct {
	conn *Conn
	p    uintptr
	cols int
}

// Prepare compiles the first statement of sql and returns what follows it. The
// statement is nil if there is only white space and comments.
func (c *Conn) Prepare(sql string) (st *Stmt, tail string, err error) {
	if i := strings.IndexByte(sql, 0); i >= 0 {
		return nil, "", &Error{Code: lib.SQLITE_ERROR, Extended: lib.SQLITE_ERROR, Offset: i, Message: `unrecognized token: "\x00"`}
	}
	text, err := libc.CString(sql)
	if err != nil {
		return nil, "", ErrOutOfMemory
	}
	defer libc.Xfree(c.tls, text)
	slots := unsafe.Slice(at[uintptr](c.out), 2)
	slots[0], slots[1] = 0, text
	rc := lib.Xsqlite3_prepare_v2(c.tls, c.db, text, int32(min(len(sql)+1, 1<<31-1)), c.out, c.out+unsafe.Sizeof(uintptr(0)))
	if err := c.check(rc); err != nil {
		return nil, "", err
	}
	tail = sql[min(slots[1]-text, uintptr(len(sql))):]
	if slots[0] == 0 {
		return nil, tail, nil
	}
	st = &Stmt{conn: c, p: slots[0]}
	st.cols = int(lib.Xsqlite3_column_count(c.tls, st.p))
	return st, tail, nil
}

// Step runs the statement to its next row and reports whether there is one.
func (s *Stmt) Step() (row bool, err error) {
	switch rc := lib.Xsqlite3_step(s.conn.tls, s.p); rc {
	case lib.SQLITE_ROW:
		return true, nil
	case lib.SQLITE_DONE:
		s.conn.failure = nil
		return false, nil
	default:
		return false, s.conn.check(rc)
	}
}

// Bind sets the parameters of a statement that does not run, from the first on.
// They keep their values when it is reset.
func (s *Stmt) Bind(args ...tables.Value) error {
	for i := range args {
		if err := s.bind(int32(i+1), &args[i]); err != nil {
			return err
		}
	}
	return nil
}

func (s *Stmt) bind(i int32, v *tables.Value) error {
	c := s.conn
	switch v.Kind() {
	case tables.KindInt:
		return c.check(lib.Xsqlite3_bind_int64(c.tls, s.p, i, v.Int64()))
	case tables.KindFloat:
		return c.check(lib.Xsqlite3_bind_double(c.tls, s.p, i, v.Float64()))
	case tables.KindText, tables.KindBlob:
		p, n, free := c.export(v)
		if p == 0 {
			return ErrOutOfMemory
		}
		if v.Kind() == tables.KindText {
			return c.check(lib.Xsqlite3_bind_text64(c.tls, s.p, i, p, n, free, lib.SQLITE_UTF8))
		}
		return c.check(lib.Xsqlite3_bind_blob64(c.tls, s.p, i, p, n, free))
	}
	return c.check(lib.Xsqlite3_bind_null(c.tls, s.p, i))
}

// Reset ends the statement's run and closes its cursors.
func (s *Stmt) Reset() {
	lib.Xsqlite3_reset(s.conn.tls, s.p)
	s.conn.failure = nil
}

// Close frees the statement.
func (s *Stmt) Close() {
	if s.p != 0 {
		lib.Xsqlite3_finalize(s.conn.tls, s.p)
		s.p, s.conn.failure = 0, nil
	}
}

// Columns returns the number of columns of the result, 0 if the statement has
// none.
func (s *Stmt) Columns() int { return s.cols }

// Name returns the name of a column of the result.
func (s *Stmt) Name(i int) string {
	return gostring(lib.Xsqlite3_column_name(s.conn.tls, s.p, int32(i)))
}

// DeclType returns the declared type of a result that is a table's column, and
// "" for an expression.
func (s *Stmt) DeclType(i int) string {
	return gostring(lib.Xsqlite3_column_decltype(s.conn.tls, s.p, int32(i)))
}

// Origin returns the table and the column that a result comes from, and "" for
// an expression.
func (s *Stmt) Origin(i int) (table, column string) {
	return gostring(lib.Xsqlite3_column_table_name(s.conn.tls, s.p, int32(i))),
		gostring(lib.Xsqlite3_column_origin_name(s.conn.tls, s.p, int32(i)))
}

// ReadOnly reports whether the statement leaves the database as it is.
func (s *Stmt) ReadOnly() bool { return lib.Xsqlite3_stmt_readonly(s.conn.tls, s.p) != 0 }

// IsExplain reports whether the statement is an EXPLAIN.
func (s *Stmt) IsExplain() bool { return lib.Xsqlite3_stmt_isexplain(s.conn.tls, s.p) != 0 }

// Row appends the cells of the current row to dst. They are copies. A row of
// more bytes than [LimitLength] is an error.
func (s *Stmt) Row(dst []tables.Value) ([]tables.Value, error) {
	room := s.conn.length
	for i := range int32(s.cols) {
		// An unprotected value is as good as any: the connection is not shared.
		v := s.conn.value(lib.Xsqlite3_column_value(s.conn.tls, s.p, i))
		if room -= size(&v); room < 0 {
			return dst, errTooBig
		}
		dst = append(dst, v)
	}
	return dst, nil
}

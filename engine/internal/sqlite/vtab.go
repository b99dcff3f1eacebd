package sqlite

import (
	"errors"
	"fmt"
	"runtime/debug"
	"unsafe"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"

	"sockql/engine/internal/plan"
	"sockql/tables"
)

// Offer is what SQLite's planner asks.
type Offer = plan.Offer

// A Module is a table-valued source: an eponymous-only virtual table
// (https://www.sqlite.org/vtab.html#eponymous_only_virtual_tables).
type Module interface {
	// Name is the table's name in SQL.
	Name() string
	// Declare returns a CREATE TABLE statement with the columns.
	Declare() string
	// Plan answers the planner. The offer is valid until it returns. An error
	// ends the statement.
	Plan(offer *Offer) (plan.Choice, error)
	// Open makes a cursor.
	Open() Cursor
}

// A Cursor runs over the rows of one scan after the other.
type Cursor interface {
	// Filter starts a scan and returns its first row. Its plan is what
	// [plan.Plan.String] wrote; it is valid until Filter returns. The number
	// is that of the choice.
	Filter(number int32, plan string, args *Args) (tables.Row, error)
	// Next returns the next row, or nil if there is none.
	Next() (tables.Row, error)
	// RowID returns a number that the current row has in every scan of the
	// statement, and that no other row has.
	RowID() int64
	// Close ends the scan that is under way.
	Close()
}

// Args are the arguments of a scan. They are valid until Filter returns.
type Args struct {
	conn *Conn
	n    int
	argv uintptr
}

// Len returns the number of arguments.
func (a *Args) Len() int { return a.n }

// Value returns a copy of an argument.
func (a *Args) Value(i int) tables.Value { return a.conn.value(load(a.argv, i)) }

// AppendList appends copies of all values of an argument that is a list.
func (a *Args) AppendList(dst []tables.Value, i int) ([]tables.Value, error) {
	c, list := a.conn, load(a.argv, i)
	rc := lib.Xsqlite3_vtab_in_first(c.tls, list, c.out)
	for ; rc == lib.SQLITE_OK; rc = lib.Xsqlite3_vtab_in_next(c.tls, list, c.out) {
		dst = append(dst, c.value(load(c.out, 0)))
	}
	if rc != lib.SQLITE_DONE {
		return dst, fmt.Errorf("read the values of an IN: %s", gostring(lib.Xsqlite3_errstr(c.tls, rc)))
	}
	return dst, nil
}

type module struct {
	Module
	conn *Conn
}

type cursor struct {
	Cursor
	module *module
	args   Args
	row    tables.Row // nil at the end
}

// The blocks that SQLite sees; each ends in the address of a Go object.
type (
	vtabBlock struct {
		base lib.Tsqlite3_vtab
		goObject
	}
	cursorBlock struct {
		base lib.Tsqlite3_vtab_cursor
		goObject
	}
	goObject struct{ address uintptr }
)

// methods is copied to SQLite's memory by each connection. It has no xCreate, so that the table exists without CREATE VIRTUAL
// TABLE, and no xUpdate, so that it may not be modified.
var methods = lib.Tsqlite3_module{
	FiVersion:    1,
	FxConnect:    cfunc(onConnect),
	FxBestIndex:  cfunc(onBestIndex),
	FxDisconnect: cfunc(onDisconnect),
	FxOpen:       cfunc(onOpen),
	FxClose:      cfunc(onClose),
	FxFilter:     cfunc(onFilter),
	FxNext:       cfunc(onNext),
	FxEof:        cfunc(onEOF),
	FxColumn:     cfunc(onColumn),
	FxRowid:      cfunc(onRowID),
}

func (c *Conn) createModule(m Module) error {
	mod := &module{Module: m, conn: c}
	c.modules = append(c.modules, mod)
	return c.withCString(m.Name(), func(name uintptr) error {
		return c.check(lib.Xsqlite3_create_module_v2(c.tls, c.db, name, c.methods, address(mod), destroyModuleCallback))
	})
}

// codeOf returns the result code for an error of a table or a function.
func codeOf(err error) int32 {
	var required *tables.RequiredError
	switch {
	case errors.As(err, &required):
		return lib.SQLITE_CONSTRAINT
	case err == errTooBig:
		return lib.SQLITE_TOOBIG
	}
	return lib.SQLITE_ERROR
}

// fail leaves an error's text in the virtual table and the error itself in the
// connection, and returns the result code.
func (m *module) fail(vtab uintptr, err error) int32 {
	m.conn.failure = err
	base := &at[vtabBlock](vtab).base
	if base.FzErrMsg != 0 {
		lib.Xsqlite3_free(m.conn.tls, base.FzErrMsg)
	}
	base.FzErrMsg = m.conn.heapText(err.Error())
	return codeOf(err)
}

// rescue turns a panic into a failure. It is deferred by callbacks.
func (m *module) rescue(vtab uintptr, rc *int32) {
	if v := recover(); v != nil {
		*rc = m.fail(vtab, &tables.PanicError{Table: m.Name(), Value: v, Stack: debug.Stack()})
	}
}

func onConnect(tls *libc.TLS, db, aux uintptr, argc int32, argv, vtab, message uintptr) (rc int32) {
	m := at[module](aux)
	defer func() {
		if v := recover(); v != nil {
			m.conn.failure = &tables.PanicError{Table: m.Name(), Value: v, Stack: debug.Stack()}
			*at[uintptr](message) = m.conn.heapText(m.conn.failure.Error())
			rc = lib.SQLITE_ERROR
		}
	}()
	sql, err := libc.CString(m.Declare())
	if err != nil {
		return lib.SQLITE_NOMEM
	}
	defer libc.Xfree(tls, sql)
	if rc := lib.Xsqlite3_declare_vtab(tls, db, sql); rc != lib.SQLITE_OK {
		*at[uintptr](message) = m.conn.heapText(gostring(lib.Xsqlite3_errmsg(tls, db)))
		return rc
	}
	p := lib.Xsqlite3_malloc64(tls, uint64(unsafe.Sizeof(vtabBlock{})))
	if p == 0 {
		return lib.SQLITE_NOMEM
	}
	*at[vtabBlock](p) = vtabBlock{goObject: goObject{address: aux}}
	*at[uintptr](vtab) = p
	return lib.SQLITE_OK
}

func onDisconnect(tls *libc.TLS, vtab uintptr) int32 {
	lib.Xsqlite3_free(tls, vtab)
	return lib.SQLITE_OK
}

func onBestIndex(tls *libc.TLS, vtab, info uintptr) (rc int32) {
	m := at[module](at[vtabBlock](vtab).address)
	defer m.rescue(vtab, &rc)
	in := at[lib.Tsqlite3_index_info](info)
	terms := unsafe.Slice(at[lib.Tsqlite3_index_constraint](in.FaConstraint), int(in.FnConstraint))
	offer := &m.conn.offer
	*offer = Offer{
		Terms:    offer.Terms[:0],
		Used:     in.FcolUsed,
		Ordered:  in.FnOrderBy > 0,
		Distinct: int(lib.Xsqlite3_vtab_distinct(tls, info)),
	}
	for i, t := range terms {
		term := plan.Term{Column: int(t.FiColumn), Op: tables.Op(t.Fop), Usable: t.Fusable != 0}
		if term.Usable {
			if z := lib.Xsqlite3_vtab_collation(tls, info, int32(i)); z != 0 {
				term.Collation = view(z, int(libc.Xstrlen(tls, z)))
			}
			term.List = lib.Xsqlite3_vtab_in(tls, info, int32(i), -1) != 0
		}
		offer.Terms = append(offer.Terms, term)
	}
	choice, err := m.Plan(offer)
	if err != nil {
		return m.fail(vtab, err)
	}
	if choice.Unusable {
		return lib.SQLITE_CONSTRAINT
	}
	usage := unsafe.Slice(at[lib.Tsqlite3_index_constraint_usage](in.FaConstraintUsage), len(terms))
	for i, position := range choice.Take {
		usage[i].FargvIndex = int32(position)
		if position > 0 && offer.Terms[i].List {
			lib.Xsqlite3_vtab_in(tls, info, int32(i), 1)
		}
	}
	if in.FidxStr = m.conn.heapText(choice.Plan.String()); in.FidxStr == 0 {
		return lib.SQLITE_NOMEM
	}
	in.FneedToFreeIdxStr, in.FidxNum = 1, choice.Number
	in.FestimatedCost, in.FestimatedRows = choice.Cost, choice.Rows
	return lib.SQLITE_OK
}

func onOpen(tls *libc.TLS, vtab, out uintptr) (rc int32) {
	m := at[module](at[vtabBlock](vtab).address)
	defer m.rescue(vtab, &rc)
	p := lib.Xsqlite3_malloc64(tls, uint64(unsafe.Sizeof(cursorBlock{})))
	if p == 0 {
		return lib.SQLITE_NOMEM
	}
	cur := &cursor{module: m, Cursor: m.Open(), args: Args{conn: m.conn}}
	m.conn.cursors[cur] = struct{}{}
	*at[cursorBlock](p) = cursorBlock{goObject: goObject{address: address(cur)}}
	*at[uintptr](out) = p
	return lib.SQLITE_OK
}

func cursorAt(p uintptr) (c *cursor, vtab uintptr) {
	block := at[cursorBlock](p)
	return at[cursor](block.address), block.base.FpVtab
}

func onClose(tls *libc.TLS, p uintptr) int32 {
	c, _ := cursorAt(p)
	delete(c.module.conn.cursors, c)
	lib.Xsqlite3_free(tls, p)
	// The result of this callback is ignored, and so is a panic that a scan
	// raises while it winds up.
	defer func() { _ = recover() }()
	c.Cursor.Close()
	return lib.SQLITE_OK
}

func onFilter(tls *libc.TLS, p uintptr, number int32, text uintptr, argc int32, argv uintptr) (rc int32) {
	c, vtab := cursorAt(p)
	defer c.module.rescue(vtab, &rc)
	c.row, c.args.n, c.args.argv = nil, int(argc), argv
	row, err := c.Filter(number, view(text, int(libc.Xstrlen(tls, text))), &c.args)
	if err != nil {
		return c.module.fail(vtab, err)
	}
	c.row = row
	return lib.SQLITE_OK
}

func onNext(tls *libc.TLS, p uintptr) (rc int32) {
	c, vtab := cursorAt(p)
	defer c.module.rescue(vtab, &rc)
	row, err := c.Next()
	c.row = row
	if err != nil {
		return c.module.fail(vtab, err)
	}
	return lib.SQLITE_OK
}

func onEOF(tls *libc.TLS, p uintptr) int32 {
	if c, _ := cursorAt(p); c.row == nil {
		return 1
	}
	return 0
}

func onColumn(tls *libc.TLS, p, ctx uintptr, i int32) (rc int32) {
	c, _ := cursorAt(p)
	if c.row == nil {
		return lib.SQLITE_OK
	}
	done := false
	defer func() {
		// This is the hottest callback, and asking for a panic takes time.
		if !done {
			c.columnFailed(ctx, recover())
			rc = lib.SQLITE_ERROR
		}
	}()
	v := c.row.Column(int(i))
	c.module.conn.result(ctx, &v)
	done = true
	return lib.SQLITE_OK
}

func (c *cursor) columnFailed(ctx uintptr, v any) {
	m := c.module
	m.conn.functionFailed(ctx, &tables.PanicError{Table: m.Name(), Value: v, Stack: debug.Stack()})
}

func onRowID(tls *libc.TLS, p, out uintptr) (rc int32) {
	c, vtab := cursorAt(p)
	defer c.module.rescue(vtab, &rc)
	*at[int64](out) = c.RowID()
	return lib.SQLITE_OK
}

package sqlite

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"unsafe"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"

	"sockql/tables"
)

// A Limit is one of SQLite's run-time limits (https://www.sqlite.org/c3ref/limit.html).
type Limit int32

// The limits.
const (
	LimitLength        Limit = lib.SQLITE_LIMIT_LENGTH              // bytes of a text, blob or row
	LimitSQLLength     Limit = lib.SQLITE_LIMIT_SQL_LENGTH          // bytes of a statement
	LimitColumn        Limit = lib.SQLITE_LIMIT_COLUMN              // columns of a table or result
	LimitExprDepth     Limit = lib.SQLITE_LIMIT_EXPR_DEPTH          // depth of an expression
	LimitCompound      Limit = lib.SQLITE_LIMIT_COMPOUND_SELECT     // terms of a compound SELECT
	LimitProgram       Limit = lib.SQLITE_LIMIT_VDBE_OP             // instructions of a statement
	LimitFunctionArgs  Limit = lib.SQLITE_LIMIT_FUNCTION_ARG        // arguments of a function
	LimitAttached      Limit = lib.SQLITE_LIMIT_ATTACHED            // attached databases
	LimitLikePattern   Limit = lib.SQLITE_LIMIT_LIKE_PATTERN_LENGTH // bytes of a LIKE or GLOB pattern
	LimitVariables     Limit = lib.SQLITE_LIMIT_VARIABLE_NUMBER     // highest parameter
	LimitTriggerDepth  Limit = lib.SQLITE_LIMIT_TRIGGER_DEPTH       // nesting of triggers
	LimitWorkerThreads Limit = lib.SQLITE_LIMIT_WORKER_THREADS      // threads of a sorter
	LimitParserDepth   Limit = lib.SQLITE_LIMIT_PARSER_DEPTH        // depth of the parser's stack
)

// A Config says what a connection offers to SQL. Everything in it is read only.
type Config struct {
	// File is the path of a database of the program's own, which is made if it
	// is not there. Empty stands for an empty database in memory, which is all
	// that statements of users may ever see.
	File       string
	Modules    []Module
	Functions  []Function
	Collations []Collation
	Limits     map[Limit]int
	// HeapLimit is a ceiling of SQLite's memory in bytes, or 0 for none.
	// SQLite has one such ceiling for the whole process: the connection that
	// is opened last sets it, unless its own is negative.
	HeapLimit int64
	// Setup are statements that run before the authorizer is in place.
	Setup []string
	// Authorize decides whether a statement may be prepared that does this
	// (https://www.sqlite.org/c3ref/set_authorizer.html). The meaning of the
	// arguments depends on the action. Nil allows everything.
	Authorize func(action Action, arg1, arg2 string) bool
	// Interrupt is asked every few thousand instructions, and while a
	// statement is prepared, whether it shall end, and why. It is told how
	// many instructions ran since the last time. Nil lets everything run.
	Interrupt func(instructions int64) error
}

// interruptEvery is the number of instructions between two calls of
// Config.Interrupt: at some nanoseconds each, far less than a person notices.
const interruptEvery = 5000

// A Conn is a connection to a database in memory, or in Config.File.
type Conn struct {
	tls *libc.TLS
	db  uintptr
	out uintptr // room for two results of C functions

	methods uintptr // the callbacks of all tables

	authorize func(Action, string, string) bool
	interrupt func(int64) error

	modules    []*module
	functions  []*function
	collations []*collation
	cursors    map[*cursor]struct{}

	offer   Offer
	arena   arena
	scratch uintptr        // text on its way to SQLite, scratchSize bytes
	args    []tables.Value // arguments of a function
	length  int            // LimitLength, which copies keep to together
	failure error          // the Go error behind the result code of this call
}

// An Error is what SQLite refused to do.
type Error struct {
	Code     int    // primary result code (https://www.sqlite.org/rescode.html)
	Extended int    // extended result code
	Message  string // SQLite's text, or that of Err
	Offset   int    // of the token in the statement, or -1
	Err      error  // the Go error that caused it, or nil
}

func (e *Error) Error() string { return e.Message }

func (e *Error) Unwrap() error { return e.Err }

// ErrOutOfMemory says that SQLite could not allocate memory for a connection.
var ErrOutOfMemory = errors.New("sqlite: out of memory")

// memstatus switches SQLite's memory accounting on, without which it knows no
// heap limit. It has an effect only before the first connection of a process.
var memstatus = sync.OnceFunc(func() {
	tls := libc.NewTLS()
	defer tls.Close()
	list := libc.Xmalloc(tls, 8)
	if list == 0 {
		return
	}
	defer libc.Xfree(tls, list)
	lib.Xsqlite3_config(tls, lib.SQLITE_CONFIG_MEMSTATUS, libc.VaList(list, int32(1)))
})

// Open opens a connection.
func Open(cfg Config) (_ *Conn, err error) {
	memstatus()
	c := &Conn{
		tls:       libc.NewTLS(),
		authorize: cfg.Authorize,
		interrupt: cfg.Interrupt,
		cursors:   map[*cursor]struct{}{},
	}
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	for p, size := range map[*uintptr]uintptr{
		&c.out:     2 * unsafe.Sizeof(uintptr(0)),
		&c.scratch: scratchSize,
		&c.methods: unsafe.Sizeof(methods),
	} {
		if *p = libc.Xcalloc(c.tls, 1, libc.Tsize_t(size)); *p == 0 {
			return nil, ErrOutOfMemory
		}
	}
	*at[lib.Tsqlite3_module](c.methods) = methods
	name, flags := cfg.File, int32(lib.SQLITE_OPEN_READWRITE|lib.SQLITE_OPEN_CREATE|lib.SQLITE_OPEN_NOMUTEX)
	if name == "" {
		name, flags = ":memory:", flags|lib.SQLITE_OPEN_MEMORY
	}
	err = c.withCString(name, func(name uintptr) error {
		rc := lib.Xsqlite3_open_v2(c.tls, name, c.out, flags, 0)
		c.db = load(c.out, 0)
		return c.check(rc)
	})
	if err != nil {
		return nil, fmt.Errorf("sqlite: open: %w", err)
	}
	lib.Xsqlite3_hard_heap_limit64(c.tls, cfg.HeapLimit)
	for limit, n := range cfg.Limits {
		lib.Xsqlite3_limit(c.tls, c.db, int32(limit), int32(n))
	}
	c.length = int(lib.Xsqlite3_limit(c.tls, c.db, lib.SQLITE_LIMIT_LENGTH, -1))
	// The tables are what was registered, not SQLite's full text search.
	lib.Xsqlite3_drop_modules(c.tls, c.db, 0)
	for _, sql := range cfg.Setup {
		if err := c.exec(sql); err != nil {
			return nil, fmt.Errorf("sqlite: set up: %q: %w", sql, err)
		}
	}
	if err := c.register(cfg); err != nil {
		return nil, err
	}
	lib.Xsqlite3_progress_handler(c.tls, c.db, interruptEvery, progressCallback, address(c))
	return c, c.check(lib.Xsqlite3_set_authorizer(c.tls, c.db, authorizeCallback, address(c)))
}

func (c *Conn) register(cfg Config) error {
	for _, m := range cfg.Modules {
		if err := c.createModule(m); err != nil {
			return fmt.Errorf("sqlite: register table %q: %w", m.Name(), err)
		}
	}
	for _, f := range cfg.Functions {
		if err := c.createFunction(f); err != nil {
			return fmt.Errorf("sqlite: register function %q: %w", f.Name, err)
		}
	}
	for _, k := range cfg.Collations {
		if err := c.createCollation(k); err != nil {
			return fmt.Errorf("sqlite: register collating sequence %q: %w", k.Name, err)
		}
	}
	return c.configure()
}

// configure switches off what a statement could use to damage the database, and
// has floats written with 15 digits as osquery's SQLite 3.42 does
// (https://www.sqlite.org/c3ref/c_dbconfig_defensive.html).
func (c *Conn) configure() error {
	for _, option := range []struct{ code, value int32 }{
		{lib.SQLITE_DBCONFIG_DEFENSIVE, 1},
		{lib.SQLITE_DBCONFIG_WRITABLE_SCHEMA, 0},
		{lib.SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0},
		{lib.SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER, 0},
		{lib.SQLITE_DBCONFIG_ENABLE_TRIGGER, 0},
		{lib.SQLITE_DBCONFIG_ENABLE_ATTACH_CREATE, 0},
		{lib.SQLITE_DBCONFIG_ENABLE_ATTACH_WRITE, 0},
		{lib.SQLITE_DBCONFIG_FP_DIGITS, 15},
	} {
		list := libc.Xmalloc(c.tls, 16)
		if list == 0 {
			return ErrOutOfMemory
		}
		rc := lib.Xsqlite3_db_config(c.tls, c.db, option.code, libc.VaList(list, option.value, uintptr(0)))
		libc.Xfree(c.tls, list)
		if err := c.check(rc); err != nil {
			return fmt.Errorf("sqlite: configure %d: %w", option.code, err)
		}
	}
	return nil
}

// Close frees the connection. Its statements must have been closed before.
func (c *Conn) Close() error {
	if c.tls == nil {
		return nil
	}
	if c.db != 0 {
		if rc := lib.Xsqlite3_close(c.tls, c.db); rc != lib.SQLITE_OK {
			return c.check(rc)
		}
		c.db = 0
	}
	for _, p := range []*uintptr{&c.out, &c.scratch, &c.methods} {
		if *p != 0 {
			libc.Xfree(c.tls, *p)
			*p = 0
		}
	}
	c.tls.Close()
	c.tls = nil
	c.modules, c.functions, c.collations = nil, nil, nil
	return nil
}

// exec runs a statement and drops its rows.
func (c *Conn) exec(sql string) error {
	st, _, err := c.Prepare(sql)
	if err != nil || st == nil {
		return err
	}
	for {
		more, err := st.Step()
		if !more {
			st.Close()
			return err
		}
	}
}

// check turns a result code into an error and takes the Go error behind it.
func (c *Conn) check(rc int32) error {
	failure := c.failure
	c.failure = nil
	if rc == lib.SQLITE_OK || rc == lib.SQLITE_ROW || rc == lib.SQLITE_DONE {
		return nil
	}
	e := &Error{Code: int(rc & 0xff), Extended: int(rc), Offset: -1, Err: failure}
	if c.db != 0 {
		e.Extended = int(lib.Xsqlite3_extended_errcode(c.tls, c.db))
		e.Offset = int(lib.Xsqlite3_error_offset(c.tls, c.db))
		e.Message = gostring(lib.Xsqlite3_errmsg(c.tls, c.db))
	}
	if e.Message == "" {
		e.Message = gostring(lib.Xsqlite3_errstr(c.tls, rc))
	}
	return e
}

func (c *Conn) withCString(s string, f func(uintptr) error) error {
	if strings.IndexByte(s, 0) >= 0 {
		return fmt.Errorf("NUL byte in %q", s)
	}
	p, err := libc.CString(s)
	if err != nil {
		return ErrOutOfMemory
	}
	defer libc.Xfree(c.tls, p)
	return f(p)
}

// heapText returns a copy of s, with a NUL behind it, that SQLite frees; 0 if
// there is no memory.
func (c *Conn) heapText(s string) uintptr {
	p := lib.Xsqlite3_malloc64(c.tls, uint64(len(s))+1)
	if p == 0 {
		return 0
	}
	buf := unsafe.Slice(at[byte](p), len(s)+1)
	copy(buf, s)
	buf[len(s)] = 0
	return p
}

// MemoryUsed returns the bytes that SQLite holds, of all connections of the
// process together.
func MemoryUsed() int64 {
	tls := libc.NewTLS()
	defer tls.Close()
	return lib.Xsqlite3_memory_used(tls)
}

// Complete reports whether a text ends with a whole statement
// (https://www.sqlite.org/c3ref/complete.html).
func Complete(sql string) bool {
	tls := libc.NewTLS()
	defer tls.Close()
	p, err := libc.CString(sql)
	if err != nil {
		return false
	}
	defer libc.Xfree(tls, p)
	return lib.Xsqlite3_complete(tls, p) == 1
}

// Version returns SQLite's version, such as 3.53.4.
func Version() string { return lib.SQLITE_VERSION }

var progressCallback = cfunc(onProgress)

func onProgress(tls *libc.TLS, arg uintptr) (stop int32) {
	c := at[Conn](arg)
	if c.interrupt == nil {
		return 0
	}
	defer func() {
		if v := recover(); v != nil {
			c.failure, stop = fmt.Errorf("sqlite: interrupt: panic: %v", v), 1
		}
	}()
	if err := c.interrupt(interruptEvery); err != nil {
		c.failure = err
		return 1
	}
	return 0
}

// result hands a value to SQLite as the result of a function or a cell. The
// value goes by pointer: profiles show that copying one through memory costs as
// much as a short text.
func (c *Conn) result(ctx uintptr, v *tables.Value) {
	switch v.Kind() {
	case tables.KindInt:
		lib.Xsqlite3_result_int64(c.tls, ctx, v.Int64())
	case tables.KindFloat:
		lib.Xsqlite3_result_double(c.tls, ctx, v.Float64())
	case tables.KindText:
		if p, n, free := c.export(v); p != 0 {
			lib.Xsqlite3_result_text64(c.tls, ctx, p, n, free, lib.SQLITE_UTF8)
			return
		}
		lib.Xsqlite3_result_error_nomem(c.tls, ctx)
	case tables.KindBlob:
		if p, n, free := c.export(v); p != 0 {
			lib.Xsqlite3_result_blob64(c.tls, ctx, p, n, free)
			return
		}
		lib.Xsqlite3_result_error_nomem(c.tls, ctx)
	default:
		lib.Xsqlite3_result_null(c.tls, ctx)
	}
}

const (
	// scratchSize is the length of a text or blob from which handing over an
	// allocation is cheaper than SQLite's copying once more.
	scratchSize = 4 << 10
	// transient has SQLite copy a text or blob before the call returns.
	transient = ^uintptr(0)
)

var freeCallback = cfunc(lib.Xsqlite3_free)

// export brings the content of a text or blob to SQLite's memory: a short one
// to the scratch buffer, a long one to an allocation that SQLite frees. The
// address is 0 if there is no memory.
func (c *Conn) export(v *tables.Value) (p uintptr, n uint64, free uintptr) {
	buf := unsafe.Slice(at[byte](c.scratch), scratchSize)
	s, ok := v.Literal()
	switch {
	case !ok: // an address or a number, which is short
		return c.scratch, uint64(len(v.Append(buf[:0]))), transient
	case len(s) <= scratchSize:
		return c.scratch, uint64(copy(buf, s)), transient
	}
	return c.heapText(s), uint64(len(s)), freeCallback
}

// errTooBig is for values that keep to LimitLength one by one and exceed it
// together: SQLite shares the memory of equal values in a row or among the
// arguments of a function, and copies of them all could exhaust the process.
var errTooBig = &Error{Code: lib.SQLITE_TOOBIG, Extended: lib.SQLITE_TOOBIG, Offset: -1, Message: "string or blob too big"}

// size returns the bytes that a copy of SQLite's value takes beside the value.
func size(v *tables.Value) int {
	s, _ := v.Literal()
	return len(s)
}

// value copies a value out of SQLite.
func (c *Conn) value(p uintptr) tables.Value {
	switch lib.Xsqlite3_value_type(c.tls, p) {
	case lib.SQLITE_INTEGER:
		return tables.Int(lib.Xsqlite3_value_int64(c.tls, p))
	case lib.SQLITE_FLOAT:
		return tables.Float(lib.Xsqlite3_value_double(c.tls, p))
	case lib.SQLITE_TEXT:
		text := lib.Xsqlite3_value_text(c.tls, p)
		return tables.String(c.arena.copy(text, int(lib.Xsqlite3_value_bytes(c.tls, p))))
	case lib.SQLITE_BLOB:
		blob := lib.Xsqlite3_value_blob(c.tls, p)
		return tables.Bytes(c.arena.copy(blob, int(lib.Xsqlite3_value_bytes(c.tls, p))))
	}
	return tables.Null()
}

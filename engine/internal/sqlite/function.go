package sqlite

import (
	"fmt"
	"runtime/debug"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"

	"sockql/tables"
)

// A Function is a scalar SQL function.
type Function struct {
	Name          string
	Args          []int // accepted numbers of arguments; nil accepts any
	Deterministic bool
	// Eval computes the result of one call. args is valid until it returns.
	Eval func(args []tables.Value) (tables.Value, error)
}

// A Collation is a collating sequence. The texts are valid until Compare
// returns.
type Collation struct {
	Name    string
	Compare func(a, b string) int
}

type function struct {
	Function
	conn *Conn
}

type collation struct {
	Collation
	conn *Conn
}

// A FunctionPanicError is a panic of a function or a collating sequence.
type FunctionPanicError struct {
	Name  string
	Value any
	Stack []byte
}

func (e *FunctionPanicError) Error() string {
	return fmt.Sprintf("function %s: panic: %v", e.Name, e.Value)
}

var (
	functionCallback = cfunc(onFunction)
	compareCallback  = cfunc(onCompare)
)

func (c *Conn) createFunction(f Function) error {
	fn := &function{Function: f, conn: c}
	c.functions = append(c.functions, fn)
	flags := int32(lib.SQLITE_UTF8 | lib.SQLITE_INNOCUOUS)
	if f.Deterministic {
		flags |= lib.SQLITE_DETERMINISTIC
	}
	args := f.Args
	if args == nil {
		args = []int{-1}
	}
	return c.withCString(f.Name, func(name uintptr) error {
		for _, n := range args {
			rc := lib.Xsqlite3_create_function_v2(c.tls, c.db, name, int32(n), flags, address(fn), functionCallback, 0, 0, 0)
			if err := c.check(rc); err != nil {
				return err
			}
		}
		return nil
	})
}

func (c *Conn) createCollation(k Collation) error {
	seq := &collation{Collation: k, conn: c}
	c.collations = append(c.collations, seq)
	return c.withCString(k.Name, func(name uintptr) error {
		return c.check(lib.Xsqlite3_create_collation_v2(c.tls, c.db, name, lib.SQLITE_UTF8, address(seq), compareCallback, 0))
	})
}

func onFunction(tls *libc.TLS, ctx uintptr, argc int32, argv uintptr) {
	f := at[function](lib.Xsqlite3_user_data(tls, ctx))
	c := f.conn
	defer func() {
		if v := recover(); v != nil {
			c.functionFailed(ctx, &FunctionPanicError{Name: f.Name, Value: v, Stack: debug.Stack()})
		}
	}()
	// A function that runs SQL would come here again, so the buffer is taken.
	args := c.args[:0]
	c.args = nil
	room := c.length
	for i := range int(argc) {
		v := c.value(load(argv, i))
		if room -= size(&v); room < 0 {
			c.args = args
			c.functionFailed(ctx, errTooBig)
			return
		}
		args = append(args, v)
	}
	v, err := f.Eval(args)
	c.args = args
	if err != nil {
		c.functionFailed(ctx, err)
		return
	}
	c.result(ctx, &v)
}

func (c *Conn) functionFailed(ctx uintptr, err error) {
	c.failure = err
	c.resultError(ctx, err)
}

// resultError ends the statement with an error's text.
func (c *Conn) resultError(ctx uintptr, err error) {
	p := c.heapText(err.Error())
	if p == 0 {
		lib.Xsqlite3_result_error_nomem(c.tls, ctx)
		return
	}
	lib.Xsqlite3_result_error(c.tls, ctx, p, -1)
	lib.Xsqlite3_free(c.tls, p)
	if code := codeOf(err); code != lib.SQLITE_ERROR {
		lib.Xsqlite3_result_error_code(c.tls, ctx, code)
	}
}

func onCompare(tls *libc.TLS, arg uintptr, n1 int32, p1 uintptr, n2 int32, p2 uintptr) (order int32) {
	k := at[collation](arg)
	defer func() {
		if v := recover(); v != nil {
			// A comparison cannot fail, so the statement is interrupted.
			k.conn.failure = &FunctionPanicError{Name: k.Name, Value: v, Stack: debug.Stack()}
			lib.Xsqlite3_interrupt(tls, k.conn.db)
		}
	}()
	switch n := k.Compare(view(p1, int(n1)), view(p2, int(n2))); {
	case n < 0:
		return -1
	case n > 0:
		return 1
	}
	return 0
}

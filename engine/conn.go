package engine

import (
	"context"
	"errors"
	"hash/maphash"
	"sync/atomic"

	"sockql/engine/internal/sqlite"
	"sockql/engine/sqlfunc"
	"sockql/tables"
)

// A Conn is a connection: an empty database in memory that knows the engine's
// tables. Views and tables that statements create live until it is closed.
type Conn struct {
	engine *Engine
	set    *tableSet // what db knows
	limits Limits
	db     *sqlite.Conn
	busy   atomic.Bool
	closed bool

	sessions map[*Session]struct{}
	running  *Stmt    // the statement that is in SQLite at this moment
	session  *Session // its session, or that of the statement being prepared
	missing  *tables.RequiredError
	planned  *[]planned // what tables were asked and chose, while a statement is explained
	call     sqlfunc.Call
	seed     maphash.Seed // of row numbers
	policy   policy
}

// Open opens a connection. The caller closes it.
func (e *Engine) Open() (*Conn, error) {
	limits := e.cfg.Limits.orDefault()
	c := &Conn{engine: e, set: e.set.Load(), limits: limits, sessions: map[*Session]struct{}{}, seed: maphash.MakeSeed(), policy: defaultPolicy}
	c.call = sqlfunc.Call{Warn: c.warn, Cache: map[any]any{}, MaxBytes: limits.ValueBytes}
	cfg := sqlite.Config{
		Limits:    limits.sqlite(),
		HeapLimit: limits.HeapBytes,
		// Sorters and temporary tables must not spill to files.
		Setup:     []string{"PRAGMA temp_store = MEMORY"},
		Authorize: e.authorize,
		Interrupt: c.interrupt,
	}
	for _, t := range c.set.tables {
		cfg.Modules = append(cfg.Modules, c.modules(t)...)
	}
	cfg.Functions = append(cfg.Functions, loadExtension)
	for _, f := range e.cfg.Functions {
		cfg.Functions = append(cfg.Functions, sqlite.Function{
			Name: f.Name, Args: f.Args, Deterministic: f.Deterministic,
			Eval: func(args []tables.Value) (tables.Value, error) {
				return f.Eval(c.session.ctx, &c.call, args)
			},
		})
	}
	for _, k := range e.cfg.Collations {
		cfg.Collations = append(cfg.Collations, sqlite.Collation{Name: k.Name, Compare: k.Compare})
	}
	db, err := sqlite.Open(cfg)
	if err != nil {
		return nil, err
	}
	c.db = db
	return c, nil
}

// loadExtension refuses as osquery's SQLite does, which has the function but
// not the permission.
var loadExtension = sqlite.Function{
	Name: "load_extension", Args: []int{1, 2},
	Eval: func([]tables.Value) (tables.Value, error) {
		return tables.Value{}, errors.New("not authorized")
	},
}

// warn gives a function's warning to the session that runs.
func (c *Conn) warn(err error) { c.session.inner.Warn(err) }

// interrupt ends a statement whose context has ended or that ran too long.
func (c *Conn) interrupt(instructions int64) error {
	if c.session == nil {
		return nil
	}
	if c.session.ctx.Err() != nil {
		return context.Cause(c.session.ctx)
	}
	if c.running != nil && c.limits.Instructions > 0 {
		if c.running.instructions += instructions; c.running.instructions > c.limits.Instructions {
			return ErrInstructions
		}
	}
	return nil
}

// enter claims the connection for one call.
func (c *Conn) enter() error {
	if !c.busy.CompareAndSwap(false, true) {
		return ErrBusy
	}
	return nil
}

func (c *Conn) leave() {
	c.running, c.session = nil, nil
	c.busy.Store(false)
}

// Close closes the connection with all its sessions and statements. A second
// call does nothing.
func (c *Conn) Close() error {
	if err := c.enter(); err != nil {
		return err
	}
	defer c.leave()
	if c.closed {
		return nil
	}
	c.closed = true
	var errs []error
	for s := range c.sessions {
		errs = append(errs, s.close())
	}
	return errors.Join(append(errs, c.db.Close())...)
}

// A Result holds the rows of a statement.
type Result struct {
	Columns []ResultColumn
	Rows    [][]tables.Value
	// Warnings say why rows or cells may be missing.
	Warnings []error
}

// Query runs all statements of sql in a session of their own and returns the
// rows of the last one that has columns, as many as [Limits] allow to keep.
// Warnings come with an error, too.
func (c *Conn) Query(ctx context.Context, sql string) (_ *Result, err error) {
	s := c.Begin(ctx)
	res := &Result{}
	defer func() {
		res.Warnings = s.TakeWarnings()
		if e := s.Close(); err == nil {
			err = e
		}
	}()
	for sql != "" {
		st, tail, err := s.Prepare(sql)
		if err != nil {
			return res, err
		}
		sql = tail
		if st == nil {
			continue
		}
		if columns := st.Columns(); len(columns) > 0 {
			res.Columns, res.Rows = columns, nil
		}
		rows, err := st.Collect()
		if len(rows) > 0 {
			res.Rows = rows
		}
		if err != nil {
			return res, err
		}
		if err := st.Close(); err != nil {
			return res, err
		}
	}
	return res, nil
}

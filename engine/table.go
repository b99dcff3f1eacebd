package engine

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"iter"
	"math"
	"runtime/pprof"
	"slices"
	"strings"
	"time"

	"sockql/engine/internal/plan"
	"sockql/engine/internal/sqlite"
	"sockql/tables"
)

// A module offers a table under one of its names to SQLite.
type module struct {
	conn   *Conn
	table  tables.Table
	schema *tables.Schema
	name   string
}

func (m *module) Name() string { return m.name }

// Declare leaves out the PRIMARY KEY … WITHOUT ROWID that osquery declares for
// indexed columns: SQLite would take such a key for unique, and drop rows.
func (m *module) Declare() string {
	var b strings.Builder
	b.WriteString("CREATE TABLE x(")
	for i, c := range m.schema.Columns {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "`%s` %s", c.Name, c.Type)
		if c.Flags.Has(tables.Hidden) {
			b.WriteString(" HIDDEN")
		}
		if c.Collate != "" {
			fmt.Fprintf(&b, " COLLATE `%s`", c.Collate)
		}
	}
	b.WriteString(")")
	return b.String()
}

func (m *module) Plan(offer *plan.Offer) (plan.Choice, error) {
	choice := plan.Choose(m.schema, *offer)
	if choice.Unusable {
		m.conn.missing = &tables.RequiredError{Table: m.schema.Name, Column: choice.Missing}
	}
	if list := m.conn.planned; list != nil {
		*list = append(*list, planned{module: m, terms: slices.Clone(offer.Terms), choice: choice})
		choice.Number = int32(len(*list))
	}
	return choice, nil
}

func (m *module) Open() sqlite.Cursor { return &cursor{module: m} }

// scanKey tells apart what a statement counts separately.
type scanKey struct {
	table, plan string
	number      int32 // of the choice, where the statement is explained
}

// A cursor runs scans of a table on demand: the table's code runs, in a
// coroutine, only while SQLite waits for its next row. The coroutine outlives a
// scan that came to its end, because the inside of a join is a scan a row.
type cursor struct {
	module *module
	number int32
	text   string // the encoded form of plan
	plan   plan.Plan
	stats  *scanCount

	next  func() (tables.Row, bool)
	stop  func()
	query *tables.Query
	ended bool  // the scan came to its end
	err   error // of the scan that ended

	// Rows of which nobody reads a cell are counted instead of handed over
	// one by one: switching to the coroutine is most of what they cost.
	counted int // rows that the table yielded and SQLite has not seen
	batch   int

	// A question that comes twice in a row is copied, and answered from the
	// copy from then on.
	asked     bool
	question  tables.Request
	recording *snapshot // of the scan that runs
	copy      *snapshot
	copied    int  // rows of copy that SQLite has seen, while replaying
	replaying bool // the scan that runs is one of copy
	huge      bool // the answer does not fit into a copy

	// Questions that differ in nothing but the values of some columns are
	// answered from one copy, too.
	keys    []int               // the columns
	ownKeys bool                // the table cannot look up by one of them
	values  []tables.Constraint // what this scan wants of them
	index   *index              // of copy
	matches matches             // the rows of copy that are wanted
	lookups lookups             // what asking for each value has cost
	narrow  tables.Request      // the question that was widened

	row   tables.Row // nil at the end
	moves int64      // rows of all scans
	ids   rowIDs
}

func (c *cursor) Filter(number int32, text string, args *sqlite.Args) (tables.Row, error) {
	if !c.ended {
		c.stopScan()
	}
	if c.stats == nil || number != c.number || text != c.text {
		p, err := plan.Parse(text)
		if err != nil {
			return nil, err
		}
		c.number, c.text, c.plan, c.asked = number, strings.Clone(text), p, false
		c.setKeys()
		c.stats = c.module.conn.running.scanStats(c)
	}
	request, err := c.request(args)
	if err != nil {
		return nil, err
	}
	c.stats.Scans++
	if c.stats.number > 0 {
		c.stats.note(c.module.schema, c.plan, &request)
	}
	c.ids.restart()
	wide := c.widen(&request)
	again := c.ask(request)
	switch {
	case c.copy != nil:
	case wide && !again:
		if err := c.gather(); err != nil {
			return nil, err
		}
		if c.copy == nil {
			c.ask(c.narrow)
		}
	case again && !c.huge:
		c.recording = c.newCopy()
	}
	if c.replaying = c.copy != nil; c.replaying {
		c.stats.Copied++
		c.copied = 0
		c.find()
		return c.Next()
	}
	c.startScan()
	return c.Next()
}

// ask puts a question and reports whether it is the one before.
func (c *cursor) ask(request tables.Request) (again bool) {
	again = c.asked && sameQuestion(&c.question, &request)
	c.recording.drop()
	c.asked, c.question, c.recording = true, request, nil
	if !again {
		c.copy.drop()
		c.copy, c.index, c.huge = nil, nil, false
	}
	return again
}

func (c *cursor) newCopy() *snapshot {
	return newSnapshot(c.module.schema, c.plan.Used, &c.module.conn.running.copied)
}

func (c *cursor) startScan() {
	session := c.module.conn.session
	c.query = tables.NewQuery(session.inner, c.module.schema, c.question)
	if c.stats.number > 0 {
		c.query.OnAccount(c.stats.take)
	}
	c.ended, c.err, c.counted, c.batch = false, nil, 0, 1
	if c.next == nil {
		c.next, c.stop = iter.Pull(func(yield func(tables.Row) bool) {
			pprof.Do(session.ctx, tables.Labels(c.module.table), func(ctx context.Context) { c.scan(ctx, yield) })
		})
	}
}

// scan is the coroutine: one scan after the other, each followed by nil.
func (c *cursor) scan(ctx context.Context, yield func(tables.Row) bool) {
	count := func(r tables.Row) bool {
		// Reading ahead by no more than what was read before keeps a scan
		// short that is closed early.
		if c.counted++; c.counted < c.batch {
			return true
		}
		c.batch = min(2*c.batch, maxBatch)
		return yield(r)
	}
	for {
		each := yield
		if c.plan.Used == 0 {
			each = count
		}
		c.err = tables.Run(ctx, c.module.table, c.query, each)
		if !yield(nil) {
			return
		}
	}
}

const maxBatch = 256

func (c *cursor) Next() (tables.Row, error) {
	row, err := c.advance()
	c.row = row
	if row != nil {
		c.moves++
		c.stats.Rows++
	}
	return row, err
}

func (c *cursor) advance() (tables.Row, error) {
	if c.replaying {
		row := c.copied
		if c.index != nil && c.matches.some {
			row = c.matches.next(c.index)
		}
		if row < 0 || !c.copy.seek(row) {
			return nil, nil
		}
		c.copied++
		return c.copy, nil
	}
	if c.counted == 0 && !c.ended {
		row, alive := c.resume()
		if !alive {
			c.next = nil
		}
		c.ended = row == nil
		if row != nil && c.plan.Used != 0 {
			return c.record(row), nil
		}
	}
	if c.counted > 0 {
		c.counted--
		return c.record(blankRow{}), nil
	}
	if c.err == nil {
		c.copy, c.recording = c.recording, nil
	}
	return nil, c.err
}

// resume runs the table's code to its next row.
func (c *cursor) resume() (row tables.Row, alive bool) {
	if c.stats.number == 0 && !c.lookups.timed {
		return c.next()
	}
	start := time.Now()
	row, alive = c.next()
	took := time.Since(start)
	c.stats.elapsed += took
	c.lookups.spent += took
	return row, alive
}

// record copies a row of a scan that is recorded, and returns the copy.
func (c *cursor) record(row tables.Row) tables.Row {
	if c.recording == nil {
		return row
	}
	if !c.recording.add(row) {
		c.recording.drop()
		c.recording, c.huge = nil, true
		return row
	}
	return c.recording
}

// blankRow is a row that the statement counts without reading a cell.
type blankRow struct{}

func (blankRow) Column(i int) tables.Value {
	panic(fmt.Sprintf("column %d was not announced as used", i))
}

func (c *cursor) RowID() int64 { return c.ids.of(c) }

func (c *cursor) Close() {
	c.stopScan()
	c.recording.drop()
	c.copy.drop()
	c.recording, c.copy, c.index, c.asked, c.lookups = nil, nil, nil, false, lookups{}
}

func (c *cursor) stopScan() {
	if c.stop != nil {
		c.stop()
		c.next, c.stop, c.row, c.query = nil, nil, nil, nil
	}
}

// request puts the arguments of a scan in the terms of its plan.
func (c *cursor) request(args *sqlite.Args) (tables.Request, error) {
	r := tables.Request{Used: c.plan.Used, Distinct: c.plan.Distinct}
	if args.Len() != len(c.plan.Args) {
		return r, fmt.Errorf("table %s: %d arguments for plan %q", c.module.name, args.Len(), c.text)
	}
	if args.Len() == 0 {
		return r, nil
	}
	r.Constraints = make([]tables.Constraint, 0, args.Len())
	c.values = c.values[:0]
	values := make([]tables.Value, 0, args.Len())
	offset := int64(0)
	for i, a := range c.plan.Args {
		var v tables.Value
		start := len(values)
		if a.List {
			var err error
			if values, err = args.AppendList(values, i); err != nil {
				return r, fmt.Errorf("table %s: %w", c.module.name, err)
			}
		} else {
			v = args.Value(i)
			values = append(values, v)
		}
		switch a.Op {
		case plan.OpLimit:
			r.Limit, r.HasLimit = v.Int64(), v.Kind() == tables.KindInt && v.Int64() >= 0
		case plan.OpOffset:
			offset = max(v.Int64(), 0)
		default:
			term := tables.Constraint{Column: a.Column, Op: a.Op, Values: values[start:len(values):len(values)]}
			if plan.Key(c.module.schema, a) {
				c.values = append(c.values, term)
			}
			if !plan.Own(c.module.schema, a) {
				r.Constraints = append(r.Constraints, term)
			}
		}
	}
	if r.HasLimit {
		if r.Limit > math.MaxInt64-offset {
			r.Limit, r.HasLimit = 0, false
		} else {
			r.Limit += offset
		}
	}
	return r, nil
}

// rowIDs numbers the rows of a scan so that the same row has the same number
// in the next scan of the statement: SQLite recognises by it the rows that
// several branches of an OR, or both passes of a RIGHT JOIN, return. A table
// has no key, but rows that are equal in the columns that the statement reads
// meet the same terms. So the number is a hash of those cells and of how many
// equal rows came before.
type rowIDs struct {
	seed  maphash.Seed
	seen  map[uint64]uint64
	known bool
	row   int64 // the cursor's moves when id was computed
	id    int64
	buf   []byte
}

func (r *rowIDs) restart() {
	clear(r.seen)
	r.known = false
}

func (r *rowIDs) of(c *cursor) int64 {
	if r.known && r.row == c.moves {
		return r.id
	}
	if r.seen == nil {
		r.seen, r.seed = map[uint64]uint64{}, c.module.conn.seed
	}
	r.buf = r.buf[:0]
	for i := range c.module.schema.Columns {
		if c.plan.Used&(1<<min(i, 63)) != 0 {
			r.buf = appendCell(r.buf, c.row.Column(i))
		}
	}
	h := maphash.Bytes(r.seed, r.buf)
	n := r.seen[h]
	r.seen[h] = n + 1
	if n > 0 {
		h = maphash.Comparable(r.seed, [2]uint64{h, n})
	}
	r.known, r.row, r.id = true, c.moves, int64(h)
	return r.id
}

// appendCell appends a form of a cell that no other cell has, whatever follows.
func appendCell(dst []byte, v tables.Value) []byte {
	start := len(dst)
	dst = append(dst, byte(v.Kind()), 0, 0, 0, 0, 0, 0, 0, 0)
	if v.Kind() == tables.KindFloat {
		return putUint(dst, start+1, math.Float64bits(v.Float64()))
	}
	dst = v.Append(dst)
	return putUint(dst, start+1, uint64(len(dst)-start))
}

func putUint(b []byte, at int, n uint64) []byte {
	binary.LittleEndian.PutUint64(b[at:], n)
	return b
}

// scanStats returns what counts the scans of a table by one plan.
func (st *Stmt) scanStats(c *cursor) *scanCount {
	key := scanKey{table: c.module.name, plan: c.text, number: c.number}
	if stats := st.scans[key]; stats != nil {
		return stats
	}
	stats := &scanCount{ScanStats: ScanStats{Table: c.module.name}, number: c.number}
	for _, a := range tableArgs(c.module.schema, c.plan.Args) {
		stats.Terms = append(stats.Terms, describe(c.module.schema, a))
	}
	if st.scans == nil {
		st.scans = map[scanKey]*scanCount{}
	}
	st.scans[key] = stats
	st.session.scans = append(st.session.scans, stats)
	return stats
}

// tableArgs returns the arguments that the table is given.
func tableArgs(schema *tables.Schema, args []plan.Arg) []plan.Arg {
	return slices.DeleteFunc(slices.Clone(args), func(a plan.Arg) bool { return plan.Own(schema, a) })
}

func describe(schema *tables.Schema, a plan.Arg) string {
	switch {
	case a.Op == plan.OpLimit:
		return "LIMIT ?"
	case a.Op == plan.OpOffset:
		return "OFFSET ?"
	case a.List:
		return schema.Columns[a.Column].Name + " IN (…)"
	}
	return schema.Columns[a.Column].Name + " " + a.Op.String() + " ?"
}

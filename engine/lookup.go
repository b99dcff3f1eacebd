package engine

import (
	"hash/maphash"
	"math"
	"slices"
	"time"

	"sockql/engine/internal/plan"
	"sockql/tables"
)

// The inside of a join asks a table for one value after the other. Where the
// table looks rows up at little cost, that is what should be done. Where it
// cannot look up by the column, or has to search all it has each time, one pass
// and an index of it cost less. SQLite makes such an index only of its own
// tables.

// An index finds the rows of a copy by the values of its keys. It may find too
// many, because SQLite checks each row again.
type index struct {
	first map[uint64]int32 // a row by the hash of its keys
	next  []int32          // the row after it with the same hash, or -1
}

// indexBytes is what an index takes for a row.
const indexBytes = 24

// matches are the rows that an index finds, in the order of the copy.
type matches struct {
	some bool // only these are wanted, not all rows
	row  int32
}

func (m *matches) next(ix *index) int {
	row := m.row
	if row >= 0 {
		m.row = ix.next[row]
	}
	return int(row)
}

// A lookups tells what asking a table for each value has cost so far, with the
// other terms as they are.
type lookups struct {
	asked     bool
	rest      tables.Request // the question without its keys
	scans     int
	rows      int64 // that SQLite had been given when it began
	timed     bool
	spent     time.Duration // in the table, from the second scan on
	threshold time.Duration
	wide      bool // all values are asked for at once
}

// A policy says when a copy is made to look up in. Tests have others.
type policy struct {
	never bool          // nothing is looked up
	least int           // look-ups
	spent time.Duration // in the table
}

// A pass that might be in vain must be small beside what was spent.
var defaultPolicy = policy{least: 8, spent: 5 * time.Millisecond}

// mostByIndex is how many rows are copied of a table that has a key of its own:
// a large one looks up by it at less cost than a copy of all has.
const mostByIndex = 10_000

// setKeys finds the columns of a plan by which a copy can be indexed.
func (c *cursor) setKeys() {
	c.keys, c.ownKeys, c.lookups, c.index = nil, false, lookups{}, nil
	for _, a := range c.plan.Args {
		if a.Op == plan.OpLimit {
			// Whatever is copied is cut short.
			c.keys = nil
			return
		}
		if plan.Key(c.module.schema, a) && !slices.Contains(c.keys, a.Column) {
			c.keys = append(c.keys, a.Column)
			c.ownKeys = c.ownKeys || plan.Own(c.module.schema, a)
		}
	}
}

// widen takes the keys out of a question if one pass over the table is worth
// it, and reports whether it did. The question as it was is kept in c.narrow.
func (c *cursor) widen(request *tables.Request) bool {
	p := &c.module.conn.policy
	if len(c.keys) == 0 || len(request.Constraints) == 0 || p.never {
		return false
	}
	wide := *request
	wide.Constraints = nil
	keys := 0
	for _, k := range request.Constraints {
		if k.Op == tables.OpEq && len(k.Values) == 1 && slices.Contains(c.keys, k.Column) {
			keys++
		} else {
			wide.Constraints = append(wide.Constraints, k)
		}
	}
	if keys == 0 {
		return false
	}
	l := &c.lookups
	if !l.asked || !sameQuestion(&l.rest, &wide) {
		*l = lookups{asked: true, rest: wide, rows: c.stats.Rows, threshold: p.spent}
	}
	l.scans++
	l.timed = l.scans > 1 && !l.wide
	if !l.wide {
		if l.scans < p.least || l.spent < l.threshold || c.looksUpMany() {
			return false
		}
		l.wide, l.timed = true, true
	}
	c.narrow, *request = *request, wide
	return true
}

// looksUpMany reports whether the table has a key of its own among the keys by
// which it gives several rows a time: such a table has its own way to go
// through all of them, and a copy would be large.
func (c *cursor) looksUpMany() bool {
	return c.byIndex() && c.stats.Rows-c.lookups.rows > 2*int64(c.lookups.scans)
}

// byIndex reports whether the table has a key of its own among the keys.
func (c *cursor) byIndex() bool {
	return slices.ContainsFunc(c.keys, func(column int) bool {
		return c.module.schema.Columns[column].Flags.Has(tables.Index)
	})
}

// gather copies what the table answers to the question. If that takes too long
// or too much memory there is no copy, and no harm done; it is tried again when
// a multiple has been spent.
func (c *cursor) gather() error {
	l := &c.lookups
	budget := l.spent
	c.recording = c.newCopy()
	c.startScan()
	start := time.Now()
	var deadline time.Time
	for n := 0; ; n++ {
		row, alive := c.resume()
		if !alive {
			c.next = nil
		}
		if row == nil {
			break
		}
		if n == 0 {
			// What the table had to collect first is spent either way.
			deadline = time.Now().Add(max(budget, time.Since(start)))
		}
		if c.record(row); c.recording == nil || n >= mostByIndex && c.byIndex() {
			l.threshold = math.MaxInt64
		} else if n&0xff == 0xff && time.Now().After(deadline) {
			l.threshold = 4 * l.spent
		} else {
			continue
		}
		l.wide = false
		c.stopScan()
		c.recording.drop()
		c.recording, c.asked, c.huge = nil, false, false
		return nil
	}
	c.ended = true
	c.copy, c.recording = c.recording, nil
	return c.err
}

// find chooses the rows of the copy that the scan wants.
func (c *cursor) find() {
	c.matches = matches{}
	if !c.ownKeys && !c.lookups.wide || c.copy.width == 0 || c.module.conn.policy.never {
		return // the copy is of nothing else
	}
	if c.index == nil {
		c.index = c.newIndex()
	}
	// The values are brought to the columns' types as for a table.
	q := tables.NewQuery(nil, c.module.schema, tables.Request{Constraints: c.values})
	if q.Empty() {
		c.matches = matches{some: true, row: -1}
		return
	}
	c.ids.buf = c.ids.buf[:0]
	for _, column := range c.keys {
		values, ok := q.Set(column).Values()
		if !ok || len(values) != 1 || c.index.first == nil {
			return
		}
		c.ids.buf = appendKey(c.ids.buf, values[0])
	}
	row, found := c.index.first[maphash.Bytes(c.module.conn.seed, c.ids.buf)]
	if !found {
		row = -1
	}
	c.matches = matches{some: true, row: row}
	c.stats.Indexed++
}

// appendKey appends a cell so that equal ones are the same bytes.
func appendKey(dst []byte, v tables.Value) []byte {
	if v.Kind() == tables.KindFloat && v.Float64() == 0 {
		v = tables.Float(0) // not the other zero
	}
	return appendCell(dst, v)
}

// newIndex indexes the copy by the keys. It stays empty if a cell is not of its
// column's type: SQLite has ways to compare it that a hash has not.
func (c *cursor) newIndex() *index {
	s := c.copy
	ix := &index{first: make(map[uint64]int32), next: make([]int32, s.rows)}
	if s.rows > math.MaxInt32 || *s.total+s.rows*indexBytes > maxSnapshots {
		return &index{}
	}
	// From the end, so that the chains are in order.
	for row := s.rows - 1; row >= 0; row-- {
		s.seek(row)
		ix.next[row] = -1
		c.ids.buf = c.ids.buf[:0]
		null := false
		for _, column := range c.keys {
			if s.position[column] < 0 {
				return &index{}
			}
			v := s.Column(column)
			if null = v.IsNull(); null {
				break // nothing equals it
			}
			if !c.module.schema.Columns[column].Type.Holds(v) {
				return &index{}
			}
			c.ids.buf = appendKey(c.ids.buf, v)
		}
		if null {
			continue
		}
		key := maphash.Bytes(c.module.conn.seed, c.ids.buf)
		if next, found := ix.first[key]; found {
			ix.next[row] = next
		}
		ix.first[key] = int32(row)
	}
	s.bytes += s.rows * indexBytes
	*s.total += s.rows * indexBytes
	return ix
}

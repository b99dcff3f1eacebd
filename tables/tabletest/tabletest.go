// Package tabletest is the conformance suite that every table passes. Only
// tests import it.
//
// It needs no privilege of its own. [Run] starts scans that run at the same
// time, and looks for goroutines and descriptors that a scan left behind, so a
// test that calls it must not be parallel to others.
package tabletest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"sockql/tables"
)

// Options say what a table's test knows.
type Options struct {
	// Constraints go with every scan: the columns that the table requires.
	Constraints []tables.Constraint
	// Checks hold for each value of a column that is not NULL. What the type
	// demands is checked without them.
	Checks map[string]func(tables.Value) error
	// Stable says that nothing changes what the table shows: it reads a
	// recorded tree or a namespace where nothing happens.
	Stable bool
	// Reads counts the table's reads of its source. Nil leaves out the tests
	// that cancel a scan within the source.
	Reads *Counter
	// Parallel is how many reads the table has under way at once; 0 stands
	// for 1. So many may still end after a scan was cancelled.
	Parallel int
}

// A Counter counts reads of a source. Its method Read has the signature that
// procfs.OnOpen takes.
type Counter struct {
	n       atomic.Int64
	trigger atomic.Pointer[trigger]
}

type trigger struct {
	at int64
	f  func()
}

// Read counts a read. It never fails.
func (c *Counter) Read(string) error {
	n := c.n.Add(1)
	if t := c.trigger.Load(); t != nil && t.at == n {
		t.f()
	}
	return nil
}

// Count returns the number of reads so far.
func (c *Counter) Count() int64 { return c.n.Load() }

// at has f called with the n-th read from now on.
func (c *Counter) at(n int64, f func()) { c.trigger.Store(&trigger{c.n.Load() + n, f}) }

// Run tests a table.
func Run(t *testing.T, table tables.Table, o Options) {
	t.Helper()
	s := suite{table: table, schema: table.Schema(), Options: o}
	t.Run("schema", s.testSchema)
	t.Run("osquery", s.testOsquery)
	t.Run("values", s.testValues)
	t.Run("used columns", s.testUsed)
	t.Run("push-down", s.testPushdown)
	t.Run("distinct", s.testDistinct)
	t.Run("concurrent", s.testConcurrent)
	t.Run("stop", s.testStop)
	t.Run("cancel", s.testCancel)
}

type suite struct {
	table  tables.Table
	schema *tables.Schema
	Options
}

// A cells is one row: the values of all columns, or of those that were used.
type cells []tables.Value

func (c cells) String() string {
	var b strings.Builder
	for _, v := range c {
		fmt.Fprintf(&b, "%d:%s|", v.Kind(), v)
	}
	return b.String()
}

// scan returns the rows of a request in a session of its own.
func (s *suite) scan(t *testing.T, r tables.Request) []cells {
	t.Helper()
	session := tables.NewSession(context.Background())
	defer session.Close()
	rows, err := s.scanIn(session, r)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func (s *suite) scanIn(session *tables.Session, r tables.Request) ([]cells, error) {
	r.Constraints = append(slices.Clone(s.Constraints), r.Constraints...)
	q := tables.NewQuery(session, s.schema, r)
	var rows []cells
	err := tables.Run(session.Context(), s.table, q, func(row tables.Row) bool {
		c := make(cells, len(s.schema.Columns))
		for i := range c {
			if q.Used(i) {
				c[i] = row.Column(i)
			}
		}
		rows = append(rows, c)
		return true
	})
	return rows, err
}

var everything = tables.Request{Used: tables.AllUsed}

var columnName = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

func (s *suite) testSchema(t *testing.T) {
	if !columnName.MatchString(s.schema.Name) {
		t.Errorf("table %q: names are small letters, digits and underscores", s.schema.Name)
	}
	if !sentence(s.schema.Doc) {
		t.Errorf("table %q: documentation %q is no sentence", s.schema.Name, s.schema.Doc)
	}
	for _, e := range s.schema.Examples {
		if !strings.HasSuffix(e, ";") || !strings.Contains(e, s.schema.Name) {
			t.Errorf("example %q: ends in a semicolon and asks %s", e, s.schema.Name)
		}
	}
	for _, c := range s.schema.Columns {
		if !columnName.MatchString(c.Name) {
			t.Errorf("column %q: names are small letters, digits and underscores", c.Name)
		}
		if !sentence(c.Doc) {
			t.Errorf("column %s: documentation %q is no sentence", c.Name, c.Doc)
		}
		if c.Type > tables.Blob {
			t.Errorf("column %s: type %v", c.Name, c.Type)
		}
		if c.Flags&^(tables.Constrainable|tables.Hidden) != 0 {
			t.Errorf("column %s: unknown flags %b", c.Name, c.Flags)
		}
		if c.Flags.Has(tables.Optimized) && !c.Flags.Any(tables.Index|tables.Required|tables.Additional) {
			t.Errorf("column %s: takes lists at once but no constraint at all", c.Name)
		}
	}
}

// sentence reports whether a text is more than a word and ends as a sentence.
func sentence(s string) bool {
	return len(s) >= 2 && strings.HasSuffix(s, ".") && strings.TrimSpace(s) == s
}

// testValues checks each value against its column's type, its check and its
// documentation: a column may be NULL only if it is said when.
func (s *suite) testValues(t *testing.T) {
	undocumented := map[string]bool{}
	for _, row := range s.scan(t, everything) {
		for i, v := range row {
			c := &s.schema.Columns[i]
			if v.IsNull() {
				if undocumented[c.Name] {
					continue
				}
				undocumented[c.Name] = true
				if !strings.Contains(c.Doc, "NULL") {
					t.Errorf("column %s is NULL, of which its documentation says nothing: %q", c.Name, c.Doc)
				}
				continue
			}
			if err := fits(c, v); err != nil {
				t.Errorf("column %s: %v", c.Name, err)
			}
			if check := s.Checks[c.Name]; check != nil {
				if err := check(v); err != nil {
					t.Errorf("column %s: %v", c.Name, err)
				}
			}
		}
	}
	for name := range s.Checks {
		if s.schema.Column(name) < 0 {
			t.Errorf("a check names the column %q, which is not there", name)
		}
	}
}

// fits reports whether a value is one of the column's type.
func fits(c *tables.ColumnInfo, v tables.Value) error {
	want := map[tables.Type]tables.Kind{
		tables.Text: tables.KindText, tables.Blob: tables.KindBlob, tables.Double: tables.KindFloat,
		tables.Integer: tables.KindInt, tables.BigInt: tables.KindInt, tables.UnsignedBigInt: tables.KindInt,
	}[c.Type]
	if v.Kind() != want {
		return fmt.Errorf("value %q of kind %d in a column of type %v", v, v.Kind(), c.Type)
	}
	if n := v.Int64(); c.Type == tables.Integer && n != int64(int32(n)) {
		return fmt.Errorf("value %d in a column of type %v, which osquery cuts to 32 bits", n, c.Type)
	}
	return nil
}

// testUsed compares each column read alone with the same column among all: a
// table that reads only what is used must know what a column needs.
func (s *suite) testUsed(t *testing.T) {
	if !s.Stable {
		t.Skip("the source changes")
	}
	full := s.scan(t, everything)
	for i, c := range s.schema.Columns {
		alone := s.scan(t, tables.Request{Used: 1 << min(i, 63)})
		if diff := compare(project(full, i), project(alone, i)); diff != "" {
			t.Errorf("column %s read alone: %s", c.Name, diff)
		}
	}
}

// project returns one column of all rows.
func project(rows []cells, i int) []cells {
	column := make([]cells, len(rows))
	for j, row := range rows {
		column[j] = row[i : i+1]
	}
	return column
}

// testPushdown asks with constraints and filters the rows itself, from a scan
// with them and from one without.
func (s *suite) testPushdown(t *testing.T) {
	if !s.Stable {
		t.Skip("the source changes")
	}
	full := s.scan(t, everything)
	for i := range s.schema.Columns {
		c := &s.schema.Columns[i]
		if !c.Flags.Any(tables.Constrainable) || c.Flags.Has(tables.Required) {
			continue
		}
		for _, k := range constraints(c, i, full) {
			r := everything
			r.Constraints = []tables.Constraint{k.Constraint}
			got := s.scan(t, r)
			if diff := compare(filter(full, i, k.holds), filter(got, i, k.holds)); diff != "" {
				t.Errorf("%s %v %v: %s", c.Name, k.Op, k.Values, diff)
			}
		}
	}
}

// A term is a constraint and what it means for a value of the column.
type term struct {
	tables.Constraint
	holds func(tables.Value) bool
}

// constraints makes terms of the values that a column has, and of others.
func constraints(c *tables.ColumnInfo, at int, rows []cells) []term {
	var present []tables.Value
	for _, row := range rows {
		if v := row[at]; !v.IsNull() && !slices.ContainsFunc(present, v.Equal) && len(present) < 8 {
			present = append(present, v)
		}
	}
	var terms []term
	equal := func(written, meant []tables.Value) {
		terms = append(terms, term{
			tables.Constraint{Column: at, Op: tables.OpEq, Values: written},
			func(v tables.Value) bool { return slices.ContainsFunc(meant, v.Equal) },
		})
	}
	for i, v := range present {
		equal([]tables.Value{v}, []tables.Value{v})
		if i >= 3 { // enough of the rest
			continue
		}
		switch v.Kind() {
		case tables.KindInt:
			equal([]tables.Value{tables.String(" " + v.String())}, []tables.Value{v})
			equal([]tables.Value{tables.Float(v.Float64())}, []tables.Value{v})
			for op, holds := range map[tables.Op]func(a, b int64) bool{
				tables.OpLT: func(a, b int64) bool { return a < b },
				tables.OpLE: func(a, b int64) bool { return a <= b },
				tables.OpGT: func(a, b int64) bool { return a > b },
				tables.OpGE: func(a, b int64) bool { return a >= b },
			} {
				terms = append(terms, term{
					tables.Constraint{Column: at, Op: op, Values: []tables.Value{v}},
					func(w tables.Value) bool { return !w.IsNull() && holds(w.Int64(), v.Int64()) },
				})
			}
		case tables.KindText:
			terms = append(terms, term{
				tables.Constraint{Column: at, Op: tables.OpLike, Values: []tables.Value{tables.String("%")}},
				func(w tables.Value) bool { return !w.IsNull() },
			})
		}
	}
	absent := tables.String("no such value")
	if c.Type != tables.Text {
		absent = tables.Int(-77)
	}
	equal(append(slices.Clone(present), tables.Null(), absent), present)
	equal([]tables.Value{absent}, nil)
	terms = append(terms, term{
		tables.Constraint{Column: at, Op: tables.OpIs, Values: []tables.Value{tables.Null()}},
		tables.Value.IsNull,
	})
	return terms
}

func filter(rows []cells, i int, holds func(tables.Value) bool) []cells {
	return slices.DeleteFunc(slices.Clone(rows), func(r cells) bool { return !holds(r[i]) })
}

// testDistinct asks for each column alone with leave to drop equal rows.
func (s *suite) testDistinct(t *testing.T) {
	if !s.Stable {
		t.Skip("the source changes")
	}
	full := s.scan(t, everything)
	for i, c := range s.schema.Columns {
		got := s.scan(t, tables.Request{Used: 1 << min(i, 63), Distinct: true})
		if diff := compare(unique(project(full, i)), unique(project(got, i))); diff != "" {
			t.Errorf("column %s, distinct: %s", c.Name, diff)
		}
	}
}

func unique(rows []cells) []cells {
	seen := map[string]bool{}
	return slices.DeleteFunc(slices.Clone(rows), func(r cells) bool {
		key := r.String()
		defer func() { seen[key] = true }()
		return seen[key]
	})
}

// testConcurrent runs two scans at once, in two sessions and in one.
func (s *suite) testConcurrent(t *testing.T) {
	for _, sessions := range []int{1, 2} {
		var results [2][]cells
		var errs [2]error
		var open [2]*tables.Session
		for i := range open {
			open[i] = tables.NewSession(context.Background())
			defer open[i].Close()
		}
		var wg sync.WaitGroup
		for i := range results {
			wg.Go(func() { results[i], errs[i] = s.scanIn(open[i%sessions], everything) })
		}
		wg.Wait()
		if err := errors.Join(errs[:]...); err != nil {
			t.Fatal(err)
		}
		if diff := compare(results[0], results[1]); s.Stable && diff != "" {
			t.Errorf("two scans at once, %d sessions: %s", sessions, diff)
		}
	}
}

// testStop ends a scan after each of its first rows.
func (s *suite) testStop(t *testing.T) {
	total := len(s.scan(t, everything))
	for stop := range min(total, 3) {
		leaks := watch(t)
		session := tables.NewSession(context.Background())
		r := everything
		r.Constraints = s.Constraints
		rows := 0
		err := tables.Run(session.Context(), s.table, tables.NewQuery(session, s.schema, r), func(tables.Row) bool {
			rows++
			return rows <= stop
		})
		session.Close()
		if err != nil {
			t.Errorf("a scan that was stopped after %d rows: %v", stop+1, err)
		}
		if rows != stop+1 {
			t.Errorf("a scan that was stopped after %d rows went on to %d", stop+1, rows)
		}
		leaks()
	}
}

var errCancelled = errors.New("cancelled by the test")

// testCancel ends the context with the first row and with several of the reads
// of the source.
func (s *suite) testCancel(t *testing.T) {
	parallel := int64(max(s.Parallel, 1))
	cancelled := func(name string, expectEnd bool, arm func(cancel func())) {
		t.Helper()
		leaks := watch(t)
		ctx, cancel := context.WithCancelCause(context.Background())
		defer cancel(nil)
		var at atomic.Int64
		at.Store(-1)
		stop := func() {
			if s.Reads != nil {
				at.Store(s.Reads.Count())
			}
			cancel(errCancelled)
		}
		if arm != nil {
			arm(stop)
		}
		session := tables.NewSession(ctx)
		r := everything
		r.Constraints = s.Constraints
		rows := 0
		err := tables.Run(ctx, s.table, tables.NewQuery(session, s.schema, r), func(tables.Row) bool {
			rows++
			if arm == nil {
				stop()
			}
			return true
		})
		session.Close()
		if expectEnd && !errors.Is(err, errCancelled) {
			t.Errorf("%s: error %v, want the context's cause", name, err)
		}
		if arm == nil && rows > 1 {
			t.Errorf("%s: %d rows came", name, rows)
		}
		if s.Reads != nil && at.Load() >= 0 {
			if more := s.Reads.Count() - at.Load(); more > parallel {
				t.Errorf("%s: %d more reads of the source, want at most %d", name, more, parallel)
			}
		}
		leaks()
	}
	if len(s.scan(t, everything)) > 0 {
		cancelled("cancelled with the first row", true, nil)
	}
	if s.Reads == nil {
		return
	}
	before := s.Reads.Count()
	s.scan(t, everything)
	total := s.Reads.Count() - before
	for _, n := range slices.Compact([]int64{1, 2, total / 4, total / 2, total - 1}) {
		if n < 1 || n >= total {
			continue
		}
		cancelled(fmt.Sprintf("cancelled with read %d of %d", n, total), true, func(cancel func()) { s.Reads.at(n, cancel) })
	}
}

// watch returns a function that reports goroutines and descriptors made since.
func watch(t *testing.T) func() {
	t.Helper()
	goroutines := goleak.IgnoreCurrent()
	before := descriptors(t)
	return func() {
		t.Helper()
		if err := goleak.Find(goroutines); err != nil {
			t.Errorf("a scan left goroutines behind: %v", err)
		}
		for _, fd := range descriptors(t) {
			if !slices.Contains(before, fd) {
				t.Errorf("a scan left descriptor %s open", fd)
			}
		}
	}
}

// descriptors lists this process's open descriptors with what they refer to.
func descriptors(t *testing.T) []string {
	t.Helper()
	const dir = "/dev/fd"
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Skipf("needs %s: %v", dir, err)
	}
	var list []string
	for _, e := range entries {
		// The directory itself is closed by now.
		if target, err := os.Readlink(dir + "/" + e.Name()); err == nil {
			list = append(list, e.Name()+" "+target)
		}
	}
	return list
}

// compare says how two bags of rows differ, and nothing if they do not.
func compare(want, got []cells) string {
	count := map[string]int{}
	for _, r := range want {
		count[r.String()]++
	}
	for _, r := range got {
		count[r.String()]--
	}
	var diff []string
	for row, n := range count {
		switch {
		case n > 0:
			diff = append(diff, fmt.Sprintf("%d× missing %q", n, row))
		case n < 0:
			diff = append(diff, fmt.Sprintf("%d× too many %q", -n, row))
		}
	}
	slices.Sort(diff)
	if len(diff) > 5 {
		diff = append(diff[:5], fmt.Sprintf("and %d more", len(diff)-5))
	}
	return strings.Join(diff, "; ")
}

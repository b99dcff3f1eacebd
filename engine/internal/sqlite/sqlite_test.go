package sqlite

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"sockql/engine/internal/plan"
	"sockql/tables"
)

// numbers is a module of three rows that fails at the call that is named.
type numbers struct {
	declare string
	fail    string // the call that returns an error
	panics  string // the call that panics
	opened  int
	closed  int
	seen    [][]tables.Value
}

var errCall = errors.New("call failed")

func (n *numbers) at(call string) error {
	if n.panics == call {
		panic("in " + call)
	}
	if n.fail == call {
		return errCall
	}
	return nil
}

func (n *numbers) Name() string { return "numbers" }

func (n *numbers) Declare() string {
	n.at("Declare")
	if n.declare != "" {
		return n.declare
	}
	return "CREATE TABLE x(n INTEGER, s TEXT)"
}

func (n *numbers) Plan(offer *Offer) (plan.Choice, error) {
	c := plan.Choice{Take: make([]int, len(offer.Terms)), Cost: 100, Rows: 3}
	for i, t := range offer.Terms {
		if t.Usable && t.Op == tables.OpEq {
			c.Plan.Args = append(c.Plan.Args, plan.Arg{Op: t.Op, List: t.List})
			c.Take[i] = len(c.Plan.Args)
		}
	}
	return c, n.at("Plan")
}

func (n *numbers) Open() Cursor {
	n.at("Open")
	n.opened++
	return &numbersCursor{numbers: n}
}

type numbersCursor struct {
	numbers *numbers
	row     int
}

func (c *numbersCursor) Filter(_ int32, text string, args *Args) (tables.Row, error) {
	c.row = 0
	p, err := plan.Parse(text)
	if err != nil {
		return nil, err
	}
	for i := range args.Len() {
		if p.Args[i].List {
			values, err := args.AppendList(nil, i)
			if err != nil {
				return nil, err
			}
			c.numbers.seen = append(c.numbers.seen, values)
			continue
		}
		c.numbers.seen = append(c.numbers.seen, []tables.Value{args.Value(i)})
	}
	if err := c.numbers.at("Filter"); err != nil {
		return nil, err
	}
	return c.Next()
}

func (c *numbersCursor) Next() (tables.Row, error) {
	if c.row++; c.row == 2 {
		if err := c.numbers.at("Next"); err != nil {
			return nil, err
		}
	}
	if c.row > 3 {
		return nil, nil
	}
	return c, nil
}

func (c *numbersCursor) Column(i int) tables.Value {
	c.numbers.at("Column")
	if i == 1 {
		return tables.String(strings.Repeat("x", c.row))
	}
	return tables.Int(c.row)
}

func (c *numbersCursor) RowID() int64 { c.numbers.at("RowID"); return int64(c.row) }

func (c *numbersCursor) Close() {
	c.numbers.closed++
	c.numbers.at("Close")
}

// run returns the first column of a statement's rows.
func run(c *Conn, sql string) ([]string, error) {
	st, _, err := c.Prepare(sql)
	if err != nil {
		return nil, err
	}
	defer st.Close()
	var lines []string
	for {
		more, err := st.Step()
		if !more {
			return lines, err
		}
		row, err := st.Row(nil)
		if err != nil {
			return lines, err
		}
		lines = append(lines, row[0].String())
	}
}

func connect(t *testing.T, cfg Config) *Conn {
	t.Helper()
	c, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if len(c.cursors) > 0 {
			t.Errorf("%d cursors are left", len(c.cursors))
		}
	})
	return c
}

func TestCallbacksThatFail(t *testing.T) {
	const sql = "select rowid, n, s from numbers"
	for _, call := range []string{"Declare", "Plan", "Open", "Filter", "Next", "Column", "RowID", "Close"} {
		n := &numbers{panics: call}
		_, err := run(connect(t, Config{Modules: []Module{n}}), sql)
		var p *tables.PanicError
		if call == "Close" {
			if err != nil {
				t.Errorf("Close: %v", err) // the rows were there already
			}
		} else if !errors.As(err, &p) || p.Value != "in "+call || err.Error() != "table numbers: panic: in "+call {
			t.Errorf("%s panics: %v", call, err)
		}
		if n.opened != n.closed {
			t.Errorf("%s panics: %d cursors opened, %d closed", call, n.opened, n.closed)
		}
	}
	for _, call := range []string{"Plan", "Filter", "Next"} {
		n := &numbers{fail: call}
		_, err := run(connect(t, Config{Modules: []Module{n}}), sql)
		var e *Error
		if !errors.Is(err, errCall) || !errors.As(err, &e) || e.Message != "call failed" || e.Code != 1 {
			t.Errorf("%s fails: %v", call, err)
		}
	}
}

func TestDeclarationThatSQLiteRefuses(t *testing.T) {
	c := connect(t, Config{Modules: []Module{&numbers{declare: "CREATE TABLE x(n INTEGER, n TEXT)"}}})
	if _, err := run(c, "select * from numbers"); err == nil || !strings.Contains(err.Error(), "duplicate column name: n") {
		t.Errorf("error %v", err)
	}
}

func TestArguments(t *testing.T) {
	n := &numbers{}
	c := connect(t, Config{Modules: []Module{n}})
	for sql, want := range map[string]string{
		"select n from numbers where n = 2":                              "[[2]]",
		"select n from numbers where n = 'x'":                            "[[x]]",
		"select n from numbers where n in (3, null, 1, 'x', 2.5, x'41')": "[[ 1 2.5 3 x A]]",
		"select n from numbers where n in (select 2 union select 3)":     "[[2 3]]",
		"select n from numbers where n in (1, 2) and s in ('x', 'y')":    "[[1 2] [x y]]",
	} {
		n.seen = nil
		if _, err := run(c, sql); err != nil {
			t.Fatal(err)
		}
		var lists []string
		for _, values := range n.seen {
			var texts []string
			for _, v := range values {
				texts = append(texts, v.String())
			}
			lists = append(lists, "["+strings.Join(texts, " ")+"]")
		}
		if got := "[" + strings.Join(lists, " ") + "]"; got != want {
			t.Errorf("%s: %s, want %s", sql, got, want)
		}
	}
}

func TestOpenReportsWhatIsWrong(t *testing.T) {
	for part, cfg := range map[string]Config{
		`set up: "nonsense"`:       {Setup: []string{"nonsense"}},
		"NUL byte":                 {Functions: []Function{{Name: "a\x00b"}}},
		`register function "f`:     {Functions: []Function{{Name: "f", Args: []int{5000}}}},
		`register collating seque`: {Collations: []Collation{{Name: "\x00"}}},
	} {
		before := MemoryUsed()
		if c, err := Open(cfg); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("error %v, want %q", err, part)
			c.Close()
		}
		if after := MemoryUsed(); after > before {
			t.Errorf("%s: SQLite's memory went from %d to %d", part, before, after)
		}
	}
}

func TestCloseWaitsForStatements(t *testing.T) {
	c := connect(t, Config{Modules: []Module{&numbers{}}})
	st, _, err := c.Prepare("select n from numbers")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := st.Step(); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err == nil {
		t.Fatal("the connection closed under a statement")
	}
	if more, err := st.Step(); !more || err != nil {
		t.Errorf("the statement stopped: %v", err)
	}
	st.Close()
	st.Close()
}

func TestInterrupt(t *testing.T) {
	asked := 0
	c := connect(t, Config{Interrupt: func(int64) error {
		if asked++; asked > 10 {
			return errCall
		}
		return nil
	}})
	asked = 0
	_, err := run(c, "with recursive r(n) as (select 1 union all select n+1 from r) select count(*) from r")
	var e *Error
	if !errors.Is(err, errCall) || !errors.As(err, &e) || e.Code != 9 {
		t.Errorf("error %v", err)
	}
	asked = 0
	if got, err := run(c, "select 5"); err != nil || !slices.Equal(got, []string{"5"}) {
		t.Errorf("afterwards: %q, %v", got, err)
	}
}

// TestArena cuts texts of every size and looks whether a later one changes an
// earlier one.
func TestArena(t *testing.T) {
	var a arena
	source := make([]byte, 3*lastChunk)
	for i := range source {
		source[i] = byte(i)
	}
	var texts []string
	for n := range 3000 {
		texts = append(texts, a.copy(address(&source[n%7]), n%(lastChunk+500)))
	}
	for n, text := range texts {
		size := n % (lastChunk + 500)
		if text != string(source[n%7:n%7+size]) {
			t.Fatalf("text %d of %d bytes changed", n, size)
		}
	}
	if got := a.copy(0, 5); got != "" {
		t.Errorf("the null pointer gave %q", got)
	}
}

func TestComplete(t *testing.T) {
	if !Complete("select 1;") || Complete("select 1") || Complete("select ';") {
		t.Error("wrong idea of a whole statement")
	}
}

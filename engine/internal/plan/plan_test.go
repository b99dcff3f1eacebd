package plan_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sockql/engine/internal/plan"
	"sockql/tables"
)

var schema = &tables.Schema{Name: "t", Columns: []tables.ColumnInfo{
	{Name: "pid", Type: tables.BigInt, Flags: tables.Index},
	{Name: "fd", Type: tables.BigInt, Flags: tables.Additional},
	{Name: "state", Type: tables.Text, Flags: tables.Pushdown},
	{Name: "quiet", Type: tables.Text},
}}

var file = &tables.Schema{Name: "file", Columns: []tables.ColumnInfo{
	{Name: "path", Type: tables.Text, Flags: tables.Index | tables.Required, Collate: "NOCASE"},
	{Name: "size", Type: tables.BigInt},
}}

func eq(column int) plan.Term {
	return plan.Term{Column: column, Op: tables.OpEq, Usable: true, Collation: "BINARY"}
}

func with(t plan.Term, change func(*plan.Term)) plan.Term { change(&t); return t }

func unusable(t plan.Term) plan.Term { return with(t, func(t *plan.Term) { t.Usable = false }) }

func op(column int, op tables.Op) plan.Term {
	return with(eq(column), func(t *plan.Term) { t.Op = op })
}

func collated(t plan.Term, name string) plan.Term {
	return with(t, func(t *plan.Term) { t.Collation = name })
}

func TestChooseTakes(t *testing.T) {
	limit, offset := op(-1, plan.OpLimit), op(-1, plan.OpOffset)
	for name, test := range map[string]struct {
		schema *tables.Schema
		offer  plan.Offer
		take   []int
	}{
		"nothing":               {schema, plan.Offer{}, []int{}},
		"every operator":        {schema, plan.Offer{Terms: []plan.Term{eq(0), op(0, tables.OpLT), op(0, tables.OpLE), op(0, tables.OpGT), op(0, tables.OpGE), op(0, tables.OpIs), op(2, tables.OpLike), op(2, tables.OpGlob)}}, []int{1, 2, 3, 4, 5, 6, 7, 8}},
		"other operators":       {schema, plan.Offer{Terms: []plan.Term{op(0, 68), op(0, 70), op(0, 71), op(0, 64), op(0, 67), op(0, 150)}}, []int{0, 0, 0, 0, 0, 0}},
		"several on one column": {schema, plan.Offer{Terms: []plan.Term{op(0, tables.OpGT), eq(0), eq(0)}}, []int{1, 2, 3}},
		"for the engine":        {schema, plan.Offer{Terms: []plan.Term{eq(3), eq(1)}}, []int{1, 2}},
		"not without a flag":    {schema, plan.Offer{Terms: []plan.Term{op(3, tables.OpLT), op(3, tables.OpIs), collated(eq(3), "NOCASE"), with(eq(3), func(t *plan.Term) { t.List = true })}}, []int{0, 0, 0, 0}},
		"not unusable":          {schema, plan.Offer{Terms: []plan.Term{unusable(eq(0)), eq(1)}}, []int{0, 1}},
		"not the row's number":  {schema, plan.Offer{Terms: []plan.Term{eq(-1), eq(99)}}, []int{0, 0}},
		"text under NOCASE":     {schema, plan.Offer{Terms: []plan.Term{collated(eq(2), "NOCASE"), collated(op(2, tables.OpLT), "NOCASE"), collated(op(2, tables.OpIs), "rtrim")}}, []int{0, 0, 0}},
		"text under binary":     {schema, plan.Offer{Terms: []plan.Term{collated(eq(2), "binary"), collated(eq(2), "")}}, []int{1, 2}},
		"LIKE has no collation": {schema, plan.Offer{Terms: []plan.Term{collated(op(2, tables.OpLike), "NOCASE")}}, []int{1}},
		"number under NOCASE":   {schema, plan.Offer{Terms: []plan.Term{collated(eq(0), "NOCASE")}}, []int{1}},
		"required under NOCASE": {file, plan.Offer{Terms: []plan.Term{collated(eq(0), "NOCASE")}}, []int{1}},
		"limit alone":           {schema, plan.Offer{Terms: []plan.Term{limit}}, []int{1}},
		"limit and offset":      {schema, plan.Offer{Terms: []plan.Term{offset, limit}}, []int{2, 1}},
		"offset alone":          {schema, plan.Offer{Terms: []plan.Term{offset}}, []int{0}},
		"limit, offset unknown": {schema, plan.Offer{Terms: []plan.Term{limit, unusable(offset)}}, []int{0, 0}},
		"limit unknown":         {schema, plan.Offer{Terms: []plan.Term{unusable(limit)}}, []int{0}},
		"limit with a term":     {schema, plan.Offer{Terms: []plan.Term{eq(0), limit}}, []int{1, 0}},
		"limit, unusable term":  {schema, plan.Offer{Terms: []plan.Term{unusable(eq(3)), limit}}, []int{0, 0}},
		"limit, sorted":         {schema, plan.Offer{Terms: []plan.Term{limit}, Ordered: true}, []int{0}},
		"limit, distinct":       {schema, plan.Offer{Terms: []plan.Term{limit}, Distinct: 2}, []int{0}},
	} {
		got := plan.Choose(test.schema, test.offer)
		if !slices.Equal(got.Take, test.take) {
			t.Errorf("%s: took %v, want %v", name, got.Take, test.take)
		}
		// The positions are those of the arguments.
		for i, position := range got.Take {
			if position > 0 && got.Plan.Args[position-1].Op != test.offer.Terms[i].Op {
				t.Errorf("%s: argument %d is %v, term %d is %v", name, position, got.Plan.Args[position-1], i, test.offer.Terms[i])
			}
		}
	}
}

func TestRefusal(t *testing.T) {
	for term, want := range map[*plan.Term]string{
		ref(eq(0)):                     "",
		ref(eq(3)):                     "the table cannot look up by quiet",
		ref(op(0, 68)):                 "no table takes this operator",
		ref(collated(eq(2), "NOCASE")): "it compares with the collation NOCASE",
		ref(eq(-1)):                    "rowid is the engine's own",
	} {
		if got := plan.Refusal(schema, *term); got != want {
			t.Errorf("%+v: %q, want %q", *term, got, want)
		}
	}
}

func ref(t plan.Term) *plan.Term { return &t }

func TestKey(t *testing.T) {
	for a, want := range map[plan.Arg]bool{
		{Column: 0, Op: tables.OpEq}:             true,
		{Column: 1, Op: tables.OpEq}:             false, // additional
		{Column: 3, Op: tables.OpEq}:             true,
		{Column: 0, Op: tables.OpIs}:             false,
		{Column: 0, Op: tables.OpEq, List: true}: false,
	} {
		if got := plan.Key(schema, a); got != want {
			t.Errorf("%+v: %v", a, got)
		}
	}
	if plan.Key(file, plan.Arg{Column: 0, Op: tables.OpEq}) {
		t.Error("a required column is no key")
	}
}

func TestChooseDistinct(t *testing.T) {
	for distinct, want := range map[int]bool{0: false, 1: false, 2: true, 3: true} {
		if got := plan.Choose(schema, plan.Offer{Distinct: distinct}); got.Plan.Distinct != want {
			t.Errorf("sqlite3_vtab_distinct %d: %v, want %v", distinct, got.Plan.Distinct, want)
		}
	}
}

func TestChooseRequired(t *testing.T) {
	for name, test := range map[string]struct {
		terms    []plan.Term
		missing  string
		unusable bool
	}{
		"given":                {[]plan.Term{eq(0)}, "", false},
		"pattern":              {[]plan.Term{op(0, tables.OpLike)}, "", false},
		"absent":               {nil, "path", false},
		"a range names none":   {[]plan.Term{op(0, tables.OpGT)}, "path", false},
		"another column":       {[]plan.Term{eq(1)}, "path", false},
		"known too late":       {[]plan.Term{unusable(eq(0))}, "path", true},
		"one late, one usable": {[]plan.Term{unusable(eq(0)), eq(0)}, "", false},
		"a late range":         {[]plan.Term{unusable(op(0, tables.OpLT))}, "path", false},
	} {
		got := plan.Choose(file, plan.Offer{Terms: test.terms})
		if got.Missing != test.missing || got.Unusable != test.unusable {
			t.Errorf("%s: missing %q, unusable %v", name, got.Missing, got.Unusable)
		}
	}
}

// TestChooseOneOfSeveralRequired plans scans of a table that takes a path or a
// directory.
func TestChooseOneOfSeveralRequired(t *testing.T) {
	schema := &tables.Schema{Name: "file", Columns: []tables.ColumnInfo{
		{Name: "path", Type: tables.Text, Flags: tables.Index | tables.Required},
		{Name: "directory", Type: tables.Text, Flags: tables.Required},
	}}
	for name, test := range map[string]struct {
		terms    []plan.Term
		missing  string
		unusable bool
	}{
		"first":               {[]plan.Term{eq(0)}, "", false},
		"second":              {[]plan.Term{eq(1)}, "", false},
		"both":                {[]plan.Term{eq(0), eq(1)}, "", false},
		"neither":             {nil, "path", false},
		"first late":          {[]plan.Term{unusable(eq(0))}, "path", true},
		"second late":         {[]plan.Term{unusable(eq(1))}, "path", true},
		"first late, second":  {[]plan.Term{unusable(eq(0)), eq(1)}, "", false},
		"first, second range": {[]plan.Term{eq(0), op(1, tables.OpGT)}, "", false},
	} {
		got := plan.Choose(schema, plan.Offer{Terms: test.terms})
		if got.Missing != test.missing || got.Unusable != test.unusable || (got.Cost < 1e12) != (test.missing == "") {
			t.Errorf("%s: missing %q, unusable %v, cost %g", name, got.Missing, got.Unusable, got.Cost)
		}
	}
}

// TestCosts checks the order of what plans cost: it decides which table of a
// join is looked up.
func TestCosts(t *testing.T) {
	list := func(column int) plan.Term { return with(eq(column), func(t *plan.Term) { t.List = true }) }
	cost := func(schema *tables.Schema, terms ...plan.Term) float64 {
		return plan.Choose(schema, plan.Offer{Terms: terms}).Cost
	}
	ascending := []float64{
		cost(schema, eq(0)),
		cost(schema, list(0)),
		2 * cost(schema, eq(0)),
		cost(schema, eq(1)),
		cost(schema, list(1)),
		2 * cost(schema, eq(1)),
		cost(schema, op(1, tables.OpGT), op(1, tables.OpLT)),
		cost(schema, op(1, tables.OpGT)),
		cost(schema),
		cost(file),
	}
	if !slices.IsSorted(ascending) {
		t.Errorf("costs %v do not ascend", ascending)
	}
	if got := plan.Choose(schema, plan.Offer{Terms: []plan.Term{eq(0)}}); got.Rows >= plan.Choose(schema, plan.Offer{}).Rows {
		t.Errorf("a look-up gives %d rows", got.Rows)
	}
	// A thousand look-ups are better than a thousand scans, and better than
	// one that joins everything with everything.
	if 1000*cost(schema, eq(1)) > 1000*cost(schema) {
		t.Error("a scan for each row seems cheaper than a look-up for each")
	}
}

func TestPlanSurvivesItsText(t *testing.T) {
	for _, p := range []plan.Plan{
		{},
		{Used: tables.AllUsed, Distinct: true},
		{Used: 5, Args: []plan.Arg{{Column: 0, Op: tables.OpEq, List: true}, {Column: 12, Op: tables.OpLike}}},
		{Distinct: true, Args: []plan.Arg{{Op: plan.OpLimit}, {Op: plan.OpOffset}}},
	} {
		got, err := plan.Parse(p.String())
		if diff := cmp.Diff(p, got); err != nil || diff != "" {
			t.Errorf("%q: %v\n%s", p, err, diff)
		}
	}
	for _, text := range []string{"", "x", "1 ", "1 2", "1 2:", "1 :2", "1 999:1", "1 i", "1  2:3", "-1", "1 d d2"} {
		if p, err := plan.Parse(text); err == nil {
			t.Errorf("%q parses as %+v", text, p)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("ff d i2:0 65:12 73:0")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := plan.Parse(text)
		if err != nil {
			return
		}
		again, err := plan.Parse(p.String())
		if diff := cmp.Diff(p, again); err != nil || diff != "" {
			t.Errorf("%q: %v\n%s", text, err, diff)
		}
	})
}

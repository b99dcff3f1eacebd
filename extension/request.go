package extension

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"sockql/tables"
)

// A queryContext is what osqueryd tells of a scan. Each column is there, with
// an empty list if nothing restricts it.
type queryContext struct {
	Constraints []struct {
		Name string         `json:"name"`
		List constraintList `json:"list"`
	} `json:"constraints"`
	// ColsUsed is nil with an osqueryd that does not tell.
	ColsUsed *[]string `json:"colsUsed"`
}

type constraintList []struct {
	Op   operator `json:"op"`
	Expr string   `json:"expr"`
}

// UnmarshalJSON reads a list, or the empty string that osquery before 3.0
// wrote for an empty one.
func (l *constraintList) UnmarshalJSON(data []byte) error {
	if bytes.Equal(data, []byte(`""`)) {
		return nil
	}
	type plain constraintList
	return json.Unmarshal(data, (*plain)(l))
}

// An operator is the number of a comparison; osquery before 3.0 wrote it as a
// string.
type operator int

func (o *operator) UnmarshalJSON(data []byte) error {
	n, err := strconv.Atoi(strings.Trim(string(data), `"`))
	if err != nil {
		return fmt.Errorf("operator %q is no number", data)
	}
	*o = operator(n)
	return nil
}

// parseRequest reads the context of a generate call. Columns that the schema
// lacks and operators that tables do not know are left out: osqueryd filters
// again. So are LIMIT and OFFSET, which osqueryd gives as operators 73 and 74
// of the first column even where it will sort the rows or filter them by
// something else.
func parseRequest(schema *tables.Schema, text string) (tables.Request, error) {
	r := tables.Request{Used: tables.AllUsed}
	if text == "" {
		return r, nil
	}
	var c queryContext
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return r, fmt.Errorf("query context: %w", err)
	}
	if c.ColsUsed != nil {
		r.Used = 0
		for _, name := range *c.ColsUsed {
			if i := schema.Column(name); i >= 0 {
				r.Used |= 1 << min(i, 63)
			}
		}
	}
	for _, column := range c.Constraints {
		i := schema.Column(column.Name)
		if i < 0 {
			continue
		}
		info := &schema.Columns[i]
		// Several equalities of a column are the values of an IN list. That
		// they could also come from "a = 1 AND a = 2" makes the list too wide,
		// not too narrow.
		equal, known := []tables.Value(nil), true
		for _, k := range column.List {
			op, v, ok := comparison(info.Type, k.Op, k.Expr)
			if !ok && info.Flags.Has(tables.Required) && k.Op == operator(tables.OpEq) {
				op, v, ok = tables.OpEq, tables.String(k.Expr), true // a table cannot answer without
			}
			switch {
			case k.Op == operator(tables.OpEq):
				known = known && ok
				equal = append(equal, v)
			case ok:
				r.Constraints = append(r.Constraints, tables.Constraint{Column: i, Op: op, Values: []tables.Value{v}})
			}
		}
		if known && len(equal) > 0 {
			r.Constraints = append(r.Constraints, tables.Constraint{Column: i, Op: tables.OpEq, Values: equal})
		}
	}
	return r, nil
}

// comparison makes a term of what osqueryd wrote, and reports whether the text
// tells enough. osqueryd writes sqlite3_value_text of a value: the type is
// lost, a float is rounded to 15 digits, and a text ends at its first NUL. In a
// column of text it reads NULL as an empty one, so a comparison that an empty
// text meets is met by rows that a table would leave out.
func comparison(t tables.Type, o operator, expr string) (tables.Op, tables.Value, bool) {
	op := tables.Op(o)
	if o < 0 || o > math.MaxUint8 {
		return 0, tables.Value{}, false
	}
	switch op {
	case tables.OpEq, tables.OpIs:
	case tables.OpLT, tables.OpLE, tables.OpGT, tables.OpGE:
		if t == tables.Text {
			return 0, tables.Value{}, false // tables do not use it
		}
	case tables.OpLike, tables.OpGlob:
		return op, tables.String(expr), t == tables.Text && exact(expr) && strings.Trim(expr, "%*") != ""
	default:
		return 0, tables.Value{}, false
	}
	switch t {
	case tables.Integer, tables.BigInt, tables.UnsignedBigInt:
		f, err := strconv.ParseFloat(strings.TrimSpace(expr), 64)
		switch {
		case math.IsInf(f, 0) || math.IsNaN(f):
			return 0, tables.Value{}, false
		case err != nil || !strings.ContainsAny(expr, ".eE"):
			return op, tables.String(expr), true
		}
		// From 1e15 on a rounded float may be another whole number, and below
		// one may have become whole.
		if abs := math.Abs(f); abs >= 1e15 && abs < 1e19 {
			return 0, tables.Value{}, false
		}
		switch op {
		case tables.OpLT:
			op = tables.OpLE
		case tables.OpGT:
			op = tables.OpGE
		}
		return op, tables.String(expr), true
	case tables.Text:
		if !exact(expr) || expr == "" {
			return 0, tables.Value{}, false
		}
		// A number in its usual form may have been a number, and SQLite may
		// then compare texts as numbers.
		if n, err := strconv.ParseInt(expr, 10, 64); err == nil && strconv.FormatInt(n, 10) == expr {
			return op, tables.Int(n), true
		}
		if f, err := strconv.ParseFloat(expr, 64); err == nil && tables.Float(f).String() == expr {
			return 0, tables.Value{}, false
		}
		return op, tables.String(expr), true
	}
	// A double has lost digits, and a blob is sent in another form.
	return 0, tables.Value{}, false
}

// exact reports whether a text is what was compared: JSON turns what is no
// UTF-8 into U+FFFD, and what is shown for a NUL may have been meant so.
func exact(expr string) bool {
	return !strings.ContainsRune(expr, utf8.RuneError) && !strings.Contains(expr, nul)
}

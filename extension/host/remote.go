package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/osquery/osquery-go/gen/osquery"

	"sockql/extension/internal/wire"
	"sockql/tables"
)

// newRemote reads what an extension registers for a table: columns, further
// names of columns, which become hidden ones, and further names of the table.
func newRemote(name string, routes osquery.ExtensionPluginResponse) (*remote, error) {
	schema := &tables.Schema{Name: name}
	t := &remote{schema: schema}
	for _, r := range routes {
		switch r["id"] {
		case "column":
			op, err := strconv.ParseUint(r["op"], 10, 8)
			if err != nil && r["op"] != "" {
				return nil, fmt.Errorf("table %s: column %q: options %q are no number", name, r["name"], r["op"])
			}
			flags := tables.Flags(op) & (tables.Index | tables.Required | tables.Additional | tables.Optimized | tables.Hidden)
			if flags == 0 {
				flags = tables.Index // osquery's --extensions_default_index
			}
			switch {
			case r["name"] == "":
				return nil, fmt.Errorf("table %s: column without a name", name)
			case schema.Column(r["name"]) >= 0:
				return nil, fmt.Errorf("table %s: column %q is there twice", name, r["name"])
			}
			schema.Columns = append(schema.Columns, tables.ColumnInfo{Name: r["name"], Type: parseType(r["type"]), Flags: flags})
			t.source = append(t.source, len(t.source))
		case "columnAlias":
			// osqueryd, too, leaves out one of a column that does not come before.
			if target := schema.Column(r["target"]); target >= 0 && r["name"] != "" && schema.Column(r["name"]) < 0 {
				schema.Columns = append(schema.Columns, tables.ColumnInfo{Name: r["name"], Type: schema.Columns[target].Type, Flags: tables.Hidden})
				t.source = append(t.source, t.source[target])
			}
		case "alias":
			if alias := r["alias"]; alias != "" {
				schema.Aliases = append(schema.Aliases, alias)
			}
		}
	}
	if len(schema.Columns) == 0 {
		return nil, fmt.Errorf("table %s has no columns", name)
	}
	return t, nil
}

func parseType(text string) tables.Type {
	for t := tables.Text; t <= tables.Blob; t++ {
		if strings.EqualFold(text, t.String()) {
			return t
		}
	}
	return tables.Text
}

// A remote is a table of an extension.
type remote struct {
	host      *Host
	extension *registered
	schema    *tables.Schema
	source    []int // of each column the one whose cells it shows: itself, unless it is a further name
}

func (t *remote) Schema() *tables.Schema { return t.schema }

// selective are the options with which osqueryd passes on a column's
// constraints.
const selective = tables.Index | tables.Required | tables.Additional

// A term is a constraint as osquery writes it.
type term struct {
	Op   int    `json:"op"`
	Expr string `json:"expr"`
}

// Scan asks the extension once, or, where an IN list restricts a column that is
// not OPTIMIZED, once for each combination of values, as osqueryd does: an
// extension then expects one value. A row counts only for the values with
// which it was asked for, because an extension need not narrow at all.
func (t *remote) Scan(ctx context.Context, q *tables.Query, yield func(tables.Row) bool) error {
	terms := make([][]term, len(t.schema.Columns))
	var lists []list
	for _, k := range q.Constraints() {
		info := &t.schema.Columns[k.Column]
		if !info.Flags.Any(selective) || !passedOn(info.Type, k.Op) {
			continue
		}
		var exprs []term
		for _, v := range k.Values {
			if e := (term{Op: int(k.Op), Expr: v.String()}); !v.IsNull() && !slices.Contains(exprs, e) {
				exprs = append(exprs, e)
			}
		}
		if len(exprs) > 1 && !info.Flags.Has(tables.Optimized) {
			lists = append(lists, t.newList(q, k.Column, exprs))
			continue
		}
		terms[k.Column] = append(terms[k.Column], exprs...)
	}
	row := &remoteRow{schema: t.schema, source: t.source}
	for {
		each := slices.Clone(terms)
		for _, l := range lists {
			each[l.column] = append(slices.Clone(each[l.column]), l.exprs[l.at])
		}
		rows, err := t.generate(ctx, q, each)
		if err != nil {
			return err
		}
		for _, row.cells = range rows {
			if slices.ContainsFunc(lists, func(l list) bool { return !l.mine(row.Column(l.column)) }) {
				continue
			}
			if !yield(row) {
				return nil
			}
		}
		if !advance(lists) {
			return nil
		}
	}
}

// passedOn reports whether osqueryd passes on such a term: texts are not
// compared by size, which here SQLite does to narrow a GLOB.
func passedOn(t tables.Type, op tables.Op) bool {
	switch op {
	case tables.OpLT, tables.OpLE, tables.OpGT, tables.OpGE:
		return t != tables.Text
	}
	return true
}

// A list is an IN list that is asked for one value after the other.
type list struct {
	column int
	exprs  []term
	sets   []tables.Set // what rows each value stands for
	kind   tables.Type
	at     int
}

func (t *remote) newList(q *tables.Query, column int, exprs []term) list {
	l := list{column: column, exprs: exprs, kind: t.schema.Columns[column].Type}
	for _, e := range exprs {
		one := tables.NewQuery(q.Session(), t.schema, tables.Request{Constraints: []tables.Constraint{
			{Column: column, Op: tables.OpEq, Values: []tables.Value{tables.String(e.Expr)}},
		}})
		l.sets = append(l.sets, one.Set(column))
	}
	return l
}

// mine reports whether the value that is asked for is the first that a cell
// satisfies.
func (l *list) mine(v tables.Value) bool {
	return slices.IndexFunc(l.sets, func(s tables.Set) bool {
		switch v.Kind() {
		case tables.KindInt:
			return s.HasInt(v.Int64())
		case tables.KindText:
			return s.HasString(v.String())
		case tables.KindFloat:
			values, _ := s.Values()
			return slices.Contains(values, v)
		}
		return false
	}) == l.at
}

// advance goes to the next combination of the lists' values.
func advance(lists []list) bool {
	for i := range lists {
		if lists[i].at++; lists[i].at < len(lists[i].exprs) {
			return true
		}
		lists[i].at = 0
	}
	return false
}

type snapshotKey struct {
	extension *registered
	table     string
	context   string
}

// generate makes one call. Its rows are kept for the session if nothing
// restricts them: a join asks for them again and again.
func (t *remote) generate(ctx context.Context, q *tables.Query, terms [][]term) (osquery.ExtensionPluginResponse, error) {
	text, err := t.context(q, terms)
	if err != nil {
		return nil, err
	}
	request := osquery.ExtensionPluginRequest{"action": "generate", "context": text}
	build := func(ctx context.Context) (osquery.ExtensionPluginResponse, error) {
		r, err := t.host.call(ctx, t.extension, "table", t.schema.Name, request)
		if err != nil {
			select {
			case t.host.suspects <- t.extension:
			default: // the next round finds it
			}
			return nil, fmt.Errorf("table %s: extension %s: call failed: %w", t.schema.Name, t.extension.info.Name, err)
		}
		if err := wire.Failed(t.extension.path, r.Status); err != nil {
			return nil, err // the extension's own words
		}
		return r.Response, nil
	}
	if slices.ContainsFunc(terms, func(l []term) bool { return len(l) > 0 }) {
		return build(ctx)
	}
	return tables.Share(ctx, q.Session(), snapshotKey{t.extension, t.schema.Name, text}, build)
}

// context writes a query context as osqueryd does: columns in the order of
// their names, each with its constraints.
func (t *remote) context(q *tables.Query, terms [][]term) (string, error) {
	type column struct {
		Name     string `json:"name"`
		List     []term `json:"list"`
		Affinity string `json:"affinity"`
	}
	c := struct {
		Constraints []column `json:"constraints"`
		Used        []string `json:"colsUsed"`
		Bits        uint64   `json:"colsUsedBitset"`
	}{Used: []string{}}
	for i, info := range t.schema.Columns {
		k := column{Name: info.Name, List: []term{}, Affinity: info.Type.String()}
		c.Constraints = append(c.Constraints, column{k.Name, append(k.List, terms[i]...), k.Affinity})
		if source := t.source[i]; q.Used(i) && !slices.Contains(c.Used, t.schema.Columns[source].Name) {
			c.Used = append(c.Used, t.schema.Columns[source].Name)
			c.Bits |= 1 << min(source, 63)
		}
	}
	slices.SortFunc(c.Constraints, func(a, b column) int { return strings.Compare(a.Name, b.Name) })
	text, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("table %s: query context: %w", t.schema.Name, err)
	}
	return string(text), nil
}

// awaitSocket waits until an extension that has never answered listens, no
// longer than the timeout.
func (h *Host) awaitSocket(ctx context.Context, e *registered) error {
	h.mu.Lock()
	answered := e.answered
	h.mu.Unlock()
	if answered {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, h.cfg.Timeout, fmt.Errorf("no answer in %s", h.cfg.Timeout))
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := wire.Ping(ctx, e.path)
		if err == nil {
			h.mu.Lock()
			e.answered = true
			h.mu.Unlock()
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return err
		}
	}
}

// A remoteRow reads cells as osqueryd does: numbers with strtoll in base 0 and
// with strtod, and whatever is no number is NULL. Other than there a text is
// not cut at a NUL.
type remoteRow struct {
	schema *tables.Schema
	source []int // as in remote
	cells  map[string]string
}

func (r *remoteRow) Column(i int) tables.Value {
	info := &r.schema.Columns[r.source[i]]
	text, ok := r.cells[info.Name]
	if !ok {
		return tables.Null()
	}
	switch info.Type {
	case tables.Integer:
		if n, ok := parseInt(text); ok {
			return tables.Int(int32(n))
		}
	case tables.BigInt, tables.UnsignedBigInt:
		if n, ok := parseInt(text); ok {
			return tables.Int(n)
		}
	case tables.Double:
		if f, err := strconv.ParseFloat(strings.TrimLeft(text, " \t\n\v\f\r"), 64); err == nil || errors.Is(err, strconv.ErrRange) {
			if !math.IsNaN(f) {
				return tables.Float(f)
			}
		}
	case tables.Blob:
		return tables.Bytes(text)
	default:
		return tables.String(text)
	}
	return tables.Null()
}

// parseInt is strtoll(3) with base 0: white space, a sign, a prefix 0x or 0,
// then as many digits as there are. It fails where there is no digit and where
// the number does not fit.
func parseInt(s string) (int64, bool) {
	s = strings.TrimLeft(s, " \t\n\v\f\r")
	sign, digits := "", s
	if s != "" && (s[0] == '-' || s[0] == '+') {
		sign, digits = s[:1], s[1:]
	}
	base := 10
	switch {
	case len(digits) > 2 && digits[0] == '0' && digits[1]|0x20 == 'x' && digit(digits[2]) < 16:
		base, digits = 16, digits[2:]
	case digits != "" && digits[0] == '0':
		base = 8
	}
	end := 0
	for end < len(digits) && digit(digits[end]) < base {
		end++
	}
	n, err := strconv.ParseInt(sign+digits[:end], base, 64)
	return n, err == nil
}

func digit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return math.MaxInt
}

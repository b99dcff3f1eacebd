package engine_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"sockql/engine"
	"sockql/tables"
)

// The differential test asks the same question twice: of a table that uses
// every constraint it is given, as narrowly as its contract allows, and of one
// that knows no constraint. SQLite makes the answers equal unless a set is
// narrower than the term it stands for, a row's number is not stable, or LIMIT
// or DISTINCT reaches a table where it must not.

// oddRow has one cell for each declared type. Cells may be NULL.
type oddRow struct{ i, n, u, d, t, c, b, e tables.Value }

func oddColumns(flags tables.Flags) []tables.Column[oddRow] {
	return []tables.Column[oddRow]{
		{Name: "i", Doc: "i", Type: tables.BigInt, Flags: flags, Get: func(r *oddRow) tables.Value { return r.i }},
		{Name: "n", Doc: "n", Type: tables.Integer, Flags: flags, Get: func(r *oddRow) tables.Value { return r.n }},
		{Name: "u", Doc: "u", Type: tables.UnsignedBigInt, Flags: flags, Get: func(r *oddRow) tables.Value { return r.u }},
		{Name: "d", Doc: "d", Type: tables.Double, Flags: flags, Get: func(r *oddRow) tables.Value { return r.d }},
		{Name: "t", Doc: "t", Type: tables.Text, Flags: flags, Get: func(r *oddRow) tables.Value { return r.t }},
		{Name: "c", Doc: "c", Type: tables.Text, Flags: flags, Collate: "NOCASE", Get: func(r *oddRow) tables.Value { return r.c }},
		{Name: "b", Doc: "b", Type: tables.Blob, Flags: flags, Get: func(r *oddRow) tables.Value { return r.b }},
		{Name: "e", Doc: "e", Type: tables.Text, Flags: flags | tables.Hidden, Get: func(r *oddRow) tables.Value { return r.e }},
	}
}

func oddRows() []oddRow {
	// A fixed seed: the rows belong to the test.
	r := rand.New(rand.NewPCG(7, 7))
	integers := []tables.Value{tables.Null(), tables.Int(0), tables.Int(1), tables.Int(1), tables.Int(2), tables.Int(-1), tables.Int(-5),
		tables.Int(16), tables.Int(int64(math.MaxInt64)), tables.Int(int64(math.MinInt64)), tables.Int(int64(1<<53 + 1)), tables.Int(int64(1 << 53))}
	floats := []tables.Value{tables.Null(), tables.Float(0), tables.Float(1), tables.Float(0.5), tables.Float(-1.5), tables.Float(1e20),
		tables.Float(math.Inf(1)), tables.Float(math.Inf(-1)), tables.Float(1 << 53), tables.Float(1 << 63)}
	texts := []tables.Value{tables.Null(), tables.String(""), tables.String("1"), tables.String(" 1"), tables.String("1.0"), tables.String("01"),
		tables.String("abc"), tables.String("ABC"), tables.String("Abc"), tables.String("a%c"), tables.String("0x10"), tables.String("16"),
		tables.String("1e0"), tables.String("-5"), tables.String("9007199254740993"), tables.String("x\x00y"), tables.String("\xff"),
		tables.Decimal(1), tables.Decimal(math.MaxUint64), tables.String("0.5"), tables.String("9223372036854775807"), tables.String("+1"), tables.String("é")}
	blobs := []tables.Value{tables.Null(), tables.Bytes(""), tables.Bytes("1"), tables.Bytes("abc"), tables.Bytes("\x00\xff")}
	pick := func(values []tables.Value) tables.Value { return values[r.IntN(len(values))] }
	var rows []oddRow
	for range 24 {
		row := oddRow{pick(integers), pick(integers), pick(integers), pick(floats), pick(texts), pick(texts), pick(blobs), pick(texts)}
		rows = append(rows, row)
		if r.IntN(4) == 0 {
			rows = append(rows, row) // a table has no key
		}
	}
	return rows
}

// within reports whether a strict table keeps a cell.
func within(set tables.Set, t tables.Type, v tables.Value) bool {
	if set.Unrestricted() {
		return true
	}
	if v.IsNull() || set.Empty() {
		return false // NULL satisfies no term that is handed over but IS NULL
	}
	values, listed := set.Values()
	inList := func() bool { return slices.ContainsFunc(values, v.Equal) }
	switch t {
	case tables.Integer, tables.BigInt, tables.UnsignedBigInt:
		lo, hi := set.Bounds()
		n := v.Int64()
		return set.HasInt(n) && lo <= n && n <= hi && (!listed || inList())
	case tables.Double:
		return !listed || slices.ContainsFunc(values, func(w tables.Value) bool { return w.Float64() == v.Float64() })
	case tables.Text:
		for _, p := range set.Patterns() {
			if !begins(v.String(), p) {
				return false
			}
		}
		return set.HasString(v.String()) && (!listed || inList())
	case tables.Blob:
		return !listed || inList()
	}
	return true
}

// begins reports whether a text begins as a pattern does, which is as much as
// a table can use of one without matching it.
func begins(text string, p tables.Pattern) bool {
	if p.Op == tables.OpGlob {
		literal, _, _ := strings.Cut(p.Text, "*")
		literal, _, _ = strings.Cut(literal, "?")
		literal, _, _ = strings.Cut(literal, "[")
		return strings.HasPrefix(text, literal)
	}
	literal, _, _ := strings.Cut(p.Text, "%")
	literal, _, _ = strings.Cut(literal, "_")
	return len(text) >= len(literal) && strings.EqualFold(text[:len(literal)], literal)
}

// strictTable uses all that a query tells.
func strictTable(tb testing.TB, name string, rows []oddRow) tables.Table {
	columns := oddColumns(tables.Pushdown)
	return newTable(tb, tables.Def[oddRow]{
		Name: name, Doc: "Odd rows, as few as possible.", Columns: columns,
		Rows: func(ctx context.Context, q *tables.Query, yield func(*oddRow) bool) error {
			limit, limited := q.Limit()
			var given []string
		next:
			for r := range rows {
				row := rows[r]
				var used strings.Builder
				for i, c := range columns {
					v := c.Get(&row)
					if !within(q.Set(i), c.Type, v) {
						continue next
					}
					if q.Used(i) {
						fmt.Fprintf(&used, "%d:%q ", v.Kind(), v.String())
					}
				}
				if q.Distinct() {
					if slices.Contains(given, used.String()) {
						continue
					}
					given = append(given, used.String())
				}
				if limited {
					if limit == 0 {
						return nil
					}
					limit--
				}
				if !yield(&row) {
					return nil
				}
				row = oddRow{} // a table may reuse the row
			}
			return nil
		},
	})
}

func plainTable(tb testing.TB, name string, rows []oddRow) tables.Table {
	return newTable(tb, tables.Def[oddRow]{
		Name: name, Doc: "Odd rows.", Columns: oddColumns(0),
		Rows: func(ctx context.Context, q *tables.Query, yield func(*oddRow) bool) error {
			if len(q.Constraints()) > 0 {
				return errors.New("a column without flags got a constraint")
			}
			for i := range rows {
				if !yield(&rows[i]) {
					return nil
				}
			}
			return nil
		},
	})
}

// A generator writes random statements. "@" stands for the table.
type generator struct{ *rand.Rand }

var constants = []string{
	"1", "'1'", "1.0", "' 1'", "'1 '", "'abc'", "'ABC'", "NULL", "1e20", "-1", "-5", "'-5'", "'1e0'", "'0x10'", "0x10", "16",
	"x'31'", "x''", "x'616263'", "''", "9223372036854775807", "(-9223372036854775807-1)", "9223372036854775808", "9007199254740993",
	"9007199254740992.0", "9007199254740993.0", "'9007199254740993'", "0.5", "'0.5'", "1.5", "-1.5", "9e999", "-9e999",
	"'9223372036854775807'", "'9223372036854775808'", "-9223372036854775809", "'-9223372036854775809'", "'+1'", "'01'", "'1.0'", "'1_000'", "'inf'", "'nan'", "'é'",
	"'x'||char(0)||'y'", "CAST(1 AS TEXT)", "CAST('1' AS BLOB)", "CAST(1 AS REAL)", "0", "-0.0", "2", "'16'", "18446744073709551615", "'18446744073709551615'",
	"(SELECT 1)", "(SELECT '1')", "(SELECT NULL)", "(SELECT tx FROM o LIMIT 1)", "1 COLLATE NOCASE", "'abc' COLLATE NOCASE", "'abc ' COLLATE RTRIM", "true",
	"'\t1\n'", "'1'||char(160)", "'.5'", "'5e-1'", "'1e'", "'1e400'", "'-1e400'", "'-'", "' '",
}

var patterns = []string{"'a%'", "'%b%'", "'_bc'", "'A%'", "'1%'", "'%'", "''", "NULL", "1", "'abc'", "x'6125'", "'a\\%%' ESCAPE '\\'", "'É%'"}

func (g generator) pick(from ...string) string { return from[g.IntN(len(from))] }

func (g generator) column(alias string) string {
	return alias + "." + g.pick("i", "n", "u", "d", "t", "c", "b", "e")
}

// operand is something to compare a column of alias with.
func (g generator) operand(others []string) string {
	if len(others) > 0 && g.IntN(3) == 0 {
		c := g.column(others[g.IntN(len(others))])
		return g.pick(c, c, c, "+"+c, c+"+0", c+"||''")
	}
	return g.pick(constants...)
}

func (g generator) term(alias string, others []string) string {
	col := g.column(alias)
	if g.IntN(10) == 0 {
		col = g.pick("+"+col, col+" COLLATE NOCASE", col+" COLLATE BINARY", "CAST("+col+" AS TEXT)", "length("+col+")")
	}
	switch g.IntN(14) {
	case 0, 1, 2:
		return col + " = " + g.operand(others)
	case 3, 4:
		return col + " " + g.pick("<", "<=", ">", ">=") + " " + g.operand(others)
	case 5:
		return col + " " + g.pick("IS", "IS NOT", "!=", "<>") + " " + g.operand(others)
	case 6:
		return col + g.pick(" LIKE ", " NOT LIKE ") + g.pick(patterns...)
	case 7:
		return col + g.pick(" GLOB ", " NOT GLOB ") + g.pick("'a*'", "'[aA]bc'", "'?bc'", "'*'", "NULL", "'1'", "''")
	case 8, 9:
		var list []string
		for range g.IntN(5) {
			list = append(list, g.operand(others))
		}
		return col + g.pick(" IN (", " IN (", " NOT IN (") + strings.Join(list, ", ") + ")"
	case 10:
		return col + g.pick(" IN ", " IN ", " NOT IN ") + g.pick("(SELECT tx FROM o)", "(SELECT iv FROM o)", "(SELECT rv FROM o)", "(SELECT nv FROM o)",
			"(SELECT bv FROM o)", "(SELECT t FROM x)", "(SELECT i FROM x WHERE i IS NOT NULL)", "(SELECT i FROM @ WHERE n = 1)", "(SELECT 1 WHERE 0)")
	case 11:
		return col + g.pick(" BETWEEN ", " NOT BETWEEN ") + g.operand(others) + " AND " + g.operand(others)
	case 12:
		return col + g.pick(" IS NULL", " IS NOT NULL", " IS NOT DISTINCT FROM "+g.operand(others))
	}
	return g.operand(others) + g.pick(" = ", " < ", " >= ") + col
}

func (g generator) expr(depth int, alias string, others []string) string {
	if depth == 0 || g.IntN(3) == 0 {
		return g.term(alias, others)
	}
	a, b := g.expr(depth-1, alias, others), g.expr(depth-1, alias, others)
	return g.pick("("+a+" AND "+b+")", "("+a+" AND "+b+")", "("+a+" OR "+b+")", "("+a+" OR "+b+")", "NOT ("+a+")", "coalesce("+a+", "+b+")",
		"EXISTS (SELECT 1 FROM @ z WHERE "+strings.ReplaceAll(a, alias+".", "z.")+" AND z.i = "+alias+".n)")
}

// statement returns a statement and whether its rows are only counted, because
// it does not say which ones it returns.
func (g generator) statement() (sql string, count bool) {
	columns := func(aliases ...string) string {
		var list []string
		for range 1 + g.IntN(3) {
			list = append(list, g.column(aliases[g.IntN(len(aliases))]))
		}
		return strings.Join(list, ", ")
	}
	limit := g.pick("", " LIMIT 3", " LIMIT 2 OFFSET 1", " LIMIT 0", " LIMIT -1", " LIMIT -1 OFFSET 3", " LIMIT 1+1", " LIMIT (SELECT 2) OFFSET (SELECT 1)", " LIMIT '2'", " LIMIT 3 OFFSET -2")
	where := func(depth int) string { return g.expr(depth, "a", nil) }
	switch g.IntN(14) {
	case 0, 1, 2:
		return "SELECT " + columns("a") + " FROM @ a WHERE " + where(2), false
	case 12:
		col := g.column("a")
		return "SELECT " + col + " FROM @ a" + g.pick("", " WHERE "+where(1)) + " ORDER BY " + col + g.pick("", " DESC") + limit, false
	case 3:
		return "SELECT count(*), count(a.i), min(a.t) FROM @ a WHERE " + where(2), false
	case 4:
		return "SELECT DISTINCT " + columns("a") + " FROM @ a WHERE " + where(1), false
	case 5:
		group := columns("a")
		return "SELECT " + group + ", count(*), count(a.n) FROM @ a WHERE " + where(1) + " GROUP BY " + group, false
	case 6:
		if g.IntN(2) == 0 {
			return "SELECT " + columns("a") + " FROM @ a" + limit, true
		}
		return "SELECT " + g.pick("", "DISTINCT ") + columns("a") + " FROM @ a WHERE " + where(1) + g.pick("", " ORDER BY a.i", " ORDER BY 1 DESC, a.t") + limit, true
	case 7, 8:
		return "SELECT " + columns("a", "y") + " FROM @ a " + g.pick("", "LEFT ", "RIGHT ", "FULL ", "CROSS ", "LEFT ", "INNER ") + "JOIN @ y ON " +
			g.expr(1, "y", []string{"a"}) + " WHERE " + where(1), false
	case 9:
		return "SELECT " + columns("a", "y") + " FROM x y " + g.pick("", "LEFT ", "RIGHT ", "CROSS ") + "JOIN @ a ON " + g.expr(1, "a", []string{"y"}), false
	case 10:
		return "SELECT a.i, o.tx FROM o " + g.pick("", "LEFT ", "CROSS ") + "JOIN @ a ON a." + g.pick("i", "n", "u", "d", "t", "c", "b") +
			g.pick(" = ", " = ", " IS ", " >= ", " LIKE ") + "o." + g.pick("tx", "iv", "rv", "nv", "bv") + " WHERE " + where(1), false
	case 11:
		return "SELECT " + columns("a") + " FROM @ a WHERE " + g.column("a") + " " + g.pick("=", ">", "IN") +
			" (SELECT " + g.column("y") + " FROM @ y WHERE " + g.expr(1, "y", []string{"a"}) + " ORDER BY 1)", false
	}
	return "SELECT i, t FROM @ a WHERE " + where(1) + g.pick(" UNION ", " UNION ALL ", " EXCEPT ", " INTERSECT ") + "SELECT n, c FROM @ a WHERE " + where(1), false
}

// differential has a connection that asks the tables each time, one that
// decides itself when to look up in a copy, and one that does as soon as it can.
type differential struct{ asking, usual, eager *engine.Conn }

func newDifferential(tb testing.TB) differential {
	rows := oddRows()
	connect := func() *engine.Conn {
		c := open(tb, engine.Config{Tables: []tables.Table{strictTable(tb, "s", rows), plainTable(tb, "x", rows)}})
		for _, sql := range []string{
			"CREATE TABLE o(tx TEXT, iv INTEGER, rv REAL, nv, bv BLOB)",
			"INSERT INTO o VALUES ('1', 1, 0.5, '1', x'31'), ('abc', -5, 1.0, 1, 'abc'), (' 1', 9223372036854775807, 1e20, 1.0, 1), (NULL, NULL, NULL, NULL, NULL), ('0x10', 'abc', 'x', ' 1', 1.5)",
		} {
			if _, err := c.Query(context.Background(), sql); err != nil {
				tb.Fatal(err)
			}
		}
		return c
	}
	d := differential{connect(), connect(), connect()}
	d.asking.NeverLookUp()
	d.eager.LookUpAfter(2, 0)
	return d
}

// check reports whether the statement has rows.
func (d differential) check(tb testing.TB, sql string, count bool) bool {
	tb.Helper()
	answer := func(c *engine.Conn, table string) ([]string, error) {
		res, err := c.Query(context.Background(), strings.ReplaceAll(sql, "@", table))
		var lines []string
		for _, row := range res.Rows {
			var line strings.Builder
			for _, v := range row {
				// Of texts that are equal regardless of case any may stand
				// for its group.
				fmt.Fprintf(&line, "%d:%q ", v.Kind(), strings.ToLower(v.String()))
			}
			lines = append(lines, line.String())
		}
		slices.Sort(lines)
		return lines, err
	}
	wide, err := answer(d.asking, "x")
	for _, other := range []struct {
		how, table string
		conn       *engine.Conn
	}{
		{"push-down", "s", d.usual}, {"an index", "x", d.usual}, {"push-down and an index", "s", d.eager},
	} {
		narrow, otherErr := answer(other.conn, other.table)
		if (err == nil) != (otherErr == nil) {
			tb.Fatalf("%s\n with %s: %v\n without: %v", sql, other.how, otherErr, err)
		}
		if err != nil || count && len(narrow) == len(wide) {
			continue // how far each of them came says nothing
		}
		if !slices.Equal(narrow, wide) {
			tb.Fatalf("%s\n with %s, %d rows:\n  %s\n without, %d rows:\n  %s", sql, other.how,
				len(narrow), strings.Join(narrow, "\n  "), len(wide), strings.Join(wide, "\n  "))
		}
	}
	return err == nil && len(wide) > 0
}

func TestPushdownChangesNoResult(t *testing.T) {
	d := newDifferential(t)
	g := generator{rand.New(rand.NewPCG(1, 2))}
	n := 6000
	if testing.Short() {
		n = 500
	}
	found := 0
	for range n {
		sql, count := g.statement()
		if d.check(t, sql, count) {
			found++
		}
	}
	// The statements would prove nothing if most of them found nothing.
	if found < n/4 {
		t.Errorf("only %d of %d statements have rows", found, n)
	}
	t.Logf("%d statements, %d with rows", n, found)
}

func FuzzPushdown(f *testing.F) {
	d := newDifferential(f)
	for i := range uint64(10) {
		f.Add(i, i)
	}
	f.Fuzz(func(t *testing.T, a, b uint64) {
		sql, count := generator{rand.New(rand.NewPCG(a, b))}.statement()
		d.check(t, sql, count)
	})
}

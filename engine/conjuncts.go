package engine

import (
	"slices"
	"strings"

	"sockql/engine/internal/plan"
	"sockql/internal/sqltext"
	"sockql/tables"
)

// SQLite offers a table only those terms that compare a column of the table by
// itself. What became of the others is found in the text of the statement.

// A conjunct is one of the terms of a WHERE or ON that AND joins.
type conjunct struct {
	text   string
	tokens []sqltext.Token
	or     bool // OR stands outside of parentheses
	query  bool // a subquery is in it
}

type conjuncts struct {
	list   []conjunct
	filter bool // an aggregate has a FILTER clause
}

// clauseEnds are the words that end the term of an ON or a WHERE clause.
var clauseEnds = []string{
	"where", "group", "order", "limit", "having", "window", "union", "except", "intersect", "returning", ";",
	"join", "left", "right", "inner", "cross", "natural", "full", ",",
}

// conjunctsOf finds the terms of all WHERE and ON clauses of a statement.
func conjunctsOf(sql string) conjuncts {
	var found conjuncts
	tokens := sqltext.Tokenize(sql)
	for i, t := range tokens {
		switch word := lower(t); {
		case word == "filter" && i+1 < len(tokens) && lower(tokens[i+1]) == "(":
			found.filter = true
		case word == "where" && i > 1 && lower(tokens[i-2]) == "filter": // which picks rows for one aggregate
		case word == "where" || word == "on":
			found.split(sql, clause(tokens[i+1:]))
		}
	}
	return found
}

func lower(t sqltext.Token) string {
	if t.Quoted {
		return ""
	}
	return strings.ToLower(t.Text)
}

// clause cuts tokens where the clause ends that they begin with.
func clause(tokens []sqltext.Token) []sqltext.Token {
	depth := 0
	for i, t := range tokens {
		switch word := lower(t); {
		case word == "(":
			depth++
		case word == ")":
			if depth--; depth < 0 {
				return tokens[:i]
			}
		case depth == 0 && slices.Contains(clauseEnds, word):
			return tokens[:i]
		}
	}
	return tokens
}

// split takes a clause apart at its ANDs, those within parentheses that hold
// nothing else included.
func (c *conjuncts) split(sql string, tokens []sqltext.Token) {
	for len(tokens) > 1 && lower(tokens[0]) == "(" && closing(tokens) == len(tokens)-1 && lower(tokens[1]) != "select" {
		tokens = tokens[1 : len(tokens)-1]
	}
	if len(tokens) == 0 {
		return
	}
	depth, between, start := 0, 0, 0
	term := conjunct{}
	for i, t := range tokens {
		switch word := lower(t); {
		case word == "(" || word == "case":
			depth++
		case word == ")" || word == "end":
			depth--
		case word == "select":
			term.query = true
		case depth > 0:
		case word == "between":
			between++
		case word == "or":
			term.or = true
		case word == "and" && between > 0:
			between--
		case word == "and":
			c.add(sql, term, tokens[start:i])
			term, start = conjunct{}, i+1
		}
	}
	c.add(sql, term, tokens[start:])
}

func (c *conjuncts) add(sql string, term conjunct, tokens []sqltext.Token) {
	switch {
	case len(tokens) == 0:
	case !term.or && lower(tokens[0]) == "(" && closing(tokens) == len(tokens)-1:
		c.split(sql, tokens)
	default:
		term.tokens = tokens
		term.text = strings.Join(strings.Fields(sql[tokens[0].Start:tokens[len(tokens)-1].End]), " ")
		c.list = append(c.list, term)
	}
}

// closing returns where the parenthesis closes that tokens begin with.
func closing(tokens []sqltext.Token) int {
	depth := 0
	for i, t := range tokens {
		switch lower(t) {
		case "(":
			depth++
		case ")":
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

// compared returns the column of a table that the term compares by itself, or
// "": "a.x = …", "x IN (…)", "… < x".
func (c *conjunct) compared(scan *Scan, alone bool) string {
	if c.or {
		return ""
	}
	if name, n := columnAt(c.tokens, scan, alone); name != "" && n < len(c.tokens) && comparison(c.tokens[n]) {
		return name
	}
	// The other way round: the column ends the term.
	for _, n := range []int{1, 3} {
		at := len(c.tokens) - n
		if at < 2 || !strings.Contains("=<>", c.tokens[at-1].Text) || c.tokens[at-1].Quoted {
			continue
		}
		if name, taken := columnAt(c.tokens[at:], scan, alone); name != "" && taken == n {
			return name
		}
	}
	return ""
}

// comparison reports whether a token begins an operator that compares what
// stands before it with what follows.
func comparison(t sqltext.Token) bool {
	switch lower(t) {
	case "=", "<", ">", "!", "in", "not", "is", "isnull", "notnull", "like", "glob", "between", "match", "regexp":
		return true
	}
	return false
}

// columnAt returns the column that tokens begin with and how many of them name
// it. A name without a table counts only if it can mean no other table's.
func columnAt(tokens []sqltext.Token, scan *Scan, alone bool) (name string, n int) {
	column := func(t sqltext.Token) string {
		for i := range scan.schema.Columns {
			if strings.EqualFold(scan.schema.Columns[i].Name, t.Text) {
				return scan.schema.Columns[i].Name
			}
		}
		return ""
	}
	switch {
	case len(tokens) == 0 || tokens[0].Quoted:
		return "", 0
	case len(tokens) > 2 && tokens[1].Text == "." && !tokens[1].Quoted:
		if !strings.EqualFold(tokens[0].Text, scan.Alias) {
			return "", 0
		}
		return column(tokens[2]), 3
	case len(tokens) > 1 && (tokens[1].Text == "(" || tokens[1].Text == ".") || !alone:
		return "", 0
	}
	return column(tokens[0]), 1
}

// mentions reports whether the term names a column of a table.
func (c *conjunct) mentions(scan *Scan, alone func(string) bool) bool {
	for i := range c.tokens {
		if i > 0 && c.tokens[i-1].Text == "." && !c.tokens[i-1].Quoted {
			continue
		}
		if name, _ := columnAt(c.tokens[i:], scan, alone(c.tokens[i].Text)); name != "" {
			return true
		}
	}
	return false
}

// checkedTerms lists the terms on a table that it was not given, and why.
func checkedTerms(offer []plan.Term, scan *Scan, scans []*Scan, all conjuncts) []CheckedTerm {
	schema := scan.schema
	// alone reports whether a name without a table can mean only this one's
	// column.
	alone := func(name string) bool {
		for _, other := range scans {
			if other.Alias != scan.Alias && other.schema.Column(strings.ToLower(name)) >= 0 {
				return false
			}
		}
		return true
	}
	comparedBy := func(c *conjunct, by *Scan) string {
		if name := c.compared(by, false); name != "" {
			return name
		}
		if name := c.compared(by, true); name != "" && alone(name) {
			return name
		}
		return ""
	}
	var list []CheckedTerm
	add := func(sql, reason string) {
		if !slices.ContainsFunc(list, func(t CheckedTerm) bool { return t.SQL == sql }) {
			list = append(list, CheckedTerm{SQL: sql, Reason: reason})
		}
	}
	offered := map[string]bool{}
	for _, t := range offer {
		if t.Op == plan.OpLimit || t.Op == plan.OpOffset {
			continue
		}
		name := "rowid"
		if t.Column >= 0 && t.Column < len(schema.Columns) {
			name = schema.Columns[t.Column].Name
		}
		offered[name] = true
		reason := plan.Refusal(schema, t)
		if !t.Usable || reason == "" || impliedByLike(t, offer) {
			continue
		}
		text := name + " " + operator(t.Op) + " …"
		for i := range all.list {
			if c := &all.list[i]; comparedBy(c, scan) == name && c.writes(t.Op) {
				text = c.text
			}
		}
		add(text, reason)
	}
	if !once(scan, scans) {
		return list // the text does not tell which of them it means
	}
	for i := range all.list {
		c := &all.list[i]
		later := func(other *Scan) bool { return other != scan && c.mentions(other, alone) }
		if !c.mentions(scan, alone) || slices.ContainsFunc(scans[slices.Index(scans, scan):], later) {
			continue // or the loops within have more to check it with
		}
		switch column := comparedBy(c, scan); {
		case column != "" && offered[column] || column == "" && c.query && !c.or:
		case column != "" && scan.outer:
			add(c.text, "WHERE counts after the LEFT JOIN; in its ON the term could narrow the table")
		case column != "":
			add(c.text, "SQLite does not offer it to the table")
		case c.or && slices.ContainsFunc(scan.lists, c.has): // they have become a list
		case c.or:
			add(c.text, "what OR joins reaches a table only as values of one column")
		default:
			add(c.text, "it does not compare a column by itself")
		}
	}
	return list
}

// impliedByLike reports whether SQLite has made a term out of a LIKE: of what
// stands before the first wildcard, it makes bounds that ignore case.
func impliedByLike(t plan.Term, offer []plan.Term) bool {
	return t.Collation != "" && !strings.EqualFold(t.Collation, "BINARY") && (t.Op == tables.OpGE || t.Op == tables.OpLT) &&
		slices.ContainsFunc(offer, func(o plan.Term) bool { return o.Column == t.Column && o.Op == tables.OpLike })
}

// once reports whether no other table of the statement is called the same.
func once(scan *Scan, scans []*Scan) bool {
	return !slices.ContainsFunc(scans, func(other *Scan) bool {
		return other != scan && strings.EqualFold(other.Alias, scan.Alias)
	})
}

// writes reports whether the term may be written with an operator. LIKE and
// the like tell themselves apart, comparisons need not be told apart.
func (c *conjunct) writes(op tables.Op) bool {
	word := ""
	switch op {
	case tables.OpLike:
		word = "like"
	case tables.OpGlob:
		word = "glob"
	case opMatch:
		word = "match"
	case opRegexp:
		word = "regexp"
	case opNe:
		return c.has("!") || c.has("<") && c.has(">")
	default:
		return !c.has("like") && !c.has("glob") && !c.has("!")
	}
	return c.has(word)
}

func (c *conjunct) has(word string) bool {
	return slices.ContainsFunc(c.tokens, func(t sqltext.Token) bool { return lower(t) == word })
}

// Operators that SQLite offers and no table takes
// (https://www.sqlite.org/c3ref/c_index_constraint_eq.html).
const (
	opMatch     tables.Op = 64
	opRegexp    tables.Op = 67
	opNe        tables.Op = 68
	opIsNot     tables.Op = 69
	opIsNotNull tables.Op = 70
	opIsNull    tables.Op = 71
)

func operator(op tables.Op) string {
	switch op {
	case opMatch:
		return "MATCH"
	case opRegexp:
		return "REGEXP"
	case opNe:
		return "<>"
	case opIsNot:
		return "IS NOT"
	case opIsNotNull:
		return "IS NOT NULL"
	case opIsNull:
		return "IS NULL"
	}
	if op >= 150 { // SQLITE_INDEX_CONSTRAINT_FUNCTION
		return "(function)"
	}
	return op.String()
}

package shell

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"sockql/engine"
	"sockql/internal/sqltext"
	"sockql/tables"
)

// completer offers what may follow at the cursor. It implements
// readline.AutoCompleter.
type completer struct {
	shell     *shell
	functions []string
	// widest is the width of the widest candidate of the last list.
	widest atomic.Int64
}

// Do returns the endings of the candidates and how many characters of them
// stand before the cursor.
func (c *completer) Do(line []rune, pos int) ([][]rune, int) {
	before, after := string(line[:pos]), string(line[pos:])
	word, found := c.candidates(before, after)
	slices.Sort(found)
	found = slices.Compact(found)
	var endings [][]rune
	widest := 0
	for _, f := range found {
		if len(f) >= len(word) && strings.EqualFold(f[:len(word)], word) {
			endings = append(endings, []rune(f[len(word):]))
			widest = max(widest, utf8.RuneCountInString(f))
		}
	}
	c.widest.Store(int64(widest))
	return endings, utf8.RuneCountInString(word)
}

// candidates returns the word that ends at the cursor and what it may become.
func (c *completer) candidates(before, after string) (word string, found []string) {
	pending := c.shell.pending
	if pending == "" && strings.HasPrefix(before, ".") {
		return c.dotCandidates(before)
	}
	text := before
	if pending != "" {
		text = pending + "\n" + before
	}
	tokens := sqltext.Tokenize(text)
	if len(tokens) > 0 && tokens[len(tokens)-1].Open {
		return "", nil // within a string or comment
	}
	start := len(text)
	for start > 0 && sqltext.IsWordByte(text[start-1]) {
		start--
	}
	word = text[start:]
	if len(tokens) > 0 && tokens[len(tokens)-1].End == len(text) && word != "" {
		tokens = tokens[:len(tokens)-1]
	}
	whole := sqltext.Tokenize(text + " " + after)
	named := tablesIn(c.shell.engine, whole)
	if start > 0 && text[start-1] == '.' {
		owner := ""
		if len(tokens) >= 2 {
			owner = tokens[len(tokens)-2].Text
		}
		for _, t := range named {
			if strings.EqualFold(t.alias, owner) {
				found = append(found, columnNames(t.schema)...)
			}
		}
		return word, found
	}
	previous := ""
	if len(tokens) > 0 {
		previous = strings.ToLower(tokens[len(tokens)-1].Text)
	}
	if previous == "from" || previous == "join" || previous == "," && inFrom(tokens) {
		return word, c.tableNames()
	}
	if word == "" && len(named) == 0 {
		return word, nil // everything is no help
	}
	for _, t := range named {
		found = append(found, columnNames(t.schema)...)
		if t.alias != "" {
			found = append(found, t.alias)
		}
	}
	if word == "" {
		return word, found
	}
	for _, f := range c.functions {
		found = append(found, f+"(")
	}
	upper := word == strings.ToUpper(word)
	for _, k := range sqlKeywords {
		if !upper {
			k = strings.ToLower(k)
		}
		found = append(found, k)
	}
	if len(named) == 0 {
		found = append(found, c.tableNames()...)
	}
	return word, found
}

func (c *completer) tableNames() []string {
	var names []string
	for _, t := range c.shell.schemas("") {
		names = append(names, t.name)
	}
	return names
}

func columnNames(schema *tables.Schema) []string {
	var names []string
	for _, column := range schema.Columns {
		names = append(names, column.Name)
	}
	return names
}

// dotCandidates completes dot commands and their arguments.
func (c *completer) dotCandidates(before string) (word string, found []string) {
	name, rest, hasArgs := strings.Cut(before[1:], " ")
	if !hasArgs {
		for _, d := range dotCommands() {
			found = append(found, d.name)
		}
		return name, found
	}
	word = rest[strings.LastIndexByte(rest, ' ')+1:]
	for _, d := range dotCommands() {
		if !strings.HasPrefix(d.name, name) || len(name) < d.least {
			continue
		}
		switch d.complete {
		case "table":
			found = c.tableNames()
		case "mode":
			found = modeNames()
		case "bool":
			found = []string{"on", "off"}
		case "command":
			for _, other := range dotCommands() {
				found = append(found, other.name)
			}
			found = append(found, topicNames()...)
		case "file":
			found = files(word)
		case "sql":
			return c.candidates(rest, "")
		}
		if d.name == "watch" && strings.Contains(strings.TrimLeft(rest, " "), " ") {
			_, sql, _ := strings.Cut(strings.TrimLeft(rest, " "), " ")
			return c.candidates(sql, "")
		}
		break
	}
	return word, found
}

// files returns the paths that begin as word does, directories with a slash.
func files(word string) []string {
	matches, err := filepath.Glob(globEscape(word) + "*")
	if err != nil {
		return nil
	}
	for i, m := range matches {
		if info, err := os.Stat(m); err == nil && info.IsDir() {
			matches[i] += "/"
		}
	}
	return matches
}

func globEscape(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(s)
}

func identifierLike(s string) bool {
	for i := range len(s) {
		if !sqltext.IsWordByte(s[i]) {
			return false
		}
	}
	return s != ""
}

// inFrom reports whether the tokens end within the list of a FROM clause.
func inFrom(tokens []sqltext.Token) bool {
	for i := len(tokens) - 1; i >= 0; i-- {
		switch strings.ToLower(tokens[i].Text) {
		case "from", "join":
			return true
		case "select", "where", "group", "order", "on", "using", "limit", "having", "set", "values", "(":
			return false
		}
	}
	return false
}

// A tableRef is a table that a statement reads, under the name that it gives it.
type tableRef struct {
	alias  string
	schema *tables.Schema
}

// tablesIn finds the tables of a statement, which may still lack much.
func tablesIn(e *engine.Engine, tokens []sqltext.Token) []tableRef {
	var found []tableRef
	expect, within := false, false
	for i, t := range tokens {
		lower := strings.ToLower(t.Text)
		switch {
		case lower == "from" || lower == "join":
			expect, within = true, true
			continue
		case lower == "," && within:
			expect = true
			continue
		case slices.Contains(sqlClauses, lower):
			within = false
		}
		if !expect {
			continue
		}
		expect = false
		table := e.Table(t.Text)
		if table == nil || t.Quoted {
			continue
		}
		ref := tableRef{alias: t.Text, schema: table.Schema()}
		next := i + 1
		if next < len(tokens) && strings.EqualFold(tokens[next].Text, "as") {
			next++
		}
		if next < len(tokens) && identifierLike(tokens[next].Text) && !slices.Contains(sqlKeywords, strings.ToUpper(tokens[next].Text)) {
			ref.alias = tokens[next].Text
		}
		found = append(found, ref)
	}
	return found
}

// sqlClauses end the list of a FROM clause.
var sqlClauses = []string{"where", "group", "order", "limit", "having", "union", "except", "intersect", "window", "select", ";"}

// sqlKeywords are the words that a query is written with
// (https://www.sqlite.org/lang_keywords.html).
var sqlKeywords = []string{
	"ALL", "AND", "AS", "ASC", "BETWEEN", "BY", "CASE", "CAST", "COLLATE", "CREATE", "CROSS", "CURRENT_TIMESTAMP",
	"DELETE", "DESC", "DISTINCT", "DROP", "ELSE", "END", "ESCAPE", "EXCEPT", "EXISTS", "EXPLAIN", "FILTER", "FROM",
	"FULL", "GLOB", "GROUP", "HAVING", "IN", "INNER", "INSERT", "INTERSECT", "INTO", "IS", "JOIN", "LEFT", "LIKE",
	"LIMIT", "MATERIALIZED", "NATURAL", "NOT", "NULL", "NULLS", "OFFSET", "ON", "OR", "ORDER", "OUTER", "OVER",
	"PARTITION", "PLAN", "PRAGMA", "QUERY", "RECURSIVE", "REGEXP", "RIGHT", "SELECT", "TABLE", "TEMP", "THEN",
	"UNION", "UPDATE", "USING", "VALUES", "VIEW", "WHEN", "WHERE", "WINDOW", "WITH",
}

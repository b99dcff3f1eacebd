package shell

import (
	"errors"
	"fmt"
	"strings"

	"sockql/engine"
	"sockql/internal/sqltext"
	"sockql/tables"
)

// hint says what to do about an error of a statement, or "". A script learns
// what was probably meant, a person also where to look.
func (s *shell) hint(err error, sql string) string {
	var sqlite *engine.Error
	if s.compatible || !errors.As(err, &sqlite) {
		return ""
	}
	var required *tables.RequiredError
	if s.prompt && errors.As(err, &required) {
		return fmt.Sprintf("Add a condition such as WHERE %s = …; .describe %s shows more.", required.Column, required.Table)
	}
	if name, ok := strings.CutPrefix(sqlite.Message, "no such table: "); ok {
		return s.tableHint(name)
	}
	if name, ok := strings.CutPrefix(sqlite.Message, "no such column: "); ok {
		return s.columnHint(name[strings.LastIndexByte(name, '.')+1:], sql)
	}
	if strings.HasSuffix(sqlite.Message, "syntax error") {
		return s.commandHint(strings.Fields(sql))
	}
	return ""
}

func (s *shell) tableHint(name string) string {
	var names []string
	for _, t := range s.schemas("") {
		names = append(names, t.name)
	}
	if near := nearest(name, names); near != "" {
		return fmt.Sprintf("Did you mean %s? .tables lists the tables.", near)
	}
	if s.prompt {
		return ".tables lists the tables, .find searches them."
	}
	return ""
}

func (s *shell) columnHint(name, sql string) string {
	var columns []string
	first := ""
	for _, t := range tablesIn(s.engine, sqltext.Tokenize(sql)) {
		columns = append(columns, columnNames(t.schema)...)
		if first == "" {
			first = t.schema.Name
		}
	}
	// A column that is there stands where it cannot be seen, say in a subquery.
	if near := nearest(name, columns); near != "" && near != name {
		return fmt.Sprintf("Did you mean %s?", near)
	}
	if s.prompt && first != "" {
		return fmt.Sprintf(".describe %s shows the columns.", first)
	}
	return ""
}

// commandHint is for words that were meant as a command and taken for SQL.
func (s *shell) commandHint(words []string) string {
	if len(words) == 0 || len(words) > 2 {
		return ""
	}
	var names []string
	for _, c := range commands(s.config) {
		name, _, _ := strings.Cut(c.Name, " ")
		names = append(names, name)
	}
	if near := nearest(words[0], names); near != "" {
		return fmt.Sprintf("Did you mean the command %s?", near)
	}
	return ""
}

// nearest returns the candidate that is a slip of the fingers away from name,
// or "".
func nearest(name string, candidates []string) string {
	least := max(2, len(name)/3) + 1
	if len(name) < 4 {
		least = 2
	}
	best := ""
	for _, c := range candidates {
		if d := distance(strings.ToLower(name), strings.ToLower(c)); d < least {
			best, least = c, d
		}
	}
	return best
}

// distance is the Levenshtein distance of two short texts.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			next := diagonal
			if a[i] != b[j] {
				next++
			}
			diagonal = row[j+1]
			row[j+1] = min(next, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}

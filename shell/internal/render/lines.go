package render

import (
	"strings"

	"github.com/mattn/go-runewidth"

	"sockql/tables"
)

// Align returns the lines of a table without borders, its header first, with
// everything escaped that could steer a terminal.
func Align(names []string, rows [][]tables.Value, null string) []string {
	var b strings.Builder
	p := New(&b, Options{Mode: Aligned, Null: null, Terminal: true})
	p.Columns(names)
	for _, r := range rows {
		p.Row(r)
	}
	p.End()
	if len(rows) == 0 {
		return []string{Escape(strings.Join(names, "  "))}
	}
	return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
}

// Clip cuts a line to a width of a terminal, and marks where it did. A width
// of 0 or less is unknown and cuts nothing.
func Clip(line string, width int) string {
	if width <= 0 {
		return line
	}
	return runewidth.Truncate(line, width, "…")
}

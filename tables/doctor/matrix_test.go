package doctor_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write what was seen into the tables of docs/ instead of comparing with them")

// A matrix is a table of a page in docs/ whose cells a test has found out.
type matrix struct {
	corner  string // heading of the first column
	columns []string
	rows    []string
	cells   map[[2]string]string // by row and column
}

func newMatrix(corner string, columns ...string) *matrix {
	return &matrix{corner: corner, columns: columns, cells: map[[2]string]string{}}
}

// set fills in a cell. Rows come in the order in which they are first set.
func (m *matrix) set(row, column, cell string) {
	if !m.has(row) {
		m.rows = append(m.rows, row)
	}
	m.cells[[2]string{row, column}] = cell
}

func (m *matrix) has(row string) bool {
	for _, r := range m.rows {
		if r == row {
			return true
		}
	}
	return false
}

// lines writes the table, one line a row.
func (m *matrix) lines() []string {
	lines := []string{"| " + m.corner + " | " + strings.Join(m.columns, " | ") + " |", "|---" + strings.Repeat("|---", len(m.columns)) + "|"}
	for _, r := range m.rows {
		line := "| " + r + " |"
		for _, c := range m.columns {
			line += " " + m.cells[[2]string{r, c}] + " |"
		}
		lines = append(lines, line)
	}
	return lines
}

// compare holds the table against the first one with its corner in a page. Rows
// that this kernel could not be asked for are left out.
func (m *matrix) compare(t *testing.T, page string, unasked ...string) {
	t.Helper()
	path := filepath.Join("..", "..", "docs", page)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(content), "\n")
	first := -1
	for i, line := range lines {
		if strings.HasPrefix(line, "| "+m.corner+" |") {
			first = i
			break
		}
	}
	if first < 0 {
		t.Fatalf("%s has no table of %q", page, m.corner)
	}
	end := first
	for end < len(lines) && strings.HasPrefix(lines[end], "|") {
		end++
	}
	if *update {
		if len(unasked) > 0 {
			t.Fatalf("%s would lose the rows %q", page, unasked)
		}
		rest := append([]string{}, lines[end:]...)
		lines = append(append(lines[:first], m.lines()...), rest...)
		if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	var want []string
	for _, line := range lines[first:end] {
		skip := false
		for _, row := range unasked {
			skip = skip || strings.HasPrefix(line, "| "+row+" |")
		}
		if !skip {
			want = append(want, line)
		}
	}
	if diff := cmp.Diff(want, m.lines()); diff != "" {
		t.Errorf("%s (- what it says, + what was seen):\n%s", page, diff)
	}
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "–"
}

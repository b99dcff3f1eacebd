package builtin

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sockql/tables"
)

// goldenPath holds the rows of a recorded host.
const goldenPath = "testdata/furnished.golden"

// TestGolden compares all cells of what a recording holds with a file, hidden
// columns, too. Run it with -update to write the file.
func TestGolden(t *testing.T) {
	var b bytes.Buffer
	for _, table := range recorded(t, "furnished") {
		s := table.Schema()
		if slices.ContainsFunc(s.Columns, func(c tables.ColumnInfo) bool { return c.Flags.Has(tables.Required) }) || s.Name == "tcp_states" {
			continue // of this host's files, or of no host
		}
		fmt.Fprintf(&b, "== %s\n", s.Name)
		rows, warnings := allRows(t, table)
		for _, r := range rows {
			fmt.Fprintln(&b, r)
		}
		for _, w := range warnings {
			fmt.Fprintln(&b, "warning:", w)
		}
	}
	if *update {
		if err := os.WriteFile(goldenPath, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(goldenPath)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("the recording shows something else than %s (-want +got):\n%s", goldenPath, diff)
	}
}

// allRows returns the cells of each row that are not NULL, with the names of
// their columns.
func allRows(t *testing.T, table tables.Table) (rows []string, warnings []error) {
	t.Helper()
	s := tables.NewSession(context.Background())
	defer s.Close()
	schema := table.Schema()
	err := tables.Run(s.Context(), table, tables.NewQuery(s, schema, tables.Request{Used: tables.AllUsed}), func(r tables.Row) bool {
		var cells []string
		for i, c := range schema.Columns {
			if v := r.Column(i); !v.IsNull() {
				cells = append(cells, fmt.Sprintf("%s=%q", c.Name, v.String()))
			}
		}
		rows = append(rows, strings.Join(cells, " "))
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(rows)
	return rows, s.TakeWarnings()
}

package tabletest

import (
	_ "embed"
	"strings"
	"testing"

	"sockql/tables"
)

// osquerySpecs are the columns of osquery's tables; its head says how to read
// it.
//
//go:embed testdata/osquery.tsv
var osquerySpecs string

// A spec is what osquery says of a column.
type spec struct {
	name, typ string // the type is "-" for a column of another operating system
	flags     tables.Flags
	collate   string
}

// osquery returns osquery's columns by table.
func osquery(t *testing.T) map[string][]spec {
	t.Helper()
	specs := map[string][]spec{}
	table := ""
	for line := range strings.Lines(osquerySpecs) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "#") {
			continue
		}
		column, isColumn := strings.CutPrefix(line, "\t")
		if !isColumn {
			table = line
			specs[table] = nil
			continue
		}
		fields := append(strings.Split(column, "\t"), "", "", "")
		c := spec{name: fields[0], typ: fields[1], collate: fields[3]}
		for _, letter := range fields[2] {
			flag, ok := map[rune]tables.Flags{
				'i': tables.Index, 'r': tables.Required, 'a': tables.Additional, 'o': tables.Optimized, 'h': tables.Hidden,
			}[letter]
			if !ok {
				t.Fatalf("osquery.tsv: flag %q in %q", letter, line)
			}
			c.flags |= flag
		}
		specs[table] = append(specs[table], c)
	}
	if len(specs) < 100 {
		t.Fatalf("osquery.tsv has %d tables", len(specs))
	}
	return specs
}

// testOsquery compares a table with osquery's of the same name, and sees to it
// that a hidden column of ours never has a name that some table of osquery has:
// in a join, an unqualified use of that name would become ambiguous.
func (s *suite) testOsquery(t *testing.T) {
	specs := osquery(t)
	own, ours := specs[s.schema.Name]
	var visible []tables.ColumnInfo
	for _, c := range s.schema.Columns {
		if !c.Flags.Has(tables.Hidden) {
			visible = append(visible, c)
			continue
		}
		if find(own, c.Name) != nil || s.schema.Name == "time" && c.Name == "date_time" { // osquery's alias of datetime
			continue
		}
		for table, columns := range specs {
			if find(columns, c.Name) != nil {
				t.Errorf("hidden column %s has the name of a column of osquery's %s", c.Name, table)
			}
		}
	}
	if !ours {
		return
	}
	i := 0
	for _, want := range own {
		if want.typ == "-" || want.flags.Has(tables.Hidden) {
			continue
		}
		if i >= len(visible) {
			t.Errorf("column %s of osquery's table is missing", want.name)
			continue
		}
		got := visible[i]
		i++
		if got.Name != want.name || got.Type.String() != want.typ || got.Flags&^tables.Pushdown != want.flags ||
			!strings.EqualFold(got.Collate, want.collate) {
			t.Errorf("column %d is %s %v (%v) %q, osquery's is %s %s (%v) %q", i,
				got.Name, got.Type, got.Flags, got.Collate, want.name, want.typ, want.flags, want.collate)
		}
	}
	for _, c := range visible[min(i, len(visible)):] {
		t.Errorf("column %s is not in osquery's table: make it hidden", c.Name)
	}
}

func find(columns []spec, name string) *spec {
	for i := range columns {
		if strings.EqualFold(columns[i].name, name) {
			return &columns[i]
		}
	}
	return nil
}

package builtin

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"sockql/fixtures"
	"sockql/tables"
)

// The pages of documentation that are made from the schemas.
const docsPath = "../../docs/tables.md"

var update = flag.Bool("update", false, "write docs/tables.md anew")

// TestDocs compares docs/tables.md with the schemas. Run it with -update to
// write the file.
func TestDocs(t *testing.T) {
	list, err := Tables(Config{Proc: fixtures.Unpack(t, "bash")})
	if err != nil {
		t.Fatal(err)
	}
	want := docs(list)
	if *update {
		if err := os.WriteFile(docsPath, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(docsPath)
	if err != nil || string(got) != want {
		t.Errorf("%s is not what the schemas say (%v): run go test ./tables/builtin -run TestDocs -update", docsPath, err)
	}
}

// docs returns the documentation of tables in Markdown.
func docs(list []tables.Table) string {
	var b strings.Builder
	b.WriteString("# Tables\n\n" +
		"Made from the schemas by `go test ./tables/builtin -run TestDocs -update`.\n\n" +
		"A constraint on a column with an option reaches the table, which then reads less: *index* looks rows up, *optimized* takes all\n" +
		"values of an `IN` list at once, *additional* and *pushdown* narrow what is read, and one of a table's *required* columns has to\n" +
		"be constrained. A *hidden* column is not in `SELECT *`.\n\n")
	for _, t := range list {
		fmt.Fprintf(&b, "- [%s](#%[1]s)\n", t.Schema().Name)
	}
	for _, t := range list {
		document(&b, t.Schema())
	}
	return b.String()
}

func document(b *strings.Builder, s *tables.Schema) {
	fmt.Fprintf(b, "\n## %s\n\n%s\n", s.Name, s.Doc)
	if len(s.Aliases) > 0 {
		fmt.Fprintf(b, "\nAlso named %s.\n", strings.Join(s.Aliases, ", "))
	}
	privilege := s.Privilege
	if privilege == "" {
		privilege = "Everybody sees everything."
	}
	fmt.Fprintf(b, "\nPrivilege: %s\n\n| Column | Type | Options | Meaning |\n|---|---|---|---|\n", privilege)
	for _, c := range s.Columns {
		options := strings.ReplaceAll(c.Flags.String(), ",", ", ")
		if c.Collate != "" {
			options = strings.TrimPrefix(options+", collate "+strings.ToLower(c.Collate), ", ")
		}
		fmt.Fprintf(b, "| %s | %v | %s | %s |\n", c.Name, c.Type, options, cell(c.Doc))
	}
	if len(s.Examples) > 0 {
		fmt.Fprintf(b, "\n```sql\n%s\n```\n", strings.Join(s.Examples, "\n"))
	}
}

// cell escapes what would end a cell of a Markdown table or be markup in it.
func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;", "*", `\*`).Replace(s)
}

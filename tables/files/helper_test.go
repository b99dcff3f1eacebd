package files

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sockql/tables"
	"sockql/tables/internal/procfs"
)

// tree makes files below a new directory: a name that ends in a slash is a
// directory, one that ends in | a pipe, and a content that begins with -> the
// target of a link.
func tree(t testing.TB, files map[string]string) string {
	t.Helper()
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		path := filepath.Join(root, strings.TrimSuffix(name, "|"))
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		target, link := strings.CutPrefix(content, "->")
		switch {
		case err != nil:
		case link:
			err = os.Symlink(target, path)
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(path, 0o755)
		case strings.HasSuffix(name, "|"):
			err = unix.Mkfifo(path, 0o644)
		default:
			err = os.WriteFile(path, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func openProc(t testing.TB, root string) *procfs.FS {
	t.Helper()
	proc, err := procfs.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { proc.Close() })
	return proc
}

func must(t testing.TB, table tables.Table, err error) tables.Table {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// where is a term of a WHERE clause.
type where struct {
	column string
	op     tables.Op
	values []any
}

func equal(column string, values ...any) where { return where{column, tables.OpEq, values} }
func like(column, pattern string) where        { return where{column, tables.OpLike, []any{pattern}} }
func glob(column, pattern string) where        { return where{column, tables.OpGlob, []any{pattern}} }

func (w where) constraint(table tables.Table) tables.Constraint {
	c := tables.Constraint{Column: table.Schema().Column(w.column), Op: w.op}
	for _, v := range w.values {
		switch v := v.(type) {
		case int:
			c.Values = append(c.Values, tables.Int(v))
		case string:
			c.Values = append(c.Values, tables.String(v))
		}
	}
	return c
}

// askIn returns the named columns of each row, joined by a bar.
func askIn(t testing.TB, s *tables.Session, table tables.Table, columns string, terms ...where) []string {
	t.Helper()
	schema := table.Schema()
	var r tables.Request
	var at []int
	for name := range strings.FieldsSeq(columns) {
		i := schema.Column(name)
		if i < 0 {
			t.Fatalf("no column %q", name)
		}
		at = append(at, i)
		r.Used |= 1 << i
	}
	for _, w := range terms {
		r.Constraints = append(r.Constraints, w.constraint(table))
	}
	var rows []string
	err := tables.Run(s.Context(), table, tables.NewQuery(s, schema, r), func(row tables.Row) bool {
		var cells []string
		for _, i := range at {
			if v := row.Column(i); v.IsNull() {
				cells = append(cells, "NULL")
			} else {
				cells = append(cells, v.String())
			}
		}
		rows = append(rows, strings.Join(cells, "|"))
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// ask returns the rows in order, and the warnings.
func ask(t testing.TB, table tables.Table, columns string, terms ...where) ([]string, []error) {
	t.Helper()
	s := tables.NewSession(context.Background())
	defer s.Close()
	rows := askIn(t, s, table, columns, terms...)
	slices.Sort(rows)
	return rows, s.TakeWarnings()
}

func expect(t *testing.T, table tables.Table, columns string, terms []where, want ...string) {
	t.Helper()
	got, warnings := ask(t, table, columns, terms...)
	if !slices.Equal(got, want) || len(warnings) > 0 {
		t.Errorf("%s of %s where %v:\n got %q, warnings %q\nwant %q", columns, table.Schema().Name, terms, got, warnings, want)
	}
}

// deny is a hook that denies what lies at or below a path.
func deny(path string) func(string) error {
	return func(name string) error {
		if name == path || strings.HasPrefix(name, path+"/") {
			return unix.EACCES
		}
		return nil
	}
}

// deniedOnce reports whether the warnings are one, of a permission.
func deniedOnce(warnings []error) bool {
	return len(warnings) == 1 && errors.Is(warnings[0], os.ErrPermission)
}

func timeOf(seconds int64) time.Time { return time.Unix(seconds, 0) }

func itoa(n int) string { return strconv.Itoa(n) }

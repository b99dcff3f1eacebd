package host

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sockql/tables"
)

// publicVariable lists, separated by colons, extensions that others have built,
// unmodified. Those tried were github.com/macadmins/osquery-extension,
// github.com/HikaruEgashira/node-packages-osquery-extension,
// github.com/dihedron/osquery-extensions and osquery-go's example of a table.
const publicVariable = "SOCKQL_PUBLIC_EXTENSIONS"

// Extensions that nobody here wrote register, answer for each of their tables,
// can be joined with tables of the host, and end when they are told to.
func TestPublicExtensions(t *testing.T) {
	paths := filepath.SplitList(os.Getenv(publicVariable))
	if len(paths) == 0 {
		t.Skipf("needs built extensions: their paths in %s", publicVariable)
	}
	h, db, log := start(t, Config{Extensions: paths, Interval: time.Second}, numbers("natives", 10))
	log.await(t, `msg="extension registered"`, len(paths))
	for _, e := range h.list() {
		for _, name := range e.tables {
			t.Run(e.info.Name+"/"+name, func(t *testing.T) {
				sql := "SELECT * FROM " + name
				if name == "file_lines" {
					checkFileLines(t, db)
					return
				}
				// What it needs may be missing here, and then it says so, or
				// ends. Other errors are ours.
				if _, err := db.Query(t.Context(), sql); err != nil {
					if !strings.Contains(err.Error(), "error generating table: ") && !strings.Contains(err.Error(), "call failed") {
						t.Errorf("%s: %v", sql, err)
					}
					t.Log(err)
					return
				}
				rows := db.ask(t, sql)
				t.Logf("%s: %d rows, the first of them %q", sql, len(rows), rows[:min(2, len(rows))])
				joined := db.ask(t, "SELECT count(*) FROM natives n LEFT JOIN "+name+" x ON n.pid >= 0")
				t.Logf("joined with ten rows: %v", joined)
			})
		}
	}
	for _, row := range db.ask(t, "SELECT name, version, uuid, path FROM osquery_extensions") {
		t.Log(row)
	}
}

// file_lines reads the file that a constraint names, one for each value.
func checkFileLines(t *testing.T, db *database) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	for path, text := range map[string]string{a: "one\ntwo\n", b: "three\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got := db.ask(t, "SELECT line FROM file_lines WHERE path IN ('"+a+"', '"+b+"')")
	if !slices.Equal(got, []string{"one", "two", "three"}) {
		t.Errorf("lines %q", got)
	}
	db.mu.Lock()
	db.tables["files"] = paths(t, a, b)
	db.mu.Unlock()
	got = db.ask(t, "SELECT f.path = l.path, line FROM files f JOIN file_lines l USING (path) ORDER BY line")
	if strings.Join(got, " ") != "1|one 1|three 1|two" {
		t.Errorf("joined %q", got)
	}
}

func paths(t *testing.T, list ...string) tables.Table {
	t.Helper()
	table, err := tables.New(tables.Def[string]{
		Name:    "files",
		Columns: []tables.Column[string]{{Name: "path", Type: tables.Text, Get: func(s *string) tables.Value { return tables.String(*s) }}},
		Rows: func(_ context.Context, _ *tables.Query, yield func(*string) bool) error {
			for i := range list {
				if !yield(&list[i]) {
					break
				}
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return table
}

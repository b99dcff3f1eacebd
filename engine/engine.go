package engine

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"sockql/engine/internal/sqlite"
	"sockql/engine/sqlfunc"
	"sockql/tables"
)

// A Config says what an [Engine] offers to SQL.
type Config struct {
	Tables     []tables.Table
	Functions  []sqlfunc.Function
	Collations []sqlfunc.Collation
	// Limits bound what a statement may take; the zero value gives safe ones.
	Limits Limits
}

// An Engine opens connections to a set of tables.
type Engine struct {
	cfg        Config
	collations map[string]bool
	changing   sync.Mutex // of set
	set        atomic.Pointer[tableSet]
}

// New checks a configuration. It fails if a name is no plain identifier or is
// there twice, with aliases and regardless of case, if a column names a
// collating sequence that does not exist, or if a function would replace LIKE
// or GLOB, whose meaning tables rely on.
func New(cfg Config) (*Engine, error) {
	e := &Engine{cfg: cfg, collations: map[string]bool{"binary": true, "nocase": true, "rtrim": true}}
	for _, k := range cfg.Collations {
		if !identifier(k.Name) || k.Compare == nil {
			return nil, fmt.Errorf("engine: collating sequence %q: needs a plain name and a comparison", k.Name)
		}
		e.collations[strings.ToLower(k.Name)] = true
	}
	for _, f := range cfg.Functions {
		if !identifier(f.Name) || f.Eval == nil {
			return nil, fmt.Errorf("engine: function %q: needs a plain name and a body", f.Name)
		}
		if name := strings.ToLower(f.Name); name == "like" || name == "glob" {
			return nil, fmt.Errorf("engine: function %q: must not be replaced", f.Name)
		}
	}
	set := &tableSet{tables: slices.Clone(cfg.Tables), known: map[string]*tables.Schema{}}
	for _, t := range cfg.Tables {
		if err := set.add(t.Schema(), e.collations); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(set.tables, func(a, b tables.Table) int {
		return strings.Compare(a.Schema().Name, b.Schema().Name)
	})
	e.set.Store(set)
	return e, nil
}

func (s *tableSet) add(schema *tables.Schema, collations map[string]bool) error {
	for _, name := range append([]string{schema.Name}, schema.Aliases...) {
		key := strings.ToLower(name)
		switch {
		case !identifier(name):
			return fmt.Errorf("engine: table %q: not a plain name", name)
		case strings.HasPrefix(key, "sqlite_"), strings.HasPrefix(key, "pragma_"):
			return fmt.Errorf("engine: table %q: the name is SQLite's", name)
		case s.known[key] != nil:
			return fmt.Errorf("engine: table %q: the name is there twice", name)
		}
		s.known[key] = schema
	}
	columns := map[string]bool{}
	for _, c := range schema.Columns {
		key := strings.ToLower(c.Name)
		switch {
		case !identifier(c.Name):
			return fmt.Errorf("engine: table %q: column %q: not a plain name", schema.Name, c.Name)
		case columns[key]:
			return fmt.Errorf("engine: table %q: column %q: the name is there twice", schema.Name, c.Name)
		case c.Collate != "" && !collations[strings.ToLower(c.Collate)]:
			return fmt.Errorf("engine: table %q: column %q: unknown collating sequence %q", schema.Name, c.Name, c.Collate)
		}
		columns[key] = true
	}
	return nil
}

// identifier reports whether a name needs no care in SQL beyond quotes, which
// keywords such as "group" still do.
func identifier(name string) bool {
	for i, r := range name {
		letter := r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return name != ""
}

// Tables returns the tables, sorted by name. The caller must not change the
// slice.
func (e *Engine) Tables() []tables.Table { return e.set.Load().tables }

// Table returns the table of this name or alias, regardless of case, or nil.
func (e *Engine) Table(name string) tables.Table { return e.set.Load().table(name) }

// Complete reports whether a text ends with a whole statement, so that a
// prompt need not ask for more lines. White space alone is none.
func Complete(sql string) bool { return sqlite.Complete(sql) }

// SQLiteVersion returns the version of SQLite behind the engine.
func SQLiteVersion() string { return sqlite.Version() }

// MemoryUsed returns the bytes that SQLite holds at this moment, of all
// connections of the process together.
func MemoryUsed() int64 { return sqlite.MemoryUsed() }

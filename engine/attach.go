package engine

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"sockql/engine/internal/sqlite"
	"sockql/tables"
)

// A tableSet is what an engine offers at a time. It is replaced as a whole.
type tableSet struct {
	tables []tables.Table            // sorted by name
	known  map[string]*tables.Schema // by lower-case name and alias
}

// with returns a set that has a further table.
func (s *tableSet) with(t tables.Table, collations map[string]bool) (*tableSet, error) {
	more := &tableSet{tables: slices.Clone(s.tables), known: maps.Clone(s.known)}
	schema := t.Schema()
	if err := more.add(schema, collations); err != nil {
		return nil, err
	}
	i, _ := slices.BinarySearchFunc(more.tables, schema.Name, byName)
	more.tables = slices.Insert(more.tables, i, t)
	return more, nil
}

// without returns a set that lacks a table.
func (s *tableSet) without(t tables.Table) *tableSet {
	schema := t.Schema()
	less := &tableSet{tables: slices.Clone(s.tables), known: maps.Clone(s.known)}
	less.tables = slices.DeleteFunc(less.tables, func(o tables.Table) bool { return o.Schema() == schema })
	maps.DeleteFunc(less.known, func(_ string, o *tables.Schema) bool { return o == schema })
	return less
}

func byName(t tables.Table, name string) int { return cmp.Compare(t.Schema().Name, name) }

// table returns the table of a name or alias, or nil.
func (s *tableSet) table(name string) tables.Table {
	schema := s.known[strings.ToLower(name)]
	if schema == nil {
		return nil
	}
	i, found := slices.BinarySearchFunc(s.tables, schema.Name, byName)
	if !found {
		return nil
	}
	return s.tables[i]
}

// Attach offers a further table: to connections opened from now on, and to
// others from their next [Session.Prepare] on. It fails as [New] does. A view
// or table that a connection's statements created under the name stays in
// front of it there.
//
// It is safe for concurrent use, with [Engine.Detach] and with statements.
func (e *Engine) Attach(t tables.Table) error {
	e.changing.Lock()
	defer e.changing.Unlock()
	set, err := e.set.Load().with(t, e.collations)
	if err != nil {
		return err
	}
	e.set.Store(set)
	return nil
}

// Detach ends the offer of a table, by its name regardless of case, and reports
// whether there was one. Statements that read it go on, others find it gone
// when they are prepared.
func (e *Engine) Detach(name string) bool {
	e.changing.Lock()
	defer e.changing.Unlock()
	set := e.set.Load()
	t := set.table(name)
	if t == nil {
		return false
	}
	e.set.Store(set.without(t))
	return true
}

// catchUp gives the connection's SQLite the tables that the engine offers now.
func (c *Conn) catchUp() error {
	now := c.engine.set.Load()
	if now == c.set {
		return nil
	}
	for _, t := range c.set.tables {
		if schema := t.Schema(); now.known[strings.ToLower(schema.Name)] == schema {
			continue
		}
		for _, m := range c.modules(t) {
			if err := c.db.Detach(m.Name()); err != nil {
				return fmt.Errorf("engine: %w", err)
			}
		}
		c.set = c.set.without(t)
	}
	for _, t := range now.tables {
		if schema := t.Schema(); c.set.known[strings.ToLower(schema.Name)] == schema {
			continue
		}
		for _, m := range c.modules(t) {
			if err := c.db.Attach(m); err != nil {
				return fmt.Errorf("engine: %w", err)
			}
		}
	}
	c.set = now
	return nil
}

// modules returns the modules of a table, one for each of its names.
func (c *Conn) modules(t tables.Table) []sqlite.Module {
	schema := t.Schema()
	list := []sqlite.Module{&module{conn: c, table: t, schema: schema, name: schema.Name}}
	for _, alias := range schema.Aliases {
		list = append(list, &module{conn: c, table: t, schema: schema, name: alias})
	}
	return list
}

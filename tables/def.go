package tables

import (
	"context"
	"fmt"
)

// A Def is what the author of a table writes. R is the author's own row type:
// rows are streamed as *R and a column's accessor is called only for cells
// that somebody reads.
type Def[R any] struct {
	// Name is the table's name in SQL.
	Name string
	// Doc says in one or more sentences what a row is and where it comes from.
	Doc string
	// Privilege says what the table needs to be complete, in one sentence. It
	// is empty where anybody sees everything.
	Privilege string
	// Examples are statements to try, each ending in a semicolon.
	Examples []string
	// Aliases are further names of the same table.
	Aliases []string
	// Columns are the columns in the order of SELECT *.
	Columns []Column[R]
	// Rows streams the rows that q asks for, or more. It stops when yield
	// returns false. The row behind the pointer is read before yield returns
	// and may then be reused. Rows is called concurrently from several
	// sessions. It holds no lock and is not bound to an OS thread while it
	// yields.
	//
	// An error ends the statement. What costs only some rows or cells is
	// reported with [Query.Warn] instead.
	Rows func(ctx context.Context, q *Query, yield func(*R) bool) error
}

// A Column is one column of a [Def].
type Column[R any] struct {
	Name string
	// Doc gives meaning, unit, byte order where it matters, and source.
	Doc   string
	Type  Type
	Flags Flags
	// Collate names a collating sequence other than BINARY.
	Collate string
	// Get returns the cell. It is pure: no I/O, no change of the row.
	Get func(*R) Value
}

// A Schema is what a [Table] tells of itself. It does not change.
type Schema struct {
	Name, Doc, Privilege string
	Examples, Aliases    []string
	Columns              []ColumnInfo
}

// A ColumnInfo describes a column of a [Schema].
type ColumnInfo struct {
	Name, Doc string
	Type      Type
	Flags     Flags
	Collate   string
}

// Column returns the position of the named column, or -1.
func (s *Schema) Column(name string) int {
	for i := range s.Columns {
		if s.Columns[i].Name == name {
			return i
		}
	}
	return -1
}

// A Row is one row of a scan. It is valid until the scan goes on.
type Row interface {
	// Column returns the cell of the i-th column of the schema.
	Column(i int) Value
}

// A Table is what the engine and the extension see of a table.
type Table interface {
	Schema() *Schema
	// Scan streams the rows that q asks for, or more, until yield returns
	// false. Callers use [Run], which guards it.
	Scan(ctx context.Context, q *Query, yield func(Row) bool) error
}

// New makes a [Table] of a definition. It fails if the definition has no name,
// no rows, or a column without name or accessor, or two columns of one name.
func New[R any](d Def[R]) (Table, error) {
	if d.Name == "" || d.Rows == nil || len(d.Columns) == 0 {
		return nil, fmt.Errorf("tables: definition %q needs a name, columns and rows", d.Name)
	}
	t := &table[R]{
		rows: d.Rows,
		get:  make([]func(*R) Value, len(d.Columns)),
		schema: Schema{
			Name: d.Name, Doc: d.Doc, Privilege: d.Privilege,
			Examples: d.Examples, Aliases: d.Aliases,
			Columns: make([]ColumnInfo, len(d.Columns)),
		},
	}
	for i, c := range d.Columns {
		if c.Name == "" || c.Get == nil {
			return nil, fmt.Errorf("tables: %s: column %d needs a name and an accessor", d.Name, i)
		}
		if t.schema.Column(c.Name) >= 0 {
			return nil, fmt.Errorf("tables: %s: column %q is there twice", d.Name, c.Name)
		}
		t.get[i] = c.Get
		t.schema.Columns[i] = ColumnInfo{Name: c.Name, Doc: c.Doc, Type: c.Type, Flags: c.Flags, Collate: c.Collate}
	}
	return t, nil
}

type table[R any] struct {
	schema Schema
	get    []func(*R) Value
	rows   func(context.Context, *Query, func(*R) bool) error
}

func (t *table[R]) Schema() *Schema { return &t.schema }

func (t *table[R]) Scan(ctx context.Context, q *Query, yield func(Row) bool) error {
	r := row[R]{get: t.get}
	return t.rows(ctx, q, func(data *R) bool {
		r.data = data
		return yield(&r)
	})
}

type row[R any] struct {
	get  []func(*R) Value
	data *R
}

func (r *row[R]) Column(i int) Value { return r.get[i](r.data) }

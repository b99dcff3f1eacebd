package tables

import "strings"

// Type is the declared type of a column: one of osquery's six.
type Type uint8

// The column types, named as osquery's table specifications name them
// (https://osquery.readthedocs.io/en/stable/development/creating-tables/).
const (
	Text           Type = iota // TEXT
	Integer                    // INTEGER, a signed 32-bit number in osquery
	BigInt                     // BIGINT, a signed 64-bit number
	UnsignedBigInt             // UNSIGNED BIGINT, an unsigned 64-bit number
	Double                     // DOUBLE, an IEEE 754 binary64
	Blob                       // BLOB, bytes
)

// String returns the type as SQL writes it.
func (t Type) String() string {
	switch t {
	case Text:
		return "TEXT"
	case Integer:
		return "INTEGER"
	case BigInt:
		return "BIGINT"
	case UnsignedBigInt:
		return "UNSIGNED BIGINT"
	case Double:
		return "DOUBLE"
	case Blob:
		return "BLOB"
	}
	return "UNKNOWN"
}

// integer reports whether values of this type are whole numbers.
func (t Type) integer() bool { return t == Integer || t == BigInt || t == UnsignedBigInt }

// Holds reports whether a value is what a column of this type holds, without
// any conversion. NULL is no such value.
func (t Type) Holds(v Value) bool {
	switch t {
	case Text:
		return v.kind == KindText
	case Double:
		return v.kind == KindFloat
	case Blob:
		return v.kind == KindBlob
	}
	return v.kind == KindInt
}

// Flags are the options of a column. The five lower bits are osquery's
// ColumnOptions, as its extension protocol sends them.
type Flags uint8

// The column options.
const (
	// Index marks a column by which the table looks rows up.
	Index Flags = 1 << iota
	// Required marks a column without whose constraint the table cannot answer.
	Required
	// Additional marks a column whose constraint adds rows or narrows them.
	Additional
	// Optimized marks a column that takes all values of an IN list at once.
	Optimized
	// Hidden keeps a column out of SELECT *.
	Hidden
	// Pushdown marks a column whose constraints the table uses although
	// osquery's table of that name knows no such option. It is ours: it is
	// neither shown in a schema nor sent to osquery.
	Pushdown
)

// Constrainable are the options that make constraints reach the table.
const Constrainable = Index | Required | Additional | Optimized | Pushdown

// Has reports whether all of the options in o are set.
func (f Flags) Has(o Flags) bool { return f&o == o }

// Any reports whether at least one of the options in o is set.
func (f Flags) Any(o Flags) bool { return f&o != 0 }

// String lists the options in osquery's words, separated by commas.
func (f Flags) String() string {
	var names []string
	for i, name := range [...]string{"index", "required", "additional", "optimized", "hidden", "pushdown"} {
		if f.Any(1 << i) {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}

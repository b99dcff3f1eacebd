package tables

import (
	"math"
	"slices"
)

// A Set is what constraints leave of a column: a superset of the values that a
// row can have and still matter. Rows outside it may be left out.
type Set struct {
	listed   bool
	loose    bool // a text column is compared with a number: see Values
	values   []Value
	lo, hi   int64 // integer columns only
	patterns []Pattern
	none     bool
}

// A Pattern is a LIKE or GLOB term of a text column.
type Pattern struct {
	Op   Op // OpLike or OpGlob
	Text string
}

var everything = Set{lo: math.MinInt64, hi: math.MaxInt64}

// Empty reports whether no value is left.
func (s Set) Empty() bool { return s.none }

// Unrestricted reports whether any value may matter.
func (s Set) Unrestricted() bool {
	return !s.none && !s.listed && s.lo == math.MinInt64 && s.hi == math.MaxInt64 && len(s.patterns) == 0
}

// Values returns the values to which a column is restricted, each once and in
// the column's type, and whether it is restricted to a list at all.
//
// A text column compared with a number gives no list, because SQLite may
// compare the two as numbers, and then many texts are equal to it;
// [Set.HasString] and [Set.HasUint] know about it. Where the column is
// required, use [Set.Written].
func (s Set) Values() (values []Value, ok bool) {
	if !s.listed || s.loose {
		return nil, false
	}
	return s.values, true
}

// Written returns the values of a text column as the statement wrote them,
// numbers in their usual form.
func (s Set) Written() []string {
	var texts []string
	for _, v := range s.values {
		texts = append(texts, v.String())
	}
	return texts
}

// Patterns returns the LIKE and GLOB terms, all of which hold. SQLite checks
// them again, so a table need not.
func (s Set) Patterns() []Pattern { return s.patterns }

// Bounds returns the least and the greatest value that an integer column can
// have.
func (s Set) Bounds() (lo, hi int64) { return s.lo, s.hi }

// HasInt reports whether a row whose integer column has this value can matter.
func (s Set) HasInt(n int64) bool {
	if s.none || n < s.lo || n > s.hi {
		return false
	}
	return !s.listed || s.has(Int(n))
}

// HasString reports whether a row whose text column has this value can matter.
// Patterns are not considered.
func (s Set) HasString(text string) bool {
	if s.none {
		return false
	}
	if !s.listed || s.has(String(text)) {
		return true
	}
	if s.loose {
		if number, ok := numericText(text); ok {
			return slices.ContainsFunc(s.values, func(v Value) bool { return sameNumber(v, number) })
		}
	}
	return false
}

// HasUint reports whether a row whose text column holds this number in decimal
// digits can matter.
func (s Set) HasUint(n uint64) bool {
	if s.none {
		return false
	}
	return !s.listed || s.HasString(Decimal(n).String())
}

func (s Set) has(v Value) bool {
	// A handful is searched in order; an IN list of thousands is sorted.
	if len(s.values) <= 8 {
		return slices.Contains(s.values, v)
	}
	_, found := slices.BinarySearchFunc(s.values, v, compareValues)
	return found
}

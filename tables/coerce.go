package tables

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
)

// restrict narrows the set of a column of type t by one term. It follows
// SQLite's comparison rules (https://www.sqlite.org/datatype3.html#comparison_expressions):
// a value arrives with the type that the statement gave it, and the column's
// affinity would be applied to it before the comparison. Where the rules leave
// more than one reading, the set stays wider.
func (s *Set) restrict(t Type, c Constraint) {
	switch c.Op {
	case OpEq, OpIs:
		s.equal(t, c)
	case OpLT, OpLE, OpGT, OpGE:
		if len(c.Values) == 1 {
			s.bound(t, c.Op, c.Values[0])
		}
	case OpLike, OpGlob:
		if t == Text && len(c.Values) == 1 {
			if c.Values[0].IsNull() {
				s.clear()
				return
			}
			s.patterns = append(s.patterns, Pattern{Op: c.Op, Text: c.Values[0].String()})
		}
	}
}

func (s *Set) clear() { *s = Set{none: true, listed: true} }

func (s *Set) equal(t Type, c Constraint) {
	var values []Value
	loose := false
	for _, v := range c.Values {
		if v.IsNull() {
			if c.Op == OpIs {
				return // IS NULL asks for rows that no list can name
			}
			continue // nothing equals NULL
		}
		switch {
		case t.integer():
			if n, ok := asInteger(v); ok {
				values = append(values, Int(n))
			}
		case t == Double:
			if f, ok := asFloat(v); ok {
				values = append(values, Float(f))
			}
		case t == Blob:
			if v.kind == KindBlob {
				values = append(values, v)
			}
		case v.kind == KindText:
			values = append(values, String(v.String()))
		case v.kind == KindInt || v.kind == KindFloat:
			loose = true
			values = append(values, v)
		}
		// A blob never equals the text of a text column.
	}
	slices.SortFunc(values, compareValues)
	values = slices.CompactFunc(values, Value.Equal)
	switch {
	case s.none:
		return
	case !s.listed:
		s.listed, s.loose, s.values = true, loose, values
	case s.loose || loose:
		// Two lists of which one compares as numbers: either alone is a
		// superset of what both leave. The exact one serves better.
		if s.loose && !loose {
			s.loose, s.values = false, values
		}
	default:
		s.values = slices.DeleteFunc(slices.Clone(s.values), func(v Value) bool {
			_, found := slices.BinarySearchFunc(values, v, compareValues)
			return !found
		})
	}
	s.settle(t)
}

// bound narrows the bounds of an integer column. Other types keep the term to
// SQLite, except that nothing is less or greater than NULL.
func (s *Set) bound(t Type, op Op, v Value) {
	if v.IsNull() {
		s.clear()
		return
	}
	if !t.integer() || s.none {
		return
	}
	if v.kind == KindText {
		if n, ok := numericText(v.String()); ok {
			v = n
		}
	}
	switch v.kind {
	case KindText, KindBlob: // sorts after every number
		if op == OpGT || op == OpGE {
			s.clear()
		}
		return
	case KindInt:
		n := int64(v.n)
		switch op {
		case OpLE:
			s.hi = min(s.hi, n)
		case OpGE:
			s.lo = max(s.lo, n)
		case OpLT:
			if n == math.MinInt64 {
				s.clear()
				return
			}
			s.hi = min(s.hi, n-1)
		case OpGT:
			if n == math.MaxInt64 {
				s.clear()
				return
			}
			s.lo = max(s.lo, n+1)
		}
	case KindFloat:
		f := v.Float64()
		switch op {
		case OpLE, OpLT:
			whole := math.Floor(f)
			switch {
			case whole < -1<<63:
				s.clear()
				return
			case whole < 1<<63:
				n := int64(whole)
				if op == OpLT && whole == f {
					if n == math.MinInt64 {
						s.clear()
						return
					}
					n--
				}
				s.hi = min(s.hi, n)
			}
		case OpGE, OpGT:
			whole := math.Ceil(f)
			switch {
			case whole >= 1<<63:
				s.clear()
				return
			case whole >= -1<<63:
				n := int64(whole)
				if op == OpGT && whole == f {
					n++ // never the greatest: that is no float
				}
				s.lo = max(s.lo, n)
			}
		}
	}
	s.settle(t)
}

// settle drops listed values outside the bounds and notices an empty set.
func (s *Set) settle(t Type) {
	if t.integer() && s.listed && (s.lo != math.MinInt64 || s.hi != math.MaxInt64) {
		s.values = slices.DeleteFunc(slices.Clone(s.values), func(v Value) bool {
			n := v.Int64()
			return n < s.lo || n > s.hi
		})
	}
	if s.lo > s.hi || s.listed && len(s.values) == 0 {
		s.clear()
	}
}

// asInteger returns the integer that a value equals in a column of integer
// affinity.
func asInteger(v Value) (int64, bool) {
	switch v.kind {
	case KindInt:
		return int64(v.n), true
	case KindFloat:
		f := v.Float64()
		if f == math.Trunc(f) && f >= -1<<63 && f < 1<<63 {
			return int64(f), true
		}
	case KindText:
		if n, ok := numericText(v.String()); ok {
			return asInteger(n)
		}
	}
	return 0, false
}

// asFloat returns the float that a value equals in a column of real affinity.
func asFloat(v Value) (float64, bool) {
	switch v.kind {
	case KindInt, KindFloat:
		return v.Float64(), true
	case KindText:
		if n, ok := numericText(v.String()); ok {
			return n.Float64(), true
		}
	}
	return 0, false
}

// numericText converts a text to a number if all of it is a well-formed
// integer or real literal, with white space around it, as numeric affinity does
// (https://www.sqlite.org/datatype3.html#type_affinity). Hexadecimal is text.
func numericText(s string) (Value, bool) {
	s = strings.Trim(s, " \t\n\v\f\r")
	digits, point, exponent := 0, false, false
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c >= '0' && c <= '9':
			digits++
		case (c == '+' || c == '-') && (i == 0 || exponent && (s[i-1] == 'e' || s[i-1] == 'E')):
		case c == '.' && !point && !exponent:
			point = true
		case (c == 'e' || c == 'E') && !exponent && digits > 0:
			exponent, digits = true, 0
		default:
			return Value{}, false
		}
	}
	if digits == 0 {
		return Value{}, false
	}
	if !point && !exponent {
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			return Int(n), true
		}
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil && !math.IsInf(f, 0) {
		return Value{}, false
	}
	return Float(f), true
}

// sameNumber reports whether two numbers are equal as SQLite compares them.
func sameNumber(a, b Value) bool {
	if a.kind == KindInt && b.kind == KindInt {
		return a.n == b.n
	}
	x, xok := asInteger(a)
	y, yok := asInteger(b)
	if xok || yok {
		return xok && yok && x == y
	}
	return a.Float64() == b.Float64()
}

// compareValues orders values of one column. Texts held in different forms
// have been made plain before.
func compareValues(a, b Value) int {
	if c := cmp.Compare(a.kind, b.kind); c != 0 {
		return c
	}
	switch a.kind {
	case KindInt:
		return cmp.Compare(int64(a.n), int64(b.n))
	case KindFloat:
		return cmp.Compare(a.Float64(), b.Float64())
	}
	return cmp.Compare(a.s, b.s)
}

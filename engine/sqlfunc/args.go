package sqlfunc

import (
	"math"
	"strconv"
	"strings"

	"sockql/tables"
)

// text returns an argument as osquery's functions see it: sqlite3_value_text
// taken for a C string, which ends at the first NUL.
func text(v tables.Value) string {
	s := v.String()
	if i := strings.IndexByte(s, 0); i >= 0 {
		return s[:i]
	}
	return s
}

// An osqueryError is an error whose text is osquery's.
type osqueryError string

func (e osqueryError) Error() string { return string(e) }

// anyNull reports whether an argument is NULL.
func anyNull(args []tables.Value) bool {
	for _, v := range args {
		if v.IsNull() {
			return true
		}
	}
	return false
}

const space = " \t\n\v\f\r" // isspace(3) in the C locale

// integer converts as sqlite3_value_int64 does: the digits that a text begins
// with, and the nearest integer for what does not fit
// (https://www.sqlite.org/c3ref/value_blob.html).
func integer(v tables.Value) int64 {
	switch v.Kind() {
	case tables.KindInt:
		return v.Int64()
	case tables.KindFloat:
		switch f := v.Float64(); {
		case f <= math.MinInt64:
			return math.MinInt64
		case f >= math.MaxInt64:
			return math.MaxInt64
		default:
			return int64(f)
		}
	}
	s := strings.TrimLeft(v.String(), space)
	// On a range error ParseInt returns the nearest integer, as SQLite does.
	n, _ := strconv.ParseInt(s[:integerPrefix(s)], 10, 64)
	return n
}

// integer32 converts as sqlite3_value_int does: the lower 32 bits.
func integer32(v tables.Value) int32 { return int32(integer(v)) }

// float converts as sqlite3_value_double does: the number that a text begins
// with, or 0.
func float(v tables.Value) float64 {
	switch v.Kind() {
	case tables.KindInt, tables.KindFloat:
		return v.Float64()
	}
	s := strings.TrimLeft(v.String(), space)
	// On a range error ParseFloat returns an infinity or 0, as SQLite does.
	f, _ := strconv.ParseFloat(s[:floatPrefix(s)], 64)
	return f
}

func digits(s string) int {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}

func sign(s string) int {
	if s != "" && (s[0] == '+' || s[0] == '-') {
		return 1
	}
	return 0
}

// integerPrefix returns the length of the decimal integer that s begins with.
func integerPrefix(s string) int {
	start := sign(s)
	n := digits(s[start:])
	if n == 0 {
		return 0
	}
	return start + n
}

// floatPrefix returns the length of the decimal number that s begins with: no
// hexadecimal, no name of an infinity, no underscore.
func floatPrefix(s string) int {
	start := sign(s)
	end := start + digits(s[start:])
	mantissa := end - start
	if end < len(s) && s[end] == '.' {
		fraction := digits(s[end+1:])
		mantissa += fraction
		if mantissa > 0 {
			end += 1 + fraction
		}
	}
	if mantissa == 0 {
		return 0
	}
	if end < len(s) && (s[end] == 'e' || s[end] == 'E') {
		exponent := end + 1 + sign(s[end+1:])
		if n := digits(s[exponent:]); n > 0 {
			end = exponent + n
		}
	}
	return end
}

// wholeNumber returns the integer that a value is: a number without a
// fraction, or a text that is nothing else than decimal digits.
func wholeNumber(v tables.Value) (int64, bool) {
	switch v.Kind() {
	case tables.KindInt:
		return v.Int64(), true
	case tables.KindFloat:
		f := v.Float64()
		if f == math.Trunc(f) && math.Abs(f) < 1<<53 {
			return int64(f), true
		}
	case tables.KindText:
		n, err := strconv.ParseInt(strings.Trim(v.String(), space), 10, 64)
		return n, err == nil
	}
	return 0, false
}

// number returns the float as a result. SQLite turns a NaN into NULL.
func number(f float64) tables.Value {
	if math.IsNaN(f) {
		return tables.Null()
	}
	return tables.Float(f)
}

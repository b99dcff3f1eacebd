package tables

import (
	"encoding/binary"
	"math"
	"net/netip"
	"strconv"
)

// Kind tells which of SQLite's storage classes a [Value] has
// (https://www.sqlite.org/datatype3.html#storage_classes_and_datatypes).
type Kind uint8

// The kinds of a value.
const (
	KindNull Kind = iota
	KindInt
	KindFloat
	KindText
	KindBlob
)

// form tells how a text is held, so that a cell nobody reads costs no string.
type form uint8

const (
	formPlain   form = iota
	formIPv4         // n is the address
	formIPv6         // s is the address in 16 bytes
	formDecimal      // n in decimal digits
)

// A Value is one cell: NULL, a 64-bit integer, a float, a text or a blob. The
// zero Value is NULL. It is small, comparable with ==, and made without
// allocation but for an IPv6 address, which takes 16 bytes.
//
// Two texts of equal content may differ under == when one of them is held as
// an address or a number; use [Value.Equal] for content.
//
// Four fields in 32 bytes are what the compiler still passes in registers
// without a copy in memory, which is most of what a cell costs.
type Value struct {
	s    string
	n    uint64
	kind Kind
	form form
}

// Null returns the SQL NULL.
func Null() Value { return Value{} }

// Int returns an integer.
func Int[T ~int | ~int8 | ~int16 | ~int32 | ~int64 | ~uint8 | ~uint16 | ~uint32](n T) Value {
	return Value{kind: KindInt, n: uint64(int64(n))}
}

// Uint returns an integer. SQLite has no unsigned numbers: one of 2^63 or more
// becomes the negative number of the same bits, as in osquery.
func Uint(n uint64) Value { return Value{kind: KindInt, n: n} }

// Bool returns the integer 1 or 0.
func Bool(b bool) Value {
	if b {
		return Int(1)
	}
	return Int(0)
}

// Float returns a float.
func Float(f float64) Value { return Value{kind: KindFloat, n: math.Float64bits(f)} }

// String returns a text. It need not be UTF-8 and may hold NUL bytes.
func String[T ~string](s T) Value { return Value{kind: KindText, s: string(s)} }

// Bytes returns a blob. The bytes are those of the string.
func Bytes[T ~string](s T) Value { return Value{kind: KindBlob, s: string(s)} }

// Addr returns the text of an IP address, without its zone, as
// [netip.Addr.String] writes it, and NULL for the zero Addr. The text is
// written only when it is asked for.
func Addr(a netip.Addr) Value {
	switch {
	case a.Is4():
		b := a.As4()
		return Value{kind: KindText, form: formIPv4, n: uint64(binary.BigEndian.Uint32(b[:]))}
	case a.Is6():
		b := a.As16()
		return Value{kind: KindText, form: formIPv6, s: string(b[:])}
	}
	return Value{}
}

// Decimal returns the text of a number in decimal digits, written only when it
// is asked for.
func Decimal(n uint64) Value { return Value{kind: KindText, form: formDecimal, n: n} }

// Kind returns the kind of the value.
func (v Value) Kind() Kind { return v.kind }

// IsNull reports whether the value is NULL.
func (v Value) IsNull() bool { return v.kind == KindNull }

// Int64 returns the value of an integer, a float cut to an integer, and 0 for
// every other kind.
func (v Value) Int64() int64 {
	switch v.kind {
	case KindInt:
		return int64(v.n)
	case KindFloat:
		return int64(math.Float64frombits(v.n))
	}
	return 0
}

// Float64 returns the value of a float or an integer, and 0 for every other
// kind.
func (v Value) Float64() float64 {
	switch v.kind {
	case KindInt:
		return float64(int64(v.n))
	case KindFloat:
		return math.Float64frombits(v.n)
	}
	return 0
}

// Literal returns the content of a text or blob that is held as it is, and
// whether it is.
func (v Value) Literal() (s string, ok bool) {
	return v.s, v.form == formPlain && (v.kind == KindText || v.kind == KindBlob)
}

// Append appends the text of the value to dst: digits of a number, the content
// of a text or blob, nothing for NULL.
func (v Value) Append(dst []byte) []byte {
	switch v.kind {
	case KindInt:
		return strconv.AppendInt(dst, int64(v.n), 10)
	case KindFloat:
		return appendFloat(dst, math.Float64frombits(v.n))
	case KindText, KindBlob:
		switch v.form {
		case formIPv4:
			var b [4]byte
			binary.BigEndian.PutUint32(b[:], uint32(v.n))
			return netip.AddrFrom4(b).AppendTo(dst)
		case formIPv6:
			return netip.AddrFrom16([16]byte([]byte(v.s))).AppendTo(dst)
		case formDecimal:
			return strconv.AppendUint(dst, v.n, 10)
		}
		return append(dst, v.s...)
	}
	return dst
}

// String returns the text of the value as [Value.Append] writes it.
func (v Value) String() string {
	if s, ok := v.Literal(); ok {
		return s
	}
	var buf [48]byte
	return string(v.Append(buf[:0]))
}

// Equal reports whether two values have the same kind and content. NULL equals
// NULL, and an integer never equals a float.
func (v Value) Equal(w Value) bool {
	if v.kind != w.kind {
		return false
	}
	if v.kind == KindText && v.form != w.form {
		return v.String() == w.String()
	}
	return v == w
}

// appendFloat writes a float as SQLite's conversion to text does: up to 15
// significant digits and always a decimal point or an exponent.
func appendFloat(dst []byte, f float64) []byte {
	switch {
	case f == 0: // without the sign of a negative zero
		return append(dst, "0.0"...)
	case math.IsInf(f, 1):
		return append(dst, "Inf"...)
	case math.IsInf(f, -1):
		return append(dst, "-Inf"...)
	}
	var buf [32]byte
	digits := strconv.AppendFloat(buf[:0], f, 'e', 14, 64)
	mantissa, exponent := digits, 0
	for i, c := range digits {
		if c == 'e' {
			mantissa = digits[:i]
			exponent, _ = strconv.Atoi(string(digits[i+1:]))
			break
		}
	}
	if exponent < -4 || exponent > 14 {
		for mantissa[len(mantissa)-1] == '0' && mantissa[len(mantissa)-2] != '.' {
			mantissa = mantissa[:len(mantissa)-1]
		}
		dst = append(append(dst, mantissa...), 'e')
		if exponent < 0 {
			dst = append(dst, '-')
			exponent = -exponent
		} else {
			dst = append(dst, '+')
		}
		if exponent < 10 {
			dst = append(dst, '0')
		}
		return strconv.AppendInt(dst, int64(exponent), 10)
	}
	start := len(dst)
	dst = strconv.AppendFloat(dst, f, 'f', 14-exponent, 64)
	point := false
	for _, c := range dst[start:] {
		point = point || c == '.'
	}
	if !point {
		return append(dst, '.', '0')
	}
	for dst[len(dst)-1] == '0' && dst[len(dst)-2] != '.' {
		dst = dst[:len(dst)-1]
	}
	return dst
}

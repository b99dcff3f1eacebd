package resultlog

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"sockql/internal/jsontext"
	"sockql/tables"
)

// A Cell is a named value of a [Row]: an integer, a finite float or a text.
type Cell struct {
	Name  string
	Value tables.Value
}

// A Row has its cells in the order of their names, each name once.
type Row []Cell

// A Shape makes rows of what a statement gives.
type Shape struct {
	names []string
	index []int // of the values, in the order of the names
}

// NewShape returns the shape of a result. Of columns with the same name the
// last counts, as in osquery.
func NewShape(columns []string) Shape {
	var s Shape
	for i := range columns {
		s.index = append(s.index, i)
	}
	slices.SortStableFunc(s.index, func(a, b int) int { return strings.Compare(columns[a], columns[b]) })
	kept := s.index[:0]
	for k, i := range s.index {
		if k+1 == len(s.index) || columns[s.index[k+1]] != columns[i] {
			kept = append(kept, i)
			s.names = append(s.names, columns[i])
		}
	}
	s.index = kept
	return s
}

// Row returns the row of the values. NULL becomes an empty text and a blob a
// text. In a text, bytes that are no UTF-8 are written \xNN; with control, as
// osquery does for all but snapshots, control characters are, too.
func (s Shape) Row(values []tables.Value, control bool) Row {
	row := make(Row, len(s.names))
	for k, i := range s.index {
		v := values[i]
		switch v.Kind() {
		case tables.KindNull:
			v = tables.String("")
		case tables.KindFloat:
			if f := v.Float64(); math.IsInf(f, 0) || math.IsNaN(f) {
				v = tables.String(floatText(f)) // JSON has no such number
			}
		case tables.KindText, tables.KindBlob:
			v = tables.String(escapeBytes(v.String(), control))
		}
		row[k] = Cell{Name: s.names[k], Value: v}
	}
	return row
}

// escapeBytes writes bytes as osquery does (escapeNonPrintableBytes in
// osquery/sql/sql.cpp).
func escapeBytes(s string, control bool) string {
	clean := utf8.ValidString(s) && (!control || strings.IndexFunc(s, func(r rune) bool { return r < 0x20 }) < 0)
	if clean {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 || control && r < 0x20 {
			fmt.Fprintf(&b, `\x%02X`, s[i])
		} else {
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}

// Size returns the bytes of names and values, as osquery_schedule counts them.
func (r Row) Size() int64 {
	var n int
	for _, c := range r {
		n += len(c.Name) + 8
		if text, ok := c.Value.Literal(); ok {
			n += len(text) - 8
		}
	}
	return int64(n)
}

// compareRows orders rows as osquery's set of rows does: by names and values
// in turn, integers before floats before texts.
func compareRows(a, b Row) int {
	for i := range min(len(a), len(b)) {
		if c := cmp.Or(strings.Compare(a[i].Name, b[i].Name), compareValues(a[i].Value, b[i].Value)); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(a), len(b))
}

func compareValues(a, b tables.Value) int {
	if c := cmp.Compare(a.Kind(), b.Kind()); c != 0 {
		return c
	}
	switch a.Kind() {
	case tables.KindInt:
		return cmp.Compare(a.Int64(), b.Int64())
	case tables.KindFloat:
		return cmp.Compare(a.Float64(), b.Float64())
	}
	return strings.Compare(a.String(), b.String())
}

// appendObject appends a row as a JSON object. Numbers are in quotes unless
// numerics is set.
func appendObject(dst []byte, r Row, numerics bool) []byte {
	dst = append(dst, '{')
	for i, c := range r {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(jsontext.Append(dst, c.Name), ':')
		switch kind := c.Value.Kind(); {
		case kind == tables.KindInt && numerics:
			dst = strconv.AppendInt(dst, c.Value.Int64(), 10)
		case kind == tables.KindFloat && numerics:
			dst = appendFloat(dst, c.Value.Float64())
		case kind == tables.KindFloat:
			dst = jsontext.Append(dst, floatText(c.Value.Float64()))
		default:
			dst = jsontext.Append(dst, c.Value.String())
		}
	}
	return append(dst, '}')
}

// floatText returns a float as osquery writes it into a text: as C++ does with
// 15 digits, and then .0 if there is no point (castVariant in
// osquery/utils/conversions/castvariant.h).
func floatText(f float64) string {
	s := strings.ToLower(strings.TrimPrefix(strconv.FormatFloat(f, 'g', 15, 64), "+"))
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// appendFloat appends a float as RapidJSON does: the shortest digits that are
// this number, with a point, and an exponent below 1e-6 and from 1e21 on.
func appendFloat(dst []byte, f float64) []byte {
	if f == 0 {
		if math.Signbit(f) {
			dst = append(dst, '-')
		}
		return append(dst, "0.0"...)
	}
	if a := math.Abs(f); a >= 1e-6 && a < 1e21 {
		start := len(dst)
		dst = strconv.AppendFloat(dst, f, 'f', -1, 64)
		if !slices.Contains(dst[start:], '.') {
			dst = append(dst, ".0"...)
		}
		return dst
	}
	digits, exponent, _ := strings.Cut(strconv.FormatFloat(f, 'e', -1, 64), "e")
	n, _ := strconv.Atoi(exponent)
	return strconv.AppendInt(append(append(dst, digits...), 'e'), int64(n), 10)
}

// parseObject is the reverse of appendObject with numerics.
func parseObject(text string) (Row, error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.Join(errors.New("resultlog: stored row: not an object"), err)
	}
	var row Row
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, fmt.Errorf("resultlog: stored row: %w", err)
		}
		value, err := d.Token()
		if err != nil {
			return nil, fmt.Errorf("resultlog: stored row: %w", err)
		}
		c := Cell{}
		c.Name, _ = name.(string)
		switch v := value.(type) {
		case string:
			c.Value = tables.String(v)
		case json.Number:
			if n, err := v.Int64(); err == nil {
				c.Value = tables.Int(n)
			} else if f, err := v.Float64(); err == nil {
				c.Value = tables.Float(f)
			} else {
				return nil, fmt.Errorf("resultlog: stored row: number %q: %w", v, err)
			}
		default:
			return nil, fmt.Errorf("resultlog: stored row: unexpected %v", value)
		}
		row = append(row, c)
	}
	return row, nil
}

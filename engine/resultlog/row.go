package resultlog

import (
	"cmp"
	"encoding/json"
	"fmt"
	"iter"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"sockql/internal/jsontext"
	"sockql/tables"
)

// A Row is a row of a result as a JSON object: its cells in the order of their
// names, each name once, integers and finite floats without quotes.
type Row string

// Rows collect the rows of a result. They are kept as one text, which takes a
// fraction of what values take.
type Rows struct {
	names   []string // as JSON, with the colon
	lengths []int    // of the names themselves
	index   []int    // of the values, in the order of the names
	control bool

	text  strings.Builder // each row with a newline
	buf   []byte
	count int
	size  int64
}

// NewRows returns the rows of a result that has none yet. Of columns with the
// same name the last counts, as in osquery. With control, control characters
// are written \xNN, as osquery does for all but snapshots.
func NewRows(columns []string, control bool) *Rows {
	r := &Rows{control: control}
	for i := range columns {
		r.index = append(r.index, i)
	}
	slices.SortStableFunc(r.index, func(a, b int) int { return strings.Compare(columns[a], columns[b]) })
	kept := r.index[:0]
	for k, i := range r.index {
		if k+1 == len(r.index) || columns[r.index[k+1]] != columns[i] {
			kept = append(kept, i)
			r.names = append(r.names, string(jsontext.Append(nil, escapeBytes(columns[i], false)))+":")
			r.lengths = append(r.lengths, len(columns[i]))
		}
	}
	r.index = kept
	return r
}

// Add adds a row. NULL becomes an empty text and a blob a text. In a text,
// bytes that are no UTF-8 are written \xNN.
func (r *Rows) Add(values []tables.Value) {
	dst := append(r.buf[:0], '{')
	for k, i := range r.index {
		if k > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, r.names[k]...)
		r.size += int64(r.lengths[k])
		text := ""
		switch v := values[i]; v.Kind() {
		case tables.KindInt:
			dst = strconv.AppendInt(dst, v.Int64(), 10)
			r.size += 8
			continue
		case tables.KindFloat:
			f := v.Float64()
			if !math.IsInf(f, 0) && !math.IsNaN(f) {
				dst = appendFloat(dst, f)
				r.size += 8
				continue
			}
			text = floatText(f) // JSON has no such number
		case tables.KindText, tables.KindBlob:
			text = escapeBytes(v.String(), r.control)
		}
		dst = jsontext.Append(dst, text)
		r.size += int64(len(text))
	}
	r.buf = append(dst, '}', '\n')
	r.text.Write(r.buf)
	r.count++
}

// Size returns the bytes of names and values, as osquery_schedule counts them.
func (r *Rows) Size() int64 { return r.size }

// Bytes returns what the rows take.
func (r *Rows) Bytes() int64 { return int64(r.text.Len()) }

// All returns the rows in the order in which they were added.
func (r *Rows) All() []Row {
	rows := make([]Row, 0, r.count)
	for line := range splitRows(r.stored()) {
		rows = append(rows, Row(line))
	}
	return rows
}

// stored returns the rows as the store keeps them, one a line.
func (r *Rows) stored() string { return strings.TrimSuffix(r.text.String(), "\n") }

// splitRows is the reverse of stored.
func splitRows(text string) iter.Seq[string] {
	if text == "" {
		return func(func(string) bool) {}
	}
	return strings.SplitSeq(text, "\n")
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

// cut returns the first cell of what follows the brace or a comma of a row: its
// name and its value as JSON, and the rest. A row that is malformed ends early.
func cut(r string) (name, value, rest string, ok bool) {
	name, r, ok = cutString(r)
	if !ok || !strings.HasPrefix(r, ":") {
		return "", "", "", false
	}
	r = r[1:]
	if value, rest, ok = cutString(r); !ok {
		end := strings.IndexAny(r, ",}")
		if end <= 0 {
			return "", "", "", false
		}
		value, rest = r[:end], r[end:]
	}
	if rest == "" {
		return "", "", "", false
	}
	return name, value, rest[1:], true
}

// cutString returns the JSON string with which s begins, and the rest.
func cutString(s string) (text, rest string, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		return "", s, false
	}
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return s[:i+1], s[i+1:], true
		}
	}
	return "", s, false
}

// unquote returns the text of a JSON string.
func unquote(s string) string {
	if !strings.Contains(s, `\`) {
		return strings.Trim(s, `"`)
	}
	var text string
	if err := json.Unmarshal([]byte(s), &text); err != nil {
		return s
	}
	return text
}

// compareRows orders rows as osquery's set of rows does: by names and values
// in turn, integers before floats before texts.
func compareRows(a, b Row) int {
	x, y := strings.TrimPrefix(string(a), "{"), strings.TrimPrefix(string(b), "{")
	for {
		nameX, valueX, restX, okX := cut(x)
		nameY, valueY, restY, okY := cut(y)
		if !okX || !okY {
			return cmp.Compare(len(x), len(y))
		}
		if nameX != nameY {
			if c := strings.Compare(unquote(nameX), unquote(nameY)); c != 0 {
				return c
			}
		}
		if valueX != valueY {
			if c := compareValues(valueX, valueY); c != 0 {
				return c
			}
		}
		x, y = restX, restY
	}
}

func compareValues(a, b string) int {
	kind := func(s string) int {
		switch {
		case strings.HasPrefix(s, `"`):
			return 2
		case isFloat(s):
			return 1
		}
		return 0
	}
	if c := cmp.Compare(kind(a), kind(b)); c != 0 {
		return c
	}
	switch kind(a) {
	case 0:
		x, _ := strconv.ParseInt(a, 10, 64)
		y, _ := strconv.ParseInt(b, 10, 64)
		return cmp.Compare(x, y)
	case 1:
		x, _ := strconv.ParseFloat(a, 64)
		y, _ := strconv.ParseFloat(b, 64)
		return cmp.Compare(x, y)
	}
	return strings.Compare(unquote(a), unquote(b))
}

func isFloat(number string) bool { return strings.ContainsAny(number, ".e") }

// appendRow appends a row. Numbers are in quotes unless numerics is set.
func appendRow(dst []byte, r Row, numerics bool) []byte {
	if numerics {
		return append(dst, r...)
	}
	dst = append(dst, '{')
	for rest, first := strings.TrimPrefix(string(r), "{"), true; ; first = false {
		name, value, after, ok := cut(rest)
		if !ok {
			return append(dst, '}')
		}
		rest = after
		if !first {
			dst = append(dst, ',')
		}
		dst = append(append(dst, name...), ':')
		switch {
		case strings.HasPrefix(value, `"`):
			dst = append(dst, value...)
		case isFloat(value):
			f, _ := strconv.ParseFloat(value, 64)
			dst = jsontext.Append(dst, floatText(f))
		default:
			dst = append(append(append(dst, '"'), value...), '"')
		}
	}
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

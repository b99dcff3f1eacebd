package render

import (
	"encoding/base64"
	"math"
	"slices"
	"strings"

	"sockql/internal/jsontext"
	"sockql/tables"
)

// object writes a row as a JSON object with its keys sorted and each once, the
// last column of a name giving the value: what osqueryi's map makes of a row.
//
// Unless they are typed all values are strings, and like osqueryi's C strings
// they end at the first NUL.
type object struct {
	typed  bool
	null   []byte // as it stands in the object
	keys   [][]byte
	source []int
}

func newObject(o Options) object {
	if o.Typed {
		return object{typed: true, null: []byte("null")}
	}
	return object{null: jsontext.AppendVisible(nil, o.Null)}
}

func (j *object) columns(names []string) {
	j.source = uniqueNames(names)
	slices.SortFunc(j.source, func(a, b int) int { return strings.Compare(names[a], names[b]) })
	j.source = slices.Compact(j.source)
	j.keys = nil
	for _, i := range j.source {
		j.keys = append(j.keys, append(jsontext.AppendVisible(nil, names[i]), ':'))
	}
}

// compact appends a row without white space.
func (j *object) compact(dst []byte, cells []tables.Value) []byte {
	dst = append(dst, '{')
	for k, i := range j.source {
		if k > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, j.keys[k]...)
		dst = j.value(dst, cells[i])
	}
	return append(dst, '}')
}

func (j *object) value(dst []byte, v tables.Value) []byte {
	switch v.Kind() {
	case tables.KindNull:
		return append(dst, j.null...)
	case tables.KindInt:
		if j.typed {
			return v.Append(dst)
		}
	case tables.KindFloat:
		if j.typed {
			return appendNumber(dst, v)
		}
	case tables.KindBlob:
		if j.typed {
			s, _ := v.Literal()
			dst = base64.StdEncoding.AppendEncode(append(dst, '"'), []byte(s))
			return append(dst, '"')
		}
	}
	s, ok := v.Literal()
	if !ok { // digits or an address, which need no escape
		return append(v.Append(append(dst, '"')), '"')
	}
	if !j.typed {
		s = cutAtNUL(s)
	}
	return jsontext.AppendVisible(dst, s)
}

// appendNumber writes a float. JSON has no infinity; a number beyond every
// float stands for it, as in SQLite's JSON functions.
func appendNumber(dst []byte, v tables.Value) []byte {
	if f := v.Float64(); math.IsInf(f, 0) {
		if f < 0 {
			dst = append(dst, '-')
		}
		return append(dst, "9.0e+999"...)
	}
	return v.Append(dst)
}

// array writes osqueryi's --json: one array for all result sets.
type array struct {
	object
	open bool
}

func (a *array) begin(o *output, names []string) { a.columns(names) }

func (a *array) row(o *output, cells []tables.Value) {
	if a.open {
		o.buf = append(o.buf, ",\n  "...)
	} else {
		o.buf = append(o.buf, "[\n  "...)
		a.open = true
	}
	o.buf = a.compact(o.buf, cells)
}

func (a *array) end(*output) {}

func (a *array) close(o *output) {
	if a.open {
		o.buf = append(o.buf, "\n]\n"...)
	} else {
		o.buf = append(o.buf, "[\n\n]\n"...)
	}
}

// indented writes osqueryi's --json_pretty.
type indented struct {
	object
	open bool
}

func (n *indented) begin(_ *output, names []string) { n.columns(names) }

func (n *indented) row(o *output, cells []tables.Value) {
	if n.open {
		o.buf = append(o.buf, ",\n  {"...)
	} else {
		o.buf = append(o.buf, "[\n  {"...)
		n.open = true
	}
	for k, i := range n.source {
		if k > 0 {
			o.buf = append(o.buf, ',')
		}
		o.buf = append(o.buf, "\n    "...)
		o.buf = append(append(o.buf, n.keys[k]...), ' ')
		o.buf = n.value(o.buf, cells[i])
	}
	o.buf = append(o.buf, "\n  }"...)
}

func (n *indented) end(*output) {}

func (n *indented) close(o *output) {
	if n.open {
		o.buf = append(o.buf, "\n]\n"...)
	} else {
		o.buf = append(o.buf, "[]\n"...)
	}
}

// lines writes one object per line (https://jsonlines.org).
type lines struct{ object }

func (l *lines) begin(_ *output, names []string) { l.columns(names) }

func (l *lines) row(o *output, cells []tables.Value) {
	o.buf = append(l.compact(o.buf, cells), '\n')
}

func (l *lines) end(*output)   {}
func (l *lines) close(*output) {}

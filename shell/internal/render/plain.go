package render

import (
	"strings"
	"unicode/utf8"

	"sockql/tables"
)

// line writes a column per line, names aligned right, and an empty line
// between rows.
type line struct {
	text  escaping
	null  []byte
	names [][]byte // with what stands before and after them
	first bool
}

func (l *line) begin(_ *output, names []string) {
	width := 5
	for _, n := range names {
		width = max(width, utf8.RuneCountInString(n))
	}
	l.names, l.first = nil, true
	for _, n := range names {
		prefix := repeat(nil, blanks, width-utf8.RuneCountInString(n))
		l.names = append(l.names, append(l.text.append(prefix, n), " = "...))
	}
}

func (l *line) row(o *output, cells []tables.Value) {
	if !l.first {
		o.buf = append(o.buf, '\n')
	}
	l.first = false
	for i, v := range cells {
		o.buf = append(o.buf, l.names[i]...)
		o.buf = append(l.text.value(o.buf, v, l.null), '\n')
	}
}

func (l *line) end(*output)   {}
func (l *line) close(*output) {}

// list writes values with a separator between them and no quotes.
type list struct {
	text      escaping
	null      []byte
	separator string
	header    bool
}

func (l *list) begin(o *output, names []string) {
	if !l.header {
		return
	}
	for i, n := range names {
		if i > 0 {
			o.buf = append(o.buf, l.separator...)
		}
		o.buf = l.text.append(o.buf, n)
	}
	o.buf = append(o.buf, '\n')
}

func (l *list) row(o *output, cells []tables.Value) {
	for i, v := range cells {
		if i > 0 {
			o.buf = append(o.buf, l.separator...)
		}
		o.buf = l.text.value(o.buf, v, l.null)
	}
	o.buf = append(o.buf, '\n')
}

func (l *list) end(*output)   {}
func (l *list) close(*output) {}

// csv writes RFC 4180's format with osqueryi's taste for quotes: a text is
// quoted if it is empty or holds the separator, a quote, a blank, a control
// character or anything beyond ASCII. So NULL and the empty text differ.
type csv struct {
	text      escaping
	null      []byte
	separator string
	header    bool
	scratch   []byte
}

func (c *csv) begin(o *output, names []string) {
	if !c.header {
		return
	}
	for i, n := range names {
		if i > 0 {
			o.buf = append(o.buf, c.separator...)
		}
		o.buf = c.quote(o.buf, n)
	}
	o.buf = append(o.buf, '\n')
}

func (c *csv) row(o *output, cells []tables.Value) {
	for i, v := range cells {
		if i > 0 {
			o.buf = append(o.buf, c.separator...)
		}
		s, ok := v.Literal()
		switch {
		case ok:
			o.buf = c.quote(o.buf, s)
		case v.IsNull():
			o.buf = append(o.buf, c.null...)
		default:
			c.scratch = v.Append(c.scratch[:0])
			o.buf = c.quote(o.buf, string(c.scratch))
		}
	}
	o.buf = append(o.buf, '\n')
}

func (c *csv) quote(dst []byte, s string) []byte {
	quote := s == "" || c.separator != "" && strings.Contains(s, c.separator)
	for i := 0; i < len(s) && !quote; i++ {
		b := s[i]
		quote = b <= ' ' || b == '"' || b == '\'' || b >= 0x7f
	}
	if !quote {
		return append(dst, s...)
	}
	dst = append(dst, '"')
	for {
		i := strings.IndexByte(s, '"')
		if i < 0 {
			break
		}
		dst = append(c.text.append(dst, s[:i]), `""`...)
		s = s[i+1:]
	}
	return append(c.text.append(dst, s), '"')
}

func (c *csv) end(*output)   {}
func (c *csv) close(*output) {}

// tsv writes tab-separated values. Tab, newline, carriage return and backslash
// are escaped with a backslash, as PostgreSQL's COPY does, so every row is a
// line and every text comes back.
type tsv struct {
	text   escaping
	null   []byte
	header bool
}

func (t *tsv) begin(o *output, names []string) {
	if !t.header {
		return
	}
	for i, n := range names {
		if i > 0 {
			o.buf = append(o.buf, '\t')
		}
		o.buf = t.escape(o.buf, n)
	}
	o.buf = append(o.buf, '\n')
}

func (t *tsv) row(o *output, cells []tables.Value) {
	for i, v := range cells {
		if i > 0 {
			o.buf = append(o.buf, '\t')
		}
		if s, ok := v.Literal(); ok {
			o.buf = t.escape(o.buf, s)
		} else {
			o.buf = t.text.value(o.buf, v, t.null)
		}
	}
	o.buf = append(o.buf, '\n')
}

func (t *tsv) escape(dst []byte, s string) []byte {
	for {
		i := strings.IndexAny(s, "\t\n\r\\")
		if i < 0 {
			return t.text.append(dst, s)
		}
		dst = append(t.text.append(dst, s[:i]), '\\')
		switch s[i] {
		case '\t':
			dst = append(dst, 't')
		case '\n':
			dst = append(dst, 'n')
		case '\r':
			dst = append(dst, 'r')
		default:
			dst = append(dst, '\\')
		}
		s = s[i+1:]
	}
}

func (t *tsv) end(*output)   {}
func (t *tsv) close(*output) {}

// markdown writes a table of GitHub Flavored Markdown
// (https://github.github.com/gfm/#tables-extension-).
type markdown struct {
	text   escaping
	null   []byte
	before bool // another table stands before this one
}

func (m *markdown) begin(o *output, names []string) {
	if m.before {
		o.buf = append(o.buf, '\n')
	}
	m.before = true
	for _, n := range names {
		o.buf = append(m.cell(append(o.buf, "| "...), n), ' ')
	}
	o.buf = append(o.buf, "|\n"...)
	for range names {
		o.buf = append(o.buf, "| --- "...)
	}
	o.buf = append(o.buf, "|\n"...)
}

func (m *markdown) row(o *output, cells []tables.Value) {
	for _, v := range cells {
		o.buf = append(o.buf, "| "...)
		if s, ok := v.Literal(); ok {
			o.buf = m.cell(o.buf, s)
		} else {
			o.buf = m.text.value(o.buf, v, m.null)
		}
		o.buf = append(o.buf, ' ')
	}
	o.buf = append(o.buf, "|\n"...)
}

// cell keeps a text from ending its cell or its row, and from being read as
// markup.
func (m *markdown) cell(dst []byte, s string) []byte {
	for {
		i := strings.IndexAny(s, "|\\\n\r\t<>&*_`[]")
		if i < 0 {
			return m.text.append(dst, s)
		}
		dst = m.text.append(dst, s[:i])
		switch c := s[i]; c {
		case '\n':
			dst = append(dst, "<br>"...)
		case '\r':
		case '\t':
			dst = append(dst, ' ')
		case '<':
			dst = append(dst, "&lt;"...)
		case '>':
			dst = append(dst, "&gt;"...)
		case '&':
			dst = append(dst, "&amp;"...)
		default:
			dst = append(dst, '\\', c)
		}
		s = s[i+1:]
	}
}

func (m *markdown) end(*output)   {}
func (m *markdown) close(*output) {}

// column writes left-aligned columns. As in osqueryi the first row decides the
// widths that nobody has set, and longer texts are cut.
type column struct {
	text    escaping
	null    []byte
	options Options
	names   []string
	widths  []int
	scratch []byte
	started bool
}

func (c *column) begin(_ *output, names []string) {
	c.names, c.started = names, false
}

func (c *column) row(o *output, cells []tables.Value) {
	if !c.started {
		c.started = true
		c.head(o, cells)
	}
	for i, v := range cells {
		c.scratch = c.text.value(c.scratch[:0], v, c.null)
		c.cell(o, i, c.scratch)
	}
}

func (c *column) head(o *output, cells []tables.Value) {
	measure := c.options.width()
	c.widths = make([]int, len(c.names))
	for i, n := range c.names {
		if i < len(c.options.Widths) {
			c.widths[i] = c.options.Widths[i]
		}
		if c.widths[i] == 0 {
			c.scratch = c.text.value(c.scratch[:0], cells[i], c.null)
			c.widths[i] = max(10, measure(c.text.append(nil, n)), measure(c.scratch))
		}
	}
	if !c.options.Header {
		return
	}
	for i, n := range c.names {
		c.cell(o, i, c.text.append(nil, n))
	}
	for i, w := range c.widths {
		c.cell(o, i, repeat(nil, dashes, max(w, -w)))
	}
}

func (c *column) cell(o *output, i int, text []byte) {
	measure := c.options.width()
	width, right := c.widths[i], false
	if width < 0 {
		width, right = -width, true
	}
	used := measure(text)
	if used > width {
		text = cut(text, width, measure)
		used = measure(text)
	}
	if right {
		o.buf = append(repeat(o.buf, blanks, width-used), text...)
	} else {
		o.buf = repeat(append(o.buf, text...), blanks, width-used)
	}
	if i == len(c.widths)-1 {
		o.buf = append(o.buf, '\n')
	} else {
		o.buf = append(o.buf, "  "...)
	}
}

// cut returns as many whole characters of a text as fit a width.
func cut(text []byte, width int, measure func([]byte) int) []byte {
	used := 0
	for i := 0; i < len(text); {
		_, size := utf8.DecodeRune(text[i:])
		if used += measure(text[i : i+size]); used > width {
			return text[:i]
		}
		i += size
	}
	return text
}

func (c *column) end(*output)   {}
func (c *column) close(*output) {}

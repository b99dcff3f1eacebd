package render

import (
	"cmp"

	"sockql/tables"
)

const bold, reset = "\x1b[1m", "\x1b[0m"

// chunk is how much text of a result set lies in one piece, so that a growing
// result is never copied.
const chunk = 1 << 20

// pretty draws a table. The texts of all cells lie end to end in chunks
// without pointers, so that a million cells are few allocations and nothing
// for the garbage collector to follow.
type pretty struct {
	text    escaping
	null    []byte
	options Options

	measure func([]byte) int
	names   [][]byte
	source  []int // the cell that each column shows
	widths  []int
	chunks  [][]byte
	lengths []uint32 // of the cells' texts; a row lies in one chunk
	rows    []uint32 // how many rows each chunk holds
	held    int      // bytes of texts and lengths
}

func (p *pretty) begin(_ *output, names []string) {
	p.measure = p.options.width()
	p.names = make([][]byte, len(names))
	p.source = uniqueNames(names)
	p.widths = make([]int, len(names))
	p.chunks, p.lengths, p.rows, p.held = nil, p.lengths[:0], nil, 0
	for i, n := range names {
		p.names[i] = p.text.append(nil, n)
		p.widths[i] = p.measure(p.names[i])
	}
}

func (p *pretty) row(_ *output, cells []tables.Value) {
	last := len(p.chunks) - 1
	switch {
	case last < 0:
		p.chunks, p.rows = append(p.chunks, nil), append(p.rows, 0)
		last++
	case len(p.chunks[last]) > chunk*7/8:
		p.chunks, p.rows = append(p.chunks, make([]byte, 0, chunk)), append(p.rows, 0)
		last++
	}
	text := p.chunks[last]
	p.held += 4*len(p.source) - len(text)
	for i, from := range p.source {
		start := len(text)
		text = p.text.value(text, cells[from], p.null)
		p.lengths = append(p.lengths, uint32(len(text)-start))
		p.widths[i] = max(p.widths[i], p.measure(text[start:]))
	}
	p.chunks[last] = text
	p.rows[last]++
	p.held += len(text)
}

// full reports whether more is held than may be.
func (p *pretty) full() bool { return p.held > cmp.Or(p.options.Held, 512<<20) }

// drop forgets what is held.
func (p *pretty) drop() { p.chunks, p.lengths, p.rows, p.held = nil, nil, nil, 0 }

// each calls f with the column and the text of every cell, in order.
func (p *pretty) each(f func(col int, text []byte)) {
	lengths := p.lengths
	for i, text := range p.chunks {
		for range p.rows[i] {
			for col := range p.names {
				n := lengths[0]
				f(col, text[:n])
				text, lengths = text[n:], lengths[1:]
			}
		}
	}
}

func (p *pretty) end(o *output) {
	if p.options.Screen > 0 && p.options.Mode == Pretty && p.total() > p.options.Screen {
		b := newBlock(p.names, p.measure, &p.options)
		p.each(func(col int, text []byte) {
			b.cell(o, col, text)
			if len(o.buf) > spill {
				o.flush()
			}
		})
		return
	}
	if p.options.Mode == Aligned {
		p.align(o)
		return
	}
	p.rule(o)
	for i, n := range p.names {
		o.buf = p.paint(append(o.buf, "| "...), bold, n)
		o.buf = repeat(o.buf, blanks, p.widths[i]-p.measure(n)+1)
	}
	o.buf = append(o.buf, "|\n"...)
	p.rule(o)
	p.each(func(col int, text []byte) {
		o.buf = append(append(o.buf, "| "...), text...)
		o.buf = repeat(o.buf, blanks, p.widths[col]-p.measure(text)+1)
		if col == len(p.names)-1 {
			o.buf = append(o.buf, "|\n"...)
			if len(o.buf) > spill {
				o.flush()
			}
		}
	})
	p.rule(o)
}

// align draws the table without borders. Nothing fills up the last column,
// which is cut where the screen ends, and a column of states is coloured.
func (p *pretty) align(o *output) {
	last := len(p.names) - 1
	room := 0
	if over := p.total() - p.options.Screen; p.options.Screen > 0 && over > 0 {
		room = max(p.widths[last]-over, 3)
	}
	for i, n := range p.names {
		if i == last && room > 0 {
			n = []byte(Clip(string(n), room))
		}
		o.buf = p.fill(p.paint(o.buf, bold, n), i, n)
	}
	p.each(func(col int, text []byte) {
		color := ""
		if string(p.names[col]) == "state" {
			color = stateColor(string(text))
		}
		if col == last && room > 0 {
			text = []byte(Clip(string(text), room))
		}
		o.buf = p.fill(p.paint(o.buf, color, text), col, text)
		if len(o.buf) > spill {
			o.flush()
		}
	})
}

// paint appends a text, coloured if colours are allowed.
func (p *pretty) paint(dst []byte, color string, text []byte) []byte {
	if !p.options.Color || color == "" {
		return append(dst, text...)
	}
	return append(append(append(dst, color...), text...), reset...)
}

// fill appends what stands between a cell without borders and the next.
func (p *pretty) fill(dst []byte, col int, text []byte) []byte {
	if col == len(p.names)-1 {
		return append(dst, '\n')
	}
	return repeat(dst, blanks, p.widths[col]-p.measure(text)+2)
}

// stateColor tells apart at a glance who waits for connections, who talks, and
// what is left of a talk.
func stateColor(state string) string {
	switch state {
	case "LISTEN":
		return "\x1b[32m"
	case "ESTABLISHED":
		return "\x1b[36m"
	case "SYN_SENT", "SYN_RECV", "CLOSE_WAIT":
		return "\x1b[33m"
	case "TIME_WAIT", "FIN_WAIT1", "FIN_WAIT2", "LAST_ACK", "CLOSING", "CLOSED":
		return "\x1b[2m"
	}
	return ""
}

// total is the width of the table.
func (p *pretty) total() int {
	n, between := 1, 3 // a border on each side
	if p.options.Mode == Aligned {
		n, between = -2, 2
	}
	for _, w := range p.widths {
		n += w + between
	}
	return n
}

func (p *pretty) rule(o *output) {
	for _, w := range p.widths {
		o.buf = append(o.buf, '+')
		o.buf = repeat(o.buf, dashes, w+2)
	}
	o.buf = append(o.buf, "+\n"...)
}

func (p *pretty) close(*output) {}

// expanded writes a block for each row.
type expanded struct {
	text    escaping
	null    []byte
	options Options
	scratch []byte
	block   *block
}

func (e *expanded) begin(_ *output, names []string) {
	escaped := make([][]byte, len(names))
	for i, n := range names {
		escaped[i] = e.text.append(nil, n)
	}
	e.block = newBlock(escaped, e.options.width(), &e.options)
}

func (e *expanded) row(o *output, cells []tables.Value) {
	for i, v := range cells {
		e.scratch = e.text.value(e.scratch[:0], v, e.null)
		e.block.cell(o, i, e.scratch)
	}
}

func (e *expanded) end(*output)   {}
func (e *expanded) close(*output) {}

// block writes rows as blocks of "name | value" under a line with their number.
type block struct {
	names [][]byte // padded to one width
	width int
	row   int64
	color bool
}

func newBlock(names [][]byte, measure func([]byte) int, o *Options) *block {
	b := &block{color: o.Color}
	for _, n := range names {
		b.width = max(b.width, measure(n))
	}
	for _, n := range names {
		b.names = append(b.names, repeat(append([]byte(nil), n...), blanks, b.width-measure(n)))
	}
	return b
}

func (b *block) cell(o *output, i int, text []byte) {
	if i == 0 {
		b.row++
		start := len(o.buf)
		o.buf = append(o.buf, "-[ "...)
		o.buf = tables.Int(b.row).Append(o.buf)
		o.buf = append(o.buf, " ]"...)
		o.buf = repeat(o.buf, dashes, b.width+20-(len(o.buf)-start))
		o.buf = append(o.buf, '\n')
	}
	if b.color {
		o.buf = append(append(append(o.buf, bold...), b.names[i]...), reset...)
	} else {
		o.buf = append(o.buf, b.names[i]...)
	}
	o.buf = append(append(o.buf, " | "...), text...)
	o.buf = append(o.buf, '\n')
}

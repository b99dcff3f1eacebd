package render

import (
	"errors"
	"io"
	"sync/atomic"

	"sockql/tables"
)

// Options say how a [Printer] writes.
type Options struct {
	Mode Mode
	// Separator stands between the values of list and csv.
	Separator string
	// Null stands for NULL, but for typed JSON, which has its own.
	Null string
	// Header has column, list, csv and tsv begin with the columns' names.
	Header bool
	// Widths are the columns' widths in column mode, in characters. 0 or a
	// missing one is as wide as name and first value, a negative one aligns
	// right.
	Widths []int
	// Typed keeps numbers as numbers and NULL as null in the JSON modes, and
	// blobs whole, as base64.
	Typed bool
	// Terminal says that a terminal shows the output: no byte of a cell
	// reaches it that could steer it, and widths are what it displays.
	Terminal bool
	// Screen is the terminal's width in characters, or 0. A pretty table that
	// is wider is written expanded, the last column of an aligned one is cut.
	Screen int
	// Color allows colours.
	Color bool
	// Held is how many bytes of a result a mode may hold that must see all of
	// it before it writes the first row; 0 stands for 512 MiB.
	Held int
}

// ErrTooLarge says that a result is larger than [Options.Held].
var ErrTooLarge = errors.New("the result is too large to align its columns; use --json, --csv or another mode that writes rows as they come, or LIMIT")

// spill is how much output gathers before it is written.
const spill = 64 << 10

// A Printer writes the result sets of statements that belong together: those
// of one argument or one input line.
type Printer struct {
	out    output
	format format
	names  []string
	rows   int64 // of this result set
	total  atomic.Int64
}

// A format writes one mode. Nothing but close is called for a result set
// without rows, since osqueryi prints no header for it.
type format interface {
	begin(o *output, names []string)
	row(o *output, cells []tables.Value)
	end(o *output)
	close(o *output)
}

// output gathers what formats append. The first error stays.
type output struct {
	buf   []byte
	w     io.Writer
	err   error
	limit int
}

func (o *output) spill() {
	if len(o.buf) > o.limit {
		o.flush()
	}
}

func (o *output) flush() {
	if len(o.buf) > 0 && o.err == nil {
		_, o.err = o.w.Write(o.buf)
	}
	o.buf = o.buf[:0]
}

// New returns a printer that writes to w.
func New(w io.Writer, o Options) *Printer {
	p := &Printer{out: output{w: w, limit: spill}}
	if o.Terminal {
		p.out.limit = 0 // somebody waits for each row
	}
	text := plain
	switch {
	case o.Terminal && o.Mode.human():
		text = escapeAll
	case o.Terminal || o.Mode.human():
		text = escapeControl
	}
	null := text.append(nil, o.Null)
	switch o.Mode {
	case Column:
		p.format = &column{text: text, null: null, options: o}
	case Line:
		p.format = &line{text: text, null: null}
	case List:
		p.format = &list{text: text, null: null, separator: o.Separator, header: o.Header}
	case CSV:
		p.format = &csv{text: text, null: null, separator: o.Separator, header: o.Header}
	case TSV:
		p.format = &tsv{text: text, null: null, header: o.Header}
	case Markdown:
		p.format = &markdown{text: text, null: null}
	case Expanded:
		p.format = &expanded{text: text, null: null, options: o}
	case JSON:
		p.format = &array{object: newObject(o)}
	case JSONPretty:
		p.format = &indented{object: newObject(o)}
	case JSONL:
		p.format = &lines{object: newObject(o)}
	default:
		p.format = &pretty{text: text, null: null, options: o}
	}
	return p
}

// Columns begins a result set with columns of these names.
func (p *Printer) Columns(names []string) {
	p.names, p.rows = names, 0
}

// Row writes one row. It reads the cells before it returns and keeps none. After
// [ErrTooLarge] nothing is left of the result set.
func (p *Printer) Row(cells []tables.Value) error {
	if p.rows == 0 {
		p.format.begin(&p.out, p.names)
	}
	p.rows++
	p.total.Add(1)
	p.format.row(&p.out, cells)
	if f, ok := p.format.(*pretty); ok && f.full() {
		f.drop()
		p.rows = 0
		return ErrTooLarge
	}
	p.out.spill()
	return p.out.err
}

// End ends the result set.
func (p *Printer) End() error {
	if p.rows > 0 {
		p.format.end(&p.out)
		p.rows = 0
	}
	p.out.flush()
	return p.out.err
}

// Close writes what ends the output, such as the bracket of an array.
func (p *Printer) Close() error {
	p.format.close(&p.out)
	p.out.flush()
	return p.out.err
}

// Rows returns how many rows were written so far. It may be called from any
// goroutine.
func (p *Printer) Rows() int64 { return p.total.Load() }

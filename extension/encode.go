package extension

import (
	"hash/maphash"
	"strconv"

	"sockql/extension/internal/wire"
	"sockql/tables"
)

// An encoder writes the rows of a scan as the protocol sends them, while they
// come. A map for each row, as osquery-go has them, took three times as long.
type encoder struct {
	columns []encodedColumn // those that are read
	ids     rowIDs
	row     []byte
	rows    *wire.Rows
}

type encodedColumn struct {
	index int
	kind  tables.Type
	name  []byte // as the protocol writes it
}

// encodedRowID is the name of the cell that osqueryd takes for the row's
// number.
var encodedRowID = wire.AppendText(nil, rowID)

func newEncoder(q *tables.Query, seed maphash.Seed) *encoder {
	e := &encoder{ids: newRowIDs(seed), rows: new(wire.Rows)}
	columns := q.Schema().Columns
	for i := range columns {
		if q.Used(i) {
			e.columns = append(e.columns, encodedColumn{i, columns[i].Type, wire.AppendText(nil, columns[i].Name)})
		}
	}
	return e
}

func (e *encoder) add(row tables.Row) {
	b := wire.BeginRow(e.row)
	cells := uint32(1) // the row's number
	for i := range e.columns {
		c := &e.columns[i]
		begin := len(b)
		b = append(b, c.name...)
		var text int
		b, text = wire.BeginText(b)
		var ok bool
		if b, ok = appendCell(b, c.kind, row.Column(c.index)); !ok {
			b = b[:begin]
			continue
		}
		wire.EndText(b, text)
		cells++
	}
	id := e.ids.next(b)
	b, text := wire.BeginText(append(b, encodedRowID...))
	b = strconv.AppendInt(b, id, 10)
	wire.EndText(b, text)
	wire.EndRow(b, cells)
	e.rows.Add(b)
	e.row = b
}

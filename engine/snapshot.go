package engine

import (
	"slices"
	"strings"

	"sockql/tables"
)

// maxSnapshots bounds what the snapshots of one statement may hold together:
// bytes of cells and texts.
const maxSnapshots = 64 << 20

// cellBytes is what a cell takes beside its text.
const cellBytes = 32

// A snapshot holds the cells of a scan that a statement asks for over and over:
// the inside of a join that offers nothing to look up by, such as
//
//	sockets s LEFT JOIN processes p WHERE s.pid = p.pid
//
// where SQLite keeps the term to itself. It implements [tables.Row] for the row
// at which it stands.
type snapshot struct {
	position []int // of each column's cell in a row; -1 if nobody reads it
	width    int
	cells    []tables.Value
	rows     int
	at       int // first cell of the current row
	bytes    int
	total    *int // bytes of all snapshots of the statement
}

func newSnapshot(schema *tables.Schema, used uint64, total *int) *snapshot {
	s := &snapshot{position: make([]int, len(schema.Columns)), total: total}
	for i := range s.position {
		s.position[i] = -1
		if used&(1<<min(i, 63)) != 0 {
			s.position[i] = s.width
			s.width++
		}
	}
	return s
}

// add copies a row and stands at the copy. It reports whether there is room
// for more.
func (s *snapshot) add(row tables.Row) bool {
	s.at = len(s.cells)
	s.rows++
	before := s.bytes
	for column, position := range s.position {
		if position < 0 {
			continue
		}
		v := row.Column(column)
		// The text may lie in a buffer that the table uses again.
		if text, ok := v.Literal(); ok {
			s.bytes += len(text)
			if v.Kind() == tables.KindText {
				v = tables.String(strings.Clone(text))
			} else {
				v = tables.Bytes(strings.Clone(text))
			}
		}
		s.cells = append(s.cells, v)
		s.bytes += cellBytes
	}
	*s.total += s.bytes - before
	return *s.total <= maxSnapshots
}

// drop gives up what the snapshot holds; nil holds nothing.
func (s *snapshot) drop() {
	if s != nil {
		*s.total -= s.bytes
		*s = snapshot{}
	}
}

// seek stands at a row and reports whether there is one.
func (s *snapshot) seek(row int) bool {
	s.at = row * s.width
	return row < s.rows
}

// Column returns a cell that was announced as used.
func (s *snapshot) Column(i int) tables.Value {
	if s.position[i] < 0 {
		return blankRow{}.Column(i)
	}
	return s.cells[s.at+s.position[i]]
}

// sameQuestion reports whether two requests of one plan ask for the same rows.
func sameQuestion(a, b *tables.Request) bool {
	return a.HasLimit == b.HasLimit && a.Limit == b.Limit &&
		slices.EqualFunc(a.Constraints, b.Constraints, func(a, b tables.Constraint) bool {
			return slices.EqualFunc(a.Values, b.Values, tables.Value.Equal)
		})
}

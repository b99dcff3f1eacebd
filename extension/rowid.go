package extension

import (
	"encoding/binary"
	"hash/maphash"
	"strconv"
)

// rowID names a cell that is no column: osqueryd gives it to SQLite as the
// row's number, and without it the row's place in the answer
// (osquery/sql/dynamic_table_row.cpp).
const rowID = "rowid"

// rowIDs numbers the rows of a call so that the same row has the same number
// in the statement's other calls. SQLite recognises by it the rows that
// several branches of an OR, or both passes of a RIGHT JOIN, return; with
// places for numbers it takes the first row of one call for the first of the
// other, and drops it or shows it twice.
//
// A table has no key, but rows that are equal in the columns that the
// statement reads meet the same terms. So the number is a hash of those cells
// and of how many equal rows came before.
type rowIDs struct {
	seed maphash.Seed      // the same for all calls of a table
	seen map[uint64]uint64 // how often a hash came
	buf  []byte
}

// begin begins a row.
func (r *rowIDs) begin() { r.buf = r.buf[:0] }

// add adds the cell of a column. NULL is not added.
func (r *rowIDs) add(column int, text string) {
	r.buf = binary.AppendUvarint(r.buf, uint64(column))
	r.buf = binary.AppendUvarint(r.buf, uint64(len(text)))
	r.buf = append(r.buf, text...)
}

// id ends the row and returns its number as osqueryd reads it: decimal, with
// 64 bits and a sign.
func (r *rowIDs) id() string {
	h := maphash.Bytes(r.seed, r.buf)
	n := r.seen[h]
	r.seen[h] = n + 1
	if n > 0 {
		h = maphash.Comparable(r.seed, [2]uint64{h, n})
	}
	return strconv.FormatInt(int64(h), 10)
}

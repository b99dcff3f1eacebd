package extension

import "hash/maphash"

// rowID names a cell that is no column: osqueryd reads a decimal number of 64
// bits with a sign from it and gives that to SQLite as the row's number, and without it the row's place in the answer
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
}

func newRowIDs(seed maphash.Seed) rowIDs {
	return rowIDs{seed: seed, seen: map[uint64]uint64{}}
}

// next returns the number of a row whose cells, but for NULL, are these with
// their names.
func (r *rowIDs) next(cells []byte) int64 {
	h := maphash.Bytes(r.seed, cells)
	n := r.seen[h]
	r.seen[h] = n + 1
	if n > 0 {
		h = maphash.Comparable(r.seed, [2]uint64{h, n})
	}
	return int64(h)
}

package extension

import (
	"bytes"
	"encoding/hex"
	"math"
	"strconv"

	"sockql/tables"
)

// nul is what a text shows for a NUL, at which osqueryd would cut it.
const nul = `\0`

// appendCell appends a cell so that osqueryd reads back what it was, and reports
// false for NULL, which is a cell that is left out. osqueryd parses numbers
// with strtoll and strtod.
//
// A blob becomes upper-case hexadecimal digits, as hex() writes them and
// unhex() reads them: the protocol has no blobs.
func appendCell(dst []byte, t tables.Type, v tables.Value) ([]byte, bool) {
	switch v.Kind() {
	case tables.KindNull:
		return dst, false
	case tables.KindFloat:
		f := v.Float64()
		switch {
		case math.IsNaN(f):
			return dst, false // as in SQLite
		case t != tables.Double && t != tables.Text && f == math.Trunc(f) && math.Abs(f) < 1<<63:
			return strconv.AppendInt(dst, int64(f), 10), true
		}
		return strconv.AppendFloat(dst, f, 'g', -1, 64), true
	case tables.KindText:
		begin := len(dst)
		dst = v.Append(dst)
		if bytes.IndexByte(dst[begin:], 0) >= 0 {
			dst = append(dst[:begin], bytes.ReplaceAll(dst[begin:], []byte{0}, []byte(nul))...)
		}
		return dst, true
	case tables.KindBlob:
		begin := len(dst)
		dst = hex.AppendEncode(dst, []byte(v.String()))
		copy(dst[begin:], bytes.ToUpper(dst[begin:]))
		return dst, true
	}
	return v.Append(dst), true
}

// typeName returns the type under which a column is registered. osqueryd cuts
// what it reads into an INTEGER to 32 bits, and hexadecimal digits are a text.
func typeName(t tables.Type) string {
	switch t {
	case tables.Integer:
		return tables.BigInt.String()
	case tables.Blob:
		return tables.Text.String()
	}
	return t.String()
}

// options returns the options under which a column is registered.
//
// A pid is no key of a table of sockets, and osqueryd takes an indexed column
// for one; OPTIMIZED makes an IN list one call. A column that is only HIDDEN
// gets no constraints, one without options is indexed by osqueryd's default.
func options(c *tables.ColumnInfo) tables.Flags {
	op := c.Flags & (tables.Required | tables.Hidden)
	switch {
	case !c.Flags.Any(tables.Constrainable):
	case c.Name == "pid":
		op |= tables.Additional | tables.Optimized
	default:
		op |= tables.Index | tables.Optimized
	}
	return op
}

package extension

import (
	"encoding/hex"
	"math"
	"strconv"
	"strings"

	"sockql/tables"
)

// nul is what a text shows for a NUL, at which osqueryd would cut it.
const nul = `\0`

// render writes a cell so that osqueryd reads back what it was, and reports
// false for NULL, which is a cell that is left out. osqueryd parses numbers
// with strtoll and strtod.
//
// A blob becomes upper-case hexadecimal digits, as hex() writes them and
// unhex() reads them: the protocol has no blobs.
func render(t tables.Type, v tables.Value) (string, bool) {
	switch v.Kind() {
	case tables.KindNull:
		return "", false
	case tables.KindFloat:
		f := v.Float64()
		switch {
		case math.IsNaN(f):
			return "", false // as in SQLite
		case t != tables.Double && t != tables.Text && f == math.Trunc(f) && math.Abs(f) < 1<<63:
			return strconv.FormatInt(int64(f), 10), true
		}
		return strconv.FormatFloat(f, 'g', -1, 64), true
	case tables.KindText:
		s := v.String()
		if strings.IndexByte(s, 0) >= 0 {
			s = strings.ReplaceAll(s, "\x00", nul)
		}
		return s, true
	case tables.KindBlob:
		return strings.ToUpper(hex.EncodeToString([]byte(v.String()))), true
	}
	return v.String(), true
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

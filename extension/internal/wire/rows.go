package wire

import (
	"bytes"
	"context"
	"encoding/binary"

	"github.com/apache/thrift/lib/go/thrift"
	"github.com/osquery/osquery-go/gen/osquery"
)

// Rows are the rows of an answer as the binary protocol writes them, which the
// generated code would make of a map for each row
// (https://github.com/apache/thrift/blob/master/doc/specs/thrift-binary-protocol.md).
// A list begins with its length, so an answer is kept until its last row is
// known. The zero value has no rows. It is not safe for concurrent use.
type Rows struct {
	n      int
	size   int      // bytes
	chunks [][]byte // all but the last are full; a row may begin in one and end in another
}

// The sizes of the first chunk and of the largest. Most answers of a join are
// one row.
const (
	firstChunk   = 1 << 10
	largestChunk = 256 << 10
)

// MaxRows is the most bytes of rows that an answer should have. Thrift's C++
// library, and with it osqueryd, fails with "MaxMessageSize reached" from
// 100 MiB on, after it has read that much; the rest is for what is around them.
const MaxRows = 100<<20 - 4<<10

// Size returns the number of bytes that the rows take.
func (r *Rows) Size() int { return r.size }

// Len returns the number of rows.
func (r *Rows) Len() int { return r.n }

// Add copies a row: what [BeginRow] and [EndRow] write, and between them for
// each cell a name and a text.
func (r *Rows) Add(row []byte) {
	r.n++
	r.size += len(row)
	for len(row) > 0 {
		last := len(r.chunks) - 1
		if last < 0 || len(r.chunks[last]) == cap(r.chunks[last]) {
			size := firstChunk
			if last >= 0 {
				size = min(4*cap(r.chunks[last]), largestChunk)
			}
			r.chunks = append(r.chunks, make([]byte, 0, size))
			last++
		}
		chunk := r.chunks[last]
		n := min(len(row), cap(chunk)-len(chunk))
		r.chunks[last] = append(chunk, row[:n]...)
		row = row[n:]
	}
}

// BeginRow returns the beginning of a row, in the memory of dst.
func BeginRow(dst []byte) []byte {
	return append(dst[:0], thrift.STRING, thrift.STRING, 0, 0, 0, 0)
}

// EndRow ends a row of so many cells.
func EndRow(row []byte, cells uint32) {
	binary.BigEndian.PutUint32(row[2:], cells)
}

// AppendText appends a string of the binary protocol: the number of its bytes
// in 32 bits, then the bytes.
func AppendText(dst []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint32(dst, uint32(len(s))), s...)
}

// BeginText appends the place of a string's length. What is appended next is
// the string, and [EndText] with the place that BeginText returns ends it.
func BeginText(dst []byte) (_ []byte, place int) {
	return append(dst, 0, 0, 0, 0), len(dst)
}

// EndText ends the string that begins at a place.
func EndText(dst []byte, place int) {
	binary.BigEndian.PutUint32(dst[place:], uint32(len(dst)-place-4))
}

// header returns what a list of string maps begins with: the type of its
// elements and their number.
func (r *Rows) header() []byte {
	return binary.BigEndian.AppendUint32([]byte{thrift.MAP}, uint32(r.n))
}

// Maps returns the rows as the generated code has them. It fails if what was
// added is no row.
func (r *Rows) Maps() (osquery.ExtensionPluginResponse, error) {
	text := append([][]byte{r.header()}, r.chunks...)
	from := &thrift.TMemoryBuffer{Buffer: bytes.NewBuffer(bytes.Join(text, nil))}
	var response osquery.ExtensionResponse
	err := response.ReadField2(context.Background(), thrift.NewTBinaryProtocolConf(from, configuration()))
	return response.Response, err
}

// Send has an answer carry rows, in the place of those that its
// ExtensionResponse has. The context is that of the call. It reports whether
// the answer does: a context that comes from elsewhere carries none.
func Send(ctx context.Context, rows *Rows) bool {
	c, ok := ctx.Value(connKey{}).(*conn)
	if ok {
		c.rows = rows
	}
	return ok
}

// WriteListBegin writes the rows that [Send] gave in the place of the list of
// maps that an answer has, which is empty.
func (p *protocol) WriteListBegin(ctx context.Context, elem thrift.TType, size int) error {
	rows := p.c.rows
	if elem != thrift.MAP || rows == nil {
		return p.TBinaryProtocol.WriteListBegin(ctx, elem, size)
	}
	p.c.rows = nil
	for _, chunk := range append([][]byte{rows.header()}, rows.chunks...) {
		if _, err := p.c.Write(chunk); err != nil {
			return thrift.NewTTransportExceptionFromError(err)
		}
	}
	return nil
}

package wire

import (
	"bufio"
	"context"
	"errors"
	"net"
	"syscall"
	"time"

	"github.com/apache/thrift/lib/go/thrift"
)

// The buffers for requests and for answers. An answer takes one write for each
// 64 KiB; unbuffered, the binary protocol makes several system calls a cell,
// which takes nine times as long for 100,000 rows. Requests are short, and a
// server has many connections.
const (
	requestBuffer = 4 << 10
	answerBuffer  = 64 << 10
)

// A conn is a connection as Thrift wants it: buffered, with a deadline for each
// part of a message and another for the wait until a message begins.
type conn struct {
	net.Conn
	r       *bufio.Reader
	w       *bufio.Writer
	waiting bool  // nothing of the next message was read yet
	rows    *Rows // of the answer to the message that was read
	stall   time.Duration
	idle    time.Duration // limits the wait for a message; 0 means no limit
}

func newConn(c net.Conn, readBuffer, writeBuffer int, stall, idle time.Duration) *conn {
	k := &conn{Conn: c, waiting: true, stall: stall, idle: idle}
	k.r = bufio.NewReaderSize(deadlineReader{k}, readBuffer)
	k.w = bufio.NewWriterSize(deadlineWriter{k}, writeBuffer)
	return k
}

type deadlineReader struct{ c *conn }

func (r deadlineReader) Read(p []byte) (int, error) {
	var until time.Time
	switch {
	case !r.c.waiting:
		until = time.Now().Add(r.c.stall)
	case r.c.idle > 0:
		until = time.Now().Add(r.c.idle)
	}
	if err := r.c.Conn.SetReadDeadline(until); err != nil {
		return 0, err
	}
	n, err := r.c.Conn.Read(p)
	r.c.waiting = false
	return n, err
}

type deadlineWriter struct{ c *conn }

func (w deadlineWriter) Write(p []byte) (int, error) {
	if err := w.c.Conn.SetWriteDeadline(time.Now().Add(w.c.stall)); err != nil {
		return 0, err
	}
	return w.c.Conn.Write(p)
}

// await waits for a message to begin.
func (c *conn) await() error {
	_, err := c.r.Peek(1)
	return err
}

// Flush ends a message: what comes next from the peer is a new one.
func (c *conn) Flush(context.Context) error {
	c.waiting = true
	return c.w.Flush()
}

func (c *conn) Read(p []byte) (int, error)        { return c.r.Read(p) }
func (c *conn) ReadByte() (byte, error)           { return c.r.ReadByte() }
func (c *conn) Write(p []byte) (int, error)       { return c.w.Write(p) }
func (c *conn) WriteByte(b byte) error            { return c.w.WriteByte(b) }
func (c *conn) WriteString(s string) (int, error) { return c.w.WriteString(s) }
func (c *conn) Open() error                       { return nil }
func (c *conn) RemainingBytes() uint64            { return ^uint64(0) }
func (c *conn) protocol() thrift.TProtocol {
	return &protocol{thrift.NewTBinaryProtocolConf(c, configuration()), c}
}

// IsOpen reports whether the peer is still there. Thrift's generated code asks
// it while a call runs, and cancels the call's context if not.
func (c *conn) IsOpen() bool {
	raw, ok := c.Conn.(syscall.Conn)
	if !ok {
		return true
	}
	rc, err := raw.SyscallConn()
	if err != nil {
		return false
	}
	open := true
	err = rc.Control(func(fd uintptr) {
		var p [1]byte
		n, _, err := syscall.Recvfrom(int(fd), p[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		open = n > 0 || errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EINTR)
	})
	return err == nil && open
}

func configuration() *thrift.TConfiguration {
	return &thrift.TConfiguration{MaxMessageSize: maxString}
}

// A protocol is Thrift's binary protocol with a bound on what the generated
// code allocates before it has read the elements. The library's own check
// multiplies in 32 bits: a map of 2^29 strings overflows it. It also writes rows
// that are encoded already.
type protocol struct {
	*thrift.TBinaryProtocol
	c *conn
}

func (p *protocol) ReadMapBegin(ctx context.Context) (key, value thrift.TType, size int, err error) {
	key, value, size, err = p.TBinaryProtocol.ReadMapBegin(ctx)
	return key, value, size, bounded(size, maxMap, err)
}

func (p *protocol) ReadListBegin(ctx context.Context) (elem thrift.TType, size int, err error) {
	elem, size, err = p.TBinaryProtocol.ReadListBegin(ctx)
	return elem, size, bounded(size, maxList, err)
}

func (p *protocol) ReadSetBegin(ctx context.Context) (elem thrift.TType, size int, err error) {
	elem, size, err = p.TBinaryProtocol.ReadSetBegin(ctx)
	return elem, size, bounded(size, maxList, err)
}

func bounded(size, most int, err error) error {
	if err == nil && (size < 0 || size > most) {
		err = thrift.NewTProtocolExceptionWithType(thrift.SIZE_LIMIT, errors.New("message announces too many elements"))
	}
	return err
}

package engine

import (
	"context"
	"errors"
	"fmt"

	"sockql/engine/internal/sqlite"
)

// SQLite's result codes that this package gives itself or explains
// (https://www.sqlite.org/rescode.html).
const (
	codeOutOfMemory = 7
	codeInterrupt   = 9
	codeTooBig      = 18
	codeConstraint  = 19
)

// ErrBusy says that a connection was used by two goroutines at once, or by a
// table or function that runs within one of its statements.
var ErrBusy = errors.New("engine: connection is in use by another call")

// ErrClosed says that a connection, a session or a statement was used after it
// had been closed.
var ErrClosed = errors.New("engine: already closed")

// ErrTooLarge says that a result was to be gathered that is larger than [Limits]
// allow.
var ErrTooLarge = errors.New("result takes too much memory")

// ErrInstructions says that a statement ran longer than [Limits] allow.
var ErrInstructions = errors.New("statement exceeds the limit of instructions")

// An Error is why a statement could not be prepared or run.
type Error struct {
	// Code is SQLite's primary result code, which is osqueryi's exit status.
	Code int
	// ExtendedCode is the extended result code.
	ExtendedCode int
	// Message is what osqueryi prints after "Error: ".
	Message string
	// Offset is the position in bytes of the token at fault in the text given
	// to Prepare, or -1.
	Offset int
	// Err is the error of a table or a function, or the cause of the
	// context's end; nil if SQLite itself objects.
	Err error
}

func (e *Error) Error() string { return e.Message }

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// wrap turns an error of the binding into what callers see.
func (c *Conn) wrap(ctx context.Context, err error) error {
	var se *sqlite.Error
	if !errors.As(err, &se) {
		return err
	}
	e := &Error{Code: se.Code, ExtendedCode: se.Extended, Message: se.Message, Offset: se.Offset, Err: se.Err}
	switch cause := context.Cause(ctx); {
	case cause != nil && (e.Code == codeInterrupt || errors.Is(e.Err, cause)):
		e.Code, e.ExtendedCode, e.Err = codeInterrupt, codeInterrupt, cause
		e.Message = "interrupted"
		if cause != context.Canceled {
			e.Message += ": " + cause.Error()
		}
	case e.Code == codeTooBig:
		e.Message += fmt.Sprintf(": a statement may have %d bytes, a value or row %d", c.limits.SQLBytes, c.limits.ValueBytes)
	case e.Code == codeOutOfMemory && c.limits.HeapBytes > 0:
		e.Message += fmt.Sprintf(": what statements sort, group and keep may take %d MiB together", c.limits.HeapBytes>>20)
	case e.Code == codeInterrupt && e.Err != nil:
		e.Message = e.Err.Error()
	case c.missing != nil && e.Message == "no query solution":
		// Every order of the join was refused for want of the required column.
		e.Code, e.ExtendedCode, e.Err = codeConstraint, codeConstraint, c.missing
		e.Message = c.missing.Error()
	}
	return e
}

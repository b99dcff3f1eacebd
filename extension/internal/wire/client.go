package wire

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/osquery/osquery-go/gen/osquery"
)

// A PeerError says that the other side of a socket did not answer as the
// protocol wants. Err is a [*net.OpError], an error of the thrift package, or
// the cause of the context that ended the call.
type PeerError struct {
	Path string
	Err  error
}

func (e *PeerError) Error() string { return fmt.Sprintf("extension socket %q: %v", e.Path, e.Err) }

// Unwrap returns Err.
func (e *PeerError) Unwrap() error { return e.Err }

// Call connects to a manager's or an extension's socket, makes the calls that
// f makes, and closes the connection. It ends with ctx, whatever the peer does.
// An error of f or of the connection comes as a [*PeerError]. The manager's
// client has the methods of an extension, too.
func Call[T any](ctx context.Context, path string, f func(context.Context, *osquery.ExtensionManagerClient) (T, error)) (result T, err error) {
	var d net.Dialer
	raw, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return result, &PeerError{Path: path, Err: err}
	}
	defer raw.Close()
	// Closing is what interrupts a read at once.
	defer context.AfterFunc(ctx, func() { raw.Close() })()
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("undecodable answer: %v", v)
		}
		if err != nil {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			err = &PeerError{Path: path, Err: err}
		}
	}()
	// How long an answer may take to begin is for ctx to say.
	c := newConn(raw, answerBuffer, requestBuffer, stall, 0)
	p := c.protocol()
	return f(ctx, osquery.NewExtensionManagerClientProtocol(c, p, p))
}

// Ping reports whether somebody answers on a socket.
func Ping(ctx context.Context, path string) error {
	status, err := Call(ctx, path, func(ctx context.Context, c *osquery.ExtensionManagerClient) (*osquery.ExtensionStatus, error) {
		return c.Ping(ctx)
	})
	if err != nil {
		return err
	}
	return Failed(path, status)
}

// Failed turns a status that is missing or tells of a failure into an error.
func Failed(path string, status *osquery.ExtensionStatus) error {
	switch {
	case status == nil:
		return &PeerError{Path: path, Err: errors.New("answer without a status")}
	case status.Code != 0:
		return &StatusError{Code: status.Code, Message: status.Message}
	}
	return nil
}

// A StatusError is a failure of which the peer told.
type StatusError struct {
	Code    int32
	Message string
}

func (e *StatusError) Error() string { return e.Message }

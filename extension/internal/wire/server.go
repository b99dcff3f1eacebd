package wire

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/apache/thrift/lib/go/thrift"
	"golang.org/x/sys/unix"
)

// Listen listens on a UNIX socket that its owner alone may use. It takes the
// place of a socket on which nobody listens any more, and of nothing else.
func Listen(path string) (*net.UnixListener, error) {
	if info, err := os.Lstat(path); err == nil {
		if info.Mode().Type() != os.ModeSocket {
			return nil, fmt.Errorf("extension socket: %q is there and is no socket", path)
		}
		if c, err := net.Dial("unix", path); err == nil {
			c.Close()
			return nil, fmt.Errorf("extension socket: somebody listens on %q already", path)
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("extension socket: remove a stale one: %w", err)
		}
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("extension socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("extension socket: %w", err)
	}
	return l, nil
}

// RemoveStale removes the sockets that extensions of a manager have left behind
// when they were killed: those on which nobody listens.
func RemoveStale(manager string) error {
	entries, err := os.ReadDir(filepath.Dir(manager))
	if err != nil {
		return fmt.Errorf("extension socket: stale ones: %w", err)
	}
	var errs []error
	for _, e := range entries {
		suffix, _ := strings.CutPrefix(e.Name(), filepath.Base(manager)+".")
		uuid, err := strconv.ParseUint(suffix, 10, 32)
		if err != nil || e.Type() != os.ModeSocket {
			continue
		}
		path := ExtensionPath(manager, int64(uuid))
		c, err := net.Dial("unix", path)
		if err == nil {
			c.Close()
			continue
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			continue // not known to be stale
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, fmt.Errorf("extension socket: remove a stale one: %w", err))
		}
	}
	return errors.Join(errs...)
}

// A Server answers Thrift calls. The zero values of its fields work.
type Server struct {
	// Log gets what no peer is told; nil discards it.
	Log *slog.Logger
	// Conns bounds the connections served at a time; further ones wait in
	// the listener's queue. 0 means 512.
	Conns int
	// Idle closes a connection on which no message begins for so long; 0 means
	// never.
	Idle time.Duration
	// Stall closes a connection whose peer stops for so long in the middle of a
	// message; 0 means ten seconds.
	Stall time.Duration
	// Grace is how long calls may go on once Serve is to end; 0 means half a
	// second.
	Grace time.Duration
}

type connKey struct{} // a call's context holds its connection

// PeerPID returns the process at the other end of the connection on which a
// call came, as the kernel saw it connect (SO_PEERCRED, unix(7)), or 0.
func PeerPID(ctx context.Context) int {
	c, ok := ctx.Value(connKey{}).(*conn)
	if !ok {
		return 0
	}
	return peerPID(c.Conn)
}

// Serve answers calls until ctx ends, then closes the listener, which removes
// its socket. Calls that run get a context that ends with ctx, and Grace to
// write their answer. No goroutine of Serve outlives it. It returns nil, or why
// connections could no longer be accepted.
func (s *Server) Serve(ctx context.Context, l *net.UnixListener, processor thrift.TProcessor) error {
	log := s.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	orDefault := func(d, otherwise time.Duration) time.Duration {
		if d == 0 {
			return otherwise
		}
		return d
	}
	limit := s.Conns
	if limit == 0 {
		limit = 512
	}
	var (
		slots = make(chan struct{}, limit)
		mu    sync.Mutex
		conns = map[*conn]bool{} // whether a call runs
		wg    sync.WaitGroup
	)
	defer context.AfterFunc(ctx, func() { l.Close() })()
	defer l.Close()

	for pause := time.Duration(0); ; {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		raw, err := l.AcceptUnix()
		if err != nil {
			<-slots
			if ctx.Err() != nil {
				break
			}
			if !errors.Is(err, syscall.EMFILE) && !errors.Is(err, syscall.ENFILE) && !errors.Is(err, syscall.ECONNABORTED) {
				return fmt.Errorf("extension socket: accept: %w", err)
			}
			// Out of descriptors: others may give some back.
			pause = min(max(2*pause, 10*time.Millisecond), time.Second)
			log.Warn("extension socket out of descriptors", "error", err, "pause", pause)
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
			continue
		}
		pause = 0
		c := newConn(raw, requestBuffer, answerBuffer, orDefault(s.Stall, stall), s.Idle)
		mu.Lock()
		conns[c] = false
		mu.Unlock()
		busy := func(b bool) {
			mu.Lock()
			conns[c] = b
			mu.Unlock()
		}
		wg.Go(func() {
			defer func() {
				mu.Lock()
				delete(conns, c)
				mu.Unlock()
				c.Close()
				<-slots
			}()
			s.answer(ctx, log, c, processor, busy)
		})
	}

	l.Close()
	mu.Lock()
	for c, busy := range conns {
		if !busy {
			c.Close()
		}
	}
	mu.Unlock()
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(orDefault(s.Grace, 500*time.Millisecond)):
		mu.Lock()
		for c := range conns {
			c.Close()
		}
		mu.Unlock()
		<-done
	}
	return nil
}

// answer serves one connection.
func (s *Server) answer(ctx context.Context, log *slog.Logger, c *conn, processor thrift.TProcessor, busy func(bool)) {
	defer func() {
		if v := recover(); v != nil {
			log.Error("extension call panicked", "panic", v, "stack", string(debug.Stack()))
		}
	}()
	ctx = context.WithValue(ctx, connKey{}, c)
	p := c.protocol()
	for {
		if err := c.await(); err != nil || ctx.Err() != nil {
			return
		}
		busy(true)
		c.rows = nil
		ok, err := processor.Process(ctx, p, p)
		busy(false)
		if err != nil {
			log.Debug("extension connection ends", "error", err)
		}
		if !ok || ctx.Err() != nil {
			return
		}
	}
}

func peerPID(c net.Conn) int {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return 0
	}
	rc, err := u.SyscallConn()
	if err != nil {
		return 0
	}
	pid := 0
	if err := rc.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			pid = int(cred.Pid)
		}
	}); err != nil {
		return 0
	}
	return pid
}

package tables

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// maxWarnings bounds what one session remembers: a host with a million
// unreadable files gets a count, not a million lines.
const maxWarnings = 100

// A Session is what the scans of one statement, or of the statements that one
// tick of a schedule runs, have in common: a context, the warnings, and
// whatever tables collected and want to use again. Different sessions share
// nothing. It is safe for concurrent use.
type Session struct {
	ctx context.Context

	mu       sync.Mutex
	warnings []error
	seen     map[string]bool
	dropped  int
	shared   map[any]*shared
	closers  []func() error
}

type shared struct {
	ready chan struct{} // closed once value and err are set
	value any
	err   error
}

// NewSession returns a session whose scans end with ctx.
func NewSession(ctx context.Context) *Session {
	return &Session{ctx: ctx, seen: map[string]bool{}, shared: map[any]*shared{}}
}

// Context returns the context that ends the session's scans.
func (s *Session) Context() context.Context { return s.ctx }

// Warn remembers that a result is partial. The same text counts once.
func (s *Session) Warn(err error) {
	if err == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	text := err.Error()
	if s.seen[text] {
		return
	}
	if len(s.warnings) >= maxWarnings {
		s.dropped++
		return
	}
	s.seen[text] = true
	s.warnings = append(s.warnings, err)
}

// TakeWarnings returns the warnings since the last call, oldest first. Of more
// than a hundred it returns the first ones and one that counts the rest. A
// warning that was taken does not come again in this session.
func (s *Session) TakeWarnings() []error {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.warnings
	s.warnings = nil
	if s.dropped > 0 {
		w = append(w, fmt.Errorf("%d more warnings left out", s.dropped))
		s.dropped = 0
	}
	return w
}

// OnClose has f called when the session is closed, last registered first.
func (s *Session) OnClose(f func() error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closers = append(s.closers, f)
}

// Close releases what tables keep in the session. It is called once no scan of
// the session runs any more; a second call does nothing.
func (s *Session) Close() error {
	s.mu.Lock()
	closers := s.closers
	s.closers, s.shared = nil, map[any]*shared{}
	s.mu.Unlock()
	var errs []error
	for _, f := range slices.Backward(closers) {
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}

// Share returns the session's one value of key, which the first caller builds
// while others wait for it or for their own context. Keys follow the rules of
// [context.WithValue]: each package uses a type of its own. A value whose
// build failed is built anew by the next caller.
func Share[T any](ctx context.Context, s *Session, key any, build func(context.Context) (T, error)) (T, error) {
	for {
		s.mu.Lock()
		e, found := s.shared[key]
		if !found {
			e = &shared{ready: make(chan struct{})}
			s.shared[key] = e
		}
		s.mu.Unlock()
		if !found {
			return fill(ctx, s, key, e, build)
		}
		select {
		case <-e.ready:
		case <-ctx.Done():
			var zero T
			return zero, context.Cause(ctx)
		}
		if e.err == nil {
			return e.value.(T), nil
		}
		// The builder failed, perhaps only because its own context ended.
		if err := ctx.Err(); err != nil {
			var zero T
			return zero, context.Cause(ctx)
		}
	}
}

func fill[T any](ctx context.Context, s *Session, key any, e *shared, build func(context.Context) (T, error)) (value T, err error) {
	built := false
	defer func() {
		if !built {
			err = errors.New("tables: building a shared value panicked")
		}
		e.value, e.err = value, err
		if err != nil {
			s.mu.Lock()
			if s.shared[key] == e {
				delete(s.shared, key)
			}
			s.mu.Unlock()
		}
		close(e.ready)
	}()
	value, err = build(ctx)
	built = true
	return value, err
}

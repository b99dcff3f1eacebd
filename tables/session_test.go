package tables

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

type shareKey string

func TestShareBuildsOnce(t *testing.T) {
	s := NewSession(t.Context())
	var built atomic.Int32
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			v, err := Share(t.Context(), s, shareKey("lists"), func(context.Context) (int, error) {
				built.Add(1)
				return 42, nil
			})
			if v != 42 || err != nil {
				t.Errorf("Share = %d, %v", v, err)
			}
		})
	}
	wg.Wait()
	if n := built.Load(); n != 1 {
		t.Errorf("built %d times, want once", n)
	}
	other, err := Share(t.Context(), s, shareKey("other"), func(context.Context) (string, error) { return "x", nil })
	if other != "x" || err != nil {
		t.Errorf("another key gave %q, %v", other, err)
	}
	if v, _ := Share(t.Context(), NewSession(t.Context()), shareKey("lists"), func(context.Context) (int, error) { return 7, nil }); v != 7 {
		t.Errorf("another session shares the value: %d", v)
	}
}

func TestShareFailureIsBuiltAnew(t *testing.T) {
	s := NewSession(t.Context())
	broken := errors.New("broken")
	if _, err := Share(t.Context(), s, shareKey("k"), func(context.Context) (int, error) { return 0, broken }); !errors.Is(err, broken) {
		t.Fatalf("error = %v", err)
	}
	if v, err := Share(t.Context(), s, shareKey("k"), func(context.Context) (int, error) { return 3, nil }); v != 3 || err != nil {
		t.Errorf("second build gave %d, %v", v, err)
	}
}

func TestShareWaiterLeavesWithItsContext(t *testing.T) {
	s := NewSession(t.Context())
	building, release := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		Share(t.Context(), s, shareKey("slow"), func(context.Context) (int, error) {
			close(building)
			<-release
			return 1, nil
		})
	})
	<-building
	why := errors.New("user pressed a key")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if _, err := Share(ctx, s, shareKey("slow"), func(context.Context) (int, error) { return 2, nil }); !errors.Is(err, why) {
		t.Errorf("error = %v, want the cause", err)
	}
	close(release)
	wg.Wait()
}

func TestSharePanicFreesWaiters(t *testing.T) {
	s := NewSession(t.Context())
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic did not reach its caller")
			}
		}()
		Share(t.Context(), s, shareKey("p"), func(context.Context) (int, error) { panic("boom") })
	}()
	if v, err := Share(t.Context(), s, shareKey("p"), func(context.Context) (int, error) { return 5, nil }); v != 5 || err != nil {
		t.Errorf("after a panic: %d, %v", v, err)
	}
}

func TestWarnings(t *testing.T) {
	s := NewSession(t.Context())
	s.Warn(nil)
	s.Warn(fmt.Errorf("processes: %w", fs.ErrPermission))
	s.Warn(fmt.Errorf("processes: %w", fs.ErrPermission))
	w := s.TakeWarnings()
	if len(w) != 1 || !errors.Is(w[0], fs.ErrPermission) {
		t.Errorf("warnings = %v", w)
	}
	s.Warn(fmt.Errorf("processes: %w", fs.ErrPermission))
	if w := s.TakeWarnings(); len(w) != 0 {
		t.Errorf("a warning came twice: %v", w)
	}
	s = NewSession(t.Context())
	for i := range maxWarnings + 5 {
		s.Warn(fmt.Errorf("line %d", i))
	}
	w = s.TakeWarnings()
	if len(w) != maxWarnings+1 || w[maxWarnings].Error() != "5 more warnings left out" {
		t.Errorf("%d warnings, last %v", len(w), w[len(w)-1])
	}
}

func TestSessionClose(t *testing.T) {
	s := NewSession(t.Context())
	var order []int
	first := errors.New("first")
	s.OnClose(func() error { order = append(order, 1); return first })
	s.OnClose(func() error { order = append(order, 2); return nil })
	if err := s.Close(); !errors.Is(err, first) {
		t.Errorf("Close = %v", err)
	}
	if err := s.Close(); err != nil || !slices.Equal(order, []int{2, 1}) {
		t.Errorf("closed in order %v, second error %v", order, err)
	}
}

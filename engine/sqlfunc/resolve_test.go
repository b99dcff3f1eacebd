package sqlfunc

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// A fakeResolver answers from a map and counts. What it does not have is no
// such host; where silent is set it waits until its time is over.
type fakeResolver struct {
	mu     sync.Mutex
	names  map[string][]string
	silent bool
	asked  []string
}

func (r *fakeResolver) LookupAddr(ctx context.Context, addr string) ([]string, error) {
	r.mu.Lock()
	r.asked = append(r.asked, addr)
	r.mu.Unlock()
	if r.silent {
		<-ctx.Done()
		return nil, &net.DNSError{Err: ctx.Err().Error(), Name: addr, IsTimeout: errors.Is(ctx.Err(), context.DeadlineExceeded)}
	}
	if names, ok := r.names[addr]; ok {
		return names, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: addr, IsNotFound: true}
}

func TestResolve(t *testing.T) {
	r := &fakeResolver{names: map[string][]string{"192.0.2.1": {"one.example.", "uno.example."}, "2001:db8::1": {"six.example"}, "192.0.2.9": {}}}
	f := function(t, Config{AllowResolve: true, Resolver: r}, "resolve")
	for range 2 { // the second time from memory
		for _, k := range []struct{ in, want any }{
			{"192.0.2.1", "one.example"}, {"::ffff:192.0.2.1", "one.example"}, {"2001:db8::1", "six.example"},
			{"192.0.2.2", nil}, {"192.0.2.9", nil}, {"", nil}, {nil, nil}, {"example.com", nil}, {1, nil},
		} {
			c, warnings := newCall()
			got, err := f.Eval(context.Background(), c, values([]any{k.in}))
			if err != nil || !got.Equal(value(k.want)) || len(*warnings) > 0 {
				t.Errorf("resolve(%v) = %s, %v, warnings %q; want %s", k.in, show(got), err, *warnings, show(value(k.want)))
			}
		}
	}
	if got := strings.Join(r.asked, " "); got != "192.0.2.1 2001:db8::1 192.0.2.2 192.0.2.9" {
		t.Errorf("asked for %s; want each address once", got)
	}
}

func TestResolveIsOff(t *testing.T) {
	r := &fakeResolver{}
	c, warnings := newCall()
	got, err := function(t, Config{Resolver: r}, "resolve").Eval(context.Background(), c, values([]any{"192.0.2.1"}))
	if err != nil || !got.IsNull() || len(*warnings) != 1 || len(r.asked) > 0 {
		t.Errorf("resolve = %s, %v, warnings %q, asked %q; want NULL, one warning, nobody asked", show(got), err, *warnings, r.asked)
	}
}

func TestResolveLeavesASilentServerAlone(t *testing.T) {
	r := &fakeResolver{silent: true}
	f := function(t, Config{AllowResolve: true, Resolver: r, ResolveTimeout: time.Millisecond}, "resolve")
	c, warnings := newCall()
	for _, addr := range []string{"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5"} {
		got, err := f.Eval(context.Background(), c, values([]any{addr}))
		if err != nil || !got.IsNull() {
			t.Errorf("resolve(%q) = %s, %v; want NULL", addr, show(got), err)
		}
	}
	if len(r.asked) != resolveSilences || len(*warnings) != 1 {
		t.Errorf("asked %q, warnings %q; want %d questions and one warning", r.asked, *warnings, resolveSilences)
	}
}

func TestResolveEndsWithTheStatement(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	stop := errors.New("stop")
	cancel(stop)
	r := &fakeResolver{silent: true}
	c, _ := newCall()
	_, err := function(t, Config{AllowResolve: true, Resolver: r, ResolveTimeout: time.Hour}, "resolve").Eval(ctx, c, values([]any{"192.0.2.1"}))
	if !errors.Is(err, stop) {
		t.Errorf("err = %v, want %v", err, stop)
	}
}

func TestResolveCacheIsBounded(t *testing.T) {
	cache := &resolveCache{answers: map[string]resolved{}}
	for i := range 3 * resolveEntries {
		cache.keep(string(rune('a'+i)), value("x"), false)
		if len(cache.answers) > resolveEntries {
			t.Fatalf("%d answers kept, want at most %d", len(cache.answers), resolveEntries)
		}
	}
}

func TestSleep(t *testing.T) {
	check(t, "sleep", []call{
		{args: []any{0}, want: 0}, {args: []any{-5}, want: 0}, {args: []any{nil}, want: 0}, {args: []any{"x"}, want: 0}, {args: []any{"0.9"}, want: 0},
		{args: []any{1}, want: 1},
	})
	ctx, cancel := context.WithCancelCause(context.Background())
	stop := errors.New("stop")
	cancel(stop)
	c, _ := newCall()
	if _, err := sleep(ctx, c, values([]any{1 << 30})); !errors.Is(err, stop) {
		t.Errorf("err = %v, want %v", err, stop)
	}
}

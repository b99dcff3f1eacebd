package extension

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sockql/tables"
)

var everything = map[string]string{"action": "generate", "context": `{"colsUsed":["text"]}`}

type collectedKey struct{}

// collecting is a table that collects once a session and shows how many times
// it has.
func collecting(t testing.TB, collections *atomic.Int32) tables.Table {
	return custom(t, "collecting", func(ctx context.Context, q *tables.Query, yield func(*string) bool) error {
		text, err := tables.Share(ctx, q.Session(), collectedKey{}, func(context.Context) (string, error) {
			q.Session().OnClose(func() error { collections.Add(1000); return nil })
			return fmt.Sprint("collection ", collections.Add(1)), nil
		})
		if err != nil {
			return err
		}
		yield(&text)
		return nil
	})
}

// The calls of one moment share a collection, and no row is older than that.
func TestMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var collections atomic.Int32
		p := plugin(t, Limits{Moment: time.Second}, collecting(t, &collections))
		ask := func() string {
			r := p.Call(t.Context(), everything)
			if r.Status.Code != 0 || len(r.Response) != 1 {
				t.Fatal(r)
			}
			return r.Response[0]["text"]
		}
		for range 10 { // 0 to 900 ms
			if got := ask(); got != "collection 1" {
				t.Fatalf("within the first moment: %s", got)
			}
			time.Sleep(100 * time.Millisecond)
		}
		synctest.Wait()
		if n := collections.Load(); n != 1001 {
			t.Errorf("after the moment: %d, the session is not closed", n)
		}
		if got := ask(); got != "collection 1002" {
			t.Errorf("after the first moment: %s", got)
		}
		// A moment is not extended by those who use it.
		time.Sleep(999 * time.Millisecond)
		if got := ask(); got != "collection 1002" {
			t.Errorf("within the second moment: %s", got)
		}
		time.Sleep(2 * time.Millisecond)
		if got := ask(); got != "collection 2003" {
			t.Errorf("after the second moment: %s", got)
		}
	})
}

func TestMomentOff(t *testing.T) {
	var collections atomic.Int32
	p := plugin(t, Limits{Moment: -1}, collecting(t, &collections))
	for range 3 {
		p.Call(t.Context(), everything)
	}
	if n := collections.Load(); n != 3003 {
		t.Errorf("%d, want 3 collections, each closed", n)
	}
}

// A session that outlives its moment because a scan still runs is closed when
// the scan ends, not under it.
func TestMomentOutlived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var closed atomic.Bool
		p := plugin(t, Limits{Moment: time.Second}, custom(t, "slow", func(_ context.Context, q *tables.Query, yield func(*string) bool) error {
			q.Session().OnClose(func() error { closed.Store(true); return nil })
			time.Sleep(5 * time.Second)
			if closed.Load() {
				t.Error("closed under a scan")
			}
			return nil
		}))
		p.Call(t.Context(), everything)
		synctest.Wait()
		if !closed.Load() {
			t.Error("not closed")
		}
	})
}

func TestSlowTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		slow := custom(t, "slow", func(context.Context, *tables.Query, func(*string) bool) error {
			<-release // whatever its context says
			return nil
		})
		p := plugin(t, Limits{Timeout: 10 * time.Second, Concurrency: 2}, slow)
		var wg sync.WaitGroup
		began := time.Now()
		for range 3 {
			wg.Go(func() {
				r := p.Call(t.Context(), everything)
				if r.Status.Code != 1 || !strings.Contains(r.Status.Message, "table slow: no answer in 10s") {
					t.Errorf("status %v", r.Status)
				}
			})
		}
		wg.Wait()
		if d := time.Since(began); d != 10*time.Second {
			t.Errorf("the calls took %s", d)
		}
		// Both slots are still taken by scans that do not stop.
		if r := p.Call(t.Context(), everything); !strings.Contains(r.Status.Message, "2 calls at a time") {
			t.Errorf("status %v", r.Status)
		}
		close(release)
		synctest.Wait()
		if r := p.Call(t.Context(), everything); r.Status.Code != 0 {
			t.Errorf("after the table has recovered: %v", r.Status)
		}
	})
}

func TestBadTables(t *testing.T) {
	var log journal
	plugin := func(table tables.Table) *Plugin {
		list, stop := NewPlugins(t.Context(), Limits{Moment: -1}, log.logger(), []tables.Table{table}, func(t tables.Table) string { return t.Schema().Name })
		t.Cleanup(stop)
		return list[0]
	}
	panics := plugin(custom(t, "panics", func(context.Context, *tables.Query, func(*string) bool) error { panic("on purpose") }))
	if r := panics.Call(t.Context(), everything); r.Status.Code != 1 || !strings.Contains(r.Status.Message, "on purpose") {
		t.Errorf("status %v", r.Status)
	}
	if !strings.Contains(log.String(), "plugin_test.go") {
		t.Errorf("the log does not show where it panicked:\n%s", log.String())
	}
	fails := plugin(custom(t, "fails", func(context.Context, *tables.Query, func(*string) bool) error { return errors.New("no luck") }))
	if r := fails.Call(t.Context(), everything); r.Status.Message != "error generating table: no luck" {
		t.Errorf("status %v", r.Status)
	}
	warns := plugin(custom(t, "warns", func(_ context.Context, q *tables.Query, _ func(*string) bool) error {
		q.Warn(errors.New("partly denied"))
		return nil
	}))
	for range 5 {
		warns.Call(t.Context(), everything)
	}
	if n := strings.Count(log.String(), "partly denied"); n != 1 {
		t.Errorf("the same warning is logged %d times within an hour", n)
	}
	for request, want := range map[string]string{
		`{"action":"fly"}`: `unknown action: "fly"`,
		``:                 `unknown action: ""`,
	} {
		r := fails.Call(t.Context(), map[string]string{"action": strings.TrimSuffix(strings.TrimPrefix(request, `{"action":"`), `"}`)})
		if r.Status.Code != 1 || r.Status.Message != want {
			t.Errorf("%s: status %v", request, r.Status)
		}
	}
	if r := fails.Call(t.Context(), map[string]string{"action": "generate", "context": "{"}); !strings.HasPrefix(r.Status.Message, "error parsing context JSON: ") {
		t.Errorf("status %v", r.Status)
	}
	if r := fails.Call(t.Context(), map[string]string{"action": "columns"}); len(r.Response) != 1 {
		t.Errorf("columns: %v", r)
	}
}

// Whoever asked has gone: the scan ends.
func TestCallerGone(t *testing.T) {
	started, ended := make(chan struct{}), make(chan struct{})
	p := plugin(t, Limits{}, custom(t, "endless", func(ctx context.Context, _ *tables.Query, _ func(*string) bool) error {
		close(started)
		<-ctx.Done()
		close(ended)
		return ctx.Err()
	}))
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() { <-started; cancel(errors.New("osqueryd has gone")) }()
	if r := p.Call(ctx, everything); !strings.Contains(r.Status.Message, "osqueryd has gone") {
		t.Errorf("status %v", r.Status)
	}
	<-ended
}

func TestNames(t *testing.T) {
	taken := map[string]bool{"processes": true, "sockql_processes": true}
	for name, want := range map[string]string{"Processes": "sockql_sockql_Processes", "sockets": "sockets"} {
		if got := freeName(name, "sockql_", taken); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	for name, want := range map[string]bool{"a": true, "_a1": true, "": false, "1a": false, "a-b": false, "a b": false, "ä": false} {
		if identifier(name) != want {
			t.Errorf("identifier(%q) is not %v", name, want)
		}
	}
	list := []tables.Table{people(t, "tcp_info", 1), people(t, "tcp_metrics", 1), people(t, "routes", 1)}
	for patterns, want := range map[string]int{"": 3, "tcp_*": 2, "routes,tcp_info": 2, "*": 3} {
		var p []string
		if patterns != "" {
			p = strings.Split(patterns, ",")
		}
		if got, err := choose(list, p); err != nil || len(got) != want {
			t.Errorf("%q: %d tables, %v", patterns, len(got), err)
		}
	}
	for _, pattern := range []string{"nothing", "[", "udp_*"} {
		if _, err := choose(list, []string{pattern}); err == nil {
			t.Errorf("%q is accepted", pattern)
		}
	}
}

func BenchmarkGenerate(b *testing.B) {
	p := plugin(b, Limits{Moment: -1}, people(b, "people", 100_000))
	request := map[string]string{"action": "generate", "context": `{"colsUsed":["pid","name","big","dbl"]}`}
	b.ReportAllocs()
	for b.Loop() {
		if r, rows := p.answer(b.Context(), request); rows == nil || rows.Len() != 100_000 {
			b.Fatal(r.Status)
		}
	}
}

// osqueryd makes "table … may not be modified" of it.
func TestReadOnly(t *testing.T) {
	p := plugin(t, Limits{}, people(t, "people", 1))
	for _, action := range []string{"insert", "update", "delete"} {
		r := p.Call(t.Context(), map[string]string{"action": action, "id": "1", "json_value_array": "[1]"})
		if r.Status.Code != 0 || len(r.Response) != 1 || r.Response[0]["status"] != "readonly" {
			t.Errorf("%s: %v %v", action, r.Status, r.Response)
		}
	}
}

// An answer that osqueryd would not take in is not made, and does not cost what
// it would have.
func TestAnswerTooLarge(t *testing.T) {
	scanned := 0
	table := custom(t, "large", func(_ context.Context, q *tables.Query, yield func(*string) bool) error {
		text := strings.Repeat("x", 1000)
		for scanned = range 1000 {
			if !yield(&text) {
				break
			}
		}
		return nil
	})
	p := plugin(t, Limits{answer: 10_000}, table)
	r := p.Call(t.Context(), everything)
	if r.Status.Code != 1 || !strings.Contains(r.Status.Message, "more than 10000 bytes") || len(r.Response) != 0 {
		t.Errorf("%v, %d rows", r.Status, len(r.Response))
	}
	if scanned != 9 {
		t.Errorf("the scan went on to row %d", scanned)
	}
	if r := p.Call(t.Context(), map[string]string{"action": "generate", "context": `{"colsUsed":[]}`}); r.Status.Code != 1 {
		t.Errorf("a thousand empty rows: %v", r.Status)
	}
	if r := plugin(t, Limits{}, table).Call(t.Context(), everything); len(r.Response) != 1000 {
		t.Errorf("within the limit: %v, %d rows", r.Status, len(r.Response))
	}
}

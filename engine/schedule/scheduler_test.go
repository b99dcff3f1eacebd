package schedule

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"sockql/engine"
	"sockql/engine/pack"
	"sockql/engine/resultlog"
	"sockql/engine/sqlfunc"
	"sockql/tables"
)

// A bench is a scheduler over a real engine and store, whose clock is that of
// the synctest bubble it is made in.
type bench struct {
	*Scheduler
	t      *testing.T
	store  *resultlog.Store
	conn   *engine.Conn
	board  *Board
	status bytes.Buffer
	dir    string
	clock  atomic.Int64 // what the wall clock is ahead of the bubble's, in nanoseconds
	walks  int          // collections of the table shared_walk
}

// recorded is when the recorded daemon began.
var recorded = time.Date(2026, 11, 22, 12, 46, 0, 0, time.UTC)

func newBench(t *testing.T, state string) *bench {
	t.Helper()
	b := &bench{t: t, dir: t.TempDir(), board: &Board{}}
	b.clock.Store(int64(time.Until(recorded)))
	type none struct{}
	seconds := func() int64 { return b.now().Unix() }
	clock := newTable(t, tables.Def[none]{
		Name: "time",
		Columns: []tables.Column[none]{
			{Name: "seconds", Type: tables.Integer, Get: func(*none) tables.Value { return tables.Int(seconds() % 60) }},
			{Name: "unix_time", Type: tables.BigInt, Get: func(*none) tables.Value { return tables.Int(seconds()) }},
		},
		Rows: func(_ context.Context, _ *tables.Query, yield func(*none) bool) error { yield(&none{}); return nil },
	})
	slow := newTable(t, tables.Def[none]{
		Name:    "slow",
		Columns: []tables.Column[none]{{Name: "x", Get: func(*none) tables.Value { return tables.Int(1) }}},
		Rows: func(ctx context.Context, _ *tables.Query, yield func(*none) bool) error {
			select {
			case <-time.After(time.Hour):
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		},
	})
	type walkKey struct{}
	walk := newTable(t, tables.Def[none]{
		Name:    "shared_walk",
		Columns: []tables.Column[none]{{Name: "x", Get: func(*none) tables.Value { return tables.Int(1) }}},
		Rows: func(ctx context.Context, q *tables.Query, yield func(*none) bool) error {
			_, err := tables.Share(ctx, q.Session(), walkKey{}, func(context.Context) (int, error) { b.walks++; return 0, nil })
			yield(&none{})
			return err
		},
	})
	hungry := newTable(t, tables.Def[none]{
		Name:    "hungry",
		Columns: []tables.Column[none]{{Name: "x", Get: func(*none) tables.Value { return tables.Int(1) }}},
		Rows: func(ctx context.Context, _ *tables.Query, yield func(*none) bool) error {
			var kept [][]byte
			for range 64 { // 256 MiB, if nobody stops it
				kept = append(kept, make([]byte, 4<<20))
				select {
				case <-time.After(lookEvery):
				case <-ctx.Done():
					return context.Cause(ctx)
				}
			}
			runtime.KeepAlive(kept)
			yield(&none{})
			return nil
		},
	})
	runs := 0
	partial := newTable(t, tables.Def[none]{
		Name:    "partial",
		Columns: []tables.Column[none]{{Name: "x", Get: func(*none) tables.Value { return tables.Int(1) }}},
		Rows: func(_ context.Context, q *tables.Query, _ func(*none) bool) error {
			runs++
			q.Warn(fmt.Errorf("denied %d of 100 processes", runs))
			return nil
		},
	})
	own, err := b.board.Tables()
	if err != nil {
		t.Fatal(err)
	}
	eng, err := engine.New(engine.Config{
		Tables: append(own, clock, slow, walk, partial, hungry), Functions: sqlfunc.All(sqlfunc.Config{}), Collations: sqlfunc.Collations(),
		Limits: engine.Limits{HeapBytes: 32 << 20},
	})
	if err != nil {
		t.Fatal(err)
	}
	if b.conn, err = eng.Open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.conn.Close() })
	var moved error
	if b.store, moved, err = resultlog.Open(state); err != nil || moved != nil {
		t.Fatal(err, moved)
	}
	t.Cleanup(func() { b.store.Close() })
	if err := b.store.Attach(0, &resultlog.Filesystem{Dir: b.dir}); err != nil {
		t.Fatal(err)
	}
	status := resultlog.NewStatus(resultlog.StatusConfig{Stderr: &b.status, MinStderr: slog.LevelInfo})
	b.Scheduler, err = New(Config{
		Database: Conn(b.conn), Store: b.store, Board: b.board, Log: slog.New(status), Now: b.now,
		Rand: func(n uint64) uint64 { return n / 2 }, // the middle: no splay
	}, true)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func newTable[R any](t *testing.T, d tables.Def[R]) tables.Table {
	t.Helper()
	table, err := tables.New(d)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func (b *bench) now() time.Time { return time.Now().Add(time.Duration(b.clock.Load())) }

func settings() Settings {
	return Settings{
		Format: resultlog.Format{Events: true}, HostIdentifier: func() string { return "host-1" },
		Delimiter: "_", DiscoveryInterval: 3600, Timeout: time.Minute, Decorators: true,
	}
}

func config(t *testing.T, text string) *pack.Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "osquery.conf")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := pack.Load(path, pack.Target{Version: "5.23.0"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// run runs the scheduler for a time of the bubble's clock.
func (b *bench) run(d time.Duration) {
	ctx, cancel := context.WithTimeout(b.t.Context(), d)
	defer cancel()
	b.Run(ctx)
}

func (b *bench) file(name string) string {
	text, err := os.ReadFile(filepath.Join(b.dir, name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		b.t.Fatal(err)
	}
	return string(text)
}

func TestRecorded(t *testing.T) {
	for mode, change := range map[string]func(*Settings){
		"event":    func(*Settings) {},
		"batch":    func(s *Settings) { s.Format.Events = false },
		"numerics": func(s *Settings) { s.Format.Numerics, s.Format.SnapshotEvents = true, true },
		"toplevel": func(s *Settings) { s.Format.TopLevel, s.Epoch = true, 7 },
	} {
		t.Run(mode, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, "")
				c, err := pack.Load("testdata/recorded/osquery.conf", pack.Target{Version: "5.23.0"})
				if err != nil {
					t.Fatal(err)
				}
				s := settings()
				change(&s)
				b.Load(t.Context(), c, s)
				b.run(31500 * time.Millisecond)
				for _, kind := range []string{"results", "snapshots"} {
					want, err := os.ReadFile("testdata/recorded/" + mode + "." + kind + ".log")
					if err != nil {
						t.Fatal(err)
					}
					if got := b.file("osqueryd." + kind + ".log"); got != string(want) {
						t.Errorf("%s differ (-want +got):\n%s", kind, cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")))
					}
				}
				if mode == "event" {
					compareStatus(t, b.status.String())
				}
			})
		})
	}
}

// compareStatus compares the messages, in their order and with their levels and
// seconds, with the recorded ones.
func compareStatus(t *testing.T, got string) {
	t.Helper()
	text, err := os.ReadFile("testdata/recorded/status.INFO")
	if err != nil {
		t.Fatal(err)
	}
	_, lines, _ := strings.Cut(string(text), "] msg\n")
	where := regexp.MustCompile(`(?m)^([IWE])\S+ .*? \S+\.(cpp|go):\d+\]`)
	if diff := cmp.Diff(strings.Split(where.ReplaceAllString(lines, "$1"), "\n"), strings.Split(where.ReplaceAllString(got, "$1"), "\n")); diff != "" {
		t.Errorf("status logs differ (-want +got):\n%s", diff)
	}
}

// counts returns how often each query's name is in the log.
func (b *bench) counts() map[string]int {
	n := map[string]int{}
	for _, name := range []string{"osqueryd.results.log", "osqueryd.snapshots.log"} {
		for line := range strings.Lines(b.file(name)) {
			var l struct{ Name string }
			if err := json.Unmarshal([]byte(line), &l); err != nil {
				b.t.Fatalf("%q: %v", line, err)
			}
			n[l.Name]++
		}
	}
	return n
}

func (b *bench) want(counts map[string]int) {
	b.t.Helper()
	if diff := cmp.Diff(counts, b.counts()); diff != "" {
		b.t.Errorf("lines (-want +got):\n%s", diff)
	}
}

const snapEvery = `{"schedule": {"q": {"query": "select unix_time from time", "interval": %d, "snapshot": true}}}`

func TestClockJumps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "")
		b.Load(t.Context(), config(t, fmt.Sprintf(snapEvery, 10)), settings())
		b.run(9500 * time.Millisecond) // at :00
		b.want(map[string]int{"q": 1})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { b.Run(ctx); close(done) }()
		time.Sleep(2 * time.Second) // at :10
		synctest.Wait()
		b.clock.Add(int64(time.Hour)) // a suspend: what was missed runs once
		time.Sleep(1500 * time.Millisecond)
		synctest.Wait()
		b.want(map[string]int{"q": 3})
		b.clock.Add(-int64(2 * time.Hour)) // set back: goes on from there, at once
		time.Sleep(11 * time.Second)
		synctest.Wait()
		b.want(map[string]int{"q": 4})
		cancel()
		<-done
	})
}

func TestReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "")
		text := `{"schedule": {"q": {"query": "select 'kept' as v", "interval": 5}, "s": {"query": "select 1 as n", "interval": 5, "snapshot": true}}%s}`
		b.Load(t.Context(), config(t, fmt.Sprintf(text, "")), settings())
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { b.Run(ctx); close(done) }()
		time.Sleep(5500 * time.Millisecond) // :00 and :05
		b.Reload(ctx, config(t, fmt.Sprintf(text, `, "views": {"v": "select 2 as two"}, "packs": {"p": {"queries": {"w": {"query": "select two from v", "interval": 5}}}}`)), settings())
		b.Reload(ctx, config(t, fmt.Sprintf(text, `, "views": {"v": "select 3 as two", "broken": "select from"}, "packs": {"p": {"queries": {"w": {"query": "select two from v", "interval": 5}}}}`)), settings())
		time.Sleep(5 * time.Second) // :10
		synctest.Wait()
		b.want(map[string]int{"q": 1, "s": 3, "pack_p_w": 1})
		if got := b.file("osqueryd.results.log"); !strings.Contains(got, `{"two":"3"}`) {
			t.Errorf("results are %s", got)
		}
		if got := b.status.String(); !strings.Contains(got, `Error creating view broken: near "from": syntax error`) {
			t.Errorf("status is %s", got)
		}
		cancel()
		<-done
	})
}

func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "")
		s := settings()
		s.Timeout, s.ResultBytes = 500*time.Millisecond, 500
		b.Load(t.Context(), config(t, `{"schedule": {
			"a": {"query": "select 1 as n", "interval": 10}, "b": {"query": "select * from slow", "interval": 10},
			"big": {"query": "with r(n) as (select 1 union all select n+1 from r where n < 100) select n from r", "interval": 10},
			"c": {"query": "select 2 as n", "interval": 10}}}`), s)
		b.run(12 * time.Second)
		b.want(map[string]int{"a": 1, "c": 1})
		for text, n := range map[string]int{
			"Error executing scheduled query b: interrupted: the query took longer than 500ms": 2,
			"Error executing scheduled query big: the result is larger than the limit":         2,
		} {
			if got := strings.Count(b.status.String(), text); got != n {
				t.Errorf("%d times %q in %s", got, text, b.status.String())
			}
		}
	})
}

// A query that takes too much memory fails, whether it is a table or SQLite
// that takes it, and the others of its moment run.
func TestMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "")
		s := settings()
		s.MemoryBytes = 32 << 20
		b.Load(t.Context(), config(t, `{"schedule": {
			"a": {"query": "select 1 as n", "interval": 60}, "b": {"query": "select * from hungry", "interval": 60},
			"c": {"query": "with recursive r(n) as (select 1 union all select n+1 from r where n < 100) select count(*) as n from (select distinct n, zeroblob(4000000) from r)", "interval": 60},
			"d": {"query": "select 2 as n", "interval": 60}}}`), s)
		b.run(70 * time.Second)
		b.want(map[string]int{"a": 1, "d": 1})
		for text, n := range map[string]int{
			"Error executing scheduled query b: interrupted: the query took more than 32 MiB of memory":                       2,
			"Error executing scheduled query c: out of memory: what statements sort, group and keep may take 32 MiB together": 2,
		} {
			if got := strings.Count(b.status.String(), text); got != n {
				t.Errorf("%d times %q in %s", got, text, b.status.String())
			}
		}
	})
}

// What a large result took of Go's memory is given back before the next moment.
func TestRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, filepath.Join(t.TempDir(), "state"))
		b.Load(t.Context(), config(t, `{"schedule": {"big": {"query": "with recursive r(n) as (select 1 union all select n+1 from r where n < 3) select n, hex(zeroblob(1000000)) as h from r", "interval": 60}}}`), settings())
		heap := func() int64 {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return int64(m.HeapSys - m.HeapReleased)
		}
		debug.FreeOSMemory()
		before := heap()
		b.run(time.Second)
		grown := heap() - before
		b.want(map[string]int{"big": 3})
		if grown > 4<<20 {
			t.Errorf("6 MB of rows left the heap larger by %d bytes", grown)
		}
	})
}

// What a configuration asks before its queries is limited as they are.
func TestDiscoveryAndDecoratorsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "")
		s := settings()
		s.Timeout = 100 * time.Millisecond
		b.Load(t.Context(), config(t, `{"schedule": {"q": {"query": "select 1 as n", "interval": 60}},
			"packs": {"p": {"discovery": ["select * from slow"], "queries": {"q": {"query": "select 1 as n", "interval": 60}}}},
			"decorators": {"load": ["select * from slow"], "always": ["select 'x' as x, * from slow"]}}`), s)
		b.run(time.Second)
		b.want(map[string]int{"q": 1})
		for _, text := range []string{
			"Discovery query failed (select * from slow): interrupted: the query took longer than 100ms",
			"Decorator query failed (select * from slow): interrupted: the query took longer than 100ms",
			"Decorator query failed (select 'x' as x, * from slow): interrupted: the query took longer than 100ms",
		} {
			if strings.Count(b.status.String(), text) != 1 {
				t.Errorf("not once %q in %s", text, b.status.String())
			}
		}
	})
}

func TestDenylist(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		state := filepath.Join(t.TempDir(), "state")
		text := `{"schedule": {"bad": {"query": "select 1 as n", "interval": 60}, "stubborn": {"query": "select 1 as n", "interval": 60, "denylist": false}, "good": {"query": "select 1 as n", "interval": 60}}}`
		killedDuring := func(name string) *bench {
			s, _, err := resultlog.Open(state)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Set(executingKey, name); err != nil {
				t.Fatal(err)
			}
			s.Close()
			b := newBench(t, state)
			b.Load(t.Context(), config(t, text), settings())
			return b
		}
		b := killedDuring("stubborn")
		b.run(time.Second)
		b.want(map[string]int{"bad": 1, "good": 1, "stubborn": 1})
		b.store.Close()

		b = killedDuring("bad")
		res, err := b.conn.Query(t.Context(), "select name from osquery_schedule where denylisted = 1")
		if err != nil || len(res.Rows) != 1 || res.Rows[0][0].String() != "bad" {
			t.Errorf("denylisted are %v, %v", res.Rows, err)
		}
		b.run(23 * time.Hour)
		if n := b.status.String(); !strings.Contains(n, "Scheduled query may have failed: bad") && strings.Count(n, "Skipping denylisted scheduled query: bad\n") != 1 {
			t.Errorf("status is %s", n)
		}
		for _, p := range b.packs {
			for _, q := range p.queries {
				if ran := q.stats.Executions > 1; ran != (q.full != "bad") {
					t.Errorf("%s ran %d times", q.full, q.stats.Executions)
				}
			}
		}
		b.run(2 * time.Hour)
		if !strings.Contains(b.status.String(), "Scheduled denylisted query has expired: bad\n") || b.packs[0].queries[0].stats.Executions < 2 {
			t.Errorf("bad does not run again: %s", b.status.String())
		}
	})
}

// What is partial is said once for each query, whatever its numbers are.
func TestWarnings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "")
		c := config(t, `{"schedule": {"a": {"query": "select * from partial", "interval": 1}, "b": {"query": "select * from partial", "interval": 10}}}`)
		b.Load(t.Context(), c, settings())
		b.run(20 * time.Second)
		for text, n := range map[string]int{"scheduled query a: ": 1, "scheduled query b: ": 1} {
			if got := strings.Count(b.status.String(), "Partial results of "+text); got != n {
				t.Errorf("%d times %q in %s", got, text, b.status.String())
			}
		}
		b.Load(t.Context(), c, settings())
		b.run(time.Second)
		if got := strings.Count(b.status.String(), "Partial results of scheduled query a: denied "); got != 2 {
			t.Errorf("%d warnings after a reload", got)
		}
	})
}

func TestOneSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "")
		var queries []string
		for i := range 20 {
			queries = append(queries, fmt.Sprintf(`"q%d": {"query": "select x from shared_walk", "interval": 5}`, i))
		}
		b.Load(t.Context(), config(t, `{"schedule": {`+strings.Join(queries, ",")+`}}`), settings())
		b.run(11 * time.Second)
		if b.walks != 3 {
			t.Errorf("%d collections for 3 moments of 20 queries", b.walks)
		}
	})
}

// Hundreds of queries with all intervals run as often as arithmetic says.
func TestMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "")
		var queries []string
		want := map[string]int64{}
		start := recorded.Unix()
		for i := 1; i <= 300; i++ {
			name := fmt.Sprintf("q%03d", i)
			queries = append(queries, fmt.Sprintf(`"%s": {"query": "select %d as n", "interval": %d}`, name, i, i))
			want["pack_p_"+name] = (start+600)/int64(i) - (start-1)/int64(i)
		}
		b.Load(t.Context(), config(t, `{"packs": {"p": {"queries": {`+strings.Join(queries, ",")+`}}}}`), settings())
		b.run(600*time.Second + time.Millisecond)
		got := map[string]int64{}
		res, err := b.conn.Query(t.Context(), "select name, executions, interval, last_executed from osquery_schedule")
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range res.Rows {
			got[r[0].String()] = r[1].Int64()
			if i := r[2].Int64(); r[3].Int64() != 0 && (r[3].Int64()%i != 0 || r[3].Int64() < start) {
				t.Errorf("%v ran last at %v", r[0], r[3])
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("runs (-want +got):\n%s", diff)
		}
	})
}

func TestDiscovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "")
		b.Load(t.Context(), config(t, `{"packs": {"later": {"discovery": ["select 1", "select 1 from time where unix_time >= 1795352160"],
			"queries": {"q": {"query": "select 1 as n", "interval": 60}}},
			"broken": {"discovery": ["select * from nope"], "queries": {"q": {"query": "select 1", "interval": 60}}},
			"mac": {"platform": "darwin", "queries": {"q": {"query": "select 1", "interval": 60}}}}}`), func() Settings {
			s := settings()
			s.DiscoveryInterval = 300
			return s
		}())
		active := func() string {
			res, err := b.conn.Query(t.Context(), "select group_concat(name || active) from osquery_packs")
			if err != nil {
				t.Fatal(err)
			}
			return res.Rows[0][0].String()
		}
		if got := active(); got != "later0,broken0,mac0" {
			t.Errorf("active are %s", got)
		}
		b.run(500 * time.Second)
		b.want(map[string]int{})
		b.run(500 * time.Second) // asked again at 12:56
		b.want(map[string]int{"pack_later_q": 1})
		if got := active(); got != "later1,broken0,mac0" {
			t.Errorf("active are %s", got)
		}
		if !strings.Contains(b.status.String(), "Discovery query failed (select * from nope): no such table: nope") {
			t.Errorf("status is %s", b.status.String())
		}
	})
}

func TestSplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		state := filepath.Join(t.TempDir(), "state")
		b := newBench(t, state)
		c := config(t, `{"schedule": {"long": {"query": "select 1", "interval": 3600}, "short": {"query": "select 1", "interval": 5}, "default": {"query": "select 1"}}}`)
		splays := func(rand uint64) []int64 {
			b.cfg.Rand = func(n uint64) uint64 { return min(rand, n-1) }
			s := settings()
			s.Splay = 0 // osquery takes that for 10
			b.Load(t.Context(), c, s)
			var list []int64
			for _, q := range b.each {
				list = append(list, q.splayed)
			}
			return list
		}
		want := []int64{3240, 3240, 5}
		if got := splays(0); !slices.Equal(got, want) {
			t.Errorf("splays are %v, want %v", got, want)
		}
		if got := splays(1000); !slices.Equal(got, want) {
			t.Errorf("after a reload splays are %v, want %v as before", got, want)
		}
		c.Packs[0].Queries[1].Interval = 7200
		if got := splays(100000); !slices.Equal(got, []int64{3240, 7920, 5}) {
			t.Errorf("with a new interval splays are %v", got)
		}
	})
}

func TestStartupAndOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		state := filepath.Join(t.TempDir(), "state")
		b := newBench(t, state)
		b.clock.Add(int64(7 * time.Second))
		c := config(t, `{"schedule": {"now": {"query": "select 1 as n", "interval": 86400, "startup_priority": 1, "snapshot": true}, "later": {"query": "select 1 as n", "interval": 86400, "snapshot": true}}}`)
		b.Load(t.Context(), c, settings())
		b.run(5 * time.Second)
		b.want(map[string]int{"now": 1})
		b.Once(t.Context())
		b.want(map[string]int{"now": 1, "later": 1})
		b.clock.Add(int64(30 * time.Hour))
		b.Load(t.Context(), c, settings()) // statistics come from the store
		b.Once(t.Context())
		b.Once(t.Context())
		b.want(map[string]int{"now": 2, "later": 2})
	})
}

func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "")
		one, none := config(t, `{"schedule": {"gone": {"query": "select 1 as n", "interval": 5}}}`), config(t, `{}`)
		b.Load(t.Context(), one, settings())
		b.run(time.Second)
		for _, step := range []struct {
			wait time.Duration
			left int
		}{{6 * 24 * time.Hour, 1}, {24 * time.Hour, 0}} {
			b.clock.Add(int64(step.wait))
			b.Load(t.Context(), none, settings())
			if names, err := b.store.Queries(); len(names) != step.left || err != nil {
				t.Errorf("after %v: %q, %v", step.wait, names, err)
			}
		}
	})
}

func TestCheck(t *testing.T) {
	b := newBench(t, "")
	c := config(t, `{"views": {"v": "select 1 as one", "w": "select ("},
"schedule": {"ok": {"query": "select one from v; select 2;"}, "bad": {"query": "select * from nope"}},
"packs": {"p": {"discovery": ["selec"], "queries": {"x": {"query": "select nope from time"}}}, "mac": {"platform": "darwin", "queries": {"y": {"query": "select"}}}}}`)
	var got []string
	for _, w := range Check(t.Context(), Conn(b.conn), c) {
		w.Position.File = ""
		got = append(got, w.String())
	}
	want := []string{
		`: view "w": incomplete input`,
		`:2:63: query "bad": no such table: nope`,
		`: discovery query of pack "p": near "selec": syntax error`,
		`:3:53: query "pack_p_x": no such column: nope`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
}

// The state of each query can be rebuilt from its log: what was added and not
// removed is what the query gives.
func TestRebuild(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "")
		sql := "with r(n) as (values(0) union all select n+1 from r where n < 40) select n % 7 as m, n * 1.5 as d, 't' || (n % 3) as s from r, time where (n * unix_time) % 11 < 5"
		b.Load(t.Context(), config(t, `{"schedule": {"q": {"query": "`+sql+`", "interval": 3}}}`), settings())
		b.run(200 * time.Second)
		state := map[string]int{}
		counter := -1
		for line := range strings.Lines(b.file("osqueryd.results.log")) {
			var l struct {
				Counter int
				Columns map[string]string
				Action  string
			}
			if err := json.Unmarshal([]byte(line), &l); err != nil {
				t.Fatal(err)
			}
			if l.Counter != counter && l.Counter != counter+1 {
				t.Fatalf("counter goes from %d to %d", counter, l.Counter)
			}
			counter = l.Counter
			key := fmt.Sprint(l.Columns)
			if l.Action == "added" {
				state[key]++
			} else if state[key]--; state[key] < 0 {
				t.Fatalf("%s was removed and had not been added", key)
			}
		}
		maps.DeleteFunc(state, func(_ string, n int) bool { return n == 0 })
		// The last run was at 12:49:18, in whose second the clock is set.
		b.clock.Store(int64(time.Until(recorded.Add(198 * time.Second))))
		res, err := b.conn.Query(t.Context(), sql)
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]int{}
		for _, r := range res.Rows {
			columns := map[string]string{"m": r[0].String(), "d": r[1].String(), "s": r[2].String()}
			want[fmt.Sprint(columns)]++
		}
		if diff := cmp.Diff(want, state); diff != "" || counter < 10 {
			t.Errorf("after %d changes state (-want +got):\n%s", counter, diff)
		}
	})
}

func TestStats(t *testing.T) {
	var s Stats
	s.add(time.Unix(100, 0), 1500*time.Millisecond, Usage{}, Usage{User: time.Second, System: time.Millisecond, Memory: 1000}, 10)
	s.add(time.Unix(200, 0), time.Second, Usage{Memory: 5000}, Usage{Memory: 1000}, 20)
	want := Stats{
		Executions: 2, LastExecuted: 200, OutputSize: 30, Wall: 2500 * time.Millisecond, LastWall: time.Second,
		User: time.Second, System: time.Millisecond, AverageMemory: 1000, LastMemory: 1000,
	}
	if s != want || parseStats(s.String()) != want {
		t.Errorf("got %+v and %+v, want %+v", s, parseStats(s.String()), want)
	}
	if got := parseStats("1,2"); got != (Stats{}) {
		t.Errorf("got %+v", got)
	}
	if u := ReadUsage(); u.User <= 0 || u.Memory <= 0 {
		t.Errorf("usage is %+v", u)
	}
}

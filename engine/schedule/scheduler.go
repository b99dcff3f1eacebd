package schedule

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"sockql/engine/pack"
	"sockql/engine/resultlog"
)

// A Config is what a [Scheduler] needs. Database and Store must be set; all
// else has defaults.
type Config struct {
	Database Database
	Store    *resultlog.Store
	// Board shows what the scheduler does.
	Board *Board
	// Log takes the status log.
	Log *slog.Logger
	// Now is the clock, [time.Now] by default. Only whole seconds matter.
	Now func() time.Time
	// Usage tells what the process has taken, [ReadUsage] by default.
	Usage func() Usage
	// Memory tells what the process has in use, in bytes, [ReadMemory] by
	// default. It is called by another goroutine.
	Memory func() int64
	// Rand returns a number below n, at random by default.
	Rand func(n uint64) uint64
	// Alive is called once a second, and after each query.
	Alive func()
}

// Settings are what flags and options of a configuration may change while the
// scheduler runs.
type Settings struct {
	Format resultlog.Format
	// HostIdentifier names the host in logs; it is asked for each result.
	HostIdentifier func() string
	// Delimiter joins the names of packs and queries (pack_delimiter).
	Delimiter string
	// Splay is the percentage by which intervals are changed at random, so that
	// hosts do not act in step. Below 2 it is 10, as in osquery
	// (schedule_splay_percent).
	Splay uint64
	// DefaultInterval is in seconds (schedule_default_interval).
	DefaultInterval uint64
	// Epoch begins all results anew when it changes (schedule_epoch).
	Epoch uint64
	// DiscoveryInterval is for how many seconds the answer of discovery
	// queries counts (pack_refresh_interval).
	DiscoveryInterval uint64
	// Timeout ends a query that takes longer; 0 lets it run.
	Timeout time.Duration
	// MemoryBytes ends a query during which the memory in use grows by more; 0
	// allows any. It is looked at ten times a second, so a query may go beyond
	// it for a moment.
	MemoryBytes int64
	// ResultBytes ends a query whose rows take more as JSON; 0 allows any.
	ResultBytes int64
	// Decorators adds the rows of decorators to results.
	Decorators bool
	// LogNames logs the name of each query that runs (schedule_lognames).
	LogNames bool
}

// barred is how long a query is denied that ran when the process died, and
// expiry how long results of a query that is not scheduled any more are kept:
// both as in osquery, in seconds.
const (
	barred = 86400
	expiry = 592200
)

// The names of settings in the store.
const (
	executingKey = "executing"
	deniedKey    = "denied."
	splayKey     = "interval."
	statsKey     = "performance."
)

// A Scheduler runs queries. [New] makes one.
type Scheduler struct {
	cfg      Config
	settings Settings
	packs    []*activePack
	views    []pack.View
	decor    *decorations
	denied   map[string]int64 // when each name is free again, in Unix time
	silenced map[string]bool  // denied queries that were logged
	started  map[string]bool  // queries with a startup priority that ran
	reload   chan reload
	kept     int64 // bytes in use when memory was released last
}

type activePack struct {
	*pack.Pack
	queries          []*activeQuery
	checked          int64 // when discovery was run, in Unix time
	hits, executions int64
	active           bool
}

type activeQuery struct {
	*pack.Query
	full     string
	interval uint64 // as configured
	splayed  int64
	stats    Stats
	told     map[string]bool // warnings that were logged, without their digits
}

type reload struct {
	config   *pack.Config
	settings Settings
	done     chan struct{}
}

// New returns a scheduler without queries. It looks in the store for the query
// that ran when the process died, if it did, and with denylist bars it for a day
// unless the configuration does not want that.
func New(cfg Config, denylist bool) (*Scheduler, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Usage == nil {
		cfg.Usage = ReadUsage
	}
	if cfg.Memory == nil {
		cfg.Memory = ReadMemory
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Uint64N
	}
	if cfg.Board == nil {
		cfg.Board = &Board{}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Alive == nil {
		cfg.Alive = func() {}
	}
	s := &Scheduler{
		cfg: cfg, decor: &decorations{}, reload: make(chan reload),
		denied: map[string]int64{}, silenced: map[string]bool{}, started: map[string]bool{},
	}
	now := cfg.Now().Unix()
	err := cfg.Store.Settings(deniedKey, func(name, value string) {
		if until, err := strconv.ParseInt(value, 10, 64); err == nil && until > now {
			s.denied[strings.TrimPrefix(name, deniedKey)] = until
		}
	})
	if err != nil {
		return nil, err
	}
	failed, err := cfg.Store.Setting(executingKey)
	if err != nil || failed == "" {
		return s, err
	}
	cfg.Log.Warn("Scheduled query may have failed:", "query", failed)
	settings := map[string]string{executingKey: ""}
	if denylist {
		s.denied[failed] = now + barred
		settings[deniedKey+failed] = strconv.FormatInt(now+barred, 10)
	}
	return s, cfg.Store.Commit(nil, nil, settings)
}

// Load takes the queries, views and decorators of a configuration and runs
// discovery queries and load decorators. It must not be called while Run runs;
// see [Scheduler.Reload].
func (s *Scheduler) Load(ctx context.Context, c *pack.Config, settings Settings) {
	s.settings = settings
	if s.settings.Splay < 2 {
		s.settings.Splay = 10
	}
	if s.settings.DefaultInterval == 0 {
		s.settings.DefaultInterval = 3600
	}
	if s.settings.HostIdentifier == nil {
		s.settings.HostIdentifier = func() string { return "" }
	}
	s.packs = nil
	scheduled := map[string]bool{}
	for i := range c.Packs {
		p := &activePack{Pack: &c.Packs[i]}
		for j := range p.Queries {
			q := s.activate(p, &p.Queries[j])
			scheduled[q.full] = true
			p.queries = append(p.queries, q)
		}
		s.packs = append(s.packs, p)
	}
	t := s.begin(ctx)
	defer t.end()
	s.replaceViews(t.get(), c.Views)
	s.decor = &decorations{sources: c.Decorators, values: make([]map[string]string, len(c.Decorators)), log: s.cfg.Log}
	if settings.Decorators {
		s.decor.load(t)
	}
	for _, p := range s.packs {
		s.discover(t, p)
	}
	s.expire(scheduled)
	s.show()
}

// activate finds a query's splay and statistics in the store.
func (s *Scheduler) activate(p *activePack, q *pack.Query) *activeQuery {
	a := &activeQuery{Query: q, full: pack.FullName(s.settings.Delimiter, p.Name, q.Name), interval: q.Interval}
	if a.interval == 0 {
		a.interval = s.settings.DefaultInterval
	}
	text, err := s.cfg.Store.Setting(statsKey + a.full)
	s.complain("Cannot read the statistics of query", a.full, err)
	a.stats = parseStats(text)
	text, err = s.cfg.Store.Setting(splayKey + a.full)
	s.complain("Cannot read the splay of query", a.full, err)
	var interval, splayed uint64
	if n, _ := fmt.Sscanf(text, "%d:%d", &interval, &splayed); n == 2 && interval == a.interval && splayed > 0 {
		a.splayed = int64(splayed)
		return a
	}
	splayed = s.splay(a.interval)
	a.splayed = int64(splayed)
	s.complain("Cannot keep the splay of query", a.full, s.cfg.Store.Set(splayKey+a.full, fmt.Sprintf("%d:%d", a.interval, splayed)))
	return a
}

// splay changes an interval at random by no more than the percentage.
func (s *Scheduler) splay(interval uint64) uint64 {
	if s.settings.Splay > 100 {
		return interval
	}
	width := interval * s.settings.Splay / 100
	low := max(interval-width, 1)
	return low + s.cfg.Rand(interval+width-low+1)
}

func (s *Scheduler) replaceViews(session Session, views []pack.View) {
	for _, v := range s.views {
		if err := session.Query("DROP VIEW IF EXISTS "+quote(v.Name), &Result{}); err != nil {
			s.cfg.Log.Error("Error dropping view", "query", v.Name, "error", err)
		}
	}
	s.views = nil
	for _, v := range views {
		if err := session.Query("CREATE VIEW "+quote(v.Name)+" AS "+v.SQL, &Result{}); err != nil {
			s.cfg.Log.Error("Error creating view", "query", v.Name, "error", err)
			continue
		}
		s.views = append(s.views, v)
	}
}

func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// discover reports whether a pack is for this host at this moment.
func (s *Scheduler) discover(t *tick, p *activePack) bool {
	if p.Skip != "" {
		return false
	}
	now := s.cfg.Now().Unix()
	if p.executions > 0 && now-p.checked < int64(s.settings.DiscoveryInterval) && now >= p.checked {
		p.hits++
		return p.active
	}
	p.executions++
	p.checked, p.active = now, true
	for _, sql := range p.Discovery {
		res, err := t.query(sql)
		if err != nil {
			s.cfg.Log.Warn("Discovery query failed", "query", "("+sql+")", "error", err)
		}
		if err != nil || len(res.rows) == 0 {
			p.active = false
			break
		}
	}
	return p.active
}

// expire forgets queries that are not scheduled and have not run for a week.
func (s *Scheduler) expire(scheduled map[string]bool) {
	names, err := s.cfg.Store.Queries()
	s.complain("Cannot list stored queries", "", err)
	for _, name := range names {
		if scheduled[name] {
			continue
		}
		text, err := s.cfg.Store.Setting(statsKey + name)
		if stats := parseStats(text); err == nil && stats.LastExecuted < s.cfg.Now().Unix()-expiry {
			s.cfg.Log.Info("Expiring results for scheduled query:", "query", name)
			err = errors.Join(s.cfg.Store.Forget(name), s.cfg.Store.Set(statsKey+name, ""), s.cfg.Store.Set(splayKey+name, ""))
		}
		s.complain("Cannot expire query", name, err)
	}
}

func (s *Scheduler) complain(message, query string, err error) {
	if err != nil {
		s.cfg.Log.Error(message, "query", query, "error", err)
	}
}

// Reload has Run take another configuration between two queries' moments. It
// returns once that is done, or ctx ends. What is stored of queries that stay
// is kept.
func (s *Scheduler) Reload(ctx context.Context, c *pack.Config, settings Settings) {
	r := reload{config: c, settings: settings, done: make(chan struct{})}
	select {
	case s.reload <- r:
		<-r.done
	case <-ctx.Done():
	}
}

// Run runs queries when they are due, until ctx ends. Lines that are not
// delivered then stay in the store.
func (s *Scheduler) Run(ctx context.Context) {
	last := s.cfg.Now().Unix() - 1
	for ctx.Err() == nil {
		now := s.cfg.Now()
		s.moment(ctx, last, now.Unix())
		last = now.Unix()
		s.cfg.Alive()
		s.wait(ctx)
	}
}

// wait waits for the next whole second. A timer stands still while the host is
// suspended, but never for long.
func (s *Scheduler) wait(ctx context.Context) {
	now := s.cfg.Now()
	timer := time.NewTimer(now.Truncate(time.Second).Add(time.Second).Sub(now))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			return
		case r := <-s.reload:
			s.Load(ctx, r.config, r.settings)
			close(r.done)
		}
	}
}

// Once runs the queries whose interval has passed since they ran last, and
// those that never did.
func (s *Scheduler) Once(ctx context.Context) {
	now := s.cfg.Now().Unix()
	t := s.begin(ctx)
	defer t.end()
	for p, q := range s.each {
		if q.stats.LastExecuted+q.splayed <= now || q.stats.LastExecuted > now {
			s.runOne(t, p, q)
		}
	}
	s.deliver()
}

// moment runs what is due after the second from, up to and with the second to.
func (s *Scheduler) moment(ctx context.Context, from, to int64) {
	t := s.begin(ctx)
	defer t.end()
	for p, q := range s.each {
		first := q.Startup && !s.started[q.full]
		if first || passed(from, to, q.splayed) {
			s.started[q.full] = s.started[q.full] || first
			s.runOne(t, p, q)
		}
	}
	if s.settings.Decorators && passed(from, to, 60) {
		s.decor.interval(t, from, to)
	}
	s.deliver()
	if len(t.asked) > 0 {
		t.end()
		s.release()
	}
}

// releaseFrom is by how many bytes the process must have grown for it to be
// worth a collection of garbage to give them back.
const releaseFrom = 16 << 20

// release gives back the memory that large results took: the next ones may be
// an hour away, and until then no collection comes by itself.
func (s *Scheduler) release() {
	if s.cfg.Usage().Memory > s.kept+releaseFrom {
		debug.FreeOSMemory()
		s.kept = s.cfg.Usage().Memory
	}
}

// passed reports whether a multiple of the interval lies after from and not
// after to. If the clock was set back, none does.
func passed(from, to, interval int64) bool { return to > from && to/interval > from/interval }

// each yields the queries in the order in which they run.
func (s *Scheduler) each(yield func(*activePack, *activeQuery) bool) {
	for _, p := range s.packs {
		for _, q := range p.queries {
			if !yield(p, q) {
				return
			}
		}
	}
}

// A tick is a session that begins when it is first needed.
type tick struct {
	scheduler *Scheduler
	parent    context.Context
	session   Session
	ctx       context.Context // of the session
	cancel    context.CancelCauseFunc
	asked     map[*activePack]bool
}

func (s *Scheduler) begin(ctx context.Context) *tick {
	return &tick{scheduler: s, parent: ctx, asked: map[*activePack]bool{}}
}

func (t *tick) get() Session {
	if t.session == nil {
		t.ctx, t.cancel = context.WithCancelCause(t.parent)
		t.session = t.scheduler.cfg.Database.Begin(t.ctx)
	}
	return t.session
}

// end closes the session; the next query begins another.
func (t *tick) end() {
	if t.session != nil {
		t.scheduler.complain("Cannot close a session", "", t.session.Close())
		t.cancel(nil)
		t.session = nil
	}
}

// limited runs f for no longer, and in no more memory, than the settings allow.
func (t *tick) limited(f func(Session) error) error {
	session := t.get()
	done := make(chan struct{})
	var guard sync.WaitGroup
	guard.Go(func() { t.guard(done) })
	err := f(session)
	close(done)
	guard.Wait()
	if t.ctx.Err() != nil {
		// What a query collected that went too far is of no use to the next.
		t.end()
	}
	return err
}

// lookEvery is how often the memory of a query is looked at, and collectEvery
// how many times that is before garbage is collected again to know better.
const (
	lookEvery    = 100 * time.Millisecond
	collectEvery = 10
)

// guard cancels the session if the query that runs goes too far.
func (t *tick) guard(done <-chan struct{}) {
	s := &t.scheduler.settings
	memory := t.scheduler.cfg.Memory
	var late, look <-chan time.Time
	if s.Timeout > 0 {
		timer := time.NewTimer(s.Timeout)
		defer timer.Stop()
		late = timer.C
	}
	var before int64
	pause := 0
	if s.MemoryBytes > 0 {
		ticker := time.NewTicker(lookEvery)
		defer ticker.Stop()
		look, before = ticker.C, memory()
	}
	for {
		select {
		case <-done:
			return
		case <-late:
			t.cancel(fmt.Errorf("the query took longer than %v", s.Timeout))
			return
		case <-look:
			if pause--; pause > 0 || memory()-before <= s.MemoryBytes {
				continue
			}
			// Some of it may be garbage.
			if runtime.GC(); memory()-before > s.MemoryBytes {
				t.cancel(fmt.Errorf("the query took more than %d MiB of memory", s.MemoryBytes>>20))
				return
			}
			pause = collectEvery
		}
	}
}

// query runs a statement that serves others.
func (t *tick) query(sql string) (res Result, err error) {
	err = t.limited(func(s Session) error { return s.Query(sql, &res) })
	return res, err
}

// runOne runs a query, unless it or its pack is not to run, or ctx has ended.
func (s *Scheduler) runOne(t *tick, p *activePack, q *activeQuery) {
	if t.parent.Err() != nil {
		return
	}
	if !t.asked[p] {
		t.asked[p] = true
		s.discover(t, p)
		s.show()
	}
	if !p.active || s.isDenied(q) {
		return
	}
	if s.settings.LogNames {
		s.cfg.Log.Info("Executing scheduled query", "query", q.full)
	}
	if err := s.cfg.Store.Set(executingKey, q.full); err != nil {
		s.cfg.Log.Error("Cannot note the start of query", "query", q.full, "error", err)
	}
	if s.settings.Decorators {
		s.decor.always(t)
	}
	out := &output{control: !q.Snapshot, limit: s.settings.ResultBytes}
	out.Columns(nil)
	before, start := s.cfg.Usage(), time.Now()
	err := t.limited(func(session Session) (err error) {
		err = session.Query(q.SQL, out)
		s.warn(q, session.TakeWarnings())
		return err
	})
	wall, after := time.Since(start), s.cfg.Usage()
	if t.parent.Err() != nil && err != nil {
		// The daemon ends: the query shall not count as one that killed it.
		s.complain("Cannot note the end of query", q.full, s.cfg.Store.Set(executingKey, ""))
		return
	}
	if err != nil {
		s.cfg.Log.Error("Error executing scheduled query", "query", q.full, "error", err)
		out.rows = nil
	}
	s.finish(q, out.rows, func(size int64) { q.stats.add(s.cfg.Now(), wall, before, after, size) })
	s.show()
	s.deliver()
	s.cfg.Alive()
}

// warn logs what makes results partial, once until the configuration is read
// again: it is mostly a missing privilege, at each run with another count.
func (s *Scheduler) warn(q *activeQuery, warnings []error) {
	for _, w := range warnings {
		kind := strings.Map(func(r rune) rune {
			if unicode.IsDigit(r) {
				return -1
			}
			return r
		}, w.Error())
		if q.told[kind] || len(q.told) >= maxTold {
			continue
		}
		if q.told == nil {
			q.told = map[string]bool{}
		}
		q.told[kind] = true
		s.cfg.Log.Warn("Partial results of scheduled query", "query", q.full, "error", w)
	}
}

// maxTold bounds the warnings that are logged of one query.
const maxTold = 20

// finish stores and logs a result, which is nil if the query failed.
func (s *Scheduler) finish(q *activeQuery, rows *resultlog.Rows, count func(size int64)) {
	var change *resultlog.Change
	var lines iter.Seq[resultlog.Line]
	var size int64
	if rows != nil {
		size = rows.Size()
		item := &resultlog.Item{
			Name: q.full, HostIdentifier: s.settings.HostIdentifier(), Time: s.cfg.Now(),
			Epoch: s.settings.Epoch, Decorations: s.decor.merged(),
		}
		if q.Snapshot {
			item.Rows = rows.All()
			lines = s.settings.Format.Snapshot(item)
		} else {
			var err error
			if change, err = s.cfg.Store.Compare(q.full, q.SQL, s.settings.Epoch, rows); err != nil {
				s.complain("Error adding new results to database for query", q.full, err)
			} else {
				lines = s.differential(q, change, item)
			}
		}
	}
	stats := q.stats
	count(size)
	err := s.cfg.Store.Commit(change, lines, map[string]string{executingKey: "", statsKey + q.full: q.stats.String()})
	if err != nil {
		q.stats = stats
		dropped := 0
		if lines != nil {
			for range lines {
				dropped++
			}
		}
		s.cfg.Log.Error("Cannot store the results of scheduled query", "query", q.full, "error", err, "lines_dropped", dropped)
	}
}

func (s *Scheduler) differential(q *activeQuery, c *resultlog.Change, item *resultlog.Item) iter.Seq[resultlog.Line] {
	switch {
	case c.First:
		s.cfg.Log.Info("Storing initial results for new scheduled query:", "query", q.full)
	case c.NewEpoch:
		s.cfg.Log.Info("New epoch for scheduled query", "query", q.full, "epoch", s.settings.Epoch)
	case c.NewSQL:
		s.cfg.Log.Info("Scheduled query has been updated:", "query", q.full)
	}
	if !c.Logged(q.Removed) {
		return nil
	}
	item.Counter, item.Added = c.Counter, c.Added
	if q.Removed {
		item.Removed = c.Removed
	}
	return s.settings.Format.Differential(item)
}

// isDenied reports whether a query is barred, and ends the bar that has expired
// or that the configuration does not want.
func (s *Scheduler) isDenied(q *activeQuery) bool {
	until, denied := s.denied[q.full]
	switch {
	case !denied:
		return false
	case q.Denylist && s.cfg.Now().Unix() <= until:
		if !s.silenced[q.full] {
			s.silenced[q.full] = true
			s.cfg.Log.Warn("Skipping denylisted scheduled query:", "query", q.full)
		}
		return true
	}
	s.cfg.Log.Info("Scheduled denylisted query has expired:", "query", q.full)
	delete(s.denied, q.full)
	delete(s.silenced, q.full)
	s.complain("Cannot end the denial of query", q.full, s.cfg.Store.Set(deniedKey+q.full, ""))
	return false
}

// deliver offers loggers what waits for them.
func (s *Scheduler) deliver() {
	if err := s.cfg.Store.Deliver(); err != nil {
		s.cfg.Log.Error("Error logging the results of queries", "error", err)
	}
}

// show brings the board up to date.
func (s *Scheduler) show() {
	var queries []queryRow
	var packs []packRow
	now := s.cfg.Now().Unix()
	for _, p := range s.packs {
		packs = append(packs, packRow{
			name: p.Name, platform: p.Platform, version: p.Version, shard: p.Shard,
			hits: p.hits, executions: p.executions, active: p.active,
		})
		if !p.active {
			continue
		}
		for _, q := range p.queries {
			until, denied := s.denied[q.full]
			queries = append(queries, queryRow{
				name: q.full, sql: q.SQL, interval: q.interval, stats: q.stats,
				denylisted: denied && q.Denylist && now <= until,
			})
		}
	}
	s.cfg.Board.set(queries, packs)
}

// Check compiles each query of a configuration that is for this host, with its
// views, and returns what SQLite says of those that are wrong.
func Check(ctx context.Context, db Database, c *pack.Config) []pack.Warning {
	session := db.Begin(ctx)
	defer session.Close()
	var wrong []pack.Warning
	check := func(at pack.Position, what string, err error) {
		if err != nil {
			wrong = append(wrong, pack.Warning{Position: at, Text: what + ": " + err.Error()})
		}
	}
	file := pack.Position{}
	if len(c.Files) > 0 {
		file.File = c.Files[0].Path
	}
	for _, v := range c.Views {
		err := session.Query("CREATE VIEW "+quote(v.Name)+" AS "+v.SQL, &Result{})
		check(file, fmt.Sprintf("view %q", v.Name), err)
	}
	for _, p := range c.Packs {
		if p.Skip != "" {
			continue
		}
		for _, sql := range p.Discovery {
			check(pack.Position{File: p.File}, fmt.Sprintf("discovery query of pack %q", p.Name), session.Check(sql))
		}
		for _, q := range p.Queries {
			check(q.Position, fmt.Sprintf("query %q", pack.FullName("_", p.Name, q.Name)), session.Check(q.SQL))
		}
	}
	return wrong
}

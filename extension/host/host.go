package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/osquery/osquery-go/gen/osquery"

	"sockql/extension"
	"sockql/extension/internal/wire"
	"sockql/tables"
)

// A Database is what a [Host] needs of the SQL engine. Its methods are called
// from several goroutines at a time.
type Database interface {
	// Attach makes a table known. It fails if its name cannot be used.
	Attach(tables.Table) error
	// Detach makes it unknown again. Scans that run end with an error of the
	// table or go on.
	Detach(name string)
	// Query runs a statement and returns its rows.
	Query(ctx context.Context, sql string) (*Result, error)
	// Columns returns the columns that a statement has, without running it.
	Columns(ctx context.Context, sql string) ([]Column, error)
}

// A Result holds the rows of a statement.
type Result struct {
	Columns []Column
	Rows    [][]tables.Value
}

// A Column is a column of a result. Type is a declared type, such as "BIGINT".
type Column struct{ Name, Type string }

// An Option is a flag of the host, of which extensions may ask.
type Option struct{ Name, Value, Default, Type string }

// MaxSocket is the length of a socket's path, in bytes, to which extensions can
// append what makes their own.
const MaxSocket = wire.MaxPath

// A Config says which extensions a [Host] loads. The zero value loads none and
// serves those that come by themselves.
type Config struct {
	// Socket is where to serve, osquery's --extensions_socket: at most
	// MaxSocket bytes. Empty means a socket in a new directory below os.TempDir.
	Socket string
	// Extensions are files to start, osquery's --extension. Their names need
	// not end in ".ext".
	Extensions []string
	// Autoload names a file that lists files and directories of extensions, one
	// a line, osquery's --extensions_autoload. Empty means none; one that
	// cannot be read is logged.
	Autoload string
	// Require are names of extensions for which [Host.Await] waits, osquery's
	// --extensions_require.
	Require []string
	// Timeout is how long an extension may take to register, and to answer a
	// ping, osquery's --extensions_timeout; 0 means three seconds.
	Timeout time.Duration
	// Interval is the time between two pings, osquery's --extensions_interval;
	// 0 means three seconds.
	Interval time.Duration
	// CallTimeout ends a call of an extension's table, osquery's
	// --thrift_timeout; 0 means five minutes.
	CallTimeout time.Duration
	// AllowUnsafe starts extensions whatever their files' permissions are,
	// osquery's --allow_unsafe.
	AllowUnsafe bool
	// Verbose is passed on to extensions as --verbose.
	Verbose bool
	// Version is the host's own, as osquery_extensions shows it.
	Version string
	// Tables are the host's own, which extensions may call and whose names they
	// may not take.
	Tables []tables.Table
	// Options are the host's flags.
	Options []Option
	// Output gets what extensions write to their standard output and error; nil
	// discards it.
	Output io.Writer
	// Log gets what happens to extensions; nil discards it.
	Log *slog.Logger
}

// killAfter is how long an extension may take to end after SIGTERM.
const killAfter = 5 * time.Second

// A Host serves extensions. [New] makes one.
type Host struct {
	cfg    Config
	log    *slog.Logger
	own    map[string]*extension.Plugin // the host's own tables, by lower-case name
	tables []tables.Table

	db     Database
	dir    string // to remove in the end
	cancel context.CancelFunc
	wg     sync.WaitGroup

	suspects    chan *registered // failed a call: to be pinged now
	registering sync.Mutex       // one at a time

	mu         sync.Mutex
	extensions map[osquery.ExtensionRouteUUID]*registered
	processes  map[int]func() // by pid: how to end it
	changed    chan struct{}  // closed when an extension registers
}

// A registered is an extension that has registered.
type registered struct {
	uuid     osquery.ExtensionRouteUUID
	info     osquery.InternalExtensionInfo
	path     string
	pid      int // of the process that registered it
	registry osquery.ExtensionRegistry
	tables   []string // those that are attached
	aliases  []string // further names of those
	attached bool     // false until all are
	answered bool     // whether it ever did
	failures int      // pings without an answer, in a row
}

// New returns a host that does nothing yet; [Host.Tables] can be asked. It fails
// if the socket cannot have its path.
func New(cfg Config) (*Host, error) {
	if cfg.Socket != "" {
		if err := wire.CheckPath(cfg.Socket); err != nil {
			return nil, err
		}
	}
	for _, d := range []struct {
		field     *time.Duration
		otherwise time.Duration
	}{{&cfg.Timeout, 3 * time.Second}, {&cfg.Interval, 3 * time.Second}, {&cfg.CallTimeout, 5 * time.Minute}} {
		if *d.field <= 0 {
			*d.field = d.otherwise
		}
	}
	h := &Host{
		cfg: cfg, log: cfg.Log,
		extensions: map[osquery.ExtensionRouteUUID]*registered{},
		processes:  map[int]func(){},
		changed:    make(chan struct{}),
		suspects:   make(chan *registered, 1),
	}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	list, err := h.catalogue()
	if err != nil {
		return nil, err
	}
	h.tables = list
	return h, nil
}

// Tables returns osquery_extensions and osquery_registry, for the [Database] to
// have from the beginning.
func (h *Host) Tables() []tables.Table { return h.tables }

// Socket returns the path on which the host serves. It is known once the host
// has started.
func (h *Host) Socket() string { return h.cfg.Socket }

// Start serves the socket and starts the extensions, which goes on until ctx
// ends or [Host.Close] is called. It fails if the socket cannot be served; what
// is wrong with an extension is logged.
func (h *Host) Start(ctx context.Context, db Database) error {
	if h.cfg.Socket == "" {
		dir, err := os.MkdirTemp("", "sockql-")
		if err != nil {
			return fmt.Errorf("extension socket: %w", err)
		}
		h.dir, h.cfg.Socket = dir, filepath.Join(dir, "em")
	}
	if err := wire.CheckPath(h.cfg.Socket); err != nil {
		return errors.Join(err, h.clean())
	}
	listener, err := wire.Listen(h.cfg.Socket)
	if err != nil {
		return errors.Join(err, h.clean())
	}
	if err := wire.RemoveStale(h.cfg.Socket); err != nil { // of a host that was killed
		h.log.Warn("sockets are left behind", "error", err)
	}
	ctx, h.cancel = context.WithCancel(ctx)
	h.db = db
	h.own = map[string]*extension.Plugin{}
	plugins, stop := extension.NewPlugins(ctx, extension.Limits{Timeout: h.cfg.CallTimeout}, h.log, slices.Concat(h.cfg.Tables, h.tables),
		func(t tables.Table) string { return t.Schema().Name })
	for _, p := range plugins {
		h.own[strings.ToLower(p.Name())] = p
	}
	h.wg.Go(func() {
		defer stop()
		w := wire.Server{Log: h.log, Idle: 10 * time.Minute} // osquery-go keeps a connection and pings on it
		if err := w.Serve(ctx, listener, osquery.NewExtensionManagerProcessor(&service{h})); err != nil {
			h.log.Error("extension manager ended", "error", err)
		}
	})
	h.wg.Go(func() { h.watch(ctx) })
	for _, path := range h.files() {
		h.wg.Go(func() { h.supervise(ctx, path) })
	}
	return nil
}

// Close ends the extensions that were started, with SIGTERM and after five
// seconds with SIGKILL, and removes the socket, and those of extensions that
// did not remove theirs. Tables of extensions are detached.
func (h *Host) Close() error {
	if h.cancel == nil {
		return nil
	}
	h.cancel()
	h.wg.Wait()
	for _, e := range h.list() {
		h.drop(e.uuid)
	}
	if h.dir == "" {
		return wire.RemoveStale(h.cfg.Socket)
	}
	return h.clean()
}

func (h *Host) clean() error {
	if h.dir == "" {
		return nil
	}
	return os.RemoveAll(h.dir)
}

// Await waits until the required extensions have registered, no longer than the
// timeout altogether. Its error names, in osquery's words, those that have not.
func (h *Host) Await(ctx context.Context) error {
	timer := time.NewTimer(h.cfg.Timeout)
	defer timer.Stop()
	for {
		h.mu.Lock()
		changed := h.changed
		h.mu.Unlock()
		missing := slices.DeleteFunc(slices.Clone(h.cfg.Require), h.has)
		if len(missing) == 0 {
			return nil
		}
		select {
		case <-changed:
			continue
		case <-ctx.Done():
		case <-timer.C:
		}
		var errs []error
		for _, name := range missing {
			errs = append(errs, fmt.Errorf("Required extension not found or not loaded: %s", name)) //lint:ignore ST1005 osquery's text
		}
		return errors.Join(errs...)
	}
}

func (h *Host) has(name string) bool {
	return slices.ContainsFunc(h.list(), func(e *registered) bool { return e.info.Name == name })
}

// list returns the extensions whose tables are attached, by their numbers.
func (h *Host) list() []*registered {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := slices.DeleteFunc(slices.Collect(maps.Values(h.extensions)), func(e *registered) bool { return !e.attached })
	slices.SortFunc(list, func(a, b *registered) int { return int(a.uuid - b.uuid) })
	return list
}

// watch pings all extensions at each interval. Two failures in a row, or a
// socket that is gone after it has been there, end a registration.
func (h *Host) watch(ctx context.Context) {
	tick := time.NewTicker(h.cfg.Interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-h.suspects:
			h.check(ctx, e)
			continue
		case <-tick.C:
		}
		var wg sync.WaitGroup
		for _, e := range h.list() {
			wg.Go(func() { h.check(ctx, e) })
		}
		wg.Wait()
	}
}

// check pings an extension and drops it if it is gone.
func (h *Host) check(ctx context.Context, e *registered) {
	err := h.ping(ctx, e)
	if ctx.Err() != nil {
		return
	}
	h.mu.Lock()
	if err == nil {
		e.failures, e.answered = 0, true
	} else {
		e.failures++
	}
	gone := e.failures > 1 || err != nil && e.answered && !exists(e.path)
	h.mu.Unlock()
	if gone {
		h.log.Warn("extension has gone away", "name", e.info.Name, "uuid", int64(e.uuid), "error", err)
		h.drop(e.uuid)
		h.end(e.pid)
	}
}

func (h *Host) ping(ctx context.Context, e *registered) error {
	ctx, cancel := context.WithTimeoutCause(ctx, h.cfg.Timeout, fmt.Errorf("no answer in %s", h.cfg.Timeout))
	defer cancel()
	return wire.Ping(ctx, e.path)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// drop forgets an extension and detaches its tables.
func (h *Host) drop(uuid osquery.ExtensionRouteUUID) bool {
	h.mu.Lock()
	e, found := h.extensions[uuid]
	if found && !e.attached {
		found = false // still being registered: whoever does it cleans up
	}
	if found {
		delete(h.extensions, uuid)
	}
	h.mu.Unlock()
	if !found {
		return false
	}
	for _, name := range e.tables {
		h.db.Detach(name)
	}
	h.log.Info("extension deregistered", "name", e.info.Name, "uuid", int64(uuid))
	return true
}

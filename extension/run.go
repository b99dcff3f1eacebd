package extension

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/osquery/osquery-go/gen/osquery"

	"sockql/extension/internal/wire"
	"sockql/tables"
)

// DefaultName is the name under which the extension is registered, and which
// osqueryd's --extensions_require takes.
const DefaultName = "sockql"

// A Config says what [Run] registers where. Socket and Tables are needed; the
// zero values of the other fields work.
type Config struct {
	// Socket is the path of osqueryd's extension socket, at most 97 bytes.
	Socket string
	// Timeout is how long to wait for the socket, and for each answer; 0 means
	// three seconds.
	Timeout time.Duration
	// Interval is the time between two looks at whether the registration
	// holds; 0 means three seconds.
	Interval time.Duration
	// Name of the extension; empty means [DefaultName].
	Name    string
	Version string
	Tables  []tables.Table
	// Only are patterns, in the syntax of [path.Match], of the names of the
	// tables to register; none means all.
	Only []string
	// Prefix is put before the name of a table that the host has already;
	// empty means "sockql_".
	Prefix string
	// Orphaned reports whether the process that started this one is gone. If it
	// is, Run ends when it loses its registration, instead of waiting for an
	// osqueryd that starts an extension of its own. nil means never.
	Orphaned func() bool
	// Log gets what happens to the registration, and warnings of tables; nil
	// discards it.
	Log *slog.Logger
	Limits
}

// What ends a registration, and what ends its calls.
var (
	errShutdown     = errors.New("osqueryd asked for an end")
	errDeregistered = errors.New("osqueryd does not list the extension any more")
	errEnding       = errors.New("the extension ends its registration")
	errOther        = errors.New("another process serves an extension of this name, and this one stands by")
	errDead         = errors.New("osqueryd has not noticed yet that an earlier extension of this name is gone")
)

// Run registers the tables with osqueryd and answers its calls until ctx ends
// or osqueryd asks for an end, and then removes its socket within a second, by
// which osqueryd sees that the tables are gone. Whenever the registration is lost, it registers again, with
// pauses of one second to half a minute, each time asking anew which names are
// taken. While another process has registered an extension of this name and
// answers, Run stands by and looks again at each interval.
//
// It fails if the configuration cannot work, if no extension manager answers on
// the socket within the timeout in the first place, or, once the registration is
// lost, if the process that started this one is gone.
func Run(ctx context.Context, cfg Config) error {
	s, err := newServer(cfg)
	if err != nil {
		return err
	}
	return s.run(ctx)
}

type server struct {
	cfg     Config
	log     *slog.Logger
	manager manager
	tables  []tables.Table
	// refused are names that the host would not register although its
	// osquery_registry does not show them.
	refused map[string]bool
	pause   func(ctx context.Context, d time.Duration)
}

func newServer(cfg Config) (*server, error) {
	if err := wire.CheckPath(cfg.Socket); err != nil {
		return nil, err
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = 3 * time.Second
	}
	if cfg.Interval <= 0 {
		cfg.Interval = 3 * time.Second
	}
	if cfg.Name == "" {
		cfg.Name = DefaultName
	}
	if cfg.Prefix == "" {
		cfg.Prefix = "sockql_"
	}
	if !identifier(cfg.Prefix) {
		return nil, fmt.Errorf("prefix %q: only letters, digits and underscores can begin a table's name", cfg.Prefix)
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Orphaned == nil {
		cfg.Orphaned = func() bool { return false }
	}
	list, err := choose(cfg.Tables, cfg.Only)
	if err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(slices.Clone(list), func(t tables.Table) bool {
		name := t.Schema().Name
		if !identifier(name) {
			cfg.Log.Error("table left out: its name is no identifier", "table", name)
		}
		return !identifier(name)
	})
	if len(list) == 0 {
		return nil, errors.New("no table to register")
	}
	return &server{
		cfg: cfg, log: cfg.Log, tables: list, refused: map[string]bool{},
		manager: manager{path: cfg.Socket, timeout: cfg.Timeout},
		pause: func(ctx context.Context, d time.Duration) {
			select {
			case <-time.After(d):
			case <-ctx.Done():
			}
		},
	}, nil
}

// The pauses between two attempts.
const (
	firstPause   = time.Second
	longestPause = 30 * time.Second
)

func (s *server) run(ctx context.Context) error {
	pause, known, said := firstPause, false, ""
	for {
		registered, err := s.register(ctx)
		if ctx.Err() != nil || errors.Is(err, errShutdown) {
			return nil
		}
		if registered {
			known, pause, said = true, firstPause, ""
		}
		var unreachable *unreachableError
		if errors.As(err, &unreachable) && !known {
			return err
		}
		known = known || !errors.As(err, &unreachable)
		if s.cfg.Orphaned() {
			return fmt.Errorf("the process that started this extension is gone: %w", err)
		}
		// An unchanged reason is told once, not every half minute.
		level := slog.LevelWarn
		if err.Error() == said {
			level = slog.LevelDebug
		}
		said = err.Error()
		next := pause
		switch {
		case errors.Is(err, errDead):
			next = firstPause
		case errors.Is(err, errOther):
			next = s.cfg.Interval // nothing is wrong, and the other's end is to be seen soon
		default:
			pause = min(2*pause, longestPause)
		}
		s.log.Log(ctx, level, "extension not registered, trying again", "error", err, "pause", next)
		s.pause(ctx, next+rand.N(next/4+1))
	}
}

// An unreachableError says that no manager answers.
type unreachableError struct{ err error }

func (e *unreachableError) Error() string { return e.err.Error() }
func (e *unreachableError) Unwrap() error { return e.err }

// conflict finds the name in osqueryd's refusal of a registration.
var conflict = regexp.MustCompile(`Registry item (\S+) conflicts with another item`)

// register registers once and serves until the registration is lost. It
// reports whether there was one.
func (s *server) register(ctx context.Context) (registered bool, err error) {
	if err := s.manager.await(ctx); err != nil {
		return false, &unreachableError{err}
	}
	if err := s.vacant(ctx); err != nil {
		return false, err
	}
	taken, err := s.manager.tables(ctx)
	var failed *wire.StatusError
	switch {
	case errors.As(err, &failed): // a host that has no SQL, perhaps
		s.log.Warn("cannot tell which table names are taken", "error", err)
		taken = map[string]bool{}
	case err != nil:
		return false, err
	}
	for name := range s.refused {
		taken[name] = true
	}

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// Calls that run when ctx ends fail with a reason.
	serving, end := context.WithCancelCause(context.WithoutCancel(ctx))
	defer end(nil)
	var renamed []string
	plugins, stop := NewPlugins(serving, s.cfg.Limits, s.log, s.tables, func(t tables.Table) string {
		own := t.Schema().Name
		name := freeName(own, s.cfg.Prefix, taken)
		taken[strings.ToLower(name)] = true
		if name != own {
			renamed = append(renamed, name)
		}
		return name
	})
	defer stop()
	routes := osquery.ExtensionRouteTable{}
	handler := &handler{plugins: map[string]*Plugin{}, shutdown: func() { cancel(errShutdown) }}
	for _, p := range plugins {
		routes[p.Name()] = p.Routes()
		handler.plugins[p.Name()] = p
	}
	uuid, err := s.manager.register(ctx,
		&osquery.InternalExtensionInfo{Name: s.cfg.Name, Version: s.cfg.Version},
		osquery.ExtensionRegistry{"table": routes})
	if err != nil {
		if m := conflict.FindStringSubmatch(err.Error()); m != nil {
			s.refused[strings.ToLower(m[1])] = true
		}
		return false, err
	}
	handler.uuid = uuid
	listener, err := wire.Listen(wire.ExtensionPath(s.cfg.Socket, int64(uuid)))
	if err != nil {
		return false, err
	}
	if len(renamed) > 0 {
		s.log.Info("tables renamed, the host has others of their names", "names", strings.Join(renamed, ","))
	}
	s.log.Info("extension registered", "name", s.cfg.Name, "uuid", int64(uuid), "tables", len(plugins))

	done := make(chan struct{})
	go func() {
		defer close(done)
		w := wire.Server{Log: s.log, Idle: time.Minute}
		if err := w.Serve(serving, listener, osquery.NewExtensionProcessor(handler)); err != nil {
			cancel(err)
		}
	}()
	err = s.watch(ctx, uuid)
	end(errEnding)
	<-done
	return true, err
}

// vacant reports whether the name is free: no other process serves an extension
// of it, and none is listed that a killed one has left behind.
//
// Nobody is deregistered, neither a dead one nor, in the end, this one: osqueryd
// does it, at its next look, when a socket does not answer. If it is asked to at
// the same moment while a query runs, it hangs for good: of its two removals
// the first waits, to write the registry, for the second, which reads it and
// waits for the database, which the query holds, which waits to read the
// registry behind the first (RegistryInterface::removeExternal,
// osquery/registry/registry_interface.cpp, as of 5.23.0).
func (s *server) vacant(ctx context.Context) error {
	list, err := s.manager.extensions(ctx)
	if err != nil {
		return fmt.Errorf("registered extensions: %w", err)
	}
	for uuid, info := range list {
		if info.Name != s.cfg.Name {
			continue
		}
		if s.manager.alive(ctx, uuid) {
			return errOther
		}
		return errDead
	}
	return nil
}

// watch returns when the registration is lost or ctx ends. A ping would not do:
// osqueryd answers it after it has dropped the extension
// (https://github.com/fleetdm/fleet/issues/52093). A manager that is too busy to
// answer has dropped nobody.
func (s *server) watch(ctx context.Context, uuid osquery.ExtensionRouteUUID) error {
	tick := time.NewTicker(s.cfg.Interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		list, err := s.manager.extensions(ctx)
		switch {
		case errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOENT):
			return fmt.Errorf("registered extensions: %w", err)
		case err != nil:
			s.log.Debug("cannot tell whether the registration holds", "error", err)
			continue
		}
		if info := list[uuid]; info == nil || info.Name != s.cfg.Name {
			return errDeregistered
		}
	}
}

// A handler is the extension's side of the API.
type handler struct {
	plugins  map[string]*Plugin
	uuid     osquery.ExtensionRouteUUID
	shutdown func()
}

func (h *handler) Ping(context.Context) (*osquery.ExtensionStatus, error) {
	status := success()
	status.UUID = h.uuid
	return status, nil
}

func (h *handler) Call(ctx context.Context, registry, item string, request osquery.ExtensionPluginRequest) (*osquery.ExtensionResponse, error) {
	if registry != "table" {
		r := failure(fmt.Errorf("unknown registry: %q", registry))
		return &r, nil
	}
	p, ok := h.plugins[item]
	if !ok {
		r := failure(fmt.Errorf("unknown table: %q", item))
		return &r, nil
	}
	r := p.Stream(ctx, request)
	r.Status.UUID = h.uuid
	return &r, nil
}

func (h *handler) Shutdown(context.Context) error {
	h.shutdown()
	return nil
}

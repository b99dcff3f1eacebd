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
)

// Run registers the tables with osqueryd and answers its calls until ctx ends
// or osqueryd asks for an end, and then deregisters and removes its socket
// within a second. Whenever the registration is lost, it registers again, with
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
		if errors.Is(err, errOther) {
			next = s.cfg.Interval // nothing is wrong, and the other's end is to be seen soon
		} else {
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
	if err := s.displace(ctx); err != nil {
		return false, err
	}
	taken, err := s.manager.tables(ctx)
	if err != nil {
		s.log.Warn("cannot tell which table names are taken", "error", err)
		taken = map[string]bool{}
	}
	for name := range s.refused {
		taken[name] = true
	}

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// Calls go on until osqueryd has been told that they no longer can.
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
	// Given up halfway, a registration would stay behind.
	registering, abandon := linger(ctx, 300*time.Millisecond)
	defer abandon()
	uuid, err := s.manager.register(registering,
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
		s.withdraw(ctx, uuid)
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
	if !errors.Is(err, errDeregistered) {
		s.withdraw(ctx, uuid)
	}
	end(errEnding)
	<-done
	return true, err
}

// linger returns a context that outlives ctx by d.
func linger(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	late, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		select {
		case <-time.After(d):
			cancel(context.Cause(ctx))
		case <-late.Done():
		}
	})
	return late, func() { stop(); cancel(nil) }
}

// withdraw deregisters, even after the end of ctx, and takes no longer than an
// end may take.
func (s *server) withdraw(ctx context.Context, uuid osquery.ExtensionRouteUUID) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 300*time.Millisecond)
	defer cancel()
	if err := s.manager.deregister(ctx, uuid); err != nil {
		s.log.Debug("could not deregister", "error", err)
	}
}

// displace makes way for a registration. One of the same name whose process
// does not answer any more is what a killed extension left behind, and osqueryd
// may take long to notice.
func (s *server) displace(ctx context.Context) error {
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
		s.log.Info("deregistering a dead extension of the same name", "uuid", int64(uuid))
		if err := s.manager.deregister(ctx, uuid); err != nil {
			return err
		}
	}
	return nil
}

// watch returns when the registration is lost or ctx ends. A ping would not do:
// osqueryd answers it after it has dropped the extension
// (https://github.com/fleetdm/fleet/issues/52093).
func (s *server) watch(ctx context.Context, uuid osquery.ExtensionRouteUUID) error {
	tick := time.NewTicker(s.cfg.Interval)
	defer tick.Stop()
	for failures := 0; ; {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		list, err := s.manager.extensions(ctx)
		if err != nil {
			// A busy manager may miss one; nobody at the socket is plain.
			failures++
			if failures > 1 || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOENT) {
				return fmt.Errorf("registered extensions: %w", err)
			}
			continue
		}
		failures = 0
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

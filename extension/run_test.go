package extension

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/osquery/osquery-go/gen/osquery"
	"go.uber.org/goleak"

	"sockql/extension/internal/wire"
	"sockql/tables"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// An osqueryd is what osqueryd's extension manager does, as far as an extension
// sees it. Tests break it.
type osqueryd struct {
	t    *testing.T
	path string

	mu         sync.Mutex
	names      map[string]bool // of the host's own tables
	hidden     map[string]bool // those that osquery_registry does not show
	extensions osquery.InternalExtensionList
	routes     osquery.ExtensionRouteTable // of the last registration
	last       osquery.ExtensionRouteUUID
	registered chan osquery.ExtensionRouteUUID
	during     func()        // called by a registration
	refuse     bool          // refuses registrations
	hangs      chan struct{} // if there is one, the list of extensions waits for its end
	stop       func()
}

func startOsqueryd(t *testing.T, own ...string) *osqueryd {
	t.Helper()
	m := &osqueryd{
		t: t, path: filepath.Join(t.TempDir(), "em"), names: map[string]bool{}, hidden: map[string]bool{},
		extensions: osquery.InternalExtensionList{}, registered: make(chan osquery.ExtensionRouteUUID, 100),
	}
	for _, name := range own {
		m.names[name] = true
	}
	m.start()
	t.Cleanup(func() { m.stop() })
	return m
}

func (m *osqueryd) start() {
	m.t.Helper()
	l, err := wire.Listen(m.path)
	if err != nil {
		m.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s := wire.Server{Grace: time.Millisecond}
		if err := s.Serve(ctx, l, osquery.NewExtensionManagerProcessor(m)); err != nil {
			m.t.Error(err)
		}
	}()
	m.stop = func() { cancel(); <-done }
}

// restart forgets everything, as a restarted osqueryd does.
func (m *osqueryd) restart() {
	m.stop()
	m.mu.Lock()
	m.extensions = osquery.InternalExtensionList{}
	m.mu.Unlock()
	m.start()
}

func (m *osqueryd) await() osquery.ExtensionRouteUUID {
	m.t.Helper()
	select {
	case uuid := <-m.registered:
		return uuid
	case <-time.After(time.Minute):
		m.t.Fatal("no registration")
		return 0
	}
}

func (m *osqueryd) Ping(context.Context) (*osquery.ExtensionStatus, error) { return success(), nil }
func (m *osqueryd) Shutdown(context.Context) error                         { return nil }
func (m *osqueryd) Call(context.Context, string, string, osquery.ExtensionPluginRequest) (*osquery.ExtensionResponse, error) {
	return nil, errors.New("not expected")
}
func (m *osqueryd) Options(context.Context) (osquery.InternalOptionList, error) { return nil, nil }
func (m *osqueryd) GetQueryColumns(context.Context, string) (*osquery.ExtensionResponse, error) {
	return nil, errors.New("not expected")
}

func (m *osqueryd) Extensions(ctx context.Context) (osquery.InternalExtensionList, error) {
	m.mu.Lock()
	hangs := m.hangs
	m.mu.Unlock()
	if hangs != nil {
		select {
		case <-hangs:
		case <-ctx.Done():
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	list := osquery.InternalExtensionList{}
	for uuid, info := range m.extensions {
		list[uuid] = info
	}
	return list, nil
}

func (m *osqueryd) RegisterExtension(_ context.Context, info *osquery.InternalExtensionInfo, registry osquery.ExtensionRegistry) (*osquery.ExtensionStatus, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.refuse {
		return failure(errors.New("Incompatible extension SDK version")).Status, nil
	}
	for _, other := range m.extensions {
		if other.Name == info.Name {
			return failure(errors.New("Duplicate extension registered")).Status, nil
		}
	}
	for name := range registry["table"] {
		if m.names[strings.ToLower(name)] || m.hidden[strings.ToLower(name)] {
			return failure(fmt.Errorf("Failed adding registry: Registry item %s conflicts with another item of the same name.", name)).Status, nil
		}
	}
	if m.during != nil {
		m.during()
	}
	m.last++
	m.extensions[m.last], m.routes = info, registry["table"]
	m.registered <- m.last
	status := success()
	status.UUID = m.last
	return status, nil
}

func (m *osqueryd) DeregisterExtension(context.Context, osquery.ExtensionRouteUUID) (*osquery.ExtensionStatus, error) {
	m.t.Error("osqueryd may hang when it is asked to deregister an extension")
	return success(), nil
}

// notice drops an extension that does not answer, as osqueryd does when it looks
// at all of them.
func (m *osqueryd) notice(uuid osquery.ExtensionRouteUUID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.extensions, uuid)
}

func (m *osqueryd) Query(_ context.Context, sql string) (*osquery.ExtensionResponse, error) {
	if !strings.Contains(sql, "osquery_registry") {
		return nil, errors.New("not expected")
	}
	r := &osquery.ExtensionResponse{Status: success()}
	m.mu.Lock()
	defer m.mu.Unlock()
	for name := range m.names {
		r.Response = append(r.Response, map[string]string{"name": name})
	}
	return r, nil
}

func (m *osqueryd) tables() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var names []string
	for name := range m.routes {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (m *osqueryd) list() osquery.InternalExtensionList {
	list, _ := m.Extensions(context.Background())
	return list
}

// hasSocket reports whether the file of an extension's socket is there.
func (m *osqueryd) hasSocket(uuid osquery.ExtensionRouteUUID) bool {
	_, err := os.Stat(wire.ExtensionPath(m.path, int64(uuid)))
	return err == nil
}

// generate asks an extension for the rows of a table, as soon as it listens.
func (m *osqueryd) generate(uuid osquery.ExtensionRouteUUID, table string) (*osquery.ExtensionResponse, error) {
	m.t.Helper()
	path := wire.ExtensionPath(m.path, int64(uuid))
	for range 1000 {
		// The file is there a moment before anybody listens.
		if c, err := net.Dial("unix", path); err == nil {
			c.Close()
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	return wire.Call(m.t.Context(), path, func(ctx context.Context, c *osquery.ExtensionManagerClient) (*osquery.ExtensionResponse, error) {
		return c.Call(ctx, "table", table, osquery.ExtensionPluginRequest{"action": "generate", "context": ""})
	})
}

// run starts the extension; the returned function ends it and returns its error.
func run(t *testing.T, cfg Config) (end func() error, log *journal) {
	t.Helper()
	log = &journal{}
	cfg.Log = log.logger()
	if cfg.Interval == 0 {
		cfg.Interval = 20 * time.Millisecond
	}
	s, err := newServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.pause = func(ctx context.Context, _ time.Duration) {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() { result <- s.run(ctx) }()
	ended := false
	end = func() error {
		if ended {
			return nil
		}
		ended = true
		cancel()
		return <-result
	}
	t.Cleanup(func() {
		if err := end(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(log)
		}
	})
	return end, log
}

func TestRunRegisters(t *testing.T) {
	m := startOsqueryd(t, "processes", "routes")
	m.hidden["interface_addresses"] = true // taken, and osquery_registry does not say so
	end, log := run(t, Config{Socket: m.path, Version: "1.2", Tables: []tables.Table{
		people(t, "processes", 3), people(t, "socket_states", 4), people(t, "interface_addresses", 5), people(t, "bad-name", 1),
	}})
	uuid := m.await()
	if got, want := m.tables(), []string{"socket_states", "sockql_interface_addresses", "sockql_processes"}; !slices.Equal(got, want) {
		t.Errorf("registered %v, want %v", got, want)
	}
	info := m.list()[uuid]
	if info.GetName() != "sockql" || info.GetVersion() != "1.2" {
		t.Errorf("registered as %v", info)
	}
	for table, rows := range map[string]int{"sockql_processes": 3, "socket_states": 4} {
		r, err := m.generate(uuid, table)
		if err != nil || r.Status.Code != 0 || len(r.Response) != rows {
			t.Errorf("%s: %v, %v", table, r, err)
		}
	}
	if r, err := m.generate(uuid, "processes"); err != nil || r.Status.Code != 1 {
		t.Errorf("a table that is not registered: %v, %v", r, err)
	}
	socket := wire.ExtensionPath(m.path, int64(uuid))
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket: %v, %v", info, err)
	}
	began := time.Now()
	if err := end(); err != nil {
		t.Error(err)
	}
	t.Logf("ended in %s", time.Since(began))
	if _, err := os.Stat(socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
	for _, want := range []string{"its name is no identifier", "bad-name", "names=sockql_processes,sockql_interface_addresses"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not tell %q", want)
		}
	}
}

// Whatever ends a registration, the extension registers again.
func TestRunHeals(t *testing.T) {
	for name, hurt := range map[string]func(*osqueryd, osquery.ExtensionRouteUUID){
		"manager restarts": func(m *osqueryd, _ osquery.ExtensionRouteUUID) { m.restart() },
		"manager is away for a while": func(m *osqueryd, _ osquery.ExtensionRouteUUID) {
			m.stop()
			m.mu.Lock()
			clear(m.extensions)
			m.mu.Unlock()
			time.Sleep(100 * time.Millisecond)
			m.start()
		},
		"deregistered behind its back": func(m *osqueryd, uuid osquery.ExtensionRouteUUID) {
			m.mu.Lock()
			delete(m.extensions, uuid)
			m.mu.Unlock()
		},
		"another extension has its number": func(m *osqueryd, uuid osquery.ExtensionRouteUUID) {
			m.mu.Lock()
			m.extensions[uuid] = &osquery.InternalExtensionInfo{Name: "other"}
			m.mu.Unlock()
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := startOsqueryd(t)
			run(t, Config{Socket: m.path, Timeout: 200 * time.Millisecond, Tables: []tables.Table{people(t, "people", 3)}})
			for range 3 {
				uuid := m.await()
				if r, err := m.generate(uuid, "people"); err != nil || len(r.Response) != 3 {
					t.Fatalf("%v, %v", r, err)
				}
				hurt(m, uuid)
			}
			m.await()
			if got := m.tables(); !slices.Equal(got, []string{"people"}) {
				t.Errorf("registered %v", got)
			}
		})
	}
}

// A manager that is too busy to answer has dropped nobody.
func TestRunKeepsRegistration(t *testing.T) {
	m := startOsqueryd(t)
	_, log := run(t, Config{Socket: m.path, Timeout: 50 * time.Millisecond, Tables: []tables.Table{people(t, "people", 3)}})
	uuid := m.await()
	hangs := make(chan struct{})
	m.mu.Lock()
	m.hangs = hangs
	m.mu.Unlock()
	for strings.Count(log.String(), "cannot tell whether the registration holds") < 3 {
		time.Sleep(time.Millisecond)
	}
	if r, err := m.generate(uuid, "people"); err != nil || len(r.Response) != 3 {
		t.Errorf("while the manager is busy: %v, %v", r, err)
	}
	m.mu.Lock()
	m.hangs = nil
	m.mu.Unlock()
	close(hangs)
	if r, err := m.generate(uuid, "people"); err != nil || len(r.Response) != 3 {
		t.Errorf("after that: %v, %v", r, err)
	}
	if list := m.list(); len(list) != 1 || list[uuid] == nil {
		t.Errorf("registered: %v", list)
	}
}

// A killed extension has left its registration: nobody listens on its socket.
// The next one leaves it to osqueryd to notice, because osqueryd may hang if it
// is told meanwhile, and then takes its place under the tables' own names.
func TestRunAfterTheDead(t *testing.T) {
	m := startOsqueryd(t, "processes")
	m.extensions[77] = &osquery.InternalExtensionInfo{Name: "sockql"}
	_, log := run(t, Config{Socket: m.path, Tables: []tables.Table{people(t, "people", 3)}})
	for !strings.Contains(log.String(), "has not noticed yet") {
		time.Sleep(time.Millisecond)
	}
	m.mu.Lock()
	if m.extensions[77] == nil || len(m.extensions) != 1 {
		t.Errorf("registered: %v", m.extensions)
	}
	delete(m.extensions, 77)
	m.mu.Unlock()
	m.await()
	if got := m.tables(); !slices.Equal(got, []string{"people"}) {
		t.Errorf("registered %v", got)
	}
}

// Two on one host: the second waits, and takes over when the first ends.
func TestRunStandsBy(t *testing.T) {
	m := startOsqueryd(t)
	endFirst, _ := run(t, Config{Socket: m.path, Tables: []tables.Table{people(t, "people", 1)}})
	first := m.await()
	if _, err := m.generate(first, "people"); err != nil { // listens
		t.Fatal(err)
	}
	_, log := run(t, Config{Socket: m.path, Tables: []tables.Table{people(t, "people", 2)}})
	for !strings.Contains(log.String(), "stands by") {
		time.Sleep(time.Millisecond)
	}
	if list := m.list(); list[first] == nil {
		t.Fatalf("the first was displaced: %v", list)
	}
	if err := endFirst(); err != nil {
		t.Fatal(err)
	}
	m.notice(first)
	if r, err := m.generate(m.await(), "people"); err != nil || len(r.Response) != 2 {
		t.Errorf("%v, %v", r, err)
	}
	if n := strings.Count(log.String(), "level=WARN msg=\"extension not registered"); n != 1 {
		t.Errorf("the same reason is told %d times:\n%s", n, log)
	}
}

// One that stands by takes over soon, however long it has; one that is refused
// tries less and less often.
func TestRunPauses(t *testing.T) {
	m := startOsqueryd(t)
	run(t, Config{Socket: m.path, Tables: []tables.Table{people(t, "people", 1)}})
	if _, err := m.generate(m.await(), "people"); err != nil { // listens
		t.Fatal(err)
	}
	pauses := func(cfg Config) (list []time.Duration) {
		t.Helper()
		s, err := newServer(cfg)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s.pause = func(_ context.Context, d time.Duration) {
			if list = append(list, d); len(list) == 8 {
				cancel()
			}
		}
		if err := s.run(ctx); err != nil {
			t.Fatal(err)
		}
		return list
	}
	table := []tables.Table{people(t, "people", 1)}
	for _, d := range pauses(Config{Socket: m.path, Interval: 3 * time.Second, Tables: table}) {
		if d < 3*time.Second || d > 4*time.Second {
			t.Errorf("a pause of %s while standing by", d)
		}
	}
	m.mu.Lock()
	m.refuse = true
	m.mu.Unlock()
	list := pauses(Config{Socket: m.path, Name: "other", Tables: table})
	if list[0] > 2*time.Second || list[3] < 8*time.Second || list[7] < 30*time.Second || list[7] > 38*time.Second {
		t.Errorf("pauses when refused: %v", list)
	}
}

func TestRunShutdown(t *testing.T) {
	m := startOsqueryd(t)
	s, err := newServer(Config{Socket: m.path, Tables: []tables.Table{people(t, "people", 1)}})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.run(context.Background()) }()
	uuid := m.await()
	if _, err := m.generate(uuid, "people"); err != nil {
		t.Fatal(err)
	}
	_, err = wire.Call(t.Context(), wire.ExtensionPath(m.path, int64(uuid)), func(ctx context.Context, c *osquery.ExtensionManagerClient) (any, error) {
		return nil, c.Shutdown(ctx)
	})
	if err != nil {
		t.Errorf("shutdown is not answered: %v", err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// An extension whose osqueryd was killed ends: the next osqueryd starts one of
// its own.
func TestRunOrphaned(t *testing.T) {
	m := startOsqueryd(t)
	s, err := newServer(Config{
		Socket: m.path, Timeout: 100 * time.Millisecond, Interval: 10 * time.Millisecond,
		Tables: []tables.Table{people(t, "people", 1)}, Orphaned: func() bool { return true },
	})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.run(context.Background()) }()
	m.await()
	m.stop()
	if err := <-done; err == nil || !strings.Contains(err.Error(), "is gone") {
		t.Errorf("error %v", err)
	}
}

func TestRunBadConfig(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	list := []tables.Table{people(t, "people", 1)}
	for want, cfg := range map[string]Config{
		"no path":                               {Tables: list},
		"has 98 characters, and 97 is the most": {Socket: "/" + strings.Repeat("x", 97), Tables: list},
		"is not there: is osqueryd running":     {Socket: filepath.Join(dir, "missing"), Tables: list},
		"no extension manager answers":          {Socket: file, Tables: list},
		`pattern "x*"`:                          {Socket: file, Tables: list, Only: []string{"x*"}},
		`prefix "1"`:                            {Socket: file, Tables: list, Prefix: "1"},
		"no table to register":                  {Socket: file},
	} {
		cfg.Timeout = 50 * time.Millisecond
		if err := Run(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

// A socket of something else: it hangs up, says nothing, or answers nonsense.
func TestRunForeignSocket(t *testing.T) {
	for name, answer := range map[string]string{"hangs up": "", "nonsense": "HTTP/1.1 400 Bad Request\r\n\r\n"} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "s")
			l, err := wire.Listen(path)
			if err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			wg.Go(func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					fmt.Fprint(c, answer)
					c.Close()
				}
			})
			err = Run(t.Context(), Config{Socket: path, Timeout: 100 * time.Millisecond, Tables: []tables.Table{people(t, "people", 1)}})
			if err == nil || !strings.Contains(err.Error(), "no extension manager answers") {
				t.Errorf("error %v", err)
			}
			l.Close()
			wg.Wait()
		})
	}
	t.Run("is silent", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "s")
		l, err := wire.Listen(path)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // connections wait in its queue for ever
		err = Run(t.Context(), Config{Socket: path, Timeout: 100 * time.Millisecond, Tables: []tables.Table{people(t, "people", 1)}})
		if err == nil || !strings.Contains(err.Error(), "no answer in 100ms") {
			t.Errorf("error %v", err)
		}
	})
}

// An end that comes while a registration is under way is not delayed by it, and
// leaves no socket behind.
func TestRunEndsWhileRegistering(t *testing.T) {
	m := startOsqueryd(t)
	s, err := newServer(Config{Socket: m.path, Tables: []tables.Table{people(t, "people", 1)}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	m.during = func() {
		cancel()
		<-ended
	}
	if err := s.run(ctx); err != nil {
		t.Error(err)
	}
	close(ended)
	if m.hasSocket(m.await()) {
		t.Error("a socket is left behind")
	}
}

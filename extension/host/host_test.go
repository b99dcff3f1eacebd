package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/osquery/osquery-go/gen/osquery"

	"sockql/extension/internal/wire"
)

// An extension of ours, in a process of its own, in a host of ours, over a real
// socket.
func TestLoad(t *testing.T) {
	h, db, _ := start(t, Config{Extensions: []string{self(t, "ours")}, Require: []string{"ours"}}, numbers("natives", 10))
	if err := h.Await(t.Context()); err != nil {
		t.Fatal(err)
	}
	for sql, want := range map[string]string{
		"SELECT count(*) FROM numbers":                                         "1000",
		"SELECT * FROM numbers WHERE pid IN (6, 7)":                            "6|n6|3.0|-4611686018427387898|NULL 7|n7|3.5|-4611686018427387897|",
		"SELECT pid FROM numbers WHERE name = 'n12'":                           "12",
		"SELECT name FROM numbers WHERE pid > 997":                             "n998 n999",
		"SELECT pid FROM numbers WHERE name LIKE 'N99_' AND half > 499":        "999",
		"SELECT pid FROM numbers ORDER BY pid DESC LIMIT 2":                    "999 998",
		"SELECT count(*) FROM numbers WHERE odd IS NULL":                       "500",
		"SELECT sum(n.pid) FROM natives p JOIN numbers n USING (pid)":          "45",
		"SELECT DISTINCT pid FROM numbers WHERE pid IN (3, 3, 4)":              "3 4",
		"SELECT count(*), min(length(text)) FROM bad WHERE what IN ('a', 'b')": "2|1048576",
	} {
		if got := strings.Join(db.ask(t, sql), " "); got != want {
			t.Errorf("%s: %s, want %s", sql, got, want)
		}
	}
	for sql, want := range map[string]string{
		"SELECT * FROM bad":                      "without a required column",
		"SELECT * FROM bad WHERE what = 'fail'":  "error generating table: failed on purpose",
		"SELECT * FROM bad WHERE what = 'panic'": "on purpose",
	} {
		if _, err := db.Query(t.Context(), sql); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v", sql, err)
		}
	}
	// All values of a list and all rows of a join are one call each.
	if scans := db.ask(t, "SELECT count(DISTINCT scan) FROM numbers WHERE pid IN (1,2,3)"); scans[0] != "1" {
		t.Errorf("%s scans for a list", scans)
	}
	// Hidden columns are there and not in *.
	if r, err := db.Query(t.Context(), "SELECT * FROM numbers LIMIT 1"); err != nil || len(r.Columns) != 5 {
		t.Errorf("columns %v, %v", r, err)
	}
}

func TestCatalogue(t *testing.T) {
	h, db, _ := start(t, Config{Extensions: []string{self(t, "ours")}, Require: []string{"ours"}}, numbers("natives", 1))
	if err := h.Await(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := []string{"core|5.23.0|core", "ours|0.1|extension"}
	if got := db.ask(t, "SELECT name, version, type FROM osquery_extensions"); !slices.Equal(got, want) {
		t.Errorf("osquery_extensions: %q", got)
	}
	if got := db.ask(t, "SELECT path = '"+h.Socket()+"' || '.' || uuid FROM osquery_extensions WHERE uuid != 0"); !slices.Equal(got, []string{"1"}) {
		t.Errorf("path of an extension: %q", got)
	}
	want = []string{"bad|1|1", "natives|0|1", "numbers|1|1", "osquery_extensions|0|1", "osquery_registry|0|1"}
	if got := db.ask(t, "SELECT name, owner_uuid != 0, active FROM osquery_registry WHERE registry = 'table' ORDER BY name"); !slices.Equal(got, want) {
		t.Errorf("osquery_registry: %q", got)
	}
}

// What a client of osqueryd's API can ask, it can ask here.
func TestService(t *testing.T) {
	h, _, _ := start(t, Config{
		Extensions: []string{self(t, "ours")}, Require: []string{"ours"},
		Options: []Option{{Name: "verbose", Value: "true", Default: "false", Type: "bool"}},
	}, numbers("natives", 3))
	if err := h.Await(t.Context()); err != nil {
		t.Fatal(err)
	}
	m := Manager{Socket: h.Socket()}
	if err := m.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	columns, rows, err := m.Query(t.Context(), "SELECT name, pid, NULL AS x FROM natives WHERE pid = 2")
	if err != nil || fmt.Sprint(columns) != "[{name TEXT} {pid INTEGER} {x }]" || fmt.Sprint(rows) != "[map[name:n2 pid:2 x:]]" {
		t.Errorf("query: %v, %v, %v", columns, rows, err)
	}
	if _, _, err := m.Query(t.Context(), "SELECT * FROM nowhere"); err == nil || !strings.Contains(err.Error(), "no such table: nowhere") {
		t.Errorf("query: error %v", err)
	}
	_, err = wire.Call(t.Context(), h.Socket(), func(ctx context.Context, c *osquery.ExtensionManagerClient) (any, error) {
		options, err := c.Options(ctx)
		if err != nil || options["verbose"].GetValue() != "true" {
			t.Errorf("options: %v, %v", options, err)
		}
		for item, want := range map[string]int{"natives": 3, "numbers": 1000} {
			r, err := c.Call(ctx, "table", item, osquery.ExtensionPluginRequest{"action": "generate", "context": ""})
			if err != nil || len(r.Response) != want {
				t.Errorf("call of %s: %v, %v", item, r.GetStatus(), err)
			}
		}
		if r, err := c.Call(ctx, "config", "tls", nil); err != nil || r.Status.Code != 1 {
			t.Errorf("call of nothing: %v, %v", r, err)
		}
		if r, err := c.DeregisterExtension(ctx, 70000); err != nil || r.Message != "No extension UUID registered" {
			t.Errorf("deregistration of nothing: %v, %v", r, err)
		}
		if err := c.Shutdown(ctx); err == nil {
			t.Error("an extension has ended its host")
		}
		return nil, nil
	})
	if err != nil {
		t.Error(err)
	}
	if err := m.Ping(t.Context()); err != nil {
		t.Errorf("after the request to end: %v", err)
	}
}

// An extension that dies within a call, or is killed, or has lost its
// registration, comes back.
func TestExtensionDies(t *testing.T) {
	h, db, log := start(t, Config{Extensions: []string{self(t, "ours")}, Require: []string{"ours"}})
	if err := h.Await(t.Context()); err != nil {
		t.Fatal(err)
	}
	again := 1
	back := func() {
		t.Helper()
		again++
		log.await(t, `msg="extension registered" name=ours`, again)
		if n := db.number(t, "SELECT count(*) FROM numbers"); n != 1000 {
			t.Errorf("%d rows", n)
		}
	}
	first := db.number(t, "SELECT worker FROM numbers WHERE pid = 1")
	if _, err := db.Query(t.Context(), "SELECT * FROM bad WHERE what = 'die'"); err == nil || !strings.Contains(err.Error(), "call failed") {
		t.Errorf("error %v", err)
	}
	back()
	second := db.number(t, "SELECT worker FROM numbers WHERE pid = 1")
	if second == first {
		t.Error("it is the same process")
	}
	// It deregisters itself behind its own back; its process notices.
	list := h.list()
	h.drop(list[0].uuid)
	if _, err := db.Query(t.Context(), "SELECT 1 FROM numbers"); err == nil {
		t.Error("the table of a deregistered extension is there")
	}
	back()
	if third := db.number(t, "SELECT worker FROM numbers WHERE pid = 1"); third != second {
		t.Error("it is another process")
	}
}

// An extension that stops answering loses its tables and is started anew.
func TestExtensionHangs(t *testing.T) {
	h, db, log := start(t, Config{Extensions: []string{self(t, "ours")}, Require: []string{"ours"}, Timeout: 2 * time.Second})
	if err := h.Await(t.Context()); err != nil {
		t.Fatal(err)
	}
	pid := db.number(t, "SELECT worker FROM numbers WHERE pid = 1")
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	log.await(t, "extension has gone away", 1)
	if _, err := db.Query(t.Context(), "SELECT 1 FROM numbers"); err == nil {
		t.Error("its table is still there")
	}
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil { // so that SIGTERM arrives
		t.Fatal(err)
	}
	log.await(t, "extension registered", 2)
}

// A call is ended by who asked.
func TestCallEnds(t *testing.T) {
	h, db, _ := start(t, Config{Extensions: []string{self(t, "ours")}, Require: []string{"ours"}})
	if err := h.Await(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := db.Query(ctx, "SELECT * FROM bad WHERE what = 'hang'"); err == nil {
		t.Error("an answer")
	}
	if n := db.number(t, "SELECT count(*) FROM numbers"); n != 1000 {
		t.Errorf("%d rows afterwards", n)
	}
}

// One that never registers and one that always ends are told of, and cost
// nobody else anything.
func TestUselessExtensions(t *testing.T) {
	t.Run("silent", func(t *testing.T) {
		h, _, log := start(t, Config{Extensions: []string{self(t, "silent")}, Require: []string{"missing", "other"}, Timeout: 50 * time.Millisecond})
		err := h.Await(t.Context())
		if err == nil || err.Error() != "Required extension not found or not loaded: missing\nRequired extension not found or not loaded: other" {
			t.Errorf("error %v", err)
		}
		log.await(t, "extension runs and has not registered", 1)
	})
	t.Run("brief", func(t *testing.T) {
		_, _, log := start(t, Config{Extensions: []string{self(t, "brief")}})
		log.await(t, "extension ended, starting it again", 1)
		log.await(t, "exit status 3", 1)
	})
}

func TestPermissions(t *testing.T) {
	dir := t.TempDir()
	sticky := filepath.Join(dir, "sticky")
	if err := os.Mkdir(sticky, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(sticky, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	put := func(path string, mode os.FileMode) string {
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := put(filepath.Join(dir, "good.ext"), 0o755)
	h := &Host{}
	if err := h.autoloadable(good); err != nil {
		t.Error(err)
	}
	const unsafe = "Will not autoload extension with unsafe directory permissions: "
	for path, want := range map[string]string{
		put(filepath.Join(dir, "writable.ext"), 0o757):  unsafe,
		put(filepath.Join(dir, "plain.ext"), 0o644):     unsafe,
		put(filepath.Join(sticky, "sticky.ext"), 0o755): unsafe,
		filepath.Join(dir, "missing.ext"):               "extension doesn't exist at: ",
		put(filepath.Join(dir, "program"), 0o755):       "Will not autoload extension not ending in one of '.ext': ",
	} {
		if err := h.autoloadable(path); err == nil || err.Error() != want+path {
			t.Errorf("%s: error %v", path, err)
		}
	}
	if os.Geteuid() == 0 {
		foreign := put(filepath.Join(dir, "foreign.ext"), 0o755)
		if err := os.Chown(foreign, 12345, 12345); err != nil {
			t.Fatal(err)
		}
		if err := h.autoloadable(foreign); err == nil {
			t.Error("the file of another user is accepted")
		}
	}
	h.cfg.AllowUnsafe = true
	if err := h.autoloadable(filepath.Join(dir, "writable.ext")); err != nil {
		t.Errorf("with AllowUnsafe: %v", err)
	}

	sub := filepath.Join(dir, "sub", "deeper")
	if err := os.MkdirAll(sub, 0o755); err != nil {
		t.Fatal(err)
	}
	nested := put(filepath.Join(sub, "nested.ext"), 0o755)
	text := "# a comment\n; another\n\n  " + good + "  \n" + filepath.Join(dir, "sub") + "\n/no/such.ext"
	if got, want := parseAutoload(text), []string{good, nested, "/no/such.ext"}; !slices.Equal(got, want) {
		t.Errorf("autoload file: %q, want %q", got, want)
	}
}

func TestPermissionsAreTold(t *testing.T) {
	dir := t.TempDir()
	unsafe := filepath.Join(dir, "unsafe.ext")
	if err := os.WriteFile(unsafe, []byte("#!/bin/sh\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(dir, "extensions.load")
	if err := os.WriteFile(list, []byte(unsafe), 0o644); err != nil {
		t.Fatal(err)
	}
	_, _, log := start(t, Config{Extensions: []string{unsafe, filepath.Join(dir, "none")}, Autoload: list})
	for _, want := range []string{
		"Will not autoload extension with unsafe directory permissions: " + unsafe,
		"[Ref #1382] Extension binary has unsafe permissions: " + unsafe,
		"Extension binary doesn't exist in: " + filepath.Join(dir, "none"),
	} {
		log.await(t, want, 1)
	}
}

// An extension is admitted with all its tables or with none.
func TestRegister(t *testing.T) {
	h, db, _ := start(t, Config{}, numbers("natives", 1))
	register := func(name string, routes osquery.ExtensionRouteTable) *osquery.ExtensionStatus {
		t.Helper()
		st, err := wire.Call(t.Context(), h.Socket(), func(ctx context.Context, c *osquery.ExtensionManagerClient) (*osquery.ExtensionStatus, error) {
			return c.RegisterExtension(ctx, &osquery.InternalExtensionInfo{Name: name}, osquery.ExtensionRegistry{"table": routes, "logger": {"l": nil}})
		})
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	column := func(name, kind, op string) map[string]string {
		return map[string]string{"id": "column", "name": name, "type": kind, "op": op}
	}
	one := osquery.ExtensionPluginResponse{column("a", "TEXT", "0")}
	for want, routes := range map[string]osquery.ExtensionRouteTable{
		"Registry item natives conflicts with another item of the same name.": {"aaa": one, "natives": one},
		"Registry item NATIVES conflicts with another item of the same name.": {"NATIVES": one},
		"Registry item osquery_registry conflicts":                            {"osquery_registry": one},
		"not a plain name":          {"aaa": one, "bad-name": one},
		"has no columns":            {"aaa": nil},
		"are no number":             {"aaa": {column("a", "TEXT", "x")}},
		`column "a" is there twice`: {"aaa": {column("a", "TEXT", "0"), column("a", "TEXT", "0")}},
		"column without a name":     {"aaa": {column("", "TEXT", "0")}},
	} {
		if st := register("x", routes); st.Code != 1 || !strings.HasPrefix(st.Message, "Failed adding registry: ") || !strings.Contains(st.Message, want) {
			t.Errorf("status %v, want %q", st, want)
		}
		if _, err := db.Query(t.Context(), "SELECT 1 FROM aaa"); err == nil {
			t.Error("a table of a refused extension is attached")
		}
	}
	if st := register("", osquery.ExtensionRouteTable{"aaa": one}); st.Code != 1 {
		t.Errorf("without a name: %v", st)
	}
	st := register("x", osquery.ExtensionRouteTable{"aaa": one})
	if st.Code != 0 || st.UUID == 0 {
		t.Fatalf("status %v", st)
	}
	// While it answers, nobody else bears its name.
	l, err := wire.Listen(wire.ExtensionPath(h.Socket(), int64(st.UUID)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { (&wire.Server{}).Serve(ctx, l, osquery.NewExtensionProcessor(&service{h})) })
	if st := register("x", osquery.ExtensionRouteTable{"bbb": one}); st.Message != "Duplicate extension registered" {
		t.Errorf("status %v", st)
	}
	cancel()
	wg.Wait()
	// Once it does not, somebody does.
	if st := register("x", osquery.ExtensionRouteTable{"aaa": one, "bbb": one}); st.Code != 0 {
		t.Errorf("status %v", st)
	}
}

func TestBadSockets(t *testing.T) {
	if _, err := New(Config{Socket: "/" + strings.Repeat("x", 97)}); err == nil || !strings.Contains(err.Error(), "97 is the most") {
		t.Errorf("error %v", err)
	}
	h, db, _ := start(t, Config{})
	other, err := New(Config{Socket: h.Socket()})
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(t.Context(), db); err == nil || !strings.Contains(err.Error(), "somebody listens on") {
		t.Errorf("error %v", err)
	}
	if err := other.Close(); err != nil {
		t.Error(err)
	}
	none, err := New(Config{Socket: filepath.Join(t.TempDir(), "none", "em")})
	if err != nil {
		t.Fatal(err)
	}
	if err := none.Start(t.Context(), db); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	own, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := own.Start(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	if err := (Manager{Socket: own.Socket()}).Ping(t.Context()); err != nil {
		t.Error(err)
	}
	if err := own.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Dir(own.Socket())); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory of the socket is still there: %v", err)
	}
}

// The processes end with the host, also one that ignores SIGTERM's hurry.
func TestCloseEndsProcesses(t *testing.T) {
	h, db, _ := start(t, Config{Extensions: []string{self(t, "ours")}, Require: []string{"ours"}})
	if err := h.Await(t.Context()); err != nil {
		t.Fatal(err)
	}
	pid := db.number(t, "SELECT worker FROM numbers WHERE pid = 1")
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process %d is still there: %v", pid, err)
	}
	if sockets, _ := filepath.Glob(h.Socket() + "*"); len(sockets) != 0 {
		t.Errorf("sockets %q are still there", sockets)
	}
	if _, err := db.Query(t.Context(), "SELECT 1 FROM numbers"); err == nil {
		t.Error("its table is still attached")
	}
}

// Sockets that killed extensions have left go when a host begins, and when it
// ends.
func TestStaleSockets(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "em")
	leave := func(number string) string {
		path := socket + "." + number
		l, err := wire.Listen(path)
		if err != nil {
			t.Fatal(err)
		}
		l.SetUnlinkOnClose(false)
		l.Close()
		return path
	}
	before := leave("7")
	h, _, _ := start(t, Config{Socket: socket})
	if exists(before) {
		t.Error("one that was there before is still there")
	}
	meanwhile := leave("8")
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	if exists(meanwhile) {
		t.Error("one that came meanwhile is still there")
	}
}

// Two hundred clients of the manager's socket at a time.
func TestManyClients(t *testing.T) {
	h, _, _ := start(t, Config{}, numbers("natives", 10))
	m := Manager{Socket: h.Socket()}
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			if _, rows, err := m.Query(t.Context(), "SELECT pid FROM natives WHERE pid IN (1, 2)"); err != nil || len(rows) != 2 {
				t.Errorf("%v, %v", rows, err)
			}
		})
	}
	wg.Wait()
}

// After kill -9 of a host its extension ends, and the next host can have the
// socket.
func TestHostKilled(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(self(t, "host"), dir)
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Fscan(out, &pid); err != nil {
		t.Error(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	for range 4000 {
		if ended(pid) {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	if !ended(pid) {
		t.Errorf("process %d, the extension, is still there", pid)
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	start(t, Config{Socket: filepath.Join(dir, "em")})
}

// ended reports whether a process is gone, or waits to be reaped by whoever has
// adopted it.
func ended(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(stat), ") Z ")
}

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A running is a daemon of a test.
type running struct {
	t   *testing.T
	dir string
	cmd *exec.Cmd
	out bytes.Buffer
}

func startDaemon(t *testing.T, config string, args ...string) *running {
	t.Helper()
	r := &running{t: t, dir: t.TempDir()}
	if err := os.WriteFile(r.path("osquery.conf"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	planets, err := exec.LookPath("planets.ext")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(r.path("extensions.load"), []byte("# comment\n"+planets+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.cmd = exec.Command("sockql", append([]string{"daemon", "--config_path", r.path("osquery.conf"), "--database_path", r.path("state"),
		"--logger_path", r.dir, "--extensions_autoload", r.path("extensions.load"), "--extensions_timeout=20"}, args...)...)
	r.cmd.Stdout, r.cmd.Stderr = &r.out, &r.out
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.cmd.Process.Signal(syscall.SIGTERM)
		if err := r.cmd.Wait(); err != nil {
			t.Errorf("the daemon ends with %v", err)
		}
		if t.Failed() {
			t.Logf("the daemon wrote:\n%s", r.out.String())
		}
	})
	return r
}

func (r *running) path(name string) string { return filepath.Join(r.dir, name) }

func (r *running) read(name string) string {
	text, _ := os.ReadFile(r.path(name))
	return string(text)
}

// await waits until f is true. How long that may take is no assertion, only an
// end to a test that would not end.
func (r *running) await(what string, f func() bool) {
	r.t.Helper()
	for end := time.Now().Add(time.Minute); !f(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("%s: not after a minute", what)
		}
	}
}

// children returns the processes that a process has started.
func children(pid int) (pids []int) {
	paths, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, path := range paths {
		text, _ := os.ReadFile(path)
		for field := range strings.FieldsSeq(string(text)) {
			if pid, err := strconv.Atoi(field); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// ended reports whether a process is gone, or only waits for its parent to look.
func ended(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(text[bytes.LastIndexByte(text, ')'):]), ") Z ")
}

const planetsQuery = `{"schedule": {"p": {"query": "select name, moons from planets where moons = 2", "interval": 1, "snapshot": true}}}`

// A schedule has an extension's table from its first moment on, if it is
// required; the extension goes with the worker that started it, also if that is
// killed, and comes with the next one.
func TestDaemonExtensions(t *testing.T) {
	r := startDaemon(t, planetsQuery, "--extensions_require=planets")
	const row = `{"snapshot":[{"moons":"2","name":"Mars"}],"action":"snapshot",`
	r.await("the first result", func() bool { return strings.Count(r.read("osqueryd.snapshots.log"), row) > 0 })
	if got := r.read("osqueryd.INFO"); !strings.Contains(got, "extension registered name=planets") || strings.Contains(got, "no such table") {
		t.Errorf("the status log is %s", got)
	}
	var workers, extensions []int
	r.await("a worker with an extension", func() bool {
		if workers = children(r.cmd.Process.Pid); len(workers) == 1 {
			extensions = children(workers[0])
		}
		return len(extensions) == 1
	})
	syscall.Kill(workers[0], syscall.SIGKILL)
	r.await("the end of the extension", func() bool { return ended(extensions[0]) })
	before := strings.Count(r.read("osqueryd.snapshots.log"), row)
	r.await("results of the next worker", func() bool { return strings.Count(r.read("osqueryd.snapshots.log"), row) > before })
	if got := r.read("osqueryd.ERROR"); strings.Contains(got, "no such table") {
		t.Errorf("errors are %s", got)
	}
}

// An extension that comes by itself, later, and that nobody requires.
func TestDaemonExtensionComesLater(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "em")
	r := startDaemon(t, planetsQuery, "--extensions_autoload=", "--extensions_socket", socket, "--extensions_require=nobody", "--extensions_timeout=1")
	r.await("a query that fails", func() bool { return strings.Contains(r.read("osqueryd.ERROR"), "no such table: planets") })
	if got := r.read("osqueryd.WARNING"); !strings.Contains(got, "Required extension not found or not loaded: nobody") {
		t.Errorf("warnings are %s", got)
	}
	planets := exec.Command("planets.ext", "--socket", socket, "--timeout=20")
	if err := planets.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { planets.Process.Kill(); planets.Wait() }()
	r.await("a result", func() bool { return strings.Contains(r.read("osqueryd.snapshots.log"), `"name":"Mars"`) })
	planets.Process.Kill()
	failed := strings.Count(r.read("osqueryd.ERROR"), "\n")
	r.await("errors after the extension has gone", func() bool { return strings.Count(r.read("osqueryd.ERROR"), "\n") > failed })
}

// Other daemons, the shell and extensions find the socket beside the state.
func TestDaemonSocket(t *testing.T) {
	r := startDaemon(t, `{"options": {"extensions_socket": "/nonexistent/em"}}`, "--disable_watchdog", "--extensions_require=planets")
	r.await("the start", func() bool { return strings.Contains(r.read("osqueryd.INFO"), "The schedule begins") })
	out, err := exec.Command("sockql", "--connect", r.path("sockql.em"), "--list", "--noheader", "SELECT name FROM planets WHERE moons = 2").CombinedOutput()
	if err != nil || string(out) != "Mars\n" {
		t.Errorf("the shell gets %q, %v", out, err)
	}
	if got := r.read("osqueryd.WARNING"); !strings.Contains(got, `the option "extensions_socket" is ignored; give it on the command line`) {
		t.Errorf("warnings are %s", got)
	}
}

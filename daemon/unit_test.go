package daemon

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// holdEnv makes the test binary a process that holds sockets.
const holdEnv = "SOCKQL_TEST_HOLD"

// TestHold is what TestUnitCapabilities looks at.
func TestHold(t *testing.T) {
	if os.Getenv(holdEnv) == "" {
		t.Skip("TestUnitCapabilities runs it")
	}
	tcp, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	unix, err := net.Listen("unix", fmt.Sprintf("@sockql-test-%d", os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close()
	fmt.Println("holding")
	os.Stdin.Read(make([]byte, 1)) // until the other end is closed
}

func hold(t *testing.T, attr *syscall.SysProcAttr) int {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestHold$")
	cmd.Env = append(os.Environ(), holdEnv+"=1")
	cmd.SysProcAttr = attr
	cmd.Dir = "/"
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Skipf("cannot start a process of another user and namespace: %v", err)
	}
	t.Cleanup(func() { in.Close(); cmd.Wait() })
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if lines.Text() == "holding" {
			return cmd.Process.Pid
		}
	}
	t.Fatal("the process holds no sockets")
	return 0
}

// The capabilities of the unit, and no others, show what root sees: sockets of
// another user, also in another network namespace.
func TestUnitCapabilities(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	setpriv, err := exec.LookPath("setpriv")
	if err != nil {
		t.Skip(err)
	}
	text, err := os.ReadFile("sockql.service")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^CapabilityBoundingSet=(.*)$`).FindSubmatch(text)
	if m == nil {
		t.Fatal("the unit bounds no capabilities")
	}
	caps := "-all"
	for name := range strings.FieldsSeq(string(m[1])) {
		caps += ",+" + strings.ToLower(strings.TrimPrefix(name, "CAP_"))
	}
	nobody := &syscall.Credential{Uid: 65534, Gid: 65534}
	pids := fmt.Sprintf("%d, %d", hold(t, &syscall.SysProcAttr{Credential: nobody}),
		hold(t, &syscall.SysProcAttr{Credential: nobody, Cloneflags: syscall.CLONE_NEWNET}))
	const columns = "pid, fd, socket, family, protocol, local_port, path, state, net_namespace"
	config := fmt.Sprintf(`{"schedule": {"q": {"query": "select %s from process_open_sockets where pid in (%s) order by pid, fd", "snapshot": true},
		"all": {"query": "select %s from process_open_sockets where local_port in (select port from listening_ports where pid in (%s)) and local_port > 0 order by pid, fd", "snapshot": true}}}`,
		columns, pids, columns, pids)
	var seen [2]string
	for i, wrap := range [][]string{nil, {setpriv, "--no-new-privs", "--bounding-set", caps, "--inh-caps", "-all"}} {
		h := newSite(t, config)
		cmd := h.command("--once", "--ephemeral", "--logger_plugin=stdout", "--logger_min_status=3")
		if wrap != nil {
			cmd.Path, cmd.Args = wrap[0], append(wrap, cmd.Args...)
		}
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v: %s", err, err.(*exec.ExitError).Stderr)
		}
		for line := range strings.Lines(string(out)) {
			rows, _, _ := strings.Cut(line, `,"action":"snapshot"`)
			seen[i] += rows + "\n"
		}
	}
	// Two sockets for each process, and the listening ones once more.
	if n := strings.Count(seen[0], `"family":`); n < 6 {
		t.Errorf("root sees %d rows: %s", n, seen[0])
	}
	if seen[0] != seen[1] {
		t.Errorf("root sees\n%sthe unit sees\n%s", seen[0], seen[1])
	}
}

func TestUnitVerifies(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip(err)
	}
	text, err := os.ReadFile("sockql.service")
	if err != nil {
		t.Fatal(err)
	}
	// The command is not installed where the tests run.
	h := newSite(t, "")
	h.write("sockql.service", strings.ReplaceAll(string(text), "/usr/local/bin/sockql", os.Args[0]))
	out, err := exec.Command(analyze, "verify", "--man=no", h.path("sockql.service")).CombinedOutput()
	if err != nil || strings.Contains(string(out), "sockql.service") {
		t.Errorf("%v\n%s", err, out)
	}
}

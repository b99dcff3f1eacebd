package main

import (
	"os/exec"
	"strings"
	"testing"

	"sockql/fixtures"
)

// output runs the command and returns what it printed to standard output.
func output(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("sockql", args...).Output()
	if err != nil {
		t.Fatalf("sockql %q: %v", args, err)
	}
	return string(out)
}

// TestRecordedProc asks a recorded procfs from the command line to the kernel's
// text and back.
func TestRecordedProc(t *testing.T) {
	proc := fixtures.Unpack(t, "bash")
	got := output(t, "--proc", proc, "--csv", "--noheader", "--separator", ",", "SELECT * FROM process_open_sockets WHERE pid=14960")
	if want := "14960,2,307410,2,6,192.168.2.156,192.168.2.145,51118,8888,\"\",ESTABLISHED,4026531956\n"; got != want {
		t.Errorf("got  %swant %s", got, want)
	}
	if got := output(t, "--proc="+proc, "ps", "14960", "--line"); !strings.Contains(got, "remote_address = 192.168.2.145\n") {
		t.Errorf("ps 14960 prints\n%s", got)
	}
	if got := output(t, "--proc="+proc, "who", "8888"); !strings.Contains(got, "192.168.2.156:51118") {
		t.Errorf("who 8888 prints\n%s", got)
	}
}

// TestQuestionsRun asks every ready question of this host: what it answers is
// its own business, that it can is not.
func TestQuestionsRun(t *testing.T) {
	for _, args := range [][]string{{"listen"}, {"conns"}, {"top"}, {"who", "1"}, {"ps", "1"}} {
		shown := output(t, append(args, "--sql")...)
		if !strings.HasPrefix(shown, "SELECT ") || !strings.HasSuffix(shown, ";\n") {
			t.Errorf("%q shows %q", args, shown)
		}
		output(t, append(args, "--jsonl")...)
	}
}

func TestUnreadableProc(t *testing.T) {
	out, err := exec.Command("sockql", "--proc", t.TempDir()+"/none", "select 1").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "sockql: --proc: ") || !strings.Contains(string(out), "no such file") {
		t.Errorf("got %v and %q", err, out)
	}
}

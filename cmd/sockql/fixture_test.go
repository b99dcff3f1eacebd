package main

import (
	"encoding/json"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

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

// TestExplainRecorded explains a join over a recorded host, whose rows the
// statement itself counts.
func TestExplainRecorded(t *testing.T) {
	proc := fixtures.Unpack(t, "bash")
	const sql = "SELECT p.pid FROM processes p CROSS JOIN process_open_sockets s USING (pid) WHERE s.family = 2 AND s.local_port + 0 > 0"
	count := func(sql string) int64 {
		n, err := strconv.ParseInt(strings.TrimSpace(output(t, "--proc", proc, "--list", "--noheader", sql)), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	processes := count("SELECT count(*) FROM processes")
	rows := count("SELECT count(*) FROM (" + sql + ")")
	type step struct {
		Kind, Table, Pushed, Checked, Source string
		Scans, Rows, Kept                    int64
	}
	var got []step
	for line := range strings.Lines(output(t, "--proc", proc, "--jsonl", "--typed", "--explain", sql)) {
		var s step
		if err := json.Unmarshal([]byte(line), &s); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		got = append(got, s)
	}
	if len(got) != 4 || rows == 0 || processes < 2 {
		t.Fatalf("%d processes, %d rows, explained by %+v", processes, rows, got)
	}
	want := []step{
		{Kind: "scan", Table: "processes", Scans: 1, Rows: processes, Kept: processes},
		{Kind: "scan", Table: "process_open_sockets", Pushed: "pid = ? AND family = 2", Checked: "s.local_port + 0 > 0", Scans: processes, Rows: got[1].Rows, Kept: rows},
		{Kind: "sqlite"},
		{Kind: "total", Rows: rows},
	}
	for i := range got {
		got[i].Source = "" // the recording has the answers of several
		if i == 1 {
			terms := strings.Split(got[i].Pushed, " AND ")
			slices.Sort(terms)
			slices.Reverse(terms)
			got[i].Pushed = strings.Join(terms, " AND ")
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want- got+\n%s", diff)
	}
	if text := output(t, "--proc", proc, "--explain", sql); !strings.Contains(text, "\n2    process_open_sockets s") || !strings.Contains(text, "\n1  processes p ") {
		t.Errorf("it reads\n%s", text)
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

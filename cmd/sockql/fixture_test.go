package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
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

// TestJoinsCollectOnce joins both ways round, and holds what is read of the
// sockets to the first look-ups and a pass or two.
func TestJoinsCollectOnce(t *testing.T) {
	proc := fixtures.Unpack(t, "bash")
	// More processes that share a socket, so that look-ups add up.
	const more = 200
	for pid := 20000; pid < 20000+more; pid++ {
		name := strconv.Itoa(pid)
		dir := filepath.Join(proc, name)
		if out, err := exec.Command("cp", "-a", filepath.Join(proc, "14960"), dir).CombinedOutput(); err != nil {
			t.Skipf("cp: %v: %s", err, out)
		}
		if err := os.Rename(filepath.Join(dir, "task", "14960"), filepath.Join(dir, "task", name)); err != nil {
			t.Fatal(err)
		}
		for _, file := range []string{"status", "stat"} {
			text, err := os.ReadFile(filepath.Join(dir, file))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, file), bytes.ReplaceAll(text, []byte("14960"), []byte(name)), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for sql, want := range map[string]int64{ // rows
		"SELECT s.fd FROM processes p JOIN process_open_sockets s USING (pid)":                              more + 6,
		"SELECT s.fd FROM processes p CROSS JOIN process_open_sockets s USING (pid)":                        more + 6,
		"SELECT s.fd FROM process_open_sockets s CROSS JOIN processes p USING (pid)":                        more + 6,
		"SELECT s.fd FROM processes p CROSS JOIN socket_states s USING (pid)":                               more + 6,
		"SELECT s.port FROM processes p CROSS JOIN listening_ports s USING (pid)":                           4,
		"SELECT s.port FROM listening_ports s JOIN processes p USING (pid)":                                 4,
		"SELECT s.fd FROM processes p LEFT JOIN socket_states s USING (pid) WHERE s.pid IS NOT NULL":        more + 6,
		"SELECT fd FROM process_open_sockets WHERE pid IN (SELECT pid FROM processes)":                      more + 6,
		"SELECT pid FROM processes WHERE pid IN (SELECT pid FROM socket_states)":                            more + 3,
		"SELECT (SELECT count(*) FROM process_open_sockets s WHERE s.pid = p.pid) FROM processes p":         more + 3,
		"SELECT a.fd FROM socket_states a CROSS JOIN socket_states b USING (socket) WHERE a.socket = 17011": 1,
	} {
		var total int64
		for line := range strings.Lines(output(t, "--proc", proc, "--jsonl", "--typed", "--explain", sql)) {
			var s struct {
				Kind, Table, Reached           string
				Scans, Copied, Snapshots, Rows int64
			}
			if err := json.Unmarshal([]byte(line), &s); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			if s.Kind == "total" {
				total = s.Rows
			}
			// A look-up by pid reads the descriptors of that process, and what
			// was kept is not read again.
			if reads := s.Scans - s.Copied - s.Snapshots; s.Kind == "scan" && s.Table != "processes" && s.Reached != "pid" && reads > 10 {
				t.Errorf("%s: %d of %d scans of %s read sockets", sql, reads, s.Scans, s.Table)
			}
		}
		if total != want {
			t.Errorf("%s: %d rows, want %d", sql, total, want)
		}
	}
}

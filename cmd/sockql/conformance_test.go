package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A recorded invocation of osqueryi 5.23.0.
type recorded struct {
	Args   []string `json:"args"`
	Stdin  *string  `json:"stdin"`
	Stdout string   `json:"stdout"`
	Stderr string   `json:"stderr"`
	Exit   int      `json:"exit"`
}

// A difference is deliberate: what sockql prints instead of what was recorded,
// and why.
type difference struct {
	reason         string
	stdout, stderr string // regular expressions for the whole of it
	exit           int
}

// differences are told by the text that identifies a line: its argument, or
// its standard input.
var differences = map[string]difference{
	"select sqlite_version() as v": {
		reason: "the version of SQLite is our own",
		stdout: `\[\n  {"v":"3\.[0-9.]+"}\n\]\n`,
	},
	".version\n": {
		reason: "the versions are our own",
		stdout: `sockql .+\nusing SQLite 3\.[0-9.]+\n`,
	},
	"drop table time": {
		reason: "a table without CREATE cannot be dropped; in osqueryi it would be gone until the process ends",
		stdout: `\[\n\n\]\n`, stderr: `Error: .+\n`, exit: 1,
	},
	"explain select 1": {
		reason: "our SQLite is built without EXPLAIN's comments",
		stdout: `(?s)\[\n  {"addr":"0","comment":"","opcode":"Init",.+"Goto",.+}\n\]\n`,
	},
	"select community_id_v1('bad','5.6.7.8',1,2,6) as v": {
		reason: "what makes a value NULL is said on standard error",
		stdout: `\[\n  {"v":""}\n\]\n`, stderr: `Warning: .+\n`,
	},
	".tables etc\n": {
		reason: "etc_protocols is a table here as well",
		stdout: `  => etc_hosts\n  => etc_protocols\n  => etc_services\n`,
	},
	".schema process_open\n": {
		reason: "process_open_sockets has two hidden columns more",
		stdout: "CREATE TABLE process_open_files\\(.+\nCREATE TABLE process_open_pipes\\(.+\n" +
			"CREATE TABLE process_open_sockets\\(.+, `net_namespace` TEXT, `pid_reason` TEXT HIDDEN, `is_listener` INTEGER HIDDEN, PRIMARY KEY \\(`pid`, .+, `net_namespace`\\)\\) WITHOUT ROWID;\n",
	},
	".connect /nonexistent.sock\n": {
		reason: "there is no osqueryd to connect to; osqueryi reports a connection to a socket that does not exist",
		stderr: `Error: cannot connect to "/nonexistent.sock": .+\n`, exit: 1,
	},
}

func TestConformance(t *testing.T) {
	f, err := os.Open("../../shell/testdata/osqueryi-5.23.0.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	passed, differ := 0, 0
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		if n%everyNth != 0 {
			continue
		}
		var r recorded
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Fatalf("line %d: %v", n, err)
		}
		input := strings.Join(r.Args, " ")
		key := r.Args
		if r.Stdin != nil {
			input += *r.Stdin
			key = []string{*r.Stdin}
		}
		d, ok := differences[key[len(key)-1]]
		if ok {
			differ++
		}
		t.Run(fmt.Sprintf("line %d", n), func(t *testing.T) {
			stdout, stderr, exit := invoke(t, r)
			if ok {
				for _, c := range [][3]string{{"standard output", d.stdout, stdout}, {"standard error", d.stderr, stderr}} {
					if !regexp.MustCompile(`^(?:` + c[1] + `)$`).MatchString(c[2]) {
						t.Errorf("%q: %s is %q, the deliberate difference is %q", input, c[0], c[2], c[1])
					}
				}
				if exit != d.exit {
					t.Errorf("%q: exit status is %d, the deliberate difference is %d", input, exit, d.exit)
				}
				return
			}
			want := fmt.Sprintf("exit %d\n%s\n---\n%s", r.Exit, r.Stdout, r.Stderr)
			if diff := cmp.Diff(want, fmt.Sprintf("exit %d\n%s\n---\n%s", exit, stdout, stderr)); diff != "" {
				t.Errorf("%q: want- got+\n%s", input, diff)
				return
			}
			passed++
		})
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	if everyNth == 1 && differ != len(differences) {
		t.Errorf("%d differences are listed, %d were met", len(differences), differ)
	}
	fmt.Printf("osqueryi's transcript: %d lines equal, %d differ on purpose\n", passed, differ)
}

// invoke runs the command as the recording did.
func invoke(t *testing.T, r recorded) (stdout, stderr string, exit int) {
	t.Helper()
	cmd := exec.Command("osqueryi", r.Args...)
	if r.Stdin != nil {
		cmd.Stdin = strings.NewReader(*r.Stdin)
	}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var status *exec.ExitError
	if err != nil && !errors.As(err, &status) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

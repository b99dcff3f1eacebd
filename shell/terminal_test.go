package shell_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
)

// patience is how long a test waits for what must come. Nothing is asserted
// about time.
const patience = 20 * time.Second

// A session is the command on a pseudo-terminal.
type session struct {
	t   *testing.T
	cmd *exec.Cmd
	tty *os.File

	mu   sync.Mutex
	out  []byte
	seen int // what earlier expectations have used up
	more chan struct{}
	done chan struct{}
}

// open starts the command on a terminal of 24 lines and 100 columns.
func open(t *testing.T, home string, env []string, args ...string) *session {
	t.Helper()
	cmd := exec.Command("sockql", args...)
	cmd.Env = append([]string{"HOME=" + home, "TERM=xterm-256color", "PATH=" + os.Getenv("PATH")}, env...)
	tty, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 100})
	if err != nil {
		t.Skipf("no pseudo-terminal: %v", err)
	}
	s := &session{t: t, cmd: cmd, tty: tty, more: make(chan struct{}, 1), done: make(chan struct{})}
	go s.read()
	t.Cleanup(func() {
		cmd.Process.Kill()
		tty.Close()
		<-s.done
	})
	return s
}

func (s *session) read() {
	defer close(s.done)
	buf := make([]byte, 4096)
	for {
		n, err := s.tty.Read(buf)
		s.mu.Lock()
		s.out = append(s.out, buf[:n]...)
		s.mu.Unlock()
		select {
		case s.more <- struct{}{}:
		default:
		}
		if err != nil {
			return
		}
	}
}

func (s *session) send(keys string) {
	s.t.Helper()
	if _, err := io.WriteString(s.tty, keys); err != nil {
		s.t.Fatal(err)
	}
}

// expect waits until the output that no earlier expectation has used matches a
// pattern, and returns the match.
func (s *session) expect(pattern string) string {
	s.t.Helper()
	re := regexp.MustCompile(pattern)
	deadline := time.After(patience)
	for {
		s.mu.Lock()
		at := re.FindIndex(s.out[s.seen:])
		rest := string(s.out[s.seen:])
		if at != nil {
			match := rest[at[0]:at[1]]
			s.seen += at[1]
			s.mu.Unlock()
			return match
		}
		s.mu.Unlock()
		select {
		case <-s.more:
		case <-s.done:
			s.mu.Lock()
			found := re.Match(s.out[s.seen:])
			s.mu.Unlock()
			if found {
				continue
			}
			s.t.Fatalf("the command ended without %q; it wrote %q", pattern, rest)
		case <-deadline:
			s.t.Fatalf("no %q in %q", pattern, rest)
		}
	}
}

// status waits for the end of the command.
func (s *session) status() int {
	s.t.Helper()
	stuck := time.AfterFunc(patience, func() { s.cmd.Process.Kill() })
	defer stuck.Stop()
	err := s.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatal(err)
	}
	<-s.done
	return s.cmd.ProcessState.ExitCode()
}

func (s *session) output() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.out)
}

// prompt matches a prompt that waits for a new line: the editor draws it anew
// with each key, but moves back over a blank only where there is no text yet.
const prompt = `sockql> (\x1b\[0m)? \x08`

func TestPrompt(t *testing.T) {
	home := t.TempDir()
	s := open(t, home, nil)
	s.expect(`Using a .*virtual database.*Need help, type '\.help'`)
	s.expect(prompt)

	s.send("select 6 * 7 as answer;\r")
	s.expect(`\| \x1b\[1manswer\x1b\[0m \|`)
	s.expect(`\| 42     \|`)
	s.expect(prompt)

	s.send("select\r")
	s.expect(`   \.\.\.> `)
	s.send("'two' || ';' as lines;\r")
	s.expect(`two; `)
	s.expect(prompt)

	// Ctrl-C drops what was begun.
	s.send("select nonsense\r")
	s.expect(`\.\.\.> `)
	s.send("\x03")
	s.expect(prompt)
	s.send("select 'clean' as state;\r")
	s.expect(`\| clean \|`)
	s.expect(prompt)

	// Ctrl-Z stops the shell where somebody can wake it, which is not here, and
	// loses nothing of the line.
	s.send("select 'a' || \x1a 'z' as suspended;\r")
	s.expect(`\| az        \|`)
	s.expect(prompt)

	// An error ends neither the shell nor its good name.
	s.send("select * from peple;\r")
	s.expect(`Error: no such table: peple`)
	s.expect(`Did you mean people\?`)
	s.expect(prompt)
	for keys, want := range map[string]string{
		".tabels":                `Did you mean \.tables\?`,
		".echo":                  `Usage: \.echo ON\|OFF`,
		".mode nosuch":           `mode should be one of: aligned .*; got "nosuch"`,
		"select * from nowhere;": `\.tables lists the tables`,
		"select x from people;":  `\.describe people shows the columns`,
		"select * from keyed;":   `Add a condition such as WHERE n = `,
	} {
		s.send(keys + "\r")
		s.expect(want)
		s.expect(prompt)
	}
	s.send("\x04")
	if got := s.status(); got != 0 {
		t.Errorf("exit status after Ctrl-D is %d", got)
	}
}

func TestTerminalEscapes(t *testing.T) {
	s := open(t, t.TempDir(), nil)
	s.expect(prompt)
	for _, mode := range []string{"pretty", "csv", "list", "line", "column", "tsv", "markdown", "expanded", "aligned", "json", "jsonl"} {
		s.send(".mode " + mode + "\r")
		s.expect(prompt)
		s.send("select name, note from people where id = 3;\r")
		s.expect(`(?i)Eve(\\x1b|\\u001b)\\?\[31m`)
		s.expect(prompt)
	}
	if strings.Contains(s.output(), "Eve\x1b") {
		t.Error("an escape sequence of the data reached the terminal")
	}
}

func TestInterrupt(t *testing.T) {
	s := open(t, t.TempDir(), nil)
	s.expect(prompt)
	for _, endless := range []string{
		"select count(*) from endless;\r", // stops within the table
		"with recursive r(n) as (select 1 union all select n + 1 from r) select count(*) from r;\r", // within SQLite
	} {
		s.send(endless)
		s.expect(`\d+\.\d s, 0 rows`) // it runs, and says so
		s.send("\x03")
		s.expect(`Error: interrupted`)
		s.expect(prompt)
	}
	s.send("select 'alive' as state;\r")
	s.expect(`\| alive \|`)
}

func TestInterruptOneShot(t *testing.T) {
	s := open(t, t.TempDir(), nil, "select count(*) from endless")
	s.expect(`\d+\.\d s, 0 rows`)
	s.send("\x03")
	if got := s.status(); got != 130 {
		t.Errorf("exit status after Ctrl-C is %d, want 130", got)
	}
}

func TestCompletion(t *testing.T) {
	s := open(t, t.TempDir(), nil)
	s.expect(prompt)
	for _, c := range []struct{ keys, want string }{
		{"select count(*) as n from peo\t;\r", `\| 3 \|`},                                      // a table
		{"select 'it is ' || name as x from people where nam\t = 'Ada';\r", `\| it is Ada \|`}, // a column of the statement's table
		{"from people q where q.id = 2;\x01select q.i\t \r", `\| 2  \|`},                       // with the table after the cursor
		{"select n.x from people q join pets n on n.\t = q.i\t;\r", `no such column: n\.x`},    // through aliases
		{"select from_b\t'QWRh') as x;\r", `\| Ada \|`},                                        // a function
		{"SEL\t 'key' || 'word' as x;\r", `\| keyword \|`},                                     // a keyword, as it was begun
		{".mod\t jsonl\r", ``}, // a dot command
		{"select 1 as mode;\r", `\{"mode":"1"\}`},
		{".mode pre\t\r", ``}, // a mode
		{"select 'back' as x;\r", `\| back \|`},
		{".descr\t pet\t\r", `pets — Pets of people`},                               // a table after a dot command
		{".headers of\t\r", ``}, {".mode csv\r", ``}, {"select 5;\r", `[\nl]5\r\n`}, // on and off
		{".mode pretty\r", ``},
	} {
		s.send(c.keys)
		s.expect(c.want)
		s.expect(prompt)
	}
	// Several candidates are listed.
	s.send("select * from p\t\t")
	s.expect(`partial +people +pets +processes`)
}

func TestHistory(t *testing.T) {
	home := t.TempDir()
	s := open(t, home, nil)
	s.expect(prompt)
	for _, line := range []string{"select 1 as first;", "select\r2 as second;", "select 1 as first;", ".nullvalue x"} {
		s.send(line + "\r")
		s.expect(prompt)
	}
	s.send("\x04")
	s.status()
	text, err := os.ReadFile(filepath.Join(home, ".local/state/sockql/history"))
	if err != nil {
		t.Fatal(err)
	}
	want := "select 2 as second;\nselect 1 as first;\n.nullvalue x\n"
	if string(text) != want {
		t.Errorf("history is %q, want %q", text, want)
	}
	info, err := os.Stat(filepath.Join(home, ".local/state/sockql/history"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("history has mode %v, %v", info.Mode(), err)
	}

	s = open(t, home, nil)
	s.expect(prompt)
	s.send("\x1b[A\x1b[A\r") // twice up
	s.expect(`\| 1     \|`)
	s.expect(prompt)
	s.send("\x12second\r") // Ctrl-R
	s.expect(`\| 2      \|`)
}

func TestHistoryOutOfReach(t *testing.T) {
	home := t.TempDir()
	if err := os.WriteFile(filepath.Join(home, ".local"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, home, nil)
	s.expect(`Warning: history: .*not kept`)
	s.expect(prompt)
	s.send("select 'works' as x;\r")
	s.expect(`\| works \|`)
	s.expect(prompt)
	s.send(".quit\r")
	if got := s.status(); got != 0 {
		t.Errorf("exit status is %d", got)
	}
	if n := strings.Count(s.output(), "Warning"); n != 1 {
		t.Errorf("%d warnings, want one", n)
	}
}

func TestStartFile(t *testing.T) {
	home := t.TempDir()
	path := filepath.Join(home, ".config/sockql/rc")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(".nullvalue unset\n.mode list\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, home, nil)
	s.expect(prompt)
	s.send("select null as x;\r")
	s.expect(`\r\nunset\r\n`)
	s.expect(prompt)
	s.send("\x04")
	s.status()

	// Only at a prompt.
	cmd := exec.Command("sockql", "select null as x")
	cmd.Env = append(os.Environ(), "HOME="+home)
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Contains(string(out), "unset") {
		t.Errorf("a script got %q, %v", out, err)
	}

	if err := os.Chmod(path, 0o622); err != nil {
		t.Fatal(err)
	}
	s = open(t, home, nil)
	s.expect(`Warning: .*rc not run: its mode 0622 lets others write it`)
	s.expect(prompt)
	s.send("select 'default' as x;\r")
	s.expect(`\| default \|`)
	s.expect(prompt)
	s.send("\x04")
	s.status()

	s = open(t, home, nil, "--norc")
	s.expect(prompt)
	if strings.Contains(s.output(), "Warning") {
		t.Error("--norc looked at the file")
	}
	if os.Geteuid() == 0 {
		if err := errors.Join(os.Chmod(path, 0o600), os.Chown(path, 65534, -1)); err != nil {
			t.Fatal(err)
		}
		s = open(t, home, nil)
		s.expect(`rc not run: it belongs to uid 65534`)
	}
}

func TestColours(t *testing.T) {
	for _, c := range []struct {
		name string
		env  []string
		args []string
		want bool
	}{
		{name: "by default", want: true},
		{name: "with NO_COLOR", env: []string{"NO_COLOR=1"}},
		{name: "with --color=never", args: []string{"--color=never"}},
		{name: "with --color=always", env: []string{"NO_COLOR=1"}, args: []string{"--color=always"}, want: true},
	} {
		s := open(t, t.TempDir(), c.env, append(c.args, "select 1 as header")...)
		s.expect(`header`)
		s.status()
		if got := strings.Contains(s.output(), "\x1b[1mheader"); got != c.want {
			t.Errorf("%s: colours are %v: %q", c.name, got, s.output())
		}
	}
	out, err := exec.Command("sockql", "--color=always", "select 1 as header").Output()
	if err != nil || !bytes.Contains(out, []byte("\x1b[1mheader")) {
		t.Errorf("a pipe with --color=always got %q, %v", out, err)
	}
	out, err = exec.Command("sockql", "select 1 as header").Output()
	if err != nil || bytes.Contains(out, []byte("\x1b")) {
		t.Errorf("a pipe got %q, %v", out, err)
	}
}

func TestPager(t *testing.T) {
	const long = "select a.n from pets a, pets b, pets c, pets d"
	s := open(t, t.TempDir(), []string{"SOCKQL_PAGER=sed s/^/paged:/"}, "--list", long)
	s.expect(`paged:n\r\n(paged:\d\r\n){81}`)
	if got := s.status(); got != 0 {
		t.Errorf("exit status is %d", got)
	}
	s = open(t, t.TempDir(), []string{"SOCKQL_PAGER=sed s/^/paged:/"}, "--list", "select 1 as short")
	s.expect(`short\r\n1\r\n`)
	s.status()
	if strings.Contains(s.output(), "paged") {
		t.Error("a short result went through the pager")
	}
	// One that leaves early, and one that is not there.
	s = open(t, t.TempDir(), []string{"SOCKQL_PAGER=head -n 2"}, "--list", long+", pets e, pets f, pets g, pets h, pets i, pets j")
	s.expect(`n\r\n1\r\n`)
	if got := s.status(); got != 0 || strings.Contains(s.output(), "rror") {
		t.Errorf("a pager that leaves: exit status %d, %q", got, s.output())
	}
	s = open(t, t.TempDir(), []string{"SOCKQL_PAGER=/nonexistent/pager"}, "--list", long)
	s.expect(`n\r\n(\d\r\n){81}`)
	s.status()
	s = open(t, t.TempDir(), []string{"SOCKQL_PAGER=sed s/^/paged:/"}, "--nopager", "--list", long)
	s.expect(`n\r\n(\d\r\n){81}`)
	s.status()
	if strings.Contains(s.output(), "paged") {
		t.Error("--nopager does not turn the pager off")
	}
}

func TestWideRows(t *testing.T) {
	const wide = "select hex(zeroblob(30)) as a, hex(zeroblob(30)) as b"
	s := open(t, t.TempDir(), []string{"NO_COLOR=1"}, wide)
	s.expect(`-\[ 1 \]-+\r\na \| 0+\r\nb \| 0+\r\n`)
	s.status()
	s = open(t, t.TempDir(), []string{"NO_COLOR=1"}, "--noauto_expand", wide)
	s.expect(`\| a +\| b +\|`)
	s.status()
}

func TestLiveView(t *testing.T) {
	file := filepath.Join(t.TempDir(), "lines")
	write := func(text string) {
		t.Helper()
		if err := errors.Join(os.WriteFile(file+"~", []byte(text), 0o600), os.Rename(file+"~", file)); err != nil {
			t.Fatal(err)
		}
	}
	write("one\ntwo\n")
	s := open(t, t.TempDir(), []string{"LINES_FILE=" + file, "NO_COLOR=1"})
	s.expect(prompt)
	s.send(".watch 100ms select line, 'a text that is rather long' as more from lines\r")
	s.expect(`\x1b\[\?1049h`)
	s.expect(`2 rows, 0 new, 0 gone`)
	s.expect(`(?s)\r\n  line.*\r\n  one .*\r\n  two `)
	write("two\nthree\x1b[31m\n")
	s.expect(`2 rows, 1 new, 1 gone`)
	s.expect(`(?s)\r\n- one .*\r\n  two .*\r\n\+ three\\x1b\[31m`)
	s.expect(`(?s)2 rows, 0 new, 0 gone.*\r\n  two .*\r\n  three`)

	// A smaller window is redrawn at once and clipped.
	if err := pty.Setsize(s.tty, &pty.Winsize{Rows: 4, Cols: 20}); err != nil {
		t.Fatal(err)
	}
	s.expect(`\r\n  three\\x1b\[31m  a …\x1b\[K`)
	write("1\n2\n3\n4\n5\n")
	s.expect(`… \d more rows`)
	if err := pty.Setsize(s.tty, &pty.Winsize{Rows: 24, Cols: 100}); err != nil {
		t.Fatal(err)
	}
	s.expect(`rather long\x1b\[K`)
	// A failure in between is shown, and the view goes on.
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	s.expect(`no such file or directory`)
	write("again\n")
	s.expect(`\+ again`)

	s.send("\x03")
	s.expect(`\x1b\[\?1049l`)
	s.expect(`again`) // the last view stays
	s.expect(prompt)
	s.send("select 'alive' as state;\r")
	s.expect(`\| alive \|`)
}

func TestWatchStream(t *testing.T) {
	file := filepath.Join(t.TempDir(), "lines")
	if err := os.WriteFile(file, []byte("one\ntwo\ntwo\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sockql", "--watch", "100ms", "select line from lines")
	cmd.Env = append(os.Environ(), "LINES_FILE="+file)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	lines := bufio.NewScanner(out)
	next := func() (change string) {
		t.Helper()
		if !lines.Scan() {
			t.Fatalf("the stream ended: %v", lines.Err())
		}
		var c struct {
			Action   string
			UnixTime int64
			Columns  map[string]string
		}
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			t.Fatalf("%q: %v", lines.Text(), err)
		}
		if c.UnixTime == 0 {
			t.Errorf("%q has no time", lines.Text())
		}
		return c.Action + " " + c.Columns["line"]
	}
	for _, want := range []string{"added one", "added two", "added two"} {
		if got := next(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if err := errors.Join(os.WriteFile(file+"~", []byte("two\nthree\n"), 0o600), os.Rename(file+"~", file)); err != nil {
		t.Fatal(err)
	}
	got := []string{next(), next(), next()}
	slices.Sort(got)
	if want := []string{"added three", "removed one", "removed two"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if lines.Scan() {
		t.Errorf("unexpected %q", lines.Text())
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("Ctrl-C ends a live view with %v", err)
	}
}

func TestTerminate(t *testing.T) {
	s := open(t, t.TempDir(), nil)
	s.expect(prompt)
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got := s.status(); got != 143 {
		t.Errorf("exit status after SIGTERM is %d, want 143", got)
	}
}

// TestTerminateWhileReading ends the command while it waits for a pipe that
// nobody closes.
func TestTerminateWhileReading(t *testing.T) {
	cmd := exec.Command("sockql", "--list", "--noheader")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	if _, err := io.WriteString(in, "select 7;\nselect 8"); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	if line, err := lines.ReadString('\n'); line != "7\n" {
		t.Fatalf("it wrote %q, %v", line, err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(lines); len(rest) > 0 || err != nil {
		t.Errorf("after the signal it wrote %q, %v", rest, err)
	}
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 130 {
		t.Errorf("it ended with %v, want status 130", err)
	}
}

func TestDumbTerminal(t *testing.T) {
	const prompt = `sockql> `
	s := open(t, t.TempDir(), []string{"TERM=dumb"}, "--list", "--noheader")
	s.expect(`type '\.help'\r\n` + prompt)
	s.send("select name from people\n")
	s.expect(`   \.\.\.> `)
	s.send("where id = 1;\n")
	s.expect(`Ada\r\n`)
	s.expect(prompt)
	s.send("select 'half\n")
	s.expect(`   \.\.\.> `)
	s.send("\x03") // drops it
	s.expect(prompt)
	s.send("select n from endless;\n")
	s.expect(`\r\n5\r\n`)
	s.send("\x03") // stops it
	s.expect(`Error: interrupted`)
	s.expect(prompt)
	s.send("select 6*7;\n")
	s.expect(`42\r\n`)
	s.send("\x04")
	if got := s.status(); got != 0 {
		t.Errorf("exit status %d", got)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if bytes.Contains(s.out, []byte{0x1b}) {
		t.Errorf("control sequences in %q", s.out)
	}
}

// TestPaste pastes a statement of several lines with tabs and control
// characters in it, as a terminal does that marks what is pasted.
func TestPaste(t *testing.T) {
	s := open(t, t.TempDir(), nil)
	s.expect(`\x1b\[\?2004h`)
	s.expect(prompt)
	s.send("\x1b[200~select\tname,\r\n\t'a\x03b' as pasted\r\nfrom\tpeople where id\t= 1;\r\n\x1b[201~")
	s.expect(`\| Ada\S*\s+\| ab `)
	s.expect(prompt)
	s.send("select n from pe\t") // typed, a tab still completes
	s.expect(`pets `)
}

package shell

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"

	"golang.org/x/term"

	"sockql/engine"
)

// terminal is what the shell knows of the terminal it may have.
type terminal struct {
	in, out, err bool // standard input, output and error are terminals
	color        bool
	dumb         bool // it knows no control sequences
	fd           int  // of the one that results go to
}

func findTerminal(c *Config, f *flags) terminal {
	t := terminal{in: isTerminal(c.Stdin), out: isTerminal(c.Stdout), err: isTerminal(c.Stderr), dumb: c.Getenv("TERM") == "dumb"}
	if t.out {
		t.fd = int(c.Stdout.Fd())
	}
	switch f.string("color") {
	case "always":
		t.color = true
	case "auto": // https://no-color.org
		t.color = t.out && c.Getenv("NO_COLOR") == "" && !t.dumb
	}
	return t
}

func isTerminal(f *os.File) bool { return f != nil && term.IsTerminal(int(f.Fd())) }

// size returns the terminal's columns and lines, or zeros.
func (t *terminal) size() (columns, lines int) {
	if !t.out {
		return 0, 0
	}
	columns, lines, err := term.GetSize(t.fd)
	if err != nil {
		return 0, 0
	}
	return columns, lines
}

// sink is where the results of one input go: standard output, perhaps through
// a pager, or a file.
type sink struct {
	shell    *shell
	w        io.Writer
	file     *os.File // closed at the end
	terminal bool
	color    bool
	progress *progress

	// What is to be said once the output is closed.
	warnings  []error
	scans     []engine.ScanStats
	explained int // statements

	// While a pager may be needed, output gathers in held.
	paging  bool
	columns int
	limit   int // lines that fit
	lines   int
	column  int // of the end of held
	held    []byte
	cmd     *exec.Cmd
	pipe    io.WriteCloser
	signals chan os.Signal
}

// open returns where the next results go.
func (s *shell) open() *sink {
	k := &sink{shell: s, w: s.stdout, color: s.term.color}
	switch {
	case s.once != nil:
		k.w, k.file, k.color = s.once, s.once, false
		s.once = nil
	case s.output != nil:
		k.w, k.color = s.output, false
	case s.term.out:
		k.terminal = true
		if columns, lines := s.term.size(); s.pager && s.term.in && !s.term.dumb && lines > 2 {
			k.paging, k.columns, k.limit = true, columns, lines-2
		}
	}
	return k
}

// Write takes what a renderer has written.
func (k *sink) Write(b []byte) (int, error) {
	if k.terminal {
		k.progress.clear()
	}
	if !k.paging {
		return k.w.Write(b)
	}
	if k.pipe == nil {
		k.held = append(k.held, b...)
		k.count(b)
		if k.lines <= k.limit {
			return len(b), nil
		}
		if err := k.startPager(); err != nil {
			k.paging = false
			_, err = k.w.Write(k.held)
			k.held = nil
			return len(b), err
		}
		held := k.held
		k.held = nil
		if _, err := k.pipe.Write(held); err != nil {
			return 0, err
		}
		return len(b), nil
	}
	return k.pipe.Write(b)
}

// count counts the lines that a text takes on the terminal, where a long one
// takes several.
func (k *sink) count(text []byte) {
	escape := false
	for _, c := range text {
		switch {
		case escape: // of a colour
			escape = c != 'm'
		case c == '\x1b':
			escape = true
		case c == '\n':
			k.lines++
			k.column = 0
		case c&0xc0 != 0x80:
			if k.column++; k.columns > 0 && k.column > k.columns {
				k.lines++
				k.column = 1
			}
		}
	}
}

// startPager starts the program that shows long output. less gets the options
// that git gives it too: leave short output alone, pass colours on, keep the
// screen.
func (k *sink) startPager() error {
	s := k.shell
	command := s.config.Getenv("SOCKQL_PAGER")
	if command == "" {
		command = s.config.Getenv("PAGER")
	}
	if command == "" {
		command = "less"
	}
	cmd := exec.Command("/bin/sh", "-c", command)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = nil, s.config.Stdout, s.config.Stderr
	cmd.Env = os.Environ()
	if s.config.Getenv("LESS") == "" {
		cmd.Env = append(cmd.Env, "LESS=FRX")
	}
	if name := strings.Fields(command); len(name) > 0 {
		if _, err := exec.LookPath(name[0]); err != nil {
			return err
		}
	}
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	// Ctrl-C is the pager's own as long as it runs: nobody is to be left
	// alone with it.
	k.signals = make(chan os.Signal, 1)
	signal.Notify(k.signals, os.Interrupt)
	k.cmd, k.pipe = cmd, pipe
	return nil
}

// Close ends the output and waits for the pager.
func (k *sink) Close() error {
	k.progress.clear()
	var err error
	if len(k.held) > 0 {
		_, err = k.w.Write(k.held)
	}
	if k.cmd != nil {
		k.pipe.Close()
		// Its status says how somebody left it, nothing about the result.
		k.cmd.Wait()
		signal.Stop(k.signals)
	}
	if k.file != nil {
		err = errors.Join(err, k.file.Close())
	}
	return err
}

// redirect opens the file of .output, .once and --output.
func redirect(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return nil, fmt.Errorf("%w; results stay on standard output", err)
	}
	return f, nil
}

package shell

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/chzyer/readline"
	"golang.org/x/term"

	"sockql/tables"
)

// interactive talks to a person until Ctrl-D or .quit.
func (s *shell) interactive() int {
	s.prompt = true
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	// Outside of a statement Ctrl-C is a key that the editor reads; between the
	// two it must not end the shell.
	ignored := make(chan os.Signal, 1)
	signal.Notify(ignored, os.Interrupt)
	defer signal.Stop(ignored)

	in, out, end, err := s.conversation(ctx, ignored)
	if err != nil {
		fmt.Fprintf(s.stderr, "Error: terminal: %v\n", err)
		return 1
	}
	defer end()
	if s.flags.bool("rc") {
		s.runCommands(ctx)
	}
	bold, plain := "", ""
	if s.term.color {
		bold, plain = "\x1b[1m", "\x1b[0m"
	}
	fmt.Fprintf(out, "Using a %svirtual database%s. Need help, type '.help'\n", bold, plain)
	_, err = s.process(ctx, in)
	if ctx.Err() != nil {
		return 143 // 128 + SIGTERM
	}
	if err != nil && !isExit(err) {
		fmt.Fprintf(s.stderr, "Error: terminal: %v\n", err)
		return 1
	}
	return s.status(err)
}

// conversation returns where lines come from and where prompts go. A terminal
// that knows no control sequences gets lines as its own driver edits them.
func (s *shell) conversation(ctx context.Context, interrupts <-chan os.Signal) (in lineReader, out io.Writer, end func() error, err error) {
	if s.term.dumb {
		p := &plainLines{shell: s, ctx: ctx, in: bufio.NewReader(s.config.Stdin), out: s.stdout, interrupts: interrupts}
		if !s.term.out {
			p.out = s.stderr
		}
		return p, p.out, func() error { return nil }, nil
	}
	past, err := openHistory(s.config.Getenv)
	if err != nil {
		fmt.Fprintf(s.stderr, "Warning: history: %v; this session's is not kept\n", err)
	}
	e, err := s.newEditor(past)
	if err != nil {
		return nil, nil, nil, err
	}
	context.AfterFunc(ctx, func() { e.Instance.Close() })
	return e, e.out, e.Close, nil
}

// plainLines reads lines from a terminal without an editor.
type plainLines struct {
	shell      *shell
	ctx        context.Context
	in         *bufio.Reader
	out        io.Writer
	interrupts <-chan os.Signal
	next       chan plainLine // of the read that is under way; nil for none
}

type plainLine struct {
	text string
	err  error
}

// line implements [lineReader].
func (p *plainLines) line(continued bool) (string, error) {
	if !continued {
		clear(p.shell.warned)
	}
	select {
	case <-p.interrupts: // it was meant for the statement before
	default:
	}
	io.WriteString(p.out, p.shell.promptText(continued))
	if p.next == nil {
		next := make(chan plainLine, 1)
		p.next = next
		go func() {
			text, err := fileLines{p.in}.line(continued)
			next <- plainLine{text, err}
		}()
	}
	select {
	case l := <-p.next:
		p.next = nil
		if errors.Is(l.err, io.EOF) {
			fmt.Fprintln(p.out)
		}
		return l.text, l.err
	case <-p.interrupts: // the driver has dropped what was typed
		fmt.Fprintln(p.out)
		return "", errInterrupted
	case <-p.ctx.Done():
		return "", context.Cause(p.ctx)
	}
}

// editor reads lines from a terminal.
type editor struct {
	*readline.Instance
	shell   *shell
	past    *history
	out     io.Writer
	state   *readline.State // the terminal's own mode, while a line is edited
	entered strings.Builder
	closed  bool
}

func (s *shell) newEditor(past *history) (*editor, error) {
	e := &editor{shell: s, past: past, out: s.stdout}
	terminal := s.config.Stdout
	if !s.term.out { // results go to a file; the conversation to standard error
		e.out, terminal = s.stderr, s.config.Stderr
	}
	fd := int(s.config.Stdin.Fd())
	c := &completer{shell: s, functions: s.functionNames()}
	width := func() int {
		width, _, err := term.GetSize(int(terminal.Fd()))
		if err != nil || width <= 0 {
			width = 80
		}
		// The editor divides by the number of columns in a list of candidates,
		// even if the terminal has become narrower than one of them.
		return max(width, int(c.widest.Load())+3)
	}
	var err error
	e.Instance, err = readline.NewEx(&readline.Config{
		Stdin:                  readline.NewCancelableStdin(&pasteReader{r: s.config.Stdin}),
		Stdout:                 e.out,
		Stderr:                 s.stderr,
		HistoryLimit:           historyLimit + 1,
		HistorySearchFold:      true,
		DisableAutoSaveHistory: true,
		InterruptPrompt:        "^C",
		AutoComplete:           c,
		FuncGetWidth:           width,
		FuncIsTerminal:         func() bool { return true },
		FuncMakeRaw: func() (err error) {
			if e.state == nil {
				e.state, err = readline.MakeRaw(fd)
			}
			return err
		},
		FuncExitRaw: func() (err error) {
			if e.state != nil {
				err = readline.Restore(fd, e.state)
				e.state = nil
			}
			return err
		},
		FuncFilterInputRune: e.filter,
	})
	if err != nil {
		return nil, err
	}
	e.recall()
	return e, nil
}

// recall gives the editor the history.
func (e *editor) recall() {
	e.ResetHistory()
	for _, line := range e.past.lines {
		e.SaveHistory(line)
	}
}

// filter takes Ctrl-Z out of the editor's hands: it would stop the parent
// process too. The bell that goes on instead changes nothing; a key that is
// dropped would have the editor read ahead while a statement runs.
func (e *editor) filter(r rune) (rune, bool) {
	if r != readline.CharCtrlZ {
		return r, true
	}
	e.Terminal.ExitRawMode()
	syscall.Kill(0, syscall.SIGTSTP)
	e.Terminal.EnterRawMode()
	e.Refresh()
	return readline.CharBell, true
}

// line implements [lineReader].
func (e *editor) line(continued bool) (string, error) {
	if !continued {
		e.remember()
		clear(e.shell.warned)
	}
	e.SetPrompt(e.shell.promptText(continued))
	io.WriteString(e.out, pasteOn)
	text, err := e.Readline()
	io.WriteString(e.out, pasteOff) // a pager or whatever comes next does not know it
	switch {
	case errors.Is(err, readline.ErrInterrupt):
		e.entered.Reset()
		return "", errInterrupted
	case errors.Is(err, io.EOF):
		e.remember()
		return "", io.EOF
	case err != nil:
		return "", err
	}
	// Pasted text may hold what a terminal would obey when it is shown again.
	text = strings.ReplaceAll(text, "\x00", "")
	if e.entered.Len() > 0 {
		e.entered.WriteByte('\n')
	}
	e.entered.WriteString(text)
	return text, nil
}

// remember moves what was entered to the history.
func (e *editor) remember() {
	text := e.entered.String()
	e.entered.Reset()
	if strings.TrimSpace(text) == "" {
		return
	}
	if err := e.past.add(text); err != nil {
		fmt.Fprintf(e.shell.stderr, "Warning: %v; this session's is not kept\n", err)
	}
	e.recall()
}

func (e *editor) Close() error {
	if e.closed {
		return nil
	}
	e.closed = true
	e.remember()
	return e.Instance.Close()
}

func (s *shell) promptText(continued bool) string {
	text := "sockql> "
	switch {
	case s.compatible && continued:
		text = "    ...> "
	case s.compatible:
		text = "osquery> "
	case continued:
		text = "   ...> "
	}
	if s.term.color {
		text = "\x1b[38;5;147m" + text + "\x1b[0m"
	}
	return text
}

// functionNames asks the connection for the SQL functions.
func (s *shell) functionNames() []string {
	rows, err := s.query(context.Background(), "PRAGMA function_list")
	if err != nil {
		return nil
	}
	var names []string
	for _, row := range rows {
		if name := row[0].String(); row[0].Kind() == tables.KindText && identifierLike(name) {
			names = append(names, name)
		}
	}
	return names
}

// runCommands runs ~/.config/sockql/rc, if it is the user's own and nobody
// else can have written it.
func (s *shell) runCommands(ctx context.Context) {
	path, err := userFile(s.config.Getenv, "XDG_CONFIG_HOME", ".config", "rc")
	if err != nil {
		return
	}
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	if err == nil {
		defer f.Close()
		err = trusted(f)
	}
	if err != nil {
		fmt.Fprintf(s.stderr, "Warning: %s not run: %v\n", path, err)
		return
	}
	s.prompt = false
	failed, err := s.process(ctx, fileLines{bufio.NewReader(f)})
	s.prompt = true
	if err != nil && !isExit(err) {
		fmt.Fprintf(s.stderr, "Warning: %s: %v\n", path, err)
	} else if failed > 0 {
		fmt.Fprintf(s.stderr, "Warning: %s: %d of its lines failed\n", path, failed)
	}
}

// trusted reports why an open file must not be run.
func trusted(f *os.File) error {
	info, err := f.Stat()
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return errors.New("it is no regular file")
	case owner(info) != os.Geteuid():
		return fmt.Errorf("it belongs to uid %d, not to %d who runs sockql", owner(info), os.Geteuid())
	case info.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("its mode %04o lets others write it; chmod go-w makes it run", info.Mode().Perm())
	}
	return nil
}

package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"sockql/engine"
	"sockql/shell/internal/render"
	"sockql/tables"
)

// shell is the state that dot commands change and statements read.
type shell struct {
	config *Config
	flags  *flags
	engine *engine.Engine
	conn   *engine.Conn
	term   terminal
	stdout io.Writer
	stderr io.Writer

	extensions Extensions // nil if there can be none
	connected  string     // the socket of .connect, or ""

	// compatible says that the command is called osqueryi and says nothing
	// that osqueryi would not.
	compatible bool
	prompt     bool            // a person sits at the prompt
	warned     map[string]bool // what has been said once
	pending    string          // the lines of a statement that has no end yet
	depth      int             // of .read within .read

	options    render.Options // Mode, Separator, Null, Header, Widths, Typed
	flagNull   string         // --nullvalue, which pretty and json keep to
	echo       bool
	bail       bool
	explaining bool // statements are explained, their rows dropped
	timer      bool
	autoExpand bool
	pager      bool
	output     *os.File // .output; nil is standard output
	once       *os.File // .once
}

// An exitError ends the shell with a status.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit %d", int(e)) }

// errQuit ends the shell, or a file that .read runs.
var errQuit = errors.New("quit")

// code returns the exit status for an error of a statement: SQLite's result
// code, as osqueryi gives it.
func code(err error) int {
	var sqlite *engine.Error
	switch {
	case err == nil:
		return 0
	case errors.Is(err, context.Canceled):
		return 130 // 128 + SIGINT, as shells have it
	case errors.As(err, &sqlite) && sqlite.Code > 0 && sqlite.Code < 256:
		return sqlite.Code
	}
	return 1
}

// message returns what is said about an error. It may quote data, so what
// could steer a terminal is escaped.
func message(err error) string {
	var sqlite *engine.Error
	switch {
	case errors.Is(err, context.Canceled):
		return "interrupted"
	case errors.As(err, &sqlite):
		return render.EscapeLines(sqlite.Message)
	}
	return render.EscapeLines(err.Error())
}

// fail prints the error of a statement after a prefix, with a hint if there is
// one.
func (s *shell) fail(prefix string, err error, sql string) {
	fmt.Fprintf(s.stderr, "%s %s\n", prefix, message(err))
	if hint := s.hint(err, sql); hint != "" {
		fmt.Fprintln(s.stderr, hint)
	}
}

// quiet reports whether an error is better not talked about: whoever read the
// output has gone.
func quiet(err error) bool {
	return errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe)
}

// exec runs all statements of a text and prints their results as one output,
// so that --json makes one array of them. It stops at the first error, which
// it returns after what was found so far has been printed.
func (s *shell) exec(ctx context.Context, sql string) error {
	out := s.open()
	started := startTimer()
	err := s.print(ctx, out, sql)
	if e := out.Close(); err == nil {
		err = e
	}
	// Only now: a pager may have had the terminal.
	s.explainScans(out.scans)
	s.warn(out.warnings...)
	if s.timer {
		fmt.Fprint(s.stdout, started.report())
	}
	if quiet(err) {
		return nil
	}
	return err
}

func (s *shell) print(ctx context.Context, out *sink, sql string) error {
	printer := render.New(out, s.renderOptions(out))
	progress := s.startProgress(out, printer)
	defer progress.stop()
	if s.connected != "" {
		err := s.printRemote(ctx, printer, sql)
		if e := printer.Close(); err == nil {
			err = e
		}
		return err
	}
	for sql = trimSpace(sql); sql != ""; sql = trimSpace(sql) {
		run := s.statement
		if s.explaining {
			run = s.explain
		}
		tail, err := run(ctx, out, printer, sql)
		if err != nil {
			printer.End()
			printer.Close()
			return err
		}
		sql = tail
	}
	return printer.Close()
}

// statement runs the first statement of a text and returns the rest.
func (s *shell) statement(ctx context.Context, out *sink, printer *render.Printer, sql string) (tail string, err error) {
	session := s.conn.Begin(ctx)
	defer func() {
		if s.flags.bool("planner") {
			out.scans = append(out.scans, session.Scans()...)
		}
		warnings := session.TakeWarnings()
		if e := session.Close(); err == nil {
			err = e
		}
		out.warnings = append(out.warnings, warnings...)
	}()
	st, tail, err := session.Prepare(sql)
	if err != nil || st == nil {
		return tail, err
	}
	defer func() {
		if e := st.Close(); err == nil {
			err = e
		}
	}()
	if s.echo {
		fmt.Fprintln(out, strings.TrimSpace(sql[:len(sql)-len(tail)]))
	}
	columns := st.Columns()
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.Name
	}
	printer.Columns(names)
	var row []tables.Value
	for st.Next() {
		row = st.AppendRow(row[:0])
		if err := printer.Row(row); err != nil {
			return tail, err
		}
	}
	if err := st.Err(); err != nil {
		return tail, err
	}
	return tail, printer.End()
}

// explainScans prints what --planner asks for: by which terms each table was
// asked, how often, and how much it gave.
func (s *shell) explainScans(scans []engine.ScanStats) {
	for _, scan := range scans {
		terms := "every row"
		if len(scan.Terms) > 0 {
			terms = strings.Join(scan.Terms, " AND ")
		}
		fmt.Fprintf(s.stderr, "planner: %s by %s: %d scans, %d rows\n", scan.Table, terms, scan.Scans, scan.Rows)
	}
}

// renderOptions returns how results look where they go now.
func (s *shell) renderOptions(out *sink) render.Options {
	o := s.options
	if o.Mode == render.Pretty || o.Mode == render.JSON || o.Mode == render.JSONPretty {
		// osqueryi's .nullvalue does not reach these.
		o.Null = s.flagNull
	}
	o.Terminal, o.Color = out.terminal, out.color
	if out.terminal && s.autoExpand {
		o.Screen, _ = s.term.size()
	}
	return o
}

// warn prints what makes a result partial. Each text is printed once: to a
// person once a statement, to a script once.
func (s *shell) warn(warnings ...error) {
	for _, w := range warnings {
		if text := w.Error(); !s.warned[text] {
			s.warned[text] = true
			fmt.Fprintf(s.stderr, "Warning: %s\n", render.Escape(text))
		}
	}
}

// query runs one statement and keeps its rows, for what the shell itself asks.
func (s *shell) query(ctx context.Context, sql string) (rows [][]tables.Value, err error) {
	session := s.conn.Begin(ctx)
	defer func() { err = errors.Join(err, session.Close()) }()
	st, _, err := session.Prepare(sql)
	if err != nil || st == nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	return st.Collect()
}

// timer measures a statement as osqueryi's .timer does.
type timer struct {
	wall  time.Time
	usage syscall.Rusage
}

func startTimer() timer {
	t := timer{wall: time.Now()}
	syscall.Getrusage(syscall.RUSAGE_SELF, &t.usage)
	return t
}

func (t timer) report() string {
	var now syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &now)
	seconds := func(a, b syscall.Timeval) float64 {
		return time.Duration(b.Nano() - a.Nano()).Seconds()
	}
	return fmt.Sprintf("Run Time: real %.3f user %f sys %f\n", time.Since(t.wall).Seconds(),
		seconds(t.usage.Utime, now.Utime), seconds(t.usage.Stime, now.Stime))
}

// isSpace is C's isspace in the POSIX locale.
func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

func trimSpace(s string) string {
	for s != "" && isSpace(s[0]) {
		s = s[1:]
	}
	return s
}

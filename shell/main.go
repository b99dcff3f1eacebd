package shell

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"sockql/engine"
	"sockql/shell/internal/render"
)

// A Config is what the command needs from outside.
type Config struct {
	// Version is shown by --version.
	Version string
	// Stdin, Stdout and Stderr are where it reads and writes.
	Stdin, Stdout, Stderr *os.File
	// Getenv returns a variable of the environment, or "".
	Getenv func(string) string
	// Engine builds the engine that answers, once the flags are known.
	Engine func(Sources) (*engine.Engine, error)
	// Extensions loads osquery's extensions into an engine; nil if it cannot.
	Extensions func(ctx context.Context, from ExtensionFlags, offered func(string) bool, e *engine.Engine) (Extensions, error)
	// Connect is what .connect uses; nil if it cannot.
	Connect Connector
	// Subcommands are the commands beside the shell, in the order of the help.
	// A command that is called osqueryi has none.
	Subcommands []Subcommand
}

// Sources says where tables take their rows from.
type Sources struct {
	// Proc is the root of procfs; empty stands for the system's.
	Proc string
	// Source is auto, bpf, netlink or procfs.
	Source string
	// ReadMax is the size in bytes of the largest file that the table hash
	// reads; 0 stands for any.
	ReadMax int64
	// SQLMemory is a ceiling of SQLite's memory in bytes; -1 stands for none.
	SQLMemory int64
	// Resolve lets the SQL function resolve() ask the DNS.
	Resolve bool
	// Offered reports whether a table is wanted.
	Offered func(name string) bool
}

// A Subcommand is a command named by the first argument.
type Subcommand struct {
	Name    string
	Summary string // a few words for the help
	// Run runs the command with what follows its name and returns the exit
	// status. The context ends with SIGINT and SIGTERM.
	Run func(ctx context.Context, args []string) int
}

// Main runs the command line and returns the exit status: 0, SQLite's result
// code of the statement that failed, 1 for errors in piped input and on the
// command line, 130 after Ctrl-C.
func Main(c Config, args []string) int {
	if c.Getenv == nil {
		c.Getenv = os.Getenv
	}
	name := "sockql"
	if len(args) > 0 {
		name = filepath.Base(args[0])
		args = args[1:]
	}
	compatible := strings.HasPrefix(name, "osquery")
	if !compatible && len(args) > 0 {
		for _, sub := range c.Subcommands {
			if sub.Name == args[0] {
				ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
				defer stop()
				return sub.Run(ctx, args[1:])
			}
		}
	}
	f := newFlags()
	rest, err := f.parse(args)
	if err != nil {
		fmt.Fprintln(c.Stderr, err)
		return 1
	}
	switch {
	case f.bool("help"):
		writeUsage(c.Stdout, &c, name, compatible)
		return 0
	case f.bool("version"):
		fmt.Fprintf(c.Stdout, "%s version %s\n", name, c.Version)
		return 0
	}
	if !compatible && len(rest) > 0 {
		if status, ok := builtin(&c, rest); ok {
			return status
		}
	}
	mode, err := f.mode()
	if err != nil {
		fmt.Fprintln(c.Stderr, err)
		return 1
	}
	s, err := newShell(&c, f, mode)
	var usage *usageError
	switch {
	case errors.As(err, &usage):
		fmt.Fprintln(c.Stderr, usage)
		return 1
	case err != nil:
		fmt.Fprintf(c.Stderr, "%s: %v\n", name, err)
		return 1
	}
	defer s.close()
	s.compatible = compatible
	return s.run(rest)
}

func newShell(c *Config, f *flags, mode render.Mode) (*shell, error) {
	s := &shell{
		config: c, flags: f, term: findTerminal(c, f),
		stdout: c.Stdout, stderr: c.Stderr, warned: map[string]bool{},
		explaining: f.bool("explain"),
		flagNull:   f.string("nullvalue"), autoExpand: f.bool("auto_expand"), pager: f.bool("pager"),
		options: render.Options{
			Mode: mode, Separator: short(f.string("separator")), Null: short(f.string("nullvalue")),
			Header: f.bool("header"), Typed: f.bool("typed"),
		},
	}
	readMax, err := f.size("read_max", "bytes", 1)
	if err != nil {
		return nil, err
	}
	memory, err := f.size("sql_memory_limit", "MiB", 1<<20)
	if err != nil {
		return nil, err
	}
	if memory == 0 {
		memory = -1
	}
	eng, err := c.Engine(Sources{
		Proc: f.string("proc"), Source: f.string("source"), ReadMax: readMax, SQLMemory: memory, Resolve: f.bool("resolve"),
		Offered: offered(f.string("enable_tables"), f.string("disable_tables")),
	})
	if err != nil {
		return nil, err
	}
	if s.conn, err = eng.Open(); err != nil {
		return nil, err
	}
	s.engine = eng
	err = s.loadExtensions(offered(f.string("enable_tables"), f.string("disable_tables")))
	if socket := f.string("connect"); err == nil && socket != "" {
		err = s.connectTo(context.Background(), socket)
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *shell) close() {
	if s.extensions != nil {
		if err := s.extensions.Close(); err != nil {
			s.warn(err)
		}
	}
	s.conn.Close()
	for _, f := range []*os.File{s.output, s.once} {
		if f != nil {
			f.Close()
		}
	}
}

// size returns the value of a flag that is a number of units, in bytes. 0 stands
// for no limit.
func (f *flags) size(name, unit string, bytes int64) (int64, error) {
	n, err := strconv.ParseInt(f.string(name), 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/bytes {
		return 0, &usageError{
			message: fmt.Sprintf("illegal value '%s' specified for flag '%s'", f.string(name), name),
			hint:    fmt.Sprintf("It takes a number of %s; 0 stands for no limit.", unit),
		}
	}
	return n * bytes, nil
}

// offered returns the test of --enable_tables and --disable_tables: with a
// list of enabled tables only they are offered, and never a disabled one.
func offered(enable, disable string) func(string) bool {
	split := func(list string) map[string]bool {
		names := map[string]bool{}
		for _, n := range strings.Split(list, ",") {
			if n = strings.TrimSpace(n); n != "" {
				names[n] = true
			}
		}
		return names
	}
	enabled, disabled := split(enable), split(disable)
	return func(name string) bool {
		return (len(enabled) == 0 || enabled[name]) && !disabled[name]
	}
}

// mode returns the output mode that flags ask for. Of several the first counts
// in osqueryi's order: list, line, csv, json_pretty, json. --typed alone means
// json.
func (f *flags) mode() (render.Mode, error) {
	m, chosen := f.chosenMode()
	switch {
	case !f.bool("typed") || m == render.JSON || m == render.JSONPretty || m == render.JSONL:
		return m, nil
	case chosen:
		return 0, &usageError{message: fmt.Sprintf("flag 'typed' has no meaning in mode %s", m), hint: "It is for --json, --json_pretty and --jsonl."}
	}
	return render.JSON, nil
}

func (f *flags) chosenMode() (m render.Mode, chosen bool) {
	if name := f.string("mode"); name != "" {
		return render.ParseMode(name)
	}
	for _, m := range []render.Mode{
		render.List, render.Line, render.CSV, render.Column, render.TSV, render.Markdown, render.Expanded,
		render.JSONPretty, render.JSONL, render.JSON,
	} {
		if f.bool(m.String()) {
			return m, true
		}
	}
	return render.Pretty, false
}

// run does what flags and arguments ask for.
func (s *shell) run(args []string) int {
	for _, name := range s.flags.useless() {
		fmt.Fprintf(s.stderr, "Warning: --%s has no effect: the shell answers from this host only; sockql daemon is for schedules and servers\n", name)
	}
	if path := s.flags.string("output"); path != "" {
		f, err := redirect(path)
		if err != nil {
			fmt.Fprintf(s.stderr, "Warning: --output: %v\n", err)
		} else {
			s.output = f
		}
	}
	work, err := s.work(args)
	if err != nil {
		return s.status(err)
	}
	if work == nil {
		return s.interactive()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process at once
	return s.status(work(ctx))
}

// work returns what a script wants done, or nil for a prompt.
func (s *shell) work(args []string) (func(context.Context) error, error) {
	var asked []string
	for _, name := range []string{"L", "A", "pack", "query", "query_file"} {
		if s.flags.given[name] && s.flags.string(name) != "false" {
			asked = append(asked, flagName(*findFlag(name)))
		}
	}
	if len(asked) > 1 {
		return nil, &usageError{message: strings.Join(asked, " and ") + " exclude each other", hint: "Give one of them."}
	}
	if len(asked) == 1 && len(args) > 0 {
		return nil, &usageError{message: fmt.Sprintf("%s leaves no use for the argument %q", asked[0], args[0])}
	}
	if s.explaining && s.flags.string("watch") != "" {
		return nil, &usageError{message: "--explain and --watch exclude each other", hint: "Give one of them."}
	}
	if !s.compatible && len(args) > 0 {
		if work, err := s.question(args); work != nil || err != nil {
			return work, err
		}
	}
	switch {
	case s.flags.bool("L"):
		return func(ctx context.Context) error { return s.tables(ctx, nil) }, nil
	case s.flags.string("A") != "":
		return func(ctx context.Context) error { return s.all(ctx, []string{s.flags.string("A")}) }, nil
	case s.flags.string("pack") != "":
		return s.runPack, nil
	case s.flags.string("query_file") != "":
		path := s.flags.string("query_file")
		return func(ctx context.Context) error { return s.queryFile(ctx, path) }, nil
	case s.flags.given["query"]:
		args = []string{s.flags.string("query")}
	}
	if len(args) > 1 && !s.compatible {
		return nil, &usageError{
			message: fmt.Sprintf("one statement expected, but %d arguments given, the second is %q", len(args), args[1]),
			hint:    "Put the SQL in quotes: sockql 'select …'",
		}
	}
	switch {
	case len(args) > 0 && strings.HasPrefix(args[0], "."):
		return func(ctx context.Context) error { return s.dot(ctx, args[0]) }, nil
	case len(args) > 0 && s.flags.string("watch") != "":
		return func(ctx context.Context) error { return s.watch(ctx, s.flags.string("watch"), args[0]) }, nil
	case s.flags.string("watch") != "":
		return nil, &usageError{message: "flag 'watch' needs a statement", hint: "sockql --watch 1s 'select …'"}
	case len(args) > 0:
		return func(ctx context.Context) error { return s.script(ctx, args[0]) }, nil
	case s.term.in:
		return nil, nil
	}
	return func(ctx context.Context) error {
		failed, err := s.process(ctx, fileLines{bufio.NewReader(s.config.Stdin)})
		if err == nil && failed > 0 {
			err = errSaid
		}
		return err
	}, nil
}

// script runs the statements of the command line.
func (s *shell) script(ctx context.Context, sql string) error {
	err := s.exec(ctx, sql)
	if err != nil {
		return s.failed(err, sql)
	}
	return nil
}

func (s *shell) queryFile(ctx context.Context, path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("--query_file: %w", err)
	}
	return s.script(ctx, string(text))
}

// status says what an error has not said yet and returns the exit status.
func (s *shell) status(err error) int {
	var exit exitError
	var status *statusError
	switch {
	case err == nil, errors.Is(err, errQuit):
		return 0
	case errors.As(err, &exit):
		return int(exit)
	case errors.Is(err, context.Canceled):
		return 130
	case errors.As(err, &status):
		s.complain(err)
		return status.status
	}
	s.complain(err)
	return 1
}

// interruptible runs f with a context that Ctrl-C ends, if a person sits at
// the prompt: a script ends as a whole.
func (s *shell) interruptible(ctx context.Context, f func(context.Context) error) error {
	if !s.prompt {
		return f(ctx)
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
	defer stop()
	return f(ctx)
}

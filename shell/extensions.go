package shell

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"sockql/internal/sqltext"
	"sockql/shell/internal/render"
	"sockql/tables"
)

// ExtensionFlags are osquery's flags of extensions.
type ExtensionFlags struct {
	// Wanted says that a flag asks for extensions at all.
	Wanted bool
	// Files are those of --extension.
	Files            []string
	Autoload, Socket string
	Require          []string
	// Timeout and Interval are zero for the defaults.
	Timeout, Interval    time.Duration
	AllowUnsafe, Verbose bool
}

// Extensions are osquery's extensions that the shell has loaded.
type Extensions interface {
	// Socket returns the path on which they register, or "".
	Socket() string
	// Await waits for those that --extensions_require names.
	Await(context.Context) error
	// Close ends them.
	Close() error
}

// extensions reads the flags of extensions.
func (f *flags) extensions() (ExtensionFlags, error) {
	e := ExtensionFlags{
		Autoload: f.string("extensions_autoload"),
		Require:  list(f.string("extensions_require")), Files: list(f.string("extension")),
		AllowUnsafe: f.bool("allow_unsafe"), Verbose: f.bool("verbose"),
	}
	if f.given["extensions_socket"] {
		e.Socket = f.string("extensions_socket")
	}
	for name, d := range map[string]*time.Duration{"extensions_timeout": &e.Timeout, "extensions_interval": &e.Interval} {
		n, err := strconv.ParseUint(f.string(name), 10, 31)
		if err != nil {
			return e, &usageError{message: fmt.Sprintf("illegal value '%s' specified for flag '%s'", f.string(name), name), hint: "It takes a number of seconds."}
		}
		*d = time.Duration(n) * time.Second
	}
	e.Wanted = e.Autoload != "" || e.Socket != "" || len(e.Require) > 0 || len(e.Files) > 0
	return e, nil
}

// list splits a list at commas and drops what is empty.
func list(text string) []string {
	var parts []string
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			parts = append(parts, part)
		}
	}
	return parts
}

// loadExtensions starts what the flags name, and waits for what they require.
// One that does not come is a warning, as in osqueryi.
func (s *shell) loadExtensions(offered func(string) bool) error {
	if s.config.Extensions == nil {
		return nil
	}
	from, err := s.flags.extensions()
	if err != nil {
		return err
	}
	ctx := context.Background()
	if s.extensions, err = s.config.Extensions(ctx, from, offered, s.engine); err != nil {
		return err
	}
	if !from.Wanted {
		return nil
	}
	if err := s.extensions.Await(ctx); err != nil {
		for line := range strings.Lines(err.Error()) { // one for each that is missing
			s.warn(errors.New(strings.TrimSpace(line)))
		}
	}
	return nil
}

// socket shows where extensions register, or would.
func (s *shell) socket(context.Context, []string) error {
	path := s.flags.string("extensions_socket")
	if s.extensions != nil && s.extensions.Socket() != "" {
		path = s.extensions.Socket()
	}
	fmt.Fprintln(s.stdout, path)
	return nil
}

func (s *shell) connect(ctx context.Context, args []string) error {
	if err := s.connectTo(ctx, args[0]); err != nil {
		return err
	}
	fmt.Fprintf(s.stdout, "Connected to extension socket %s for debugging\n", render.Escape(args[0]))
	return nil
}

// connectTo has statements answered elsewhere. Other than osqueryi it looks
// whether anybody is there.
func (s *shell) connectTo(ctx context.Context, socket string) error {
	if s.config.Connect == nil {
		return fmt.Errorf("cannot connect to %q: not supported", socket)
	}
	if _, _, err := s.config.Connect(ctx, socket, "SELECT 1"); err != nil {
		return fmt.Errorf("cannot connect to %q: %w", socket, err)
	}
	s.connected = socket
	return nil
}

func (s *shell) disconnect(context.Context, []string) error {
	if s.connected == "" {
		return errors.New("Not connected to a socket") //lint:ignore ST1005 osqueryi's words
	}
	s.connected = ""
	return nil
}

// printRemote prints what the manager answers to which .connect has connected.
// It is asked for one statement at a time, since osquery takes no more.
func (s *shell) printRemote(ctx context.Context, printer *render.Printer, sql string) error {
	for _, statement := range sqltext.Statements(sql) {
		names, rows, err := s.config.Connect(ctx, s.connected, statement)
		if err != nil {
			return err
		}
		printer.Columns(names)
		for _, row := range rows {
			if err := printer.Row(row); err != nil {
				return err
			}
		}
		if err := printer.End(); err != nil {
			return err
		}
	}
	return nil
}

// A Connector runs statements by way of an extension manager's socket.
type Connector func(ctx context.Context, socket, sql string) (names []string, rows [][]tables.Value, err error)

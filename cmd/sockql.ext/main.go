// Command sockql.ext is the extension that osqueryd loads to have sockql's
// tables. osqueryd starts it itself from its --extensions_autoload file; see
// docs/extension.md.
//
// It needs to be root, or else the tables show what its user may see and say
// so. It serves any number of calls at a time.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"sockql/extension"
	"sockql/tables/builtin"
)

var version = "unknown" // set by the linker

// flagsVariable holds further flags, for osqueryd passes its own only.
const flagsVariable = "SOCKQL_EXT_FLAGS"

func main() { os.Exit(run(os.Args, os.Getenv, os.Stdout, os.Stderr)) }

// run returns the exit status: 0 after an orderly end, 1 after a failure and 2
// for wrong flags.
func run(args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	var (
		cfg     extension.Config
		level   = new(slog.LevelVar)
		flags   = flag.NewFlagSet("sockql.ext", flag.ContinueOnError)
		seconds = func(name string, d *time.Duration, n int, usage string) {
			*d = time.Duration(n) * time.Second
			flags.Func(name, fmt.Sprintf("%s, in `seconds` (default %d)", usage, n), func(s string) error {
				n, err := time.ParseDuration(s + "s")
				if err == nil && n <= 0 {
					err = errors.New("must be positive")
				}
				*d = n
				return err
			})
		}
		showVersion = flags.Bool("version", false, "print the version and exit")
		verbose     = flags.Bool("verbose", false, "log more")
	)
	flags.SetOutput(stderr)
	flags.StringVar(&cfg.Socket, "socket", "", "`path` of osqueryd's extension socket")
	seconds("timeout", &cfg.Timeout, 3, "how long to wait for osqueryd")
	seconds("interval", &cfg.Interval, 3, "time between two looks at the registration")
	flags.Func("tables", "comma-separated `patterns` of the tables to register (default all)", func(s string) error {
		cfg.Only = strings.Split(s, ",")
		return nil
	})
	flags.StringVar(&cfg.Prefix, "prefix", "sockql_", "put before the name of a table that osqueryd has already")
	flags.DurationVar(&cfg.Moment, "moment", time.Second, "how old rows may be, so that the calls of a join share a collection; 0 shares nothing")
	flags.DurationVar(&cfg.Limits.Timeout, "table-timeout", time.Minute, "how long one call of a table may take")
	flags.IntVar(&cfg.Concurrency, "concurrency", 4, "calls of one table that run at a time")
	flags.Usage = func() {
		fmt.Fprintf(stderr, "usage: %s --socket PATH [flags]\n\nFlags are read from the variable %s first.\n\n", flags.Name(), flagsVariable)
		flags.PrintDefaults()
	}
	for _, list := range [][]string{strings.Fields(getenv(flagsVariable)), args[1:]} {
		switch err := flags.Parse(list); {
		case errors.Is(err, flag.ErrHelp):
			return 0
		case err != nil:
			return 2
		case flags.NArg() > 0:
			fmt.Fprintf(stderr, "sockql.ext: unexpected argument %q\n", flags.Arg(0))
			return 2
		}
	}
	if *showVersion {
		fmt.Fprintln(stdout, "sockql.ext", version)
		return 0
	}
	if cfg.Socket == "" {
		fmt.Fprintln(stderr, "sockql.ext: --socket is needed: the path of osqueryd's --extensions_socket")
		return 2
	}
	if cfg.Moment == 0 {
		cfg.Moment = -1
	}
	if *verbose {
		level.Set(slog.LevelDebug)
	}
	cfg.Log = slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))
	cfg.Version = version
	// osqueryd sets the variable for extensions that it starts, and starts one
	// anew when it is started anew. Another parent, such as a shell, may go.
	if getenv("OSQUERY_EXTENSION") != "" {
		parent := os.Getppid()
		cfg.Orphaned = func() bool { return os.Getppid() != parent }
	}

	list, err := builtin.Tables(builtin.Config{})
	if err != nil {
		fmt.Fprintln(stderr, "sockql.ext:", err)
		return 1
	}
	cfg.Tables = list
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := extension.Run(ctx, cfg); err != nil {
		fmt.Fprintln(stderr, "sockql.ext:", err)
		return 1
	}
	return 0
}

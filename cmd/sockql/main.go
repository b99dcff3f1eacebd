// Command sockql asks with SQL what sockets and processes of this host do. It
// takes the flags and dot commands of osqueryi, in whose place it may stand.
//
// It needs no privilege; what it sees without is less, and it says so.
package main

import (
	"fmt"
	"os"
	"runtime/debug"

	"sockql/engine"
	"sockql/engine/schedule"
	"sockql/engine/sqlfunc"
	"sockql/shell"
	"sockql/tables"
	"sockql/tables/builtin"
)

func main() {
	os.Exit(run(os.Args))
}

func run(args []string) int {
	return shell.Main(shell.Config{
		Version:    versionText(),
		Stdin:      os.Stdin,
		Stdout:     os.Stdout,
		Stderr:     os.Stderr,
		Getenv:     os.Getenv,
		Engine:     newEngine,
		Extensions: loadExtensions,
		Connect:    connect,
		// The subcommands beside the shell, one a line.
		Subcommands: []shell.Subcommand{
			{Name: "daemon", Summary: "run an osquery configuration's query packs and log results", Run: runDaemon},
			{Name: "doctor", Summary: "say which sources work here, and what the others need", Run: examine},
			{Name: "record", Summary: "write this host to a directory for --proc", Run: keep},
		},
	}, args)
}

func newEngine(from shell.Sources) (*engine.Engine, error) {
	// A shell schedules nothing, and shows the daemon's tables empty.
	own, err := (&schedule.Board{}).Tables()
	if err != nil {
		return nil, err
	}
	return engineWith(from, own, engine.Limits{HeapBytes: from.SQLMemory})
}

// engineWith returns an engine that has further tables.
func engineWith(from shell.Sources, further []tables.Table, limits engine.Limits) (*engine.Engine, error) {
	all, err := builtin.Tables(builtin.Config{Proc: from.Proc, Source: from.Source, HashLimit: hashLimit(from.ReadMax)})
	if err != nil {
		if from.Proc != "" {
			err = fmt.Errorf("--proc: %w", err)
		}
		return nil, err
	}
	all = append(all, further...)
	offered := all[:0]
	for _, t := range all {
		if from.Offered(t.Schema().Name) {
			offered = append(offered, t)
		}
	}
	return engine.New(engine.Config{
		Tables:     offered,
		Limits:     limits,
		Functions:  sqlfunc.All(sqlfunc.Config{AllowResolve: from.Resolve}),
		Collations: sqlfunc.Collations(),
	})
}

// hashLimit returns what read_max is for the tables, where 0 means the default.
func hashLimit(readMax int64) int64 {
	if readMax == 0 {
		return -1
	}
	return readMax
}

// version is set by the linker (-X main.version=…).
var version string

// versionText falls back on what the go command has stamped into the binary: a
// tag, or the time and hash of the commit.
func versionText() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "unknown"
}

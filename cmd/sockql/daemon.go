package main

import (
	"context"
	"os"

	"golang.org/x/term"

	"sockql/daemon"
	"sockql/engine"
	"sockql/extension/host"
	"sockql/shell"
	"sockql/tables"
)

// osqueryVersion is the version of osquery whose packs the daemon runs.
const osqueryVersion = "5.23.0"

func runDaemon(ctx context.Context, args []string) int {
	return daemon.Main(ctx, daemon.Config{
		Stdout:         os.Stdout,
		Stderr:         os.Stderr,
		Getenv:         os.Getenv,
		Human:          term.IsTerminal(int(os.Stderr.Fd())),
		OsqueryVersion: osqueryVersion,
		Engine: func(from daemon.Sources, further []tables.Table, limits engine.Limits) (*engine.Engine, error) {
			return engineWith(shell.Sources{Proc: from.Proc, Source: from.Source, ReadMax: from.ReadMax, Offered: from.Offered}, further, limits)
		},
		Extensions: func(ctx context.Context, cfg host.Config, wanted bool, offered func(string) bool, e *engine.Engine) (daemon.Extensions, error) {
			h, err := serve(ctx, cfg, wanted, offered, e)
			if err != nil {
				return nil, err
			}
			return h, nil
		},
	}, args)
}

package main

import (
	"context"
	"errors"
	"log/slog"
	"os"

	"sockql/engine"
	"sockql/extension/host"
	"sockql/shell"
	"sockql/tables"
)

// loadExtensions serves the extensions that the shell's flags ask for.
func loadExtensions(ctx context.Context, from shell.ExtensionFlags, offered func(string) bool, e *engine.Engine) (shell.Extensions, error) {
	level := slog.LevelWarn
	if from.Verbose {
		level = slog.LevelInfo
	}
	h, err := serve(ctx, host.Config{
		Socket:      from.Socket,
		Extensions:  from.Files,
		Autoload:    from.Autoload,
		Require:     from.Require,
		Timeout:     from.Timeout,
		Interval:    from.Interval,
		AllowUnsafe: from.AllowUnsafe,
		Verbose:     from.Verbose,
		Output:      os.Stderr,
		Log:         slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})),
	}, from.Wanted, offered, e)
	if err != nil {
		return nil, err
	}
	return h, nil
}

// serve begins to serve osquery's extensions, whose tables come and go in the
// engine. If they are not wanted it only offers the tables that tell of them.
func serve(ctx context.Context, cfg host.Config, wanted bool, offered func(string) bool, e *engine.Engine) (*host.Host, error) {
	cfg.Version, cfg.Tables = versionText(), e.Tables()
	h, err := host.New(cfg)
	if err != nil {
		return nil, err
	}
	for _, t := range h.Tables() {
		if !offered(t.Schema().Name) {
			continue
		}
		if err := e.Attach(t); err != nil {
			return nil, err
		}
	}
	if !wanted {
		return h, nil
	}
	return h, h.Start(ctx, database{e})
}

// connect asks another manager of extensions, such as osqueryd.
func connect(ctx context.Context, socket, sql string) ([]string, [][]tables.Value, error) {
	columns, records, err := host.Manager{Socket: socket}.Query(ctx, sql)
	if err != nil {
		return nil, nil, err
	}
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.Name
	}
	rows := make([][]tables.Value, len(records))
	for i, r := range records {
		for _, name := range names {
			rows[i] = append(rows[i], tables.String(r[name]))
		}
	}
	return names, rows, nil
}

// A database is the engine as extensions see it. Each call has a connection of
// its own: a statement of an extension must not wait for the prompt's.
type database struct{ engine *engine.Engine }

func (d database) Attach(t tables.Table) error { return d.engine.Attach(t) }
func (d database) Detach(name string)          { d.engine.Detach(name) }

func (d database) Query(ctx context.Context, sql string) (_ *host.Result, err error) {
	c, err := d.engine.Open()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	r, err := c.Query(ctx, sql)
	if err != nil {
		return nil, err
	}
	return &host.Result{Columns: columnsOf(r.Columns), Rows: r.Rows}, nil
}

func (d database) Columns(ctx context.Context, sql string) (_ []host.Column, err error) {
	c, err := d.engine.Open()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	st, _, err := c.Begin(ctx).Prepare(sql)
	if err != nil || st == nil {
		return nil, err
	}
	return columnsOf(st.Columns()), nil
}

func columnsOf(list []engine.ResultColumn) []host.Column {
	columns := make([]host.Column, len(list))
	for i, c := range list {
		columns[i] = host.Column{Name: c.Name, Type: c.DeclType}
	}
	return columns
}

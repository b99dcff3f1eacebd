package host

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/osquery/osquery-go/gen/osquery"

	"sockql/extension"
	"sockql/extension/internal/wire"
	"sockql/tables"
)

type wide struct{ i int }

// wideTable has n rows of 12 columns, like a table of sockets.
func wideTable(b *testing.B, n int) tables.Table {
	b.Helper()
	def := tables.Def[wide]{Name: "wide", Rows: func(_ context.Context, _ *tables.Query, yield func(*wide) bool) error {
		var r wide
		for r.i = range n {
			if !yield(&r) {
				break
			}
		}
		return nil
	}}
	for c := range 12 {
		get := func(r *wide) tables.Value { return tables.Int(r.i * (c + 1)) }
		typ := tables.BigInt
		if c >= 8 {
			get, typ = func(r *wide) tables.Value { return tables.Decimal(uint64(r.i) << c) }, tables.Text
		}
		def.Columns = append(def.Columns, tables.Column[wide]{Name: fmt.Sprintf("column_%02d", c), Type: typ, Get: get})
	}
	t, err := tables.New(def)
	if err != nil {
		b.Fatal(err)
	}
	return t
}

// An extension's scan, its rendering, the socket, and the parsing on this side.
func BenchmarkTransport(b *testing.B) {
	for _, n := range []int{1000, 100_000} {
		b.Run(fmt.Sprintf("rows=%d/columns=12", n), func(b *testing.B) {
			plugins, stop := extension.NewPlugins(b.Context(), extension.Limits{Moment: -1}, slog.New(slog.DiscardHandler), []tables.Table{wideTable(b, n)},
				func(t tables.Table) string { return t.Schema().Name })
			defer stop()
			h, err := New(Config{Socket: filepath.Join(b.TempDir(), "em")})
			if err != nil {
				b.Fatal(err)
			}
			l, err := wire.Listen(wire.ExtensionPath(h.cfg.Socket, 1))
			if err != nil {
				b.Fatal(err)
			}
			ctx, cancel := context.WithCancel(b.Context())
			done := make(chan error, 1)
			go func() { done <- (&wire.Server{}).Serve(ctx, l, osquery.NewExtensionProcessor(one{plugins[0]})) }()
			t, err := newRemote("wide", plugins[0].Routes())
			if err != nil {
				b.Fatal(err)
			}
			t.host, t.extension = h, &registered{path: l.Addr().String(), answered: true}
			b.ReportAllocs()
			for b.Loop() {
				q := tables.NewQuery(tables.NewSession(b.Context()), t.schema, tables.Request{Used: tables.AllUsed})
				rows, sum := 0, int64(0)
				if err := tables.Run(b.Context(), t, q, func(r tables.Row) bool {
					for i := range 12 {
						sum += r.Column(i).Int64()
					}
					rows++
					return true
				}); err != nil || rows != n || sum == 0 {
					b.Fatal(rows, err)
				}
			}
			cancel()
			if err := <-done; err != nil {
				b.Error(err)
			}
		})
	}
}

// one serves a single plugin.
type one struct{ *extension.Plugin }

func (o one) Ping(context.Context) (*osquery.ExtensionStatus, error) {
	s := o.Plugin.Ping()
	return &s, nil
}

func (o one) Call(ctx context.Context, _, _ string, r osquery.ExtensionPluginRequest) (*osquery.ExtensionResponse, error) {
	resp := o.Stream(ctx, r)
	return &resp, nil
}

func (o one) Shutdown(context.Context) error { return nil }

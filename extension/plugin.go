package extension

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"strconv"
	"sync"
	"time"

	osquerygo "github.com/osquery/osquery-go"
	"github.com/osquery/osquery-go/gen/osquery"

	"sockql/extension/internal/wire"
	"sockql/tables"
)

var _ osquerygo.OsqueryPlugin = (*Plugin)(nil)

// Limits bound the calls of plugins. The zero values of the fields work.
type Limits struct {
	// Moment is how long calls share what tables collect: rows are at most so
	// much older than their call. 0 means a second, a negative value gives each
	// call a collection of its own.
	Moment time.Duration
	// Timeout ends a call; 0 means a minute. The call fails then even if its
	// table does not stop.
	Timeout time.Duration
	// Concurrency is how many calls of one table run at a time, those included
	// that have timed out and did not stop; 0 means four. More wait, as long
	// as Timeout.
	Concurrency int

	answer int // bytes of rows; 0 means wire.MaxRows
}

func (l Limits) orDefault() Limits {
	if l.Moment == 0 {
		l.Moment = time.Second
	}
	if l.Timeout <= 0 {
		l.Timeout = time.Minute
	}
	if l.Concurrency <= 0 {
		l.Concurrency = 4
	}
	if l.answer == 0 {
		l.answer = wire.MaxRows
	}
	return l
}

// A Plugin is a table as osquery's extension API sees it. It implements
// osquery-go's OsqueryPlugin; that module's own table plugin does not pass on
// which columns are read.
type Plugin struct {
	name    string
	table   tables.Table
	limits  Limits
	log     *slog.Logger
	moments *moments
	slots   chan struct{}
	warned  *onceAnHour
	seed    maphash.Seed
}

// NewPlugins makes plugins of tables, under the names that name gives them. The
// log gets the warnings of tables, each text once an hour. Scans end with ctx.
// The returned function closes what the plugins still keep.
func NewPlugins(ctx context.Context, l Limits, log *slog.Logger, list []tables.Table, name func(tables.Table) string) ([]*Plugin, func()) {
	l = l.orDefault()
	m := &moments{ctx: ctx, age: l.Moment, log: log}
	warned := &onceAnHour{last: map[string]time.Time{}}
	plugins := make([]*Plugin, 0, len(list))
	for _, t := range list {
		plugins = append(plugins, &Plugin{
			name: name(t), table: t, limits: l, log: log, moments: m, warned: warned,
			slots: make(chan struct{}, l.Concurrency), seed: maphash.MakeSeed(),
		})
	}
	return plugins, m.stop
}

// Name returns the name under which the table is registered.
func (p *Plugin) Name() string { return p.name }

// RegistryName returns "table".
func (p *Plugin) RegistryName() string { return "table" }

// Ping reports success.
func (p *Plugin) Ping() osquery.ExtensionStatus { return *success() }

// Shutdown does nothing: [Run] ends the plugins' scans.
func (p *Plugin) Shutdown() {}

// Routes returns the columns as they are registered, and the table's aliases,
// of which osqueryd makes views.
func (p *Plugin) Routes() osquery.ExtensionPluginResponse {
	schema := p.table.Schema()
	routes := make(osquery.ExtensionPluginResponse, 0, len(schema.Columns))
	for i := range schema.Columns {
		c := &schema.Columns[i]
		routes = append(routes, map[string]string{
			"id": "column", "name": c.Name, "type": typeName(c.Type),
			"op": strconv.Itoa(int(options(c))),
		})
	}
	for _, alias := range schema.Aliases {
		routes = append(routes, map[string]string{"id": "alias", "alias": alias})
	}
	return routes
}

// Call answers the actions "generate" and "columns", and those that would
// change rows as osquery's own tables do that cannot. A failure is told in the
// status, with code 1.
func (p *Plugin) Call(ctx context.Context, request osquery.ExtensionPluginRequest) osquery.ExtensionResponse {
	r, rows := p.answer(ctx, request)
	if rows != nil {
		var err error
		if r.Response, err = rows.Maps(); err != nil {
			return failure(fmt.Errorf("error generating table: %w", err))
		}
	}
	return r
}

// Stream is Call for a call that a [wire.Server] serves and whose context is
// ctx: the rows of a table are sent as they were encoded, and the response has
// none.
func (p *Plugin) Stream(ctx context.Context, request osquery.ExtensionPluginRequest) osquery.ExtensionResponse {
	r, rows := p.answer(ctx, request)
	if rows != nil && !wire.Send(ctx, rows) {
		return failure(errors.New("error generating table: nobody to send rows to"))
	}
	return r
}

// answer returns a response, and its rows if the action is to generate some.
func (p *Plugin) answer(ctx context.Context, request osquery.ExtensionPluginRequest) (osquery.ExtensionResponse, *wire.Rows) {
	switch action := request["action"]; action {
	case "columns":
		return osquery.ExtensionResponse{Status: success(), Response: p.Routes()}, nil
	case "generate":
		r, err := parseRequest(p.table.Schema(), request["context"])
		if err != nil {
			return failure(fmt.Errorf("error parsing context JSON: %w", err)), nil
		}
		rows, err := p.generate(ctx, r)
		if err != nil {
			return failure(fmt.Errorf("error generating table: %w", err)), nil
		}
		return osquery.ExtensionResponse{Status: success()}, rows
	case "insert", "update", "delete":
		return osquery.ExtensionResponse{Status: success(), Response: osquery.ExtensionPluginResponse{{"status": "readonly"}}}, nil
	default:
		return failure(fmt.Errorf("unknown action: %q", action)), nil
	}
}

func success() *osquery.ExtensionStatus { return &osquery.ExtensionStatus{Message: "OK"} }

func failure(err error) osquery.ExtensionResponse {
	return osquery.ExtensionResponse{Status: &osquery.ExtensionStatus{Code: 1, Message: err.Error()}}
}

// generate runs a scan on a goroutine of its own, so that a table that hangs
// costs one slot and not the connection.
func (p *Plugin) generate(ctx context.Context, r tables.Request) (*wire.Rows, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, p.limits.Timeout, fmt.Errorf("table %s: no answer in %s", p.name, p.limits.Timeout))
	defer cancel()
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("%d calls at a time: %w", p.limits.Concurrency, context.Cause(ctx))
	}
	type result struct {
		rows *wire.Rows
		err  error
	}
	done := make(chan result, 1)
	go func() {
		defer func() { <-p.slots }()
		rows, err := p.scan(ctx, r)
		done <- result{rows, err}
	}()
	select {
	case res := <-done:
		return res.rows, res.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (p *Plugin) scan(ctx context.Context, r tables.Request) (*wire.Rows, error) {
	k := p.moments.join()
	defer p.moments.leave(k)
	q := tables.NewQuery(k.session, p.table.Schema(), r)
	ctx, cancel := q.Context(ctx)
	defer cancel()

	e := newEncoder(q, p.seed)
	err := tables.Run(ctx, p.table, q, func(row tables.Row) bool {
		e.add(row)
		return e.rows.Size() <= p.limits.answer
	})
	if err == nil && e.rows.Size() > p.limits.answer {
		err = fmt.Errorf("more than %d bytes in %d rows, which osqueryd does not take in: read fewer columns, or ask for fewer rows", p.limits.answer, e.rows.Len())
	}
	for _, w := range k.session.TakeWarnings() {
		if p.warned.say(w.Error()) {
			p.log.Warn("rows or cells are missing", "table", p.name, "reason", w)
		}
	}
	var panicked *tables.PanicError
	if errors.As(err, &panicked) {
		p.log.Error("table panicked", "table", p.name, "panic", panicked.Value, "stack", string(panicked.Stack))
	}
	if err != nil {
		return nil, err
	}
	return e.rows, nil
}

// onceAnHour keeps a warning that every query raises from filling a log.
type onceAnHour struct {
	mu   sync.Mutex
	last map[string]time.Time
}

func (o *onceAnHour) say(text string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	if t, ok := o.last[text]; ok && now.Sub(t) < time.Hour {
		return false
	}
	if len(o.last) >= 1000 { // texts that name a pid each
		clear(o.last)
	}
	o.last[text] = now
	return true
}

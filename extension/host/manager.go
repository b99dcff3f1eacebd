package host

import (
	"context"
	"fmt"
	"time"

	"github.com/osquery/osquery-go/gen/osquery"

	"sockql/extension/internal/wire"
)

// A Manager is another host's socket, osqueryd's for one. It keeps no
// connection. It is safe for concurrent use.
type Manager struct {
	// Socket is the path.
	Socket string
	// Timeout ends a call; 0 means five minutes.
	Timeout time.Duration
}

// A Record is one row of an answer. NULL is an empty text.
type Record map[string]string

// Query runs a statement there. The columns come in the statement's order.
func (m Manager) Query(ctx context.Context, sql string) ([]Column, []Record, error) {
	columns, err := askManager(ctx, m, sql, (*osquery.ExtensionManagerClient).GetQueryColumns)
	if err != nil {
		return nil, nil, err
	}
	rows, err := askManager(ctx, m, sql, (*osquery.ExtensionManagerClient).Query)
	if err != nil {
		return nil, nil, err
	}
	var names []Column
	for _, c := range columns {
		for name, kind := range c {
			names = append(names, Column{name, kind})
		}
	}
	records := make([]Record, 0, len(rows))
	for _, r := range rows {
		records = append(records, r)
	}
	return names, records, nil
}

// Ping reports whether a manager answers.
func (m Manager) Ping(ctx context.Context) error {
	ctx, cancel := m.context(ctx)
	defer cancel()
	return wire.Ping(ctx, m.Socket)
}

func (m Manager) context(ctx context.Context) (context.Context, context.CancelFunc) {
	timeout := m.Timeout
	if timeout <= 0 {
		timeout = 5 * time.Minute
	}
	return context.WithTimeoutCause(ctx, timeout, fmt.Errorf("no answer in %s", timeout))
}

func askManager(ctx context.Context, m Manager, sql string,
	method func(*osquery.ExtensionManagerClient, context.Context, string) (*osquery.ExtensionResponse, error),
) (osquery.ExtensionPluginResponse, error) {
	ctx, cancel := m.context(ctx)
	defer cancel()
	r, err := wire.Call(ctx, m.Socket, func(ctx context.Context, c *osquery.ExtensionManagerClient) (*osquery.ExtensionResponse, error) {
		return method(c, ctx, sql)
	})
	if err != nil {
		return nil, err
	}
	if err := wire.Failed(m.Socket, r.Status); err != nil {
		return nil, err
	}
	return r.Response, nil
}

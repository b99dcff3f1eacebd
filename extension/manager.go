package extension

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/osquery/osquery-go/gen/osquery"

	"sockql/extension/internal/wire"
)

// A manager is osqueryd, or whatever else serves its extension API. Each call
// has a connection of its own, so that a restart of osqueryd is seen at once.
type manager struct {
	path    string
	timeout time.Duration
}

// patience is how long to wait for answers that osqueryd gives between two
// queries only, because they need its database. A registration that is given up
// goes on over there, and the next attempt would clash with it.
const patience = 5 * time.Minute

func ask[T any](ctx context.Context, m *manager, timeout time.Duration, f func(context.Context, *osquery.ExtensionManagerClient) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("no answer in %s", timeout))
	defer cancel()
	return wire.Call(ctx, m.path, f)
}

// await waits, as long as the timeout, for the socket to appear and for an
// answer on it: osqueryd starts extensions before it opens its socket.
func (m *manager) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, m.timeout, fmt.Errorf("no answer in %s", m.timeout))
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := wire.Ping(ctx, m.path)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if _, stat := os.Stat(m.path); stat != nil {
				return fmt.Errorf("osquery's extension socket %q is not there: is osqueryd running, and with --extensions_socket of this name?", m.path)
			}
			return fmt.Errorf("no extension manager answers as osquery's does: %w", err)
		}
	}
}

func (m *manager) extensions(ctx context.Context) (osquery.InternalExtensionList, error) {
	return ask(ctx, m, m.timeout, func(ctx context.Context, c *osquery.ExtensionManagerClient) (osquery.InternalExtensionList, error) {
		return c.Extensions(ctx)
	})
}

// tables returns the names of the host's tables, in lower case.
func (m *manager) tables(ctx context.Context) (map[string]bool, error) {
	r, err := ask(ctx, m, patience, func(ctx context.Context, c *osquery.ExtensionManagerClient) (*osquery.ExtensionResponse, error) {
		return c.Query(ctx, "SELECT name FROM osquery_registry WHERE registry = 'table'")
	})
	if err == nil {
		err = wire.Failed(m.path, r.GetStatus())
	}
	if err != nil {
		return nil, fmt.Errorf("names of the host's tables: %w", err)
	}
	names := make(map[string]bool, len(r.Response))
	for _, row := range r.Response {
		names[strings.ToLower(row["name"])] = true
	}
	return names, nil
}

func (m *manager) register(ctx context.Context, info *osquery.InternalExtensionInfo, registry osquery.ExtensionRegistry) (osquery.ExtensionRouteUUID, error) {
	status, err := ask(ctx, m, patience, func(ctx context.Context, c *osquery.ExtensionManagerClient) (*osquery.ExtensionStatus, error) {
		return c.RegisterExtension(ctx, info, registry)
	})
	if err == nil {
		err = wire.Failed(m.path, status)
	}
	if err != nil {
		return 0, fmt.Errorf("register: %w", err)
	}
	return status.UUID, nil
}

// alive reports whether somebody answers for an extension of this number. One
// that is slow to answer is taken to be alive.
func (m *manager) alive(ctx context.Context, uuid osquery.ExtensionRouteUUID) bool {
	ctx, cancel := context.WithTimeout(ctx, m.timeout)
	defer cancel()
	err := wire.Ping(ctx, wire.ExtensionPath(m.path, int64(uuid)))
	return err == nil || errors.Is(err, context.DeadlineExceeded)
}

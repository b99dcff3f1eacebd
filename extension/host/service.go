package host

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/osquery/osquery-go/gen/osquery"

	"sockql/extension/internal/wire"
	"sockql/tables"
)

// A service answers the calls of extensions and of clients. Its texts are
// osquery's (osquery/extensions/interface.cpp).
type service struct{ h *Host }

func status(err error) *osquery.ExtensionStatus {
	if err != nil {
		return &osquery.ExtensionStatus{Code: 1, Message: err.Error()}
	}
	return &osquery.ExtensionStatus{Message: "OK"}
}

func (s *service) Ping(context.Context) (*osquery.ExtensionStatus, error) {
	return &osquery.ExtensionStatus{Message: "pong"}, nil
}

// Shutdown is refused: osqueryd would end at the request of any extension.
func (s *service) Shutdown(context.Context) error {
	return errors.New("an extension cannot end its host")
}

// Call runs an action of a table, of the host or of an extension.
func (s *service) Call(ctx context.Context, registry, item string, request osquery.ExtensionPluginRequest) (*osquery.ExtensionResponse, error) {
	if registry == "table" {
		if p := s.h.own[strings.ToLower(item)]; p != nil {
			r := p.Stream(ctx, request)
			return &r, nil
		}
	}
	for _, e := range s.h.list() {
		if _, ok := e.registry[registry][item]; ok {
			return s.h.call(ctx, e, registry, item, request)
		}
	}
	return &osquery.ExtensionResponse{Status: status(fmt.Errorf("unknown registry item: %s/%s", registry, item))}, nil
}

func (s *service) Extensions(context.Context) (osquery.InternalExtensionList, error) {
	list := osquery.InternalExtensionList{}
	for _, e := range s.h.list() {
		info := e.info
		list[e.uuid] = &info
	}
	return list, nil
}

func (s *service) Options(context.Context) (osquery.InternalOptionList, error) {
	list := osquery.InternalOptionList{}
	for _, o := range s.h.cfg.Options {
		list[o.Name] = &osquery.InternalOptionInfo{Value: o.Value, DefaultValue: o.Default, Type: o.Type}
	}
	return list, nil
}

func (s *service) RegisterExtension(ctx context.Context, info *osquery.InternalExtensionInfo, registry osquery.ExtensionRegistry) (*osquery.ExtensionStatus, error) {
	uuid, err := s.h.register(ctx, info, registry)
	if err != nil {
		s.h.log.Warn("extension refused", "name", info.GetName(), "error", err)
		return status(err), nil
	}
	st := status(nil)
	st.UUID = uuid
	return st, nil
}

func (s *service) DeregisterExtension(_ context.Context, uuid osquery.ExtensionRouteUUID) (*osquery.ExtensionStatus, error) {
	if !s.h.drop(uuid) {
		return status(errors.New("No extension UUID registered")), nil //lint:ignore ST1005 osquery's text
	}
	st := status(nil)
	st.UUID = uuid
	return st, nil
}

func (s *service) Query(ctx context.Context, sql string) (*osquery.ExtensionResponse, error) {
	result, err := s.h.db.Query(ctx, sql)
	if err != nil {
		return &osquery.ExtensionResponse{Status: status(err)}, nil
	}
	r := &osquery.ExtensionResponse{Status: status(nil), Response: make(osquery.ExtensionPluginResponse, 0, len(result.Rows))}
	for _, row := range result.Rows {
		cells := make(map[string]string, len(row))
		for i, v := range row {
			cells[result.Columns[i].Name] = v.String() // NULL is empty, as in osquery
		}
		r.Response = append(r.Response, cells)
	}
	return r, nil
}

func (s *service) GetQueryColumns(ctx context.Context, sql string) (*osquery.ExtensionResponse, error) {
	columns, err := s.h.db.Columns(ctx, sql)
	r := &osquery.ExtensionResponse{Status: status(err)}
	for _, c := range columns {
		r.Response = append(r.Response, map[string]string{c.Name: c.Type})
	}
	return r, nil
}

// register admits an extension with all its tables or with none.
func (h *Host) register(ctx context.Context, info *osquery.InternalExtensionInfo, registry osquery.ExtensionRegistry) (osquery.ExtensionRouteUUID, error) {
	name := info.GetName()
	if name == "" {
		return 0, errors.New("extension without a name")
	}
	h.registering.Lock()
	defer h.registering.Unlock()
	for _, e := range h.list() {
		// One that was killed may still be listed.
		if e.info.Name == name && h.ping(ctx, e) != nil {
			h.drop(e.uuid)
		}
	}
	e := &registered{info: *info, pid: wire.PeerPID(ctx), registry: registry}
	h.mu.Lock()
	for _, other := range h.extensions {
		if other.info.Name == name {
			h.mu.Unlock()
			return 0, errors.New("Duplicate extension registered") //lint:ignore ST1005 osquery's text
		}
	}
	for {
		// osquery-go and this package's paths allow for five digits.
		e.uuid = osquery.ExtensionRouteUUID(1 + rand.IntN(math.MaxUint16))
		if h.extensions[e.uuid] == nil {
			break
		}
	}
	e.path = wire.ExtensionPath(h.cfg.Socket, int64(e.uuid))
	h.extensions[e.uuid] = e
	h.mu.Unlock()

	err := h.attach(e)
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil {
		delete(h.extensions, e.uuid)
		return 0, fmt.Errorf("Failed adding registry: %w", err) //lint:ignore ST1005 osquery's text
	}
	e.attached = true
	close(h.changed)
	h.changed = make(chan struct{})
	h.log.Info("extension registered", "name", name, "version", info.GetVersion(), "uuid", int64(e.uuid), "tables", len(e.tables))
	return e.uuid, nil
}

func (h *Host) attach(e *registered) (err error) {
	defer func() {
		if err != nil {
			for _, name := range e.tables {
				h.db.Detach(name)
			}
		}
	}()
	routes := e.registry["table"]
	names := slices.Sorted(maps.Keys(routes))
	taken := map[string]bool{}
	take := func(names ...string) {
		for _, name := range names {
			taken[strings.ToLower(name)] = true
		}
	}
	for _, t := range slices.Concat(h.cfg.Tables, h.tables) {
		take(t.Schema().Name)
		take(t.Schema().Aliases...)
	}
	for _, other := range h.list() {
		take(other.tables...)
		take(other.aliases...)
	}
	for _, name := range names {
		if taken[strings.ToLower(name)] {
			return fmt.Errorf("Registry item %s conflicts with another item of the same name.", name) //lint:ignore ST1005 osquery's text
		}
		take(name)
		t, err := newRemote(name, routes[name])
		if err != nil {
			return err
		}
		t.host, t.extension = h, e
		// A further name is no reason to refuse a table: osqueryd ignores one
		// that is taken.
		t.schema.Aliases = slices.DeleteFunc(t.schema.Aliases, func(alias string) bool {
			if _, another := routes[alias]; another || taken[strings.ToLower(alias)] {
				h.log.Warn("alias of a table left out, the name is taken", "table", name, "alias", alias)
				return true
			}
			take(alias)
			return false
		})
		if err := h.db.Attach(t); err != nil {
			return err
		}
		e.aliases = append(e.aliases, t.schema.Aliases...)
		e.tables = append(e.tables, name)
	}
	return nil
}

// call passes a call on to an extension. One that has registered a moment ago
// opens its socket only now, so the first call waits for it.
func (h *Host) call(ctx context.Context, e *registered, registry, item string, request osquery.ExtensionPluginRequest) (*osquery.ExtensionResponse, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, h.cfg.CallTimeout, fmt.Errorf("no answer in %s", h.cfg.CallTimeout))
	defer cancel()
	if err := h.awaitSocket(ctx, e); err != nil {
		return nil, err
	}
	return wire.Call(ctx, e.path, func(ctx context.Context, c *osquery.ExtensionManagerClient) (*osquery.ExtensionResponse, error) {
		return c.Call(ctx, registry, item, request)
	})
}

var _ osquery.ExtensionManager = (*service)(nil)
var _ tables.Table = (*remote)(nil)

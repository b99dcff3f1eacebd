package host

import (
	"context"
	"maps"
	"slices"
	"strings"

	"sockql/tables"
)

// catalogue returns the tables that tell of extensions.
func (h *Host) catalogue() ([]tables.Table, error) {
	extensions, err := osqueryExtensions(h)
	if err != nil {
		return nil, err
	}
	registry, err := osqueryRegistry(h)
	if err != nil {
		return nil, err
	}
	return []tables.Table{extensions, registry}, nil
}

type extensionRow struct {
	uuid                            int64
	name, version, sdk, path, class string
}

// osqueryExtensions is osquery's table osquery_extensions.
func osqueryExtensions(h *Host) (tables.Table, error) {
	return tables.New(tables.Def[extensionRow]{
		Name:     "osquery_extensions",
		Doc:      "The extensions that have registered, and the host itself.",
		Examples: []string{"SELECT * FROM osquery_extensions;"},
		Columns: []tables.Column[extensionRow]{
			{Name: "uuid", Type: tables.BigInt, Doc: "Number of the registration; 0 is the host",
				Get: func(r *extensionRow) tables.Value { return tables.Int(r.uuid) }},
			{Name: "name", Type: tables.Text, Doc: "Name under which the extension registered",
				Get: func(r *extensionRow) tables.Value { return tables.String(r.name) }},
			{Name: "version", Type: tables.Text, Doc: "Version of the extension",
				Get: func(r *extensionRow) tables.Value { return tables.String(r.version) }, Collate: "version"},
			{Name: "sdk_version", Type: tables.Text, Doc: "Version of osquery's SDK with which the extension was built",
				Get: func(r *extensionRow) tables.Value { return tables.String(r.sdk) }, Collate: "version"},
			{Name: "path", Type: tables.Text, Doc: "Socket on which the extension answers",
				Get: func(r *extensionRow) tables.Value { return tables.String(r.path) }},
			{Name: "type", Type: tables.Text, Doc: "core or extension",
				Get: func(r *extensionRow) tables.Value { return tables.String(r.class) }},
		},
		Rows: func(_ context.Context, _ *tables.Query, yield func(*extensionRow) bool) error {
			if !yield(&extensionRow{name: "core", version: h.cfg.Version, sdk: h.cfg.Version, path: h.cfg.Socket, class: "core"}) {
				return nil
			}
			for _, e := range h.list() {
				if !yield(&extensionRow{int64(e.uuid), e.info.Name, e.info.Version, e.info.SdkVersion, e.path, "extension"}) {
					return nil
				}
			}
			return nil
		},
	})
}

type registryRow struct {
	registry, name string
	owner          int64
}

// osqueryRegistry is osquery's table osquery_registry.
func osqueryRegistry(h *Host) (tables.Table, error) {
	return tables.New(tables.Def[registryRow]{
		Name:     "osquery_registry",
		Doc:      "What the host and its extensions offer: tables, and the plugins that extensions have registered.",
		Examples: []string{"SELECT name FROM osquery_registry WHERE registry = 'table' AND owner_uuid != 0;"},
		Columns: []tables.Column[registryRow]{
			{Name: "registry", Type: tables.Text, Doc: "Kind of plugin: table, config, logger, distributed",
				Get: func(r *registryRow) tables.Value { return tables.String(r.registry) }},
			{Name: "name", Type: tables.Text, Doc: "Name of the plugin",
				Get: func(r *registryRow) tables.Value { return tables.String(r.name) }},
			{Name: "owner_uuid", Type: tables.Integer, Doc: "Number of the extension that registered it; 0 is the host",
				Get: func(r *registryRow) tables.Value { return tables.Int(r.owner) }},
			{Name: "internal", Type: tables.Integer, Doc: "1 for a plugin that only osquery itself calls: always 0",
				Get: func(*registryRow) tables.Value { return tables.Int(0) }},
			{Name: "active", Type: tables.Integer, Doc: "1 for a plugin that is in use: a table always is, another plugin of an extension never",
				Get: func(r *registryRow) tables.Value { return tables.Bool(r.registry == "table") }},
		},
		Rows: func(_ context.Context, _ *tables.Query, yield func(*registryRow) bool) error {
			var rows []registryRow
			for _, t := range slices.Concat(h.cfg.Tables, h.tables) {
				rows = append(rows, registryRow{"table", t.Schema().Name, 0})
			}
			slices.SortFunc(rows, func(a, b registryRow) int { return strings.Compare(a.name, b.name) })
			for _, e := range h.list() {
				for _, registry := range slices.Sorted(maps.Keys(e.registry)) {
					for _, name := range slices.Sorted(maps.Keys(e.registry[registry])) {
						rows = append(rows, registryRow{registry, name, int64(e.uuid)})
					}
				}
			}
			for i := range rows {
				if !yield(&rows[i]) {
					return nil
				}
			}
			return nil
		},
	})
}

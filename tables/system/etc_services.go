package system

import (
	"context"

	"sockql/internal/etcfiles"
	"sockql/tables"
)

// EtcServices returns the table etc_services: the lines of services(5), with
// osquery's columns.
func EtcServices(c Config) (tables.Table, error) {
	type row = etcfiles.Service
	return tables.New(tables.Def[row]{
		Name: "etc_services",
		Doc:  "Names of network services in /etc/services, one row for each line (services(5)).",
		Examples: []string{
			"SELECT * FROM etc_services WHERE port = 443;",
			"SELECT l.port, s.name FROM listening_ports l JOIN etc_services s ON s.port = l.port AND s.protocol = protocol_name(l.protocol);",
		},
		Columns: []tables.Column[row]{
			{Name: "name", Type: tables.Text, Doc: "Name of the service.",
				Get: func(r *row) tables.Value { return tables.String(r.Name) }},
			{Name: "port", Type: tables.Integer, Doc: "Port, in host byte order.",
				Get: func(r *row) tables.Value { return tables.Int(r.Port) }},
			{Name: "protocol", Type: tables.Text, Doc: "Transport protocol by its name in etc_protocols, such as tcp or udp.",
				Get: func(r *row) tables.Value { return tables.String(r.Protocol) }},
			{Name: "aliases", Type: tables.Text, Doc: "Further names, a space between them.",
				Get: func(r *row) tables.Value { return tables.String(r.Aliases) }},
			{Name: "comment", Type: tables.Text, Doc: "What stands behind the number sign.",
				Get: func(r *row) tables.Value { return tables.String(r.Comment) }},
		},
		Rows: func(ctx context.Context, q *tables.Query, yield func(*row) bool) error {
			return eachRow(ctx, c, q, "etc_services", []place{{file: "etc/services"}}, etcfiles.Services, func(s *row, _ place) bool {
				return yield(s)
			})
		},
	})
}

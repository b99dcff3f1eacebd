package system

import (
	"context"

	"sockql/internal/etcfiles"
	"sockql/tables"
)

// EtcHosts returns the table etc_hosts: the lines of hosts(5), with osquery's
// columns.
func EtcHosts(c Config) (tables.Table, error) {
	type row struct {
		*etcfiles.Host
		pid int64
	}
	columns := []tables.Column[row]{
		{Name: "address", Type: tables.Text, Doc: "Address, as it is written.",
			Get: func(r *row) tables.Value { return tables.String(r.Address) }},
		{Name: "hostnames", Type: tables.Text, Doc: "Names, a space between them.",
			Get: func(r *row) tables.Value { return tables.String(r.Names) }},
		{Name: "pid_with_namespace", Type: tables.Integer, Flags: tables.Additional | tables.Hidden, Doc: docPID,
			Get: func(r *row) tables.Value { return tables.Int(r.pid) }},
	}
	pidColumn := len(columns) - 1
	return tables.New(tables.Def[row]{
		Name:      "etc_hosts",
		Doc:       "Names of addresses in /etc/hosts, one row for each line (hosts(5)).",
		Privilege: namespace,
		Examples:  []string{"SELECT * FROM etc_hosts WHERE address NOT IN ('127.0.0.1', '::1');"},
		Columns:   columns,
		Rows: func(ctx context.Context, q *tables.Query, yield func(*row) bool) error {
			return eachRow(ctx, c, q, "etc_hosts", places(q, pidColumn, "etc/hosts"), etcfiles.Hosts, func(h *etcfiles.Host, p place) bool {
				return yield(&row{h, p.pid})
			})
		},
	})
}

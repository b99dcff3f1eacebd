package system

import (
	"context"

	"sockql/internal/etcfiles"
	"sockql/tables"
)

// DNSResolvers returns the table dns_resolvers: the settings of resolv.conf(5),
// with osquery's columns.
func DNSResolvers(c Config) (tables.Table, error) {
	type row struct {
		*etcfiles.Resolver
		pid int64
	}
	columns := []tables.Column[row]{
		{Name: "id", Type: tables.Integer, Doc: "Place among those of its type, counted from 0.",
			Get: func(r *row) tables.Value { return tables.Int(r.Index) }},
		{Name: "type", Type: tables.Text, Doc: "nameserver, sortlist or search.",
			Get: func(r *row) tables.Value { return tables.String(r.Kind) }},
		{Name: "address", Type: tables.Text, Doc: "Address, or the domain of a search.",
			Get: func(r *row) tables.Value { return tables.String(r.Address) }},
		{Name: "netmask", Type: tables.Text, Doc: "Mask of a sortlist as it is written, 32 for a nameserver, empty for a search.",
			Get: func(r *row) tables.Value { return tables.String(r.Netmask) }},
		{Name: "options", Type: tables.BigInt, Doc: "Options of all of them, as the bits of resolv.h of glibc; 705 is the default.",
			Get: func(r *row) tables.Value { return tables.Int(r.Options) }},
		{Name: "pid_with_namespace", Type: tables.Integer, Flags: tables.Additional | tables.Hidden, Doc: docPID,
			Get: func(r *row) tables.Value { return tables.Int(r.pid) }},
	}
	pidColumn := len(columns) - 1
	return tables.New(tables.Def[row]{
		Name:      "dns_resolvers",
		Doc:       "Name servers and search domains of /etc/resolv.conf as the C library uses them (resolv.conf(5)): the first three servers, and the one on this host if there is none.",
		Privilege: namespace,
		Examples:  []string{"SELECT address FROM dns_resolvers WHERE type = 'nameserver';"},
		Columns:   columns,
		Rows: func(ctx context.Context, q *tables.Query, yield func(*row) bool) error {
			return eachRow(ctx, c, q, "dns_resolvers", places(q, pidColumn, "etc/resolv.conf"), etcfiles.Resolvers, func(r *etcfiles.Resolver, p place) bool {
				return yield(&row{r, p.pid})
			})
		},
	})
}

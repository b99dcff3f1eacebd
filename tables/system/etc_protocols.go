package system

import (
	"context"

	"sockql/internal/etcfiles"
	"sockql/tables"
)

// EtcProtocols returns the table etc_protocols: the lines of protocols(5), with
// osquery's columns.
func EtcProtocols(c Config) (tables.Table, error) {
	type row = etcfiles.Protocol
	return tables.New(tables.Def[row]{
		Name:     "etc_protocols",
		Doc:      "Names of IP protocols in /etc/protocols, one row for each line (protocols(5)).",
		Examples: []string{"SELECT * FROM etc_protocols WHERE number = 6;"},
		Columns: []tables.Column[row]{
			{Name: "name", Type: tables.Text, Doc: "Name of the protocol.",
				Get: func(r *row) tables.Value { return tables.String(r.Name) }},
			{Name: "number", Type: tables.Integer, Doc: "Number of the protocol in the IP header.",
				Get: func(r *row) tables.Value { return tables.Int(r.Number) }},
			{Name: "alias", Type: tables.Text, Doc: "The first further name.",
				Get: func(r *row) tables.Value { return tables.String(r.Alias) }},
			{Name: "comment", Type: tables.Text, Doc: "What stands behind the number sign.",
				Get: func(r *row) tables.Value { return tables.String(r.Comment) }},
		},
		Rows: func(ctx context.Context, q *tables.Query, yield func(*row) bool) error {
			return eachRow(ctx, c, q, "etc_protocols", []place{{file: "etc/protocols"}}, etcfiles.Protocols, func(p *row, _ place) bool {
				return yield(p)
			})
		},
	})
}

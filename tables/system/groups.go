package system

import (
	"context"
	"io"

	"sockql/internal/etcfiles"
	"sockql/tables"
)

// Groups returns the table groups: the groups of group(5), with osquery's
// columns.
func Groups(c Config) (tables.Table, error) {
	type group struct {
		name string
		gid  uint32
	}
	type row struct {
		*group
		pid int64
	}
	// The first line of a group identifier counts, as it does for
	// getgrgid(3).
	parse := func(r io.Reader, yield func(*group) bool) error {
		seen := map[uint32]bool{}
		return etcfiles.Groups(r, func(g *etcfiles.Group) bool {
			if seen[g.GID] {
				return true
			}
			seen[g.GID] = true
			return yield(&group{g.Name, g.GID})
		})
	}
	var gidColumn, pidColumn int
	table, err := tables.New(tables.Def[row]{
		Name:      "groups",
		Doc:       "Groups of /etc/group, one row for each group identifier, of which the first line counts (group(5)). Groups that only a directory service such as LDAP knows are not shown.",
		Privilege: namespace,
		Examples: []string{
			"SELECT * FROM groups WHERE gid = 0;",
			"SELECT u.username, g.groupname FROM users u LEFT JOIN groups g USING (gid);",
		},
		Columns: []tables.Column[row]{
			{Name: "gid", Type: tables.BigInt, Flags: tables.Index, Doc: "Group identifier.",
				Get: func(r *row) tables.Value { return tables.Int(r.gid) }},
			{Name: "gid_signed", Type: tables.BigInt, Doc: "Group identifier" + docSigned,
				Get: func(r *row) tables.Value { return signed(r.gid) }},
			{Name: "groupname", Type: tables.Text, Doc: "Name of the group.",
				Get: func(r *row) tables.Value { return tables.String(r.name) }},
			{Name: "pid_with_namespace", Type: tables.Integer, Flags: tables.Additional | tables.Hidden, Doc: docPID,
				Get: func(r *row) tables.Value { return tables.Int(r.pid) }},
			{Name: "group_sid", Type: tables.Text, Flags: tables.Hidden, Doc: "Empty: an identifier that only Windows has.", Get: empty[row]},
			{Name: "comment", Type: tables.Text, Flags: tables.Hidden, Doc: "Empty: a remark that only Windows has.", Get: empty[row]},
			{Name: "is_hidden", Type: tables.Integer, Flags: tables.Hidden, Doc: "NULL: a mark that only macOS has.", Get: null[row]},
		},
		Rows: func(ctx context.Context, q *tables.Query, yield func(*row) bool) error {
			var r row
			gids := q.Set(gidColumn)
			return eachRow(ctx, c, q, "groups", places(q, pidColumn, "etc/group"), parse, func(g *group, p place) bool {
				if !gids.HasInt(int64(g.gid)) {
					return true
				}
				r.group, r.pid = g, p.pid
				return yield(&r)
			})
		},
	})
	if err != nil {
		return nil, err
	}
	gidColumn, pidColumn = table.Schema().Column("gid"), table.Schema().Column("pid_with_namespace")
	return table, nil
}

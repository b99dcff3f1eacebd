package system

import (
	"context"
	"errors"

	"sockql/internal/etcfiles"
	"sockql/tables"
)

const (
	docSigned = " as a signed 32-bit number of the same bits."
	docPID    = "Process in whose root directory the file is read, as the process sees it, instead of the host's; 0 for the host. Only a constraint for equality chooses one."
	namespace = "Reading in another process's namespace needs CAP_SYS_PTRACE, or to be the process's user."
)

// Users returns the table users: the accounts of passwd(5), with osquery's
// columns.
func Users(c Config) (tables.Table, error) {
	type row struct {
		*etcfiles.User
		pid    int64
		remote bool
	}
	var pidColumn, remoteColumn, uidColumn, nameColumn int
	table, err := tables.New(tables.Def[row]{
		Name:      "users",
		Doc:       "User accounts of /etc/passwd, one row for each line (passwd(5)). Accounts that only a directory service such as LDAP knows are not shown.",
		Privilege: namespace,
		Examples: []string{
			"SELECT * FROM users WHERE uid = 0;",
			"SELECT p.pid, p.name, u.username FROM processes p LEFT JOIN users u USING (uid);",
			"SELECT username FROM users WHERE pid_with_namespace = 1234;",
		},
		Columns: []tables.Column[row]{
			{Name: "uid", Type: tables.BigInt, Flags: tables.Index, Doc: "User identifier.",
				Get: func(r *row) tables.Value { return tables.Int(r.UID) }},
			{Name: "gid", Type: tables.BigInt, Doc: "Identifier of the primary group.",
				Get: func(r *row) tables.Value { return tables.Int(r.GID) }},
			{Name: "uid_signed", Type: tables.BigInt, Doc: "User identifier" + docSigned,
				Get: func(r *row) tables.Value { return signed(r.UID) }},
			{Name: "gid_signed", Type: tables.BigInt, Doc: "Identifier of the primary group" + docSigned,
				Get: func(r *row) tables.Value { return signed(r.GID) }},
			{Name: "username", Type: tables.Text, Flags: tables.Additional, Doc: "Login name.",
				Get: func(r *row) tables.Value { return tables.String(r.Name) }},
			{Name: "description", Type: tables.Text, Doc: "Full name or comment, the GECOS field.",
				Get: func(r *row) tables.Value { return tables.String(r.Description) }},
			{Name: "directory", Type: tables.Text, Doc: "Home directory.",
				Get: func(r *row) tables.Value { return tables.String(r.Directory) }},
			{Name: "shell", Type: tables.Text, Doc: "Program run at login; if it is empty, /bin/sh runs.",
				Get: func(r *row) tables.Value { return tables.String(r.Shell) }},
			{Name: "uuid", Type: tables.Text, Flags: tables.Index, Collate: "nocase", Doc: "Empty: an identifier that only macOS and Windows have.",
				Get: empty[row]},
			{Name: "pid_with_namespace", Type: tables.Integer, Flags: tables.Additional | tables.Hidden, Doc: docPID,
				Get: func(r *row) tables.Value { return tables.Int(r.pid) }},
			{Name: "include_remote", Type: tables.Integer, Flags: tables.Additional | tables.Hidden, Doc: "With a constraint for 1 accounts of directory services are asked for, which gives a warning here; such rows have 1, others 0.",
				Get: func(r *row) tables.Value { return tables.Bool(r.remote) }},
			{Name: "type", Type: tables.Text, Flags: tables.Hidden, Doc: "Empty: a kind of account that only Windows has.", Get: empty[row]},
			{Name: "is_hidden", Type: tables.Integer, Flags: tables.Hidden, Doc: "NULL: a mark that only macOS has.", Get: null[row]},
		},
		Rows: func(ctx context.Context, q *tables.Query, yield func(*row) bool) error {
			var r row
			if remote, listed := q.Set(remoteColumn).Values(); listed {
				for _, v := range remote {
					r.remote = r.remote || v.Int64() == 1
				}
			}
			if r.remote {
				q.Warn(errors.New("users: directory services are not asked: only the accounts of /etc/passwd are shown"))
			}
			uids, names := q.Set(uidColumn), q.Set(nameColumn)
			return eachRow(ctx, c, q, "users", places(q, pidColumn, "etc/passwd"), etcfiles.Users, func(u *etcfiles.User, p place) bool {
				if !uids.HasInt(int64(u.UID)) || !names.HasString(u.Name) {
					return true
				}
				r.User, r.pid = u, p.pid
				return yield(&r)
			})
		},
	})
	if err != nil {
		return nil, err
	}
	s := table.Schema()
	pidColumn, remoteColumn = s.Column("pid_with_namespace"), s.Column("include_remote")
	uidColumn, nameColumn = s.Column("uid"), s.Column("username")
	return table, nil
}

package files

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"strconv"

	"golang.org/x/sys/unix"

	"sockql/internal/etcfiles"
	"sockql/tables"
)

// suidDirectories are where the table looks for programs: the same places as
// osquery's.
var suidDirectories = [...]string{
	"/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/tmp",
}

// maxAccounts bounds what is read of a file of accounts, in bytes.
const maxAccounts = 64 << 20

type suidRow struct {
	place
	user, group string
	mode        uint16
}

// SuidBin returns the table suid_bin: programs that run with the rights of
// their owner or group, with osquery's columns.
func SuidBin(c Config) (tables.Table, error) {
	pid, _ := namespaceColumns(func(r *suidRow) *place { return &r.place })
	columns := []tables.Column[suidRow]{
		{Name: "path", Type: tables.Text, Doc: "Path of the program, once for each directory that leads to it.",
			Get: func(r *suidRow) tables.Value { return tables.String(r.path) }},
		{Name: "username", Type: tables.Text, Doc: "Owner, by the name in /etc/passwd or else by number.",
			Get: func(r *suidRow) tables.Value { return tables.String(r.user) }},
		{Name: "groupname", Type: tables.Text, Doc: "Group, by the name in /etc/group or else by number.",
			Get: func(r *suidRow) tables.Value { return tables.String(r.group) }},
		{Name: "permissions", Type: tables.Text, Doc: "S for set-user-ID, G for set-group-ID, SG for both.",
			Get: func(r *suidRow) tables.Value {
				var s string
				if r.mode&unix.S_ISUID != 0 {
					s = "S"
				}
				if r.mode&unix.S_ISGID != 0 {
					s += "G"
				}
				return tables.String(s)
			}},
		pid,
	}
	const userColumn, groupColumn, pidColumn = 1, 2, 4
	return tables.New(tables.Def[suidRow]{
		Name: "suid_bin",
		Doc: "Set-user-ID and set-group-ID files in and below /bin, /sbin, /usr/bin, /usr/sbin, /usr/local/bin, /usr/local/sbin and /tmp. " +
			"Other places take the table file.",
		Privilege: "CAP_DAC_READ_SEARCH shows what is in directories of others.",
		Examples: []string{
			"SELECT * FROM suid_bin;",
			"SELECT s.path, f.mode FROM suid_bin s JOIN file f ON f.path = s.path WHERE f.mode LIKE '%2' OR f.mode LIKE '%7';",
		},
		Columns: columns,
		Rows: func(ctx context.Context, q *tables.Query, yield func(*suidRow) bool) error {
			err := c.views(ctx, q, pidColumn, func(v *view) error {
				w := suidWalk{search: search{ctx: ctx, query: q, view: v}}
				if q.Used(userColumn) {
					w.users = names(v, q, "/etc/passwd", etcfiles.Users, func(u *etcfiles.User) (uint32, string) { return u.UID, u.Name })
				}
				if q.Used(groupColumn) && ctx.Err() == nil {
					w.groups = names(v, q, "/etc/group", etcfiles.Groups, func(g *etcfiles.Group) (uint32, string) { return g.GID, g.Name })
				}
				w.yield = yield
				for _, directory := range suidDirectories {
					if err := w.walk(directory, 0); err != nil {
						return err
					}
				}
				return nil
			})
			if err == errStop {
				return nil
			}
			return err
		},
	})
}

// names returns the names of a file of accounts by number. The first of several
// counts, as for getpwuid(3).
func names[R any](v *view, q *tables.Query, path string, parse func(io.Reader, func(*R) bool) error, of func(*R) (uint32, string)) map[uint32]string {
	names := map[uint32]string{}
	f, _, err := v.openRegular(path)
	if err == errNotRegular {
		return names
	}
	if err == nil {
		defer f.Close()
		err = parse(io.LimitReader(f, maxAccounts), func(r *R) bool {
			if id, name := of(r); names[id] == "" {
				names[id] = name
			}
			return true
		})
	}
	if err != nil {
		q.Warn(fmt.Errorf("suid_bin: %s: %w", path, err))
	}
	return names
}

func nameOf(names map[uint32]string, id uint32) string {
	if name, ok := names[id]; ok {
		return name
	}
	return strconv.FormatUint(uint64(id), 10)
}

// A suidWalk looks through directories without following links to others.
type suidWalk struct {
	search
	users, groups map[uint32]string
	row           suidRow
	yield         func(*suidRow) bool
}

func (w *suidWalk) walk(directory string, depth int) error {
	if depth > maxDepth {
		w.query.Warn(fmt.Errorf("suid_bin: directories more than %d levels deep are left out", maxDepth))
		return nil
	}
	return w.list(directory, func(e fs.DirEntry) error {
		path := directory + "/" + e.Name()
		switch {
		case e.IsDir():
			return w.walk(path, depth+1)
		case e.Type()&^fs.ModeSymlink != 0:
			return nil
		}
		return w.look(path)
	})
}

func (w *suidWalk) look(path string) error {
	if w.ctx.Err() != nil {
		return context.Cause(w.ctx)
	}
	var s status
	if err := w.view.stat(path, &s); err != nil || !s.regular() || s.Mode&(unix.S_ISUID|unix.S_ISGID) == 0 {
		return nil
	}
	w.row = suidRow{
		place: place{view: w.view, path: path},
		user:  nameOf(w.users, s.Uid), group: nameOf(w.groups, s.Gid), mode: s.Mode,
	}
	if !w.yield(&w.row) {
		return errStop
	}
	return nil
}

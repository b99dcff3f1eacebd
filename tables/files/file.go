package files

import (
	"context"
	"fmt"

	"golang.org/x/sys/unix"

	"sockql/tables"
)

// fileRow is a row of the table file.
type fileRow struct {
	place
	status
}

// File returns the table file: what stat(2) tells of the files of a path or a
// directory, with osquery's columns.
func File(c Config) (tables.Table, error) {
	number := func(name string, t tables.Type, doc string, get func(*fileRow) int64) tables.Column[fileRow] {
		return tables.Column[fileRow]{Name: name, Type: t, Doc: doc, Get: func(r *fileRow) tables.Value { return tables.Int(get(r)) }}
	}
	text := func(name, doc string, get func(*fileRow) string) tables.Column[fileRow] {
		return tables.Column[fileRow]{Name: name, Type: tables.Text, Doc: doc, Get: func(r *fileRow) tables.Value { return tables.String(get(r)) }}
	}
	path, directory := pathColumns("file", func(r *fileRow) *place { return &r.place })
	pid, mount := namespaceColumns(func(r *fileRow) *place { return &r.place })
	columns := []tables.Column[fileRow]{
		path, directory,
		text("filename", "The last part of the path; a dot for a path that ends in a slash.", func(r *fileRow) string {
			_, name := split(r.path)
			return name
		}),
		number("inode", tables.BigInt, "Number of the file in its file system.", func(r *fileRow) int64 { return int64(r.Ino) }),
		number("uid", tables.BigInt, "Owner.", func(r *fileRow) int64 { return int64(r.Uid) }),
		number("gid", tables.BigInt, "Group.", func(r *fileRow) int64 { return int64(r.Gid) }),
		text("mode", "Permissions in octal digits, with the bits for set-user-ID (4000), set-group-ID (2000) and sticky (1000) in front.",
			func(r *fileRow) string { return fmt.Sprintf("%04o", r.Mode&0o7777) }),
		number("device", tables.BigInt, "The device that a device file stands for, as makedev(3) numbers it; 0 for other files.",
			func(r *fileRow) int64 { return int64(unix.Mkdev(r.Rdev_major, r.Rdev_minor)) }),
		number("size", tables.BigInt, "Bytes.", func(r *fileRow) int64 { return int64(r.Size) }),
		number("block_size", tables.Integer, "Bytes that the file system prefers to read at once.", func(r *fileRow) int64 { return int64(int32(r.Blksize)) }),
		number("atime", tables.BigInt, "Last access, in seconds since the epoch.", func(r *fileRow) int64 { return r.Atime.Sec }),
		number("mtime", tables.BigInt, "Last change of the content, in seconds since the epoch.", func(r *fileRow) int64 { return r.Mtime.Sec }),
		number("ctime", tables.BigInt, "Last change of the content or of what this table shows, in seconds since the epoch.", func(r *fileRow) int64 { return r.Ctime.Sec }),
		number("btime", tables.BigInt, "Creation, in seconds since the epoch; 0 if the file system does not record it.", func(r *fileRow) int64 {
			if r.Statx_t.Mask&unix.STATX_BTIME == 0 {
				return 0
			}
			return r.Btime.Sec
		}),
		number("hard_links", tables.Integer, "Number of names.", func(r *fileRow) int64 { return int64(int32(r.Nlink)) }),
		number("symlink", tables.Integer, "1 if the path is a symbolic link, which the columns but symlink_target_path then look through, else 0.", func(r *fileRow) int64 {
			if r.link {
				return 1
			}
			return 0
		}),
		text("type", "regular, directory, block, character, fifo, socket, or unknown, as a symbolic link to nowhere is.", (*fileRow).kind),
		text("symlink_target_path", "What a symbolic link says; empty for other files.", func(r *fileRow) string { return r.target }),
		pid, mount,
	}
	pidColumn := len(columns) - 2
	return tables.New(tables.Def[fileRow]{
		Name: "file",
		Doc: "Files by path or directory, one of which a statement has to give. In path LIKE and directory LIKE, % finds what glob(7) " +
			"finds with *, which is no hidden name, and %% at the end everything below, without following symbolic links.",
		Privilege: "CAP_DAC_READ_SEARCH shows what is in directories of others.",
		Examples: []string{
			"SELECT path, mode, size, mtime FROM file WHERE directory = '/etc';",
			"SELECT path, type FROM file WHERE path LIKE '/home/%/.ssh/%%';",
			"SELECT p.pid, p.name, f.* FROM processes p JOIN file f ON f.path = p.path WHERE f.mode LIKE '4%';",
		},
		Columns: columns,
		Rows: func(ctx context.Context, q *tables.Query, yield func(*fileRow) bool) error {
			var r fileRow
			return c.search(ctx, q, pidColumn, func(p place) bool {
				r.place = p
				if err := p.stat(p.path, &r.status); err != nil {
					if !absent(err) {
						warn(q, "files", err)
					}
					return true
				}
				return yield(&r)
			})
		},
	})
}

func (r *fileRow) kind() string {
	if r.dangling {
		return "unknown"
	}
	switch r.format() {
	case unix.S_IFREG:
		return "regular"
	case unix.S_IFDIR:
		return "directory"
	case unix.S_IFBLK:
		return "block"
	case unix.S_IFCHR:
		return "character"
	case unix.S_IFIFO:
		return "fifo"
	case unix.S_IFSOCK:
		return "socket"
	}
	return "unknown"
}

// pathColumns returns the first two columns of a table of files. Only some of
// osquery's tables look files up by path.
func pathColumns[R any](table string, of func(*R) *place) (path, directory tables.Column[R]) {
	path = tables.Column[R]{Name: "path", Type: tables.Text, Flags: tables.Index | tables.Required | tables.Optimized,
		Doc: "Path as the statement gives it, or as the directory and the pattern lead to it; a pattern that ends in a wildcard gives directories a slash at their end.",
		Get: func(r *R) tables.Value { return tables.String(of(r).path) }}
	if table == "extended_attributes" {
		path.Flags &^= tables.Index
	}
	directory = tables.Column[R]{Name: "directory", Type: tables.Text, Flags: tables.Required | tables.Optimized,
		Doc: "Directory of the file, as the statement gives it.",
		Get: func(r *R) tables.Value { return tables.String(of(r).directory) }}
	return path, directory
}

// namespaceColumns returns the hidden columns of a table that looks into the
// mount namespaces of processes.
func namespaceColumns[R any](of func(*R) *place) (pid, mount tables.Column[R]) {
	return tables.Column[R]{Name: "pid_with_namespace", Type: tables.Integer, Flags: tables.Additional | tables.Hidden,
			Doc: "Process in whose mount namespace and below whose root directory to look, 0 for the host.",
			Get: func(r *R) tables.Value { return tables.Int(of(r).pid) }},
		tables.Column[R]{Name: "mount_namespace_id", Type: tables.Text, Flags: tables.Hidden,
			Doc: "Number of the mount namespace of pid_with_namespace; empty for the host.",
			Get: func(r *R) tables.Value { return tables.String(of(r).mount) }}
}

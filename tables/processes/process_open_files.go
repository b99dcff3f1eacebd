package processes

import (
	"context"
	"strings"

	"sockql/tables"
	"sockql/tables/internal/procfs"
)

type openFile struct {
	pid int32
	procfs.OpenFile
}

// ProcessOpenFiles returns the table process_open_files of a procfs: what
// descriptors refer to that has a path, with osquery's columns.
func ProcessOpenFiles(proc *procfs.FS) (tables.Table, error) {
	return tables.New(tables.Def[openFile]{
		Name:      "process_open_files",
		Doc:       "Files, devices and directories that processes have open, one row for each descriptor (proc_pid_fd(5)). Sockets, pipes and other nameless things have tables of their own or none.",
		Privilege: "CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH show the files of other users' processes.",
		Examples: []string{
			"SELECT * FROM process_open_files WHERE pid = 1;",
			"SELECT p.name, o.path FROM process_open_files o JOIN processes p ON p.pid = o.pid WHERE o.path LIKE '%(deleted)';",
		},
		Columns: []tables.Column[openFile]{
			pid(tables.BigInt, tables.Index, func(r *openFile) int32 { return r.pid }),
			{Name: "fd", Type: tables.BigInt, Doc: "Descriptor.", Get: func(r *openFile) tables.Value { return tables.Int(r.FD) }},
			{Name: "path", Type: tables.Text, Doc: "Path as the process sees it, with \" (deleted)\" after it if it is gone.",
				Get: func(r *openFile) tables.Value { return tables.String(r.Target) }},
		},
		Rows: func(ctx context.Context, q *tables.Query, yield func(*openFile) bool) error {
			var w procfs.Walker
			var files []procfs.OpenFile
			var r openFile
			return eachProcess(ctx, proc, q, func(pid int32) (bool, error) {
				var err error
				files, err = proc.OpenFiles(&w, pid, files[:0])
				for _, f := range files {
					if nameless(f.Target) {
						continue
					}
					if r = (openFile{pid, f}); !yield(&r) {
						return false, err
					}
				}
				return true, err
			})
		},
	})
}

const anonymousPipe = "pipe:["

// nameless reports whether a descriptor refers to what osquery leaves out. A
// path begins with a slash, and so cannot be taken for one of these.
func nameless(target string) bool {
	return strings.HasPrefix(target, "socket:") || strings.HasPrefix(target, "anon_inode:") || strings.HasPrefix(target, "pipe:")
}

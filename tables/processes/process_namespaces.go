package processes

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"sockql/tables"
	"sockql/tables/internal/procfs"
)

// namespaceKinds are the links in /proc/<pid>/ns (proc_pid_ns(5)) that osquery
// shows, in the order of its columns.
var namespaceKinds = [...]string{"cgroup", "ipc", "mnt", "net", "pid", "user", "uts"}

type namespaces struct {
	pid    int32
	inodes [len(namespaceKinds)]uint64 // 0 if it is not known
}

// ProcessNamespaces returns the table process_namespaces of a procfs, with
// osquery's columns.
func ProcessNamespaces(proc *procfs.FS) (tables.Table, error) {
	columns := []tables.Column[namespaces]{
		pid(tables.Integer, tables.Index|tables.Optimized, func(r *namespaces) int32 { return r.pid }),
	}
	for i, kind := range namespaceKinds {
		columns = append(columns, tables.Column[namespaces]{Name: kind + "_namespace", Type: tables.Text,
			Doc: "Number of the " + kind + " namespace, in decimal digits; NULL if it cannot be read, and for a process that has ended.",
			Get: func(r *namespaces) tables.Value {
				if r.inodes[i] == 0 {
					return tables.Null()
				}
				return tables.Decimal(r.inodes[i])
			}})
	}
	return tables.New(tables.Def[namespaces]{
		Name:      "process_namespaces",
		Doc:       "Namespaces of processes (namespaces(7)), one row for each process.",
		Privilege: "CAP_SYS_PTRACE shows the namespaces of other users' processes.",
		Examples: []string{
			"SELECT net_namespace, count(*) FROM process_namespaces GROUP BY 1;",
			"SELECT p.pid, p.name FROM process_namespaces n JOIN processes p ON p.pid = n.pid WHERE n.pid_namespace <> (SELECT pid_namespace FROM process_namespaces WHERE pid = 1);",
		},
		Columns: columns,
		Rows: func(ctx context.Context, q *tables.Query, yield func(*namespaces) bool) error {
			return eachProcess(ctx, proc, q, func(pid int32) (bool, error) {
				r := namespaces{pid: pid}
				if err := r.read(ctx, proc, q); err != nil {
					return true, err
				}
				return yield(&r), nil
			})
		},
	})
}

// read fills in the namespaces whose columns are used.
func (r *namespaces) read(ctx context.Context, proc *procfs.FS, q *tables.Query) error {
	for i, kind := range namespaceKinds {
		if !q.Used(pidColumn + 1 + i) {
			continue
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		inode, err := proc.Namespace(r.pid, kind)
		switch {
		case err == nil:
			r.inodes[i] = inode
		case errors.Is(err, procfs.ErrVanished):
			// A zombie has left its namespaces, an old kernel lacks a kind.
			if there, _ := proc.Exists(r.pid); !there {
				return err
			}
		case errors.Is(err, fs.ErrPermission):
			q.Warn(fmt.Errorf("process_namespaces: some processes of others: %w: their namespaces show as NULL without CAP_SYS_PTRACE", fs.ErrPermission))
			return nil
		default:
			q.Warn(fmt.Errorf("process_namespaces: %w", err))
		}
	}
	return nil
}

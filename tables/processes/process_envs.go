package processes

import (
	"context"
	"strings"

	"sockql/tables"
	"sockql/tables/internal/procfs"
)

type environment struct {
	pid        int32
	key, value string
}

// ProcessEnvs returns the table process_envs of a procfs: the environment that
// processes were started with, with osquery's columns.
func ProcessEnvs(proc *procfs.FS) (tables.Table, error) {
	return tables.New(tables.Def[environment]{
		Name:      "process_envs",
		Doc:       "Environment of processes as it was when they started, or what they have written over it since (proc_pid_environ(5)), one row for each variable.",
		Privilege: "CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH show the environment of other users' processes.",
		Examples: []string{
			"SELECT key, value FROM process_envs WHERE pid = 1;",
			"SELECT p.pid, p.name, e.value FROM process_envs e JOIN processes p ON p.pid = e.pid WHERE e.key = 'LD_PRELOAD';",
		},
		Columns: []tables.Column[environment]{
			pid(tables.Integer, tables.Index|tables.Optimized, func(r *environment) int32 { return r.pid }),
			{Name: "key", Type: tables.Text, Doc: "Name of the variable, or all of an entry that has no equals sign.",
				Get: func(r *environment) tables.Value { return tables.String(r.key) }},
			{Name: "value", Type: tables.Text, Doc: "What stands behind the first equals sign.",
				Get: func(r *environment) tables.Value { return tables.String(r.value) }},
		},
		Rows: func(ctx context.Context, q *tables.Query, yield func(*environment) bool) error {
			return eachProcess(ctx, proc, q, func(pid int32) (bool, error) {
				all, err := proc.Environ(pid)
				for entry := range strings.SplitSeq(all, "\x00") {
					if entry == "" {
						continue
					}
					r := environment{pid: pid}
					r.key, r.value, _ = strings.Cut(entry, "=")
					if !yield(&r) {
						return false, err
					}
				}
				return true, err
			})
		},
	})
}

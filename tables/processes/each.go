package processes

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"

	"sockql/tables"
	"sockql/tables/internal/procfs"
)

// pids returns the processes that can matter to a query, ascending, and whether
// the query names them: then they need not exist.
func pids(proc *procfs.FS, q *tables.Query) (list []int32, named bool, err error) {
	set := q.Set(pidColumn)
	if values, listed := set.Values(); listed {
		for _, v := range values {
			if n := v.Int64(); n > 0 && n <= math.MaxInt32 {
				list = append(list, int32(n))
			}
		}
		return list, true, nil
	}
	list, err = proc.PIDs(nil)
	if err != nil {
		return nil, false, fmt.Errorf("%s: list: %w", q.Schema().Name, err)
	}
	if hide, err := proc.HidePID(); err == nil && hide.Omits() {
		q.Warn(fmt.Errorf("%s: processes of other users: %w: procfs is mounted with hidepid, and they are left out without CAP_SYS_PTRACE", q.Schema().Name, fs.ErrPermission))
	}
	return slices.DeleteFunc(list, func(pid int32) bool { return !set.HasInt(int64(pid)) }), false, nil
}

// isProcess reports whether a number is that of a process. procfs answers to
// the number of a thread too, but does not list it.
func isProcess(proc *procfs.FS, pid int32) bool {
	group, err := proc.ThreadGroup(pid)
	if errors.Is(err, procfs.ErrVanished) {
		return false
	}
	return err != nil || group == pid
}

// eachProcess calls f for the processes that can matter to a query until it
// returns false. What f cannot read of a process costs that process's rows and
// gives a warning; a process that ends costs nothing.
func eachProcess(ctx context.Context, proc *procfs.FS, q *tables.Query, f func(pid int32) (more bool, err error)) error {
	list, named, err := pids(proc, q)
	if err != nil {
		return err
	}
	for _, pid := range list {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if named && !isProcess(proc, pid) {
			continue
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		more, err := f(pid)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		warn(q, err)
		if !more {
			return nil
		}
	}
	return nil
}

// warn says that rows of some processes are missing, once for all that belong
// to somebody else.
func warn(q *tables.Query, err error) {
	switch {
	case err == nil || errors.Is(err, procfs.ErrVanished):
	case errors.Is(err, fs.ErrPermission):
		q.Warn(fmt.Errorf("%s: some processes of others: %w: they are left out without CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH", q.Schema().Name, fs.ErrPermission))
	default:
		q.Warn(fmt.Errorf("%s: %w", q.Schema().Name, err))
	}
}

// pidColumn is the position of the column pid in every table of this package.
const pidColumn = 0

func pid[R any](t tables.Type, flags tables.Flags, of func(*R) int32) tables.Column[R] {
	return tables.Column[R]{Name: "pid", Type: t, Flags: flags, Doc: "Number of the thread group.",
		Get: func(r *R) tables.Value { return tables.Int(of(r)) }}
}

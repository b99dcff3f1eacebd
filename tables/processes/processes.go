package processes

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strings"

	"sockql/tables"
	"sockql/tables/internal/procfs"
)

// A source is a file, or a few, of /proc/<pid>, read only if a column needs it.
type source uint8

const (
	fromStat source = 1 << iota
	fromStatus
	fromExe
	fromCmdline
	fromCwd
	fromRoot
	fromIO
	fromCgroup
)

// A process is one row. Parts whose source is not needed are empty.
type process struct {
	pid    int32
	boot   int64  // seconds since the epoch; 0 if it is not known
	ticks  uint64 // USER_HZ
	stat   procfs.Stat
	status procfs.Status

	path, onDisk, cmdline, cwd, root, cgroup tables.Value
	read, written                            tables.Value
}

type column struct {
	tables.Column[process]
	needs source
}

// Processes returns the table processes of a procfs.
func Processes(proc *procfs.FS) (tables.Table, error) {
	columns := processColumns()
	defs := make([]tables.Column[process], len(columns))
	for i, c := range columns {
		defs[i] = c.Column
	}
	t := reader{proc: proc, columns: columns}
	t.pid = slices.IndexFunc(columns, func(c column) bool { return c.Name == "pid" })
	return tables.New(tables.Def[process]{
		Name:      "processes",
		Doc:       "Running processes, one row for each thread group.",
		Privilege: "CAP_SYS_PTRACE shows path, cwd, root and disk_bytes_* of other users' processes.",
		Examples: []string{
			"SELECT pid, name, cmdline FROM processes WHERE on_disk = 0;",
			"SELECT name, sum(resident_size) AS bytes FROM processes GROUP BY name ORDER BY bytes DESC LIMIT 10;",
		},
		Columns: defs,
		Rows:    t.rows,
	})
}

func processColumns() []column {
	bigint := func(name string, needs source, doc string, get func(*process) tables.Value) column {
		return column{needs: needs, Column: tables.Column[process]{Name: name, Type: tables.BigInt, Doc: doc, Get: get}}
	}
	text := func(name string, needs source, doc string, get func(*process) tables.Value) column {
		return column{needs: needs, Column: tables.Column[process]{Name: name, Type: tables.Text, Doc: doc, Get: get}}
	}
	integer := func(name string, needs source, doc string, get func(*process) tables.Value) column {
		return column{needs: needs, Column: tables.Column[process]{Name: name, Type: tables.Integer, Doc: doc, Get: get}}
	}
	elsewhere := func(name string, t tables.Type) column {
		return column{Column: tables.Column[process]{Name: name, Type: t, Flags: tables.Hidden,
			Doc: "NULL: osquery fills it on another operating system.",
			Get: func(*process) tables.Value { return tables.Null() }}}
	}
	pid := bigint("pid", 0, "Number of the thread group.", func(p *process) tables.Value { return tables.Int(p.pid) })
	pid.Flags = tables.Index | tables.Optimized
	return []column{
		pid,
		text("name", fromStat, "Name of the main thread, at most 15 bytes, which the process may change (prctl(2), PR_SET_NAME).",
			func(p *process) tables.Value { return tables.String(p.stat.Comm) }),
		text("path", fromExe, "File of the running program, without the kernel's mark of a deleted one; empty for a kernel thread, NULL if it may not be read.",
			func(p *process) tables.Value { return p.path }),
		text("cmdline", fromCmdline, "Arguments, with a space between them; empty for a kernel thread and a zombie.",
			func(p *process) tables.Value { return p.cmdline }),
		text("state", fromStat, "State of the main thread, one letter of proc_pid_stat(5): R running, S sleeping, D waiting uninterruptibly, Z zombie, T stopped, t traced, I idle.",
			func(p *process) tables.Value { return tables.String(string(rune(p.stat.State))) }),
		text("cwd", fromCwd, "Working directory; NULL if it may not be read.", func(p *process) tables.Value { return p.cwd }),
		text("root", fromRoot, "Root directory (chroot(2)); NULL if it may not be read.", func(p *process) tables.Value { return p.root }),
		bigint("uid", fromStatus, "Real user.", func(p *process) tables.Value { return tables.Int(p.status.UID.Real) }),
		bigint("gid", fromStatus, "Real group.", func(p *process) tables.Value { return tables.Int(p.status.GID.Real) }),
		bigint("euid", fromStatus, "Effective user.", func(p *process) tables.Value { return tables.Int(p.status.UID.Effective) }),
		bigint("egid", fromStatus, "Effective group.", func(p *process) tables.Value { return tables.Int(p.status.GID.Effective) }),
		bigint("suid", fromStatus, "Saved user.", func(p *process) tables.Value { return tables.Int(p.status.UID.Saved) }),
		bigint("sgid", fromStatus, "Saved group.", func(p *process) tables.Value { return tables.Int(p.status.GID.Saved) }),
		integer("on_disk", fromExe, "1 if the program is still a file of the process's file system, 0 if it was deleted, -1 if that is not known.",
			func(p *process) tables.Value { return p.onDisk }),
		bigint("wired_size", 0, "0: Linux does not count unpageable memory by process.", func(*process) tables.Value { return tables.Int(0) }),
		bigint("resident_size", fromStatus, "Bytes of memory in use (VmRSS); NULL for a kernel thread and a zombie.",
			func(p *process) tables.Value { return size(p, p.status.ResidentSize) }),
		bigint("total_size", fromStatus, "Bytes of address space (VmSize); NULL for a kernel thread and a zombie.",
			func(p *process) tables.Value { return size(p, p.status.VirtualSize) }),
		bigint("user_time", fromStat, "Milliseconds of processor time in user mode, of all threads, counted in steps of 1/USER_HZ seconds.",
			func(p *process) tables.Value { return tables.Uint(p.stat.UserTicks * 1000 / p.ticks) }),
		bigint("system_time", fromStat, "Milliseconds of processor time in kernel mode, of all threads, counted in steps of 1/USER_HZ seconds.",
			func(p *process) tables.Value { return tables.Uint(p.stat.SystemTicks * 1000 / p.ticks) }),
		bigint("disk_bytes_read", fromIO, "Bytes read from storage; NULL if the counters may not be read.", func(p *process) tables.Value { return p.read }),
		bigint("disk_bytes_written", fromIO, "Bytes sent to storage, less those of files that were truncated before; NULL if the counters may not be read.",
			func(p *process) tables.Value { return p.written }),
		bigint("start_time", fromStat, "Start in seconds since the epoch; -1 if the boot time is not known.", func(p *process) tables.Value {
			if p.boot <= 0 {
				return tables.Int(-1)
			}
			return tables.Int(p.boot + int64(p.stat.StartTicks/p.ticks))
		}),
		bigint("parent", fromStat, "Parent process, 0 if it is not in the pid namespace.", func(p *process) tables.Value { return tables.Int(p.stat.Parent) }),
		bigint("pgroup", fromStat, "Process group.", func(p *process) tables.Value { return tables.Int(p.stat.Group) }),
		integer("threads", fromStat, "Number of threads.", func(p *process) tables.Value { return tables.Int(p.stat.Threads) }),
		integer("nice", fromStat, "Nice value, 19 for the least and -20 for the most processor time.", func(p *process) tables.Value { return tables.Int(p.stat.Nice) }),
		text("cgroup_path", fromCgroup, "Path in the hierarchy that the first line of proc_pid_cgroup(5) names, the only one with cgroup v2.",
			func(p *process) tables.Value { return p.cgroup }),
		elsewhere("elevated_token", tables.Integer),
		elsewhere("secure_process", tables.Integer),
		elsewhere("protection_type", tables.Text),
		elsewhere("virtual_process", tables.Integer),
		elsewhere("elapsed_time", tables.BigInt),
		elsewhere("handle_count", tables.BigInt),
		elsewhere("percent_processor_time", tables.BigInt),
		elsewhere("upid", tables.BigInt),
		elsewhere("uppid", tables.BigInt),
		elsewhere("cpu_type", tables.Integer),
		elsewhere("cpu_subtype", tables.Integer),
		elsewhere("translated", tables.Integer),
	}
}

// size returns a number of bytes, or NULL for a process without memory.
func size(p *process, bytes uint64) tables.Value {
	if p.status.VirtualSize == 0 {
		return tables.Null()
	}
	return tables.Uint(bytes)
}

type reader struct {
	proc    *procfs.FS
	columns []column
	pid     int
}

func (t *reader) rows(ctx context.Context, q *tables.Query, yield func(*process) bool) error {
	pids, err := t.pids(q)
	if err != nil {
		return fmt.Errorf("processes: list: %w", err)
	}
	var needs source
	for i, c := range t.columns {
		if q.Used(i) {
			needs |= c.needs
		}
	}
	p := process{ticks: t.proc.ClockTicks()}
	if needs&fromStat != 0 {
		if p.boot, err = t.proc.BootTime(); err != nil {
			q.Warn(fmt.Errorf("processes: boot time: %w", err))
		}
	}
	_, targeted := q.Set(t.pid).Values()
	for _, pid := range pids {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		p.pid = pid
		if targeted {
			// procfs answers to the number of a thread too, but does not list it.
			if group, err := t.proc.ThreadGroup(pid); err != nil || group != pid {
				continue
			}
		}
		if !t.read(&p, needs, q.Warn) {
			continue
		}
		if !yield(&p) {
			return nil
		}
	}
	return nil
}

// pids returns the processes that can matter, ascending.
func (t *reader) pids(q *tables.Query) ([]int32, error) {
	set := q.Set(t.pid)
	if values, ok := set.Values(); ok {
		var pids []int32
		for _, v := range values {
			if n := v.Int64(); n > 0 && n <= math.MaxInt32 {
				pids = append(pids, int32(n))
			}
		}
		return pids, nil
	}
	pids, err := t.proc.PIDs(nil)
	return slices.DeleteFunc(pids, func(pid int32) bool { return !set.HasInt(int64(pid)) }), err
}

// read fills in the sources that are needed and reports whether the process is
// still there.
func (t *reader) read(p *process, needs source, warn func(error)) bool {
	present := true
	// ok sorts out the error of one source.
	ok := func(err error) bool {
		switch {
		case err == nil:
			return true
		case errors.Is(err, fs.ErrPermission):
			warn(fmt.Errorf("processes: program, directories or counters of other users' processes: %w: they show as NULL", fs.ErrPermission))
		case errors.Is(err, procfs.ErrVanished):
			// A kernel thread lacks files that other processes have.
			if there, err := t.proc.Exists(p.pid); err == nil && !there {
				present = false
			}
		default:
			warn(fmt.Errorf("processes: %w", err))
		}
		return false
	}
	link := func(read func(int32) (string, error)) tables.Value {
		path, err := read(p.pid)
		switch {
		case ok(err):
			return tables.String(path)
		case errors.Is(err, procfs.ErrVanished):
			return tables.String("")
		}
		return tables.Null()
	}
	var err error
	if needs&fromStat != 0 {
		if p.stat, err = t.proc.Stat(p.pid); !ok(err) {
			return false
		}
	}
	if needs&fromStatus != 0 {
		if p.status, err = t.proc.Status(p.pid); !ok(err) {
			return false
		}
	}
	if needs&fromExe != 0 {
		p.path = link(t.proc.Exe)
		p.onDisk = tables.Int(-1)
		if exe := p.path.String(); exe != "" {
			if there, err := t.proc.OnDisk(p.pid, exe); ok(err) {
				p.onDisk = tables.Bool(there)
				if !there {
					p.path = tables.String(strings.TrimSuffix(exe, " (deleted)"))
				}
			}
		}
	}
	if needs&fromCmdline != 0 {
		arguments, err := t.proc.Cmdline(p.pid)
		p.cmdline = tables.Null()
		if ok(err) {
			p.cmdline = tables.String(strings.Trim(strings.ReplaceAll(arguments, "\x00", " "), " \t\n\v\f\r"))
		}
	}
	if needs&fromCwd != 0 {
		p.cwd = link(t.proc.Cwd)
	}
	if needs&fromRoot != 0 {
		p.root = link(t.proc.RootDir)
	}
	if needs&fromIO != 0 {
		counters, err := t.proc.IO(p.pid)
		p.read, p.written = tables.Null(), tables.Null()
		if ok(err) {
			p.read = tables.Uint(counters.ReadBytes)
			p.written = tables.Int(int64(counters.WrittenBytes) - int64(counters.CancelledWriteBytes))
		}
	}
	if needs&fromCgroup != 0 {
		groups, err := t.proc.Cgroups(p.pid)
		p.cgroup = tables.Null()
		switch {
		case !ok(err):
		case len(groups) > 0:
			p.cgroup = tables.String(groups[0].Path)
		default:
			p.cgroup = tables.String("")
		}
	}
	return present
}

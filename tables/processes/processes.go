package processes

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"sockql/tables"
	"sockql/tables/internal/procfs"
)

// A source is a file, or a few, of /proc/<pid>, read only if a column needs it.
type source uint16

const (
	fromStat source = 1 << iota
	fromStatus
	fromExe
	fromCmdline
	fromCwd
	fromRoot
	fromIO
	fromCgroup
	fromParents
)

// A process is one row. Parts whose source is not needed are empty.
type process struct {
	pid    int32
	boot   int64  // seconds since the epoch; 0 if it is not known
	ticks  uint64 // USER_HZ
	stat   procfs.Stat
	status procfs.Status

	io procfs.IO

	path, cwd, root tables.Value
	onDisk          int
	cmdline         string
	cgroups         []procfs.Cgroup
	ancestors       []ancestor
	lineage         *lineage // of one scan
	missing         source   // needed, but not to be had
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
	define := func(t tables.Type) func(name string, needs source, doc string, get func(*process) tables.Value) column {
		return func(name string, needs source, doc string, get func(*process) tables.Value) column {
			cell := get
			if needs != 0 && needs != fromExe {
				cell = func(p *process) tables.Value {
					if p.missing&needs != 0 {
						return tables.Null()
					}
					return get(p)
				}
				if !strings.Contains(doc, "NULL") {
					doc += " NULL if it cannot be read."
				}
			}
			return column{needs: needs, Column: tables.Column[process]{Name: name, Type: t, Doc: doc, Get: cell}}
		}
	}
	bigint, text, integer := define(tables.BigInt), define(tables.Text), define(tables.Integer)
	elsewhere := func(name string, t tables.Type) column {
		return column{Column: tables.Column[process]{Name: name, Type: t, Flags: tables.Hidden,
			Doc: "NULL: osquery fills it on another operating system.",
			Get: func(*process) tables.Value { return tables.Null() }}}
	}
	return []column{
		{Column: pid(tables.BigInt, tables.Index|tables.Optimized, func(p *process) int32 { return p.pid })},
		text("name", fromStat, "Name of the main thread, at most 15 bytes, which the process may change (prctl(2), PR_SET_NAME).",
			func(p *process) tables.Value { return tables.String(p.stat.Comm) }),
		text("path", fromExe, "File of the running program, without the kernel's mark of a deleted one; empty for a kernel thread, NULL if it may not be read.",
			func(p *process) tables.Value { return p.path }),
		text("cmdline", fromCmdline, "Arguments, with a space between them; empty for a kernel thread and a zombie.",
			func(p *process) tables.Value { return tables.String(p.cmdline) }),
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
			func(p *process) tables.Value { return tables.Int(p.onDisk) }),
		bigint("wired_size", 0, "0: Linux does not count unpageable memory by process.", func(*process) tables.Value { return tables.Int(0) }),
		bigint("resident_size", fromStatus, "Bytes of memory in use (VmRSS); NULL for a kernel thread and a zombie.",
			func(p *process) tables.Value { return size(p, p.status.ResidentSize) }),
		bigint("total_size", fromStatus, "Bytes of address space (VmSize); NULL for a kernel thread and a zombie.",
			func(p *process) tables.Value { return size(p, p.status.VirtualSize) }),
		bigint("user_time", fromStat, "Milliseconds of processor time in user mode, of all threads, counted in steps of 1/USER_HZ seconds.",
			func(p *process) tables.Value { return tables.Uint(p.stat.UserTicks * 1000 / p.ticks) }),
		bigint("system_time", fromStat, "Milliseconds of processor time in kernel mode, of all threads, counted in steps of 1/USER_HZ seconds.",
			func(p *process) tables.Value { return tables.Uint(p.stat.SystemTicks * 1000 / p.ticks) }),
		bigint("disk_bytes_read", fromIO, "Bytes read from storage; NULL if the counters may not be read.", func(p *process) tables.Value { return tables.Uint(p.io.ReadBytes) }),
		bigint("disk_bytes_written", fromIO, "Bytes sent to storage, less those of files that were truncated before; NULL if the counters may not be read.",
			func(p *process) tables.Value {
				return tables.Int(int64(p.io.WrittenBytes) - int64(p.io.CancelledWriteBytes))
			}),
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
			func(p *process) tables.Value {
				if len(p.cgroups) == 0 {
					return tables.String("")
				}
				return tables.String(p.cgroups[0].Path)
			}),
		hidden(text("process_ancestry", fromParents, "The parent and its parents up to the first process, as a JSON array of objects with pid and name; NULL if the process's own parent cannot be read.",
			func(p *process) tables.Value { return tables.String(ancestry(p.ancestors)) })),
		hidden(text("process_container_id", fromCgroup, "Container in which the process runs, as the runtime names its cgroup; NULL outside of one and if the cgroup does not tell.",
			func(p *process) tables.Value { return orNull(containerID(p.cgroups)) })),
		hidden(text("process_pod_uid", fromCgroup, "Kubernetes pod in which the process runs; NULL outside of one.",
			func(p *process) tables.Value { return orNull(podUID(p.cgroups)) })),
		hidden(text("process_systemd_unit", fromCgroup, "Unit of the system's systemd to which the process belongs; NULL if it belongs to none.",
			func(p *process) tables.Value { return orNull(systemdUnit(p.cgroups)) })),
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

func hidden(c column) column {
	c.Flags |= tables.Hidden
	return c
}

// orNull returns a text, or NULL for the empty one.
func orNull(s string) tables.Value {
	if s == "" {
		return tables.Null()
	}
	return tables.String(s)
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
}

func (t *reader) rows(ctx context.Context, q *tables.Query, yield func(*process) bool) error {
	list, named, err := pids(t.proc, q)
	if err != nil {
		return err
	}
	var needs source
	for i, c := range t.columns {
		if q.Used(i) {
			needs |= c.needs
		}
	}
	p := process{ticks: t.proc.ClockTicks(), lineage: newLineage(t.proc)}
	if needs&fromStat != 0 && len(list) > 0 {
		if p.boot, err = t.proc.BootTime(); err != nil {
			q.Warn(fmt.Errorf("processes: boot time: %w", err))
		}
	}
	for _, pid := range list {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		p.pid = pid
		if named && !isProcess(t.proc, pid) {
			continue
		}
		if !t.read(ctx, &p, needs, q.Warn) {
			continue
		}
		if !yield(&p) {
			return nil
		}
	}
	return nil
}

// read fills in the sources that are needed and reports whether the process is
// still there. It gives up when ctx ends.
func (t *reader) read(ctx context.Context, p *process, needs source, warn func(error)) bool {
	p.missing = 0
	for from := fromStat; from <= fromParents; from <<= 1 {
		if needs&from == 0 {
			continue
		}
		if ctx.Err() != nil {
			return false
		}
		err := t.readSource(ctx, p, from)
		switch {
		case err == nil:
			continue
		case ctx.Err() != nil:
			return false
		case errors.Is(err, procfs.ErrVanished):
			// A kernel thread lacks files that other processes have.
			if there, err := t.proc.Exists(p.pid); err == nil && !there {
				return false
			}
		case errors.Is(err, fs.ErrPermission):
			warn(fmt.Errorf("processes: program, directories or counters of some processes: %w: they show as NULL without CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH", fs.ErrPermission))
		default:
			warn(fmt.Errorf("processes: %w", err))
		}
		p.missing |= from
		if errors.Is(err, procfs.ErrVanished) {
			p.absent(from)
		}
	}
	return true
}

// absent fills in what a process has that lacks the file of a source.
func (p *process) absent(from source) {
	none := tables.String("")
	switch from {
	case fromExe:
		p.path = none
	case fromCwd:
		p.cwd = none
	case fromRoot:
		p.root = none
	default:
		return
	}
	p.missing &^= from
}

// readSource reads one source. What it cannot read is NULL.
func (t *reader) readSource(ctx context.Context, p *process, from source) (err error) {
	switch from {
	case fromStat:
		p.stat, err = t.proc.Stat(p.pid)
	case fromStatus:
		p.status, err = t.proc.Status(p.pid)
	case fromExe:
		return t.readExe(p)
	case fromCmdline:
		arguments, err := t.proc.Cmdline(p.pid)
		p.cmdline = strings.Trim(strings.ReplaceAll(arguments, "\x00", " "), " \t\n\v\f\r")
		return err
	case fromCwd:
		return readLink(&p.cwd, p.pid, t.proc.Cwd)
	case fromRoot:
		return readLink(&p.root, p.pid, t.proc.RootDir)
	case fromIO:
		p.io, err = t.proc.IO(p.pid)
	case fromCgroup:
		p.cgroups, err = t.proc.Cgroups(p.pid)
	case fromParents:
		p.ancestors, err = p.lineage.of(ctx, p.pid, p.ancestors[:0])
	}
	return err
}

func readLink(target *tables.Value, pid int32, read func(int32) (string, error)) error {
	path, err := read(pid)
	*target = tables.Null()
	if err == nil {
		*target = tables.String(path)
	}
	return err
}

func (t *reader) readExe(p *process) error {
	p.onDisk = -1
	if err := readLink(&p.path, p.pid, t.proc.Exe); err != nil {
		return err
	}
	exe := p.path.String()
	there, err := t.proc.OnDisk(p.pid, exe)
	if err != nil {
		return err
	}
	p.onDisk = 1
	if !there {
		p.onDisk = 0
		p.path = tables.String(strings.TrimSuffix(exe, " (deleted)"))
	}
	return nil
}

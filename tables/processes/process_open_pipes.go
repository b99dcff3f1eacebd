package processes

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"sockql/tables"
	"sockql/tables/internal/procfs"
)

// A pipeID tells apart pipes. Those without a name are all in one file system
// of the kernel, whose device stands as 0.
type pipeID struct{ dev, ino uint64 }

// A pipeEnd is a descriptor of a pipe.
type pipeEnd struct {
	pid, fd int32
	mode    string // "r", "w" or "rw"; "-" if it is not known
	named   bool
	id      pipeID
}

// meets reports whether what one end writes the other can read.
func (e *pipeEnd) meets(other *pipeEnd) bool { return e.mode != other.mode || e.mode == "rw" }

type openPipe struct {
	end, partner *pipeEnd // the partner may be nil
}

// ProcessOpenPipes returns the table process_open_pipes of a procfs: which
// processes are connected by pipes, with osquery's columns.
func ProcessOpenPipes(proc *procfs.FS) (tables.Table, error) {
	partner := func(name string, t tables.Type, doc string, get func(*pipeEnd) tables.Value) tables.Column[openPipe] {
		return tables.Column[openPipe]{Name: name, Type: t, Doc: doc + " NULL if no process is known to have one.",
			Get: func(r *openPipe) tables.Value {
				if r.partner == nil {
					return tables.Null()
				}
				return get(r.partner)
			}}
	}
	columns := []tables.Column[openPipe]{
		pid(tables.BigInt, tables.Pushdown, func(r *openPipe) int32 { return r.end.pid }),
		{Name: "fd", Type: tables.BigInt, Doc: "Descriptor.", Get: func(r *openPipe) tables.Value { return tables.Int(r.end.fd) }},
		{Name: "mode", Type: tables.Text, Doc: "What the descriptor is open for: r, w, or rw; a hyphen if that is not known.",
			Get: func(r *openPipe) tables.Value { return tables.String(r.end.mode) }},
		{Name: "inode", Type: tables.BigInt, Doc: "Number of the pipe, or of the named one in its file system.",
			Get: func(r *openPipe) tables.Value { return tables.Uint(r.end.id.ino) }},
		{Name: "type", Type: tables.Text, Doc: "anonymous (pipe(2)) or named (fifo(7)).", Get: func(r *openPipe) tables.Value {
			if r.end.named {
				return tables.String("named")
			}
			return tables.String("anonymous")
		}},
		partner("partner_pid", tables.BigInt, "A process with the other end.", func(e *pipeEnd) tables.Value { return tables.Int(e.pid) }),
		partner("partner_fd", tables.BigInt, "Its descriptor.", func(e *pipeEnd) tables.Value { return tables.Int(e.fd) }),
		partner("partner_mode", tables.Text, "What that is open for, as mode.", func(e *pipeEnd) tables.Value { return tables.String(e.mode) }),
	}
	return tables.New(tables.Def[openPipe]{
		Name:      "process_open_pipes",
		Doc:       "Pipes that processes have open: one row for each descriptor and each descriptor of the other end, in the same process or another. In a recorded tree named pipes are not recognized.",
		Privilege: "CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH show the pipes of other users' processes.",
		Examples: []string{
			"SELECT * FROM process_open_pipes WHERE pid = 1;",
			"SELECT a.name, b.name FROM process_open_pipes p JOIN processes a ON a.pid = p.pid JOIN processes b ON b.pid = p.partner_pid WHERE p.mode = 'w';",
		},
		Columns: columns,
		Rows: func(ctx context.Context, q *tables.Query, yield func(*openPipe) bool) error {
			wanted, _, err := pids(proc, q)
			if err != nil || len(wanted) == 0 {
				return err
			}
			// Whichever rows are asked for, any process may have the other end.
			// A session walks them once: a look-up in a join is a scan each.
			pipes, err := tables.Share(ctx, q.Session(), pipesKey{proc}, func(ctx context.Context) (*pipes, error) {
				return readPipes(ctx, proc, func(err error) { warn(q, err) })
			})
			if err != nil {
				return err
			}
			for _, pid := range wanted {
				for _, end := range pipes.ofProcess[pid] {
					if !pipes.pairs(ctx, end, yield) {
						return nil
					}
				}
			}
			return nil
		},
	})
}

type pipesKey struct{ proc *procfs.FS }

// pipes are the pipe ends of all processes.
type pipes struct {
	ofProcess map[int32][]*pipeEnd
	ofPipe    map[pipeID][]*pipeEnd
}

// pairs calls yield with an end and each of its partners, or once with none.
func (p *pipes) pairs(ctx context.Context, end *pipeEnd, yield func(*openPipe) bool) bool {
	row := openPipe{end: end}
	for _, other := range p.ofPipe[end.id] {
		if ctx.Err() != nil {
			return false
		}
		if other == end || !end.meets(other) {
			continue
		}
		row.partner = other
		if !yield(&row) {
			return false
		}
	}
	return row.partner != nil || yield(&row)
}

func readPipes(ctx context.Context, proc *procfs.FS, warn func(error)) (*pipes, error) {
	p := &pipes{ofProcess: map[int32][]*pipeEnd{}, ofPipe: map[pipeID][]*pipeEnd{}}
	all, err := proc.PIDs(nil)
	if err != nil {
		return nil, fmt.Errorf("process_open_pipes: list: %w", err)
	}
	var w procfs.Walker
	var files []procfs.OpenFile
	for _, pid := range all {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		files, err = proc.OpenFiles(&w, pid, files[:0])
		warn(err)
		for _, f := range files {
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			end, ok, err := readPipe(proc, pid, f)
			warn(err)
			if ok {
				p.ofProcess[pid] = append(p.ofProcess[pid], end)
				p.ofPipe[end.id] = append(p.ofPipe[end.id], end)
			}
		}
	}
	return p, nil
}

// readPipe returns the pipe end that a descriptor is, if it is one.
func readPipe(proc *procfs.FS, pid int32, f procfs.OpenFile) (*pipeEnd, bool, error) {
	end := &pipeEnd{pid: pid, fd: f.FD, mode: "-"}
	if number, ok := strings.CutPrefix(f.Target, anonymousPipe); ok {
		ino, err := strconv.ParseUint(strings.TrimSuffix(number, "]"), 10, 64)
		if err != nil {
			return nil, false, nil
		}
		end.id.ino = ino
	} else {
		if !strings.HasPrefix(f.Target, "/") {
			return nil, false, nil
		}
		dev, ino, isPipe, err := proc.NamedPipe(pid, f.FD)
		if err != nil || !isPipe {
			return nil, false, err
		}
		end.named, end.id = true, pipeID{dev, ino}
	}
	info, err := proc.FDInfo(pid, f.FD)
	switch {
	case errors.Is(err, procfs.ErrVanished) && proc.IsMounted():
		return nil, false, nil
	case err == nil:
		end.mode = accessMode(info.Flags)
	}
	return end, true, err
}

// accessMode returns what a descriptor is open for (open(2)).
func accessMode(flags uint32) string {
	switch flags & unix.O_ACCMODE {
	case unix.O_RDONLY:
		return "r"
	case unix.O_WRONLY:
		return "w"
	case unix.O_RDWR:
		return "rw"
	}
	return "-"
}

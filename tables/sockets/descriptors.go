package sockets

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"sockql/tables/internal/procfs"
	"sockql/tables/internal/sockdiag"
)

// A table is what the descriptors of one process refer to.
type table struct {
	held    []held
	outcome outcome
	read    int // the collector's clock
}

// A held is a descriptor that refers to a socket.
type held struct {
	inode   uint64
	tid, fd int32
}

// An outcome says whether a descriptor table was read.
type outcome uint8

const (
	complete outcome = iota
	denied
	vanished
)

const (
	// walkers bounds the goroutines that read descriptors: the work is the
	// kernel's, and more than a few only contend for its locks.
	walkers = 4
	// share is how many processes are worth a goroutine. Each takes one process
	// at a time, since a single one may have most of the descriptors.
	share = 8
)

// readDescriptors reads the tables of processes that the session has not read
// since the given time.
func (c *collector) readDescriptors(ctx context.Context, pids []int32, since int) error {
	todo := slices.DeleteFunc(slices.Clone(pids), func(pid int32) bool {
		t, found := c.descriptors[pid]
		return found && t.read >= since
	})
	if len(todo) == 0 {
		return nil
	}
	results := make([]table, len(todo))
	failures := make([]error, len(todo))
	var next atomic.Int64
	work := func() {
		var w procfs.Walker
		var found []procfs.FDInode
		for i := int(next.Add(1)) - 1; i < len(todo) && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
			results[i], found, failures[i] = c.host.descriptors(&w, todo[i], found)
		}
	}
	var wg sync.WaitGroup
	for range min(walkers, runtime.GOMAXPROCS(0), (len(todo)+share-1)/share) - 1 {
		wg.Go(work)
	}
	work()
	wg.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	c.clock++
	c.reads.tables += len(todo)
	refused := 0
	for i, pid := range todo {
		results[i].read = c.clock
		c.descriptors[pid] = results[i]
		switch err := failures[i]; {
		case errors.Is(err, fs.ErrPermission):
			refused++
		case err != nil:
			c.warn(fmt.Errorf("sockets: descriptors: %w", err))
		}
	}
	if refused > 0 {
		c.warn(fmt.Errorf("sockets: descriptors of %d of %d processes: %w: their sockets show no holder without CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH", refused, len(todo), fs.ErrPermission))
	}
	return nil
}

// descriptors reads the descriptors of a process that refer to sockets. found
// is reused. The error is nil for a process that is gone.
func (h *Host) descriptors(w *procfs.Walker, pid int32, found []procfs.FDInode) (table, []procfs.FDInode, error) {
	found, err := h.proc.Sockets(w, pid, found[:0])
	t := table{held: make([]held, 0, len(found))}
	for _, f := range found {
		t.held = append(t.held, held{inode: f.Inode, tid: pid, fd: f.FD})
	}
	// The kernel lists descriptors in order, a recorded tree need not.
	slices.SortFunc(t.held, func(a, b held) int { return cmp.Compare(a.fd, b.fd) })
	if err == nil {
		found, err = h.threads(w, pid, found, &t)
	}
	switch {
	case err == nil:
		return t, found, nil
	case errors.Is(err, procfs.ErrVanished):
		// A zombie is still there, but has closed everything.
		if stat, err := h.proc.Stat(pid); err != nil || stat.State != 'Z' {
			t.outcome = vanished
		}
		return t, found, nil
	}
	t.outcome = denied
	return t, found, err
}

// threads adds the descriptors of threads that have a table of their own. Such
// a table begins as a copy of the process's: what is in both is not repeated.
func (h *Host) threads(w *procfs.Walker, pid int32, found []procfs.FDInode, t *table) ([]procfs.FDInode, error) {
	tids, err := h.proc.TIDs(pid, nil)
	if errors.Is(err, procfs.ErrVanished) {
		if there, err := h.proc.Exists(pid); err == nil && there {
			return found, nil // a recorded tree without threads
		}
	}
	if err != nil || len(tids) < 2 {
		return found, err
	}
	own := len(t.held)
	for _, tid := range tids {
		if tid == pid || h.sharesFiles(pid, tid) {
			continue
		}
		found, err = h.proc.TaskSockets(w, pid, tid, found[:0])
		for _, f := range found {
			if !slices.ContainsFunc(t.held[:own], func(o held) bool { return o.fd == f.FD && o.inode == f.Inode }) {
				t.held = append(t.held, held{inode: f.Inode, tid: tid, fd: f.FD})
			}
		}
		if err != nil && !errors.Is(err, procfs.ErrVanished) {
			return found, err
		}
	}
	return found, nil
}

// sharesFiles reports whether a thread is known to use its process's
// descriptor table. Where the kernel cannot be asked, because the numbers are
// another pid namespace's, the table must be read to know.
func (h *Host) sharesFiles(pid, tid int32) bool {
	if !h.proc.IsHost() {
		return false
	}
	shares, err := sockdiag.SharesFiles(pid, tid)
	return err == nil && shares
}

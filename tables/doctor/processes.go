package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"sockql/tables/internal/procfs"
	"sockql/tables/internal/sockdiag"
	"sockql/tables/internal/socket"
)

// procfs looks whose processes the procfs shows.
func (e *examination) procfs(context.Context) (err error) {
	if e.pids, err = e.proc.PIDs(nil); err != nil {
		return fmt.Errorf("doctor: %w", err)
	}
	initial := e.proc.ShowsHost()
	processes := count(len(e.pids), "process", "processes")
	c := Check{Name: "procfs", Status: OK, Found: fmt.Sprintf("%s shows %s, those of the host", e.root, processes), Needed: true}
	if !initial {
		c.Status = Limited
		c.Found = fmt.Sprintf("%s shows %s of a pid namespace that is not the host's", e.root, processes)
		c.Why = "processes outside of this pid namespace are invisible, and sockets that only they hold show no holder"
		c.Remedy = "share the host's (docker run --pid=host), or mount the host's procfs and name it with --proc"
	}
	e.add(c)
	c = Check{Name: "process numbers", Status: OK, Found: "the procfs's numbers are those of this process's own pid namespace", Needed: true}
	if !e.proc.IsHost() {
		c.Status = Missing
		c.Found = "the procfs is of another pid namespace than this process lives in"
		c.Why = "system calls take other numbers than the procfs shows, so single descriptors are not inspected: sockets in no list show their inode only"
		c.Remedy = "run it in the pid namespace of that procfs (docker run --pid=host, nsenter --pid)"
	}
	e.add(c)
	return nil
}

// hidePID looks for processes that the procfs hides.
func (e *examination) hidePID(context.Context) error {
	c := Check{Name: "hidden processes", Status: OK, Found: "the procfs hides nobody", Needed: true}
	h, err := e.proc.HidePID()
	switch {
	case err != nil && e.proc.IsHost():
		c.Status, c.Found, c.Why = Limited, "the mount options of the procfs cannot be told", err.Error()
		c.Remedy = "look for hidepid in /proc/mounts"
	case err != nil:
		c.Found = "nothing is known of the mount options of another pid namespace's procfs"
		c.Status, c.Why, c.Remedy = Limited, err.Error(), "look for hidepid in the mount options where it was mounted"
	case h.Hides():
		c.Status = Missing
		c.Found = "the procfs is mounted with hidepid"
		c.Why = fmt.Sprintf("hidepid=%d shows other users' processes to CAP_SYS_PTRACE%s only", h.Mode, group(h))
		c.Remedy = "grant CAP_SYS_PTRACE"
		if h.Mode != procfs.HidePtraceable {
			c.Remedy += fmt.Sprintf(", or make the user a member of group %d", h.GID)
		}
		c.Remedy += ", or remount it (mount -o remount,hidepid=0 /proc)"
	case h.Mode != procfs.HideOff:
		c.Found = "the procfs is mounted with hidepid, which does not apply here"
	}
	e.add(c)
	return nil
}

func group(h procfs.HidePID) string {
	if h.Mode == procfs.HidePtraceable {
		return ""
	}
	return fmt.Sprintf(" and group %d", h.GID)
}

// withoutBPF limits what is said of the other sources.
func (e *examination) withoutBPF() string {
	if e.byBPF {
		return " but by BPF"
	}
	return ""
}

// descriptors reads all descriptor tables.
func (e *examination) descriptors(ctx context.Context) error {
	c := Check{Name: "descriptors", Status: OK, Needed: true}
	var w procfs.Walker
	var found []procfs.FDInode
	refused, sockets := 0, 0
	var first int32
	for _, pid := range e.pids {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		var err error
		found, err = e.proc.Sockets(&w, pid, found[:0])
		sockets += len(found)
		if denied(err) {
			if refused++; refused == 1 {
				first = pid
			}
		}
	}
	c.Found = fmt.Sprintf("%s of %s, with %s", count(len(e.pids)-refused, "descriptor table", "descriptor tables"),
		count(len(e.pids), "process", "processes"), count(sockets, "socket", "sockets"))
	if refused > 0 {
		c.Status = Limited
		c.Why, c.Remedy = e.lacks(unix.CAP_SYS_PTRACE, unix.CAP_DAC_READ_SEARCH)
		c.Why = fmt.Sprintf("%s, the first of them %d, may not be read, and their sockets show no holder%s: %s", count(refused, "table", "tables"), first, e.withoutBPF(), c.Why)
		if refused == len(e.pids) {
			c.Status = Missing
		}
	}
	e.add(c)
	return nil
}

// lookups inspects a socket of our own as those of others are that no list
// shows.
func (e *examination) lookups(context.Context) error {
	c := Check{Name: "inspection", Status: OK, Found: "a socket behind a descriptor tells kind, addresses and namespace", Needed: true}
	defer func() { e.add(c) }()
	if !e.proc.IsHost() {
		c.Status, c.Found, c.Why = Missing, "descriptors are not inspected", "the procfs is of another pid namespace"
		c.Remedy = "run it in the pid namespace of that procfs"
		return nil
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("doctor: socket: %w", err)
	}
	defer unix.Close(fd)
	c.Status, c.Found = Missing, "the socket behind a descriptor cannot be inspected"
	pidfd, err := unix.PidfdOpen(unix.Getpid(), 0)
	if err == nil {
		defer unix.Close(pidfd)
		var s socket.Socket
		h, lookupErr := sockdiag.Lookup(pidfd, int32(fd), &s)
		if err = lookupErr; err == nil && h == nil {
			c.Status, c.Found = Limited, "a socket behind a descriptor tells kind and addresses, but not its namespace"
			c.Why, c.Remedy = e.lacks(unix.CAP_NET_ADMIN)
			return nil
		}
		if err == nil {
			err = h.Close()
		}
	}
	switch {
	case err == nil:
		c.Status, c.Found = OK, "a socket behind a descriptor tells kind, addresses and namespace"
		if why, remedy := e.lacks(unix.CAP_SYS_PTRACE); !e.has(unix.CAP_SYS_PTRACE) {
			c.Status, c.Found, c.Why, c.Remedy = Limited, "a socket behind one's own descriptors can be inspected", why, remedy
		}
	case errors.Is(err, unix.ENOSYS):
		c.Why, c.Remedy = "pidfd_open(2) and pidfd_getfd(2) are Linux 5.6, or a sandbox hides them", "run a newer kernel, or allow them in the seccomp profile"
	case denied(err):
		c.Why, c.Remedy = "a sandbox denies it: "+err.Error(), "allow pidfd_open and pidfd_getfd in the seccomp profile (docker run --cap-add=SYS_PTRACE does)"
	default:
		c.Why, c.Remedy = err.Error(), "report it"
	}
	return nil
}

// threads asks whether threads have descriptor tables of their own.
func (e *examination) threads(context.Context) error {
	c := Check{Name: "threads", Status: OK, Found: "threads with a descriptor table of their own are told apart"}
	if !e.proc.IsHost() {
		c.Status, c.Found = Limited, "the descriptor tables of all threads are read, most of them for nothing"
		c.Why, c.Remedy = "the procfs is of another pid namespace", "run it in the pid namespace of that procfs"
		e.add(c)
		return nil
	}
	if _, err := sockdiag.SharesFiles(int32(unix.Getpid()), int32(unix.Getpid())); err != nil {
		c.Status, c.Found = Limited, "the descriptor tables of all threads are read, most of them for nothing"
		c.Why, c.Remedy = "kcmp(2): "+err.Error(), "a kernel with CONFIG_KCMP, and a seccomp profile that allows kcmp"
	} else if fd, err := unix.PidfdOpen(unix.Getpid(), unix.O_EXCL); err != nil {
		c.Status, c.Found = Limited, "threads are told apart, but the sockets in their own tables are not inspected"
		c.Why, c.Remedy = "pidfd_open(2) with PIDFD_THREAD: "+err.Error(), "Linux 6.9"
	} else {
		unix.Close(fd)
	}
	e.add(c)
	return nil
}

// texts reads the socket lists of a process.
func (e *examination) texts(ctx context.Context) error {
	c := Check{Name: "text lists", Status: OK}
	pid := int32(unix.Getpid())
	if !e.proc.IsHost() {
		pid = e.pids[0]
	}
	var missing []string
	var failure error
	total := 0
	for kind := socket.Kind(1); kind < socket.Other; kind <<= 1 {
		if procfs.Kinds&kind == 0 {
			continue
		}
		err := e.proc.List(ctx, pid, kind, 0, nil, func(*socket.Socket) bool { return false })
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil:
			total++
		case errors.Is(err, procfs.ErrNoList):
			missing = append(missing, kindName(kind))
		default:
			failure = err
		}
	}
	c.Found = count(total, "list", "lists") + " in net of a process"
	if len(missing) > 0 {
		c.Found += "; this kernel has no " + strings.Join(missing, ", ")
	}
	if failure != nil {
		c.Status, c.Needed, c.Why, c.Remedy = Missing, true, failure.Error(), "mount a whole procfs (without subset=pid)"
	}
	e.add(c)
	return nil
}

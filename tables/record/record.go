package record

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"sockql/tables/internal/netlink"
	"sockql/tables/internal/netns"
	"sockql/tables/internal/nftables"
	"sockql/tables/internal/procfs"
	"sockql/tables/internal/recording"
	"sockql/tables/internal/rtnetlink"
	"sockql/tables/internal/sockdiag"
	"sockql/tables/internal/socket"
	"sockql/tables/sockets"
)

// A Config says what is recorded, and how.
type Config struct {
	// Proc is the mount point of a procfs.
	Proc string
	// CgroupRoot is the mount point of the cgroup v2 hierarchy, as
	// [sockets.Config] has it.
	CgroupRoot string
	// Scrub replaces addresses, command lines, environments, names of
	// processes, and paths.
	Scrub bool
	// Now is the clock. Nil stands for the system's.
	Now func() time.Time
}

// A Summary says what was recorded.
type Summary struct {
	Processes  int
	Namespaces int // network namespaces
	Answered   int // those of them that sock_diag answered for
	Sockets    int // that sock_diag listed, or whose descriptor was inspected
	Denied     int // files and directories that could not be read
	// Warnings say what else is missing.
	Warnings []error
}

// hidden marks the number of a namespace whose inode cannot be told:
// procfs.NetIdentity stands in for it. Inodes of nsfs have 32 bits.
const hidden = 1 << 62

// Write records a host in a directory, which must be empty or not exist. It
// fails if Proc is no mounted procfs, if the directory cannot be written, and
// with the context's cause when ctx ends; what could not be read is left out.
func Write(ctx context.Context, root string, c Config) (*Summary, error) {
	proc, err := procfs.Open(c.Proc)
	if err != nil {
		return nil, err
	}
	defer proc.Close()
	if !proc.IsMounted() {
		return nil, fmt.Errorf("record: %q is a recorded tree: copy it instead", c.Proc)
	}
	out, err := recording.Create(root)
	if err != nil {
		return nil, err
	}
	r := &recorder{
		config: c, proc: proc, out: out,
		spaces: map[uint64]*space{}, byPID: map[int32]uint64{}, listed: map[uint64]bool{}, mounts: map[uint64]bool{},
	}
	if c.Scrub {
		r.scrub = newScrubber()
	}
	if err := r.record(ctx); err != nil {
		return nil, err
	}
	return &r.summary, nil
}

// A recorder is one recording in the making.
type recorder struct {
	config Config
	proc   *procfs.FS
	out    *recording.Writer
	scrub  *scrubber // nil keeps everything

	spaces  map[uint64]*space
	byPID   map[int32]uint64 // the spaces of processes
	listed  map[uint64]bool  // inodes of sockets that sock_diag listed
	held    []held
	mounts  map[uint64]bool // recorded mount namespaces
	lookups []recording.Lookup
	summary Summary
}

// A space is a network namespace.
type space struct {
	inode  uint64 // 0 if it cannot be told
	pids   []int32
	mounts []netns.Mount
}

// A held is a descriptor that refers to a socket.
type held struct {
	pid, tid, fd int32
	inode        uint64
}

func (r *recorder) warn(err error) { r.summary.Warnings = append(r.summary.Warnings, err) }

func (r *recorder) record(ctx context.Context) error {
	pids, err := r.proc.PIDs(nil)
	if err != nil {
		return fmt.Errorf("record: %w", err)
	}
	r.findSpaces(pids)
	// Lists come before descriptors, so that a socket that is listed has its
	// chance of an owner.
	for key, sp := range r.spaces {
		if err := r.recordSpace(ctx, key, sp); err != nil {
			return err
		}
	}
	for _, pid := range pids {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := r.recordProcess(pid); err != nil {
			return err
		}
	}
	if err := r.inspect(ctx); err != nil {
		return err
	}
	for _, name := range []string{"stat", "uptime", "modules"} {
		if b, err := r.read(name); errors.Is(err, fs.ErrNotExist) && name == "modules" {
			continue // a kernel without modules
		} else if err != nil {
			r.warn(err)
		} else if err := r.out.File(name, b); err != nil {
			return err
		}
	}
	if self, err := os.Readlink(filepath.Join(r.config.Proc, "self")); err == nil {
		if err := r.out.Link("self", self); err != nil {
			return err
		}
	}
	return r.finish()
}

func (r *recorder) finish() error {
	now := time.Now
	if r.config.Now != nil {
		now = r.config.Now
	}
	h := recording.Header{
		ClockTicks: r.proc.ClockTicks(), PageSize: r.proc.PageSize(),
		Nested: !r.proc.ShowsHost(), Scrubbed: r.scrub != nil, Time: now().UTC().Truncate(time.Second),
	}
	if hide, err := r.proc.HidePID(); err == nil {
		h.HideMode, h.HideGID, h.HideExempt = uint8(hide.Mode), hide.GID, hide.Exempt
	}
	cgroups := sockets.CgroupPaths(r.config.CgroupRoot)
	for inode, path := range cgroups {
		cgroups[inode] = r.scrub.path(path)
	}
	r.summary.Namespaces = len(r.spaces)
	return r.out.Finish(h, r.lookups, cgroups)
}

// findSpaces finds the network namespaces of processes and of bind mounts.
func (r *recorder) findSpaces(pids []int32) {
	var untold []int32
	for _, pid := range pids {
		inode, err := r.proc.NetNS(pid)
		if errors.Is(err, fs.ErrPermission) {
			untold = append(untold, pid)
		}
		if err != nil {
			continue // gone, or a zombie
		}
		r.join(pid, inode, inode)
	}
	identities := map[uint64]uint64{} // of spaces with a number
	if len(untold) > 0 {
		for pid, key := range r.byPID {
			if identity, err := r.proc.NetIdentity(pid); err == nil {
				identities[identity] = key
			}
		}
	}
	for _, pid := range untold {
		identity, err := r.proc.NetIdentity(pid)
		if err != nil {
			continue
		}
		if inode, known := identities[identity]; known {
			r.join(pid, inode, inode)
			continue
		}
		r.join(pid, identity|hidden, 0)
	}
	for _, m := range netns.Find(r.config.Proc, pids, r.warn) {
		sp := r.spaces[m.Inode]
		if sp == nil {
			if len(untold) > 0 && r.isHidden(m) {
				continue // it is recorded by what its processes tell
			}
			sp = &space{inode: m.Inode}
			r.spaces[m.Inode] = sp
		}
		sp.mounts = append(sp.mounts, m)
	}
}

// isHidden reports whether a mounted namespace is that of processes which hide
// its number.
func (r *recorder) isHidden(m netns.Mount) bool {
	h, err := m.Open(r.config.Proc)
	if err != nil {
		return false
	}
	defer h.Close()
	identity, err := h.Identity()
	return err == nil && r.spaces[identity|hidden] != nil
}

// join notes that a process lives in a space.
func (r *recorder) join(pid int32, key, inode uint64) {
	sp := r.spaces[key]
	if sp == nil {
		sp = &space{inode: inode}
		r.spaces[key] = sp
	}
	sp.pids = append(sp.pids, pid)
	r.byPID[pid] = key
}

// netFiles are the files of PID/net that the tables read.
var netFiles = [...]string{
	"tcp", "tcp6", "udp", "udp6", "udplite", "udplite6", "raw", "raw6", "icmp", "icmp6",
	"unix", "packet", "netlink", "if_inet6", "igmp", "igmp6", "dev_mcast", "snmp", "netstat", "snmp6", "sctp/snmp",
}

// recordSpace records the lists of a namespace, as text and from sock_diag.
func (r *recorder) recordSpace(ctx context.Context, key uint64, sp *space) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	for _, name := range netFiles {
		for _, pid := range sp.pids {
			b, err := r.read(processFile(pid, "net/"+name))
			if err != nil {
				continue // the kernel has no such list, or the process is gone
			}
			if err := r.out.List(key, name, r.scrub.netFile(name, b)); err != nil {
				return err
			}
			break
		}
	}
	if sp.inode == 0 {
		return nil
	}
	h, err := r.open(sp)
	if err != nil {
		r.warn(fmt.Errorf("record: network namespace %d: %w: what only sock_diag tells is missing", sp.inode, err))
		return nil
	}
	defer h.Close()
	return errors.Join(r.recordLinks(ctx, h), r.recordRules(ctx, h), r.recordDiag(ctx, h))
}

// recordLinks records what rtnetlink answers in a namespace: interfaces,
// addresses, routes and neighbours.
func (r *recorder) recordLinks(ctx context.Context, h *netns.Handle) error {
	exchanges, err := answers(ctx, h, rtnetlink.Dial, rtnetlink.Record)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		r.warn(fmt.Errorf("record: network namespace %d: %w: interfaces or routes are missing", h.Inode(), err))
	}
	if r.scrub != nil {
		exchanges = rtnetlink.Scrub(exchanges, r.scrub.Addr)
	}
	return r.out.Answers(h.Inode(), recording.Route, exchanges)
}

// recordRules records the rules of nf_tables. Addresses and names are all over
// them, so that a scrubbed recording has none.
func (r *recorder) recordRules(ctx context.Context, h *netns.Handle) error {
	if r.scrub != nil {
		return nil
	}
	exchanges, err := answers(ctx, h, nftables.Dial, nftables.Record)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.EINVAL), errors.Is(err, unix.EOPNOTSUPP):
		return nil // the table says that there are none
	case err != nil:
		r.warn(fmt.Errorf("record: network namespace %d: %w: rules are missing", h.Inode(), err))
	}
	return r.out.Answers(h.Inode(), recording.Netfilter, exchanges)
}

// answers asks the kernel inside a namespace.
func answers(ctx context.Context, h *netns.Handle, dial func() (netlink.Transport, error),
	ask func(context.Context, netlink.Transport) ([]recording.Exchange, error)) ([]recording.Exchange, error) {
	var t netlink.Transport
	err := netns.Do(h, func() (err error) {
		t, err = dial()
		return err
	})
	if err != nil {
		return nil, err
	}
	defer t.Close()
	return ask(ctx, t)
}

// open opens a namespace.
func (r *recorder) open(sp *space) (*netns.Handle, error) {
	var failure error = fs.ErrNotExist
	for _, pid := range sp.pids {
		h, err := netns.Open(filepath.Join(r.config.Proc, strconv.Itoa(int(pid)), "ns/net"))
		if err == nil && h.Inode() == sp.inode {
			return h, nil
		}
		if err == nil {
			h.Close() // the process has moved, or is another one by now
			continue
		}
		failure = err
	}
	for _, m := range sp.mounts {
		h, err := m.Open(r.config.Proc)
		if err == nil {
			return h, nil
		}
		failure = err
	}
	return nil, failure
}

// recordDiag records what sock_diag answers in a namespace.
func (r *recorder) recordDiag(ctx context.Context, h *netns.Handle) error {
	var conn *sockdiag.Conn
	names := map[uint32]string{}
	err := netns.Do(h, func() (err error) {
		// What one namespace is refused, each must say of itself.
		if conn, err = sockdiag.Open(); err != nil {
			return err
		}
		list, err := net.Interfaces()
		for _, i := range list {
			names[uint32(i.Index)] = i.Name
		}
		if err != nil {
			r.warn(fmt.Errorf("record: network namespace %d: interfaces: %w", h.Inode(), err))
		}
		return nil
	})
	if err != nil {
		r.warn(fmt.Errorf("record: network namespace %d: %w: what only sock_diag tells is missing", h.Inode(), err))
		return nil
	}
	defer conn.Close()
	exchanges, err := conn.Record(ctx, r.warn, func(s *socket.Socket) {
		r.summary.Sockets++
		if s.Inode != 0 {
			r.listed[s.Inode] = true
		}
	})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		r.warn(fmt.Errorf("record: network namespace %d: %w", h.Inode(), err))
	}
	if r.scrub != nil {
		exchanges = sockdiag.Scrub(exchanges, r.scrub)
	}
	r.summary.Answered++
	return errors.Join(r.out.Answers(h.Inode(), recording.SockDiag, exchanges), r.out.Interfaces(h.Inode(), names))
}

// inspect records what descriptors tell of sockets that are in no list, and
// the namespaces that come to light with them.
func (r *recorder) inspect(ctx context.Context) error {
	if !r.proc.IsHost() {
		return nil // its numbers are not ours
	}
	for _, d := range r.held {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if r.listed[d.inode] {
			continue
		}
		var s socket.Socket
		h, err := inspect(d, &s)
		if err != nil || s.Inode != d.inode {
			continue // closed since, or nobody may know
		}
		r.listed[d.inode] = true
		r.summary.Sockets++
		if r.scrub != nil {
			sockdiag.ScrubSocket(&s, r.scrub)
		}
		told, err := sockdiag.MarshalSocket(&s)
		if err != nil {
			return err
		}
		r.lookups = append(r.lookups, recording.Lookup{Inode: d.inode, Socket: told})
		if h == nil {
			continue
		}
		if r.spaces[h.Inode()] == nil {
			r.spaces[h.Inode()] = &space{inode: h.Inode()}
			err = r.recordDiag(ctx, h)
		}
		if err := errors.Join(err, h.Close()); err != nil {
			return err
		}
	}
	return nil
}

// inspect asks for the socket behind a descriptor. That of a thread with a
// table of its own needs Linux 6.9 (PIDFD_THREAD, which is O_EXCL).
func inspect(d held, s *socket.Socket) (*netns.Handle, error) {
	flags := 0
	if d.tid != d.pid {
		flags = unix.O_EXCL
	}
	pidfd, err := unix.PidfdOpen(int(d.tid), flags)
	if err != nil {
		return nil, err
	}
	defer unix.Close(pidfd)
	return sockdiag.Lookup(pidfd, d.fd, s)
}

func processFile(pid int32, name string) string { return strconv.Itoa(int(pid)) + "/" + name }

// read reads a file below the root of procfs.
func (r *recorder) read(name string) ([]byte, error) {
	return os.ReadFile(filepath.Join(r.config.Proc, name))
}

// gone reports whether an error means that a process ended.
func gone(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) }

// recordProcess records a process, or nothing of one that ends meanwhile.
func (r *recorder) recordProcess(pid int32) error {
	for _, step := range []func(int32) error{r.recordFiles, r.recordTargets, r.recordThreads, r.recordShared} {
		if err := step(pid); err != nil {
			return err
		}
	}
	if there, err := r.proc.Exists(pid); err == nil && !there {
		r.held = slices.DeleteFunc(r.held, func(d held) bool { return d.pid == pid })
		return r.out.Forget(strconv.Itoa(int(pid)))
	}
	r.summary.Processes++
	return nil
}

// missing notes why a file of a process could not be recorded.
func (r *recorder) missing(name string, err error) {
	switch {
	case errors.Is(err, fs.ErrPermission):
		r.summary.Denied++
		r.out.Denied(name)
	case !gone(err) && !errors.Is(err, unix.EINVAL): // a zombie has no mounts
		r.warn(fmt.Errorf("record: %w", err))
	}
}

// recordFiles records the files that are one process's own.
func (r *recorder) recordFiles(pid int32) error {
	for _, name := range []string{"stat", "status", "comm", "cmdline", "environ", "io", "cgroup", "maps"} {
		path := processFile(pid, name)
		b, err := r.read(path)
		if err != nil {
			r.missing(path, err)
			continue
		}
		if err := r.out.File(path, r.scrub.processFile(name, b)); err != nil {
			return err
		}
	}
	return nil
}

// recordTargets records where the links of a process lead.
func (r *recorder) recordTargets(pid int32) error {
	names := []string{"exe", "cwd", "root"}
	entries, err := os.ReadDir(filepath.Join(r.config.Proc, processFile(pid, "ns")))
	if err != nil {
		r.missing(processFile(pid, "ns"), err)
	}
	for _, e := range entries {
		names = append(names, "ns/"+e.Name())
	}
	for _, name := range names {
		path := processFile(pid, name)
		target, err := os.Readlink(filepath.Join(r.config.Proc, path))
		if err != nil {
			r.missing(path, err)
			continue
		}
		if err := r.out.Link(path, r.scrub.target(target)); err != nil {
			return err
		}
	}
	_, err = r.recordDescriptors(pid, pid, processFile(pid, "fd"), nil)
	return err
}

// recordDescriptors records a descriptor table, and returns its links. A table
// that is the same as another one is not recorded.
func (r *recorder) recordDescriptors(pid, tid int32, dir string, other map[string]string) (map[string]string, error) {
	entries, err := os.ReadDir(filepath.Join(r.config.Proc, dir))
	if err != nil {
		r.missing(dir, err)
		return nil, nil
	}
	links := map[string]string{}
	for _, e := range entries {
		target, err := os.Readlink(filepath.Join(r.config.Proc, dir, e.Name()))
		if errors.Is(err, fs.ErrPermission) {
			r.missing(dir, err)
			return nil, nil
		}
		if err != nil {
			continue // closed meanwhile
		}
		links[e.Name()] = target
		if other[e.Name()] == target {
			continue // a copy of the process's own table begins with what is there
		}
		if err := r.out.Link(dir+"/"+e.Name(), r.scrub.target(target)); err != nil {
			return links, err
		}
		if inode, ok := socketInode(target); ok {
			if fd, err := strconv.ParseInt(e.Name(), 10, 32); err == nil {
				r.held = append(r.held, held{pid, tid, int32(fd), inode})
			}
			continue
		}
		info := filepath.Dir(dir) + "/fdinfo/" + e.Name()
		if b, err := r.read(info); err == nil { // else closed meanwhile
			if err := r.out.File(info, r.scrub.processFile("fdinfo", b)); err != nil {
				return links, err
			}
		}
	}
	return links, r.out.Dir(dir)
}

// socketInode returns the number in "socket:[n]" (proc_pid_fd(5)).
func socketInode(target string) (uint64, bool) {
	b, ok := bytes.CutPrefix([]byte(target), []byte("socket:["))
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(string(bytes.TrimSuffix(b, []byte("]"))), 10, 64)
	return n, err == nil
}

// recordThreads records the threads that have a descriptor table of their own.
func (r *recorder) recordThreads(pid int32) error {
	tids, err := r.proc.TIDs(pid, nil)
	if err != nil || len(tids) < 2 {
		return nil // gone, or single
	}
	var links map[string]string
	for _, tid := range tids {
		if tid == pid {
			continue
		}
		if r.proc.IsHost() {
			if shares, err := sockdiag.SharesFiles(pid, tid); err == nil && shares {
				continue
			}
		}
		if links == nil {
			links = r.links(processFile(pid, "fd"))
		}
		task := processFile(pid, "task/")
		_, err := r.recordDescriptors(pid, tid, task+strconv.Itoa(int(tid))+"/fd", links)
		// A single thread would be taken for the process.
		if err = errors.Join(err, r.out.Dir(task+strconv.Itoa(int(pid)))); err != nil {
			return err
		}
	}
	return nil
}

// links returns what the links in a directory refer to, as far as they tell.
func (r *recorder) links(dir string) map[string]string {
	links := map[string]string{}
	entries, err := os.ReadDir(filepath.Join(r.config.Proc, dir))
	if err != nil {
		return links
	}
	for _, e := range entries {
		if target, err := os.Readlink(filepath.Join(r.config.Proc, dir, e.Name())); err == nil {
			links[e.Name()] = target
		}
	}
	return links
}

// recordShared records what processes of one namespace have in common.
func (r *recorder) recordShared(pid int32) error {
	if key, ok := r.byPID[pid]; ok {
		if err := r.out.LinkNet(pid, key); err != nil {
			return err
		}
	}
	path := processFile(pid, "mountinfo")
	mountns, err := r.proc.Namespace(pid, "mnt")
	if err == nil && r.mounts[mountns] {
		return r.out.LinkMounts(pid, mountns)
	}
	b, readErr := r.read(path)
	if readErr != nil {
		r.missing(path, readErr)
		return nil
	}
	b = r.scrub.mounts(b)
	if err != nil {
		return r.out.File(path, b)
	}
	r.mounts[mountns] = true
	return errors.Join(r.out.Mounts(mountns, b), r.out.LinkMounts(pid, mountns))
}

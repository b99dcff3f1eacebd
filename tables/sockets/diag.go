package sockets

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"sockql/tables/internal/netns"
	"sockql/tables/internal/procfs"
	"sockql/tables/internal/sockdiag"
	"sockql/tables/internal/socket"
)

// readDiag reads lists of a namespace by sock_diag and returns the kinds that
// the kernel answered for. Only the end of ctx is an error: what is not
// answered is left to another source.
func (c *collector) readDiag(ctx context.Context, sp *space, wanted socket.Kind, covers map[socket.Kind]cover) (socket.Kind, error) {
	lists := map[socket.Kind]*list{}
	waiting := false
	answered, err := c.dump(ctx, sp, requests(wanted&sockdiag.Kinds, covers), func(s *socket.Socket) {
		l := lists[s.Kind]
		if l == nil {
			l = new(list)
			lists[s.Kind] = l
		}
		l.add(s)
		waiting = waiting || hasWaiting(s)
	})
	if err != nil {
		return 0, err
	}
	if waiting && c.host.source != Netlink {
		if err := c.addWaiting(ctx, sp, lists[socket.Unix]); err != nil {
			return 0, err
		}
	}
	for _, k := range kindInfos {
		if answered&k.kind == 0 {
			continue
		}
		l := lists[k.kind]
		if l == nil {
			l = new(list)
		}
		l.cover = covers[k.kind]
		id := listID{sp, k.kind}
		c.reads.lists[id]++
		c.keep(id, l)
	}
	return answered, nil
}

// dump hands over what sock_diag answers to requests in a namespace, and returns
// the kinds that it answered for. Only the end of ctx is an error.
func (c *collector) dump(ctx context.Context, sp *space, requests []socket.Request, visit func(*socket.Socket)) (answered socket.Kind, err error) {
	conn, err := c.connect(sp)
	if err != nil {
		c.noteUnread(sp, err)
		return 0, nil
	}
	defer conn.Close()
	c.used.diag = true
	for i := range requests {
		done, err := conn.Dump(ctx, &requests[i], c.warn, func(s *socket.Socket) bool {
			visit(s)
			return true
		})
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		answered |= done & requests[i].Kinds
		if err != nil {
			c.warn(fmt.Errorf("sockets: network namespace %d: %w", sp.inode, err))
			break
		}
	}
	return answered, nil
}

// hasWaiting reports whether a socket is a UNIX listener with connections that
// nobody has accepted yet. They have no inode, and unix_diag leaves them out
// (sk_diag_dump, net/unix/diag.c); the text shows them.
func hasWaiting(s *socket.Socket) bool {
	return s.Kind == socket.Unix && s.Known&socket.FieldBacklog != 0 && s.Backlog > 0
}

// addWaiting adds the UNIX sockets of a namespace that have no inode.
func (c *collector) addWaiting(ctx context.Context, sp *space, l *list) error {
	text, err := c.textList(ctx, sp, socket.Unix)
	if err != nil {
		return err
	}
	text.each(func(s *socket.Socket) bool {
		if s.Inode == 0 {
			l.add(s)
		}
		return true
	})
	return nil
}

// noteUnread notes that sock_diag could not be asked in a namespace. Text, which
// needs no privilege, may still tell.
func (c *collector) noteUnread(sp *space, err error) {
	lived := len(sp.pids) > 0
	sp.unread = !lived || c.host.source == Netlink
	switch {
	case c.host.replay == nil && errors.Is(err, fs.ErrNotExist): // gone
	case c.host.source == Netlink:
		c.warn(fmt.Errorf("sockets: network namespace %d: %w", sp.inode, err))
	case lived:
	case errors.Is(err, fs.ErrPermission):
		c.warn(fmt.Errorf("sockets: network namespaces in which no process is seen: %w: their sockets are missing without CAP_SYS_ADMIN and CAP_SYS_PTRACE", fs.ErrPermission))
	default:
		c.warn(fmt.Errorf("sockets: network namespace %d: %w: its sockets are missing", sp.inode, err))
	}
}

// leaveHelpers has a question leave out the descriptors that this process asks
// sock_diag through, in this scan or in another one. They come and go while a
// user looks, and tell nothing; the socket of a dump's own connection is left
// out by [sockdiag.Conn.Dump].
func (h *Host) leaveHelpers(a *question) {
	if !h.proc.IsHost() {
		return // its numbers are of other processes
	}
	match, self := a.match, int32(os.Getpid())
	a.match = func(r *row) bool {
		if r.Kind == socket.Netlink && r.Protocol == unix.NETLINK_SOCK_DIAG && r.holder.PID == self {
			return false
		}
		return match(r)
	}
}

// connect returns a connection to the kernel of a namespace.
func (c *collector) connect(sp *space) (conn *sockdiag.Conn, err error) {
	if r := c.host.replay; r != nil {
		return r.connect(&c.host.support, sp.inode)
	}
	err = c.inside(sp, func() (err error) {
		conn, err = c.host.support.Open()
		return err
	})
	return conn, err
}

// requests makes one request of the kinds that are asked for in the same way.
func requests(wanted socket.Kind, covers map[socket.Kind]cover) []socket.Request {
	var list []socket.Request
	var firsts []cover
	for _, k := range kindInfos {
		if wanted&k.kind == 0 {
			continue
		}
		c := covers[k.kind]
		at := slices.IndexFunc(firsts, func(d cover) bool { return c.has(d) && d.has(c) })
		if at >= 0 {
			list[at].Kinds |= k.kind
			continue
		}
		firsts = append(firsts, c)
		list = append(list, socket.Request{
			Kinds: k.kind, States: c.states, Fields: c.fields,
			LocalPorts: c.localPorts, RemotePorts: c.remotePorts,
			LocalAddrs: c.localAddrs, RemoteAddrs: c.remoteAddrs, Bound: c.bound,
		})
	}
	return list
}

// inside runs f in a namespace.
func (c *collector) inside(sp *space, f func() error) error {
	if own, err := netns.Current(); err == nil && own == sp.inode {
		return f() // needs no privilege
	}
	if sp.handle != nil {
		return netns.Do(sp.handle, f)
	}
	h, err := c.open(sp)
	if err != nil {
		return err
	}
	defer h.Close()
	return netns.Do(h, f)
}

// open opens a namespace through a process in it or its mount.
func (c *collector) open(sp *space) (*netns.Handle, error) {
	root := c.host.proc.Root()
	var failure error = fs.ErrNotExist
	for _, pid := range sp.pids {
		h, err := netns.Open(filepath.Join(root, strconv.Itoa(int(pid)), "ns/net"))
		switch {
		case err == nil && h.Inode() == sp.inode:
			return h, nil
		case err == nil:
			h.Close() // it has moved, or is another process by now
		case errors.Is(err, fs.ErrPermission) && sp.inode == 0:
			return nil, err // as it was with the others, or the number were known
		default:
			failure = err
		}
	}
	if h, err := c.openMounted(sp.inode); !errors.Is(err, fs.ErrNotExist) {
		return h, err
	}
	return nil, failure
}

// kernelInterfaces returns the names of a namespace's interfaces by index.
func (c *collector) kernelInterfaces(sp *space) (map[uint32]string, error) {
	names := map[uint32]string{}
	err := c.inside(sp, func() error {
		list, err := net.Interfaces()
		for _, i := range list {
			names[uint32(i.Index)] = i.Name
		}
		return err
	})
	return names, err
}

// maxLookups is how many descriptors are looked up one by one, at some
// microseconds each, before whole lists are read to tell which are in none.
const maxLookups = 2048

// looksUp reports whether descriptors can be looked up.
func (c *collector) looksUp() bool {
	return c.host.asksDiag() && (c.host.replay != nil || c.host.proc.IsHost())
}

// resolve looks for the sockets whose descriptors are in no list that was read,
// and returns the namespaces with those that it found.
func (c *collector) resolve(ctx context.Context, pids []int32, spaces []*space, a *question) ([]*space, error) {
	complete := func() bool { return len(c.missing(pids, a, 0)) == 0 }
	if complete() {
		return spaces, nil
	}
	var err error
	if c.looksUp() {
		if spaces, err = c.lookUp(ctx, pids, spaces, a); err != nil {
			return nil, err
		}
	}
	if !a.everyPID && !complete() {
		// A process may hold sockets of a namespace that it does not live in.
		if spaces, err = c.searchSpaces(ctx, pids, spaces, a); err != nil {
			return nil, err
		}
	}
	if a.unlisted {
		for _, m := range c.missing(pids, a, math.MaxInt) {
			c.unlisted[m.inode] = &socket.Socket{Kind: socket.Other, Inode: m.inode, Holder: nobody}
		}
	}
	return spaces, nil
}

// searchSpaces reads the namespaces in which the sockets of a few processes may
// be besides those that the processes live in.
func (c *collector) searchSpaces(ctx context.Context, pids []int32, spaces []*space, a *question) ([]*space, error) {
	if err := c.listProcesses(ctx); err != nil {
		return nil, err
	}
	others := slices.DeleteFunc(c.wanted(c.spaces, a), func(sp *space) bool { return slices.Contains(spaces, sp) })
	if len(others) == 0 {
		return spaces, nil
	}
	// Most will be sockets of kinds that the question leaves out: one's own
	// namespaces tell so at less cost than all the others.
	wider := *a
	wider.request.Kinds = procfs.Kinds
	if err := c.readLists(ctx, spaces, &wider); err != nil {
		return nil, err
	}
	for _, sp := range others {
		if len(c.missing(pids, a, 0)) == 0 {
			break
		}
		if err := c.readSpace(ctx, sp, a); err != nil {
			return nil, err
		}
		spaces = append(slices.Clip(spaces), sp)
	}
	return spaces, nil
}

// A missing is a descriptor of a socket that is in no list.
type missing struct {
	pid int32
	held
}

// missing returns such descriptors, one for each socket, and ends when there
// are more than most. Those of processes that are not asked for may lead to
// namespaces with sockets that nobody holds.
func (c *collector) missing(pids []int32, a *question, most int) []missing {
	var list []missing
	seen := map[uint64]bool{}
	for _, pid := range pids {
		if !a.ownerless && !a.wantsPID(int64(pid)) {
			continue
		}
		for _, h := range c.descriptors[pid].held {
			if c.sockets[h.inode] != nil || seen[h.inode] {
				continue
			}
			if _, known := c.unlisted[h.inode]; !known {
				seen[h.inode] = true
				list = append(list, missing{pid, h})
				if len(list) > most {
					return list
				}
			}
		}
	}
	return list
}

// lookUp asks for the sockets behind descriptors one by one. A namespace that
// comes to light with one of them is read like the others.
func (c *collector) lookUp(ctx context.Context, pids []int32, spaces []*space, a *question) ([]*space, error) {
	list := c.missing(pids, a, maxLookups)
	if len(list) > maxLookups {
		// Nearly all will be in lists that the question leaves out, or in the
		// part that the kernel filtered out: whole lists tell at less cost.
		whole := question{request: socket.Everything(), quiet: true}
		whole.request.Fields = socket.FieldFamily
		for i := range whole.states {
			whole.states[i] = socket.AllStates
		}
		if err := c.readLists(ctx, spaces, &whole); err != nil {
			return nil, err
		}
		list = c.missing(pids, a, math.MaxInt)
	}
	t := task{pidfd: -1}
	defer t.close()
	var holders map[uint64][]missing // of the sockets in the list, once it is needed
	for _, m := range list {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if c.sockets[m.inode] != nil {
			continue // in a namespace found meanwhile
		}
		inode, h, gone, err := c.inspect(m, &t)
		if gone {
			// Another process may hold the socket still: a child that shared
			// it is gone first.
			if holders == nil {
				holders = c.holders(list)
			}
			for _, other := range holders[m.inode] {
				if inode, h, gone, err = c.inspect(other, &t); !gone {
					break
				}
			}
		}
		if err != nil {
			return nil, err
		}
		if inode == 0 {
			continue
		}
		if c.byInode[inode] == nil {
			// Processes may live in it all the same.
			if err := c.listProcesses(ctx); err != nil {
				if h != nil {
					h.Close()
				}
				return nil, err
			}
		}
		sp := c.byInode[inode]
		if sp == nil {
			sp = c.keepLone(inode, h)
		} else if h != nil {
			h.Close()
		}
		if !a.wantsNetns(sp.inode) {
			continue
		}
		if !slices.Contains(spaces, sp) {
			spaces = append(slices.Clip(spaces), sp)
		}
		if err := c.readSpace(ctx, sp, a); err != nil {
			return nil, err
		}
	}
	return spaces, nil
}

// holders returns all descriptors of the sockets in a list that were read.
func (c *collector) holders(list []missing) map[uint64][]missing {
	found := make(map[uint64][]missing, len(list))
	for _, m := range list {
		found[m.inode] = nil
	}
	for pid, t := range c.descriptors {
		for _, h := range t.held {
			if of, listed := found[h.inode]; listed {
				found[h.inode] = append(of, missing{pid, h})
			}
		}
	}
	return found
}

// inspect notes what stands behind a descriptor, and returns the namespace of
// the socket if it tells: its number, and, of a running kernel, its handle. Gone
// says that the descriptor does not refer to the socket any more.
func (c *collector) inspect(m missing, t *task) (inode uint64, h *netns.Handle, gone bool, err error) {
	s := new(socket.Socket)
	if r := c.host.replay; r != nil {
		if s, err = r.lookUp(m.inode); err != nil {
			return 0, nil, false, fmt.Errorf("sockets: %w", err)
		}
		if s == nil {
			return 0, nil, false, nil
		}
	} else {
		if err := t.open(m); err != nil {
			return 0, nil, errors.Is(err, unix.ESRCH), nil
		}
		h, err = sockdiag.Lookup(t.pidfd, m.fd, s)
	}
	switch {
	case errors.Is(err, unix.EBADF), errors.Is(err, unix.ESRCH), errors.Is(err, unix.ENOTSOCK),
		err == nil && s.Inode != m.inode:
		if h != nil {
			h.Close()
		}
		c.unlisted[m.inode] = nil // closed since the table was read
		return 0, nil, true, nil
	case err == nil:
		c.unlisted[m.inode] = s
	}
	if s.Known&socket.FieldNetns == 0 {
		return 0, nil, false, nil
	}
	return s.Netns, h, false, nil
}

// A task is a thread whose descriptors are inspected one after the other.
type task struct {
	pidfd    int // -1 for none
	pid, tid int32
}

// open makes it the thread of a descriptor. The error is that of pidfd_open(2).
func (t *task) open(m missing) error {
	if t.pidfd >= 0 && t.pid == m.pid && t.tid == m.tid {
		return nil
	}
	t.close()
	fd, err := openTask(m.pid, m.tid)
	*t = task{fd, m.pid, m.tid}
	return err
}

func (t *task) close() {
	if t.pidfd >= 0 {
		unix.Close(t.pidfd)
	}
}

// openTask returns a pidfd. That of a thread with a descriptor table of its own
// needs Linux 6.9 (PIDFD_THREAD, which is O_EXCL, pidfd_open(2)).
func openTask(pid, tid int32) (int, error) {
	flags := 0
	if tid != pid {
		flags = unix.O_EXCL
	}
	return unix.PidfdOpen(int(tid), flags)
}

package sockets

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"sockql/tables"
	"sockql/tables/internal/netns"
	"sockql/tables/internal/procfs"
	"sockql/tables/internal/socket"
)

// A collector is what one session has read of a host's sockets.
type collector struct {
	host *Host
	warn func(error)
	// lock holds a token while somebody reads: unlike a mutex it can be waited
	// for with a context. It guards everything below.
	lock chan struct{}

	// clock counts readings, so that it can be told which came first.
	clock int

	spaces     []*space
	byInode    map[uint64]*space // by the inode of the namespace
	byIdentity map[uint64]*space // by procfs.NetIdentity, once a namespace could not be read
	byPID      map[int32]*space  // nil for a process that has none
	pids       []int32           // all processes
	mounts     []netns.Mount     // bind mounts of namespaces
	listed     bool              // all of these are complete
	refused    bool              // the number of a process's namespace was
	asked      asked

	descriptors map[int32]table // by pid
	hides       *bool           // whether processes may be missing from procfs, once known
	outside     bool            // they are, for they live outside of its pid namespace

	sockets  map[uint64]*socket.Socket   // by inode
	sharing  map[uint64][]*socket.Socket // further ones of an inode: an MPTCP socket and its subflows
	unlisted map[uint64]*socket.Socket   // in no list; nil if its descriptor is gone

	// Of questions that BPF answers.
	streamed  bool      // all processes were asked for once
	lookups   int       // what looking up single ones has cost, see inAdvance
	openFiles int       // of the host; 0 if nobody needed it
	snapshot  *snapshot // nil if nobody asked twice

	reads counts
	used  sources
	names names // has its own lock
}

// counts are what a collector read.
type counts struct {
	lists  map[listID]int // readings of a list
	tables int            // descriptor tables
}

// An asked is what questions were about.
type asked struct {
	processes  int // that were named, of all questions
	namespaces int // of the last question
}

type listID struct {
	space *space
	kind  socket.Kind
}

// A space is a network namespace.
type space struct {
	inode uint64 // in nsfs; 0 where it cannot be told
	// pids live in it: its lists are read through one of them.
	pids  []int32
	lists map[socket.Kind]*list
	// handle leads to a namespace that was found behind a descriptor.
	handle *netns.Handle
	// unread says that its sockets could not be read, hidden that processes
	// may live in it that do not tell.
	unread, hidden bool
	// held says that a socket led to it.
	held bool
}

// An entry is a row before its names are resolved.
type entry struct {
	socket *socket.Socket
	holder socket.Holder
}

type collectorKey struct{ host *Host }

// collect returns the session's rows for a question, holders first.
func (h *Host) collect(ctx context.Context, q *tables.Query, l *layout, a *question) (c *collector, entries []entry, err error) {
	err = h.locked(ctx, q, func(found *collector) (err error) {
		c = found
		before := c.clock
		entries, err = c.collect(ctx, a)
		l.account(q, c.used, a, false, c.asked.namespaces, before > 0 && c.clock == before)
		return err
	})
	return c, entries, err
}

// locked calls f with the session's collector, which nobody else uses
// meanwhile.
func (h *Host) locked(ctx context.Context, q *tables.Query, f func(*collector) error) error {
	c, err := h.collector(ctx, q.Session())
	if err != nil {
		return err
	}
	select {
	case c.lock <- struct{}{}:
		defer func() { <-c.lock }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return f(c)
}

// collector returns the session's collector.
func (h *Host) collector(ctx context.Context, s *tables.Session) (*collector, error) {
	return tables.Share(ctx, s, collectorKey{h}, func(context.Context) (*collector, error) {
		c := newCollector(h, s.Warn)
		s.OnClose(c.close)
		return c, nil
	})
}

// close releases the namespaces that are held open.
func (c *collector) close() error {
	var errs []error
	for _, sp := range c.spaces {
		if sp.handle != nil {
			errs = append(errs, sp.handle.Close())
		}
	}
	return errors.Join(errs...)
}

func newCollector(h *Host, warn func(error)) *collector {
	return &collector{
		host: h, warn: warn, lock: make(chan struct{}, 1),
		byInode: map[uint64]*space{}, byPID: map[int32]*space{},
		descriptors: map[int32]table{},
		sockets:     map[uint64]*socket.Socket{}, sharing: map[uint64][]*socket.Socket{},
		unlisted: map[uint64]*socket.Socket{},
		reads:    counts{lists: map[listID]int{}},
	}
}

func (c *collector) collect(ctx context.Context, a *question) ([]entry, error) {
	pids, spaces, err := c.scope(ctx, a)
	if err != nil || len(spaces) == 0 && len(pids) == 0 {
		return nil, err
	}
	c.asked.namespaces = len(spaces)
	before := c.clock
	if err := c.readLists(ctx, spaces, a); err != nil {
		return nil, err
	}
	if a.ownerless && c.clock > before {
		// Processes that were born meanwhile may hold sockets of the lists.
		if c.pids, err = c.host.proc.PIDs(nil); err != nil {
			return nil, fmt.Errorf("sockets: list processes: %w", err)
		}
		pids = c.pids
	}
	if a.request.NoHolders && !(c.looksUp() && a.mayBeUnlisted()) {
		return c.withoutHolders(spaces, a), nil
	}
	if err := c.readDescriptors(ctx, pids, 0); err != nil {
		return nil, err
	}
	if spaces, err = c.resolve(ctx, pids, spaces, a); err != nil {
		return nil, err
	}
	if a.ownerless {
		// A list that is younger than the descriptors may show sockets that
		// were made since.
		if newest := c.newestUnowned(spaces, a); newest > 0 {
			c.listed = false
			if err := c.listProcesses(ctx); err != nil {
				return nil, err
			}
			pids = c.pids
			if err := c.readDescriptors(ctx, pids, newest); err != nil {
				return nil, err
			}
			if spaces, err = c.resolve(ctx, pids, spaces, a); err != nil {
				return nil, err
			}
		}
	}
	return c.join(pids, spaces, a), nil
}

// manyAsked is how many processes are looked up by number before all are listed.
const manyAsked = 64

// scope returns the processes and the namespaces that a question is about.
func (c *collector) scope(ctx context.Context, a *question) ([]int32, []*space, error) {
	if a.request.Kinds == 0 {
		return nil, nil, nil
	}
	if a.everyPID {
		if err := c.listProcesses(ctx); err != nil {
			return nil, nil, err
		}
		pids := c.pids
		if !a.ownerless {
			pids = slices.Clone(pids)
			pids = slices.DeleteFunc(pids, func(pid int32) bool { return !a.wantsPID(int64(pid)) })
		}
		return pids, c.wanted(c.spaces, a), nil
	}
	if c.asked.processes += len(a.request.PIDs); c.asked.processes > manyAsked {
		// To list all of them costs less by now than to ask of each whether it
		// is a process.
		if err := c.listProcesses(ctx); err != nil {
			return nil, nil, err
		}
	}
	var pids []int32
	var spaces []*space
	for _, pid := range a.request.PIDs {
		if ctx.Err() != nil {
			return nil, nil, context.Cause(ctx)
		}
		if !c.isProcess(pid) {
			continue
		}
		pids = append(pids, pid)
		sp := c.spaceOf(pid)
		if sp != nil && sp.inode == 0 {
			// Another process may tell the number of the namespace.
			if err := c.listProcesses(ctx); err != nil {
				return nil, nil, err
			}
		}
		if sp != nil && !slices.Contains(spaces, sp) {
			spaces = append(spaces, sp)
		}
	}
	// Its namespace is not the only one that a process can have sockets of, so
	// what the question says of namespaces does not narrow the processes.
	return pids, spaces, nil
}

// isProcess reports whether a number is that of a thread group: procfs shows
// each thread under its own number too, though it does not list it.
func (c *collector) isProcess(pid int32) bool {
	if _, found := c.byPID[pid]; found {
		return true
	}
	group, err := c.host.proc.ThreadGroup(pid)
	if errors.Is(err, procfs.ErrVanished) {
		return false
	}
	return err != nil || group == pid // what cannot be read may still be one
}

// wanted returns the namespaces that a question asks for.
func (c *collector) wanted(spaces []*space, a *question) []*space {
	return slices.DeleteFunc(slices.Clone(spaces), func(sp *space) bool { return !a.wantsNetns(sp.inode) })
}

// listProcesses finds all processes and their namespaces.
func (c *collector) listProcesses(ctx context.Context) error {
	if c.listed {
		return nil
	}
	pids, err := c.host.proc.PIDs(nil)
	if err != nil {
		return fmt.Errorf("sockets: list processes: %w", err)
	}
	for _, pid := range pids {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		c.spaceOf(pid)
	}
	if c.refused && slices.ContainsFunc(c.spaces, func(sp *space) bool { return sp.inode == 0 }) {
		c.warn(fmt.Errorf("sockets: network namespaces of other users' processes: %w: without CAP_SYS_PTRACE one that is not known otherwise shows as 0", fs.ErrPermission))
	}
	c.pids, c.listed = pids, true
	if c.host.asksDiag() {
		c.findMounts()
	}
	return nil
}

// findMounts adds the namespaces that only a bind mount keeps alive.
func (c *collector) findMounts() {
	c.mounts = netns.Find(c.host.proc.Root(), c.pids, c.warn)
	for _, m := range c.mounts {
		if c.byInode[m.Inode] != nil {
			continue
		}
		var h *netns.Handle
		if c.hasHidden() && c.host.asksKernel() {
			h, _ = c.openMounted(m.Inode)
		}
		c.foundSpace(m.Inode, h)
		if h != nil {
			h.Close()
		}
	}
}

// openMounted opens a namespace by one of its mounts.
func (c *collector) openMounted(inode uint64) (h *netns.Handle, err error) {
	err = fs.ErrNotExist
	for _, m := range c.mounts {
		if m.Inode != inode {
			continue
		}
		if h, err = m.Open(c.host.proc.Root()); err == nil {
			return h, nil
		}
	}
	return nil, err
}

// hasHidden reports whether there are namespaces without a number.
func (c *collector) hasHidden() bool {
	return slices.ContainsFunc(c.spaces, func(sp *space) bool { return sp.inode == 0 })
}

// foundSpace returns the namespace of a number that no process has told. It may
// be that of processes which hide the number; this shows inside, where the
// handle leads unless it is nil.
func (c *collector) foundSpace(inode uint64, h *netns.Handle) *space {
	var sp *space
	hidden := c.hasHidden()
	if hidden && h != nil {
		if identity, err := h.Identity(); err == nil {
			hidden = false
			if sp = c.byIdentity[identity]; sp != nil && sp.inode == 0 && len(sp.lists) == 0 {
				sp.inode = inode
			}
		}
	}
	if sp == nil {
		sp = c.addSpace(inode)
		sp.hidden = hidden
	}
	c.byInode[inode] = sp
	return sp
}

// spaceOf returns the network namespace of a process, or nil if it has none.
func (c *collector) spaceOf(pid int32) *space {
	if sp, found := c.byPID[pid]; found {
		return sp
	}
	sp := c.findSpace(pid)
	if sp != nil {
		sp.pids = append(sp.pids, pid)
	}
	c.byPID[pid] = sp
	return sp
}

func (c *collector) findSpace(pid int32) *space {
	inode, err := c.host.proc.NetNS(pid)
	if err == nil {
		return c.spaceByInode(inode, pid)
	}
	refused := errors.Is(err, fs.ErrPermission)
	identity, err := c.host.proc.NetIdentity(pid)
	if err != nil {
		return nil // gone, or a zombie
	}
	c.refused = c.refused || refused
	if c.byIdentity == nil {
		c.byIdentity = map[uint64]*space{}
		for _, sp := range c.spaces {
			c.identify(sp, sp.pids...)
		}
	}
	sp := c.byIdentity[identity]
	if sp == nil {
		sp = c.addSpace(0)
		c.byIdentity[identity] = sp
	}
	return sp
}

// spaceByInode returns the namespace of a number. One that had none so far,
// because it was met through a process that hides its number, gets it.
func (c *collector) spaceByInode(inode uint64, pid int32) *space {
	if sp := c.byInode[inode]; sp != nil {
		return sp
	}
	if c.byIdentity != nil {
		if identity, err := c.host.proc.NetIdentity(pid); err == nil {
			if sp := c.byIdentity[identity]; sp != nil && sp.inode == 0 && len(sp.lists) == 0 {
				sp.inode = inode
				c.byInode[inode] = sp
				return sp
			}
		}
	}
	sp := c.addSpace(inode)
	c.byInode[inode] = sp
	if c.byIdentity != nil {
		c.identify(sp, pid)
	}
	return sp
}

func (c *collector) addSpace(inode uint64) *space {
	sp := &space{inode: inode, lists: map[socket.Kind]*list{}}
	c.spaces = append(c.spaces, sp)
	return sp
}

// identify notes the identity of a namespace, by the first process that tells.
func (c *collector) identify(sp *space, pids ...int32) {
	for _, pid := range pids {
		if identity, err := c.host.proc.NetIdentity(pid); err == nil {
			c.byIdentity[identity] = sp
			return
		}
	}
}

// at calls f for each socket of an inode and reports whether there is one.
func (c *collector) at(inode uint64, f func(*socket.Socket)) bool {
	s := c.sockets[inode]
	if s == nil {
		return false
	}
	f(s)
	for _, s := range c.sharing[inode] {
		f(s)
	}
	return true
}

// each calls f for each listed socket that a question may want, until f returns
// false.
func (c *collector) each(spaces []*space, a *question, f func(*list, *socket.Socket) bool) {
	for _, sp := range spaces {
		for _, k := range kindInfos {
			l := sp.lists[k.kind]
			if l == nil || a.request.Kinds&k.kind == 0 {
				continue
			}
			if !l.each(func(s *socket.Socket) bool { return f(l, s) }) {
				return
			}
		}
	}
}

// withoutHolders returns the listed sockets, each once.
func (c *collector) withoutHolders(spaces []*space, a *question) []entry {
	var entries []entry
	c.each(spaces, a, func(_ *list, s *socket.Socket) bool {
		if a.match(&row{Socket: s, holder: nobody}) {
			entries = append(entries, entry{s, nobody})
		}
		return true
	})
	return entries
}

var nobody = socket.Holder{PID: -1, TID: -1, FD: -1}

// newestUnowned returns when the youngest list was read that shows a socket
// whose file no descriptor refers to and that is younger than the oldest
// descriptor table; 0 if there is none.
func (c *collector) newestUnowned(spaces []*space, a *question) int {
	oldest := c.clock
	for _, pid := range c.pids {
		if t := c.descriptors[pid]; t.read < oldest {
			oldest = t.read
		}
	}
	newest := 0
	for _, sp := range spaces {
		for kind, l := range sp.lists {
			if l.read > oldest && a.request.Kinds&kind != 0 {
				newest = max(newest, l.read)
			}
		}
	}
	if newest == 0 {
		return 0
	}
	c.own(c.pids)
	unowned := 0
	c.each(spaces, a, func(l *list, s *socket.Socket) bool {
		if l.read > oldest && s.PID < 0 && hasFile(s) {
			unowned = newest
			return false
		}
		return true
	})
	return unowned
}

// hasFile reports whether a socket is one that some process opened: the kernel
// has netlink sockets of its own.
func hasFile(s *socket.Socket) bool {
	return s.Inode != 0 && (s.Kind != socket.Netlink || s.NetlinkPort != 0)
}

// own marks the sockets that the processes' descriptors refer to.
func (c *collector) own(pids []int32) {
	for _, pid := range pids {
		for _, h := range c.descriptors[pid].held {
			c.at(h.inode, func(s *socket.Socket) { s.PID = pid })
		}
	}
}

// join brings sockets and descriptors together.
func (c *collector) join(pids []int32, spaces []*space, a *question) []entry {
	var entries []entry
	if a.unlisted { // nothing is filtered out
		entries = make([]entry, 0, c.held(pids)+len(c.sockets)/8)
	}
	var r row
	add := func(s *socket.Socket, holder socket.Holder) bool {
		if a.request.Kinds&s.Kind == 0 {
			return false
		}
		r.Socket, r.holder = s, holder
		if !a.match(&r) {
			return false
		}
		entries = append(entries, entry{s, holder})
		return true
	}
	for _, pid := range pids {
		wanted := a.wantsPID(int64(pid))
		if !wanted && !a.ownerless {
			continue
		}
		for _, h := range c.descriptors[pid].held {
			holder := socket.Holder{PID: pid, TID: h.tid, FD: h.fd}
			listed := c.at(h.inode, func(s *socket.Socket) {
				s.PID = pid
				if wanted {
					add(s, holder)
				}
			})
			if s := c.unlisted[h.inode]; !listed && wanted && s != nil {
				add(s, holder)
			}
		}
	}
	if a.ownerless {
		holder := nobody
		holder.Reason = c.reason()
		open := false // whether somebody should hold one of them
		c.each(spaces, a, func(_ *list, s *socket.Socket) bool {
			if s.PID < 0 && add(s, holder) {
				open = open || hasFile(s)
			}
			return true
		})
		if open && c.outside {
			c.warn(fmt.Errorf("sockets: processes outside of this pid namespace: %w: sockets that only they hold show no holder; read the host's procfs to see them", fs.ErrPermission))
		}
	}
	return entries
}

// held returns how many descriptors of the processes refer to sockets.
func (c *collector) held(pids []int32) int {
	n := 0
	for _, pid := range pids {
		n += len(c.descriptors[pid].held)
	}
	return n
}

// reason says why the sockets without a holder have none.
func (c *collector) reason() socket.Reason {
	if c.unseen() {
		return socket.Denied
	}
	reason := socket.NoOwner
	for _, pid := range c.pids {
		switch c.descriptors[pid].outcome {
		case denied:
			return socket.Denied
		case vanished:
			reason = socket.Raced
		}
	}
	return reason
}

// unseen reports whether there may be processes that procfs does not show us.
func (c *collector) unseen() bool {
	if c.hides == nil {
		// Mount options that cannot be told are those of another pid
		// namespace, and may hide processes.
		h, err := c.host.proc.HidePID()
		c.outside = !c.host.proc.ShowsHost() && !h.Hides()
		hides := err != nil || h.Hides() || c.outside
		c.hides = &hides
		if h.Omits() {
			c.warn(fmt.Errorf("sockets: processes of other users: %w: procfs is mounted with hidepid, and their sockets show no holder without CAP_SYS_PTRACE", fs.ErrPermission))
		}
	}
	return *c.hides
}

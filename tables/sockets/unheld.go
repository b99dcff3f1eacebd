package sockets

import (
	"context"
	"errors"
	"math/bits"
	"slices"

	"sockql/tables"
	"sockql/tables/internal/bpfiter"
	"sockql/tables/internal/procfs"
	"sockql/tables/internal/sockdiag"
	"sockql/tables/internal/socket"
)

// bulk are the kinds that a host may have very many sockets of. Of those only
// the inodes are kept until it is known which of them nobody holds.
const bulk = bpfiter.OwnerlessKinds | socket.UDP4 | socket.UDP6 | socket.Unix

// An unheld is what the kernel's lists show and no descriptor has shown yet.
type unheld struct {
	spaces map[uint64]*unheldSpace // by the namespace's inode
	last   *unheldSpace            // that was looked for last
	// kept are sockets without a file, such as those in TIME_WAIT.
	kept []keptSocket
	byID map[bpfiter.ID]int // those of kept that a process may still accept
}

// An unheldSpace is the part of one namespace.
type unheldSpace struct {
	inode uint64
	// listed are the inodes of sockets that have a file, by the number of the
	// kind, and connections those from the hash table of TCP.
	listed      [len(kindInfos)]inodeSet
	connections inodeSet
	// again are kinds with sockets that have no file and were not kept.
	again socket.Kind
}

type keptSocket struct {
	socket.Socket
	shown bool
}

func newUnheld() *unheld {
	return &unheld{spaces: map[uint64]*unheldSpace{}, byID: map[bpfiter.ID]int{}}
}

func numberOf(kind socket.Kind) int { return bits.TrailingZeros32(uint32(kind)) }

// space returns the part of a namespace, nil if it has none.
func (u *unheld) space(inode uint64) *unheldSpace {
	if u.last == nil || u.last.inode != inode {
		found := u.spaces[inode]
		if found == nil {
			return nil
		}
		u.last = found
	}
	return u.last
}

func (u *unheld) addSpace(inode uint64) *unheldSpace {
	if sp := u.space(inode); sp != nil {
		return sp
	}
	sp := &unheldSpace{inode: inode, connections: inodeSet{}}
	u.spaces[inode] = sp
	return sp
}

// connection takes an entry of the hash table of TCP connections.
func (u *unheld) connection(s *socket.Socket, id bpfiter.ID) bool {
	if s.Inode != 0 {
		u.addSpace(s.Netns).connections.add(s.Inode)
		return true
	}
	// One that was closed by its process will never be accepted.
	if s.State == socket.StateEstablished || s.State == socket.StateCloseWait {
		u.byID[id] = len(u.kept)
	}
	u.keep(s)
	return true
}

// list takes a socket of another list.
func (u *unheld) list(s *socket.Socket) {
	sp := u.addSpace(s.Netns)
	switch {
	case hasFile(s):
		set := &sp.listed[numberOf(s.Kind)]
		if *set == nil {
			*set = inodeSet{}
		}
		set.add(s.Inode)
	case s.Kind&bulk != 0:
		sp.again |= s.Kind
	default:
		u.keep(s)
	}
	if hasWaiting(s) {
		sp.again |= socket.Unix
	}
}

func (u *unheld) keep(s *socket.Socket) {
	u.kept = append(u.kept, keptSocket{Socket: *s})
	u.kept[len(u.kept)-1].Holder = nobody
}

// show notes that a descriptor refers to a socket.
func (u *unheld) show(s *socket.Socket, id bpfiter.ID) {
	if sp := u.space(s.Netns); sp != nil {
		sp.show(s)
	}
	if sp := u.spaces[0]; sp != nil { // one whose number was not told
		sp.show(s)
	}
	if len(u.byID) > 0 {
		if at, found := u.byID[id]; found {
			u.kept[at].shown = true
		}
	}
}

func (sp *unheldSpace) show(s *socket.Socket) {
	kinds := s.Kind
	switch {
	case kinds&bpfiter.OwnerlessKinds != 0:
		sp.connections.remove(s.Inode)
	case kinds&ping != 0:
		kinds = ping // a list shows those of the other family, too: see index
	}
	for ; kinds != 0; kinds &= kinds - 1 {
		if set := sp.listed[numberOf(kinds)]; set != nil {
			set.remove(s.Inode)
		}
	}
}

// left returns the kinds of lists that show sockets that no descriptor has.
func (sp *unheldSpace) left() socket.Kind {
	kinds := sp.again
	for i, set := range sp.listed {
		if len(set) > 0 {
			kinds |= 1 << i
		}
	}
	return kinds
}

// listUnheld goes over the lists of the kernel before the descriptors are gone
// over. The collector's lock is held.
func (p *pass) listUnheld(ctx context.Context) error {
	p.unheld = newUnheld()
	defer func() { p.used = p.collector.used }()
	kinds := p.question.descriptors().Kinds &^ socket.Other
	connections := make(chan error, 1)
	table := newUnheld() // has its own goroutine
	p.hashed = kinds & bpfiter.OwnerlessKinds
	asksTable := p.asksTable()
	if err := p.addLone(ctx, asksTable); err != nil {
		return err
	}
	if asksTable {
		request := p.question.descriptors()
		go func() { connections <- p.source.Connections(ctx, &request, true, table.connection) }()
	} else {
		p.hashed = 0
		connections <- nil
	}
	brief := *p.question
	brief.request.Fields = socket.FieldFamily | socket.FieldState
	spaces := p.collector.wanted(p.collector.spaces, p.question)
	p.namespaces = len(spaces)
	var err error
	for _, sp := range spaces {
		there := kinds &^ p.collector.absent(sp)
		if err == nil {
			err = p.eachListed(ctx, sp, there&^bulk, p.question, p.unheld.list)
		}
		if err == nil {
			err = p.eachListed(ctx, sp, there&bulk, &brief, p.unheld.list)
		}
	}
	failure := <-connections
	switch {
	case err != nil:
		return err
	case errors.Is(failure, tables.ErrUnavailable):
		// The kernel keeps connections elsewhere; sock_diag lists them, too.
		missing := p.hashed
		p.hashed = 0
		for _, sp := range spaces {
			if err := p.eachListed(ctx, sp, missing, &brief, p.unheld.list); err != nil {
				return err
			}
		}
		return nil
	case failure != nil:
		return failure
	}
	p.unheld.merge(table)
	return nil
}

// merge adds what the table of connections has.
func (u *unheld) merge(table *unheld) {
	u.kept, u.byID = append(table.kept, u.kept...), table.byID
	for inode, sp := range table.spaces {
		u.addSpace(inode).connections = sp.connections
	}
}

// asksTable reports whether connections in the hash table are wanted.
func (p *pass) asksTable() bool {
	for i, k := range kindInfos {
		if p.hashed&k.kind != 0 && p.question.states[i]&bpfiter.OwnerlessStates != 0 {
			return true
		}
	}
	return false
}

// eachListed hands over the sockets of a namespace's lists that a question
// wants, but for connections of the hash table. What sock_diag does not answer
// is read from text.
func (p *pass) eachListed(ctx context.Context, sp *space, kinds socket.Kind, a *question, visit func(*socket.Socket)) error {
	covers := map[socket.Kind]cover{}
	for i, k := range kindInfos {
		if kinds&k.kind == 0 {
			continue
		}
		c := coverOf(a, i)
		if k.kind&p.hashed != 0 {
			// Any other state would have the kernel walk a table of all namespaces
			// once for each.
			if c.states &= 1 << socket.StateListen; c.states == 0 {
				kinds &^= k.kind
				continue
			}
		}
		covers[k.kind] = c
	}
	if kinds == 0 {
		return nil
	}
	answered, err := p.collector.dump(ctx, sp, requests(kinds&sockdiag.Kinds, covers), visit)
	if err != nil {
		return err
	}
	for _, k := range kindInfos {
		if kinds&^answered&procfs.Kinds&k.kind == 0 {
			continue
		}
		if err := p.text(ctx, sp, k.kind, visit); err != nil {
			return err
		}
	}
	return nil
}

// text hands over a list of the text, but for connections of the hash table.
func (p *pass) text(ctx context.Context, sp *space, kind socket.Kind, visit func(*socket.Socket)) error {
	l, err := p.collector.textList(ctx, sp, kind)
	if err != nil {
		return err
	}
	l.each(func(s *socket.Socket) bool {
		if p.hashed&kind == 0 || bpfiter.OwnerlessStates&(1<<(s.State&31)) == 0 {
			visit(s)
		}
		return true
	})
	return nil
}

// findUnheld returns the sockets that no descriptor refers to, after all
// descriptors were gone over. The lists tell which of those that were there
// before are there still: the others were closed. The collector's lock is held.
func (p *pass) findUnheld(ctx context.Context) ([]socket.Socket, error) {
	defer func() { p.used = p.collector.used }()
	u := p.unheld
	var found []socket.Socket
	take := func(s *socket.Socket) {
		s.Holder = nobody
		s.Reason = socket.NoOwner // every table was read
		if p.question.request.Kinds&s.Kind != 0 && p.question.match(&row{Socket: s, holder: s.Holder}) {
			found = append(found, *s)
		}
	}
	for i := range u.kept {
		if !u.kept[i].shown {
			take(&u.kept[i].Socket)
		}
	}
	var connected []uint64 // namespaces with connections that are left
	for inode, part := range u.spaces {
		if len(part.connections) > 0 {
			connected = append(connected, inode)
		}
	}
	if connected != nil {
		slices.Sort(connected)
		seen := map[bpfiter.ID]bool{} // the table may show one twice while it changes
		request := p.question.descriptors()
		request.Namespaces = connected
		err := p.source.Connections(ctx, &request, false, func(s *socket.Socket, id bpfiter.ID) bool {
			if part := u.space(s.Netns); part != nil && part.connections.has(s.Inode) && !seen[id] {
				seen[id] = true
				take(s)
			}
			return true
		})
		if err != nil {
			return nil, err
		}
	}
	for _, sp := range p.collector.spaces {
		part := u.spaces[sp.inode]
		if part == nil || part.left() == 0 {
			continue
		}
		// An MPTCP socket shares its inode with the connections below, so that
		// the inodes stay, and a list that changes meanwhile may repeat one.
		var seen []socket.Socket
		err := p.eachListed(ctx, sp, part.left(), p.question, func(s *socket.Socket) {
			if hasFile(s) {
				set := part.listed[numberOf(s.Kind)]
				if !set.has(s.Inode) || slices.ContainsFunc(seen, func(o socket.Socket) bool { return o.Inode == s.Inode && same(&o, s) }) {
					return
				}
				seen = append(seen, *s)
			} else if part.again&s.Kind == 0 || s.Kind == socket.Unix { // the latter come below
				return
			}
			take(s)
		})
		if err == nil && part.again&socket.Unix != 0 {
			err = p.text(ctx, sp, socket.Unix, func(s *socket.Socket) {
				if s.Inode == 0 {
					take(s)
				}
			})
		}
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

// absent returns kinds of which a namespace has no sockets. To ask for each of
// them would have the kernel walk tables that all namespaces share.
func (c *collector) absent(sp *space) socket.Kind {
	for _, pid := range sp.pids {
		if none, err := c.host.proc.NoSockets(pid); err == nil {
			return none
		}
	}
	return 0
}

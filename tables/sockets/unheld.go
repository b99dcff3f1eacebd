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
	// inodes are those of sockets that have a file, by the number of the kind.
	inodes [len(kindInfos)]inodeSet
	// kept are sockets without a file, such as those in TIME_WAIT.
	kept []keptSocket
	byID map[bpfiter.ID]int // those of kept that a process may still accept
	// again are kinds with sockets that have no file and were not kept.
	again socket.Kind
}

type keptSocket struct {
	socket.Socket
	shown bool
}

func newUnheld() *unheld { return &unheld{byID: map[bpfiter.ID]int{}} }

func numberOf(kind socket.Kind) int { return bits.TrailingZeros32(uint32(kind)) }

// note notes a socket that has a file.
func (u *unheld) note(s *socket.Socket) {
	set := &u.inodes[numberOf(s.Kind)]
	if *set == nil {
		*set = inodeSet{}
	}
	set.add(s.Inode)
}

// connection takes an entry of the hash table of TCP connections.
func (u *unheld) connection(s *socket.Socket, id bpfiter.ID) {
	if s.Inode != 0 {
		u.note(s)
		return
	}
	// One that was closed by its process will never be accepted.
	if s.State == socket.StateEstablished || s.State == socket.StateCloseWait {
		u.byID[id] = len(u.kept)
	}
	u.keep(s)
}

// listed takes a socket of another list.
func (u *unheld) listed(s *socket.Socket) {
	switch {
	case hasFile(s):
		u.note(s)
	case s.Kind&bulk != 0:
		u.again |= s.Kind
	default:
		u.keep(s)
	}
	if hasWaiting(s) {
		u.again |= socket.Unix
	}
}

func (u *unheld) keep(s *socket.Socket) {
	u.kept = append(u.kept, keptSocket{Socket: *s})
	u.kept[len(u.kept)-1].Holder = nobody
}

// show notes that a descriptor refers to a socket.
func (u *unheld) show(s *socket.Socket, id bpfiter.ID) {
	kinds := s.Kind
	if kinds&ping != 0 {
		kinds = ping // a list shows those of the other family, too: see index
	}
	for ; kinds != 0; kinds &= kinds - 1 {
		if set := u.inodes[numberOf(kinds)]; set != nil {
			set.remove(s.Inode)
		}
	}
	if len(u.byID) > 0 {
		if at, found := u.byID[id]; found {
			u.kept[at].shown = true
		}
	}
}

// left reports whether a descriptor has shown the socket of a list or not.
func (u *unheld) left(s *socket.Socket) bool {
	if !hasFile(s) {
		return u.again&s.Kind != 0
	}
	set := u.inodes[numberOf(s.Kind)]
	return set != nil && set.has(s.Inode)
}

// remaining returns the kinds that have to be listed again.
func (u *unheld) remaining() socket.Kind {
	kinds := u.again
	for i, set := range u.inodes {
		if len(set) > 0 {
			kinds |= 1 << i
		}
	}
	return kinds
}

// listUnheld goes over the lists of the kernel before the descriptors are gone
// over. The collector's lock is held.
func (p *pass) listUnheld(ctx context.Context) error {
	u := newUnheld()
	p.unheld = u
	spaces, err := p.collector.spacesFor(ctx, p.question)
	if err != nil {
		return err
	}
	p.namespaces = len(spaces)
	kinds := p.question.descriptors().Kinds &^ socket.Other
	brief := *p.question
	brief.request.Fields = socket.FieldFamily | socket.FieldState
	connections := make(chan error, 1)
	table := newUnheld() // has its own goroutine
	if p.hashed = kinds & bpfiter.OwnerlessKinds; p.asksTable() {
		request := p.question.descriptors()
		go func() { connections <- p.source.Connections(ctx, &request, true, table.take) }()
	} else {
		p.hashed = 0
		connections <- nil
	}
	err = p.eachListed(ctx, spaces, kinds&^bulk, p.question, u.listed)
	if err == nil {
		err = p.eachListed(ctx, spaces, kinds&bulk, &brief, u.listed)
	}
	failure := <-connections
	switch {
	case err != nil:
		return err
	case errors.Is(failure, tables.ErrUnavailable):
		// The kernel keeps connections elsewhere; sock_diag lists them, too.
		missing := p.hashed
		p.hashed = 0
		return p.eachListed(ctx, spaces, missing, &brief, u.listed)
	case failure != nil:
		return failure
	}
	u.merge(table)
	return nil
}

// take is connection as a source calls it.
func (u *unheld) take(s *socket.Socket, id bpfiter.ID) bool {
	u.connection(s, id)
	return true
}

// merge adds what the table of connections has.
func (u *unheld) merge(table *unheld) {
	u.kept, u.byID = append(table.kept, u.kept...), table.byID
	for i, set := range table.inodes {
		if u.inodes[i] == nil {
			u.inodes[i] = set
			continue
		}
		for word, members := range set {
			u.inodes[i][word] |= members
		}
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

// eachListed hands over the sockets of lists that a question wants, in the
// namespaces, but for connections of the hash table. What sock_diag does not
// answer is read from text.
func (p *pass) eachListed(ctx context.Context, spaces []*space, kinds socket.Kind, a *question, visit func(*socket.Socket)) error {
	covers := map[socket.Kind]cover{}
	for i, k := range kindInfos {
		if kinds&k.kind == 0 {
			continue
		}
		c := coverOf(a, i)
		if k.kind&p.hashed != 0 {
			if c.states &^= bpfiter.OwnerlessStates; c.states == 0 {
				kinds &^= k.kind
				continue
			}
		}
		covers[k.kind] = c
	}
	asked := requests(kinds&sockdiag.Kinds, covers)
	for _, sp := range spaces {
		answered, err := p.collector.dump(ctx, sp, asked, visit)
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
	kinds := u.remaining()
	if kinds == 0 {
		return found, nil
	}
	spaces, err := p.collector.spacesFor(ctx, p.question)
	if err != nil {
		return nil, err
	}
	// A list that changes while it is read may repeat a socket, and an MPTCP
	// socket shares its inode with the connections below.
	var seen []socket.Socket
	again := func(s *socket.Socket) {
		switch {
		case !u.left(s), s.Kind == socket.Unix && s.Inode == 0: // the latter comes below
			return
		case s.Inode != 0:
			if slices.ContainsFunc(seen, func(o socket.Socket) bool { return o.Inode == s.Inode && same(&o, s) }) {
				return
			}
			seen = append(seen, *s)
		}
		take(s)
	}
	if p.hashed&kinds != 0 {
		request := p.question.descriptors()
		request.Kinds = kinds & p.hashed
		err := p.source.Connections(ctx, &request, false, func(s *socket.Socket, _ bpfiter.ID) bool {
			if s.Inode != 0 {
				again(s)
			}
			return true
		})
		if err != nil {
			return nil, err
		}
	}
	if err := p.eachListed(ctx, spaces, kinds, p.question, again); err != nil {
		return nil, err
	}
	if u.again&socket.Unix != 0 {
		for _, sp := range spaces {
			if err := p.text(ctx, sp, socket.Unix, func(s *socket.Socket) {
				if s.Inode == 0 {
					take(s)
				}
			}); err != nil {
				return nil, err
			}
		}
	}
	return found, nil
}

// spacesFor returns the namespaces that a question is about.
func (c *collector) spacesFor(ctx context.Context, a *question) ([]*space, error) {
	if err := c.listProcesses(ctx); err != nil {
		return nil, err
	}
	return c.wanted(c.spaces, a), nil
}

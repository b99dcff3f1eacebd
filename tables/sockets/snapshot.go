package sockets

import (
	"context"
	"slices"

	"sockql/tables"
	"sockql/tables/internal/bpfiter"
	"sockql/tables/internal/socket"
)

// A snapshot is what a session keeps of one pass, for statements that ask more
// than once.
type snapshot struct {
	covers     [len(kindInfos)]cover // by the kind's position; of kinds only
	kinds      socket.Kind
	namespaces []uint64 // nil for all
	listed     int      // how many namespaces were listed
	used       sources
	// held are the sockets of descriptors, rest those without a holder, if
	// ownerless says so.
	held      list
	rest      []socket.Socket
	ownerless bool
	byPID     map[int32][]span // nil until somebody looks up
}

// A span is a run of sockets of one process in one chunk of a list.
type span []socket.Socket

// has reports whether the snapshot answers a question.
func (s *snapshot) has(a *question) bool {
	if s == nil || a.request.Kinds&^s.kinds != 0 || a.ownerless && !s.ownerless {
		return false
	}
	if s.namespaces != nil && (a.request.Namespaces == nil || !slices.Equal(s.namespaces, a.request.Namespaces)) {
		return false
	}
	for i, k := range kindInfos {
		if a.request.Kinds&k.kind != 0 && !s.covers[i].has(coverOf(a, i)) {
			return false
		}
	}
	return true
}

// collectAll takes the session's snapshot for a question. A second one, for a
// question that the first does not answer, is of everything. The collector's
// lock is held.
func (c *collector) collectAll(ctx context.Context, source *bpfiter.Source, a *question) error {
	// What the table itself filters is not left out: another question may want it.
	wide := *a
	wide.request.PIDs, wide.everyPID = nil, true
	if old := c.snapshot; old != nil {
		wide.request = socket.Everything()
		wide.request.Fields = a.request.Fields
		for i, k := range kindInfos {
			wide.states[i] = socket.AllStates
			if old.kinds&k.kind != 0 {
				wide.request.Fields |= old.covers[i].fields
			}
		}
		wide.ownerless = a.ownerless || old.ownerless
	}
	wide.wantsPID = func(int64) bool { return true }
	wide.match = func(*row) bool { return true }
	c.snapshot = nil // not two at the same time
	s := &snapshot{kinds: wide.request.Kinds, namespaces: wide.request.Namespaces, ownerless: wide.ownerless}
	for i, k := range kindInfos {
		if s.kinds&k.kind != 0 {
			s.covers[i] = coverOf(&wide, i)
		}
	}
	p := &pass{collector: c, source: source, question: &wide}
	if wide.ownerless {
		if err := p.listUnheld(ctx); err != nil {
			return err
		}
	}
	request := wide.descriptors()
	err := source.Scan(ctx, &request, func(found *socket.Socket, id bpfiter.ID) bool {
		if p.unheld != nil {
			p.unheld.show(found, id)
		}
		if wide.request.Kinds&found.Kind != 0 {
			holder := found.Holder
			s.held.add(found).Holder = holder
		}
		return true
	})
	if err != nil {
		return err
	}
	if p.unheld != nil {
		if s.rest, err = p.findUnheld(ctx); err != nil {
			return err
		}
	}
	s.listed, s.used = p.namespaces, p.used
	c.snapshot = s
	return nil
}

// index finds the sockets of each process.
func (s *snapshot) index() {
	if s.byPID != nil {
		return
	}
	s.byPID = map[int32][]span{}
	for _, chunk := range s.held.chunks {
		for len(chunk) > 0 {
			pid := chunk[0].PID
			n := slices.IndexFunc(chunk, func(o socket.Socket) bool { return o.PID != pid })
			if n < 0 {
				n = len(chunk)
			}
			s.byPID[pid] = append(s.byPID[pid], span(chunk[:n]))
			chunk = chunk[n:]
		}
	}
}

// answer yields the rows of a question that the snapshot has.
func (s *snapshot) answer(ctx context.Context, c *collector, a *question, yield func(*row) bool) error {
	var r row
	show := func(sockets []socket.Socket) bool {
		for i := range sockets {
			if ctx.Err() != nil {
				return false
			}
			if a.wants(&sockets[i], &r) {
				c.name(&r, a.request.Fields)
				if !yield(&r) {
					return false
				}
			}
		}
		return true
	}
	if a.everyPID {
		for _, chunk := range s.held.chunks {
			if !show(chunk) {
				return context.Cause(ctx)
			}
		}
		if a.ownerless {
			show(s.rest)
		}
		return context.Cause(ctx)
	}
	for _, pid := range a.request.PIDs {
		for _, run := range s.byPID[pid] {
			if !show(run) {
				return context.Cause(ctx)
			}
		}
	}
	return context.Cause(ctx)
}

// lookupFiles is what looking up the descriptors of one process costs, in
// descriptors that a pass over all of them goes over meanwhile.
const lookupFiles = 150

// inAdvance reports whether look-ups of single processes have cost as much as
// a pass over all of them, which then answers the rest. The collector's lock is
// held.
func (c *collector) inAdvance(a *question) bool {
	if c.lookups == 0 {
		return false
	}
	if c.openFiles == 0 {
		n, err := c.host.proc.FilesInUse()
		if err != nil {
			n = lookupFiles * manyAsked
		}
		c.openFiles = max(int(n), 1)
	}
	return c.lookups+lookupFiles*len(a.request.PIDs) > c.openFiles
}

// bpfRows yields the rows of a question that BPF answers.
func (h *Host) bpfRows(ctx context.Context, q *tables.Query, source *bpfiter.Source, l *layout, a *question, yield func(*row) bool) error {
	var kept *snapshot
	var c *collector
	err := h.locked(ctx, q, func(found *collector) error {
		c = found
		again := c.streamed
		if a.everyPID {
			c.streamed = true
		} else {
			again = c.inAdvance(a)
			c.lookups += lookupFiles * len(a.request.PIDs)
		}
		if !c.snapshot.has(a) {
			if !again {
				return nil
			}
			if err := c.collectAll(ctx, source, a); err != nil {
				return err
			}
		}
		if kept = c.snapshot; !a.everyPID {
			kept.index()
		}
		return nil
	})
	if err != nil {
		return err
	}
	if kept != nil {
		l.account(q, kept.used, a, true, kept.listed, true)
		return kept.answer(ctx, c, a, yield)
	}
	p := &pass{collector: c, source: source, question: a}
	defer func() { l.account(q, p.used, a, true, p.namespaces, false) }()
	return p.stream(ctx, q, yield)
}

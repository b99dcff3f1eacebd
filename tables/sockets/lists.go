package sockets

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"

	"sockql/tables"
	"sockql/tables/internal/procfs"
	"sockql/tables/internal/socket"
)

// chunkSizes are the lengths of a list's chunks: a pointer into a chunk stays
// valid, a short list takes little, and 100,000 sockets are not copied while
// they grow.
const (
	firstChunk = 8
	lastChunk  = 512
)

// A list is one kind of sockets of one namespace.
type list struct {
	cover  cover
	read   int // the collector's clock
	chunks [][]socket.Socket
}

// A cover says what was asked for when a list was read.
type cover struct {
	states                  uint32
	fields                  socket.Fields
	localPorts, remotePorts socket.Ports
	localAddrs, remoteAddrs []netip.Addr
	bound                   bool // of inet sockets
}

// all is the cover of a list that was read without any restriction.
var all = cover{states: socket.AllStates, fields: socket.AllFields}

// coverOf returns what a question asks of one kind.
func coverOf(a *question, at int) cover {
	c := cover{states: a.states[at], fields: a.request.Fields}
	if kindInfos[at].kind == socket.Unix {
		c.fields |= socket.FieldBacklog // see hasWaiting
	}
	if kindInfos[at].kind&socket.Inet != 0 {
		c.localPorts, c.remotePorts = a.request.LocalPorts, a.request.RemotePorts
		c.localAddrs, c.remoteAddrs = a.request.LocalAddrs, a.request.RemoteAddrs
		c.bound = a.request.Bound
	}
	return c
}

// has reports whether a list of this cover answers a question of the other: it
// was not restricted, or in the same way.
func (c cover) has(d cover) bool {
	return c.states&d.states == d.states && c.fields&d.fields == d.fields && (!c.bound || d.bound) &&
		samePorts(c.localPorts, d.localPorts) && samePorts(c.remotePorts, d.remotePorts) &&
		(c.localAddrs == nil || d.localAddrs != nil && slices.Equal(c.localAddrs, d.localAddrs)) &&
		(c.remoteAddrs == nil || d.remoteAddrs != nil && slices.Equal(c.remoteAddrs, d.remoteAddrs))
}

func samePorts(have, want socket.Ports) bool {
	return !have.Restricted || want.Restricted && have.Lo == want.Lo && have.Hi == want.Hi &&
		(have.List == nil) == (want.List == nil) && slices.Equal(have.List, want.List)
}

func (l *list) len() int {
	n := 0
	for _, chunk := range l.chunks {
		n += len(chunk)
	}
	return n
}

// add appends a copy of a socket.
func (l *list) add(s *socket.Socket) *socket.Socket {
	last := len(l.chunks) - 1
	if last < 0 || len(l.chunks[last]) == cap(l.chunks[last]) {
		size := firstChunk
		if last >= 0 {
			size = min(4*cap(l.chunks[last]), lastChunk)
		}
		l.chunks = append(l.chunks, make([]socket.Socket, 0, size))
		last++
	}
	chunk := append(l.chunks[last], *s)
	l.chunks[last] = chunk
	kept := &chunk[len(chunk)-1]
	kept.Holder = nobody
	return kept
}

// each calls f for each socket until f returns false.
func (l *list) each(f func(*socket.Socket) bool) bool {
	for _, chunk := range l.chunks {
		for i := range chunk {
			// Kind 0 marks one that is there twice.
			if chunk[i].Kind != 0 && !f(&chunk[i]) {
				return false
			}
		}
	}
	return true
}

// readLists reads the lists that a question needs and the session lacks.
func (c *collector) readLists(ctx context.Context, spaces []*space, a *question) error {
	for _, sp := range spaces {
		if err := c.readSpace(ctx, sp, a); err != nil {
			return err
		}
	}
	return nil
}

// readSpace reads the lists of one namespace. A list that an earlier question
// restricted in another way is read again, once, without any restriction.
func (c *collector) readSpace(ctx context.Context, sp *space, a *question) error {
	kinds := a.request.Kinds &^ socket.Other
	if kinds&ping != 0 {
		kinds |= ping // either alone does not tell whose socket it shows: see index
	}
	var wanted socket.Kind
	var covers map[socket.Kind]cover // made only if there is something to read
	for i, k := range kindInfos {
		if kinds&k.kind == 0 {
			continue
		}
		asked := coverOf(a, i)
		if old := sp.lists[k.kind]; old != nil {
			if old.cover.has(asked) {
				continue
			}
			asked = all
		}
		if covers == nil {
			covers = map[socket.Kind]cover{}
		}
		covers[k.kind] = asked
		wanted |= k.kind
	}
	if wanted == 0 {
		return nil
	}
	if c.host.asksDiag() {
		answered, err := c.readDiag(ctx, sp, wanted, covers)
		if err != nil {
			return err
		}
		wanted &^= answered
	}
	if c.host.source == Netlink && !a.quiet {
		c.warnUnanswered(wanted & procfs.Kinds)
	}
	for _, k := range kindInfos {
		if wanted&k.kind == 0 {
			continue
		}
		if c.host.source == Netlink || procfs.Kinds&k.kind == 0 {
			c.keep(listID{sp, k.kind}, &list{cover: all}) // nobody can tell
			continue
		}
		if err := c.readText(ctx, sp, k.kind); err != nil {
			return err
		}
	}
	return nil
}

// warnUnanswered tells somebody who insists on netlink what it leaves out.
func (c *collector) warnUnanswered(kinds socket.Kind) {
	var names []string
	for _, k := range kindInfos {
		if kinds&k.kind != 0 {
			names = append(names, k.name)
		}
	}
	if names != nil {
		c.warn(fmt.Errorf("sockets: sock_diag lists no sockets of the kinds %s: %w; source %q reads them from procfs",
			strings.Join(names, ", "), tables.ErrUnavailable, Auto))
	}
}

// readText reads one list from the text of procfs, whole: the kernel writes all
// of it whatever is wanted.
func (c *collector) readText(ctx context.Context, sp *space, kind socket.Kind) error {
	l, err := c.textList(ctx, sp, kind)
	if err == nil {
		c.keep(listID{sp, kind}, l)
	}
	return err
}

// textList returns a list from the text of procfs. Only the end of ctx is an
// error.
func (c *collector) textList(ctx context.Context, sp *space, kind socket.Kind) (*list, error) {
	for _, pid := range sp.pids {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		c.reads.lists[listID{sp, kind}]++
		c.used.text = true
		l := &list{cover: all}
		err := c.host.proc.List(ctx, pid, kind, sp.inode, c.warn, func(s *socket.Socket) bool {
			l.add(s)
			return true
		})
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case errors.Is(err, procfs.ErrVanished):
			continue // another process of the namespace may still be there
		case errors.Is(err, procfs.ErrNoList):
		case errors.Is(err, fs.ErrPermission):
			c.warn(fmt.Errorf("sockets: list of kind %s: %w", kindName(kind), err))
		case err != nil:
			c.warn(fmt.Errorf("sockets: list of kind %s is incomplete: %w", kindName(kind), err))
		}
		return l, nil
	}
	return &list{cover: all}, nil // the namespace went with its processes
}

// keep makes a list part of the collection.
func (c *collector) keep(id listID, l *list) {
	c.clock++
	l.read = c.clock
	replaced := id.space.lists[id.kind] != nil
	id.space.lists[id.kind] = l
	if replaced {
		c.reindex()
		return
	}
	c.index(l)
}

const ping = socket.ICMP4 | socket.ICMP6

// index makes the sockets of a list known by their inodes. One that is known
// already is left out, unless it is one of the several that an MPTCP connection
// consists of: a list that changes while it is read may repeat a socket, and
// the kernel shows a ping socket in the list of the other family, too, if one
// of that family has the same identifier (ping_get_next of net/ipv4/ping.c). A
// ping socket shows its address in its own family's list alone.
func (c *collector) index(l *list) {
	if len(c.sockets) == 0 {
		c.sockets = make(map[uint64]*socket.Socket, l.len()) // growing would double what it takes
	}
	for _, chunk := range l.chunks {
		for i := range chunk {
			s := &chunk[i]
			if s.Inode == 0 || s.Kind == 0 {
				continue
			}
			first := c.sockets[s.Inode]
			switch {
			case first == nil:
				c.sockets[s.Inode] = s
			case first.Kind&ping != 0 && s.Kind&ping != 0:
				if first.Kind != s.Kind && first.Local.IsUnspecified() && !s.Local.IsUnspecified() {
					c.sockets[s.Inode], s = s, first
				}
				s.Kind = 0
			case same(first, s), slices.ContainsFunc(c.sharing[s.Inode], func(o *socket.Socket) bool { return same(o, s) }):
				s.Kind = 0
			default:
				c.sharing[s.Inode] = append(c.sharing[s.Inode], s)
			}
		}
	}
}

// same reports whether two entries of one inode are the same socket.
func same(a, b *socket.Socket) bool {
	return a.Kind == b.Kind && a.Cookie == b.Cookie && a.LocalPort == b.LocalPort && a.RemotePort == b.RemotePort &&
		a.Local == b.Local && a.Remote == b.Remote
}

// reindex follows the replacement of a list by a wider one.
func (c *collector) reindex() {
	clear(c.sockets)
	clear(c.sharing)
	for _, sp := range c.spaces {
		for _, k := range kindInfos {
			if l := sp.lists[k.kind]; l != nil {
				c.index(l)
			}
		}
	}
}

func kindName(kind socket.Kind) string {
	for _, k := range kindInfos {
		if k.kind == kind {
			return k.name
		}
	}
	return "unknown"
}

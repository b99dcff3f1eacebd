package bpfiter

import (
	"encoding/binary"
	"math"
	"net/netip"

	"sockql/tables/internal/socket"
)

// Lists of struct key, enum list of bpf/record.h.
const (
	listPID = iota
	listNetns
	listLocalPort
	listRemotePort
	listLocal4
	listLocal6
	listRemote4
	listRemote6
)

// maxListed bounds the members of the lists of a question, each of which costs
// a call and memory in the kernel. Longer lists do not narrow a scan.
const maxListed = 32768

// A key is struct key.
type key [24]byte

func numberKey(list uint64, n uint64) (k key) {
	binary.NativeEndian.PutUint64(k[:], list)
	binary.NativeEndian.PutUint64(k[8:], n)
	return k
}

func addrKey(list4 uint64, a netip.Addr) (k key) {
	if a.Is4() {
		binary.NativeEndian.PutUint64(k[:], list4)
		b := a.As4()
		copy(k[8:], b[:])
		return k
	}
	binary.NativeEndian.PutUint64(k[:], list4+1)
	b := a.As16()
	copy(k[8:], b[:])
	return k
}

// A question is what a request means to the programs: struct question, and
// the members of its lists.
type question struct {
	want, kinds, states, lists               uint32
	localFrom, localTo, remoteFrom, remoteTo uint16
	bound                                    bool
	keys                                     []key
}

// ask turns a request into a question. With byTask, the kernel goes over the
// wanted processes only and needs no list of them.
func ask(req *socket.Request, byTask bool) *question {
	q := &question{
		want: uint32(wanted(req)), kinds: uint32(req.Kinds), states: states(req.States),
		localTo: math.MaxUint16, remoteTo: math.MaxUint16, bound: req.Bound,
	}
	if req.PIDs != nil && !byTask {
		list(q, listPID, req.PIDs, func(pid int32) key { return numberKey(listPID, uint64(pid)) })
	}
	list(q, listNetns, req.Namespaces, func(inode uint64) key { return numberKey(listNetns, inode) })
	if p := req.LocalPorts; p.Restricted {
		q.localFrom, q.localTo = p.Lo, p.Hi
		list(q, listLocalPort, p.List, func(port uint16) key { return numberKey(listLocalPort, uint64(port)) })
	}
	if p := req.RemotePorts; p.Restricted {
		q.remoteFrom, q.remoteTo = p.Lo, p.Hi
		list(q, listRemotePort, p.List, func(port uint16) key { return numberKey(listRemotePort, uint64(port)) })
	}
	list(q, listLocal4, req.LocalAddrs, func(a netip.Addr) key { return addrKey(listLocal4, a) })
	list(q, listRemote4, req.RemoteAddrs, func(a netip.Addr) key { return addrKey(listRemote4, a) })
	return q
}

// list adds a list to the question, unless there is none or it is too long.
func list[T any](q *question, number uint32, members []T, keyOf func(T) key) {
	if members == nil || len(q.keys)+len(members) > maxListed {
		return
	}
	q.lists |= 1 << number
	for _, m := range members {
		q.keys = append(q.keys, keyOf(m))
	}
}

// wanted returns the fields that the programs have to collect.
func wanted(req *socket.Request) socket.Fields {
	fields := req.Fields
	if fields&(socket.FieldBacklog|socket.FieldBacklogLimit) != 0 {
		fields |= socket.FieldQueues
	}
	if fields&(socket.FieldPath|socket.FieldPathExact) != 0 {
		fields |= socket.FieldPath | socket.FieldPathExact
	}
	if req.LocalAddrs != nil || req.RemoteAddrs != nil {
		fields |= socket.FieldAddresses
	}
	return fields &^ (socket.FieldBacklog | socket.FieldBacklogLimit)
}

// states adds the twins of wanted states, which a table shows as one.
func states(mask uint32) uint32 {
	for _, twins := range []uint32{
		1<<socket.StateSynRecv | 1<<socket.StateNewSynRecv,
		1<<socket.StateClose | 1<<socket.StateBoundInactive,
	} {
		if mask&twins != 0 {
			mask |= twins
		}
	}
	return mask
}

// A limit is what no question to an instance goes beyond: the fewer fields,
// kinds and lists, the sooner it is loaded.
type limit struct {
	want, kinds, lists uint32
	room               int // members of lists
}

// roomy is room for the lists of most questions, and everything what no
// question goes beyond that has no longer ones.
const roomy = 1024

var everything = limit{want: ^uint32(0), kinds: ^uint32(0), lists: ^uint32(0), room: roomy}

// limit returns the question's own.
func (q *question) limit() limit {
	return limit{want: q.want, kinds: q.kinds, lists: q.lists, room: len(q.keys)}
}

// covers reports whether all that m needs is within l.
func (l limit) covers(m limit) bool {
	return m.want&^l.want == 0 && m.kinds&^l.kinds == 0 && m.lists&^l.lists == 0 && m.room <= l.room
}

// bytes returns it as struct question.
func (l limit) bytes() []byte {
	return (&question{want: l.want, kinds: l.kinds, lists: l.lists}).bytes()
}

// bytes returns struct question.
func (q *question) bytes() []byte {
	b := make([]byte, 0, 28)
	for _, n := range []uint32{q.want, q.kinds, q.states, q.lists} {
		b = binary.NativeEndian.AppendUint32(b, n)
	}
	for _, n := range []uint16{q.localFrom, q.localTo, q.remoteFrom, q.remoteTo} {
		b = binary.NativeEndian.AppendUint16(b, n)
	}
	bound := uint32(0)
	if q.bound {
		bound = 1
	}
	return binary.NativeEndian.AppendUint32(b, bound)
}

package sockets

import (
	"math"
	"net/netip"
	"slices"
	"strconv"

	"sockql/tables"
	"sockql/tables/internal/procfs"
	"sockql/tables/internal/socket"
)

// A layout says which columns of a table restrict a request, by position; -1
// where the table has no such column.
type layout struct {
	columns []column
	// kinds are the kinds that the table can show.
	kinds socket.Kind
	// listedOnly says that the table leaves out what is in no list of the
	// kernel.
	listedOnly bool
	// protocol and state are what the table shows for a kind.
	protocol func(kindInfo) int64
	stateOf  func(kind socket.Kind, code uint8) string

	pid, tid, fd, reason                             int
	familyAt, protocolAt, typeAt, stateAt, codeAt    int
	localAddr, remoteAddr, localPortAt, remotePortAt int
	netnsAt, interfaceAt                             int
}

// newLayout finds the columns that restrict a request by their names.
func newLayout(columns []column, names map[string]string) layout {
	at := func(name string) int {
		if other, ok := names[name]; ok {
			name = other
		}
		return slices.IndexFunc(columns, func(c column) bool { return c.Name == name })
	}
	return layout{
		columns: columns,
		kinds:   socket.AllKinds,
		pid:     at("pid"), tid: at("tid"), fd: at("fd"), reason: at("pid_reason"),
		familyAt: at("family"), protocolAt: at("protocol"), typeAt: at("type"),
		stateAt: at("state"), codeAt: at("state_code"),
		localAddr: at("local_address"), remoteAddr: at("remote_address"),
		localPortAt: at("local_port"), remotePortAt: at("remote_port"),
		netnsAt: at("net_namespace"), interfaceAt: at("interface"),
	}
}

// A question is a request with what only the collector looks at.
type question struct {
	// request is what every wanted kind has in common; its States are all.
	request socket.Request
	// states are the wanted states of each kind, by the kind's position in
	// kindInfos.
	states [len(kindInfos)]uint32
	// everyPID says that the request names no processes; wantsPID narrows them.
	everyPID bool
	wantsPID func(int64) bool
	// ownerless says that sockets without a holder are wanted.
	ownerless bool
	// wantsNetns reports whether sockets of a namespace are wanted.
	wantsNetns func(uint64) bool
	// unlisted says that a socket of which only holder and inode are known is
	// wanted, listedOnly that none is that is in no list.
	unlisted, listedOnly bool
	// quiet says that nobody sees what a list leaves out.
	quiet bool
	// match reports whether a row can matter.
	match func(*row) bool
}

// ask turns a query into a question.
func (l *layout) ask(q *tables.Query) question {
	set := func(at int) tables.Set {
		if at < 0 {
			return anything
		}
		return q.Set(at)
	}
	a := question{request: socket.Everything(), wantsPID: set(l.pid).HasInt, wantsNetns: set(l.netnsAt).HasUint}
	a.request.Fields = l.fields(q)
	a.match = l.filter(q)
	l.restrictKinds(set, &a)

	a.request.LocalPorts = ports(set(l.localPortAt))
	a.request.RemotePorts = ports(set(l.remotePortAt))
	a.request.LocalAddrs = addresses(set(l.localAddr))
	a.request.RemoteAddrs = addresses(set(l.remoteAddr))
	if values, ok := set(l.netnsAt).Values(); ok {
		a.request.Namespaces = namespaces(values)
	}

	pids := set(l.pid)
	reasons := set(l.reason)
	unnamed := slices.ContainsFunc([]socket.Reason{socket.NoOwner, socket.Denied, socket.Raced}, func(r socket.Reason) bool {
		return reasons.HasString(r.String())
	})
	a.ownerless = unnamed && pids.HasInt(-1) && set(l.tid).HasInt(-1) && set(l.fd).HasInt(-1)
	a.everyPID = true
	if values, ok := pids.Values(); ok && !a.ownerless {
		a.everyPID = false
		a.request.PIDs = []int32{}
		for _, v := range values {
			if pid := v.Int64(); pid > 0 && pid <= math.MaxInt32 {
				a.request.PIDs = append(a.request.PIDs, int32(pid))
			}
		}
	}
	a.listedOnly = l.listedOnly
	a.unlisted = !l.listedOnly && a.match(&row{Socket: &socket.Socket{Kind: socket.Other}, holder: anybody})
	a.request.NoHolders = q.Distinct() && !a.unlisted &&
		!l.seen(q, l.pid) && !l.seen(q, l.tid) && !l.seen(q, l.fd) && !l.seen(q, l.reason)
	return a
}

// anything is what is left of a column that the table does not have.
var anything = tables.NewQuery(nil, nil, tables.Request{}).Set(0)

// anybody stands for a holder that satisfies every constraint on holders; the
// filter leaves them to the collector.
var anybody = socket.Holder{PID: 1, TID: 1, FD: 0}

// seen reports whether somebody reads or restricts a column.
func (l *layout) seen(q *tables.Query, at int) bool {
	return at >= 0 && (q.Used(at) || !q.Set(at).Unrestricted())
}

// fields returns the parts of a socket that the columns in use need.
func (l *layout) fields(q *tables.Query) socket.Fields {
	// The state tells a listener from others and the family an identified
	// socket from one of which only the inode is known.
	fields := socket.FieldFamily | socket.FieldState | socket.FieldNetns
	for i, c := range l.columns {
		if l.seen(q, i) {
			fields |= c.needs
		}
	}
	return fields
}

// filter returns a function that leaves out rows outside the constraints' sets.
// Columns of the holder are the collector's to judge.
func (l *layout) filter(q *tables.Query) func(*row) bool {
	var tests []func(*row) bool
	for i, c := range l.columns {
		set := q.Set(i)
		switch values, listed := set.Values(); {
		case set.Unrestricted() || i == l.pid || i == l.tid || i == l.fd || i == l.reason:
		case i == l.interfaceAt: // its name is told later
			if !set.HasString("") {
				tests = append(tests, func(r *row) bool { return r.Interface != 0 })
			}
		case c.Type == tables.Text:
			if i == l.netnsAt {
				tests = append(tests, func(r *row) bool { v := c.Get(r); return !v.IsNull() && set.HasUint(r.Netns) })
				continue
			}
			if listed && (i == l.localAddr || i == l.remoteAddr) {
				// Texts of addresses are written for nobody: compare values.
				values = slices.Clone(values)
				for j, v := range values {
					values[j] = addressValue(v)
				}
				tests = append(tests, func(r *row) bool { return slices.Contains(values, c.Get(r)) })
				continue
			}
			tests = append(tests, func(r *row) bool { v := c.Get(r); return !v.IsNull() && set.HasString(v.String()) })
		case c.Type == tables.Integer || c.Type == tables.BigInt || c.Type == tables.UnsignedBigInt:
			tests = append(tests, func(r *row) bool { v := c.Get(r); return !v.IsNull() && set.HasInt(v.Int64()) })
		}
	}
	switch len(tests) {
	case 0:
		return func(*row) bool { return true }
	case 1:
		return tests[0]
	}
	return func(r *row) bool {
		for _, test := range tests {
			if !test(r) {
				return false
			}
		}
		return true
	}
}

// bindable are the kinds that can be bound to an interface.
const bindable = socket.Inet | socket.Packet | socket.XDP

// addressValue returns a listed text in the form in which an accessor gives an
// address.
func addressValue(v tables.Value) tables.Value {
	text := v.String()
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" && a.String() == text {
		return tables.Addr(a)
	}
	return tables.String(text)
}

// restrictKinds leaves the kinds and states whose rows can matter.
func (l *layout) restrictKinds(set func(int) tables.Set, a *question) {
	a.request.Kinds = 0
	states, codes := set(l.stateAt), set(l.codeAt)
	restricted := !states.Unrestricted() || !codes.Unrestricted()
	// Codes beyond the mask are none that a kernel has, but text can show any.
	unknown := states.HasString("UNKNOWN") && !codes.Empty()
	for i, k := range kindInfos {
		fixed := func(at int, value int64) bool { return value == varied || set(at).HasInt(value) }
		if l.kinds&k.kind == 0 || !fixed(l.familyAt, k.family) || !fixed(l.protocolAt, l.protocol(k)) || !fixed(l.typeAt, k.typ) {
			continue
		}
		a.states[i] = socket.AllStates
		if k.kind == socket.Packet && !codes.Unrestricted() {
			continue // it has none
		}
		if restricted && k.kind != socket.Other {
			a.states[i] = 0
			for code := range uint8(32) {
				if possible(k.kind)&(1<<code) != 0 && codes.HasInt(int64(code)) && states.HasString(l.stateOf(k.kind, code)) {
					a.states[i] |= 1 << code
				}
			}
			a.states[i] |= twins(a.states[i])
			if a.states[i] == 0 && !(unknown && k.kind&tcpLike != 0) {
				continue
			}
		}
		a.request.Kinds |= k.kind
	}
	if !set(l.interfaceAt).HasString("") {
		a.request.Bound = true
		a.request.Kinds &= bindable
	}
	// Sockets of other families have no ports and addresses: 0, empty or NULL.
	if !set(l.localPortAt).HasInt(0) || !set(l.remotePortAt).HasInt(0) ||
		!set(l.localAddr).HasString("") || !set(l.remoteAddr).HasString("") {
		a.request.Kinds &= socket.Inet
	}
}

func ports(s tables.Set) socket.Ports {
	if s.Unrestricted() {
		return socket.Ports{}
	}
	p := socket.Ports{Restricted: true}
	lo, hi := s.Bounds()
	p.Lo, p.Hi = uint16(min(max(lo, 0), math.MaxUint16)), uint16(min(max(hi, 0), math.MaxUint16))
	if values, ok := s.Values(); ok {
		p.List = []uint16{}
		for _, v := range values {
			if n := v.Int64(); n >= 0 && n <= math.MaxUint16 {
				p.List = append(p.List, uint16(n))
			}
		}
	}
	return p
}

// addresses returns the listed addresses, or nil where any may matter.
func addresses(s tables.Set) []netip.Addr {
	values, ok := s.Values()
	if !ok {
		return nil
	}
	list := []netip.Addr{}
	for _, v := range values {
		if a, err := netip.ParseAddr(v.String()); err == nil {
			list = append(list, a)
		}
	}
	return list
}

// namespaces returns the listed inodes, ascending.
func namespaces(values []tables.Value) []uint64 {
	list := []uint64{}
	for _, v := range values {
		if n, err := strconv.ParseUint(v.String(), 10, 64); err == nil {
			list = append(list, n)
		}
	}
	slices.Sort(list)
	return list
}

// mayBeUnlisted reports whether a question may be about sockets that are in no
// list of a namespace that is known: unbound ones, and kinds that the kernel
// does not list everywhere.
func (a *question) mayBeUnlisted() bool {
	if a.listedOnly {
		return false
	}
	for i, k := range kindInfos {
		if a.request.Kinds&k.kind == 0 || k.kind == socket.Other {
			continue
		}
		if procfs.Kinds&k.kind == 0 || a.states[i]&(1<<socket.StateClose) != 0 {
			return true
		}
	}
	return false
}

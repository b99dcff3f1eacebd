package sockdiag

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"sockql/tables/internal/socket"
)

// The operations of INET_DIAG_REQ_BYTECODE that are used
// (include/uapi/linux/inet_diag.h). DEV_COND came with Linux 4.6; all others
// are as old as sock_diag.
//
// An operation is a code, the offset to go on at if it holds, and the offset
// to go on at if not, followed by its operand. The kernel accepts a socket if
// the program ends exactly at its last byte, and rejects it if the program
// ends four bytes beyond. It takes a program only if the first offset is
// always the length of the operation and the second leads to the start of a
// later one (inet_diag_bc_audit, net/ipv4/inet_diag.c). So "or" needs a jump.
const (
	opJump        = 1
	opLocalFrom   = 2 // S_GE
	opLocalTo     = 3 // S_LE
	opRemoteFrom  = 4 // D_GE
	opRemoteTo    = 5 // D_LE
	opLocalMatch  = 7 // S_COND
	opRemoteMatch = 8 // D_COND
	opInterface   = 9 // DEV_COND

	opSize = 4
)

// maxAlternatives bounds a list of ports or addresses. The kernel goes through
// the alternatives for every socket, and audits a program in quadratic time,
// so that a longer list would cost more than it saves.
const maxAlternatives = 64

// An op tests one thing. Its port is that of the comparing codes, its address
// that of the matching ones. An opInterface holds for a socket that is bound to
// an interface.
type op struct {
	code uint8
	port uint16
	addr netip.Addr
}

func (o op) size() int {
	switch {
	case o.code == opJump:
		return opSize
	case o.code == opInterface:
		return 3 * opSize
	case !o.addr.IsValid():
		return 2 * opSize
	case o.addr.Is4():
		return opSize + 8 + 4
	}
	return opSize + 8 + 16
}

// append appends the operation, which sits so many bytes before the place to
// go on at if it does not hold.
func (o op) append(b []byte, otherwise int) []byte {
	if o.code == opInterface {
		// Index 0 is that of a socket that is bound to none: for it, a jump
		// follows, which the others leave out.
		b = append(b, o.code, 2*opSize)
		b = binary.NativeEndian.AppendUint16(b, 3*opSize)
		b = binary.NativeEndian.AppendUint32(b, 0)
		return op{code: opJump}.append(b, otherwise-2*opSize)
	}
	b = append(b, o.code, uint8(o.size()))
	b = binary.NativeEndian.AppendUint16(b, uint16(otherwise))
	switch {
	case o.code == opJump:
	case !o.addr.IsValid():
		// The port stands in the second offset of an operation that is none.
		b = append(b, 0, 0)
		b = binary.NativeEndian.AppendUint16(b, o.port)
	default:
		// struct inet_diag_hostcond: family, prefix length, padding, port (-1
		// is any), address in network byte order.
		family := uint8(unix.AF_INET6)
		if o.addr.Is4() {
			family = unix.AF_INET
		}
		b = append(b, family, uint8(o.addr.BitLen()), 0, 0)
		b = append(b, 0xff, 0xff, 0xff, 0xff)
		b = append(b, o.addr.AsSlice()...)
	}
	return b
}

// A term holds if all operations of one of its alternatives do.
type term [][]op

func (t term) size() int {
	n := 0
	for _, alternative := range t {
		for _, o := range alternative {
			n += o.size()
		}
	}
	return n + max(len(t)-1, 0)*opSize
}

// compile returns a program that accepts every inet socket with a wanted port,
// address and interface, or nil if there is nothing to reject. It may accept others.
func compile(req *socket.Request) []byte {
	var terms []term
	if t := portTerm(req.LocalPorts, opLocalFrom, opLocalTo); t != nil {
		terms = append(terms, t)
	}
	if t := portTerm(req.RemotePorts, opRemoteFrom, opRemoteTo); t != nil {
		terms = append(terms, t)
	}
	if t := addressTerm(req.LocalAddrs, opLocalMatch); t != nil {
		terms = append(terms, t)
	}
	if t := addressTerm(req.RemoteAddrs, opRemoteMatch); t != nil {
		terms = append(terms, t)
	}
	if req.Bound {
		terms = append(terms, term{{{code: opInterface}}})
	}
	return assemble(terms)
}

// portTerm returns nil for all ports, and an empty term for none.
func portTerm(p socket.Ports, from, to uint8) term {
	if !p.Restricted {
		return nil
	}
	t := term{}
	if p.List == nil || len(p.List) > maxAlternatives {
		if p.Lo > p.Hi {
			return t
		}
		return append(t, portRange(p.Lo, p.Hi, from, to))
	}
	for i := 0; i < len(p.List); {
		j := i
		for j+1 < len(p.List) && p.List[j+1]-p.List[j] == 1 {
			j++
		}
		t = append(t, portRange(p.List[i], p.List[j], from, to))
		i = j + 1
	}
	return t
}

func portRange(lo, hi uint16, from, to uint8) []op {
	return []op{{code: from, port: lo}, {code: to, port: hi}}
}

// addressTerm returns nil for all addresses, and for a list that is too long.
// An IPv4 address also matches the IPv6 sockets that have it mapped.
func addressTerm(addrs []netip.Addr, code uint8) term {
	if addrs == nil || len(addrs) > maxAlternatives {
		return nil
	}
	t := term{}
	for _, a := range addrs {
		if a.IsValid() {
			t = append(t, []op{{code: code, addr: a.Unmap().WithZone("")}})
		}
	}
	return t
}

// assemble returns a program that accepts what all terms hold for, or nil for
// no terms.
func assemble(terms []term) []byte {
	if len(terms) == 0 {
		return nil
	}
	size := 0
	for _, t := range terms {
		size += t.size()
		if len(t) == 0 {
			return op{code: opJump}.append(nil, 2*opSize) // reject all
		}
	}
	b := make([]byte, 0, size)
	reject := size + opSize
	for _, t := range terms {
		end := len(b) + t.size()
		for i, alternative := range t {
			last := i == len(t)-1
			next := len(b) + term{alternative}.size() + opSize // after the jump
			if last {
				next = reject
			}
			for _, o := range alternative {
				b = o.append(b, next-len(b))
			}
			if !last {
				b = op{code: opJump}.append(b, end-len(b))
			}
		}
	}
	return b
}

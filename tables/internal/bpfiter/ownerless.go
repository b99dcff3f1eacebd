package bpfiter

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"

	"sockql/tables"
	"sockql/tables/internal/socket"
)

// Kinds and states that [Source.Ownerless] answers for. The hash table holds
// connections in these states only; who wants listeners and sockets that are
// merely bound asks sock_diag for the others.
const (
	OwnerlessKinds  = socket.TCP4 | socket.TCP6
	OwnerlessStates = socket.AllStates &^ (1<<socket.StateListen | 1<<socket.StateClose | 1<<socket.StateBoundInactive)
)

// Parts of struct chunk and struct namespace, bpf/record.h.
const (
	chunkHeader   = 16
	namespaceSize = 16
)

// chunkBuckets is how many buckets of the hash table one call goes over, which
// is some hundred microseconds in which the kernel's RCU waits.
const chunkBuckets = 4096

// A Namespace is a network namespace as the kernel lists them.
type Namespace struct {
	Inode uint64 // in nsfs
	hash  uint64 // address of its hash table of TCP connections
}

// Namespaces returns every network namespace of the kernel, also one in which
// no process lives and that is mounted nowhere. The error wraps
// tables.ErrUnavailable if the kernel does not take the program, which needs
// what [Open] needs. Who is going to ask for connections, briefly, says so by
// next, so that one program is loaded for both; nil is nobody.
func (s *Source) Namespaces(next *socket.Request) ([]Namespace, error) {
	var list []Namespace
	q := new(question)
	if next != nil {
		q = askFiled(next, true)
	}
	err := s.withHash(q, func(h *hashWalk) (err error) {
		list, err = h.namespaces()
		return err
	})
	return list, err
}

// Ownerless yields the TCP connections that a request wants, and perhaps
// others, that no file refers to: those in TIME_WAIT, those that their process
// has closed before the peer has, those that are not yet accepted, and sockets
// of the kernel's own. They have no holder, and no inode but the kernel's. The
// socket behind the pointer is reused after yield returns.
//
// The kernel's hash table is read without its locks: a connection that is made
// or ends meanwhile may be missing. One that a process accepts during a later
// [Source.Scan] is shown there again, with the same ID. A cookie is known only
// if somebody has asked for it before: reading cannot make one.
//
// Ownerless ends early without error when yield returns false, and with the
// context's cause when ctx ends. The error wraps tables.ErrUnavailable if the
// kernel does not take the program or keeps its table elsewhere.
func (s *Source) Ownerless(ctx context.Context, req *socket.Request, yield func(*socket.Socket, ID) bool) error {
	// Nothing restricts the holders of sockets that have none.
	return s.connections(ctx, req, ask(req, true), yield)
}

// Connections is [Source.Ownerless] for connections that a file refers to, too:
// with the inode of their file, and without a holder like the others. Who has
// gone over all descriptors finds among them those that are in none, but in a
// message (SCM_RIGHTS, unix(7)) or a ring of io_uring(7). Briefly has them come
// with no more than inode, namespace, state and ports.
func (s *Source) Connections(ctx context.Context, req *socket.Request, briefly bool, yield func(*socket.Socket, ID) bool) error {
	return s.connections(ctx, req, askFiled(req, briefly), yield)
}

// askFiled is ask for connections that a file refers to, too.
func askFiled(req *socket.Request, briefly bool) *question {
	q := ask(req, true)
	q.want |= wantFiled
	if !briefly {
		q.want |= wantFiledWhole
	}
	return q
}

// Beside the fields, bpf/record.h.
const (
	wantFiled      = 1 << 30
	wantFiledWhole = 1 << 31
)

func (s *Source) connections(ctx context.Context, req *socket.Request, q *question, yield func(*socket.Socket, ID) bool) error {
	if req.Kinds&OwnerlessKinds == 0 || req.PIDs != nil {
		return nil
	}
	return s.withHash(q, func(h *hashWalk) error {
		list, err := h.namespaces()
		if err != nil {
			return err
		}
		var tables []uint64
		for _, ns := range list {
			if !slices.Contains(tables, ns.hash) {
				tables = append(tables, ns.hash)
			}
		}
		for _, table := range tables {
			if goOn, err := h.table(ctx, table, yield); err != nil || !goOn {
				return err
			}
		}
		return nil
	})
}

// A hashWalk is a pass over tables of the kernel.
type hashWalk struct {
	source *Source
	in     *instance
	output *ebpf.Memory
	args   *[3]uint64
	chunk  []byte // a copy of the output
	sock   socket.Socket
}

func (s *Source) withHash(q *question, f func(*hashWalk) error) error {
	return s.hash.with(q, func(in *instance) error {
		output, err := in.maps["output"].Memory()
		if err != nil {
			return fmt.Errorf("bpfiter: output: %w", err)
		}
		return f(&hashWalk{source: s, in: in, output: output, args: new([3]uint64), chunk: in.room(int(output.Size()))})
	})
}

var errTable = errors.New("unexpected contents")

// call runs a program and returns the data that it wrote and where to go on.
func (h *hashWalk) call(program string, args ...uint64) (data []byte, next uint64, err error) {
	*h.args = [3]uint64{}
	copy(h.args[:], args)
	if err := run(h.in.programs[program], h.args); err != nil {
		return nil, 0, fmt.Errorf("bpfiter: %s: %w", program, err)
	}
	if _, err := h.output.ReadAt(h.chunk[:chunkHeader], 0); err != nil {
		return nil, 0, fmt.Errorf("bpfiter: %s: %w", program, err)
	}
	used := binary.NativeEndian.Uint32(h.chunk)
	next = uint64(binary.NativeEndian.Uint32(h.chunk[4:]))
	if int64(used) > int64(len(h.chunk)-chunkHeader) {
		return nil, 0, fmt.Errorf("bpfiter: %s: %w", program, errTable)
	}
	data = h.chunk[chunkHeader : chunkHeader+used]
	if _, err := h.output.ReadAt(data, chunkHeader); err != nil {
		return nil, 0, fmt.Errorf("bpfiter: %s: %w", program, err)
	}
	return data, next, nil
}

// namespaces lists the namespaces.
func (h *hashWalk) namespaces() ([]Namespace, error) {
	data, _, err := h.call("namespaces")
	if err != nil {
		return nil, err
	}
	var list []Namespace
	for ; len(data) >= namespaceSize; data = data[namespaceSize:] {
		list = append(list, Namespace{
			hash:  binary.NativeEndian.Uint64(data),
			Inode: uint64(binary.NativeEndian.Uint32(data[8:])),
		})
	}
	if len(list) == 0 || list[0].hash == 0 {
		return nil, fmt.Errorf("bpfiter: %w: the kernel keeps TCP connections where we do not find them", tables.ErrUnavailable)
	}
	return list, nil
}

// table yields the connections of a hash table. It returns false if yield did.
func (h *hashWalk) table(ctx context.Context, table uint64, yield func(*socket.Socket, ID) bool) (bool, error) {
	_, buckets, err := h.call("established", table)
	if err != nil {
		return false, err
	}
	for at := uint64(0); at < buckets; {
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		data, next, err := h.call("established", table, at, min(at+chunkBuckets, buckets))
		if err != nil {
			return false, err
		}
		if next <= at {
			return false, fmt.Errorf("bpfiter: established: %w", errTable)
		}
		at = next
		for {
			id, rest, ok := h.source.decoder.next(data, &h.sock)
			if !ok {
				break
			}
			data = rest
			if !yield(&h.sock, id) {
				return false, nil
			}
		}
		if len(data) > 0 {
			return false, fmt.Errorf("bpfiter: established: %w", errShort)
		}
	}
	return true, nil
}

package bpfiter

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"sockql/tables/internal/socket"
)

// Config says where the kernel shows itself.
type Config struct {
	// Proc and Sys are where procfs and sysfs are mounted.
	Proc, Sys string
}

// maxIdle bounds the loaded programs that wait for the next scan.
const maxIdle = 4

// A Source reads the running kernel's sockets.
type Source struct {
	files   pool
	hash    pool
	decoder decoder
	// noTaskFilter says that the kernel, before 6.1, cannot go over one process
	// only.
	noTaskFilter atomic.Bool
}

// An ID tells a socket apart from every other one that exists at the same time:
// its address in the kernel's memory. It is for comparing what passes of one
// moment saw, and not for anybody's eyes. 0 is none.
type ID uint64

// Open loads the program that reads descriptor tables, and returns an error
// that wraps tables.ErrUnavailable, with the reason and the remedy, where the
// kernel does not let it, or where it would tell other numbers of processes
// than the caller's: in a pid namespace that is not the initial one.
//
// The kernel takes a millisecond to check what a small question needs, and ten
// for what any question may need. So Open is told the first one, and loads no
// more than that; nil is any. A scan that asks for more loads the rest.
func Open(c Config, first *socket.Request) (*Source, error) {
	if err := c.checkNamespace(); err != nil {
		return nil, err
	}
	if missingCapabilities() != "" {
		// The kernel would say so too, after milliseconds of preparation.
		return nil, c.explain(unix.EPERM)
	}
	s := &Source{
		files:   pool{config: c, parse: loadFiles},
		hash:    pool{config: c, parse: loadHash},
		decoder: newDecoder(),
	}
	need := everything
	if first != nil {
		need = s.question(first).limit()
	}
	in, err := s.files.take(need)
	if err != nil {
		return nil, err
	}
	s.files.put(in)
	return s, nil
}

// Close removes the programs from the kernel. No scan may run any more.
func (s *Source) Close() error {
	s.files.close()
	s.hash.close()
	return nil
}

func (c Config) types() string { return filepath.Join(c.Sys, "kernel/btf/vmlinux") }

// A pool has the instances of an object. A question stands in an instance's
// maps, so that every scan needs one of its own.
type pool struct {
	config Config
	parse  func() (*ebpf.CollectionSpec, error)

	lock   sync.Mutex
	object *object
	idle   []*instance
}

// take returns an instance for questions within a limit that nobody else uses.
// Its error says why the kernel does not take one.
func (p *pool) take(need limit) (*instance, error) {
	in, err := p.idleOrNew(need)
	if err != nil {
		return nil, p.config.explain(err)
	}
	return in, nil
}

func (p *pool) idleOrNew(need limit) (*instance, error) {
	p.lock.Lock()
	for i, in := range p.idle {
		if in.limit.covers(need) {
			p.idle = slices.Delete(p.idle, i, i+1)
			p.lock.Unlock()
			return in, nil
		}
	}
	first := p.object == nil
	if first {
		if err := p.fit(); err != nil {
			p.lock.Unlock()
			return nil, err
		}
	}
	p.lock.Unlock()
	if !first {
		// Who asks a second question may ask a third.
		room := need.room
		need = everything
		if room > need.room {
			need.room = maxListed
		}
	}
	return p.object.load(need)
}

// fit fits the object to the kernel. To parse either takes a millisecond, so
// both are parsed at the same time.
func (p *pool) fit() error {
	raw, release, err := kernelTypes(p.config.types())
	if err != nil {
		return fmt.Errorf("types of the kernel: %w", err)
	}
	defer release()
	var spec *ebpf.CollectionSpec
	var failure error
	var parsing sync.WaitGroup
	parsing.Go(func() { spec, failure = p.parse() })
	types, err := parseTypes(raw)
	parsing.Wait()
	if err := errors.Join(failure, err); err != nil {
		return err
	}
	p.object, err = fit(spec, types)
	return err
}

// put gives an instance back.
func (p *pool) put(in *instance) {
	p.lock.Lock()
	defer p.lock.Unlock()
	if len(p.idle) == maxIdle {
		in.close()
		return
	}
	p.idle = append(p.idle, in)
}

func (p *pool) close() {
	p.lock.Lock()
	defer p.lock.Unlock()
	for _, in := range p.idle {
		in.close()
	}
	if p.object != nil {
		p.object.close()
	}
	p.idle, p.object = nil, nil
}

// set puts a question into the instance's maps and forget removes its lists.
func (in *instance) set(q *question) error {
	copy(in.globals[in.config:], q.bytes())
	for _, k := range q.keys {
		if err := in.maps["lists"].Put(k[:], []byte{1}); err != nil {
			return fmt.Errorf("bpfiter: list: %w", err)
		}
	}
	if err := in.maps[variables].Put(uint32(0), in.globals); err != nil {
		return fmt.Errorf("bpfiter: question: %w", err)
	}
	return nil
}

func (in *instance) forget(q *question) error {
	for _, k := range q.keys {
		if err := in.maps["lists"].Delete(k[:]); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return err
		}
	}
	return nil
}

// room returns a buffer of the instance's of a size that does not change.
func (in *instance) room(size int) []byte {
	if in.buffer == nil {
		in.buffer = make([]byte, size)
	}
	return in.buffer
}

// with calls f with an instance that has been asked the question.
func (p *pool) with(q *question, f func(*instance) error) error {
	in, err := p.take(q.limit())
	if err != nil {
		return err
	}
	err = in.set(q)
	defer func() {
		if in.forget(q) != nil {
			in.close()
			return
		}
		p.put(in)
	}()
	if err != nil {
		return err
	}
	return f(in)
}

// maxTasks is the number of processes up to which each is gone over by itself:
// setting that up costs as much as going over some hundred files.
const maxTasks = 64

// Scan yields the sockets that a request wants, and perhaps others, of every
// family and in every network namespace, once for each descriptor that refers
// to them. A thread whose descriptor table is not its process's gives what it
// does not have in common with it. The socket behind the pointer is reused
// after yield returns.
//
// Sockets of MPTCP are there as such, and once more for each TCP connection
// below, which has the former's inode; the latter's cookie is known only if
// somebody has asked for it before. Of a socket of SCTP, DCCP, TIPC or SMC only
// what all sockets have is known. NoHolders of the request means nothing here:
// who asks for nothing but sockets asks sock_diag.
//
// Scan ends early without error when yield returns false, and with the
// context's cause when ctx ends. A process that ends during the scan gives
// less or nothing. An error means that the scan is not complete.
func (s *Source) Scan(ctx context.Context, req *socket.Request, yield func(*socket.Socket, ID) bool) error {
	if req.Kinds == 0 || req.PIDs != nil && len(req.PIDs) == 0 {
		return nil
	}
	byTask := s.byTask(req)
	q := s.question(req)
	retry := false
	err := s.files.with(q, func(in *instance) error {
		sc := scan{source: s, program: in.programs["files"], buffer: in.room(bufferSize), yield: yield}
		if !byTask {
			_, err := sc.pass(ctx, nil)
			return err
		}
		for i, pid := range req.PIDs {
			goOn, err := sc.pass(ctx, &taskInfo{pid: uint32(pid)})
			if i == 0 && (errors.Is(err, unix.E2BIG) || errors.Is(err, unix.EINVAL)) {
				retry = true
				return nil
			}
			if err != nil || !goOn {
				return err
			}
		}
		return nil
	})
	if retry {
		s.noTaskFilter.Store(true)
		return s.Scan(ctx, req, yield)
	}
	return err
}

// byTask reports whether the kernel is to go over each wanted process alone.
func (s *Source) byTask(req *socket.Request) bool {
	return req.PIDs != nil && len(req.PIDs) <= maxTasks && !s.noTaskFilter.Load()
}

func (s *Source) question(req *socket.Request) *question { return ask(req, s.byTask(req)) }

// bufferSize is what the kernel gives at once, eight pages of 4 KB
// (bpf_seq_read, kernel/bpf/bpf_iter.c).
const bufferSize = 32 << 10

// A scan is one way through the descriptor tables.
type scan struct {
	source  *Source
	program int
	buffer  []byte
	yield   func(*socket.Socket, ID) bool
	sock    socket.Socket
	// copies are the descriptors of threads with tables of their own, which
	// may be copies of each other.
	copies map[descriptor]bool
}

type descriptor struct {
	pid, fd int32
	inode   uint64
	id      ID
}

// pass goes over the tables of all tasks, or of one process. It returns false
// if yield did.
func (sc *scan) pass(ctx context.Context, info *taskInfo) (bool, error) {
	link, err := attach(sc.program, info)
	if err != nil {
		return false, fmt.Errorf("bpfiter: attach: %w", err)
	}
	defer unix.Close(link)
	fd, err := iterate(link)
	if err != nil {
		return false, fmt.Errorf("bpfiter: iterate: %w", err)
	}
	defer unix.Close(fd)
	held := 0 // bytes of a record that is not yet whole
	for {
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		n, err := unix.Read(fd, sc.buffer[held:])
		switch {
		case err == unix.EINTR || err == unix.EAGAIN: // after a million files without a socket
			continue
		case err != nil:
			return false, fmt.Errorf("bpfiter: read: %w", err)
		case n == 0 && held > 0:
			return false, fmt.Errorf("bpfiter: read: %w", errShort)
		case n == 0:
			return true, nil
		}
		rest, goOn := sc.visit(sc.buffer[:held+n])
		if !goOn {
			return false, nil
		}
		if held = copy(sc.buffer, rest); held == len(sc.buffer) {
			return false, fmt.Errorf("bpfiter: read: %w", errShort)
		}
	}
}

var errShort = errors.New("a record is too short or too long")

// visit yields the sockets of the records in b and returns what is left.
func (sc *scan) visit(b []byte) (rest []byte, goOn bool) {
	for {
		id, rest, ok := sc.source.decoder.next(b, &sc.sock)
		if !ok {
			return b, true
		}
		b = rest
		if sc.repeats(id) {
			continue
		}
		if !sc.yield(&sc.sock, id) {
			return nil, false
		}
	}
}

// repeats reports whether another thread of the process has shown the same.
func (sc *scan) repeats(id ID) bool {
	s := &sc.sock
	if s.TID == s.PID || s.TID < 0 {
		return false
	}
	d := descriptor{s.PID, s.FD, s.Inode, id}
	if sc.copies[d] {
		return true
	}
	if sc.copies == nil {
		sc.copies = map[descriptor]bool{}
	}
	sc.copies[d] = true
	return false
}

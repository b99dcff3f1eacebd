package sockets

import (
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"

	"sockql/tables"
	"sockql/tables/internal/bpfiter"
	"sockql/tables/internal/socket"
)

// A bpfSource is the host's BPF source, which the first question that needs it
// loads and later ones find loaded.
type bpfSource struct {
	lock   sync.Mutex
	loaded *bpfiter.Source
	err    error // why it cannot be loaded
}

// get returns the source, loaded for a first request if it was not before. A
// kernel that has refused once is not asked again.
func (b *bpfSource) get(c bpfiter.Config, first *socket.Request) (*bpfiter.Source, error) {
	b.lock.Lock()
	defer b.lock.Unlock()
	if b.err != nil {
		return nil, b.err
	}
	if b.loaded != nil {
		return b.loaded, nil
	}
	source, err := bpfiter.Open(c, first)
	if err == nil {
		b.loaded = source
	} else if !transient(err) {
		b.err = err
	}
	return source, err
}

// transient reports whether an error says nothing about the next try.
func transient(err error) bool {
	return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOMEM)
}

// refuse has later questions answered by other sources.
func (b *bpfSource) refuse(err error) {
	b.lock.Lock()
	defer b.lock.Unlock()
	if b.err == nil && !transient(err) {
		b.err = err
	}
}

func (b *bpfSource) close() error {
	b.lock.Lock()
	defer b.lock.Unlock()
	if b.loaded == nil {
		return nil
	}
	err := b.loaded.Close()
	b.loaded, b.err = nil, errClosed
	return err
}

var errClosed = fmt.Errorf("sockets: %w: the tables have been closed", tables.ErrUnavailable)

// mayUseBPF returns why the host must not be asked by BPF, whose numbers are
// those of the running kernel's initial namespaces, or nil.
func (h *Host) mayUseBPF() error {
	switch {
	case !h.proc.IsMounted():
		return fmt.Errorf("sockets: source %q: %w: %q is no mounted procfs, and BPF sees the running kernel alone; leave the source out or choose %s",
			BPF, tables.ErrUnavailable, h.proc.Root(), Procfs)
	case !h.proc.IsInitial():
		return fmt.Errorf("sockets: source %q: %w: %q is not the procfs of the initial pid namespace that sockql runs in, whose numbers BPF tells; run it on the host, or in a container with the host's pid namespace",
			BPF, tables.ErrUnavailable, h.proc.Root())
	}
	return nil
}

// bpf returns the BPF source for a question, or nil where others answer it. The
// error is for those who insist on BPF.
func (h *Host) bpf(a *question) (*bpfiter.Source, error) {
	if h.source != Auto && h.source != BPF || h.sys == "" || h.mayUseBPF() != nil {
		return nil, nil
	}
	if a.request.Kinds == 0 || a.request.PIDs != nil && len(a.request.PIDs) == 0 {
		return nil, nil // nothing to answer
	}
	request := a.descriptors()
	source, err := h.lazyBPF.get(bpfiter.Config{Proc: h.proc.Root(), Sys: h.sys}, &request)
	if err != nil {
		if h.source == BPF {
			return nil, fmt.Errorf("sockets: source %q: %w", BPF, err)
		}
		return nil, nil
	}
	return source, nil
}

// stateless are kinds whose states BPF does not look at.
const stateless = socket.Packet | socket.Netlink | socket.XDP | socket.TIPC | socket.SMC | socket.SCTP4 | socket.SCTP6 | socket.Other

// descriptors returns the request for the sockets that descriptors refer to.
func (a *question) descriptors() socket.Request {
	r := a.request
	if r.Kinds&ping != 0 {
		r.Kinds |= ping // the list of either shows sockets of the other: see index
	}
	r.States = 0
	for i, k := range kindInfos {
		if r.Kinds&k.kind&^stateless != 0 {
			r.States |= a.states[i]
		}
	}
	return r
}

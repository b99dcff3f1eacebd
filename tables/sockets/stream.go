package sockets

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"sockql/tables"
	"sockql/tables/internal/bpfiter"
	"sockql/tables/internal/socket"
)

// A pass answers one question by BPF: it goes over the descriptor tables, and
// before and after that over the lists of sockets, for those that no descriptor
// refers to. Its rows go on one by one, so that it takes as much memory for
// 100,000 sockets as for ten.
type pass struct {
	collector  *collector
	source     *bpfiter.Source
	question   *question
	unheld     *unheld     // nil while nobody asks for sockets without a holder
	hashed     socket.Kind // kinds whose connections come from the hash table
	namespaces int         // how many were listed
	used       sources
}

// stream yields a question's rows as the kernel gives them.
func (p *pass) stream(ctx context.Context, q *tables.Query, yield func(*row) bool) error {
	// Who stops after a few rows may never come to those without a holder.
	_, limited := q.Limit()
	if !limited || !p.question.ownerless {
		if err := p.begin(ctx, q); err != nil {
			return err
		}
		if goOn, err := p.held(ctx, yield); err != nil || !goOn || p.unheld == nil {
			return err
		}
	} else {
		if goOn, err := p.held(ctx, yield); err != nil || !goOn {
			return err
		}
		if err := p.begin(ctx, q); err != nil {
			return err
		}
		if _, err := p.held(ctx, func(*row) bool { return true }); err != nil {
			return err
		}
	}
	var rest []socket.Socket
	err := p.collector.host.locked(ctx, q, func(*collector) (err error) {
		rest, err = p.findUnheld(ctx)
		return err
	})
	if err != nil {
		return err
	}
	return p.collector.yield(ctx, p.question, rest, yield)
}

// begin lists the sockets that may have no holder, if they are wanted.
func (p *pass) begin(ctx context.Context, q *tables.Query) error {
	if !p.question.ownerless {
		return nil
	}
	return p.collector.host.locked(ctx, q, func(*collector) error { return p.listUnheld(ctx) })
}

// yield hands over sockets, each with its holder.
func (c *collector) yield(ctx context.Context, a *question, sockets []socket.Socket, yield func(*row) bool) error {
	var r row
	for i := range sockets {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		r = row{Socket: &sockets[i], holder: sockets[i].Holder}
		c.name(&r, a.request.Fields)
		if !yield(&r) {
			return nil
		}
	}
	return nil
}

// wants reports whether a question wants a socket of a descriptor.
func (a *question) wants(s *socket.Socket, r *row) bool {
	if a.request.Kinds&s.Kind == 0 || !a.wantsPID(int64(s.PID)) {
		return false
	}
	*r = row{Socket: s, holder: s.Holder}
	return a.match(r)
}

// held yields the sockets of descriptors, and returns false if yield did.
func (p *pass) held(ctx context.Context, yield func(*row) bool) (goOn bool, err error) {
	if p.question.request.PIDs == nil {
		return p.pipelined(ctx, yield)
	}
	request := p.question.descriptors()
	goOn = true
	var r row
	err = p.source.Scan(ctx, &request, func(s *socket.Socket, _ bpfiter.ID) bool {
		if p.question.wants(s, &r) {
			p.collector.name(&r, request.Fields)
			goOn = yield(&r)
		}
		return goOn
	})
	return goOn, err
}

// A batch is large enough for its way between two goroutines not to count, and
// so small that it stays in a processor's cache. The first ones are smaller, for
// those who want a few rows.
const (
	firstBatch = 16
	batchSize  = 256
	batches    = 3
)

type batch []socket.Socket

// pipelined is held for questions about every process: the kernel is asked on
// another goroutine than the rows are yielded on.
func (p *pass) pipelined(ctx context.Context, yield func(*row) bool) (goOn bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	full, empty := make(chan batch, batches), make(chan batch, batches)
	for range batches {
		empty <- make(batch, 0, batchSize)
	}
	done := make(chan error, 1)
	go func() {
		defer close(full)
		done <- p.fill(ctx, full, empty)
	}()
	defer func() {
		cancel(errStopped)
		for range full {
		}
		if failure := <-done; err == nil && goOn {
			err = failure
		}
	}()
	for b := range full {
		var r row
		for i := range b {
			r = row{Socket: &b[i], holder: b[i].Holder}
			p.collector.name(&r, p.question.request.Fields)
			if !yield(&r) {
				return false, nil
			}
		}
		empty <- b[:0]
	}
	return true, nil
}

var errStopped = errors.New("sockets: nobody reads on")

// fill is the goroutine that asks the kernel.
func (p *pass) fill(ctx context.Context, full chan<- batch, empty <-chan batch) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("sockets: panic: %v\n%s", v, debug.Stack())
		}
	}()
	request := p.question.descriptors()
	b, enough := <-empty, firstBatch
	var r row
	err = p.source.Scan(ctx, &request, func(s *socket.Socket, id bpfiter.ID) bool {
		if p.unheld != nil {
			p.unheld.show(s, id)
		}
		if !p.question.wants(s, &r) {
			return true
		}
		if b = append(b, *s); len(b) < enough {
			return true
		}
		full <- b // has room for all batches
		b, enough = nil, min(2*enough, batchSize)
		select {
		case b = <-empty:
			return true
		case <-ctx.Done():
			return false
		}
	})
	if err == nil && len(b) > 0 {
		full <- b
	}
	return err
}

package shell

import (
	"fmt"
	"io"
	"sync"
	"time"

	"sockql/shell/internal/render"
)

// progress shows on a terminal that a long statement is alive, until its first
// output. Its methods may be called on nil and from any goroutine.
type progress struct {
	mu      sync.Mutex
	w       io.Writer
	started time.Time
	shown   bool
	done    bool
	stopped chan struct{}
}

// startProgress shows a line on standard error after half a second.
func (s *shell) startProgress(out *sink, printer *render.Printer) *progress {
	if !s.term.err || s.term.dumb || !s.flags.bool("progress") {
		return nil
	}
	p := &progress{w: s.stderr, started: time.Now(), stopped: make(chan struct{})}
	out.progress = p
	go p.run(printer)
	return p
}

func (p *progress) run(printer *render.Printer) {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-p.stopped:
			return
		case <-tick.C:
		}
		p.mu.Lock()
		if !p.done {
			p.shown = true
			fmt.Fprintf(p.w, "\r\x1b[K%.1f s, %d rows", time.Since(p.started).Seconds(), printer.Rows())
		}
		p.mu.Unlock()
	}
}

// clear removes the line for good.
func (p *progress) clear() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
	p.shown, p.done = false, true
}

func (p *progress) stop() {
	if p != nil {
		p.clear()
		close(p.stopped)
	}
}

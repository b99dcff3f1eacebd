package extension

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"sockql/tables"
)

// moments hands out sessions that are at most age old.
type moments struct {
	ctx context.Context // ends the scans of all sessions
	age time.Duration   // 0 gives each call a session of its own
	log *slog.Logger

	mu      sync.Mutex
	current *moment
}

type moment struct {
	session *tables.Session
	users   int
	over    bool // nobody joins any more; the last user closes
}

// join returns the session of this moment. The caller leaves it.
func (m *moments) join() *moment {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.current == nil {
		k := &moment{session: tables.NewSession(m.ctx)}
		if m.age <= 0 {
			k.over, k.users = true, 1
			return k
		}
		m.current = k
		time.AfterFunc(m.age, func() { m.end(k) })
	}
	m.current.users++
	return m.current
}

// end begins the next moment.
func (m *moments) end(k *moment) {
	m.mu.Lock()
	if m.current == k {
		m.current = nil
	}
	unused := !k.over && k.users == 0
	k.over = true
	m.mu.Unlock()
	if unused {
		m.close(k)
	}
}

func (m *moments) leave(k *moment) {
	m.mu.Lock()
	k.users--
	last := k.over && k.users == 0
	m.mu.Unlock()
	if last {
		m.close(k)
	}
}

func (m *moments) close(k *moment) {
	if err := k.session.Close(); err != nil {
		m.log.Warn("session did not close", "error", err)
	}
}

// stop ends the moment before its time.
func (m *moments) stop() {
	m.mu.Lock()
	k := m.current
	m.mu.Unlock()
	if k != nil {
		m.end(k)
	}
}

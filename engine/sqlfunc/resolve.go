package sqlfunc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"sockql/tables"
)

func resolveFunctions(cfg Config) []Function {
	return []Function{{
		Name: "resolve", Args: []int{1}, Eval: resolve(cfg),
		Doc: "resolve(address) returns the first name that the name server has for an address, without the dot at its end, and NULL if it has none, does not answer in time, or the argument is no address. It works only where look-ups are allowed; elsewhere it gives NULL and a warning. Answers and failures are kept for a minute, and a name server that stays silent is left alone for a while.",
	}}
}

const (
	resolveKeep    = time.Minute
	resolveEntries = 4096
	// A name server that let this many look-ups in a row pass is not asked
	// for resolvePause, lest a thousand rows wait a thousand times.
	resolveSilences = 3
	resolvePause    = 30 * time.Second
)

// A resolveCache is what the connections of one [All] know of names. It
// outlives [Call.Cache], which a connection forgets with each statement: a view
// that is drawn again every second must not ask again every second.
type resolveCache struct {
	mu       sync.Mutex
	answers  map[string]resolved
	silences int
	pause    time.Time // nobody is asked before
}

type resolved struct {
	name    tables.Value
	expires time.Time
}

func resolve(cfg Config) func(context.Context, *Call, []tables.Value) (tables.Value, error) {
	cache := &resolveCache{answers: map[string]resolved{}}
	return func(ctx context.Context, c *Call, args []tables.Value) (tables.Value, error) {
		if !cfg.AllowResolve {
			c.Warn(errors.New("resolve: look-ups are off; allow them with --resolve"))
			return tables.Null(), nil
		}
		addr, ok := address(args[0])
		if !ok {
			return tables.Null(), nil
		}
		key := addr.Unmap().WithZone("").String()
		if name, known := cache.find(key); known {
			return name, nil
		}
		names, err := cfg.lookup(ctx, key)
		if ctx.Err() != nil {
			return tables.Null(), context.Cause(ctx)
		}
		name := tables.Null()
		if err == nil && len(names) > 0 {
			name = tables.String(strings.TrimSuffix(names[0], "."))
		}
		if cache.keep(key, name, silent(err)) {
			c.Warn(fmt.Errorf("resolve: the name server does not answer: no look-ups for %s: %w", resolvePause, err))
		}
		return name, nil
	}
}

func (c Config) lookup(ctx context.Context, addr string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, c.ResolveTimeout)
	defer cancel()
	return c.Resolver.LookupAddr(ctx, addr)
}

// silent reports whether a look-up failed because nobody answered.
func silent(err error) bool {
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return dns.Timeout()
	}
	return errors.Is(err, context.DeadlineExceeded)
}

// find returns what is known of an address, which is NULL while nobody is to
// be asked.
func (c *resolveCache) find(key string) (name tables.Value, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if r, found := c.answers[key]; found && now.Before(r.expires) {
		return r.name, true
	}
	return tables.Null(), now.Before(c.pause)
}

// keep remembers an answer, and reports whether it was the silence that begins
// a pause.
func (c *resolveCache) keep(key string, name tables.Value, silent bool) (pause bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if len(c.answers) >= resolveEntries {
		clear(c.answers)
	}
	c.answers[key] = resolved{name, now.Add(resolveKeep)}
	if !silent {
		c.silences = 0
		return false
	}
	c.silences++
	if c.silences < resolveSilences {
		return false
	}
	c.silences, c.pause = 0, now.Add(resolvePause)
	return true
}

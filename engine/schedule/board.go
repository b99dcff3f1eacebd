package schedule

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"sockql/tables"
)

// A Board shows what a scheduler does, in the tables osquery_schedule and
// osquery_packs. Its zero value is empty.
type Board struct {
	mu      sync.Mutex
	queries []queryRow
	packs   []packRow
}

type queryRow struct {
	name, sql  string
	interval   uint64
	denylisted bool
	stats      Stats
}

type packRow struct {
	name, platform, version string
	shard                   uint64
	hits, executions        int64
	active                  bool
}

// Stats are what runs of a query took.
type Stats struct {
	Executions int64
	// LastExecuted is in seconds of Unix time.
	LastExecuted int64
	// OutputSize is the sum of the bytes of names and values.
	OutputSize                int64
	Wall, LastWall            time.Duration
	User, LastUser            time.Duration
	System, LastSystem        time.Duration
	AverageMemory, LastMemory int64 // bytes by which the process grew
}

// add counts a run.
func (s *Stats) add(at time.Time, wall time.Duration, before, after Usage, size int64) {
	s.LastWall = wall
	s.Wall += wall
	s.LastUser = max(after.User-before.User, 0)
	s.User += s.LastUser
	s.LastSystem = max(after.System-before.System, 0)
	s.System += s.LastSystem
	if grown := after.Memory - before.Memory; grown > 0 {
		s.LastMemory = grown
		s.AverageMemory = (s.AverageMemory*s.Executions + grown) / (s.Executions + 1)
	}
	s.OutputSize += size
	s.Executions++
	s.LastExecuted = at.Unix()
}

// statsFormat keeps durations in microseconds.
const statsFormat = "%d,%d,%d,%d,%d,%d,%d,%d,%d,%d,%d"

func (s *Stats) String() string {
	return fmt.Sprintf(statsFormat, s.Executions, s.LastExecuted, s.OutputSize,
		s.Wall.Microseconds(), s.LastWall.Microseconds(), s.User.Microseconds(), s.LastUser.Microseconds(),
		s.System.Microseconds(), s.LastSystem.Microseconds(), s.AverageMemory, s.LastMemory)
}

// parseStats is the reverse of String; what it cannot read counts as no runs.
func parseStats(text string) Stats {
	var s Stats
	_, err := fmt.Sscanf(text, statsFormat, &s.Executions, &s.LastExecuted, &s.OutputSize,
		&s.Wall, &s.LastWall, &s.User, &s.LastUser, &s.System, &s.LastSystem, &s.AverageMemory, &s.LastMemory)
	if err != nil {
		return Stats{}
	}
	for _, d := range []*time.Duration{&s.Wall, &s.LastWall, &s.User, &s.LastUser, &s.System, &s.LastSystem} {
		*d *= time.Microsecond
	}
	return s
}

func (b *Board) set(queries []queryRow, packs []packRow) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.queries, b.packs = queries, packs
}

func (b *Board) snapshot() ([]queryRow, []packRow) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.queries), slices.Clone(b.packs)
}

// Tables returns osquery_schedule and osquery_packs.
func (b *Board) Tables() ([]tables.Table, error) {
	queries, err := b.scheduleTable()
	if err != nil {
		return nil, err
	}
	packs, err := b.packsTable()
	return []tables.Table{packs, queries}, err
}

func (b *Board) scheduleTable() (tables.Table, error) {
	type column = tables.Column[queryRow]
	number := func(name, doc string, get func(*Stats) int64) column {
		return column{Name: name, Type: tables.BigInt, Doc: doc, Get: func(r *queryRow) tables.Value { return tables.Int(get(&r.stats)) }}
	}
	return tables.New(tables.Def[queryRow]{
		Name:     "osquery_schedule",
		Doc:      "The scheduled queries and what their runs took, one row each. It is empty outside of the daemon.",
		Examples: []string{"SELECT name, executions, wall_time_ms FROM osquery_schedule ORDER BY wall_time_ms DESC;"},
		Columns: []column{
			{Name: "name", Type: tables.Text, Doc: "Name of the query as logs have it.", Get: func(r *queryRow) tables.Value { return tables.String(r.name) }},
			{Name: "query", Type: tables.Text, Doc: "SQL of the query.", Get: func(r *queryRow) tables.Value { return tables.String(r.sql) }},
			{Name: "interval", Type: tables.Integer, Doc: "Interval in seconds, without splay.", Get: func(r *queryRow) tables.Value { return tables.Uint(r.interval) }},
			number("executions", "Number of runs.", func(s *Stats) int64 { return s.Executions }),
			number("last_executed", "When the last run ended, in seconds of Unix time; 0 if there was none.", func(s *Stats) int64 { return s.LastExecuted }),
			{Name: "denylisted", Type: tables.Integer, Doc: "1 if the query is barred because the process died running it.", Get: func(r *queryRow) tables.Value { return tables.Bool(r.denylisted) }},
			number("output_size", "Sum of the bytes of names and values of all results.", func(s *Stats) int64 { return s.OutputSize }),
			number("wall_time", "Sum of the time of all runs in whole seconds.", func(s *Stats) int64 { return int64(s.Wall / time.Second) }),
			number("wall_time_ms", "Sum of the time of all runs in milliseconds.", func(s *Stats) int64 { return s.Wall.Milliseconds() }),
			number("last_wall_time_ms", "Time of the last run in milliseconds.", func(s *Stats) int64 { return s.LastWall.Milliseconds() }),
			number("user_time", "Sum of the CPU time in user mode in milliseconds.", func(s *Stats) int64 { return s.User.Milliseconds() }),
			number("last_user_time", "CPU time of the last run in user mode in milliseconds.", func(s *Stats) int64 { return s.LastUser.Milliseconds() }),
			number("system_time", "Sum of the CPU time in the kernel in milliseconds.", func(s *Stats) int64 { return s.System.Milliseconds() }),
			number("last_system_time", "CPU time of the last run in the kernel in milliseconds.", func(s *Stats) int64 { return s.LastSystem.Milliseconds() }),
			number("average_memory", "Average number of bytes by which a run made the process grow.", func(s *Stats) int64 { return s.AverageMemory }),
			number("last_memory", "Bytes by which the last run that did so made the process grow.", func(s *Stats) int64 { return s.LastMemory }),
		},
		Rows: func(ctx context.Context, _ *tables.Query, yield func(*queryRow) bool) error {
			queries, _ := b.snapshot()
			for i := range queries {
				if !yield(&queries[i]) {
					return nil
				}
			}
			return ctx.Err()
		},
	})
}

func (b *Board) packsTable() (tables.Table, error) {
	return tables.New(tables.Def[packRow]{
		Name:     "osquery_packs",
		Doc:      "The query packs of the configuration, one row each; the pack main is its schedule. It is empty outside of the daemon.",
		Examples: []string{"SELECT name, active FROM osquery_packs;"},
		Columns: []tables.Column[packRow]{
			{Name: "name", Type: tables.Text, Doc: "Name of the pack.", Get: func(r *packRow) tables.Value { return tables.String(r.name) }},
			{Name: "platform", Type: tables.Text, Doc: "Platform that the pack is for, empty for any.", Get: func(r *packRow) tables.Value { return tables.String(r.platform) }},
			{Name: "version", Type: tables.Text, Doc: "Least version of osquery that the pack asks for.", Collate: "version", Get: func(r *packRow) tables.Value { return tables.String(r.version) }},
			{Name: "shard", Type: tables.Integer, Doc: "Percentage of hosts that run the pack, 0 for all.", Get: func(r *packRow) tables.Value { return tables.Uint(r.shard) }},
			{Name: "discovery_cache_hits", Type: tables.Integer, Doc: "How often the last answer of the discovery queries was used again.", Get: func(r *packRow) tables.Value { return tables.Int(r.hits) }},
			{Name: "discovery_executions", Type: tables.Integer, Doc: "How often the discovery queries were run.", Get: func(r *packRow) tables.Value { return tables.Int(r.executions) }},
			{Name: "active", Type: tables.Integer, Doc: "1 if the pack's queries run on this host.", Get: func(r *packRow) tables.Value { return tables.Bool(r.active) }},
		},
		Rows: func(ctx context.Context, _ *tables.Query, yield func(*packRow) bool) error {
			_, packs := b.snapshot()
			for i := range packs {
				if !yield(&packs[i]) {
					return nil
				}
			}
			return ctx.Err()
		},
	})
}

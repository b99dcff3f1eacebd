// Package schedule runs the queries of a configuration on a clock, as osqueryd
// does: each at the seconds of Unix time that its splayed interval divides.
//
// Queries that are due at the same moment run one after the other in one
// session and share what tables collect in it. The clock may stand still or
// jump, by suspend or by somebody's hand: a query that was due in between runs
// once.
//
// The package needs no privilege. A [Scheduler] belongs to one goroutine, but
// for [Scheduler.Reload]; a [Board] is safe for concurrent use.
package schedule

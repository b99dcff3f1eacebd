// Package engine answers SQL over [tables.Table]s: an osquery-compatible
// dialect on top of SQLite.
//
// An [Engine] is a validated set of tables, functions and collating sequences.
// It opens [Conn]s, each an empty database in memory that knows the tables. A
// Conn runs statements in a [Session], which holds the context that ends them,
// the warnings that they raise and whatever tables collect for them. A
// statement's rows are streamed: a table is read as far as the rows that were
// asked for.
//
// Nothing in SQL reaches a file, loads code or takes more than the [Limits]
// allow: an authorizer permits what osquery permits, and databases, sorters
// and temporary tables live in memory.
//
// The package needs no privilege of its own. An Engine is safe for concurrent
// use. A Conn with its sessions and statements belongs to one goroutine at a
// time; a call from a second one at the same moment fails with [ErrBusy].
package engine

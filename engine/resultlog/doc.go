// Package resultlog compares what a query gave with what it gave before, and
// writes the difference in osquery's formats.
//
// A [Store] keeps each query's last rows and the lines that are not written
// yet, in one SQLite file: both change in one transaction, so that a process
// that is killed at any moment neither loses a line nor forgets one it has
// written. A [Sink] takes lines: the files that osquery writes, standard
// output, syslog. While one fails, its lines wait in the store, up to a limit,
// and what goes beyond is counted and reported.
//
// The formats are those of osquery 5
// (https://osquery.readthedocs.io/en/stable/deployment/logging/), key for key
// in its order.
//
// The package needs the permission to write its files. A Store belongs to one
// goroutine at a time, and its file to one process; sinks are used by the store
// only. [Status] is safe for concurrent use.
package resultlog

// Package sqlite binds SQLite as modernc.org/sqlite/lib translates it to Go:
// connections, statements, virtual tables, functions, collating sequences and
// the authorizer. It is the only package that handles SQLite's memory.
//
// That memory lies outside of Go's heap. C structures hold Go objects as plain
// addresses, which the garbage collector does not follow: each such object is
// also held by its [Conn], and Go does not move objects of its heap. Every
// callback recovers panics, because a panic must not unwind SQLite's frames.
// SQLite itself is never given Go's memory to read: what goes to it is copied.
//
// A Conn is opened without SQLite's mutexes. One goroutine at a time may use
// it and what belongs to it; different Conns are independent of each other.
// The package reads and writes no file but Config.File and needs no privilege.
package sqlite

// Package sqlfunc holds the SQL functions and collating sequences that
// osqueryi has beside SQLite's own, and those that sockql adds for sockets.
//
// A function is a plain Go function over [tables.Value]; the engine registers
// them. They read no file and open no connection, but for resolve, which must
// be switched on. All of them are safe for concurrent use.
package sqlfunc

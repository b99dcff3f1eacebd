// Package sqlfunc holds the SQL functions and collating sequences that
// osqueryi has beside SQLite's own, and those that sockql adds for sockets.
//
// A function is a plain Go function over [tables.Value]; the engine registers
// them. [All] lists the functions, [Collations] the collating sequences. Where
// osquery has a function, its results, its treatment of NULL and its error
// texts are osquery's; what differs on purpose is said where it is done.
//
// Nearly all of them compute and touch nothing. The exceptions: service_name
// reads one configured file once, find_file_path_in_cmd and
// is_path_deterministic ask whether the paths in their argument exist, and
// resolve, which must be switched on, asks the name server. None needs a
// privilege; what the caller may not look at does not exist for them. All of
// them are safe for concurrent use, each call with a [Call] of its own.
//
// The aggregate carve, which sends files to a server, is left out.
package sqlfunc

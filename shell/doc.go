// Package shell is the command that a person or a script talks to: osqueryi's
// flags, output modes, prompt and dot commands, and what sockql adds to them.
//
// A statement runs in a session of its own on the shell's one connection.
// Rows stream from the engine to [sockql/shell/internal/render]; results go to
// standard output, warnings and errors to standard error.
//
// The package needs no privilege; tables do. [Main] and what it starts belong
// to one goroutine, except where a type says otherwise.
package shell

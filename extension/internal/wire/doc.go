// Package wire carries osquery's extension API, Thrift's binary protocol over
// UNIX sockets (https://osquery.readthedocs.io/en/stable/development/osquery-sdk/),
// and keeps a bad peer from harming this side: what a peer announces is not
// allocated before it was received, a message that stops halfway ends its
// connection, and the number of connections is bounded.
//
// A socket belongs to the user who created it (mode 0600); the package needs no
// further privilege. A [Server] is safe for concurrent use, and so is [Call].
package wire

import (
	"fmt"
	"strconv"
	"time"
)

// MaxPath is the longest path of a manager's socket, in bytes. An extension's
// socket has a dot and up to five digits more, and sun_path holds 107 bytes
// and a NUL (unix(7)); osquery-go draws the same line.
const MaxPath = 97

// CheckPath fails if a manager's socket cannot have this path.
func CheckPath(path string) error {
	switch {
	case path == "":
		return fmt.Errorf("extension socket: no path")
	case len(path) > MaxPath:
		return fmt.Errorf("extension socket: path %q has %d characters, and %d is the most", path, len(path), MaxPath)
	}
	return nil
}

// ExtensionPath returns the socket of an extension: the manager's path with
// the number that the manager gave to the extension.
func ExtensionPath(manager string, uuid int64) string {
	return manager + "." + strconv.FormatInt(uuid, 10)
}

// What a message may hold. A context names each column of a table and each
// value of an IN list; an answer holds a table.
const (
	maxString = 64 << 20 // bytes
	maxMap    = 1 << 16  // entries: columns, tables, options
	maxList   = 1 << 22  // entries: rows
)

// stall is how long a peer may take between two parts of one message.
const stall = 10 * time.Second

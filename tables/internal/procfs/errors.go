package procfs

import (
	"errors"
	"io/fs"

	"golang.org/x/sys/unix"
)

// ErrVanished says that the process or thread is gone, or was never there.
// Reading a process that ends is no failure worth a message.
var ErrVanished = errors.New("process vanished")

// ErrNoList says that this kernel keeps no list of the sockets asked for: it
// is too old, or built or run without the protocol. The process itself is
// there. A caller treats it as an empty list, unless it was asked why.
var ErrNoList = errors.New("no such socket list in this kernel")

// An Error is a file below the root that could not be read. Its Err is a
// [syscall.Errno], a format error, or whatever the reader returned.
//
// errors.Is finds [ErrVanished] where the kernel answers ENOENT or ESRCH to a
// path that begins with a process number, and [fs.ErrPermission] for EACCES
// and EPERM.
type Error struct {
	Op   string // what was tried: "open", "read", "readlink", "stat", "parse"
	Path string // below the root, without leading slash
	Err  error
}

func (e *Error) Error() string { return "procfs: " + e.Op + " " + e.Path + ": " + e.Err.Error() }

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether the error means that a process vanished.
func (e *Error) Is(target error) bool {
	return target == ErrVanished && e.Path != "" && e.Path[0] >= '0' && e.Path[0] <= '9' &&
		(errors.Is(e.Err, fs.ErrNotExist) || errors.Is(e.Err, unix.ESRCH))
}

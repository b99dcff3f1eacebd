// Package rooted opens files below a directory that stands for the root
// directory: one of this host, or the root of another process.
//
// A link below a root leads to what it names in there, so that whoever fills
// the directory, such as a container, cannot have a reader look elsewhere. That
// takes Linux 5.6 (openat2(2)); the root of this process takes nothing. The
// root of another user's process takes CAP_SYS_PTRACE.
//
// A [Root] is safe for concurrent use until it is closed.
package rooted

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"sockql/tables"
	"sockql/tables/internal/procfs"
)

// A Root is a directory that paths start from and do not leave.
type Root struct{ fd int }

const flags = unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC

// Open returns the root of a directory. Empty and "/" stand for the root
// directory of this process.
func Open(dir string) (Root, error) {
	if dir == "" || dir == "/" {
		return Root{unix.AT_FDCWD}, nil
	}
	fd, err := unix.Open(dir, flags, 0)
	return Root{fd}, err
}

// OfProcess returns the root directory of a process. It fails with
// [fs.ErrNotExist] if there is no such process, or a recorded tree without
// that directory.
func OfProcess(proc *procfs.FS, pid int64) (Root, error) {
	if proc == nil || pid <= 0 || pid > 1<<31-1 {
		return Root{-1}, fs.ErrNotExist
	}
	nofollow := 0
	if !proc.IsMounted() {
		// In a recorded tree a link would lead to this host's files.
		nofollow = unix.O_NOFOLLOW
	}
	fd, err := unix.Open(filepath.Join(proc.Root(), strconv.FormatInt(pid, 10), "root"), flags|nofollow, 0)
	if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ESRCH) {
		err = fs.ErrNotExist
	}
	return Root{fd}, err
}

// Close releases the directory.
func (r Root) Close() {
	if r.fd >= 0 {
		unix.Close(r.fd)
	}
}

// Open opens a path below the root. The error is the kernel's, or
// [tables.ErrUnavailable] where it is too old to stay below a root.
func (r Root) Open(path string, flags int) (fd int, err error) {
	if strings.IndexByte(path, 0) >= 0 {
		return -1, unix.ENOENT // the system call would see a part of it
	}
	flags |= unix.O_CLOEXEC
	for {
		if r.fd == unix.AT_FDCWD {
			fd, err = unix.Open(path, flags, 0)
		} else {
			fd, err = unix.Openat2(r.fd, path, &unix.OpenHow{
				Flags:   uint64(flags),
				Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
			})
		}
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.ENOSYS:
			return -1, fmt.Errorf("%w: files below another root directory need Linux 5.6", tables.ErrUnavailable)
		}
		return fd, err
	}
}

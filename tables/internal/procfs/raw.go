package procfs

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// The calls below take a name that already ends in NUL, as it stands in the
// kernel's directory entries or in a reused buffer. The wrappers of x/sys copy
// each into a new string first: an allocation for every descriptor of the host.

// openat opens a path that ends in NUL.
func openat(dir int, path []byte, flags int) (int, error) {
	for {
		fd, _, errno := unix.Syscall6(unix.SYS_OPENAT, uintptr(dir), uintptr(unsafe.Pointer(unsafe.SliceData(path))),
			uintptr(flags|unix.O_LARGEFILE), 0, 0, 0)
		switch errno {
		case 0:
			return int(fd), nil
		case unix.EINTR:
		default:
			return -1, errno
		}
	}
}

// readlinkat reads the target of a link whose name ends in NUL.
func readlinkat(dir int, name, buf []byte) (int, error) {
	n, _, errno := unix.Syscall6(unix.SYS_READLINKAT, uintptr(dir), uintptr(unsafe.Pointer(unsafe.SliceData(name))),
		uintptr(unsafe.Pointer(unsafe.SliceData(buf))), uintptr(len(buf)), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

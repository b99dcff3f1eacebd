package procfs

import (
	"bytes"
	"cmp"
	"errors"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// An FDInode is a descriptor that refers to a socket.
type FDInode struct {
	FD    int32
	Inode uint64 // in sockfs, as fstat(2) and the socket lists give it
}

// A Walker holds the buffers of a walk through descriptor tables. Its zero
// value is ready for use by one goroutine at a time.
type Walker struct {
	path    []byte
	link    [64]byte // longer than "socket:[18446744073709551615]"
	target  []byte   // longer than a path
	entries []byte
}

// An OpenFile is a descriptor and what it refers to.
type OpenFile struct {
	FD int32
	// Target is a path, with " (deleted)" after it if that is gone, or the kind
	// and the inode or name of what has no path, such as "pipe:[7]" and
	// "anon_inode:[eventfd]" (proc_pid_fd(5)).
	Target string
}

// OpenFiles appends the descriptors of a process to dst, ascending, with what
// they refer to. Privileges and errors are those of [FS.Sockets].
func (p *FS) OpenFiles(w *Walker, pid int32, dst []OpenFile) ([]OpenFile, error) {
	if pid <= 0 {
		_, err := processPath(pid, "fd")
		return dst, err
	}
	w.path = strconv.AppendInt(w.path[:0], int64(pid), 10)
	w.path = append(w.path, "/fd\x00"...)
	if w.target == nil {
		w.target = make([]byte, unix.PathMax+len(deleted))
	}
	start := len(dst)
	err := p.walk(w, w.target, func(fd int32, link []byte) {
		dst = append(dst, OpenFile{FD: fd, Target: string(link)})
	})
	if !p.mounted { // the kernel sorts, a recorded tree's file system need not
		slices.SortFunc(dst[start:], func(a, b OpenFile) int { return cmp.Compare(a.FD, b.FD) })
	}
	return dst, err
}

// Sockets appends the descriptors of a process that refer to sockets to dst,
// ascending, as /proc/<pid>/fd shows them (proc_pid_fd(5)). For another
// user's process it needs CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE. It returns
// with an error what it had read before. A descriptor that is closed meanwhile
// is left out; a process that ends meanwhile is reported as [ErrVanished].
func (p *FS) Sockets(w *Walker, pid int32, dst []FDInode) ([]FDInode, error) {
	if pid <= 0 {
		_, err := processPath(pid, "fd")
		return dst, err
	}
	w.path = strconv.AppendInt(w.path[:0], int64(pid), 10)
	w.path = append(w.path, "/fd\x00"...)
	return p.sockets(w, dst)
}

// TaskSockets is [FS.Sockets] for the descriptor table of one thread, which
// differs from its process's after unshare(2) with CLONE_FILES.
func (p *FS) TaskSockets(w *Walker, pid, tid int32, dst []FDInode) ([]FDInode, error) {
	if pid <= 0 || tid <= 0 {
		_, err := processPath(-1, "")
		return dst, err
	}
	w.path = strconv.AppendInt(w.path[:0], int64(pid), 10)
	w.path = append(w.path, "/task/"...)
	w.path = strconv.AppendInt(w.path, int64(tid), 10)
	w.path = append(w.path, "/fd\x00"...)
	return p.sockets(w, dst)
}

// sockets appends the sockets in the directory at w.path.
func (p *FS) sockets(w *Walker, dst []FDInode) ([]FDInode, error) {
	start := len(dst)
	err := p.walk(w, w.link[:], func(fd int32, link []byte) {
		if inode, ok := linkInode(link, "socket:["); ok {
			dst = append(dst, FDInode{FD: fd, Inode: inode})
		}
	})
	if !p.mounted { // the kernel sorts, a recorded tree's file system need not
		slices.SortFunc(dst[start:], func(a, b FDInode) int { return cmp.Compare(a.FD, b.FD) })
	}
	return dst, err
}

// walk calls found for the links in the directory at w.path, as far as they fit
// the buffer. A link tells as much as a stat and costs less. Against os.ReadDir
// and os.Readlink, 1000 sockets took 3.3 µs of CPU each and no allocation
// instead of 5.6 µs and six; what is left is the kernel's.
func (p *FS) walk(w *Walker, buffer []byte, found func(fd int32, link []byte)) error {
	fail := func(op string, err error) error {
		return &Error{Op: op, Path: string(w.path[:len(w.path)-1]), Err: err}
	}
	if p.onOpen != nil || p.recorded != nil {
		if err := p.announce(string(w.path[:len(w.path)-1])); err != nil {
			return fail("open", err)
		}
	}
	dir, err := openat(p.dir, w.path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC)
	if err != nil {
		return fail("open", err)
	}
	defer unix.Close(dir)
	if w.entries == nil {
		w.entries = make([]byte, bufferSize)
	}
	closed := false
	var denied error
	for {
		n, err := unix.Getdents(dir, w.entries)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return fail("read", err)
		}
		if n <= 0 {
			break
		}
		for name, rest := nextDirent(w.entries[:n]); name != nil; name, rest = nextDirent(rest) {
			fd, ok := direntNumber(name)
			if !ok {
				continue
			}
			m, err := readlinkat(dir, name, buffer)
			if err != nil {
				if isGone(err) {
					closed = true
				} else {
					denied = err
				}
				continue
			}
			found(fd, buffer[:m])
		}
	}
	if denied != nil {
		return fail("readlink", denied)
	}
	if closed {
		// One closed descriptor, or the end of all of them?
		var st unix.Stat_t
		if err := unix.Fstatat(p.dir, string(w.path[:len(w.path)-len("/fd\x00")]), &st, 0); err != nil {
			return fail("read", err)
		}
	}
	return nil
}

// An FDInfo is what tables use of /proc/<pid>/fdinfo/<fd>
// (proc_pid_fdinfo(5)).
type FDInfo struct {
	// Flags are those of open(2): the access mode and the file status flags,
	// and O_CLOEXEC.
	Flags uint32
}

// FDInfo reads /proc/<pid>/fdinfo/<fd>. Privileges are those of [FS.Sockets];
// a descriptor that was closed is reported as [ErrVanished].
func (p *FS) FDInfo(pid, fd int32) (FDInfo, error) {
	var info FDInfo
	err := p.readProcess(pid, "fdinfo/"+strconv.Itoa(int(fd)), func(b []byte) (err error) {
		info, err = parseFDInfo(b)
		return err
	})
	return info, err
}

func parseFDInfo(b []byte) (FDInfo, error) {
	for line := range bytes.SplitSeq(b, []byte{'\n'}) {
		if value, ok := bytes.CutPrefix(line, []byte("flags:")); ok {
			flags, err := strconv.ParseUint(string(bytes.TrimSpace(value)), 8, 32)
			return FDInfo{Flags: uint32(flags)}, err
		}
	}
	return FDInfo{}, errors.New("no flags")
}

// NamedPipe returns the device and inode of the file behind a descriptor, and
// whether it is a pipe in a file system (fifo(7)). In a recorded tree nothing
// is known to be one. Privileges are those of [FS.Sockets].
func (p *FS) NamedPipe(pid, fd int32) (dev, ino uint64, ok bool, err error) {
	if !p.mounted {
		return 0, 0, false, nil
	}
	path, err := processPath(pid, "fd/"+strconv.Itoa(int(fd)))
	if err != nil {
		return 0, 0, false, err
	}
	var st unix.Stat_t
	if err := p.stat(path, &st); err != nil {
		return 0, 0, false, err
	}
	return uint64(st.Dev), st.Ino, st.Mode&unix.S_IFMT == unix.S_IFIFO, nil
}

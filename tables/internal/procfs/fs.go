package procfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"sockql/tables/internal/recording"
)

const (
	// bufferSize holds the longest line of any list many times over. The kernel
	// hands out seq_file text by the page, so more would not save a call.
	bufferSize = 64 << 10

	// fileLimit bounds a file that is read whole. Arguments of a process, the
	// longest such file, may take 6 MiB (execve(2)).
	fileLimit = 16 << 20

	// initialPIDNamespace is the inode of the pid namespace of the host
	// (include/linux/proc_ns.h, PROC_PID_INIT_INO).
	initialPIDNamespace = 0xEFFFFFFC

	defaultClockTicks = 100 // USER_HZ of every architecture but old Alpha and IA-64
	auxClockTicks     = 17  // AT_CLKTCK, getauxval(3)
)

// An FS is a procfs, or a recorded tree, below one root.
type FS struct {
	root     string
	dir      int // descriptor of the root
	mounted  bool
	host     bool
	initial  bool
	ticks    uint64
	pageSize uint64
	onOpen   func(path string) error
	recorded *recording.Recording
	buffers  sync.Pool // of *[]byte, bufferSize long
}

// An Option changes how [Open] makes an [FS].
type Option func(*FS)

// OnOpen has f called before each file, directory or link below the root is
// opened, read or asked for its inode, with the path relative to the root. An
// error of f takes the place of the call; a [syscall.Errno] is treated as the
// kernel's answer. The links of single descriptors are not announced. f is
// called concurrently. It lets a test count, deny and race reads.
func OnOpen(f func(path string) error) Option {
	return func(p *FS) { p.onOpen = f }
}

// Open returns the procfs mounted at root, or the recorded tree there, be it one
// with all of a recording or a mere copy of files. It fails if root cannot be
// read or is neither, and if a recording is damaged.
func Open(root string, options ...Option) (*FS, error) {
	dir, err := ignoringEINTR(func() (int, error) {
		return unix.Open(root, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, fmt.Errorf("procfs: open %q: %w: name the mount point of a procfs that you may read, or a recorded tree", root, err)
	}
	p := &FS{root: root, dir: dir, ticks: clockTicks(), pageSize: uint64(os.Getpagesize())}
	p.buffers.New = func() any { b := make([]byte, bufferSize); return &b }
	for _, option := range options {
		option(p)
	}
	var statfs unix.Statfs_t
	if err := unix.Fstatfs(dir, &statfs); err == nil {
		p.mounted = int64(statfs.Type) == unix.PROC_SUPER_MAGIC
	}
	if !p.mounted {
		if err := p.openRecording(); err != nil {
			p.Close()
			return nil, fmt.Errorf("procfs: open %q: %w", root, err)
		}
		pids, err := p.PIDs(nil)
		if err != nil {
			p.Close()
			return nil, fmt.Errorf("procfs: open %q: %w", root, err)
		}
		if len(pids) == 0 {
			p.Close()
			return nil, fmt.Errorf("procfs: open %q: no procfs is mounted there and no directory is named by a process number: mount one (mount -t proc proc %s) or name a recorded tree", root, root)
		}
		return p, nil
	}
	p.host = p.ownNamespace()
	p.initial = p.host && p.namespaceOfSelf() == initialPIDNamespace
	return p, nil
}

// openRecording reads what a recording says of the host that it is of, if the
// root is one.
func (p *FS) openRecording() error {
	r, err := recording.Open(p.root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	p.recorded = r
	p.ticks, p.pageSize = r.Header().ClockTicks, r.Header().PageSize
	return nil
}

// Recording returns the recording that the root holds, or nil.
func (p *FS) Recording() *recording.Recording { return p.recorded }

// Close releases the root. Nothing may be read afterwards.
func (p *FS) Close() error { return unix.Close(p.dir) }

// Root returns the path that [Open] was given.
func (p *FS) Root() string { return p.root }

// IsMounted reports whether the root is a procfs, of whatever pid namespace,
// and not a recorded tree.
func (p *FS) IsMounted() bool { return p.mounted }

// IsHost reports whether the root is a procfs of the caller's own pid
// namespace. Only then is a number from it one that pidfd_open(2), kill(2) and
// the like understand.
func (p *FS) IsHost() bool { return p.host }

// IsInitial reports whether IsHost and the caller lives in the initial pid
// namespace, the one whose numbers BPF programs see.
func (p *FS) IsInitial() bool { return p.initial }

// kernelThreads is the name of the second process of the initial pid namespace,
// the parent of all threads of the kernel (kernel/kthread.c). No other pid
// namespace has such threads.
const kernelThreads = "kthreadd"

// ShowsHost reports whether the root shows the processes of the initial pid
// namespace, which are all that there are but for those that hidepid hides. A
// recording knows; a mere copy of files is taken for one that does.
func (p *FS) ShowsHost() bool {
	switch {
	case p.recorded != nil:
		return !p.recorded.Header().Nested
	case !p.mounted || p.initial:
		return true
	}
	s, err := p.Stat(2)
	return err == nil && s.Comm == kernelThreads && s.Parent == 0
}

// ClockTicks returns the number of USER_HZ ticks in a second.
func (p *FS) ClockTicks() uint64 { return p.ticks }

// PageSize returns the size of a page in bytes.
func (p *FS) PageSize() uint64 { return p.pageSize }

// ownNamespace compares our number in the procfs with ours. NSpid of
// proc_pid_status(5), Linux 4.1, lists the numbers of a process from the
// namespace of the procfs down to its own: a single one means that the two are
// the same. Before that, equal numbers must do.
func (p *FS) ownNamespace() bool {
	self := os.Getpid()
	link, err := p.readlink("self")
	if err != nil || link != strconv.Itoa(self) {
		return false
	}
	status, err := p.Status(int32(self))
	return err == nil && (len(status.NSPIDs) == 0 || len(status.NSPIDs) == 1 && status.NSPIDs[0] == int32(self))
}

func (p *FS) namespaceOfSelf() uint64 {
	link, err := p.readlink("self/ns/pid")
	if err != nil {
		return 0
	}
	inode, _ := linkInode([]byte(link), "pid:[")
	return inode
}

func clockTicks() uint64 {
	vector, err := unix.Auxv()
	if err != nil {
		return defaultClockTicks
	}
	for _, entry := range vector {
		if entry[0] == auxClockTicks && entry[1] != 0 {
			return uint64(entry[1])
		}
	}
	return defaultClockTicks
}

// announce calls the hook of [OnOpen], and denies what the recorder of a
// recorded host was denied.
func (p *FS) announce(path string) error {
	if p.recorded != nil && p.recorded.Denied(path) {
		return unix.EACCES
	}
	if p.onOpen == nil {
		return nil
	}
	return p.onOpen(path)
}

// processPath returns the path of a process's file. Numbers that no process
// can have are refused here, so that they touch no file.
func processPath(pid int32, name string) (string, error) {
	path := strconv.Itoa(int(pid))
	if name != "" {
		path += "/" + name
	}
	if pid <= 0 {
		return path, &Error{Op: "open", Path: "0", Err: unix.ESRCH}
	}
	return path, nil
}

// A File is an open file. It is not an [os.File], whose registration with the
// runtime's poller costs a system call that procfs never profits from, and which
// would wait for more where a file has no more to tell now.
type File struct{ fd int }

// NewFile returns the open file of a descriptor, which it closes.
func NewFile(fd int) File { return File{fd} }

func (p *FS) open(path string, flags int) (File, error) {
	err := p.announce(path)
	if err == nil {
		var fd int
		fd, err = ignoringEINTR(func() (int, error) {
			return unix.Openat(p.dir, path, unix.O_RDONLY|unix.O_CLOEXEC|flags, 0)
		})
		if err == nil {
			return File{fd}, nil
		}
	}
	return File{-1}, &Error{Op: "open", Path: path, Err: err}
}

// Read reads on; it is not safe for concurrent use.
func (f File) Read(b []byte) (int, error) {
	n, err := ignoringEINTR(func() (int, error) { return unix.Read(f.fd, b) })
	switch {
	case err != nil:
		return 0, err
	case n == 0 && len(b) > 0:
		return 0, io.EOF
	}
	return n, nil
}

// Close closes the descriptor.
func (f File) Close() error { return unix.Close(f.fd) }

func (p *FS) buffer() *[]byte     { return p.buffers.Get().(*[]byte) }
func (p *FS) release(buf *[]byte) { p.buffers.Put(buf) }

// read hands the content of a small file to parse, which must not keep it. It
// reads until the end: the size that stat(2) gives for a file of procfs is 0.
func (p *FS) read(path string, parse func([]byte) error) error {
	f, err := p.open(path, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	pooled := p.buffer()
	defer p.release(pooled)
	buf, n := *pooled, 0
	for {
		if n == len(buf) {
			if n >= fileLimit {
				return &Error{Op: "read", Path: path, Err: fmt.Errorf("longer than %d bytes", fileLimit)}
			}
			buf = append(buf, make([]byte, len(buf))...)
		}
		m, err := f.Read(buf[n:])
		n += m
		if err == io.EOF {
			break
		}
		if err != nil {
			return &Error{Op: "read", Path: path, Err: err}
		}
	}
	if err := parse(buf[:n]); err != nil {
		return &Error{Op: "parse", Path: path, Err: err}
	}
	return nil
}

// readProcess is read for a file of a process.
func (p *FS) readProcess(pid int32, name string, parse func([]byte) error) error {
	path, err := processPath(pid, name)
	if err != nil {
		return err
	}
	return p.read(path, parse)
}

func (p *FS) readlink(path string) (string, error) {
	err := p.announce(path)
	if err == nil {
		// A path of the kernel is at most PATH_MAX long, and " (deleted)".
		var buf [unix.PathMax + 32]byte
		var n int
		n, err = ignoringEINTR(func() (int, error) { return unix.Readlinkat(p.dir, path, buf[:]) })
		if err == nil {
			return string(buf[:n]), nil
		}
	}
	return "", &Error{Op: "readlink", Path: path, Err: err}
}

func (p *FS) readlinkProcess(pid int32, name string) (string, error) {
	path, err := processPath(pid, name)
	if err != nil {
		return "", err
	}
	return p.readlink(path)
}

// stat follows links.
func (p *FS) stat(path string, st *unix.Stat_t) error {
	err := p.announce(path)
	if err == nil {
		err = unix.Fstatat(p.dir, path, st, 0)
	}
	if err != nil {
		return &Error{Op: "stat", Path: path, Err: err}
	}
	return nil
}

// linkInode returns the number in a link such as "net:[4026531840]", whose
// part up to the bracket is prefix (proc_pid_ns(5), proc_pid_fd(5)).
func linkInode(link []byte, prefix string) (inode uint64, ok bool) {
	if len(link) < len(prefix)+2 || string(link[:len(prefix)]) != prefix || link[len(link)-1] != ']' {
		return 0, false
	}
	return decimal(link[len(prefix) : len(link)-1])
}

// decimal returns the number that b is the digits of.
func decimal(b []byte) (n uint64, ok bool) {
	if len(b) == 0 || len(b) > 20 {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		next := n*10 + uint64(c-'0')
		if n > (1<<64-1)/10 || next < n {
			return 0, false
		}
		n = next
	}
	return n, true
}

// text returns a copy of a file's content without the newline at its end.
func text(content []byte) string { return string(bytes.TrimSuffix(content, []byte{'\n'})) }

func ignoringEINTR(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// isGone reports whether a path did not lead to a file.
func isGone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH)
}

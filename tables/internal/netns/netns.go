package netns

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// threadNamespace leads to the namespace of the calling thread. It stands for
// the caller and not for a place in a host's tree, so that no other root than
// the running kernel's can take the place of /proc here.
const threadNamespace = "/proc/thread-self/ns/net"

// threadFiles are the files of that namespace.
const threadFiles = "/proc/thread-self/net/"

// A Handle is an open network namespace.
type Handle struct {
	fd    int
	inode uint64
}

// Open opens a file that refers to a network namespace: the link ns/net of a
// process, or a bind mount.
func Open(path string) (*Handle, error) {
	fd, err := ignoringEINTR(func() (int, error) { return unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0) })
	if err != nil {
		return nil, fmt.Errorf("netns: open %q: %w", path, err)
	}
	h, err := FromFD(fd)
	if err != nil {
		return nil, fmt.Errorf("netns: open %q: %w", path, err)
	}
	return h, nil
}

// FromFD makes a handle of an open descriptor and closes it if it refers to
// anything but a network namespace.
func FromFD(fd int) (*Handle, error) {
	// NS_GET_NSTYPE is Linux 4.11 (ioctl_ns(2)). An older kernel does not know
	// the request; then setns will tell.
	kind, err := ignoringEINTR(func() (int, error) { return unix.IoctlRetInt(fd, unix.NS_GET_NSTYPE) })
	if err == nil && kind != unix.CLONE_NEWNET {
		err = errors.New("not a network namespace")
	} else if errors.Is(err, unix.ENOTTY) {
		err = nsfsOnly(fd)
	}
	var st unix.Stat_t
	if err == nil {
		err = unix.Fstat(fd, &st)
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return &Handle{fd: fd, inode: st.Ino}, nil
}

func nsfsOnly(fd int) error {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil {
		return err
	}
	if int64(fs.Type) != unix.NSFS_MAGIC {
		return errors.New("not a namespace")
	}
	return nil
}

// Inode returns the namespace's inode in nsfs, the number in "net:[n]".
func (h *Handle) Inode() uint64 { return h.inode }

// Close releases the namespace.
func (h *Handle) Close() error { return unix.Close(h.fd) }

// Current returns the inode, in nsfs, of the calling thread's network
// namespace. A goroutine that is not locked to its thread learns that of the
// process: threads that are elsewhere run nobody else's goroutines.
func Current() (uint64, error) {
	var st unix.Stat_t
	if err := unix.Stat(threadNamespace, &st); err != nil {
		return 0, fmt.Errorf("netns: own namespace: stat %q: %w", threadNamespace, err)
	}
	return st.Ino, nil
}

// ReadFile returns the content of a file of the net directory (proc_pid_net(5))
// of the calling thread, such as "snmp". Inside of [Do] that is the one of the
// namespace.
func ReadFile(name string) ([]byte, error) {
	b, err := os.ReadFile(threadFiles + name)
	if err != nil {
		return nil, fmt.Errorf("netns: read: %w", err)
	}
	return b, nil
}

// Do runs fn inside the namespace and returns its error. In the caller's own
// namespace it calls fn directly. Otherwise fn runs on another goroutine that
// is locked to a thread; a panic of fn becomes one of the caller. Afterwards
// the thread is taken back and checked to be back; a thread that is not is
// never used again.
func Do(h *Handle, fn func() error) error {
	own, err := Current()
	if err != nil {
		return err
	}
	if own == h.inode {
		return fn()
	}
	v := visit{fn: fn, err: errors.New("the function ended its goroutine")}
	done := make(chan struct{})
	go func() {
		defer close(done)
		v.onThread(h, own)
	}()
	<-done
	if v.panicked != nil {
		panic(v.panicked)
	}
	if v.err != nil {
		return fmt.Errorf("netns: in namespace %d: %w", h.inode, v.err)
	}
	return nil
}

// A visit is one call of a function inside a namespace.
type visit struct {
	fn       func() error
	err      error
	panicked any
}

// onThread makes the visit on a locked thread. Returning while locked has the
// runtime throw the thread away.
func (v *visit) onThread(h *Handle, own uint64) {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		// Others take the main thread's namespace for the process's, and the
		// runtime cannot throw that thread away. Hold it and use another one.
		done := make(chan struct{})
		go func() {
			defer close(done)
			v.onThread(h, own)
		}()
		<-done
		runtime.UnlockOSThread()
		return
	}
	home, err := ignoringEINTR(func() (int, error) {
		return unix.Open(threadNamespace, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		v.err = fmt.Errorf("open %q: %w", threadNamespace, err)
		runtime.UnlockOSThread()
		return
	}
	defer unix.Close(home)
	if err := unix.Setns(h.fd, unix.CLONE_NEWNET); err != nil {
		v.err = fmt.Errorf("setns: %w", err)
		runtime.UnlockOSThread()
		return
	}
	// Deferred, since fn may also panic or end the goroutine.
	defer func() {
		v.panicked = recover()
		if unix.Setns(home, unix.CLONE_NEWNET) != nil {
			return
		}
		if back, err := Current(); err == nil && back == own {
			runtime.UnlockOSThread()
		}
	}()
	v.err = v.fn()
}

func ignoringEINTR(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != unix.EINTR {
			return n, err
		}
	}
}

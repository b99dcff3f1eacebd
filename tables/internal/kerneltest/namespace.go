package kerneltest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// A Namespace is a network namespace that lives as long as its test. Its
// loopback interface is up and every group may make ping sockets.
type Namespace struct {
	// FD is a descriptor of the namespace in nsfs, open until the test ends.
	FD int
	// Inode is the namespace's inode in nsfs, the number in "net:[n]".
	Inode uint64
}

// NewNamespace makes an empty network namespace. It skips the test when the
// kernel does not let it.
func NewNamespace(tb testing.TB) *Namespace {
	tb.Helper()
	RequireRoot(tb)
	ns := &Namespace{FD: -1}
	err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unshare: %w", err)
		}
		fd, err := openThreadNamespace()
		if err != nil {
			return err
		}
		ns.FD = fd
		if ns.Inode, err = inode(fd); err != nil {
			return err
		}
		if err := loopbackUp(); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(procRoot, "sys/net/ipv4/ping_group_range"), []byte("0 2147483647"), 0)
	})
	if ns.FD >= 0 {
		tb.Cleanup(func() { unix.Close(ns.FD) })
	}
	if err != nil {
		tb.Skipf("needs a network namespace: %v", err)
	}
	return ns
}

// Path returns a file by which other programs can open the namespace while
// the test runs.
func (ns *Namespace) Path() string {
	return filepath.Join(procRoot, strconv.Itoa(os.Getpid()), "fd", strconv.Itoa(ns.FD))
}

// Do runs fn on the calling goroutine with its thread inside the namespace.
// Processes started by fn run in the namespace too. fn may end the test.
func (ns *Namespace) Do(tb testing.TB, fn func()) {
	tb.Helper()
	err := onThread(func() error {
		if err := unix.Setns(ns.FD, unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("setns: %w", err)
		}
		fn()
		return nil
	})
	if err != nil {
		tb.Fatalf("namespace %d: %v", ns.Inode, err)
	}
}

// Output runs a program inside the namespace and returns its standard output.
// It skips the test if the program is not installed and fails it if the
// program fails.
func (ns *Namespace) Output(tb testing.TB, name string, arg ...string) string {
	tb.Helper()
	path := RequireProgram(tb, name)
	var out []byte
	var err error
	ns.Do(tb, func() { out, err = exec.Command(path, arg...).Output() })
	if err != nil {
		tb.Fatalf("%s %q: %v", name, arg, err)
	}
	return string(out)
}

// onThread locks the goroutine to its thread, runs fn, and takes the thread
// back to the namespace it was in, also when fn ends the goroutine. A thread
// that cannot go back stays locked, and so dies with the test's goroutine.
func onThread(fn func() error) (err error) {
	runtime.LockOSThread()
	home, err := openThreadNamespace()
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer func() {
		defer unix.Close(home)
		if back := unix.Setns(home, unix.CLONE_NEWNET); back != nil {
			err = fmt.Errorf("return to the first namespace: %w", back)
			return
		}
		runtime.UnlockOSThread()
	}()
	return fn()
}

func openThreadNamespace() (int, error) {
	path := filepath.Join(procRoot, "thread-self/ns/net")
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return fd, nil
}

func inode(fd int) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return 0, fmt.Errorf("fstat: %w", err)
	}
	return st.Ino, nil
}

// loopbackUp sets IFF_UP on lo, netdevice(7).
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr); err != nil {
		return fmt.Errorf("set lo up: %w", err)
	}
	return nil
}

// home is the network namespace that the process started in.
var home, homeErr = os.Readlink(filepath.Join(procRoot, "self/ns/net"))

// ForeignThreads returns the threads of this process that are in another
// network namespace than the one it started in, as "tid net:[n]". A test that
// enters namespaces ends by checking that there are none.
func ForeignThreads(tb testing.TB) []string {
	tb.Helper()
	if homeErr != nil {
		tb.Fatal(homeErr)
	}
	task := filepath.Join(procRoot, "self/task")
	entries, err := os.ReadDir(task)
	if err != nil {
		tb.Fatal(err)
	}
	var foreign []string
	for _, e := range entries {
		link, err := os.Readlink(filepath.Join(task, e.Name(), "ns/net"))
		if err == nil && link != home { // a thread that ended meanwhile has none
			foreign = append(foreign, e.Name()+" "+link)
		}
	}
	return foreign
}

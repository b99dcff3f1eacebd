package kerneltest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// helperEnv tells the test binary that it is a holder and how to behave.
const helperEnv = "SOCKQL_KERNELTEST_HOLDER"

// firstFD is the first descriptor after the standard ones, where a child finds
// what it was given.
const firstFD = 3

// A Holder is a child process that holds sockets, and does nothing else, until
// the test ends.
type Holder struct {
	PID int
	// TID is the thread whose descriptor table has the sockets: PID, unless
	// HoldOptions.OwnTable was asked for.
	TID int
	// FDs are the sockets' descriptors in the child, in the order given.
	FDs []int

	tb    testing.TB
	stdin int // closing it ends the child
}

// HoldOptions say how a holder lives.
type HoldOptions struct {
	// Namespace is the one that the process runs in; nil is the test's own.
	Namespace *Namespace
	// UID, when not 0, is the user and group that the process runs as.
	UID uint32
	// OwnTable has the sockets held only by a second thread, whose descriptor
	// table is not shared with the rest of the process.
	OwnTable bool
	// Mounts gives the process a mount namespace of its own in which these
	// existing files are bind mounts of network namespaces, as ip-netns(8)
	// makes them.
	Mounts map[string]*Namespace
	// Cloneflags are more CLONE_NEW* flags for the process.
	Cloneflags uintptr
}

// Hold starts a process in ns that holds the sockets, which stay open in the
// test process too: close them there with [Sock.Close].
func Hold(tb testing.TB, ns *Namespace, socks ...*Sock) *Holder {
	tb.Helper()
	return HoldWith(tb, HoldOptions{Namespace: ns}, socks...)
}

type helperConfig struct {
	Sockets  int
	OwnTable bool
	Mounts   []helperMount
}

type helperMount struct {
	Source int // descriptor of a namespace
	Target string
}

// HoldWith is [Hold] with options.
func HoldWith(tb testing.TB, opt HoldOptions, socks ...*Sock) *Holder {
	tb.Helper()
	var toChild, fromChild [2]int
	for _, p := range []*[2]int{&toChild, &fromChild} {
		if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
			tb.Fatalf("pipe: %v", err)
		}
	}
	h := &Holder{tb: tb, stdin: toChild[1]}
	ready := os.NewFile(uintptr(fromChild[0]), "holder")
	defer ready.Close()

	cfg := helperConfig{Sockets: len(socks), OwnTable: opt.OwnTable}
	files := []uintptr{uintptr(toChild[0]), uintptr(fromChild[1]), uintptr(unix.Stderr)}
	for i, s := range socks {
		files = append(files, uintptr(s.FD))
		h.FDs = append(h.FDs, firstFD+i)
	}
	for target, ns := range opt.Mounts {
		cfg.Mounts = append(cfg.Mounts, helperMount{Source: len(files), Target: target})
		files = append(files, uintptr(ns.FD))
	}
	env, err := json.Marshal(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	attr := &syscall.ProcAttr{
		Env:   []string{helperEnv + "=" + string(env), "GOMAXPROCS=1"},
		Files: files,
		Sys:   &syscall.SysProcAttr{Cloneflags: opt.Cloneflags},
	}
	if len(opt.Mounts) > 0 {
		attr.Sys.Cloneflags |= syscall.CLONE_NEWNS
	}
	if opt.UID != 0 {
		attr.Sys.Credential = &syscall.Credential{Uid: opt.UID, Gid: opt.UID}
	}
	start := func() {
		// The path through /proc works for a user who may not search the
		// directory that the test binary lies in.
		h.PID, err = syscall.ForkExec(filepath.Join(procRoot, "self/exe"), []string{os.Args[0]}, attr)
	}
	if opt.Namespace != nil {
		opt.Namespace.Do(tb, start)
	} else {
		start()
	}
	unix.Close(toChild[0])
	unix.Close(fromChild[1])
	if err != nil {
		unix.Close(h.stdin)
		tb.Fatalf("start holder: %v", err)
	}
	tb.Cleanup(h.End)
	line, err := bufio.NewReader(ready).ReadString('\n')
	if err != nil {
		tb.Fatalf("the holder did not start; does TestMain call kerneltest.Main? %v", err)
	}
	if _, err := fmt.Sscanf(line, "ready %d", &h.TID); err != nil {
		tb.Fatalf("holder: %s", strings.TrimSpace(line))
	}
	// In a pid namespace of its own the child knows itself by another number.
	if !opt.OwnTable {
		h.TID = h.PID
	}
	return h
}

// InMounts runs a program in the process's mount namespace and returns what it
// printed.
func (h *Holder) InMounts(tb testing.TB, cmd *exec.Cmd) (out []byte, err error) {
	tb.Helper()
	mounts, err := os.Open(filepath.Join(procRoot, fmt.Sprint(h.PID), "ns/mnt"))
	if err != nil {
		tb.Fatal(err)
	}
	defer mounts.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		// For good: a thread that has left the others' root directory behind
		// ends with its goroutine.
		runtime.LockOSThread()
		if err = unix.Unshare(unix.CLONE_FS); err != nil {
			return
		}
		if err = unix.Setns(int(mounts.Fd()), unix.CLONE_NEWNS); err != nil {
			return
		}
		out, err = cmd.CombinedOutput()
	}()
	<-done
	return out, err
}

// End ends the process and waits until it is gone. The end of the test does it
// too.
func (h *Holder) End() {
	if h.stdin < 0 {
		return
	}
	unix.Close(h.stdin)
	h.stdin = -1
	var status unix.WaitStatus
	for {
		_, err := unix.Wait4(h.PID, &status, 0, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			h.tb.Errorf("wait for holder %d: %v", h.PID, err)
		} else if status != 0 {
			h.tb.Errorf("holder %d: wait status %#x", h.PID, status)
		}
		return
	}
}

// Main runs a package's tests, or acts as the holder process that one of them
// started. It does not return.
func Main(m *testing.M) {
	env, child := os.LookupEnv(helperEnv)
	if !child {
		os.Exit(m.Run())
	}
	if err := hold(env); err != nil {
		fmt.Println(err) // to the pipe that HoldWith reads
		os.Exit(1)
	}
	os.Exit(0)
}

func hold(env string) error {
	var cfg helperConfig
	if err := json.Unmarshal([]byte(env), &cfg); err != nil {
		return err
	}
	if len(cfg.Mounts) > 0 {
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			return fmt.Errorf("make mounts private: %w", err)
		}
	}
	for _, m := range cfg.Mounts {
		source := filepath.Join(procRoot, "self/fd", fmt.Sprint(m.Source))
		if err := unix.Mount(source, m.Target, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("bind %q: %w", m.Target, err)
		}
		unix.Close(m.Source)
	}
	tid := unix.Gettid()
	if cfg.OwnTable {
		var err error
		if tid, err = holdInThread(cfg.Sockets); err != nil {
			return err
		}
	}
	fmt.Println("ready", tid)
	// Not through os.Stdin: the runtime's poller must have no part in a
	// process whose threads have different descriptor tables.
	var b [1]byte
	for {
		if _, err := unix.Read(0, b[:]); err != unix.EINTR {
			return nil
		}
	}
}

// holdInThread leaves the sockets open in one thread's own table only.
func holdInThread(sockets int) (tid int, err error) {
	done := make(chan error)
	var thread func()
	thread = func() {
		runtime.LockOSThread()
		if tid = unix.Gettid(); tid == unix.Getpid() {
			// The main thread's table is the process's: keep that thread and
			// take another one.
			go thread()
			select {}
		}
		done <- unix.Unshare(unix.CLONE_FILES)
		select {}
	}
	go thread()
	if err := <-done; err != nil {
		return 0, fmt.Errorf("unshare descriptor table: %w", err)
	}
	for fd := firstFD; fd < firstFD+sockets; fd++ {
		unix.Close(fd)
	}
	return tid, nil
}

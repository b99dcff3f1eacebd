package netns

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"sockql/tables/internal/kerneltest"
)

func TestMain(m *testing.M) { kerneltest.Main(m) }

// enterable returns a handle of a new namespace and checks, when the test
// ends, that no thread was left behind in any.
func enterable(t *testing.T) *Handle {
	t.Helper()
	ns := kerneltest.NewNamespace(t)
	h, err := Open(ns.Path())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		h.Close()
		if foreign := kerneltest.ForeignThreads(t); foreign != nil {
			t.Errorf("threads left in foreign namespaces: %q", foreign)
		}
	})
	if h.Inode() != ns.Inode {
		t.Fatalf("handle has inode %d, want %d", h.Inode(), ns.Inode)
	}
	return h
}

func TestDoRunsInside(t *testing.T) {
	h := enterable(t)
	before, err := Current()
	if err != nil {
		t.Fatal(err)
	}
	var inside uint64
	var tid int
	err = Do(h, func() (err error) {
		tid = unix.Gettid()
		inside, err = Current()
		return err
	})
	if err != nil || inside != h.Inode() {
		t.Errorf("inside is %d, %v, want %d", inside, err, h.Inode())
	}
	if tid == os.Getpid() {
		t.Error("the main thread was used")
	}
	if after, err := Current(); err != nil || after != before {
		t.Errorf("afterwards in %d, %v, want %d", after, err, before)
	}
}

// TestMainThreadIsSpared makes a visit from the main thread, which it finds by
// holding threads until that one comes.
func TestMainThreadIsSpared(t *testing.T) {
	h := enterable(t)
	own, err := Current()
	if err != nil {
		t.Fatal(err)
	}
	release := make(chan struct{})
	var held sync.WaitGroup
	defer held.Wait()
	defer close(release)
	for range 100 {
		isMain := make(chan bool)
		held.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			if unix.Gettid() != os.Getpid() {
				isMain <- false
				<-release
				return
			}
			v := visit{fn: func() error {
				if unix.Gettid() == os.Getpid() {
					return errors.New("the main thread was used")
				}
				now, err := Current()
				if err == nil && now != h.Inode() {
					err = fmt.Errorf("in %d, want %d", now, h.Inode())
				}
				return err
			}}
			v.onThread(h, own)
			if v.err != nil {
				t.Error(v.err)
			}
			isMain <- true
		})
		if <-isMain {
			return
		}
	}
	t.Skip("the main thread is busy")
}

func TestDoReturnsErrors(t *testing.T) {
	h := enterable(t)
	want := errors.New("an error")
	if err := Do(h, func() error { return want }); !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
}

func TestDoInOwnNamespaceNeedsNoThread(t *testing.T) {
	own, err := Open(threadNamespace)
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	tid := unix.Gettid()
	err = Do(own, func() error {
		if unix.Gettid() != tid {
			t.Error("ran on another thread")
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestDoPassesPanicsOn(t *testing.T) {
	h := enterable(t)
	defer func() {
		if got := recover(); got != "boom" {
			t.Errorf("recovered %v", got)
		}
	}()
	Do(h, func() error { panic("boom") })
	t.Error("no panic")
}

func TestDoSurvivesGoexit(t *testing.T) {
	h := enterable(t)
	err := Do(h, func() error { runtime.Goexit(); return nil })
	if err == nil {
		t.Error("no error")
	}
}

// TestDoThrowsAwayThreadThatCannotReturn drops the capability for setns of the
// thread that it runs on, so that the way back is barred.
func TestDoThrowsAwayThreadThatCannotReturn(t *testing.T) {
	h := enterable(t)
	var tid int
	err := Do(h, func() error {
		tid = unix.Gettid()
		return dropCapabilities()
	})
	if err != nil {
		t.Fatal(err)
	}
	// The runtime ends the thread once its goroutine has ended.
	task := filepath.Join("/proc/self/task", strconv.Itoa(tid))
	for range 10_000 {
		if _, err := os.Stat(task); os.IsNotExist(err) {
			return
		}
		runtime.Gosched()
		unix.Nanosleep(&unix.Timespec{Nsec: 1e6}, nil)
	}
	t.Errorf("thread %d, which is in a foreign namespace, is still there", tid)
}

// dropCapabilities takes all capabilities from the calling thread.
func dropCapabilities() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	return unix.Capset(&header, &none[0])
}

func TestDoDenied(t *testing.T) {
	h := enterable(t)
	done := make(chan error)
	var visitWithout func()
	visitWithout = func() {
		runtime.LockOSThread() // never undone: the thread dies with its goroutine
		if unix.Gettid() == unix.Getpid() {
			go visitWithout()
			<-t.Context().Done()
			runtime.UnlockOSThread()
			return
		}
		if err := dropCapabilities(); err != nil {
			done <- err
			return
		}
		// Capabilities are a thread's, and Do would choose another one.
		v := visit{fn: func() error { t.Error("entered without CAP_SYS_ADMIN"); return nil }}
		v.onThread(h, 0)
		done <- v.err
	}
	go visitWithout()
	if err := <-done; !errors.Is(err, unix.EPERM) {
		t.Errorf("got %v, want EPERM", err)
	}
}

func TestDoConcurrently(t *testing.T) {
	handles := []*Handle{enterable(t), enterable(t), enterable(t)}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 50 {
				h := handles[i%len(handles)]
				err := Do(h, func() error {
					runtime.Gosched()
					if now, err := Current(); err != nil || now != h.Inode() {
						return fmt.Errorf("in %d, %v, want %d", now, err, h.Inode())
					}
					return nil
				})
				if err != nil {
					t.Error(err)
				}
				if now, err := Current(); err != nil || now == h.Inode() {
					t.Errorf("outside in %d, %v", now, err)
				}
			}
		})
	}
	wg.Wait()
}

func TestOpenRefusesOthers(t *testing.T) {
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/proc/self/ns/mnt", plain, plain + "-missing"} {
		if h, err := Open(path); err == nil {
			h.Close()
			t.Errorf("%q was taken for a network namespace", path)
		} else if !strings.Contains(err.Error(), strconv.Quote(path)) {
			t.Errorf("error does not name the file: %v", err)
		}
	}
	if _, err := Open(plain + "-missing"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want ErrNotExist", err)
	}
}

func TestFindOtherMountNamespace(t *testing.T) {
	blue, green := kerneltest.NewNamespace(t), kerneltest.NewNamespace(t)
	dir := t.TempDir()
	paths := map[string]*kerneltest.Namespace{
		filepath.Join(dir, "blue"):             blue,
		filepath.Join(dir, "odd\n name\\"):     green,
		filepath.Join(dir, "blue-second-name"): blue,
	}
	for path := range paths {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	holder := kerneltest.HoldWith(t, kerneltest.HoldOptions{Mounts: paths})
	const gone = 1<<30 - 1
	mounts := Find("/proc", []int32{gone, int32(holder.PID), int32(holder.PID)}, func(err error) { t.Errorf("warning: %v", err) })
	found := map[string]uint64{}
	for _, m := range mounts {
		if !strings.HasPrefix(m.Path, dir) {
			continue // the host's own
		}
		if found[m.Path] != 0 {
			t.Errorf("%q comes twice", m.Path)
		}
		found[m.Path] = m.Inode
		h, err := m.Open("/proc")
		if err != nil {
			t.Fatal(err)
		}
		if h.Inode() != m.Inode {
			t.Errorf("%q opens namespace %d, want %d", m.Path, h.Inode(), m.Inode)
		}
		h.Close()
		if m.Name() != filepath.Base(m.Path) {
			t.Errorf("name %q of %q", m.Name(), m.Path)
		}
	}
	for path, ns := range paths {
		if found[path] != ns.Inode {
			t.Errorf("%q is namespace %d, want %d", path, found[path], ns.Inode)
		}
	}
	holder.End()
	for _, m := range mounts {
		if m.PID == int32(holder.PID) {
			if h, err := m.Open("/proc"); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("a mount of a process that has ended: %v, %v, want ErrNotExist", h, err)
			}
		}
	}
}

func TestMountOpenRefusesAnotherNamespace(t *testing.T) {
	ns := kerneltest.NewNamespace(t)
	m := Mount{Inode: ns.Inode + 1, Path: ns.Path(), PID: int32(os.Getpid())}
	if h, err := m.Open("/proc"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, %v, want ErrNotExist", h, err)
	}
}

// TestFindReadsEachTableOnce gives processes of one mount namespace different
// tables, of which only the first can have been read.
func TestFindReadsEachTableOnce(t *testing.T) {
	for _, readable := range []bool{true, false} {
		root := t.TempDir()
		for pid, inode := range map[int]int{1: 11, 2: 22} {
			dir := filepath.Join(root, strconv.Itoa(pid))
			if err := os.MkdirAll(filepath.Join(dir, "ns"), 0o700); err != nil {
				t.Fatal(err)
			}
			if readable {
				if err := os.Symlink("mnt:[7]", filepath.Join(dir, "ns/mnt")); err != nil {
					t.Fatal(err)
				}
			}
			table := fmt.Sprintf("20 1 8:1 / / rw - ext4 /dev/sda rw\n21 20 0:4 net:[%d] /run/netns/x rw - nsfs nsfs rw\n", inode)
			if err := os.WriteFile(filepath.Join(dir, "mountinfo"), []byte(table), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		got := Find(root, []int32{1, 2}, func(err error) { t.Error(err) })
		if len(got) != 1 || got[0] != (Mount{Inode: 11, Path: "/run/netns/x", PID: 1}) {
			t.Errorf("namespace link readable %v: got %v", readable, got)
		}
	}
}

func TestFindWarnsOnce(t *testing.T) {
	root := t.TempDir()
	for _, pid := range []string{"1", "2"} {
		// A directory in place of the file fails to be read, even for root.
		if err := os.MkdirAll(filepath.Join(root, pid, "mountinfo"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	var warnings []error
	Find(root, []int32{1, 2}, func(err error) { warnings = append(warnings, err) })
	if len(warnings) != 1 || !strings.Contains(warnings[0].Error(), "2 mount tables") {
		t.Errorf("warnings %v, want one that counts two", warnings)
	}
}

func TestParseMounts(t *testing.T) {
	const table = `24 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
538 24 0:4 net:[4026532234] /run/netns/blue rw shared:227 - nsfs nsfs rw
539 24 0:4 mnt:[4026532235] /run/snapd/ns/lxd.mnt rw - nsfs nsfs rw
540 24 0:4 net:[40265x] /run/netns/garbled rw - nsfs nsfs rw
541 24 0:4 net:[12
542 - nsfs 
543 24 0:4 net:[99999999999999999999999] /run/netns/huge rw - nsfs nsfs rw
544 24 0:4 net:[77] /run/docker/netns/a\040b\134 rw - nsfs nsfs rw
545 24 8:1 /x /mnt/net:[5]\040-\040nsfs rw - ext4 /dev/sda1 rw`
	got := parseMounts([]byte(table), 3, nil)
	want := []Mount{
		{4026532234, "/run/netns/blue", 3},
		{77, `/run/docker/netns/a b\`, 3},
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func FuzzParseMounts(f *testing.F) {
	f.Add([]byte("538 24 0:4 net:[4026532234] /run/netns/bl\\040ue rw shared:227 - nsfs nsfs rw\n"))
	f.Add([]byte("538 24 0:4 net:[1] /a\\1 rw - nsfs nsfs rw"))
	f.Fuzz(func(t *testing.T, table []byte) {
		for _, m := range parseMounts(table, 1, nil) {
			if m.Path == "" {
				t.Errorf("a mount without a path in %q", table)
			}
		}
	})
}

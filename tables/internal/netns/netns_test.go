package netns

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"sockql/tables/internal/kerneltest"
	"sockql/tables/internal/procfs"
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

// TestIdentity compares what a namespace shows of itself with what a process
// that lives in it shows.
func TestIdentity(t *testing.T) {
	ns := kerneltest.NewNamespace(t)
	holder := kerneltest.Hold(t, ns)
	proc, err := procfs.Open("/proc")
	if err != nil {
		t.Fatal(err)
	}
	defer proc.Close()
	h, err := Open(ns.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	got, err := h.Identity()
	if err != nil {
		t.Fatal(err)
	}
	if want, err := proc.NetIdentity(int32(holder.PID)); got != want || err != nil {
		t.Errorf("namespace %d has the identity %d, its process %d, %v", ns.Inode, got, want, err)
	}
	if own, err := proc.NetIdentity(int32(os.Getpid())); got == own || err != nil {
		t.Errorf("namespace %d has the identity of the test's own, %d, %v", ns.Inode, own, err)
	}
	if threads := kerneltest.ForeignThreads(t); threads != nil {
		t.Errorf("threads were left in other namespaces: %v", threads)
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
		if slices.Contains(m.PIDs, int32(holder.PID)) {
			if h, err := m.Open("/proc"); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("a mount of a process that has ended: %v, %v, want ErrNotExist", h, err)
			}
		}
	}
}

func TestMountOpenRefusesAnotherNamespace(t *testing.T) {
	ns := kerneltest.NewNamespace(t)
	m := Mount{Inode: ns.Inode + 1, Path: ns.Path(), PIDs: []int32{int32(os.Getpid())}}
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
		if len(got) != 1 || got[0].Inode != 11 || !slices.Equal(got[0].PIDs, []int32{1}) {
			t.Errorf("namespace link readable %v: got %v", readable, got)
		}
	}
}

// writeProcess makes a process in a tree in the shape of a procfs: links by
// name, and a mount table.
func writeProcess(t *testing.T, root, pid string, links map[string]string, table string) {
	t.Helper()
	dir := filepath.Join(root, pid)
	if err := os.MkdirAll(filepath.Join(dir, "ns"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, target := range links {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "mountinfo"), []byte(table), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestOpenByAnotherProcess has a mount seen by a process whose links may not
// be read, by one that has another thing there by now, and by one that leads
// to it.
func TestOpenByAnotherProcess(t *testing.T) {
	ns := kerneltest.NewNamespace(t)
	root := t.TempDir()
	table := fmt.Sprintf("21 20 0:4 net:[%d] /x rw - nsfs nsfs rw\n", ns.Inode)
	writeProcess(t, root, "1", nil, table)
	writeProcess(t, root, "2", map[string]string{"ns/mnt": "mnt:[7]", "root": "/proc/self/ns"}, table)
	writeProcess(t, root, "3", map[string]string{"ns/mnt": "mnt:[8]", "root": filepath.Join(root, "view")}, table)
	if err := os.Mkdir(filepath.Join(root, "view"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(ns.Path(), filepath.Join(root, "view/x")); err != nil {
		t.Fatal(err)
	}
	got := Find(root, []int32{1, 2, 3}, func(err error) { t.Error(err) })
	if len(got) != 1 || !slices.Equal(got[0].PIDs, []int32{1, 2, 3}) {
		t.Fatalf("got %v, want one mount that three processes have", got)
	}
	h, err := got[0].Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if h.Inode() != ns.Inode {
		t.Errorf("opened namespace %d, want %d", h.Inode(), ns.Inode)
	}
}

// TestFindOutsideOfRoot has the first processes of a mount namespace see only
// what is below their root directory.
func TestFindOutsideOfRoot(t *testing.T) {
	root := t.TempDir()
	jailed := map[string]string{"ns/mnt": "mnt:[7]", "root": "/jail"}
	free := map[string]string{"ns/mnt": "mnt:[7]", "root": "/"}
	const unread = "20 1 0:4 net:[33] /unread rw - nsfs nsfs rw\n"
	writeProcess(t, root, "1", jailed, "20 1 0:4 net:[22] /run/netns/y rw - nsfs nsfs rw\n")
	writeProcess(t, root, "2", jailed, unread)
	writeProcess(t, root, "3", free, "21 19 0:4 net:[11] /run/netns/x rw - nsfs nsfs rw\n")
	writeProcess(t, root, "4", free, unread)
	writeProcess(t, root, "5", jailed, unread)
	got := Find(root, []int32{1, 2, 3, 4, 5}, func(err error) { t.Error(err) })
	if want := "[{11 /run/netns/x [3]} {22 /run/netns/y [1]}]"; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
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
		{4026532234, "/run/netns/blue", []int32{3}},
		{77, `/run/docker/netns/a b\`, []int32{3}},
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

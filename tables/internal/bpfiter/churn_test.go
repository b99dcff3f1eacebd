package bpfiter

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"slices"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"sockql/tables/internal/kerneltest"
	"sockql/tables/internal/socket"
)

// TestConcurrentScans has several ask different questions at the same time.
func TestConcurrentScans(t *testing.T) {
	s, ns := open(t), kerneltest.NewNamespace(t)
	kinds := map[socket.Kind]int{socket.TCP4: 7, socket.UDP4: 11, socket.UDP6: 5, socket.Unix: 8}
	for range kinds[socket.TCP4] {
		ns.Listen(t, "127.0.0.1:0")
	}
	for range kinds[socket.UDP4] {
		ns.UDP(t, "127.0.0.1:0")
	}
	for range kinds[socket.UDP6] {
		ns.UDP(t, "[::1]:0")
	}
	for range kinds[socket.Unix] / 2 {
		ns.UnixPair(t, unix.SOCK_STREAM)
	}
	var wg sync.WaitGroup
	for kind, want := range kinds {
		for range 2 {
			wg.Go(func() {
				req := inside(ns)
				req.Kinds = kind
				for range 20 {
					n := 0
					err := s.Scan(t.Context(), &req, func(f *socket.Socket, _ ID) bool {
						if f.Kind != kind || f.Netns != ns.Inode {
							t.Errorf("asked for %s, got %+v", kindName(kind), *f)
						}
						n++
						return true
					})
					if err != nil || n != want {
						t.Errorf("%d sockets of %s, %v, want %d", n, kindName(kind), err, want)
					}
					if err := s.Ownerless(t.Context(), &req, func(f *socket.Socket, _ ID) bool {
						t.Errorf("ownerless: %+v", *f)
						return true
					}); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	wg.Wait()
	if n := len(s.files.idle); n > maxIdle {
		t.Errorf("%d programs are idle", n)
	}
}

// TestNestedScans asks while it is being told.
func TestNestedScans(t *testing.T) {
	s, ns := open(t), kerneltest.NewNamespace(t)
	ns.UDP(t, "127.0.0.1:0")
	ns.Listen(t, "127.0.0.1:0")
	outer, inner := inside(ns), inside(ns)
	inner.Kinds = socket.UDP4
	n := 0
	err := s.Scan(t.Context(), &outer, func(*socket.Socket, ID) bool {
		n++
		if all := s.collect(t, inner); len(all) != 1 {
			t.Errorf("inside: %v", all)
		}
		return true
	})
	if err != nil || n != 2 {
		t.Errorf("%d sockets, %v", n, err)
	}
}

// TestChurn has processes and sockets come and go during scans. Every row must
// be one that existed: the sockets have ports and names of their own, and
// remote ports are the listener's.
func TestChurn(t *testing.T) {
	s, ns := open(t), kerneltest.NewNamespace(t)
	stays := ns.UDP(t, "127.0.0.1:0")
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	listener := ns.Listen(t, "127.0.0.2:5000").Listen(4096)
	wg.Go(func() { accept(ctx, t, listener.FD) })
	for i := range 2 {
		wg.Go(func() {
			ns.Do(t, func() { churn(ctx, t, i) })
		})
	}
	wg.Go(func() {
		for ctx.Err() == nil {
			if err := exec.CommandContext(ctx, "/proc/self/exe", "-test.run=^$").Run(); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
		}
	})
	seen := map[string]int{}
	for range 40 {
		req := inside(ns)
		there := false
		for _, f := range s.collect(t, req) {
			there = there || f.Inode == stays.Inode()
			seen[kindName(f.Kind)]++
			if err := plausible(f, ns); err != nil {
				t.Errorf("%v: %v", err, f)
			}
		}
		if !there {
			t.Error("the socket that stays is missing")
		}
		for _, f := range s.collectOwnerless(t, req) {
			seen["ownerless"]++
			if err := plausible(f, ns); err != nil {
				t.Errorf("ownerless: %v: %v", err, f)
			}
		}
		all := socket.Everything()
		s.collect(t, all)
	}
	stop()
	unix.Shutdown(listener.FD, unix.SHUT_RDWR)
	wg.Wait()
	for _, kind := range []string{"tcp", "udp", "unix", "ownerless"} {
		if seen[kind] == 0 {
			t.Errorf("no socket came and went: %v", seen)
		}
	}
}

func accept(ctx context.Context, t *testing.T, listener int) {
	var held []int
	for ctx.Err() == nil {
		fd, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
		if err != nil {
			break
		}
		if held = append(held, fd); len(held) > 20 {
			unix.Close(held[0])
			held = held[1:]
		}
	}
	for _, fd := range held {
		unix.Close(fd)
	}
}

// churn makes sockets and closes them, at 127.0.0.3 and at ports and names that
// plausible knows.
func churn(ctx context.Context, t *testing.T, seed int) {
	r := rand.New(rand.NewPCG(uint64(seed), 1))
	var held []int
	for i := 0; ctx.Err() == nil; i++ {
		var fd int
		var err error
		switch i % 3 {
		case 0:
			if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err == nil {
				unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 3}})
				err = unix.Connect(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 2}, Port: 5000})
			}
		case 1:
			if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err == nil {
				err = unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 3}})
			}
		case 2:
			if fd, err = unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err == nil {
				err = unix.Bind(fd, &unix.SockaddrUnix{Name: fmt.Sprintf("@churn %d %d", seed, i)})
			}
		}
		if err != nil && ctx.Err() == nil && !errors.Is(err, unix.EADDRNOTAVAIL) { // of so many in TIME_WAIT
			t.Error(err)
			break
		}
		if held = append(held, fd); len(held) > 20 {
			j := r.IntN(len(held))
			unix.Close(held[j])
			held = slices.Delete(held, j, j+1)
		}
	}
	for _, fd := range held {
		unix.Close(fd)
	}
}

// plausible reports what cannot be of a row of TestChurn.
func plausible(f found, ns *kerneltest.Namespace) error {
	local, remote := f.Local.String(), f.Remote.String()
	server, client := "127.0.0.2", "127.0.0.3"
	switch {
	case f.Netns != ns.Inode:
		return errors.New("another namespace")
	case f.id == 0:
		return errors.New("no id")
	case f.Kind == socket.TCP4 && f.State == socket.StateListen:
		if local != server || f.LocalPort != 5000 || f.RemotePort != 0 {
			return errors.New("another listener")
		}
	case f.Kind == socket.TCP4 && f.State == socket.StateClose: // not yet or no longer connected
	case f.Kind == socket.TCP4:
		toServer := local == client && remote == server && f.RemotePort == 5000 && f.LocalPort != 0
		toClient := local == server && remote == client && f.LocalPort == 5000 && f.RemotePort != 0
		if !toServer && !toClient {
			return errors.New("another connection")
		}
		if f.State == 0 || f.State > socket.StateClosing {
			return errors.New("no such state")
		}
	case f.Kind == socket.UDP4:
		if f.RemotePort != 0 || f.State != socket.StateClose {
			return errors.New("a connected socket")
		}
	case f.Kind == socket.Unix:
		var a, b int
		if f.Path == "" {
			return nil // not yet bound
		}
		if n, err := fmt.Sscanf(f.Path, "\x00churn %d %d", &a, &b); n != 2 || !f.PathAbstract {
			return fmt.Errorf("another name: %w", err)
		}
	default:
		return errors.New("another kind")
	}
	return nil
}

package bpfiter

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"sockql/tables/internal/kerneltest"
	"sockql/tables/internal/socket"
)

func TestMain(m *testing.M) {
	if check := os.Getenv(childEnv); check != "" {
		os.Exit(child(check))
	}
	kerneltest.Main(m)
}

var host = Config{Proc: "/proc", Sys: "/sys"}

// open returns a source. It skips the test where there is reason for the kernel
// not to let us have one; that it does where there is none, TestOpen checks.
func open(tb testing.TB) *Source {
	tb.Helper()
	s, err := Open(host, nil)
	if err != nil {
		tb.Skip(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

// A found is a socket as a scan showed it.
type found struct {
	socket.Socket
	id ID
}

func (f found) String() string { return fmt.Sprintf("%+v", f.Socket) }

// scan returns what a scan for a request shows.
func (s *Source) collect(tb testing.TB, req socket.Request) []found {
	tb.Helper()
	return collect(tb, func(yield func(*socket.Socket, ID) bool) error { return s.Scan(tb.Context(), &req, yield) })
}

func (s *Source) collectOwnerless(tb testing.TB, req socket.Request) []found {
	tb.Helper()
	return collect(tb, func(yield func(*socket.Socket, ID) bool) error { return s.Ownerless(tb.Context(), &req, yield) })
}

func collect(tb testing.TB, scan func(func(*socket.Socket, ID) bool) error) (all []found) {
	tb.Helper()
	err := scan(func(s *socket.Socket, id ID) bool {
		// Whoever asks sock_diag about our namespaces has a socket there.
		if s.Kind != socket.Netlink || s.Protocol != unix.NETLINK_SOCK_DIAG || s.PID == int32(os.Getpid()) {
			all = append(all, found{*s, id})
		}
		return true
	})
	if err != nil {
		tb.Fatal(err)
	}
	return all
}

// inside asks for everything in a namespace.
func inside(ns *kerneltest.Namespace) socket.Request {
	req := socket.Everything()
	req.Namespaces = []uint64{ns.Inode}
	return req
}

// of returns the rows of a socket, by its cookie.
func of(all []found, s *kerneltest.Sock) (rows []found) {
	return withCookie(all, s.Cookie())
}

func withCookie(all []found, cookie uint64) (rows []found) {
	for _, f := range all {
		if f.Cookie == cookie {
			rows = append(rows, f)
		}
	}
	return rows
}

// one returns the only row of a socket.
func one(tb testing.TB, all []found, s *kerneltest.Sock) found {
	tb.Helper()
	rows := of(all, s)
	if len(rows) != 1 {
		tb.Fatalf("socket %d is there %d times: %v", s.Inode(), len(rows), rows)
	}
	if f := rows[0]; f.Inode != s.Inode() || f.PID != int32(os.Getpid()) || f.FD != int32(s.FD) || f.id == 0 {
		tb.Errorf("inode %d pid %d fd %d id %d, want %d, %d, %d", f.Inode, f.PID, f.FD, f.id, s.Inode(), os.Getpid(), s.FD)
	}
	return rows[0]
}

package kerneltest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// UnixNames returns names for UNIX sockets, each odd in its own way: files in
// a directory of the test's with a plain name, spaces, a newline, bytes that
// are no UTF-8 and a leading @; abstract names, which begin with NUL, with a
// plain name, with NULs inside and at the end, and with a newline.
func UnixNames(tb testing.TB) []string {
	tb.Helper()
	// Not TB.TempDir: its path may not fit in the 108 bytes of sun_path.
	dir, err := os.MkdirTemp("", "sock")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	names := []string{
		filepath.Join(dir, "plain"),
		filepath.Join(dir, "with two spaces "),
		filepath.Join(dir, "new\nline"),
		filepath.Join(dir, "\xff\xfe"),
		filepath.Join(dir, "@x"),
	}
	// Abstract names are the namespace's, so the directory's name, which is
	// unique, has no part in keeping them apart.
	return append(names, "\x00abstract", "\x00nul\x00inside\x00", "\x00new\nline")
}

// Unix makes a UNIX socket of a type, bound to name unless it is empty. The
// first byte of an abstract name is NUL.
func (ns *Namespace) Unix(tb testing.TB, typ int, name string) *Sock {
	tb.Helper()
	s := ns.Socket(tb, unix.AF_UNIX, typ, 0)
	if name != "" {
		s.must("bind", unix.Bind(s.FD, &unix.SockaddrUnix{Name: name}))
	}
	return s
}

// UnixConnection connects a new socket to a UNIX listener and accepts the
// connection.
func (ns *Namespace) UnixConnection(tb testing.TB, listener *Sock) (client, server *Sock) {
	tb.Helper()
	client = ns.UnixDial(tb, listener)
	return client, listener.Accept()
}

// UnixDial connects a new socket to a bound UNIX socket of the same type. A
// connection to a listener is left in its queue.
func (ns *Namespace) UnixDial(tb testing.TB, to *Sock) *Sock {
	tb.Helper()
	typ, err := unix.GetsockoptInt(to.FD, unix.SOL_SOCKET, unix.SO_TYPE)
	to.must("SO_TYPE", err)
	s := ns.Unix(tb, typ, "")
	s.must("connect", unix.Connect(s.FD, &unix.SockaddrUnix{Name: to.Name()}))
	return s
}

// Name returns the name of a UNIX socket, without the NUL that ends a file's
// name.
func (s *Sock) Name() string {
	s.tb.Helper()
	// unix.Getsockname cuts abstract names at a NUL inside.
	var sa unix.RawSockaddrUnix
	size := uint32(unsafe.Sizeof(sa))
	_, _, errno := unix.Syscall(unix.SYS_GETSOCKNAME, uintptr(s.FD), uintptr(unsafe.Pointer(&sa)), uintptr(unsafe.Pointer(&size)))
	if errno != 0 {
		s.must("getsockname", errno)
	}
	path := unsafe.Slice((*byte)(unsafe.Pointer(&sa.Path)), len(sa.Path))
	name := string(path[:size-uint32(unsafe.Offsetof(sa.Path))])
	if name != "" && name[0] != 0 {
		name = strings.TrimSuffix(name, "\x00")
	}
	return name
}

// UnixPair makes a connected pair of nameless UNIX sockets.
func (ns *Namespace) UnixPair(tb testing.TB, typ int) (a, b *Sock) {
	tb.Helper()
	var pair [2]int
	var err error
	ns.Do(tb, func() { pair, err = unix.Socketpair(unix.AF_UNIX, typ|unix.SOCK_CLOEXEC, 0) })
	if err != nil {
		tb.Fatalf("socketpair: %v", err)
	}
	return Adopt(tb, pair[0]), Adopt(tb, pair[1])
}

// InFlight sends the socket over a UNIX socket pair, where nobody takes it, and
// closes the test's descriptor: it is open, but in no descriptor table
// (SCM_RIGHTS, unix(7)). Closing the returned carriers frees it.
func (ns *Namespace) InFlight(tb testing.TB, s *Sock) (sender, receiver *Sock) {
	tb.Helper()
	sender, receiver = ns.UnixPair(tb, unix.SOCK_DGRAM)
	sender.must("sendmsg", unix.Sendmsg(sender.FD, []byte{0}, unix.UnixRights(s.FD), nil, 0))
	s.Close()
	return sender, receiver
}

package netlink

import (
	"fmt"

	"golang.org/x/sys/unix"
)

const (
	// receiveBuffer leaves room for many datagrams, in bytes. A dump needs two.
	receiveBuffer = 1 << 20

	// Timeout is how long the kernel may take for one datagram, in seconds. It
	// answers within milliseconds, or has lost the dump.
	Timeout = 10

	// BufferSize is the size of a buffer for [Transport.Receive]: two of the
	// kernel's datagrams, which in a dump are at most 32 KiB
	// (net/netlink/af_netlink.c, netlink_dump).
	BufferSize = 64 << 10
)

// A Transport carries requests to the kernel and its answers back, one datagram
// of messages at a time.
type Transport interface {
	// Send sends one request.
	Send(request []byte) error
	// Receive reads a datagram into buf and returns its length, which is more
	// than that of buf if it did not fit.
	Receive(buf []byte) (n int, err error)
	Close() error
}

// A Socket is a transport to the running kernel: a netlink socket.
type Socket int

// Open opens a socket of a protocol, such as NETLINK_ROUTE, which asks the
// network namespace of the calling thread. It fails with EPROTONOSUPPORT where
// the kernel was built without the protocol. Receiving fails with EAGAIN after
// [Timeout].
func Open(protocol int) (Socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	// The limit net.core.rmem_max is lifted for CAP_NET_ADMIN only, and less
	// room costs no more than a few calls.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
	}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: Timeout}); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("set receive timeout: %w", err)
	}
	return Socket(fd), nil
}

// Cookie returns SO_COOKIE, or 0 before Linux 4.12.
func (s Socket) Cookie() uint64 {
	cookie, err := unix.GetsockoptUint64(int(s), unix.SOL_SOCKET, unix.SO_COOKIE)
	if err != nil {
		return 0
	}
	return cookie
}

// Send sends one request to the kernel.
func (s Socket) Send(request []byte) error {
	for {
		err := unix.Sendto(int(s), request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
		if err != unix.EINTR {
			return err
		}
	}
}

// Receive reads a datagram of the kernel; those of others are thrown away.
func (s Socket) Receive(buf []byte) (int, error) {
	for {
		n, from, err := unix.Recvfrom(int(s), buf, unix.MSG_TRUNC)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return 0, err
		}
		// Any process may send to a netlink port; the kernel's own is 0.
		if from, ok := from.(*unix.SockaddrNetlink); ok && from.Pid == 0 {
			return n, nil
		}
	}
}

// Close closes the socket.
func (s Socket) Close() error { return unix.Close(int(s)) }

package rtnetlink

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// errShort says that a message or a part of it ends too early.
var errShort = errors.New("too short")

// A header is a struct nlmsghdr with what follows (netlink(7)). Numbers are in
// host byte order.
type header struct {
	kind, flags uint16
	seq         uint32
	payload     []byte
}

// nextMessage splits the first message off a datagram.
func nextMessage(b []byte) (h header, rest []byte, err error) {
	if len(b) < unix.SizeofNlMsghdr {
		return h, nil, fmt.Errorf("message: %w", errShort)
	}
	size := int(binary.NativeEndian.Uint32(b))
	if size < unix.SizeofNlMsghdr || size > len(b) {
		return h, nil, fmt.Errorf("message: length %d of %d bytes", size, len(b))
	}
	h = header{
		kind:    binary.NativeEndian.Uint16(b[4:]),
		flags:   binary.NativeEndian.Uint16(b[6:]),
		seq:     binary.NativeEndian.Uint32(b[8:]),
		payload: b[unix.SizeofNlMsghdr:size],
	}
	return h, b[min(align(size), len(b)):], nil
}

// err returns the error number that NLMSG_ERROR and NLMSG_DONE carry.
func (h header) err() error {
	if len(h.payload) < 4 {
		return nil
	}
	if n := int32(binary.NativeEndian.Uint32(h.payload)); n < 0 {
		return syscall.Errno(-n)
	}
	return nil
}

// An attribute is a struct nlattr. Its methods return zero for a value that is
// too short.
type attribute struct {
	kind  uint16
	value []byte
}

func (a attribute) uint32() uint32 {
	if len(a.value) < 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(a.value)
}

// text returns the value without the NUL at its end.
func (a attribute) text() string {
	for i, b := range a.value {
		if b == 0 {
			return string(a.value[:i])
		}
	}
	return string(a.value)
}

// attributes calls f with each attribute in b.
func attributes(b []byte, f func(attribute)) error {
	const header = unix.SizeofNlAttr
	for len(b) > 0 {
		if len(b) < header {
			return fmt.Errorf("attribute: %w", errShort)
		}
		size := int(binary.NativeEndian.Uint16(b))
		if size < header || size > len(b) {
			return fmt.Errorf("attribute: length %d of %d bytes", size, len(b))
		}
		f(attribute{binary.NativeEndian.Uint16(b[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER), b[header:size]})
		b = b[min(align(size), len(b)):]
	}
	return nil
}

// align rounds up to the boundary at which messages and attributes begin.
func align(n int) int { return (n + 3) &^ 3 }

package netlink

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// HeaderSize is the size of a struct nlmsghdr in bytes.
const HeaderSize = unix.SizeofNlMsghdr

// A Message is one message: a struct nlmsghdr and what follows it (netlink(7)).
// Numbers are in host byte order.
type Message struct {
	Type, Flags uint16
	Seq         uint32 // of the request that it answers
	Payload     []byte // never nil in a message
}

// Next returns the first message of a datagram and what follows it. A message
// that is longer than the rest, or too short for its own header, ends the
// datagram: its Payload is nil.
func Next(b []byte) (m Message, rest []byte) {
	if len(b) < HeaderSize {
		return Message{}, nil
	}
	n := binary.NativeEndian.Uint32(b)
	if n < HeaderSize || uint64(n) > uint64(len(b)) {
		return Message{}, nil
	}
	m = Message{
		Type:    binary.NativeEndian.Uint16(b[4:]),
		Flags:   binary.NativeEndian.Uint16(b[6:]),
		Seq:     binary.NativeEndian.Uint32(b[8:]),
		Payload: b[HeaderSize:n:n],
	}
	return m, b[min(Align(int(n)), len(b)):]
}

// Append appends a message, padded to where the next one begins.
func Append(b []byte, m Message) []byte {
	b = binary.NativeEndian.AppendUint32(b, uint32(HeaderSize+len(m.Payload)))
	b = binary.NativeEndian.AppendUint16(b, m.Type)
	b = binary.NativeEndian.AppendUint16(b, m.Flags)
	b = binary.NativeEndian.AppendUint32(b, m.Seq)
	b = append(b, 0, 0, 0, 0) // the kernel's port
	return pad(append(b, m.Payload...), len(m.Payload))
}

// Err returns the error number that NLMSG_ERROR and NLMSG_DONE carry. That a
// dump's refusal may stand in NLMSG_DONE is so since Linux 4.9 or so.
func (m Message) Err() error {
	if len(m.Payload) < 4 {
		return nil
	}
	if n := int32(binary.NativeEndian.Uint32(m.Payload)); n < 0 {
		return unix.Errno(-n)
	}
	return nil
}

// NextAttribute returns the first struct nlattr in b and what follows it, with
// the flags taken from its type. An attribute that is longer than the rest, or
// too short for its own header, ends the list: its value is nil.
func NextAttribute(b []byte) (typ uint16, value, rest []byte) {
	const size = unix.SizeofNlAttr
	if len(b) < size {
		return 0, nil, nil
	}
	n := int(binary.NativeEndian.Uint16(b))
	if n < size || n > len(b) {
		return 0, nil, nil
	}
	typ = binary.NativeEndian.Uint16(b[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
	return typ, b[size:n:n], b[min(Align(n), len(b)):]
}

// AppendAttribute appends an attribute, padded to where the next one begins.
func AppendAttribute(b []byte, typ uint16, value []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(unix.SizeofNlAttr+len(value)))
	b = binary.NativeEndian.AppendUint16(b, typ)
	return pad(append(b, value...), len(value))
}

// Align rounds up to NLMSG_ALIGNTO, which is NLA_ALIGNTO too.
func Align(n int) int { return (n + 3) &^ 3 }

func pad(b []byte, n int) []byte {
	for range Align(n) - n {
		b = append(b, 0)
	}
	return b
}

// ErrShort says that a message or a part of it ends too early.
var ErrShort = errors.New("too short")

// An Attribute is a struct nlattr. Its methods return zero for a value that is
// too short.
type Attribute struct {
	Type  uint16 // without the flags for nesting and byte order
	Value []byte
}

// Uint32 returns a number in host byte order.
func (a Attribute) Uint32() uint32 {
	if len(a.Value) < 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(a.Value)
}

// BigUint32 returns a number in network byte order.
func (a Attribute) BigUint32() uint32 {
	if len(a.Value) < 4 {
		return 0
	}
	return binary.BigEndian.Uint32(a.Value)
}

// BigUint64 returns a number in network byte order.
func (a Attribute) BigUint64() uint64 {
	if len(a.Value) < 8 {
		return 0
	}
	return binary.BigEndian.Uint64(a.Value)
}

// Text returns the value up to the first NUL, if it has one.
func (a Attribute) Text() string { return unix.ByteSliceToString(a.Value) }

// Attributes calls f with each attribute in b. It fails at the first that is
// malformed.
func Attributes(b []byte, f func(Attribute)) error {
	for len(b) > 0 {
		typ, value, rest := NextAttribute(b)
		if value == nil {
			if len(b) < unix.SizeofNlAttr {
				return fmt.Errorf("attribute: %w", ErrShort)
			}
			return fmt.Errorf("attribute: length %d of %d bytes", binary.NativeEndian.Uint16(b), len(b))
		}
		f(Attribute{typ, value})
		b = rest
	}
	return nil
}

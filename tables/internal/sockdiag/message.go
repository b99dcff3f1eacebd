package sockdiag

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// Messages and attributes are laid out as netlink(7) says, in host byte order
// unless noted.

const headerSize = unix.SizeofNlMsghdr

// A message is one netlink message.
type message struct {
	typ, flags uint16
	seq        uint32
	payload    []byte // never nil in a message
}

// nextMessage returns the first message of a datagram and what follows it. A
// message that is longer than the rest ends the datagram.
func nextMessage(b []byte) (m message, rest []byte) {
	if len(b) < headerSize {
		return message{}, nil
	}
	n := binary.NativeEndian.Uint32(b)
	if n < headerSize || uint64(n) > uint64(len(b)) {
		return message{}, nil
	}
	m = message{
		typ:     binary.NativeEndian.Uint16(b[4:]),
		flags:   binary.NativeEndian.Uint16(b[6:]),
		seq:     binary.NativeEndian.Uint32(b[8:]),
		payload: b[headerSize:n:n],
	}
	return m, b[min(align(int(n)), len(b)):]
}

// end returns how an answer ended if m is its last message: errDone or an
// [answerError]. A dump's refusal may also stand in NLMSG_DONE, whose payload
// is an error number since Linux 4.9 or so.
func (m message) end() error {
	if m.typ != unix.NLMSG_ERROR && m.typ != unix.NLMSG_DONE {
		return nil
	}
	if len(m.payload) >= 4 {
		if errno := int32(binary.NativeEndian.Uint32(m.payload)); errno < 0 {
			return answerError{unix.Errno(-errno)}
		}
	}
	return errDone
}

// nextAttribute returns the first attribute in b and what follows it. An
// attribute that is longer than the rest ends the list, as does one too short
// for its own header.
func nextAttribute(b []byte) (typ uint16, value, rest []byte) {
	const size = unix.SizeofNlAttr
	if len(b) < size {
		return 0, nil, nil
	}
	n := int(binary.NativeEndian.Uint16(b))
	if n < size || n > len(b) {
		return 0, nil, nil
	}
	typ = binary.NativeEndian.Uint16(b[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
	return typ, b[size:n:n], b[min(align(n), len(b)):]
}

// align rounds up to NLMSG_ALIGNTO, which is NLA_ALIGNTO too.
func align(n int) int { return (n + 3) &^ 3 }

// appendAttribute appends an attribute whose length is a multiple of four.
func appendAttribute(b []byte, typ uint16, value []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(unix.SizeofNlAttr+len(value)))
	b = binary.NativeEndian.AppendUint16(b, typ)
	return append(b, value...)
}

// appendHeader appends a header whose length and number [Conn.send] fills in.
func appendHeader(b []byte, typ uint16) []byte {
	b = append(b, 0, 0, 0, 0)
	b = binary.NativeEndian.AppendUint16(b, typ)
	b = binary.NativeEndian.AppendUint16(b, unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	return append(b, 0, 0, 0, 0, 0, 0, 0, 0)
}

// uint32At and uint64At return the number at an offset, or 0 if the value is
// too short for it.
func uint32At(b []byte, at int) uint32 {
	if len(b) < at+4 {
		return 0
	}
	return binary.NativeEndian.Uint32(b[at:])
}

func uint64At(b []byte, at int) uint64 {
	if len(b) < at+8 {
		return 0
	}
	return binary.NativeEndian.Uint64(b[at:])
}

// cookieAt returns a cookie, which sock_diag writes as two words, low first.
func cookieAt(b []byte, at int) uint64 {
	return uint64(uint32At(b, at)) | uint64(uint32At(b, at+4))<<32
}

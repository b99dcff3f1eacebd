package sockdiag

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"sockql/tables/internal/netlink"
)

// Messages and attributes are laid out as netlink(7) says, in host byte order
// unless noted.

const headerSize = netlink.HeaderSize

// end returns how an answer ended if m is its last message: errDone or an
// [answerError].
func end(m netlink.Message) error {
	if m.Type != unix.NLMSG_ERROR && m.Type != unix.NLMSG_DONE {
		return nil
	}
	if errno, ok := m.Err().(unix.Errno); ok {
		return answerError{errno}
	}
	return errDone
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

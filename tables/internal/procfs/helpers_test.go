package procfs

import "encoding/binary"

// networkOrder returns a number whose bytes in memory are n's, highest first.
func networkOrder(n uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], n)
	return binary.NativeEndian.Uint16(b[:])
}

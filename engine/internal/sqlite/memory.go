package sqlite

import (
	"unsafe"

	"modernc.org/libc"
)

// at returns the object at an address of SQLite's memory, or the Go object
// whose address SQLite kept.
func at[T any](p uintptr) *T { return *(**T)(unsafe.Pointer(&p)) }

// address returns the address of a Go object that something else keeps alive.
func address[T any](p *T) uintptr { return uintptr(unsafe.Pointer(p)) }

// load returns the i-th pointer of an array in SQLite's memory.
func load(array uintptr, i int) uintptr {
	return *at[uintptr](array + uintptr(i)*unsafe.Sizeof(uintptr(0)))
}

// cfunc returns a top-level function in the form in which translated C calls
// it: the address of its function value, which is constant
// (https://go.dev/s/go11func).
func cfunc[F any](f F) uintptr { return *(*uintptr)(unsafe.Pointer(&f)) }

// view returns n bytes of SQLite's memory as a string without copying. The
// string dies with the memory.
func view(p uintptr, n int) string {
	if p == 0 || n <= 0 {
		return ""
	}
	return unsafe.String(at[byte](p), n)
}

// gostring copies a NUL-terminated string; the null pointer gives "".
func gostring(p uintptr) string {
	if p == 0 {
		return ""
	}
	return libc.GoString(p)
}

// An arena copies texts out of SQLite's memory into chunks of Go's, so that a
// result of many short texts costs few allocations. A chunk is never written
// twice: texts cut from it stay valid, and keep at most a chunk alive.
type arena struct {
	chunk []byte
	size  int
}

const (
	firstChunk = 256
	lastChunk  = 8 << 10
)

func (a *arena) copy(p uintptr, n int) string {
	if p == 0 || n <= 0 {
		return ""
	}
	src := unsafe.Slice(at[byte](p), n)
	if n >= lastChunk/8 {
		return string(src)
	}
	if n > len(a.chunk) {
		a.size = min(max(a.size*2, firstChunk), lastChunk)
		a.chunk = make([]byte, max(a.size, n))
	}
	dst := a.chunk[:n:n]
	a.chunk = a.chunk[n:]
	copy(dst, src)
	return unsafe.String(unsafe.SliceData(dst), n)
}

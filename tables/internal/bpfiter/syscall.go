package bpfiter

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The attributes of bpf(2) as include/uapi/linux/bpf.h has them, each to the
// last member that is used: the kernel takes the rest for zero. Addresses in
// them are of memory outside of the stack, which may move.

// loadAttr is that of BPF_PROG_LOAD.
type loadAttr struct {
	progType, insnCount uint32
	insns, license      uint64
	logLevel, logSize   uint32
	logBuffer           uint64
	_                   [2]uint32
	name                [unix.BPF_OBJ_NAME_LEN]byte
	_                   uint32
	expectedAttachType  uint32
	btfFD               uint32
	funcInfoSize        uint32
	funcInfo            uint64
	funcInfoCount       uint32
	_                   [4]uint32 // lines of source
	attachBTF           uint32
}

// linkAttr is that of BPF_LINK_CREATE for an iterator.
type linkAttr struct {
	program, _, attachType, _ uint32
	info                      uint64
	infoSize, _               uint32
}

// taskInfo is the member task of union bpf_iter_link_info, Linux 6.1.
type taskInfo struct{ _, pid, _ uint32 }

// iterAttr is that of BPF_ITER_CREATE.
type iterAttr struct{ link, _ uint32 }

// runAttr is that of BPF_PROG_TEST_RUN.
type runAttr struct {
	program        uint32
	_              [3]uint32
	_              [2]uint64
	_              [2]uint32
	contextSize, _ uint32
	context, _     uint64
	_              [2]uint32
}

// bpf calls bpf(2), again if a signal interrupted it or the verifier.
func bpf[T any](command int, attr *T) (int, error) {
	for {
		n, _, errno := unix.Syscall(unix.SYS_BPF, uintptr(command), uintptr(unsafe.Pointer(attr)), unsafe.Sizeof(*attr))
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR, unix.EAGAIN:
			continue
		}
		return -1, errno
	}
}

// address returns the address of memory that the caller keeps alive and off
// the stack.
func address[T any](p *T) uint64 { return uint64(uintptr(unsafe.Pointer(p))) }

// attach makes a link of an iterator to what it goes over. Info is nil, or
// lies on the heap.
func attach(program int, info *taskInfo) (int, error) {
	attr := &linkAttr{program: uint32(program), attachType: unix.BPF_TRACE_ITER}
	if info != nil {
		attr.info, attr.infoSize = address(info), uint32(unsafe.Sizeof(*info))
	}
	fd, err := bpf(unix.BPF_LINK_CREATE, attr)
	runtime.KeepAlive(info)
	return fd, err
}

// iterate makes a descriptor that gives what the iterator writes when read.
func iterate(link int) (int, error) {
	return bpf(unix.BPF_ITER_CREATE, &iterAttr{link: uint32(link)})
}

// run runs a raw_tp program once. Its arguments lie on the heap.
func run(program int, args *[3]uint64) error {
	attr := &runAttr{program: uint32(program), context: address(args), contextSize: uint32(unsafe.Sizeof(*args))}
	_, err := bpf(unix.BPF_PROG_TEST_RUN, attr)
	runtime.KeepAlive(args)
	return err
}

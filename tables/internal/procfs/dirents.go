package procfs

import (
	"bytes"
	"encoding/binary"
	"slices"

	"golang.org/x/sys/unix"
)

// direntName is the offset of the name in struct linux_dirent64 (getdents64(2)):
// inode and offset of 8 bytes, the entry's length of 2, its type of 1.
const direntName = 19

// directoryLinks is the link count of a directory without directories in it.
const directoryLinks = 2

// nextDirent splits the first entry off a buffer that getdents64 filled. name
// ends in NUL. It returns a nil name at the end of the buffer, and where the
// rest of it is no entry.
func nextDirent(buf []byte) (name, rest []byte) {
	if len(buf) < direntName+1 {
		return nil, nil
	}
	size := int(binary.NativeEndian.Uint16(buf[16:]))
	if size < direntName+1 || size > len(buf) {
		return nil, nil
	}
	entry := buf[direntName:size]
	end := bytes.IndexByte(entry, 0)
	if end < 0 {
		return nil, nil
	}
	return entry[:end+1], buf[size:]
}

// direntNumber returns the number that a name, ending in NUL, consists of.
func direntNumber(name []byte) (n int32, ok bool) {
	if len(name) < 2 {
		return 0, false
	}
	for _, c := range name[:len(name)-1] {
		if c < '0' || c > '9' || n > (1<<31-1-9)/10 {
			return 0, false
		}
		n = n*10 + int32(c-'0')
	}
	return n, true
}

// numbers appends the entries of a directory that are numbers, ascending.
func (p *FS) numbers(path string, dst []int32) ([]int32, error) {
	f, err := p.open(path, unix.O_DIRECTORY)
	if err != nil {
		return dst, err
	}
	defer f.Close()
	pooled := p.buffer()
	defer p.release(pooled)
	start := len(dst)
	for {
		n, err := ignoringEINTR(func() (int, error) { return unix.Getdents(f.fd, *pooled) })
		if err != nil {
			return dst, &Error{Op: "read", Path: path, Err: err}
		}
		if n <= 0 {
			break
		}
		for name, rest := nextDirent((*pooled)[:n]); name != nil; name, rest = nextDirent(rest) {
			if number, ok := direntNumber(name); ok && number > 0 {
				dst = append(dst, number)
			}
		}
	}
	slices.Sort(dst[start:]) // the kernel sorts, a recorded tree's file system need not
	return dst, nil
}

// PIDs appends the numbers of all thread groups to dst, ascending.
func (p *FS) PIDs(dst []int32) ([]int32, error) { return p.numbers(".", dst) }

// TIDs appends the numbers of a process's threads to dst, ascending: the
// entries of /proc/<pid>/task (proc_pid_task(5)).
func (p *FS) TIDs(pid int32, dst []int32) ([]int32, error) {
	path, err := processPath(pid, "task")
	if err != nil {
		return dst, err
	}
	if p.mounted {
		// Most processes have one thread, and the kernel counts threads as
		// links (proc_task_getattr): one call instead of four.
		var st unix.Stat_t
		if err := p.stat(path, &st); err != nil {
			return dst, err
		}
		if st.Nlink == directoryLinks+1 {
			return append(dst, pid), nil
		}
	}
	return p.numbers(path, dst)
}

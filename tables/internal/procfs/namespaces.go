package procfs

import (
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// NetNS returns the inode, in nsfs, of the network namespace of a process
// (proc_pid_ns(5)). For another user's process it needs CAP_SYS_PTRACE. A
// zombie has none, which is reported as [ErrVanished].
func (p *FS) NetNS(pid int32) (uint64, error) { return p.Namespace(pid, "net") }

// Namespace returns the inode, in nsfs, of a namespace of a process; kind is
// the name of a link in /proc/<pid>/ns such as "mnt".
func (p *FS) Namespace(pid int32, kind string) (uint64, error) {
	link, err := p.readlinkProcess(pid, "ns/"+kind)
	if err != nil {
		return 0, err
	}
	inode, ok := linkInode([]byte(link), kind+":[")
	if !ok {
		path, _ := processPath(pid, "ns/"+kind)
		return 0, &Error{Op: "parse", Path: path, Err: fmt.Errorf("not a namespace: %q", link)}
	}
	return inode, nil
}

// NetIdentity returns a number that is equal for processes of one network
// namespace and different for those of two: the inode of /proc/<pid>/net/tcp,
// which each namespace has an own one of. Unlike [FS.NetNS] it takes no
// privilege. It has nothing to do with the number of the namespace.
func (p *FS) NetIdentity(pid int32) (uint64, error) {
	path, err := processPath(pid, "net/tcp")
	if err != nil {
		return 0, err
	}
	var st unix.Stat_t
	if err := p.stat(path, &st); err != nil {
		return 0, err
	}
	return st.Ino, nil
}

// Self returns the number that the caller has in the procfs, or that the
// recorder had in a recorded tree. It fails like reading
// a file that is not there where it has none: in a procfs of a pid namespace that does not see it.
func (p *FS) Self() (int32, error) {
	link, err := p.readlink("self")
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(link, 10, 32)
	if err != nil {
		return 0, &Error{Op: "parse", Path: "self", Err: err}
	}
	return int32(n), nil
}

// NetFile hands the content of a file of /proc/<pid>/net to parse, which must
// not keep it. Everybody may.
func (p *FS) NetFile(pid int32, name string, parse func([]byte) error) error {
	return p.readProcess(pid, "net/"+name, parse)
}

package procfs

import (
	"fmt"

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

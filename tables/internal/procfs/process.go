package procfs

import (
	"bytes"
	"errors"
	"io/fs"
	"strings"

	"golang.org/x/sys/unix"
)

const deleted = " (deleted)"

// Cmdline reads /proc/<pid>/cmdline: the arguments, each ended by a NUL, or
// whatever the process wrote over them (proc_pid_cmdline(5)). A kernel thread
// and a zombie have none. Everybody may.
func (p *FS) Cmdline(pid int32) (string, error) {
	var s string
	err := p.readProcess(pid, "cmdline", func(b []byte) error {
		s = string(b)
		return nil
	})
	return s, err
}

// Environ reads /proc/<pid>/environ: the initial environment, each variable
// ended by a NUL (proc_pid_environ(5)). For another user's process it needs
// CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE.
func (p *FS) Environ(pid int32) (string, error) {
	var s string
	err := p.readProcess(pid, "environ", func(b []byte) error {
		s = string(b)
		return nil
	})
	return s, err
}

// Comm reads /proc/<pid>/comm: the name, which may hold any byte but NUL
// (proc_pid_comm(5)). Everybody may.
func (p *FS) Comm(pid int32) (string, error) {
	var s string
	err := p.readProcess(pid, "comm", func(b []byte) error {
		s = text(b)
		return nil
	})
	return s, err
}

// Exe returns the path of a process's program (proc_pid_exe(5)), with
// " (deleted)" after it if the file is gone. A kernel thread has none, which
// is reported as [ErrVanished]. For another user's process it needs
// CAP_SYS_PTRACE, as do [FS.Cwd] and [FS.RootDir].
func (p *FS) Exe(pid int32) (string, error) { return p.readlinkProcess(pid, "exe") }

// Cwd returns a process's working directory (proc_pid_cwd(5)).
func (p *FS) Cwd(pid int32) (string, error) { return p.readlinkProcess(pid, "cwd") }

// RootDir returns a process's root directory (proc_pid_root(5)).
func (p *FS) RootDir(pid int32) (string, error) { return p.readlinkProcess(pid, "root") }

// OnDisk reports whether the program that exe, a result of [FS.Exe], names is
// still a file of its file system, in whatever mount namespace. In a recorded
// tree the name alone tells.
func (p *FS) OnDisk(pid int32, exe string) (bool, error) {
	if !p.mounted {
		return !strings.HasSuffix(exe, deleted), nil
	}
	path, err := processPath(pid, "exe")
	if err != nil {
		return false, err
	}
	var st unix.Stat_t
	if err := p.stat(path, &st); err != nil {
		return false, err
	}
	return st.Nlink > 0, nil
}

// Exists reports whether there is a process or thread of this number that the
// caller may know of.
func (p *FS) Exists(pid int32) (bool, error) {
	path, err := processPath(pid, "")
	if err != nil {
		return false, nil
	}
	var st unix.Stat_t
	switch err := p.stat(path, &st); {
	case err == nil:
		return true, nil
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	default:
		return false, err
	}
}

// An IO is /proc/<pid>/io (proc_pid_io(5)): bytes, except for the calls.
type IO struct {
	ReadChars, WrittenChars uint64 // by read(2) and write(2), of any file
	ReadCalls, WriteCalls   uint64
	ReadBytes, WrittenBytes uint64 // from and to storage
	CancelledWriteBytes     uint64 // never written, the file was cut first
}

// IO reads /proc/<pid>/io. For another user's process it needs
// CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE. A kernel without
// CONFIG_TASK_IO_ACCOUNTING lacks the file, as if the process had vanished.
func (p *FS) IO(pid int32) (IO, error) {
	var io IO
	err := p.readProcess(pid, "io", func(b []byte) (err error) {
		io, err = parseIO(b)
		return err
	})
	return io, err
}

func parseIO(b []byte) (IO, error) {
	var io IO
	err := eachField(b, "read_bytes", func(key []byte, c *cursor) {
		switch string(key) {
		case "rchar":
			io.ReadChars = c.dec("rchar")
		case "wchar":
			io.WrittenChars = c.dec("wchar")
		case "syscr":
			io.ReadCalls = c.dec("syscr")
		case "syscw":
			io.WriteCalls = c.dec("syscw")
		case "read_bytes":
			io.ReadBytes = c.dec("read_bytes")
		case "write_bytes":
			io.WrittenBytes = c.dec("write_bytes")
		case "cancelled_write_bytes":
			io.CancelledWriteBytes = c.dec("cancelled_write_bytes")
		}
	})
	return io, err
}

// A Cgroup is one line of /proc/<pid>/cgroup (cgroups(7)): the place of a
// process in one hierarchy.
type Cgroup struct {
	Hierarchy   uint32 // 0 for cgroup v2
	Controllers string // separated by commas; empty for v2
	// Path is relative to the mount point, or to the root of the reader's
	// cgroup namespace, and has " (deleted)" after it if it is gone.
	Path string
}

// Cgroups reads /proc/<pid>/cgroup. Everybody may.
func (p *FS) Cgroups(pid int32) ([]Cgroup, error) {
	var groups []Cgroup
	err := p.readProcess(pid, "cgroup", func(b []byte) (err error) {
		groups, err = parseCgroups(b)
		return err
	})
	return groups, err
}

// parseCgroups takes the path to reach to the end of the line: it may hold
// colons, but no newline.
func parseCgroups(b []byte) ([]Cgroup, error) {
	var groups []Cgroup
	for line := range bytes.SplitSeq(b, []byte{'\n'}) {
		if len(line) == 0 {
			continue
		}
		parts := bytes.SplitN(line, []byte{':'}, 3)
		c := cursor{line: parts[0]}
		g := Cgroup{Hierarchy: c.dec32("hierarchy")}
		if len(parts) < 3 {
			c.fail("hierarchy")
		}
		if err := c.err(); err != nil {
			return groups, err
		}
		g.Controllers, g.Path = string(parts[1]), string(parts[2])
		groups = append(groups, g)
	}
	return groups, nil
}

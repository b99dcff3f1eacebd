package netns

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"sockql/tables/internal/procfs"
)

// A Mount is a network namespace that a bind mount keeps alive and names. This
// is how ip-netns(8) names namespaces in /run/netns, and where Docker
// (/run/docker/netns), Podman, containerd and CRI-O (/run/netns) keep those of
// containers.
type Mount struct {
	// Inode is the namespace's inode in nsfs.
	Inode uint64
	// Path is the mount point as the processes see it, below their roots.
	Path string
	// PIDs are processes that have the mount: not all, but one at least of
	// each mount namespace, ascending.
	PIDs []int32
}

// Name returns the last element of the path: what ip-netns(8) calls the
// namespace, or the runtime's identifier.
func (m Mount) Name() string { return filepath.Base(m.Path) }

// Open opens the namespace by way of a process's root directory, which needs
// leave to ptrace one of the processes. proc is the procfs that [Find] was
// given. It fails with an error that is [fs.ErrNotExist] if the mount is no
// more, or lies below another one.
func (m Mount) Open(proc string) (*Handle, error) {
	var failure error = fs.ErrNotExist
	for _, pid := range m.PIDs {
		h, err := m.openAt(filepath.Join(proc, strconv.Itoa(int(pid)), "root", m.Path))
		if err == nil {
			return h, nil
		}
		if !errors.Is(failure, fs.ErrPermission) {
			failure = err // a denial says more than that another process has ended
		}
	}
	return nil, failure
}

func (m Mount) openAt(path string) (*Handle, error) {
	h, err := Open(path)
	if err != nil {
		return nil, err
	}
	if h.inode != m.Inode {
		h.Close()
		return nil, fmt.Errorf("netns: open %q: namespace %d is not there any more: %w", path, m.Inode, fs.ErrNotExist)
	}
	return h, nil
}

// Find returns the network namespaces that are bind mounted in the mount
// namespaces of the given processes, each path once, ordered by inode and
// path. proc is where the procfs that shows the processes is mounted: a
// container that sees its host's there finds the host's. The mount table of
// each mount namespace is read once, but for processes that see only a part of
// it from their root directory (chroot(2)). Processes that have ended are
// passed over; other failures are one warning.
func Find(proc string, pids []int32, warn func(error)) []Mount {
	var found []Mount
	var failed error
	failures := 0
	seen := map[string]bool{}
	for _, pid := range pids {
		dir := filepath.Join(proc, strconv.Itoa(int(pid)))
		table, err := mountTable(dir, seen)
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ESRCH) && !errors.Is(err, unix.EINVAL) {
				failed = err
				failures++
			}
			continue
		}
		found = parseMounts(table, pid, found)
	}
	if failed != nil && warn != nil {
		warn(fmt.Errorf("netns: find mounted namespaces: %d mount tables could not be read: %w", failures, failed))
	}
	slices.SortStableFunc(found, func(a, b Mount) int {
		if a.Inode != b.Inode {
			if a.Inode < b.Inode {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Path, b.Path)
	})
	return merge(found)
}

// merge joins neighbours that are the same mount.
func merge(found []Mount) []Mount {
	merged := found[:0]
	for _, m := range found {
		if n := len(merged); n > 0 && merged[n-1].Inode == m.Inode && merged[n-1].Path == m.Path {
			merged[n-1].PIDs = append(merged[n-1].PIDs, m.PIDs...)
			continue
		}
		merged = append(merged, m)
	}
	return merged
}

// mountTable returns the content of a process's mountinfo, or nothing if that
// of its mount namespace was read already. A process whose namespace may not
// be asked for is told apart by the first line: its mount ID is unique.
func mountTable(dir string, seen map[string]bool) ([]byte, error) {
	key, linkErr := os.Readlink(filepath.Join(dir, "ns/mnt"))
	if linkErr == nil {
		if seen[key] {
			return nil, nil
		}
		// Mounts outside of a process's root are not in its table
		// (show_mountinfo, fs/proc_namespace.c).
		if root, err := os.Readlink(filepath.Join(dir, "root")); err == nil && root != "/" {
			if key += " " + root; seen[key] {
				return nil, nil
			}
		}
	}
	f, err := os.Open(filepath.Join(dir, "mountinfo"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var table bytes.Buffer
	if linkErr != nil {
		// The kernel writes whole lines, a page at a time.
		first := make([]byte, os.Getpagesize())
		n, err := f.Read(first)
		if err != nil {
			return nil, err
		}
		line, _, _ := bytes.Cut(first[:n], []byte{'\n'})
		if key = string(line); seen[key] {
			return nil, nil
		}
		table.Write(first[:n])
	}
	if _, err := table.ReadFrom(f); err != nil {
		return nil, err
	}
	seen[key] = true
	return table.Bytes(), nil
}

// parseMounts appends the network namespaces of a mount table, described in
// proc_pid_mountinfo(5). The root field of a mount of nsfs names the
// namespace, as in
//
//	538 24 0:4 net:[4026532234] /run/netns/blue rw shared:227 - nsfs nsfs rw
//
// Lines that look different are other mounts.
func parseMounts(table []byte, pid int32, dst []Mount) []Mount {
	for line := range bytes.Lines(table) {
		if !bytes.Contains(line, []byte(" - nsfs ")) {
			continue
		}
		m, err := procfs.ParseMount(bytes.TrimSuffix(line, []byte{'\n'}))
		if err != nil || m.Type != "nsfs" {
			continue
		}
		number, isNet := strings.CutPrefix(m.Root, "net:[")
		number, closed := strings.CutSuffix(number, "]")
		inode, err := strconv.ParseUint(number, 10, 64)
		if !isNet || !closed || err != nil {
			continue
		}
		dst = append(dst, Mount{Inode: inode, Path: m.Path, PIDs: []int32{pid}})
	}
	return dst
}

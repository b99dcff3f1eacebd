package sockets

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"sockql/tables/internal/socket"
)

// names resolves what the kernel gives as numbers, for rows that are about to
// be shown. Its zero value is ready for use.
type names struct {
	mu         sync.Mutex
	interfaces map[uint64]map[uint32]string // by namespace and index
	cgroups    map[uint64]string            // by inode; nil until it is needed
}

// name fills in the names of a row that its columns in use show.
func (c *collector) name(r *row, fields socket.Fields) {
	if fields&socket.FieldInterface != 0 && r.Known&socket.FieldInterface != 0 && r.Interface != 0 {
		r.interfaceName = c.interfaceName(r.Netns, r.Interface)
	}
	if fields&socket.FieldCgroup != 0 && r.Known&socket.FieldCgroup != 0 {
		r.cgroupPath = c.cgroupPath(r.CgroupID)
	}
}

func (c *collector) interfaceName(netns uint64, index uint32) string {
	c.names.mu.Lock()
	defer c.names.mu.Unlock()
	if c.names.interfaces == nil {
		c.names.interfaces = map[uint64]map[uint32]string{}
	}
	found, ok := c.names.interfaces[netns]
	if !ok {
		found = c.interfacesOf(netns)
		c.names.interfaces[netns] = found
	}
	return found[index]
}

// interfacesOf asks the kernel, or any process that is still there.
func (c *collector) interfacesOf(netns uint64) map[uint32]string {
	c.lock <- struct{}{}
	defer func() { <-c.lock }()
	if c.byInode[netns] == nil {
		// BPF shows sockets before anybody asks for namespaces.
		if err := c.listProcesses(context.Background()); err != nil {
			return nil
		}
	}
	sp := c.byInode[netns]
	if sp == nil {
		return nil
	}
	if r := c.host.replay; r != nil {
		if found, err := r.Interfaces(netns); err == nil {
			return found
		}
	}
	if c.host.asksKernel() {
		if found, err := c.kernelInterfaces(sp); err == nil {
			return found
		}
	}
	for _, pid := range sp.pids {
		if found, err := c.host.proc.Interfaces(pid); err == nil && len(found) > 0 {
			return found
		}
	}
	return nil
}

// cgroupPath returns the path of a cgroup below the mount point. The kernel
// tells a cgroup's inode, which no call turns into a path but for those who may
// open files by handle: the hierarchy is walked once.
func (c *collector) cgroupPath(id uint64) string {
	c.names.mu.Lock()
	defer c.names.mu.Unlock()
	if c.names.cgroups == nil {
		c.names.cgroups = c.host.cgroups()
	}
	return c.names.cgroups[id]
}

// cgroups returns the paths of the host's cgroups by inode.
func (h *Host) cgroups() map[uint64]string {
	if h.replay == nil {
		return CgroupPaths(h.cgroupRoot)
	}
	paths, err := h.replay.Cgroups()
	if err != nil {
		return map[uint64]string{} // a name is missing, not a socket
	}
	return paths
}

// CgroupPaths maps the inodes of the directories below root to their paths,
// root itself being "/".
func CgroupPaths(root string) map[uint64]string {
	paths := map[uint64]string{}
	if root = unifiedRoot(root); root == "" {
		return paths
	}
	// What cannot be read or vanishes stays without a name.
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil
		}
		info, err := os.Lstat(path)
		if err != nil {
			return fs.SkipDir
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			if rel, err := filepath.Rel(root, path); err == nil {
				paths[st.Ino] = filepath.Join("/", rel)
			}
		}
		return nil
	})
	return paths
}

// unifiedRoot returns where cgroup v2 is mounted: at root, or below it on a
// host that has version 1 too (systemd's hybrid layout, cgroups(7)). It returns
// nothing where it is not mounted.
func unifiedRoot(root string) string {
	for _, dir := range []string{root, filepath.Join(root, "unified")} {
		var st unix.Statfs_t
		if root != "" && unix.Statfs(dir, &st) == nil && int64(st.Type) == unix.CGROUP2_SUPER_MAGIC {
			return dir
		}
	}
	return ""
}

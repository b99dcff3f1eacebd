package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"sockql/tables"
	"sockql/tables/internal/procfs"
	"sockql/tables/internal/rooted"
)

// DefaultHashLimit is osquery's read_max, in bytes.
const DefaultHashLimit = 50 << 20

// A Config says what the tables of this package look at.
type Config struct {
	// Root is the directory that paths start from and do not leave. Empty
	// stands for the root directory of this process.
	Root string
	// Proc leads to the root directories of processes, for the column
	// pid_with_namespace, and to the mounts. Without it there are none.
	Proc *procfs.FS
	// HashLimit is the size in bytes beyond which a file is not hashed. Zero
	// stands for [DefaultHashLimit], a negative number for no limit.
	HashLimit int64
	// OnOpen is called before a file or directory is opened, with its path; an
	// error takes the place of the kernel's answer. It lets a test count and
	// deny, and is called concurrently.
	OnOpen func(path string) error
}

// A view is a file system as a process sees it.
type view struct {
	config Config
	pid    int64 // 0 for the configured root
	root   rooted.Root
	mount  string // number of the mount namespace, for a pid
}

// openView returns the view of a process, or that of the configured root for
// pid 0. It fails with [fs.ErrNotExist] if there is no such process.
func (c Config) openView(pid int64) (*view, error) {
	v := &view{config: c, pid: pid}
	var err error
	if pid == 0 {
		v.root, err = rooted.Open(c.Root)
		return v, err
	}
	if c.Proc == nil || pid < 0 || pid > 1<<31-1 {
		return nil, fs.ErrNotExist
	}
	namespace, err := c.Proc.Namespace(int32(pid), "mnt")
	if err != nil {
		return nil, vanished(err)
	}
	v.mount = strconv.FormatUint(namespace, 10)
	v.root, err = rooted.OfProcess(c.Proc, pid)
	return v, err
}

// vanished turns what is said of a process that is gone into [fs.ErrNotExist].
func vanished(err error) error {
	if errors.Is(err, procfs.ErrVanished) {
		return fs.ErrNotExist
	}
	return err
}

func (v *view) close() { v.root.Close() }

// open opens a path of the view.
func (v *view) open(path string, flags int) (int, error) {
	if v.config.OnOpen != nil {
		if err := v.config.OnOpen(path); err != nil {
			return -1, err
		}
	}
	return v.root.Open(path, flags)
}

// statusMask is what statx(2) is asked for.
const statusMask = unix.STATX_BASIC_STATS | unix.STATX_BTIME

// A status is what the tables know of a file.
type status struct {
	unix.Statx_t        // of the link's target, if it has one
	link         bool   // the path names a symbolic link
	target       string // of the link
	dangling     bool   // the link leads nowhere
}

func (s *status) format() uint16 { return s.Mode & unix.S_IFMT }
func (s *status) regular() bool  { return !s.dangling && s.format() == unix.S_IFREG }

// stat looks at a path, and at the target of a link. A descriptor that is only
// a place (O_PATH, open(2)) needs no permission to read, waits for nobody and
// wakes no device; both looks are at one and the same link.
func (v *view) stat(path string, s *status) error {
	*s = status{}
	fd, err := v.open(path, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, statusMask, &s.Statx_t); err != nil {
		return err
	}
	if s.format() != unix.S_IFLNK {
		return nil
	}
	s.link = true
	var buf [unix.PathMax]byte
	if n, err := unix.Readlinkat(fd, "", buf[:]); err == nil {
		s.target = string(buf[:n])
	}
	end, err := v.open(path, unix.O_PATH)
	if err != nil {
		s.dangling = true
		return nil
	}
	defer unix.Close(end)
	return unix.Statx(end, "", unix.AT_EMPTY_PATH, statusMask, &s.Statx_t)
}

// list calls yield with the entries of a directory, in its own order, until it
// returns false.
func (v *view) list(ctx context.Context, path string, yield func(fs.DirEntry) bool) error {
	fd, err := v.open(path, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	dir := os.NewFile(uintptr(fd), path)
	defer dir.Close()
	for {
		// A directory may have millions of entries: they are not kept.
		entries, err := dir.ReadDir(256)
		for _, e := range entries {
			if !yield(e) {
				return nil
			}
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		}
	}
}

// errNotRegular says that a path leads to something else than a regular file.
var errNotRegular = errors.New("not a regular file")

// openRegular opens a regular file for reading. It fails with [errNotRegular]
// for any other, which is not opened: a pipe would keep the caller waiting, and
// a device may act on it.
func (v *view) openRegular(path string) (procfs.File, unix.Stat_t, error) {
	var st unix.Stat_t
	var seen status
	if err := v.stat(path, &seen); err != nil || !seen.regular() {
		return procfs.NewFile(-1), st, errNotRegular
	}
	fd, err := v.open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return procfs.NewFile(-1), st, err
	}
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		unix.Close(fd)
		return procfs.NewFile(-1), st, errNotRegular
	}
	return procfs.NewFile(fd), st, nil
}

// absent reports whether an error says that a path leads to no file, which a
// search meets all the time.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) ||
		errors.Is(err, unix.ENAMETOOLONG)
}

// views calls yield for each file system that a query asks for until it returns
// false or an error. As in osquery, processes named by pid_with_namespace take
// the place of the host; 0 is the host too.
func (c Config) views(ctx context.Context, q *tables.Query, pidColumn int, yield func(*view) error) error {
	pids := []int64{0}
	if pidColumn >= 0 {
		if values, listed := q.Set(pidColumn).Values(); listed {
			pids = pids[:0]
			for _, v := range values {
				pids = append(pids, v.Int64())
			}
		}
	}
	for _, pid := range pids {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		v, err := c.openView(pid)
		switch {
		case errors.Is(err, fs.ErrNotExist) && pid != 0:
			continue
		case err != nil:
			q.Warn(fmt.Errorf("%s: root directory of process %d: %w", q.Schema().Name, pid, err))
			continue
		}
		err = yield(v)
		v.close()
		if err != nil {
			return err
		}
	}
	return nil
}

// split takes a path apart as osquery does: a path that ends in a slash has the
// name ".", and the root directory is its own name in no directory.
func split(path string) (directory, name string) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return "", path
	}
	directory, name = strings.TrimRight(path[:i], "/"), path[i+1:]
	if directory == "" {
		if name == "" {
			return "", "/"
		}
		return "/", name
	}
	if name == "" {
		name = "."
	}
	return directory, name
}

// join returns the path of an entry of a directory.
func join(directory, name string) string {
	if strings.HasSuffix(directory, "/") {
		return directory + name
	}
	return directory + "/" + name
}

package files

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sockql/tables"
	"sockql/tables/internal/procfs"
)

// fileSystemLimit is how long a file system may take to answer. One on the
// network whose server is gone may take forever.
const fileSystemLimit = 2 * time.Second

type mountRow struct {
	procfs.Mount
	alias  string
	statfs unix.Statfs_t
	asked  bool // statfs holds an answer
}

// Mounts returns the table mounts: the file systems that are mounted, with
// osquery's columns.
func Mounts(c Config) (tables.Table, error) {
	text := func(name, doc string, get func(*mountRow) string) tables.Column[mountRow] {
		return tables.Column[mountRow]{Name: name, Type: tables.Text, Doc: doc, Get: func(r *mountRow) tables.Value { return tables.String(get(r)) }}
	}
	count := func(name, doc string, get func(*unix.Statfs_t) uint64) tables.Column[mountRow] {
		return tables.Column[mountRow]{Name: name, Type: tables.BigInt, Doc: doc + " NULL if the file system does not tell.",
			Get: func(r *mountRow) tables.Value {
				if !r.asked {
					return tables.Null()
				}
				return tables.Uint(get(&r.statfs))
			}}
	}
	columns := []tables.Column[mountRow]{
		text("device", "Device, or what else was mounted.", func(r *mountRow) string { return r.Source }),
		text("device_alias", "The device after its symbolic links.", func(r *mountRow) string { return r.alias }),
		text("path", "Where it is mounted.", func(r *mountRow) string { return r.Path }),
		text("type", "Kind of file system.", func(r *mountRow) string { return r.Type }),
		count("blocks_size", "Bytes of a block.", func(s *unix.Statfs_t) uint64 { return uint64(s.Bsize) }),
		count("blocks", "Number of blocks.", func(s *unix.Statfs_t) uint64 { return s.Blocks }),
		count("blocks_free", "Number of blocks that are free.", func(s *unix.Statfs_t) uint64 { return s.Bfree }),
		count("blocks_available", "Number of blocks that are free for everybody.", func(s *unix.Statfs_t) uint64 { return s.Bavail }),
		count("inodes", "Number of inodes, 0 if there is no fixed one.", func(s *unix.Statfs_t) uint64 { return s.Files }),
		count("inodes_free", "Number of inodes that are free.", func(s *unix.Statfs_t) uint64 { return s.Ffree }),
		text("flags", "Options of the mount and of the file system, as /proc/mounts has them.", func(r *mountRow) string { return r.Flags() }),
	}
	asker := &asker{limit: fileSystemLimit, statfs: unix.Statfs, resolve: filepath.EvalSymlinks, late: map[string]bool{}}
	const aliasColumn, firstCount, lastCount = 1, 4, 9
	return tables.New(tables.Def[mountRow]{
		Name: "mounts",
		Doc:  "File systems that are mounted in the mount namespace of this process (proc_pid_mountinfo(5), statfs(2)).",
		Examples: []string{
			"SELECT path, blocks_available * blocks_size AS bytes FROM mounts WHERE type = 'ext4';",
			"SELECT path, flags FROM mounts WHERE flags NOT LIKE '%nosuid%';",
		},
		Columns: columns,
		Rows: func(ctx context.Context, q *tables.Query, yield func(*mountRow) bool) error {
			if c.Proc == nil {
				return nil
			}
			counts := false
			for i := firstCount; i <= lastCount; i++ {
				counts = counts || q.Used(i)
			}
			var mounts []procfs.Mount
			err := c.Proc.Mounts(func(m *procfs.Mount) bool {
				mounts = append(mounts, *m)
				return true
			})
			if err != nil {
				q.Warn(fmt.Errorf("mounts: %w", err))
			}
			for _, m := range mounts {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				r := mountRow{Mount: m, alias: m.Source}
				// The paths of a recording are not of this host.
				if c.Proc.IsMounted() {
					if q.Used(aliasColumn) && filepath.IsAbs(m.Source) {
						r.alias = asker.alias(ctx, m.Source)
					}
					if counts {
						asker.counts(ctx, q, &r)
					}
				}
				if !yield(&r) {
					return nil
				}
			}
			return nil
		},
	})
}

// An asker asks file systems that may not answer. It is safe for concurrent
// use.
type asker struct {
	limit   time.Duration
	statfs  func(path string, buf *unix.Statfs_t) error
	resolve func(path string) (string, error)

	mu sync.Mutex
	// late are the paths about which a question is still under way, of
	// whatever scan: nobody waits for them again.
	late map[string]bool
}

// errNoAnswer says that a file system did not answer within the limit.
var errNoAnswer = errors.New("no answer")

// await returns what f returns, which asks about a path. If that takes too long,
// f is left behind: nothing ends a system call that waits for a server.
func await[T any](ctx context.Context, a *asker, path string, f func() (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	var none T
	a.mu.Lock()
	late := a.late[path]
	a.mu.Unlock()
	if late {
		return none, errNoAnswer
	}
	answers := make(chan answer)
	gone := make(chan struct{})
	go func() {
		v, err := f()
		select {
		case answers <- answer{v, err}:
		case <-gone:
			a.mu.Lock()
			delete(a.late, path)
			a.mu.Unlock()
		}
	}()
	timer := time.NewTimer(a.limit)
	defer timer.Stop()
	var err error
	select {
	case answer := <-answers:
		return answer.value, answer.err
	case <-timer.C:
		err = errNoAnswer
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	a.mu.Lock()
	a.late[path] = true
	a.mu.Unlock()
	close(gone)
	return none, err
}

func (a *asker) alias(ctx context.Context, device string) string {
	resolved, err := await(ctx, a, device, func() (string, error) { return a.resolve(device) })
	if err != nil {
		return device
	}
	return resolved
}

// counts asks a file system for its size. An automounter would mount what
// nobody uses.
func (a *asker) counts(ctx context.Context, q *tables.Query, r *mountRow) {
	if r.Type == "autofs" {
		return
	}
	statfs, err := await(ctx, a, r.Path, func() (s unix.Statfs_t, err error) {
		err = a.statfs(r.Path, &s)
		return s, err
	})
	switch {
	case err == nil:
		r.statfs, r.asked = statfs, true
	case ctx.Err() != nil:
	case errors.Is(err, fs.ErrPermission):
		q.Warn(fmt.Errorf("mounts: some file systems: %w: their sizes show as NULL", fs.ErrPermission))
	default:
		q.Warn(fmt.Errorf("mounts: %q: %w", r.Path, err))
	}
}

package network

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"

	"sockql/tables"
	"sockql/tables/internal/netlink"
	"sockql/tables/internal/netns"
	"sockql/tables/internal/procfs"
	"sockql/tables/internal/recording"
	"sockql/tables/internal/rtnetlink"
)

// A Config says what the tables of this package look at.
type Config struct {
	// Proc leads to the network namespaces of processes, or is a recorded tree.
	// A tree in which the kernel's answers are missing leaves tables empty.
	Proc *procfs.FS
	// Sys is the mount point of the sysfs, for the speed of links. Empty stands
	// for none.
	Sys string
}

// A location is a network namespace under way, and how to get there.
type location struct {
	config Config
	inode  uint64
	own    bool          // it is that of this process
	pid    int32         // a process in it, 0 if none is known
	handle *netns.Handle // nil until it is entered
}

// A space is a location that answers questions about interfaces.
type space struct {
	*location
	*rtnetlink.Conn
}

// docNamespace documents the hidden column that every table of this package
// ends with.
const docNamespace = "Network namespace, by its inode in nsfs; without a constraint that of this process, or of the recorder."

func namespaceColumn[R any](of func(*R) *location) tables.Column[R] {
	return tables.Column[R]{Name: "netns_inode", Type: tables.BigInt, Flags: tables.Additional | tables.Hidden, Doc: docNamespace,
		Get: func(r *R) tables.Value { return tables.Uint(of(r).inode) }}
}

const privilege = "Another network namespace than one's own takes CAP_SYS_ADMIN and CAP_SYS_PTRACE."

// locations calls yield for each network namespace that a query asks for until
// it returns false or an error. What yield fails with costs the rest of that
// namespace.
func (c Config) locations(ctx context.Context, q *tables.Query, column int, yield func(*location) (more bool, err error)) error {
	if c.Proc == nil {
		q.Warn(fmt.Errorf("%s: %w: no procfs was given", q.Schema().Name, tables.ErrUnavailable))
		return nil
	}
	own, err := c.own()
	if err != nil {
		return err
	}
	inodes := []uint64{own.inode}
	if values, listed := q.Set(column).Values(); listed {
		inodes = inodes[:0]
		for _, v := range values {
			inodes = append(inodes, uint64(v.Int64()))
		}
	}
	for _, inode := range inodes {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		here, err := &own, error(nil)
		if inode != own.inode {
			here, err = c.find(inode)
		}
		if err != nil {
			q.Warn(fmt.Errorf("%s: namespace %d: %w", q.Schema().Name, inode, err))
		}
		if here == nil {
			continue
		}
		more, err := yield(here)
		here.close()
		if err != nil && ctx.Err() == nil {
			q.Warn(fmt.Errorf("%s: %w", q.Schema().Name, err))
			err = nil
		}
		if err != nil || !more {
			return err
		}
	}
	return nil
}

// spaces is locations for those who ask about interfaces.
func (c Config) spaces(ctx context.Context, q *tables.Query, column int, yield func(*space) (more bool, err error)) error {
	return c.locations(ctx, q, column, func(l *location) (bool, error) {
		conn, err := l.routes()
		if err != nil {
			return true, err
		}
		defer conn.Close()
		return yield(&space{l, conn})
	})
}

// own returns the namespace of this process, or that of the recorder.
func (c Config) own() (location, error) {
	l := location{config: c, own: true}
	var err error
	if l.pid, err = c.Proc.Self(); err != nil {
		l.pid = 0
	}
	if c.Proc.IsMounted() {
		l.inode, err = netns.Current()
		return l, err
	}
	if l.pid != 0 {
		if l.inode, err = c.Proc.NetNS(l.pid); err == nil {
			return l, nil
		}
	}
	// A copy of a tree may lack whoever made it.
	pids, err := c.Proc.PIDs(nil)
	for _, pid := range pids {
		if n, err := c.Proc.NetNS(pid); err == nil {
			l.inode, l.pid = n, pid
			break
		}
	}
	return l, err
}

// find looks for a namespace among those of processes and those that are
// mounted, and returns nil if it is not there.
func (c Config) find(inode uint64) (*location, error) {
	pids, err := c.Proc.PIDs(nil)
	if err != nil {
		return nil, err
	}
	for _, pid := range pids {
		if n, err := c.Proc.NetNS(pid); err == nil && n == inode {
			return &location{config: c, inode: inode, pid: pid}, nil
		}
	}
	if r := c.Proc.Recording(); r != nil {
		if known, err := r.Namespaces(); err != nil || !slices.Contains(known, inode) {
			return nil, err
		}
		return &location{config: c, inode: inode}, nil
	}
	if !c.Proc.IsMounted() {
		return nil, nil
	}
	var errs []error
	for _, m := range netns.Find(c.Proc.Root(), pids, nil) {
		if m.Inode != inode {
			continue
		}
		h, err := m.Open(c.Proc.Root())
		if err == nil {
			return &location{config: c, inode: inode, handle: h}, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

func (l *location) close() {
	if l.handle != nil {
		l.handle.Close()
		l.handle = nil
	}
}

// do calls fn inside the namespace, of a running host.
func (l *location) do(fn func() error) error {
	if l.own {
		return fn()
	}
	if l.handle == nil {
		h, err := netns.Open(filepath.Join(l.config.Proc.Root(), strconv.Itoa(int(l.pid)), "ns/net"))
		if err != nil {
			return err
		}
		if l.handle = h; h.Inode() != l.inode {
			l.close()
			return fmt.Errorf("namespace %d: process %d has moved on: ask again", l.inode, l.pid)
		}
	}
	return netns.Do(l.handle, fn)
}

// dial opens a connection to the kernel inside the namespace, or to what it
// answered when it was recorded.
func (l *location) dial(protocol recording.Protocol, open func() (netlink.Transport, error)) (t netlink.Transport, err error) {
	if l.config.Proc.IsMounted() {
		err = l.do(func() (err error) {
			t, err = open()
			return err
		})
		return t, err
	}
	if r := l.config.Proc.Recording(); r != nil {
		exchanges, err := r.Answers(l.inode, protocol)
		if err == nil {
			return netlink.Replay(exchanges), nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return nil, l.notRecorded("answers of " + string(protocol))
}

// routes opens a connection that answers questions about interfaces.
func (l *location) routes() (*rtnetlink.Conn, error) {
	t, err := l.dial(recording.Route, rtnetlink.Dial)
	if err != nil {
		return nil, err
	}
	return rtnetlink.New(t), nil
}

func (l *location) notRecorded(what string) error {
	return fmt.Errorf("%w: the recorded tree has no %s of namespace %d: ask a running host, or record it anew", tables.ErrUnavailable, what, l.inode)
}

// read hands the content of a file of the namespace's net directory to parse.
func (l *location) read(name string, parse func([]byte) error) error {
	if l.pid != 0 {
		return l.config.Proc.NetFile(l.pid, name, parse)
	}
	if !l.config.Proc.IsMounted() {
		return fs.ErrNotExist
	}
	var content []byte
	err := l.do(func() (err error) {
		content, err = netns.ReadFile(name)
		return err
	})
	if err != nil {
		return err
	}
	return parse(content)
}

// readAll calls read for each of several files. A kernel without a protocol
// has no file of it; it is unavailable if there is none at all.
func (l *location) readAll(names []string, parse func(name string, content []byte) error) error {
	found := false
	var errs []error
	for _, name := range names {
		err := l.read(name, func(b []byte) error { return parse(name, b) })
		if found = found || !errors.Is(err, fs.ErrNotExist); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	if !found {
		if l.config.Proc.IsMounted() {
			return fmt.Errorf("%w: there is no /proc/net/%s in namespace %d: mount a procfs", tables.ErrUnavailable, names[0], l.inode)
		}
		return l.notRecorded("net/" + names[0])
	}
	return errors.Join(errs...)
}

// fileRows yields a row for each entry of several files of the namespaces that a
// query asks for; see locations and readAll. Parse may return entries with its
// error.
func fileRows[E, R any](ctx context.Context, c Config, q *tables.Query, column int, files []string,
	parse func(name string, content []byte) ([]E, error), row func(l *location, name string, e E) R, yield func(*R) bool) error {
	return c.locations(ctx, q, column, func(l *location) (bool, error) {
		var rows []R
		err := l.readAll(files, func(name string, b []byte) error {
			list, err := parse(name, b)
			for _, e := range list {
				rows = append(rows, row(l, name, e))
			}
			return err
		})
		for i := range rows {
			if !yield(&rows[i]) {
				return false, nil
			}
		}
		return true, err
	})
}

// names returns the names of interfaces by index.
func names(ctx context.Context, s *space) (map[uint32]string, error) {
	links, err := s.Links(ctx)
	names := make(map[uint32]string, len(links))
	for _, l := range links {
		names[uint32(l.Index)] = l.Name
	}
	return names, err
}

// links returns the interfaces in the order of their indexes.
func links(ctx context.Context, s *space) ([]rtnetlink.Link, error) {
	list, err := s.Links(ctx)
	slices.SortStableFunc(list, func(a, b rtnetlink.Link) int { return cmp.Compare(a.Index, b.Index) })
	return list, err
}

// column makes a column without options.
func column[R any](t tables.Type, name, doc string, get func(*R) tables.Value) tables.Column[R] {
	return tables.Column[R]{Name: name, Type: t, Doc: doc, Get: get}
}

func text[R any](name, doc string, get func(*R) string) tables.Column[R] {
	return column(tables.Text, name, doc, func(r *R) tables.Value { return tables.String(get(r)) })
}

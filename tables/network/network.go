package network

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"

	"sockql/tables"
	"sockql/tables/internal/netns"
	"sockql/tables/internal/procfs"
	"sockql/tables/internal/rtnetlink"
)

// A Config says what the tables of this package look at.
type Config struct {
	// Proc leads to the network namespaces of processes. If it is a recorded
	// tree there is no kernel to ask, and the tables are empty.
	Proc *procfs.FS
	// Sys is the mount point of the sysfs, for the speed of links. Empty stands
	// for none.
	Sys string
}

// A space is a network namespace under way.
type space struct {
	*rtnetlink.Conn
	inode uint64
	own   bool // it is that of this process
}

// docNamespace documents the hidden column that every table of this package
// ends with.
const docNamespace = "Network namespace, by its inode in nsfs; without a constraint that of this process."

func namespaceColumn[R any](of func(*R) *space) tables.Column[R] {
	return tables.Column[R]{Name: "netns_inode", Type: tables.BigInt, Flags: tables.Additional | tables.Hidden, Doc: docNamespace,
		Get: func(r *R) tables.Value { return tables.Uint(of(r).inode) }}
}

const privilege = "Another network namespace than one's own takes CAP_SYS_ADMIN and CAP_SYS_PTRACE."

// spaces calls yield for each network namespace that a query asks for until it
// returns false or an error.
func (c Config) spaces(ctx context.Context, q *tables.Query, column int, yield func(*space) (more bool, err error)) error {
	if c.Proc == nil || !c.Proc.IsMounted() {
		q.Warn(fmt.Errorf("%s: %w: a recorded tree has no interfaces: ask a running host", q.Schema().Name, tables.ErrUnavailable))
		return nil
	}
	own, err := netns.Current()
	if err != nil {
		return err
	}
	inodes := []uint64{own}
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
		conn, err := c.dial(inode, own)
		if err != nil {
			q.Warn(fmt.Errorf("%s: namespace %d: %w", q.Schema().Name, inode, err))
		}
		if conn == nil {
			continue
		}
		more, err := yield(&space{conn, inode, inode == own})
		conn.Close()
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

// dial opens a connection to a namespace, and returns nil if there is no such
// one to be found.
func (c Config) dial(inode, own uint64) (*rtnetlink.Conn, error) {
	if inode == own {
		return connect()
	}
	handle, err := c.find(inode)
	if handle == nil || err != nil {
		return nil, err
	}
	defer handle.Close()
	var conn *rtnetlink.Conn
	err = netns.Do(handle, func() (err error) {
		conn, err = connect()
		return err
	})
	return conn, err
}

func connect() (*rtnetlink.Conn, error) {
	t, err := rtnetlink.Dial()
	if err != nil {
		return nil, err
	}
	return rtnetlink.New(t), nil
}

// find looks for a namespace among those of processes and those that are
// mounted.
func (c Config) find(inode uint64) (*netns.Handle, error) {
	pids, err := c.Proc.PIDs(nil)
	if err != nil {
		return nil, err
	}
	for _, pid := range pids {
		if n, err := c.Proc.NetNS(pid); err != nil || n != inode {
			continue
		}
		h, err := netns.Open(filepath.Join(c.Proc.Root(), strconv.Itoa(int(pid)), "ns/net"))
		switch {
		case err != nil:
			return nil, err
		case h.Inode() == inode:
			return h, nil
		}
		h.Close() // the process has moved on
	}
	var errs []error
	for _, m := range netns.Find(c.Proc.Root(), pids, nil) {
		if m.Inode != inode {
			continue
		}
		h, err := m.Open(c.Proc.Root())
		if err == nil {
			return h, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
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

package system

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"sockql/tables"
	"sockql/tables/internal/procfs"
	"sockql/tables/internal/rooted"
)

// A Config says where the tables that show files of /etc find them.
type Config struct {
	// Root is the directory that holds etc. Empty stands for the root
	// directory.
	Root string
	// Proc leads to the root directories of processes for the column
	// pid_with_namespace. Without it that column finds nothing.
	Proc *procfs.FS
}

// maxFile bounds what is read of a file, in bytes: a container may put
// anything in its place.
const maxFile = 64 << 20

// A place is where a file is looked for: below the configured root, or below
// that of a process.
type place struct {
	pid  int64 // 0 for the configured root
	file string
}

// read opens the file of a place and has parse read it. A file that a process
// does not have, or a process that is gone, is nothing to report.
func (c Config) read(p place, parse func(io.Reader) error) error {
	f, err := c.open(p)
	if err != nil {
		if p.pid != 0 && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH)) {
			return nil
		}
		return fmt.Errorf("%s: open: %w", p, err)
	}
	defer f.Close()
	// A pipe would keep the scan waiting and a device never end.
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return fmt.Errorf("%s: open: not a regular file", p)
	}
	if err := parse(io.LimitReader(f, maxFile)); err != nil {
		return fmt.Errorf("%s: read: %w", p, err)
	}
	return nil
}

func (p place) String() string {
	if p.pid == 0 {
		return "/" + p.file
	}
	return fmt.Sprintf("/%s of process %d", p.file, p.pid)
}

func (c Config) open(p place) (*os.File, error) {
	var root rooted.Root
	var err error
	if p.pid == 0 {
		root, err = rooted.Open(c.Root)
	} else {
		root, err = rooted.OfProcess(c.Proc, p.pid)
	}
	if err != nil {
		return nil, err
	}
	defer root.Close()
	fd, err := root.Open("/"+p.file, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), p.file), nil
}

// rows returns the parsed file of a place, which a session reads once however
// often a join asks: a look-up for each process is a scan each.
func rows[R any](ctx context.Context, c Config, s *tables.Session, p place, parse func(io.Reader, func(*R) bool) error) ([]R, error) {
	return tables.Share(ctx, s, sharedFile{c.Root, c.Proc, p}, func(context.Context) (list []R, err error) {
		err = c.read(p, func(r io.Reader) error {
			return parse(r, func(row *R) bool {
				list = append(list, *row)
				return true
			})
		})
		return list, err
	})
}

type sharedFile struct {
	root string
	proc *procfs.FS
	place
}

// places returns where a query looks for a file. As in osquery, processes named
// by pid_with_namespace take the place of the host; 0 is the host too.
func places(q *tables.Query, pidColumn int, file string) []place {
	pids, listed := q.Set(pidColumn).Values()
	if !listed {
		return []place{{file: file}}
	}
	var list []place
	for _, pid := range pids {
		list = append(list, place{pid.Int64(), file})
	}
	return list
}

// eachRow calls yield for the rows of every place of a query until it returns
// false. A place that cannot be read costs its rows and gives a warning.
func eachRow[R any](ctx context.Context, c Config, q *tables.Query, table string, all []place, parse func(io.Reader, func(*R) bool) error, yield func(*R, place) bool) error {
	for _, p := range all {
		list, err := rows(ctx, c, q.Session(), p, parse)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			q.Warn(fmt.Errorf("%s: %w", table, err))
		}
		for i := range list {
			if !yield(&list[i], p) {
				return nil
			}
		}
	}
	return nil
}

// signed returns an identifier as the signed 32-bit number of the same bits,
// which osquery shows beside the unsigned one.
func signed(id uint32) tables.Value { return tables.Int(int32(id)) }

func null[R any](*R) tables.Value { return tables.Null() }

func empty[R any](*R) tables.Value { return tables.String("") }

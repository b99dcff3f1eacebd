package files

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"sockql/tables"
)

// The columns that file, hash and extended_attributes begin with. One of the
// two is required.
const (
	pathColumn      = 0
	directoryColumn = 1
)

// A place is where a search found a file.
type place struct {
	*view
	path      string
	directory string
}

// errStop ends a search whose caller wants no more rows.
var errStop = errors.New("stop")

// A search finds the files that a query asks for by path and directory.
type search struct {
	ctx   context.Context
	query *tables.Query
	view  *view
	yield func(place) bool
}

// search calls yield for each file that a query asks for until it returns
// false. Paths that a statement names need not exist. pidColumn is the column
// pid_with_namespace, or -1.
func (c Config) search(ctx context.Context, q *tables.Query, pidColumn int, yield func(place) bool) error {
	err := c.views(ctx, q, pidColumn, func(v *view) error {
		s := &search{ctx: ctx, query: q, view: v, yield: yield}
		return s.run()
	})
	if err == errStop {
		return nil
	}
	return err
}

func (s *search) run() error {
	paths, directories := s.query.Set(pathColumn), s.query.Set(directoryColumn)
	if named := paths.Written(); len(named) > 0 {
		for _, path := range named {
			for _, directory := range directoriesOf(path, directories) {
				if err := s.found(path, directory); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if named := directories.Written(); len(named) > 0 {
		for _, directory := range named {
			if err := s.entries(directory); err != nil {
				return err
			}
		}
		return nil
	}
	// All patterns hold, so that one of them is enough. One of a path is the
	// narrower, but one that begins with a wildcard finds nothing: it is
	// relative, and meant to go with another.
	if p, ok := firstPattern(paths); ok {
		return s.expand(p, false, func(path string, _ bool) error {
			directory, _ := split(path)
			return s.found(path, directory)
		})
	}
	if p, ok := firstPattern(directories); ok {
		return s.expand(p, true, func(directory string, _ bool) error { return s.entries(directory) })
	}
	if len(paths.Patterns())+len(directories.Patterns()) > 0 {
		s.query.Warn(fmt.Errorf("%s: a pattern of path or directory begins with a slash", s.query.Schema().Name))
	}
	return nil
}

func firstPattern(set tables.Set) (pattern, bool) {
	for _, p := range set.Patterns() {
		if compiled, ok := compile(p); ok {
			return compiled, true
		}
	}
	return pattern{}, false
}

// directoriesOf returns how the directory of a path is written in the rows of a
// query. Where the statement names directories, each that leads to the path
// counts: "/etc/" is one of /etc/hosts beside "/etc".
func directoriesOf(path string, directories tables.Set) []string {
	parent, name := split(path)
	named := directories.Written()
	if len(named) == 0 {
		return []string{parent}
	}
	return slices.DeleteFunc(slices.Clone(named), func(d string) bool { return d != parent && join(d, name) != path })
}

// found hands a path to the caller.
func (s *search) found(path, directory string) error {
	if s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	if !s.yield(place{s.view, path, directory}) {
		return errStop
	}
	return nil
}

// entries hands over the entries of a directory.
func (s *search) entries(directory string) error {
	return s.list(directory, func(e fs.DirEntry) error { return s.found(join(directory, e.Name()), directory) })
}

// list calls f for the entries of a directory. One that cannot be read has
// none, and gives a warning.
func (s *search) list(directory string, f func(fs.DirEntry) error) error {
	if s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	var failed error
	err := s.view.list(s.ctx, directory, func(e fs.DirEntry) bool {
		failed = f(e)
		return failed == nil
	})
	switch {
	case failed != nil:
		return failed
	case s.ctx.Err() != nil:
		return context.Cause(s.ctx)
	case err != nil && !absent(err):
		s.warn("directories", err)
	}
	return nil
}

// warn says once a scan that some files are missing from the result.
func (s *search) warn(what string, err error) { warn(s.query, what, err) }

// warn reports an error of one path so that all of its kind make one warning:
// a hostile directory may hold any number of them.
func warn(q *tables.Query, what string, err error) {
	if errors.Is(err, fs.ErrPermission) {
		err = fmt.Errorf("%w: they are left out or NULL", fs.ErrPermission)
	} else {
		var path *fs.PathError
		if errors.As(err, &path) {
			err = path.Err
		}
	}
	q.Warn(fmt.Errorf("%s: some %s: %w", q.Schema().Name, what, err))
}

package resultlog

import (
	"errors"
	"fmt"

	"sockql/tables"
)

// A Sink takes lines.
type Sink interface {
	// Name tells sinks apart, and is the same each time the program runs.
	Name() string
	// Write writes lines, all or none. Lines that it refuses are offered again.
	Write(lines []Line) error
}

// A Resumer is a [Sink] that can tell which lines it has written before the
// process was killed.
type Resumer interface {
	// Resume returns how many of the first lines are written already, and
	// removes a part of the next one.
	Resume(lines []Line) (int, error)
}

// defaultBacklog is osquery's buffered_log_max, in lines.
const defaultBacklog = 1_000_000

// batch is how many lines are read at a time.
const batch = 1000

// Attach names the sinks that take the lines, and how many lines may wait for
// one that fails; 0 stands for a million. A sink that is attached for the first
// time takes the lines that are committed from now on.
func (s *Store) Attach(backlog int64, sinks ...Sink) error {
	if s.max = backlog; s.max == 0 {
		s.max = defaultBacklog
	}
	s.sinks = sinks
	return s.transaction(func() error {
		named := map[string]bool{}
		for _, k := range sinks {
			named[k.Name()] = true
			err := s.exec("INSERT OR IGNORE INTO sink VALUES (?, (SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'line'))", tables.String(k.Name()))
			if err != nil {
				return err
			}
		}
		var gone []string
		if err := s.rows("SELECT name FROM sink", func(r []tables.Value) {
			if name := r[0].String(); !named[name] {
				gone = append(gone, name)
			}
		}); err != nil {
			return err
		}
		for _, name := range gone {
			if err := s.exec("DELETE FROM sink WHERE name = ?", tables.String(name)); err != nil {
				return err
			}
		}
		return nil
	})
}

// A DroppedError says that lines were dropped because a sink failed for too
// long.
type DroppedError struct{ Lines int64 }

func (e *DroppedError) Error() string {
	return fmt.Sprintf("resultlog: %d lines were dropped, the oldest first, because more than the limit waited for a logger that fails", e.Lines)
}

// Deliver offers each sink the lines that it has not taken. Its error joins
// what failed since the last call: the failure of a sink, or of the store, is in
// it once until that works again, and a [*DroppedError] if lines were lost.
func (s *Store) Deliver() error {
	if !s.pending {
		return nil
	}
	var errs []error
	for _, k := range s.sinks {
		if err := s.offer(k); s.began(k.Name(), err) {
			errs = append(errs, fmt.Errorf("resultlog: logger %s: %w", k.Name(), err))
		}
	}
	dropped, err := s.trim()
	if s.began("", err) {
		errs = append(errs, err)
	}
	if dropped > 0 {
		errs = append(errs, &DroppedError{Lines: dropped})
	}
	return errors.Join(errs...)
}

// began reports whether what has this name fails and did not before.
func (s *Store) began(name string, err error) bool {
	before := s.failing[name]
	s.failing[name] = err != nil
	return err != nil && !before
}

// Waiting returns how many lines wait for a sink.
func (s *Store) Waiting() (int64, error) {
	row, err := s.one("SELECT count(*) FROM line WHERE seq > (SELECT min(seq) FROM sink)")
	if err != nil {
		return 0, err
	}
	return row[0].Int64(), nil
}

func (s *Store) offer(k Sink) error {
	for {
		var lines []Line
		var last int64
		err := s.rows("SELECT seq, stream, text FROM line WHERE seq > (SELECT seq FROM sink WHERE name = ?) ORDER BY seq LIMIT ?",
			func(r []tables.Value) {
				last = r[0].Int64()
				lines = append(lines, Line{Stream(r[1].Int64()), r[2].String()})
			}, tables.String(k.Name()), tables.Int(batch))
		if err != nil {
			return err
		}
		skip := 0
		if r, ok := k.(Resumer); ok && !s.resumed[k.Name()] {
			if skip, err = r.Resume(lines); err != nil {
				return err
			}
		}
		if len(lines) == 0 {
			s.resumed[k.Name()] = true
			return nil
		}
		if len(lines) > skip {
			if err := k.Write(lines[skip:]); err != nil {
				return err
			}
		}
		s.resumed[k.Name()] = true
		if err := s.exec("UPDATE sink SET seq = ? WHERE name = ?", tables.Int(last), tables.String(k.Name())); err != nil {
			return err
		}
	}
}

// trim deletes the lines that all sinks have, and those beyond the limit, which
// it counts.
func (s *Store) trim() (dropped int64, err error) {
	if err := s.exec("DELETE FROM line WHERE seq <= (SELECT coalesce(min(seq), 9223372036854775807) FROM sink)"); err != nil {
		return 0, err
	}
	row, err := s.one("SELECT count(*), coalesce(max(seq), 0) FROM line")
	if err != nil {
		return 0, err
	}
	waiting, last := row[0].Int64(), row[1].Int64()
	s.pending = waiting > 0
	if waiting <= s.max {
		return 0, nil
	}
	if err := s.exec("DELETE FROM line WHERE seq <= ?", tables.Int(last-s.max)); err != nil {
		return 0, err
	}
	return waiting - s.max, nil
}

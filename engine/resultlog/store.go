package resultlog

import (
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"time"

	"sockql/engine/internal/sqlite"
	"sockql/tables"
)

// version is that of the store's tables, kept in SQLite's user_version.
const version = 1

// schema makes the tables of a new store. A query's rows are JSON objects, one
// a line; a line stays until each sink has taken it.
var schema = []string{
	`CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID`,
	`CREATE TABLE query (name TEXT PRIMARY KEY, sql TEXT NOT NULL, epoch INTEGER NOT NULL, counter INTEGER NOT NULL, rows BLOB NOT NULL)`,
	`CREATE TABLE line (seq INTEGER PRIMARY KEY AUTOINCREMENT, stream INTEGER NOT NULL, text TEXT NOT NULL)`,
	`CREATE TABLE sink (name TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID`,
	fmt.Sprintf(`PRAGMA user_version = %d`, version),
}

// ErrLocked says that another process has the store.
var ErrLocked = errors.New("resultlog: store: in use by another process")

// A Store keeps what was logged of each query, lines on their way to sinks, and
// settings of its owner.
type Store struct {
	db      *sqlite.Conn
	stmts   map[string]*sqlite.Stmt
	sinks   []Sink
	failing map[string]bool // sinks whose failure was reported
	resumed map[string]bool
	max     int64 // lines
	pending bool
}

// Open opens the store in a file, or in memory if the path is empty. A file
// that is damaged or that a later version wrote is moved aside, and moved tells
// where to and why; a new one takes its place. The error is [ErrLocked] if
// another process has the file.
func Open(path string) (s *Store, moved error, err error) {
	if path != "" {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return nil, nil, fmt.Errorf("resultlog: store: %w", err)
		}
	}
	s, err = open(path)
	var sqliteErr *sqlite.Error
	const corrupt, notADB = 11, 26 // https://www.sqlite.org/rescode.html
	switch {
	case err == nil || path == "":
		return s, nil, err
	case errors.Is(err, errVersion), errors.Is(err, errDamaged):
	case errors.As(err, &sqliteErr) && (sqliteErr.Code == corrupt || sqliteErr.Code == notADB):
	case errors.As(err, &sqliteErr) && sqliteErr.Code == 5:
		return nil, nil, fmt.Errorf("%w: %s", ErrLocked, path)
	default:
		return nil, nil, err
	}
	aside := fmt.Sprintf("%s.unusable-%d", path, time.Now().UnixNano())
	moved = fmt.Errorf("%w; it was moved to %s, and each query begins anew", err, aside)
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Rename(path+suffix, aside+suffix); err != nil && !(suffix != "" && errors.Is(err, os.ErrNotExist)) {
			return nil, nil, fmt.Errorf("resultlog: store: move aside: %w", err)
		}
	}
	s, err = open(path)
	return s, moved, err
}

var (
	errVersion = errors.New("resultlog: store: the file is of a later version of this program")
	errDamaged = errors.New("resultlog: store: the file is damaged")
)

func open(path string) (_ *Store, err error) {
	if path != "" {
		// Results may tell secrets; SQLite would let everybody read them, and
		// gives the files beside this one the same mode.
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, fmt.Errorf("resultlog: store: %w", err)
		}
		if err := f.Close(); err != nil {
			return nil, fmt.Errorf("resultlog: store: %w", err)
		}
	}
	s := &Store{
		stmts: map[string]*sqlite.Stmt{}, failing: map[string]bool{}, resumed: map[string]bool{}, pending: true,
	}
	s.db, err = sqlite.Open(sqlite.Config{
		File: path, HeapLimit: -1,
		Setup: []string{
			// One process owns the file, so that SQLite needs no shared memory
			// and a second daemon is refused.
			"PRAGMA locking_mode = EXCLUSIVE",
			"PRAGMA journal_mode = WAL",
			// A commit survives the process, not the loss of power, which
			// would take the logs as well.
			"PRAGMA synchronous = NORMAL",
			"PRAGMA journal_size_limit = 4194304",
			"BEGIN IMMEDIATE", "COMMIT",
		},
	})
	if err != nil {
		return nil, fmt.Errorf("resultlog: store: %w", err)
	}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	check, err := s.one("PRAGMA quick_check(1)")
	if err != nil {
		return nil, err
	}
	if len(check) != 1 || check[0].String() != "ok" {
		return nil, fmt.Errorf("%w: %v", errDamaged, check)
	}
	at, err := s.one("PRAGMA user_version")
	if err != nil {
		return nil, err
	}
	switch n := at[0].Int64(); {
	case n > version:
		return nil, fmt.Errorf("%w: %d, where this one writes %d", errVersion, n, version)
	case n == 0:
		return s, s.transaction(func() error {
			for _, sql := range schema {
				if err := s.exec(sql); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return s, nil
}

// Close closes the store. Lines that wait for a sink stay in the file.
func (s *Store) Close() error {
	for _, st := range s.stmts {
		st.Close()
	}
	clear(s.stmts)
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("resultlog: store: close: %w", err)
	}
	return nil
}

// rows runs a statement, which is kept prepared, and calls f for each row.
func (s *Store) rows(sql string, f func([]tables.Value), args ...tables.Value) error {
	st := s.stmts[sql]
	if st == nil {
		var err error
		if st, _, err = s.db.Prepare(sql); err != nil {
			return fmt.Errorf("resultlog: store: %w", err)
		}
		s.stmts[sql] = st
	}
	defer func() {
		if !large(args) {
			st.Reset()
			return
		}
		// SQLite keeps its copies of values for as long as the statement.
		st.Close()
		delete(s.stmts, sql)
	}()
	if err := st.Bind(args...); err != nil {
		return fmt.Errorf("resultlog: store: %w", err)
	}
	for {
		more, err := st.Step()
		if err != nil {
			return fmt.Errorf("resultlog: store: %w", err)
		}
		if !more {
			return nil
		}
		row, err := st.Row(nil)
		if err != nil {
			return fmt.Errorf("resultlog: store: %w", err)
		}
		f(row)
	}
}

// large reports whether a value is too large to be kept for nothing.
func large(args []tables.Value) bool {
	return slices.ContainsFunc(args, func(v tables.Value) bool {
		text, ok := v.Literal()
		return ok && len(text) > 1<<16
	})
}

func (s *Store) exec(sql string, args ...tables.Value) error {
	return s.rows(sql, func([]tables.Value) {}, args...)
}

// one returns the last row of a statement, or nil.
func (s *Store) one(sql string, args ...tables.Value) (row []tables.Value, err error) {
	err = s.rows(sql, func(r []tables.Value) { row = r }, args...)
	return row, err
}

// transaction runs f in a transaction that ends as one.
func (s *Store) transaction(f func() error) error {
	if err := s.exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	err := f()
	if err == nil {
		err = s.exec("COMMIT")
	}
	if err != nil {
		// After some errors SQLite has rolled back already.
		s.exec("ROLLBACK")
	}
	return err
}

// Setting returns a setting, or "" if there is none.
func (s *Store) Setting(name string) (string, error) {
	row, err := s.one("SELECT value FROM setting WHERE name = ?", tables.String(name))
	if err != nil || row == nil {
		return "", err
	}
	return row[0].String(), nil
}

// Settings calls f for each setting whose name begins with prefix.
func (s *Store) Settings(prefix string, f func(name, value string)) error {
	return s.rows("SELECT name, value FROM setting WHERE substr(name, 1, length(?1)) = ?1 ORDER BY name",
		func(row []tables.Value) { f(row[0].String(), row[1].String()) }, tables.String(prefix))
}

// Set changes a setting; an empty value removes it.
func (s *Store) Set(name, value string) error {
	if value == "" {
		return s.exec("DELETE FROM setting WHERE name = ?", tables.String(name))
	}
	return s.exec("INSERT OR REPLACE INTO setting VALUES (?, ?)", tables.String(name), tables.String(value))
}

// A Change is what a run of a query found, compared with what is stored.
type Change struct {
	Removed, Added []Row
	// Counter is 0 for the first run, or that of a new epoch, and then one more
	// at each run that changed something.
	Counter uint64
	// First says that nothing was stored of the query, NewEpoch that what is
	// stored is of another epoch, and NewSQL that it is of another statement.
	First, NewEpoch, NewSQL bool

	name, sql string
	epoch     uint64
	rows      string
	save      bool
}

// Logged reports whether osquery writes something of the change: its first run
// even if it found nothing.
func (c *Change) Logged(removed bool) bool {
	return c.Counter == 0 && (c.First || c.NewEpoch) || len(c.Added) > 0 || removed && len(c.Removed) > 0
}

// Compare finds what has changed since the rows that are stored. Rows are
// compared as wholes, and as often as they occur. It stores nothing:
// [Store.Commit] does.
func (s *Store) Compare(name, sql string, epoch uint64, rows *Rows) (*Change, error) {
	c := &Change{name: name, sql: sql, epoch: epoch}
	old, err := s.one("SELECT sql, epoch, counter, rows FROM query WHERE name = ?", tables.String(name))
	if err != nil {
		return nil, err
	}
	c.rows = rows.stored()
	switch {
	case old == nil:
		c.First, c.NewSQL = true, true
	case uint64(old[1].Int64()) != epoch:
		c.NewEpoch = true
	case old[0].String() != sql:
		c.NewSQL = true
	}
	if c.First || c.NewEpoch {
		c.Added, c.save = rows.All(), true
		return c, nil
	}
	count := map[string]int{}
	for line := range splitRows(old[3].String()) {
		count[line]++
	}
	for line := range splitRows(c.rows) {
		if count[line] > 0 {
			count[line]--
		} else {
			c.Added = append(c.Added, Row(line))
		}
	}
	for line, n := range count {
		for range n {
			c.Removed = append(c.Removed, Row(line))
		}
	}
	slices.SortFunc(c.Removed, compareRows)
	c.Counter = uint64(old[2].Int64())
	if len(c.Added) > 0 || len(c.Removed) > 0 {
		c.Counter++
		c.save = true
	}
	c.save = c.save || c.NewSQL
	return c, nil
}

// Commit stores a change and lines, which both may be nil, together with
// settings.
func (s *Store) Commit(c *Change, lines iter.Seq[Line], settings map[string]string) error {
	return s.transaction(func() error {
		if c != nil && c.save {
			err := s.exec("INSERT OR REPLACE INTO query VALUES (?, ?, ?, ?, ?)",
				tables.String(c.name), tables.String(c.sql), tables.Uint(c.epoch), tables.Uint(c.Counter), tables.Bytes(c.rows))
			if err != nil {
				return err
			}
		}
		if lines == nil {
			lines = slices.Values[[]Line](nil)
		}
		for l := range lines {
			if err := s.exec("INSERT INTO line (stream, text) VALUES (?, ?)", tables.Int(l.Stream), tables.String(l.Text)); err != nil {
				return err
			}
			s.pending = true
		}
		for name, value := range settings {
			if err := s.Set(name, value); err != nil {
				return err
			}
		}
		return nil
	})
}

// Forget drops what is stored of a query.
func (s *Store) Forget(name string) error {
	return s.exec("DELETE FROM query WHERE name = ?", tables.String(name))
}

// Queries returns the names of the queries of which something is stored.
func (s *Store) Queries() (names []string, err error) {
	err = s.rows("SELECT name FROM query ORDER BY name", func(r []tables.Value) { names = append(names, r[0].String()) })
	return names, err
}

package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sockql/engine"
	"sockql/engine/sqlfunc"
	"sockql/extension"
	"sockql/tables"
)

// roleVariable makes the test's binary an extension: its value says which one.
const roleVariable = "SOCKQL_TEST_EXTENSION"

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		os.Exit(play(role, os.Args))
	}
	goleak.VerifyTestMain(m)
}

// play is an extension that the host has started.
func play(role string, args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	socket := ""
	for i, a := range args {
		if a == "--socket" && i+1 < len(args) {
			socket = args[i+1]
		}
	}
	switch role {
	case "silent":
		<-ctx.Done()
		return 0
	case "brief":
		return 3
	case "host":
		return playHost(args[1])
	}
	parent := os.Getppid()
	err := extension.Run(ctx, extension.Config{
		Socket: socket, Name: role, Version: "0.1", Interval: 50 * time.Millisecond, Timeout: 10 * time.Second,
		Tables:   []tables.Table{numbers("numbers", 1000), badTable()},
		Orphaned: func() bool { return os.Getppid() != parent },
		Limits:   extension.Limits{Moment: -1},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// playHost is a host with an extension. It writes the extension's process to its
// standard output, and stays.
func playHost(dir string) int {
	if err := os.Setenv(roleVariable, "ours"); err != nil {
		return 1
	}
	h, err := New(Config{
		Socket: filepath.Join(dir, "em"), Extensions: []string{os.Args[0]}, Require: []string{"ours"},
		Timeout: 20 * time.Second, Output: os.Stderr,
	})
	if err != nil {
		return 1
	}
	if err := h.Start(context.Background(), newDatabase(h.Tables()...)); err != nil {
		return 1
	}
	if err := h.Await(context.Background()); err != nil {
		return 1
	}
	fmt.Println(h.list()[0].pid)
	select {}
}

type number struct {
	n     int
	calls *int
}

// numbers has a row for each number, of which pid is the number; every scan
// counts itself in the column scan.
func numbers(name string, n int) tables.Table {
	scans, mu := 0, new(sync.Mutex)
	t, err := tables.New(tables.Def[number]{
		Name: name,
		Columns: []tables.Column[number]{
			{Name: "pid", Type: tables.Integer, Flags: tables.Additional | tables.Optimized, Get: func(r *number) tables.Value { return tables.Int(r.n) }},
			{Name: "name", Type: tables.Text, Flags: tables.Index, Get: func(r *number) tables.Value { return tables.String(fmt.Sprint("n", r.n)) }},
			{Name: "half", Type: tables.Double, Get: func(r *number) tables.Value { return tables.Float(float64(r.n) / 2) }},
			{Name: "big", Type: tables.BigInt, Get: func(r *number) tables.Value { return tables.Int(int64(r.n) - 1<<62) }},
			{Name: "odd", Type: tables.Text, Get: func(r *number) tables.Value {
				if r.n%2 == 0 {
					return tables.Null()
				}
				return tables.String("")
			}},
			{Name: "worker", Type: tables.Integer, Flags: tables.Hidden, Get: func(*number) tables.Value { return tables.Int(os.Getpid()) }},
			{Name: "scan", Type: tables.Integer, Flags: tables.Hidden, Get: func(r *number) tables.Value { return tables.Int(*r.calls) }},
		},
		Rows: func(_ context.Context, q *tables.Query, yield func(*number) bool) error {
			mu.Lock()
			scans++
			at := scans
			mu.Unlock()
			for i := range n {
				if q.Set(0).HasInt(int64(i)) && !yield(&number{i, &at}) {
					break
				}
			}
			return nil
		},
	})
	if err != nil {
		panic(err)
	}
	return t
}

// badTable fails, panics, kills its process or sends a megabyte.
func badTable() tables.Table {
	t, err := tables.New(tables.Def[string]{
		Name: "bad",
		Columns: []tables.Column[string]{
			{Name: "what", Type: tables.Text, Flags: tables.Required, Get: func(s *string) tables.Value { return tables.String(*s) }},
			{Name: "text", Type: tables.Text, Get: func(*string) tables.Value { return tables.String(strings.Repeat("m", 1<<20)) }},
		},
		Rows: func(ctx context.Context, q *tables.Query, yield func(*string) bool) error {
			for v := range q.Equal(0) {
				what := v.String()
				switch what {
				case "fail":
					return errors.New("failed on purpose")
				case "panic":
					panic("on purpose")
				case "die":
					return syscall.Kill(os.Getpid(), syscall.SIGKILL)
				case "hang":
					<-ctx.Done()
					return ctx.Err()
				}
				if !yield(&what) {
					break
				}
			}
			return nil
		},
	})
	if err != nil {
		panic(err)
	}
	return t
}

// A database runs each statement on an engine of its own, with the tables that
// are attached at that moment.
type database struct {
	mu     sync.Mutex
	tables map[string]tables.Table
}

func newDatabase(list ...tables.Table) *database {
	d := &database{tables: map[string]tables.Table{}}
	for _, t := range list {
		d.tables[t.Schema().Name] = t
	}
	return d
}

func (d *database) open() (*engine.Conn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	cfg := engine.Config{Functions: sqlfunc.All(sqlfunc.Config{}), Collations: sqlfunc.Collations()}
	for _, t := range d.tables {
		cfg.Tables = append(cfg.Tables, t)
	}
	e, err := engine.New(cfg)
	if err != nil {
		return nil, err
	}
	return e.Open()
}

func (d *database) Attach(t tables.Table) error {
	d.mu.Lock()
	d.tables[t.Schema().Name] = t
	d.mu.Unlock()
	c, err := d.open()
	if err != nil {
		d.Detach(t.Schema().Name)
		return err
	}
	return c.Close()
}

func (d *database) Detach(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.tables, name)
}

func (d *database) Query(ctx context.Context, sql string) (*Result, error) {
	c, err := d.open()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	r, err := c.Query(ctx, sql)
	if err != nil {
		return nil, err
	}
	result := &Result{Rows: r.Rows}
	for _, column := range r.Columns {
		result.Columns = append(result.Columns, Column{column.Name, column.DeclType})
	}
	return result, nil
}

func (d *database) Columns(ctx context.Context, sql string) ([]Column, error) {
	r, err := d.Query(ctx, sql)
	if err != nil {
		return nil, err
	}
	return r.Columns, nil
}

// ask returns the rows of a statement, cells joined by "|".
func (d *database) ask(t testing.TB, sql string) []string {
	t.Helper()
	r, err := d.Query(t.Context(), sql)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	var rows []string
	for _, row := range r.Rows {
		var cells []string
		for _, v := range row {
			if v.IsNull() {
				cells = append(cells, "NULL")
				continue
			}
			cells = append(cells, v.String())
		}
		rows = append(rows, strings.Join(cells, "|"))
	}
	return rows
}

func (d *database) number(t testing.TB, sql string) int {
	t.Helper()
	rows := d.ask(t, sql)
	if len(rows) != 1 {
		t.Fatalf("%s: %v", sql, rows)
	}
	n, err := strconv.Atoi(rows[0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A journal collects what is logged.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// await waits until a text was logged a number of times.
func (j *journal) await(t testing.TB, text string, times int) {
	t.Helper()
	for range 6000 {
		if strings.Count(j.String(), text) >= times {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("%q is not logged %d times:\n%s", text, times, j)
}

// start starts a host with what the configuration lacks.
func start(t testing.TB, cfg Config, own ...tables.Table) (*Host, *database, *journal) {
	t.Helper()
	log := &journal{}
	cfg.Log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if cfg.Socket == "" {
		cfg.Socket = filepath.Join(t.TempDir(), "em")
	}
	if cfg.Interval == 0 {
		cfg.Interval = 50 * time.Millisecond
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 20 * time.Second
	}
	cfg.Tables, cfg.Output, cfg.Version = own, log, "5.23.0"
	h, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	db := newDatabase(append(own, h.Tables()...)...)
	if err := h.Start(context.Background(), db); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(log)
		}
	})
	return h, db, log
}

// self returns the test's binary, which plays the role in a started process.
func self(t testing.TB, role string) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(roleVariable, role)
	return path
}

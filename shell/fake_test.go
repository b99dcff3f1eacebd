package shell_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"sockql/engine"
	"sockql/engine/sqlfunc"
	"sockql/shell"
	"sockql/tables"
)

// TestMain makes the command over the tables of this file available to tests,
// under both of its names.
func TestMain(m *testing.M) {
	command := func() {
		os.Exit(shell.Main(shell.Config{
			Version: "1.2.3",
			Stdin:   os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
			Engine: fakeEngine,
			Subcommands: []shell.Subcommand{{
				Name: "echo", Summary: "print the arguments",
				Run: func(_ context.Context, args []string) int {
					os.Stdout.WriteString(strings.Join(args, " ") + "\n")
					return 7
				},
			}},
		}, os.Args))
	}
	testscript.Main(m, map[string]func(){"sockql": command, "osqueryi": command})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/script"})
}

func fakeEngine(from shell.Sources) (*engine.Engine, error) {
	var list []tables.Table
	for _, make := range []func() (tables.Table, error){people, pets, endless, partial, broken, keyed, lines, socketStates, processes} {
		t, err := make()
		if err != nil {
			return nil, err
		}
		if from.Offered(t.Schema().Name) {
			list = append(list, t)
		}
	}
	if from.Proc == "nowhere" {
		return nil, errors.New("--proc: no procfs there")
	}
	return engine.New(engine.Config{
		Tables:     list,
		Limits:     engine.Limits{HeapBytes: from.SQLMemory},
		Functions:  sqlfunc.All(sqlfunc.Config{AllowResolve: from.Resolve}),
		Collations: sqlfunc.Collations(),
	})
}

type person struct {
	id   int64
	name string
	note tables.Value
}

func people() (tables.Table, error) {
	return tables.New(tables.Def[person]{
		Name: "people", Aliases: []string{"folk"},
		Doc:       "People whom every test knows. They do not change.",
		Privilege: "Anybody may meet them.",
		Examples:  []string{"SELECT name FROM people WHERE id = 1;"},
		Columns: []tables.Column[person]{
			{Name: "id", Doc: "Number of the person.", Type: tables.BigInt, Flags: tables.Index, Get: func(p *person) tables.Value { return tables.Int(p.id) }},
			{Name: "name", Doc: "Name of the person.", Type: tables.Text, Get: func(p *person) tables.Value { return tables.String(p.name) }},
			{Name: "note", Doc: "What is to be said of them.", Type: tables.Text, Flags: tables.Hidden, Get: func(p *person) tables.Value { return p.note }},
		},
		Rows: func(_ context.Context, q *tables.Query, yield func(*person) bool) error {
			for _, p := range []person{{1, "Ada", tables.String("first")}, {2, "Bob", tables.Null()}, {3, "Eve\x1b[31m", tables.String("line\nline")}} {
				if q.Set(0).HasInt(p.id) && !yield(&p) {
					return nil
				}
			}
			return nil
		},
	})
}

// one makes a table with a column n of whole numbers.
func one(name, doc string, flags tables.Flags, rows func(ctx context.Context, q *tables.Query, yield func(*int64) bool) error) (tables.Table, error) {
	return tables.New(tables.Def[int64]{
		Name: name, Doc: doc,
		Columns: []tables.Column[int64]{{Name: "n", Doc: "A number.", Type: tables.BigInt, Flags: flags, Get: func(n *int64) tables.Value { return tables.Int(*n) }}},
		Rows:    rows,
	})
}

func pets() (tables.Table, error) {
	return one("pets", "Pets of people.", 0, func(_ context.Context, _ *tables.Query, yield func(*int64) bool) error {
		for n := int64(1); n <= 3 && yield(&n); n++ {
		}
		return nil
	})
}

// endless gives a row each few milliseconds until somebody stops it.
func endless() (tables.Table, error) {
	return one("endless", "Numbers without end, slowly.", 0, func(ctx context.Context, _ *tables.Query, yield func(*int64) bool) error {
		for n := int64(0); yield(&n); n++ {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(2 * time.Millisecond):
			}
		}
		return nil
	})
}

func partial() (tables.Table, error) {
	return one("partial", "A result that lacks something.", 0, func(_ context.Context, q *tables.Query, yield func(*int64) bool) error {
		q.Warn(errors.New("partial: the rest is out of reach"))
		n := int64(1)
		yield(&n)
		return nil
	})
}

func broken() (tables.Table, error) {
	return one("broken", "A table that fails after a row.", 0, func(_ context.Context, _ *tables.Query, yield func(*int64) bool) error {
		n := int64(1)
		yield(&n)
		return errors.New("broken: as always")
	})
}

func keyed() (tables.Table, error) {
	return one("keyed", "A table that wants its key.", tables.Required|tables.Index, func(_ context.Context, q *tables.Query, yield func(*int64) bool) error {
		for v := range q.Equal(0) {
			n := v.Int64()
			if !yield(&n) {
				break
			}
		}
		return nil
	})
}

// lines shows the lines of the file that LINES names, so that a test changes
// what a live view sees.
func lines() (tables.Table, error) {
	return tables.New(tables.Def[string]{
		Name: "lines", Doc: "The lines of a file.",
		Columns: []tables.Column[string]{{Name: "line", Doc: "A line.", Type: tables.Text, Get: func(s *string) tables.Value { return tables.String(*s) }}},
		Rows: func(_ context.Context, _ *tables.Query, yield func(*string) bool) error {
			text, err := os.ReadFile(os.Getenv("LINES_FILE"))
			if err != nil {
				return err
			}
			for line := range strings.Lines(string(text)) {
				line = strings.TrimSuffix(line, "\n")
				if !yield(&line) {
					break
				}
			}
			return nil
		},
	})
}

// socketStates and processes have the columns that the ready questions read.
func socketStates() (tables.Table, error) {
	type row map[string]tables.Value
	text, number := tables.String[string], tables.Int[int]
	rows := []row{
		{"pid": number(10), "fd": number(3), "socket": number(100), "family": number(2), "protocol": number(6), "local_address": text("0.0.0.0"), "local_port": number(22), "remote_address": text("0.0.0.0"), "remote_port": number(0), "state": text("LISTEN"), "rx_queue": number(0), "tx_queue": number(128), "backlog": number(0), "backlog_limit": number(128), "is_listener": number(1)},
		{"pid": number(10), "fd": number(4), "socket": number(101), "family": number(2), "protocol": number(6), "local_address": text("192.0.2.1"), "local_port": number(22), "remote_address": text("127.0.0.1"), "remote_port": number(40000), "state": text("ESTABLISHED"), "rx_queue": number(5), "tx_queue": number(7), "is_listener": number(0)},
		{"pid": number(11), "fd": number(5), "socket": number(102), "family": number(10), "protocol": number(17), "local_address": text("::"), "local_port": number(53), "remote_address": text("::"), "remote_port": number(0), "state": text("UNCONN"), "rx_queue": number(0), "tx_queue": number(0), "is_listener": number(1)},
		{"pid": number(11), "fd": number(6), "socket": number(103), "family": number(1), "protocol": number(0), "path": text("/run/x"), "state": text("ESTABLISHED"), "rx_queue": number(0), "tx_queue": number(0), "is_listener": number(0)},
	}
	d := tables.Def[row]{
		Name: "socket_states", Doc: "Sockets that every test knows.",
		Rows: func(_ context.Context, _ *tables.Query, yield func(*row) bool) error {
			for _, r := range rows {
				if !yield(&r) {
					break
				}
			}
			return nil
		},
	}
	for _, name := range []string{"pid", "fd", "socket", "family", "protocol", "local_address", "local_port", "remote_address", "remote_port", "path", "state", "rx_queue", "tx_queue", "backlog", "backlog_limit", "is_listener"} {
		kind := tables.BigInt
		if strings.HasSuffix(name, "address") || name == "path" || name == "state" {
			kind = tables.Text
		}
		d.Columns = append(d.Columns, tables.Column[row]{Name: name, Doc: "As its name says.", Type: kind, Get: func(r *row) tables.Value { return (*r)[name] }})
	}
	return tables.New(d)
}

func processes() (tables.Table, error) {
	type process struct {
		pid           int
		name, cmdline string
	}
	return tables.New(tables.Def[process]{
		Name: "processes", Doc: "Processes that every test knows.",
		Columns: []tables.Column[process]{
			{Name: "pid", Doc: "Process ID.", Type: tables.BigInt, Get: func(p *process) tables.Value { return tables.Int(p.pid) }},
			{Name: "name", Doc: "Name.", Type: tables.Text, Get: func(p *process) tables.Value { return tables.String(p.name) }},
			{Name: "cmdline", Doc: "Arguments.", Type: tables.Text, Get: func(p *process) tables.Value { return tables.String(p.cmdline) }},
		},
		Rows: func(_ context.Context, _ *tables.Query, yield func(*process) bool) error {
			for _, p := range []process{{10, "sshd", "sshd -D"}, {11, "dnsd", "dnsd"}} {
				if !yield(&p) {
					break
				}
			}
			return nil
		},
	})
}

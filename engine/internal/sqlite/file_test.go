package sqlite

import (
	"path/filepath"
	"strings"
	"testing"

	"sockql/tables"
)

func TestFileAndParameters(t *testing.T) {
	cfg := Config{
		File: filepath.Join(t.TempDir(), "db"), HeapLimit: -1,
		Setup: []string{"PRAGMA locking_mode = EXCLUSIVE", "PRAGMA journal_mode = WAL"},
	}
	values := []tables.Value{
		tables.Int(-5), tables.Float(1.5), tables.String("short"), tables.Null(),
		tables.Bytes("\x00\xff"), tables.String(strings.Repeat("long ", 2000)), tables.String(""), tables.Decimal(7),
	}
	for range 2 { // the second time the rows of the first are there
		c, err := Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.exec("CREATE TABLE IF NOT EXISTS t (i, v)"); err != nil {
			t.Fatal(err)
		}
		st, _, err := c.Prepare("INSERT OR REPLACE INTO t VALUES (?, ?)")
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range values {
			if err := st.Bind(tables.Int(i), v); err != nil {
				t.Fatal(err)
			}
			if _, err := st.Step(); err != nil {
				t.Fatal(err)
			}
			st.Reset()
		}
		if err := st.Bind(values...); err == nil {
			t.Error("more values than parameters are no error")
		}
		st.Close()
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	c, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	st, _, err := c.Prepare("SELECT i, v, typeof(v) FROM t ORDER BY i")
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	n := 0
	for more := true; more; n++ {
		if more, err = st.Step(); err != nil {
			t.Fatal(err)
		} else if !more {
			break
		}
		row, err := st.Row(nil)
		if err != nil {
			t.Fatal(err)
		}
		if want := values[row[0].Int64()]; !row[1].Equal(want) {
			t.Errorf("value %d is %v, want %v", row[0].Int64(), row[1], want)
		}
	}
	if n != 2*len(values) {
		t.Errorf("%d rows, want %d", n, 2*len(values))
	}
}

func TestFileIsLocked(t *testing.T) {
	cfg := Config{File: filepath.Join(t.TempDir(), "db"), HeapLimit: -1, Setup: []string{"PRAGMA locking_mode = EXCLUSIVE", "PRAGMA journal_mode = WAL", "BEGIN IMMEDIATE", "COMMIT"}}
	c, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if d, err := Open(cfg); err == nil || !strings.Contains(err.Error(), "locked") {
		t.Errorf("a second connection: %v", err)
		if err == nil {
			d.Close()
		}
	}
}

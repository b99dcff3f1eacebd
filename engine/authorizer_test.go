package engine_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sockql/engine"
	"sockql/tables"
)

// tryActions has, for each action of SQLite's authorizer, a statement that
// needs it, and what becomes of it. An empty message means that it runs.
// https://www.sqlite.org/c3ref/c_alter_table.html
var tryActions = []struct {
	action, sql, message string
	code                 int
}{
	{"COPY", "", "", 0}, // SQLite does not use it any more
	{"CREATE_INDEX", "create table t(a); create index i on t(a)", "not authorized", 23},
	{"CREATE_TABLE", "create table t(a)", "", 0},
	{"CREATE_TEMP_INDEX", "create temp table t(a); create index temp.i on t(a)", "not authorized", 23},
	{"CREATE_TEMP_TABLE", "create temp table t(a)", "", 0},
	{"CREATE_TEMP_TRIGGER", "create table t(a); create temp trigger r after insert on t begin select 1; end", "not authorized", 23},
	{"CREATE_TEMP_VIEW", "create temp view v as select * from p", "", 0},
	{"CREATE_TRIGGER", "create table t(a); create trigger r after insert on t begin select 1; end", "not authorized", 23},
	{"CREATE_VIEW", "create view v as select * from p; select * from v", "", 0},
	{"DELETE", "create table t(a); delete from t", "", 0},
	{"DROP_INDEX", "create table t(a primary key); drop index sqlite_autoindex_t_1", "not authorized", 23},
	{"DROP_TABLE", "create table t(a); drop table t", "", 0},
	{"DROP_TEMP_INDEX", "create temp table t(a primary key); drop index sqlite_autoindex_t_1", "not authorized", 23},
	{"DROP_TEMP_TABLE", "create temp table t(a); drop table t", "", 0},
	{"DROP_TEMP_TRIGGER", "drop trigger temp.r", "no such trigger: temp.r", 1},
	{"DROP_TEMP_VIEW", "create temp view v as select 1; drop view v", "", 0},
	{"DROP_TRIGGER", "drop trigger r", "no such trigger: r", 1},
	{"DROP_VIEW", "create view v as select 1; drop view v", "", 0},
	{"INSERT", "create table t(a); insert into t values (1)", "", 0},
	{"PRAGMA", "pragma user_version", "not authorized", 23},
	{"READ", "select id from p", "", 0},
	{"SELECT", "select 1", "", 0},
	{"TRANSACTION", "begin; rollback", "", 0},
	{"UPDATE", "create table t(a); update t set a = 1", "", 0},
	{"ATTACH", "attach 'x' as y", "not authorized", 23},
	{"DETACH", "detach x", "not authorized", 23},
	{"ALTER_TABLE", "create table t(a); alter table t rename to u", "not authorized", 23},
	{"REINDEX", "create table t(a primary key); reindex t", "not authorized", 23},
	{"ANALYZE", "create table t(a); analyze t", "not authorized", 23},
	{"CREATE_VTABLE", "create virtual table v using nosuch", "no such module: nosuch", 1},
	{"DROP_VTABLE", "drop table p", "table p may not be dropped", 1},
	{"FUNCTION", "select upper('x')", "", 0},
	{"SAVEPOINT", "savepoint s", "not authorized", 23},
	{"RECURSIVE", "with recursive r(n) as (select 1 union all select n+1 from r where n < 3) select * from r", "", 0},
}

func TestEveryActionOfTheAuthorizer(t *testing.T) {
	e := newEngine(t, engine.Config{Tables: []tables.Table{(&probe{name: "p"}).table(t)}})
	for _, try := range tryActions {
		t.Run(try.action, func(t *testing.T) { refused(t, e, try.sql, try.message, try.code) })
	}
	// 0 to 33, without the two numbers that no action has.
	if len(tryActions) != 34 {
		t.Errorf("%d actions, SQLite has 34", len(tryActions))
	}
}

// refused runs statements on a new connection and compares the error.
func refused(t *testing.T, e *engine.Engine, sql, message string, code int) {
	t.Helper()
	c, err := e.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = c.Query(context.Background(), sql)
	var got *engine.Error
	switch {
	case err == nil && message == "":
	case !errors.As(err, &got):
		t.Errorf("%s: error %v, want %q", sql, err, message)
	case got.Message != message || got.Code != code:
		t.Errorf("%s: %q with code %d, want %q with %d", sql, got.Message, got.Code, message, code)
	}
	if _, err := c.Query(context.Background(), "select 1"); err != nil {
		t.Errorf("%s: afterwards: %v", sql, err)
	}
}

// TestRefusals are osqueryi's recorded answers, and statements that would
// reach a file or load code.
func TestRefusals(t *testing.T) {
	const no = "not authorized"
	e := newEngine(t, engine.Config{Tables: []tables.Table{(&probe{name: "time"}).table(t)}})
	dir := t.TempDir()
	t.Chdir(dir)
	for _, test := range []struct {
		sql, message string
		code         int
	}{
		{"select * from nope", "no such table: nope", 1},
		{"selec 1", `near "selec": syntax error`, 1},
		{"select nope from time", "no such column: nope", 1},
		{"select 'unterminated", `unrecognized token: "'unterminated"`, 1},
		{"select (1", "incomplete input", 1},
		{"attach 'x' as y", no, 23},
		{"detach x", no, 23},
		{"savepoint s", no, 23},
		{"vacuum", "authorization denied", 23},
		{"vacuum into 'stolen.db'", "authorization denied", 23},
		{"analyze", "", 0},
		{"begin", "", 0},
		{"create table t(a)", "", 0},
		{"create index i on t(a)", "no such table: main.t", 1},
		{"alter table t rename to u", "no such table: t", 1},
		{"insert into time values(1)", "table time may not be modified", 1},
		{"update time set id=1", "table time may not be modified", 1},
		{"delete from time", "table time may not be modified", 1},
		{"select load_extension('x')", no, 1},
		{"select load_extension('x', 'y')", no, 1},
		{"drop table time", "table time may not be dropped", 1}, // osqueryi drops it
		// An object of one's own must not hide a table.
		{"create table time(a)", no, 23},
		{"create temp table TIME_alias(a)", no, 23},
		{"create view Time as select 1", no, 23},
		{"create temp view time as select 1", no, 23},
		{"create virtual table x using time", "no such module: time", 1},
		// Files, code and SQLite's own parts.
		{"select readfile('/etc/passwd')", "no such function: readfile", 1},
		{"select writefile('x', 'y')", "no such function: writefile", 1},
		{"select edit('x')", "no such function: edit", 1},
		{"create virtual table x using fts5(a)", "no such module: fts5", 1},
		{"create virtual table x using rtree(a,b,c)", "no such module: rtree", 1},
		{"create virtual table x using csv(filename='/etc/passwd')", "no such module: csv", 1},
		{"select * from dbstat", "no such table: dbstat", 1},
		{"select * from sqlite_dbpage", "no such table: sqlite_dbpage", 1},
		{"select * from pragma_database_list", no, 23},
		{"update sqlite_master set sql = 'x'", "table sqlite_master may not be modified", 1},
		{"pragma journal_mode=wal", "", 0}, // stays in memory
		{"pragma temp_store_directory='/'", no, 23},
		{"pragma data_store_directory='/'", no, 23},
		{"pragma temp_store=file", no, 23},
		{"pragma writable_schema=1", no, 23},
		{"pragma trusted_schema=0", no, 23},
		{"pragma mmap_size=1000000", no, 23},
		{"pragma hard_heap_limit=0", no, 23},
		{"pragma table_info(time)", "", 0},
		{"pragma table_xinfo(time)", "", 0},
		{"pragma function_list", "", 0},
		{"pragma collation_list", "", 0},
		{"pragma case_sensitive_like=1", "", 0},
		{"select 1\x00; attach 'x' as y", `unrecognized token: "\x00"`, 1},
	} {
		refused(t, e, test.sql, test.message, test.code)
	}
	if left, _ := filepath.Glob("*"); len(left) > 0 {
		t.Errorf("statements wrote %q", left)
	}
}

// TestNoFileIsTouched sorts and groups more than fits in SQLite's page cache
// and looks for descriptors that were opened for it.
func TestNoFileIsTouched(t *testing.T) {
	before := descriptors(t)
	c := open(t, engine.Config{})
	s := c.Begin(context.Background())
	defer s.Close()
	st, _, err := s.Prepare(`with recursive r(n) as (select 1 union all select n+1 from r where n < 80000)
		select n, hex(n*7919%100003)||'some text to take room' as k from r order by k`)
	if err != nil {
		t.Fatal(err)
	}
	if !st.Next() {
		t.Fatal(st.Err())
	}
	if during := descriptors(t); !slices.Equal(before, during) {
		t.Errorf("descriptors before %q, during a sort %q", before, during)
	}
}

func descriptors(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no list of descriptors:", err)
	}
	var files []string
	for _, entry := range entries {
		target, err := os.Readlink("/proc/self/fd/" + entry.Name())
		if err == nil && strings.HasPrefix(target, "/") && !strings.HasPrefix(target, "/proc/") {
			files = append(files, target)
		}
	}
	slices.Sort(files)
	return files
}

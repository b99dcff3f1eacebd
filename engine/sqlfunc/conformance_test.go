package sqlfunc_test

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"sockql/engine"
	"sockql/engine/sqlfunc"
)

func open(t *testing.T) *engine.Conn {
	t.Helper()
	e, err := engine.New(engine.Config{Functions: sqlfunc.All(sqlfunc.Config{}), Collations: sqlfunc.Collations()})
	if err != nil {
		t.Fatal(err)
	}
	c, err := e.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// query runs one statement and returns its cells as texts, NULL as the empty
// one, and the warnings.
func query(t *testing.T, c *engine.Conn, sql string) (rows [][]string, warnings []error, err error) {
	t.Helper()
	s := c.Begin(context.Background())
	defer s.Close()
	st, _, err := s.Prepare(sql)
	if err != nil {
		return nil, s.TakeWarnings(), err
	}
	defer st.Close()
	for st.Next() {
		row := make([]string, len(st.Columns()))
		for i := range row {
			row[i] = st.Value(i).String()
		}
		rows = append(rows, row)
	}
	return rows, s.TakeWarnings(), st.Err()
}

// TestConformance runs what osqueryi 5.23.0 was recorded with.
func TestConformance(t *testing.T) {
	f, err := os.Open("testdata/osqueryi.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c := open(t)
	passed, total, lines := 0, 0, bufio.NewScanner(f)
	for lines.Scan() {
		var recorded struct {
			Args   []string
			Stdout string
			Stderr string
		}
		if err := json.Unmarshal(lines.Bytes(), &recorded); err != nil {
			t.Fatal(err)
		}
		var want []struct{ V string }
		if err := json.Unmarshal([]byte(recorded.Stdout), &want); err != nil {
			t.Fatal(err)
		}
		total++
		sql := recorded.Args[len(recorded.Args)-1]
		rows, _, err := query(t, c, sql)
		stderr := ""
		if err != nil {
			stderr = "Error: " + err.Error() + "\n"
		}
		same := stderr == recorded.Stderr && len(rows) == len(want)
		for i := 0; same && i < len(rows); i++ {
			same = len(rows[i]) == 1 && rows[i][0] == want[i].V
		}
		if !same {
			t.Errorf("%s\n got %q, %q\nwant %q, %q", sql, rows, stderr, want, recorded.Stderr)
			continue
		}
		passed++
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d of %d recorded statements give the recorded result", passed, total)
	if total < 50 {
		t.Errorf("only %d statements recorded", total)
	}
}

// TestSQL asks what only a statement can show: that the functions take the
// place of SQLite's own, numbers of arguments, collating sequences, warnings.
func TestSQL(t *testing.T) {
	c := open(t)
	for _, k := range []struct{ sql, want, err, warning string }{
		{sql: "select typeof(ceil(1.5)), typeof(floor(1.5)), log(1), typeof(sqrt(4))", want: "integer integer 0.0 real"},
		{sql: "select sqrt(-1)", err: "Numerical argument out of domain"},
		{sql: "select exp(1000)", want: "Inf"},
		{sql: "select typeof(concat()), concat(null, 'a', 1), typeof(concat(null))", want: "null a1 text"},
		{sql: "select concat_ws()", err: "Missing separator to concat_ws"},
		{sql: "select md5()", err: "wrong number of arguments to function md5()"},
		{sql: "select split('a', 'b')", err: "wrong number of arguments to function split()"},
		{sql: "select community_id_v1('x', '1.1.1.1', 1, 2, 6) is null", want: "1", warning: "Community ID saddr cannot be parsed as IP"},
		{sql: "select community_id_v1_strict('x', '1.1.1.1', 1, 2, 6)", err: "Community ID saddr cannot be parsed as IP"},
		{sql: "select resolve('192.0.2.1') is null", want: "1", warning: "resolve: look-ups are off; allow them with --resolve"},
		{sql: "select group_concat(v, ' ') from (select column1 as v from (values ('1.10'), ('1.2'), ('1.9')) order by column1 collate version)", want: "1.2 1.9 1.10"},
		{sql: "select '1.0' = '1.0-4' collate version_arch, '1:1' > '2' collate version_dpkg, '1.0~rc1' < '1.0' collate version_rhel", want: "1 1 1"},
		{sql: "select regex_match(column1, '[0-9]+', 0) from (values ('a1'), ('b22')) where column1 like 'b%'", want: "22"},
		{sql: "select hex(from_base64(to_base64(x'00ff')))", want: "00FF"},
		{sql: "select parent_directory(x'2f612f62')", err: "Invalid inputs to parent_directory, TEXT was expected"},
		{sql: "select protocol_name(6), family_name('10'), ip_in('::ffff:10.1.1.1', '10/8') is null", err: `ip_in: "10/8" is no block of addresses such as 10.0.0.0/8`},
		{sql: "select protocol_name(6), family_name('10'), ip_in('::ffff:10.1.1.1', '10.0.0.0/8'), ip_unmap('::ffff:10.1.1.1'), is_private('10.1.1.1'), is_loopback('::1')", want: "tcp inet6 1 10.1.1.1 1 1"},
		{sql: "select sleep(0), sleep(-3), sleep(null)", want: "0 0 0"},
	} {
		rows, warnings, err := query(t, c, k.sql)
		if k.err != "" {
			if err == nil || err.Error() != k.err {
				t.Errorf("%s: %q, %v; want the error %q", k.sql, rows, err, k.err)
			}
			continue
		}
		var warned string
		for _, w := range warnings {
			warned += w.Error()
		}
		if err != nil || len(rows) != 1 || strings.Join(rows[0], " ") != k.want || warned != k.warning {
			t.Errorf("%s: %q, %v, warnings %q; want %q and the warning %q", k.sql, rows, err, warned, k.want, k.warning)
		}
	}
}

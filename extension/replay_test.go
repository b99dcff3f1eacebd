package extension

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sockql/engine"
	"sockql/tables"
)

type recorded struct {
	SQL      string
	Requests []struct {
		Action  string
		Context json.RawMessage
	}
}

func recordings(t testing.TB) []recorded {
	t.Helper()
	f, err := os.Open("testdata/requests.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var list []recorded
	for s := bufio.NewScanner(f); s.Scan(); {
		var r recorded
		if err := json.Unmarshal(s.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		list = append(list, r)
	}
	if len(list) < 40 {
		t.Fatalf("%d recordings", len(list))
	}
	return list
}

// Each recorded request is given to the plugin; the statement is then run over
// the rows that came back, as osqueryd does, and over the whole table. Both
// must agree: no row may be lost on the way.
func TestReplay(t *testing.T) {
	for _, r := range recordings(t) {
		t.Run(r.SQL, func(t *testing.T) {
			table := people(t, "mytable", 20)
			p := plugin(t, Limits{}, table)
			var answer []map[string]string
			for _, request := range r.Requests {
				got := p.Call(t.Context(), map[string]string{"action": request.Action, "context": string(request.Context)})
				if got.Status.Code != 0 {
					t.Fatalf("status %v", got.Status)
				}
				for _, row := range got.Response {
					// The same row may come for several requests.
					if !slices.ContainsFunc(answer, func(o map[string]string) bool { return reflect.DeepEqual(o, row) }) {
						answer = append(answer, row)
					}
				}
				checkUsed(t, request.Context, got.Response)
			}
			sql := strings.ReplaceAll(r.SQL, "mytable_idxopt", "mytable")
			whole, sent := query(t, sql, table), query(t, sql, replayed(t, table, answer))
			if strings.Contains(r.SQL, "10,1,1") {
				whole = whole[:len(r.Requests)] // the recorder kept four of ten
			}
			if diff := cmp.Diff(whole, sent); diff != "" {
				t.Errorf("rows of the whole table (-) and of those sent (+):\n%s", diff)
			}
		})
	}
}

// checkUsed reports cells that were not asked for, and those that are missing.
// The row's number always comes along.
func checkUsed(t *testing.T, request []byte, rows []map[string]string) {
	t.Helper()
	var c struct{ ColsUsed []string }
	if err := json.Unmarshal(request, &c); err != nil {
		t.Fatal(err)
	}
	c.ColsUsed = append(c.ColsUsed, "rowid")
	slices.Sort(c.ColsUsed)
	for _, row := range rows {
		var names []string
		for name := range row {
			names = append(names, name)
		}
		slices.Sort(names)
		if !slices.Equal(names, c.ColsUsed) {
			t.Fatalf("cells %v of a row, used are %v", names, c.ColsUsed)
		}
	}
}

// The narrowing itself: a request for few rows is not answered with all.
func TestReplayNarrows(t *testing.T) {
	rows := map[string]int{
		"select * from mytable where pid = 1":                      1,
		"select * from mytable where pid IN (1,2)":                 2,
		"select pid from mytable_idxopt where pid in (1,2)":        2,
		"select * from mytable where pid > 5":                      14,
		"select pid from mytable where pid = 1.0":                  1,
		"select pid from mytable where pid = ' 1'":                 1,
		"select pid from mytable where pid = 1.5":                  0,
		"select pid from mytable where pid = 'abc'":                0,
		"select pid from mytable where pid = -1":                   0,
		"select pid from mytable where pid IS 1":                   1,
		"select pid from mytable where name = 'proc1'":             1,
		"select pid from mytable limit 2 offset 1":                 20,
		"select pid from mytable order by pid limit 3":             20,
		"select name from mytable where pid NOT IN (1,2)":          20,
		"select pid from mytable where name MATCH 'proc1'":         20,
		"select pid from mytable where pid != 1":                   20,
		"select pid from mytable where dbl = 1.5":                  20,
		"select count(*) from mytable limit 1":                     20,
		"select pid from mytable where name LIKE 'proc1%'":         20, // this table knows no patterns
		"select pid from mytable where pid = (select 2)":           1,
		"select pid from mytable where pid = 99999999999999999999": 0,
	}
	seen := 0
	for _, r := range recordings(t) {
		want, ok := rows[r.SQL]
		if !ok {
			continue
		}
		seen++
		p := plugin(t, Limits{}, people(t, "mytable", 20))
		got := 0
		for _, request := range r.Requests {
			got += len(p.Call(t.Context(), map[string]string{"action": "generate", "context": string(request.Context)}).Response)
		}
		if got != want {
			t.Errorf("%s: %d rows sent, want %d", r.SQL, got, want)
		}
	}
	if seen != len(rows) {
		t.Errorf("%d of %d statements are recorded", seen, len(rows))
	}
}

// replayed is a table of rows as osqueryd reads them.
func replayed(t *testing.T, like tables.Table, rows []map[string]string) tables.Table {
	t.Helper()
	def := tables.Def[map[string]string]{
		Name: like.Schema().Name,
		Rows: func(_ context.Context, _ *tables.Query, yield func(*map[string]string) bool) error {
			for i := range rows {
				if !yield(&rows[i]) {
					break
				}
			}
			return nil
		},
	}
	for _, c := range like.Schema().Columns {
		def.Columns = append(def.Columns, tables.Column[map[string]string]{Name: c.Name, Type: c.Type,
			Get: func(row *map[string]string) tables.Value {
				text, ok := (*row)[c.Name]
				switch {
				case !ok:
					return tables.Null()
				case c.Type == tables.Text:
					return tables.String(text)
				case c.Type == tables.Double:
					f, err := strconv.ParseFloat(text, 64)
					if err != nil {
						t.Error(err)
					}
					return tables.Float(f)
				}
				n, err := strconv.ParseInt(text, 10, 64)
				if err != nil {
					t.Error(err)
				}
				return tables.Int(n)
			}})
	}
	table, err := tables.New(def)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func query(t *testing.T, sql string, list ...tables.Table) [][]string {
	t.Helper()
	processes := people(t, "processes", 5)
	e, err := engine.New(engine.Config{Tables: append(list, processes)})
	if err != nil {
		t.Fatal(err)
	}
	c, err := e.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r, err := c.Query(t.Context(), sql)
	if err != nil {
		if strings.Contains(sql, "MATCH") && strings.Contains(err.Error(), "MATCH") {
			return nil // SQLite has no such function of its own
		}
		t.Fatalf("%s: %v", sql, err)
	}
	var rows [][]string
	for _, row := range r.Rows {
		var cells []string
		for _, v := range row {
			cells = append(cells, v.String())
		}
		rows = append(rows, cells)
	}
	return rows
}

package host

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/osquery/osquery-go/gen/osquery"

	"sockql/extension/internal/wire"
	"sockql/tables"
)

// A recorder is an extension that keeps the contexts with which it is called,
// and answers with every row whatever they say, as many extensions do.
type recorder struct {
	rows osquery.ExtensionPluginResponse

	mu       sync.Mutex
	contexts []string
}

func (r *recorder) Ping(context.Context) (*osquery.ExtensionStatus, error) { return status(nil), nil }
func (r *recorder) Shutdown(context.Context) error                         { return nil }

func (r *recorder) Call(_ context.Context, _, _ string, request osquery.ExtensionPluginRequest) (*osquery.ExtensionResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.contexts = append(r.contexts, request["context"])
	return &osquery.ExtensionResponse{Status: status(nil), Response: r.rows}, nil
}

func (r *recorder) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.contexts
	r.contexts = nil
	return c
}

// register makes the recorder an extension of a host.
func (r *recorder) register(t *testing.T, h *Host, routes osquery.ExtensionRouteTable) {
	t.Helper()
	st, err := wire.Call(t.Context(), h.Socket(), func(ctx context.Context, c *osquery.ExtensionManagerClient) (*osquery.ExtensionStatus, error) {
		return c.RegisterExtension(ctx, &osquery.InternalExtensionInfo{Name: "recorder"}, osquery.ExtensionRegistry{"table": routes})
	})
	if err != nil || st.Code != 0 {
		t.Fatal(st, err)
	}
	l, err := wire.Listen(wire.ExtensionPath(h.Socket(), int64(st.UUID)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := (&wire.Server{}).Serve(ctx, l, osquery.NewExtensionProcessor(r)); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
}

func columns(specs ...string) osquery.ExtensionPluginResponse {
	var routes osquery.ExtensionPluginResponse
	for _, s := range specs {
		f := strings.Split(s, ":")
		routes = append(routes, map[string]string{"id": "column", "name": f[0], "type": f[1], "op": f[2]})
	}
	return routes
}

// What an extension is asked here is what osqueryd asked it, for each recorded
// statement whose terms reach tables here.
func TestRequestsAreOsquerys(t *testing.T) {
	h, db, _ := start(t, Config{})
	r := &recorder{rows: osquery.ExtensionPluginResponse{}}
	r.register(t, h, osquery.ExtensionRouteTable{
		"mytable":        columns("pid:INTEGER:0", "name:TEXT:0", "big:BIGINT:0", "dbl:DOUBLE:0"),
		"mytable_idxopt": columns("pid:INTEGER:9", "name:TEXT:0", "big:BIGINT:0", "dbl:DOUBLE:0"),
	})
	f, err := os.Open("../testdata/requests.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	compared := 0
	for s := bufio.NewScanner(f); s.Scan(); {
		var line struct {
			SQL      string
			Requests []struct{ Context json.RawMessage }
		}
		if err := json.Unmarshal(s.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		switch sql := strings.ToLower(line.SQL); {
		case strings.Contains(sql, "match"), strings.Contains(sql, "!="), strings.Contains(sql, "limit"):
			continue // terms that the engine keeps to itself
		case strings.Contains(sql, "join"), strings.Contains(sql, "10,1,1"), strings.Contains(sql, "or pid"):
			continue // as many calls as the planner likes; more than were recorded
		}
		if _, err := db.Query(t.Context(), line.SQL); err != nil {
			t.Errorf("%s: %v", line.SQL, err)
			continue
		}
		var want, got []any
		for _, q := range line.Requests {
			want = append(want, normal(t, q.Context))
		}
		for _, text := range r.take() {
			got = append(got, normal(t, []byte(text)))
		}
		if len(got) == 0 && nothing[line.SQL] {
			continue
		}
		compared++
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: osqueryd's requests (-) and ours (+):\n%s", line.SQL, diff)
		}
	}
	if compared < 20 {
		t.Errorf("only %d statements were compared", compared)
	}
}

// nothing are statements that no row can satisfy: the extension is not asked.
var nothing = map[string]bool{
	"select pid from mytable where pid = 'abc'":                true,
	"select pid from mytable where pid = 1.5":                  true,
	"select pid from mytable where pid = NULL":                 true,
	"select pid from mytable where pid = 99999999999999999999": true,
}

// normal brings a context to a form that can be compared: the order of colsUsed
// is osqueryd's hash table's.
func normal(t *testing.T, text []byte) any {
	t.Helper()
	var c struct {
		Constraints    []any
		ColsUsed       []string
		ColsUsedBitset uint64
	}
	if err := json.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	slices.Sort(c.ColsUsed)
	return fmt.Sprintf("%v", c)
}

// An extension that narrows nothing is asked once for each value, and its rows
// still come once.
func TestListOfValues(t *testing.T) {
	h, db, _ := start(t, Config{}, numbers("natives", 4))
	r := &recorder{}
	for i := range 6 {
		r.rows = append(r.rows, map[string]string{"a": fmt.Sprint(i), "b": fmt.Sprint("b", i%2), "c": fmt.Sprint(float64(i) / 2)})
	}
	r.register(t, h, osquery.ExtensionRouteTable{
		"plain":     columns("a:INTEGER:1", "b:TEXT:1", "c:DOUBLE:1"),
		"optimized": columns("a:INTEGER:9", "b:TEXT:12", "c:DOUBLE:8"),
		"required":  columns("a:INTEGER:2", "b:TEXT:16", "c:DOUBLE:8"),
	})
	for _, c := range []struct {
		sql   string
		calls int
		rows  string
	}{
		{"SELECT a FROM plain WHERE a IN (1, 2, 2, 9)", 3, "1 2"},
		{"SELECT a FROM plain WHERE a IN (1, 2, 3) AND b IN ('b0', 'b1') ORDER BY a", 6, "1 2 3"},
		{"SELECT a FROM plain WHERE c IN (0.5, 1)", 2, "1 2"},
		{"SELECT a FROM plain WHERE b IN ('b1')", 1, "1 3 5"},
		{"SELECT a FROM optimized WHERE a IN (1, 2) AND b IN ('b0', 'b1')", 1, "1 2"},
		{"SELECT a FROM required WHERE a IN (4, 5)", 2, "4 5"},
		{"SELECT a FROM plain WHERE a IN (SELECT pid FROM natives)", 4, "0 1 2 3"},
		// Columns that are only hidden or only optimized get no constraints,
		// and a whole table is fetched once a statement.
		{"SELECT n.pid, count(x.a) FROM natives n JOIN required x ON x.a = 3 WHERE x.b = 'b1' AND x.c > 0 GROUP BY 1", 0, "0|1 1|1 2|1 3|1"},
		{"SELECT count(*) FROM natives n CROSS JOIN plain x", 1, "24"},
	} {
		got := strings.Join(db.ask(t, c.sql), " ")
		calls := r.take()
		if got != c.rows {
			t.Errorf("%s: rows %s, want %s", c.sql, got, c.rows)
		}
		if c.calls > 0 && len(calls) != c.calls {
			t.Errorf("%s: %d calls, want %d: %q", c.sql, len(calls), c.calls, calls)
		}
		for _, text := range calls {
			if strings.Contains(c.sql, "required x") && (strings.Contains(text, `"b1"`) || strings.Contains(text, `"op":4`)) {
				t.Errorf("%s: constraints of columns that take none: %s", c.sql, text)
			}
		}
	}
}

// Cells are read as osqueryd reads them.
func TestRemoteRow(t *testing.T) {
	for _, c := range []struct {
		typ  tables.Type
		text string
		want tables.Value
	}{
		{tables.Integer, "7", tables.Int(7)},
		{tables.Integer, "", tables.Null()},
		{tables.Integer, "abc", tables.Null()},
		{tables.Integer, "99999999999", tables.Int(1215752191)},
		{tables.BigInt, "12x", tables.Int(12)},
		{tables.BigInt, " -12", tables.Int(-12)},
		{tables.BigInt, "+5", tables.Int(5)},
		{tables.BigInt, "0x10", tables.Int(16)},
		{tables.BigInt, "-0X1f", tables.Int(-31)},
		{tables.BigInt, "010", tables.Int(8)},
		{tables.BigInt, "09", tables.Int(0)},
		{tables.BigInt, "0x", tables.Int(0)},
		{tables.BigInt, "-", tables.Null()},
		{tables.BigInt, "9223372036854775807", tables.Int(int64(math.MaxInt64))},
		{tables.BigInt, "9223372036854775808", tables.Null()},
		{tables.Double, "1.5", tables.Float(1.5)},
		{tables.Double, "1e3", tables.Float(1000)},
		{tables.Double, "", tables.Null()},
		{tables.Double, "1.5x", tables.Null()},
		{tables.Double, "nan", tables.Null()},
		{tables.Text, "", tables.String("")},
		{tables.Text, "a\x00b", tables.String("a\x00b")},
		{tables.Blob, "\xff", tables.Bytes("\xff")},
	} {
		row := remoteRow{schema: &tables.Schema{Columns: []tables.ColumnInfo{{Name: "c", Type: c.typ}, {Name: "d"}}}, source: []int{0, 1}, cells: map[string]string{"c": c.text, "e": "unknown"}}
		if got := row.Column(0); !got.Equal(c.want) {
			t.Errorf("%s %q: %v, want %v", c.typ, c.text, got, c.want)
		}
		if !row.Column(1).IsNull() {
			t.Error("a missing cell is not NULL")
		}
	}
}

func FuzzParseInt(f *testing.F) {
	for _, s := range []string{"", "0", "0x", "-0x7f", "08", " 9", "99999999999999999999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) { parseInt(s) })
}

// A table and a column may have further names. A further name that is taken
// costs nobody anything.
func TestAliases(t *testing.T) {
	h, db, log := start(t, Config{}, numbers("natives", 3))
	r := &recorder{rows: osquery.ExtensionPluginResponse{{"pid": "7", "name": "x"}}}
	r.register(t, h, osquery.ExtensionRouteTable{
		"first": append(columns("pid:INTEGER:0", "name:TEXT:0"),
			map[string]string{"id": "alias", "alias": "also_first"},
			map[string]string{"id": "alias", "alias": "NATIVES"},
			map[string]string{"id": "alias", "alias": "second"},
			map[string]string{"id": "columnAlias", "name": "process", "target": "pid"},
			map[string]string{"id": "columnAlias", "name": "lost", "target": "nothing"},
			map[string]string{"id": "columnAlias", "name": "name", "target": "pid"},
			map[string]string{"id": "attributes", "attributes": "0"},
		),
		"second": columns("a:TEXT:0"),
	})
	for sql, want := range map[string]string{
		"SELECT pid, name FROM also_first":                     "7|x",
		"SELECT process, name FROM first WHERE process = 7":    "7|x",
		"SELECT process FROM also_first WHERE pid = 7":         "7",
		"SELECT * FROM first":                                  "7|x",
		"SELECT count(*) FROM natives":                         "3",
		"SELECT a FROM second":                                 "NULL",
		"SELECT f.pid FROM first f JOIN also_first USING(pid)": "7",
	} {
		if got := strings.Join(db.ask(t, sql), " "); got != want {
			t.Errorf("%s: %s, want %s", sql, got, want)
		}
	}
	r.take()
	db.ask(t, "SELECT process, pid FROM first")
	if c := r.take(); len(c) != 1 || !strings.Contains(c[0], `"colsUsed":["pid"],"colsUsedBitset":1}`) {
		t.Errorf("asked for %q", c)
	}
	for _, alias := range []string{"NATIVES", "second"} {
		log.await(t, `the name is taken" table=first alias=`+alias, 1)
	}
	h.drop(h.list()[0].uuid)
	if _, err := db.Query(t.Context(), "SELECT 1 FROM also_first"); err == nil {
		t.Error("the alias outlives its table")
	}
}

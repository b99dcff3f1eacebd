package tabletest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"sockql/tables"
)

// A number is a row of the table that these tests bend.
type number struct{ n, twice int64 }

// sound is a table of the numbers 0 to 9 that passes the suite. It reads its
// source once for each row.
func sound(reads *Counter) tables.Def[number] {
	return tables.Def[number]{
		Name: "numbers", Doc: "Small numbers, one in each row.",
		Examples: []string{"SELECT n FROM numbers;"},
		Columns: []tables.Column[number]{
			{Name: "n", Type: tables.BigInt, Flags: tables.Index, Doc: "The number.",
				Get: func(r *number) tables.Value { return tables.Int(r.n) }},
			{Name: "twice", Type: tables.BigInt, Doc: "Twice the number.",
				Get: func(r *number) tables.Value { return tables.Int(r.twice) }},
			{Name: "half", Type: tables.Double, Doc: "Half of the number, NULL for 0.",
				Get: func(r *number) tables.Value {
					if r.n == 0 {
						return tables.Null()
					}
					return tables.Float(float64(r.n) / 2)
				}},
			{Name: "parity", Type: tables.Text, Flags: tables.Pushdown, Doc: "Whether the number is odd or even.",
				Get: func(r *number) tables.Value { return tables.String([]string{"even", "odd"}[r.n%2]) }},
		},
		Rows: func(ctx context.Context, q *tables.Query, yield func(*number) bool) error {
			for n := range int64(10) {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				reads.Read("source")
				if q.Set(0).HasInt(n) && !yield(&number{n, 2 * n}) {
					return nil
				}
			}
			return nil
		},
	}
}

// bends are ways in which a table can be wrong, and what the suite says of it.
func bends() map[string]struct {
	bend func(d *tables.Def[number], reads *Counter)
	says string
} {
	type bend = struct {
		bend func(d *tables.Def[number], reads *Counter)
		says string
	}
	// around has each scan preceded by something.
	around := func(f func(context.Context, *tables.Query)) func(*tables.Def[number], *Counter) {
		return func(d *tables.Def[number], _ *Counter) {
			rows := d.Rows
			d.Rows = func(ctx context.Context, q *tables.Query, yield func(*number) bool) error {
				f(ctx, q)
				return rows(ctx, q, yield)
			}
		}
	}
	return map[string]bend{
		"no documentation": {func(d *tables.Def[number], _ *Counter) { d.Columns[1].Doc = "" }, "is no sentence"},
		"capital name":     {func(d *tables.Def[number], _ *Counter) { d.Columns[1].Name = "Twice" }, "names are small letters"},
		"foreign example":  {func(d *tables.Def[number], _ *Counter) { d.Examples = []string{"SELECT 1;"} }, "asks numbers"},
		"list without look-up": {func(d *tables.Def[number], _ *Counter) { d.Columns[1].Flags = tables.Optimized },
			"no constraint at all"},
		"clash": {func(d *tables.Def[number], _ *Counter) {
			d.Columns[1].Name, d.Columns[1].Flags = "cmdline", tables.Hidden
		}, "has the name of a column of osquery's processes"},
		"other columns than osquery's": {func(d *tables.Def[number], _ *Counter) {
			d.Name, d.Examples = "uptime", nil
		}, "osquery's is days"},
		"NULL": {func(d *tables.Def[number], _ *Counter) { d.Columns[2].Doc = "Half of it." }, "its documentation says nothing"},
		"type": {func(d *tables.Def[number], _ *Counter) {
			d.Columns[1].Get = func(*number) tables.Value { return tables.String("2") }
		}, "in a column of type BIGINT"},
		"32 bits": {func(d *tables.Def[number], _ *Counter) {
			d.Columns[1].Type = tables.Integer
			d.Columns[1].Get = func(*number) tables.Value { return tables.Int(int64(1 << 40)) }
		}, "cuts to 32 bits"},
		"check": {func(d *tables.Def[number], _ *Counter) {
			d.Columns[1].Get = func(r *number) tables.Value { return tables.Int(r.n) }
		}, "is odd"},
		"unused column": {func(d *tables.Def[number], _ *Counter) {
			rows := d.Rows
			d.Rows = func(ctx context.Context, q *tables.Query, yield func(*number) bool) error {
				return rows(ctx, q, func(r *number) bool {
					if !q.Used(0) {
						r.twice = 0 // as if it came with the first column only
					}
					return yield(r)
				})
			}
		}, "column twice read alone"},
		"too narrow": {func(d *tables.Def[number], _ *Counter) {
			rows := d.Rows
			d.Rows = func(ctx context.Context, q *tables.Query, yield func(*number) bool) error {
				return rows(ctx, q, func(r *number) bool {
					if values, ok := q.Set(3).Values(); ok && len(values) == 1 && r.n == 4 {
						return true
					}
					return yield(r)
				})
			}
		}, "parity = [even]"},
		"distinct": {func(d *tables.Def[number], _ *Counter) {
			rows := d.Rows
			d.Rows = func(ctx context.Context, q *tables.Query, yield func(*number) bool) error {
				return rows(ctx, q, func(r *number) bool { return q.Distinct() && r.n > 7 || yield(r) })
			}
		}, "distinct: "},
		"changing": {func(d *tables.Def[number], _ *Counter) {
			var scans Counter
			rows := d.Rows
			d.Rows = func(ctx context.Context, q *tables.Query, yield func(*number) bool) error {
				scans.Read("")
				turn := scans.Count()
				return rows(ctx, q, func(r *number) bool { r.twice = 2 * turn; return yield(r) })
			}
		}, "two scans at once"},
		"deaf to stop": {func(d *tables.Def[number], reads *Counter) {
			d.Rows = func(_ context.Context, _ *tables.Query, yield func(*number) bool) error {
				for n := range int64(10) {
					reads.Read("source")
					yield(&number{n, 2 * n})
				}
				return nil
			}
		}, "went on to"},
		"deaf to cancel": {func(d *tables.Def[number], reads *Counter) {
			d.Rows = func(_ context.Context, q *tables.Query, yield func(*number) bool) error {
				for range 10 {
					reads.Read("source")
				}
				for n := range int64(10) {
					if q.Set(0).HasInt(n) && !yield(&number{n, 2 * n}) {
						return nil
					}
				}
				return nil
			}
		}, "more reads of the source, want at most 1"},
		"goroutine": {around(func(context.Context, *tables.Query) { go time.Sleep(time.Hour) }), "left goroutines behind"},
		"descriptor": {around(func(context.Context, *tables.Query) {
			leak, err := os.Open("/dev/null")
			if err != nil {
				panic(err)
			}
			leaked = append(leaked, leak)
		}), "left descriptor"},
	}
}

// leaked keeps files from being closed by the garbage collector.
var leaked []*os.File

const bendEnv = "SOCKQL_TABLETEST_BEND"

// TestSuite runs the suite over the sound table, or over a bent one for
// TestSuiteFails.
func TestSuite(t *testing.T) {
	var reads Counter
	d := sound(&reads)
	if name := os.Getenv(bendEnv); name != "" {
		bends()[name].bend(&d, &reads)
	}
	o := Options{Stable: true, Reads: &reads, Checks: map[string]func(tables.Value) error{
		d.Columns[1].Name: func(v tables.Value) error {
			if v.Int64()%2 != 0 {
				return fmt.Errorf("%d is odd", v.Int64())
			}
			return nil
		},
	}}
	table, err := tables.New(d)
	if err != nil {
		t.Fatal(err)
	}
	Run(t, table, o)
}

// TestSuiteFails runs the suite in processes of their own, over tables that it
// must not let pass.
func TestSuiteFails(t *testing.T) {
	if os.Getenv(bendEnv) != "" {
		t.Skip("is a child")
	}
	for name, b := range bends() {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], "-test.run=^TestSuite$")
			cmd.Env = append(os.Environ(), bendEnv+"="+name)
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), b.says) {
				t.Errorf("the suite did not say %q: error %v\n%s", b.says, err, out)
			}
		})
	}
}

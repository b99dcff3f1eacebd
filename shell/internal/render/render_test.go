package render

import (
	stdcsv "encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"sockql/tables"
)

var sample = [][]tables.Value{
	{tables.Int(1), tables.String("x"), tables.Null(), tables.Float(1.5)},
	{tables.Int(-20), tables.String("a|b \"q\"\t\\"), tables.String("line1\nline2"), tables.Bytes("\xff\x00\x1b[31m")},
}

var sampleNames = []string{"b", "a", "c", "d"}

func print(t testing.TB, o Options, names []string, rows [][]tables.Value) string {
	t.Helper()
	var w strings.Builder
	p := New(&w, o)
	p.Columns(names)
	for _, r := range rows {
		if err := p.Row(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.End(); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	return w.String()
}

func TestModes(t *testing.T) {
	for _, c := range []struct {
		name string
		o    Options
		want string
	}{
		{"pretty", Options{}, "" +
			"+-----+-----------+-------------+------------------+\n" +
			"| b   | a         | c           | d                |\n" +
			"+-----+-----------+-------------+------------------+\n" +
			"| 1   | x         |             | 1.5              |\n" +
			"| -20 | a|b \"q\"\t\\ | line1\nline2 | \\xff\\x00\\x1b[31m |\n" +
			"+-----+-----------+-------------+------------------+\n"},
		{"pretty on a terminal", Options{Terminal: true, Null: "NIL"}, "" +
			"+-----+------------+--------------+------------------+\n" +
			"| b   | a          | c            | d                |\n" +
			"+-----+------------+--------------+------------------+\n" +
			"| 1   | x          | NIL          | 1.5              |\n" +
			"| -20 | a|b \"q\"\\t\\ | line1\\nline2 | \\xff\\x00\\x1b[31m |\n" +
			"+-----+------------+--------------+------------------+\n"},
		{"pretty too wide", Options{Terminal: true, Screen: 40}, "" +
			"-[ 1 ]---------------\nb | 1\na | x\nc | \nd | 1.5\n" +
			"-[ 2 ]---------------\nb | -20\na | a|b \"q\"\\t\\\nc | line1\\nline2\nd | \\xff\\x00\\x1b[31m\n"},
		{"aligned", Options{Mode: Aligned}, "b    a          c            d\n1    x                       1.5\n" +
			"-20  a|b \"q\"\t\\  line1\nline2  \\xff\\x00\\x1b[31m\n"},
		{"aligned too wide", Options{Mode: Aligned, Terminal: true, Screen: 42}, "b    a           c             d\n1    x                         1.5\n" +
			"-20  a|b \"q\"\\t\\  line1\\nline2  \\xff\\x00\\x…\n"},
		{"line", Options{Mode: Line, Null: "-"}, "    b = 1\n    a = x\n    c = -\n    d = 1.5\n\n" +
			"    b = -20\n    a = a|b \"q\"\t\\\n    c = line1\nline2\n    d = \xff\x00\x1b[31m\n"},
		{"line on a terminal", Options{Mode: Line, Terminal: true}, "    b = 1\n    a = x\n    c = \n    d = 1.5\n\n" +
			"    b = -20\n    a = a|b \"q\"\t\\\n    c = line1\nline2\n    d = \\xff\\x00\\x1b[31m\n"},
		{"list", Options{Mode: List, Separator: "::", Header: true}, "b::a::c::d\n1::x::::1.5\n-20::a|b \"q\"\t\\::line1\nline2::\xff\x00\x1b[31m\n"},
		{"csv", Options{Mode: CSV, Separator: ","}, "1,x,,1.5\n-20,\"a|b \"\"q\"\"\t\\\",\"line1\nline2\",\"\xff\x00\x1b[31m\"\n"},
		{"tsv", Options{Mode: TSV, Header: true}, "b\ta\tc\td\n1\tx\t\t1.5\n-20\ta|b \"q\"\\t\\\\\tline1\\nline2\t\xff\x00\x1b[31m\n"},
		{"markdown", Options{Mode: Markdown}, "| b | a | c | d |\n| --- | --- | --- | --- |\n" +
			"| 1 | x |  | 1.5 |\n| -20 | a\\|b \"q\" \\\\ | line1<br>line2 | \\xff\\x00\\x1b\\[31m |\n"},
		{"json", Options{Mode: JSON}, "[\n  {\"a\":\"x\",\"b\":\"1\",\"c\":\"\",\"d\":\"1.5\"},\n" +
			"  {\"a\":\"a|b \\\"q\\\"\\t\\\\\",\"b\":\"-20\",\"c\":\"line1\\nline2\",\"d\":\"\\uFFFD\"}\n]\n"},
		{"jsonl typed", Options{Mode: JSONL, Typed: true, Null: "NIL"}, "{\"a\":\"x\",\"b\":1,\"c\":null,\"d\":1.5}\n" +
			"{\"a\":\"a|b \\\"q\\\"\\t\\\\\",\"b\":-20,\"c\":\"line1\\nline2\",\"d\":\"/wAbWzMxbQ==\"}\n"},
		{"json_pretty", Options{Mode: JSONPretty, Null: "NIL"}, "[\n  {\n    \"a\": \"x\",\n    \"b\": \"1\",\n    \"c\": \"NIL\",\n    \"d\": \"1.5\"\n  },\n" +
			"  {\n    \"a\": \"a|b \\\"q\\\"\\t\\\\\",\n    \"b\": \"-20\",\n    \"c\": \"line1\\nline2\",\n    \"d\": \"\\uFFFD\"\n  }\n]\n"},
		{"column", Options{Mode: Column, Header: true, Widths: []int{-4, 3}}, "" +
			"   b  a    c           d         \n----  ---  ----------  ----------\n   1  x                1.5       \n" +
			" -20  a|b  line1\nline  \\xff\\x00\\x\n"},
		{"expanded", Options{Mode: Expanded, Color: true}, "" +
			"-[ 1 ]---------------\n\x1b[1mb\x1b[0m | 1\n\x1b[1ma\x1b[0m | x\n\x1b[1mc\x1b[0m | \n\x1b[1md\x1b[0m | 1.5\n" +
			"-[ 2 ]---------------\n\x1b[1mb\x1b[0m | -20\n\x1b[1ma\x1b[0m | a|b \"q\"\t\\\n\x1b[1mc\x1b[0m | line1\nline2\n\x1b[1md\x1b[0m | \\xff\\x00\\x1b[31m\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := print(t, c.o, sampleNames, sample)
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("want- got+\n%s", d)
			}
		})
	}
}

func TestEmptyResults(t *testing.T) {
	for m, want := range map[Mode]string{JSON: "[\n\n]\n", JSONPretty: "[]\n"} {
		if got := print(t, Options{Mode: m}, []string{"a"}, nil); got != want {
			t.Errorf("%s prints %q for no rows, want %q", m, got, want)
		}
	}
	for _, m := range Modes() {
		if m == JSON || m == JSONPretty {
			continue
		}
		if got := print(t, Options{Mode: m, Header: true}, []string{"a"}, nil); got != "" {
			t.Errorf("%s prints %q for no rows, want nothing", m, got)
		}
	}
}

func TestDuplicateNames(t *testing.T) {
	rows := [][]tables.Value{{tables.Int(1), tables.Int(2)}}
	for m, want := range map[Mode]string{
		Pretty: "+---+---+\n| a | a |\n+---+---+\n| 2 | 2 |\n+---+---+\n",
		JSON:   "[\n  {\"a\":\"2\"}\n]\n",
		Line:   "    a = 1\n    a = 2\n",
	} {
		if got := print(t, Options{Mode: m}, []string{"a", "a"}, rows); got != want {
			t.Errorf("%s prints %q, want %q", m, got, want)
		}
	}
}

func TestSeveralResults(t *testing.T) {
	for m, want := range map[Mode]string{
		Pretty:   "+---+\n| a |\n+---+\n| 1 |\n+---+\n+---+\n| b |\n+---+\n| 2 |\n+---+\n",
		JSON:     "[\n  {\"a\":\"1\"},\n  {\"b\":\"2\"}\n]\n",
		CSV:      "a\n1\nb\n2\n",
		Markdown: "| a |\n| --- |\n| 1 |\n\n| b |\n| --- |\n| 2 |\n",
		Expanded: "-[ 1 ]---------------\na | 1\n-[ 1 ]---------------\nb | 2\n",
	} {
		var w strings.Builder
		p := New(&w, Options{Mode: m, Header: true, Separator: ","})
		for i, name := range []string{"a", "b"} {
			p.Columns([]string{name})
			if err := errors.Join(p.Row([]tables.Value{tables.Int(i + 1)}), p.End()); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		if w.String() != want {
			t.Errorf("%s prints %q, want %q", m, w.String(), want)
		}
		if p.Rows() != 2 {
			t.Errorf("%s counted %d rows, want 2", m, p.Rows())
		}
	}
}

func TestWidths(t *testing.T) {
	rows := [][]tables.Value{{tables.String("日本")}, {tables.String("abc")}}
	piped := "+-----+\n| t   |\n+-----+\n| 日本  |\n| abc |\n+-----+\n"
	if got := print(t, Options{}, []string{"t"}, rows); got != piped {
		t.Errorf("piped, widths count characters:\n%s", got)
	}
	shown := "+------+\n| t    |\n+------+\n| 日本 |\n| abc  |\n+------+\n"
	if got := print(t, Options{Terminal: true}, []string{"t"}, rows); got != shown {
		t.Errorf("on a terminal, widths count what it shows:\n%s", got)
	}
}

func TestNumbers(t *testing.T) {
	row := []tables.Value{
		tables.Float(math.Inf(1)), tables.Float(math.Inf(-1)), tables.Float(1e20), tables.Int(int64(math.MaxInt64)),
		tables.Addr(netip.MustParseAddr("::1")), tables.Decimal(7),
	}
	names := []string{"a", "b", "c", "d", "e", "f"}
	want := `{"a":9.0e+999,"b":-9.0e+999,"c":1.0e+20,"d":9223372036854775807,"e":"::1","f":"7"}` + "\n"
	got := print(t, Options{Mode: JSONL, Typed: true}, names, [][]tables.Value{row})
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if want, got := "Inf,-Inf,1.0e+20,9223372036854775807,::1,7\n", print(t, Options{Mode: CSV, Separator: ","}, names, [][]tables.Value{row}); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

type fullDisk struct{ after int }

func (d *fullDisk) Write(b []byte) (int, error) {
	if d.after -= len(b); d.after < 0 {
		return 0, io.ErrShortWrite
	}
	return len(b), nil
}

func TestWriteError(t *testing.T) {
	for _, m := range Modes() {
		p := New(&fullDisk{after: 1000}, Options{Mode: m, Separator: "|"})
		p.Columns([]string{"a"})
		var err error
		for range 200_000 {
			if err = p.Row([]tables.Value{tables.String("some text")}); err != nil {
				break
			}
		}
		if err == nil {
			err = p.End()
		}
		if !errors.Is(err, io.ErrShortWrite) {
			t.Errorf("%s: the writer's error came back as %v", m, err)
		}
	}
}

// FuzzCells checks what every mode promises of any text: JSON and CSV give it
// back, a terminal gets nothing that steers it, and a row of the line-oriented
// modes is one line.
func FuzzCells(f *testing.F) {
	for _, s := range []string{"", "x", "a,b", "\"", "line\nline", "\x1b]0;t\x07", "\u009b31m", "\u202egnp", "\xff\xfe", "日本", "nul\x00nul", "\\", "|", "\r\n", "NULL"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		rows := [][]tables.Value{{tables.String(s), tables.Int(1)}}
		names := []string{"text", "n"}
		for _, typed := range []bool{false, true} {
			var back map[string]any
			out := print(t, Options{Mode: JSONL, Typed: typed}, names, rows)
			if err := json.Unmarshal([]byte(out), &back); err != nil {
				t.Fatalf("%q gives invalid JSON %q: %v", s, out, err)
			}
			want := strings.ToValidUTF8(strings.Join(strings.Split(s, ""), ""), "\ufffd")
			if !typed {
				want, _, _ = strings.Cut(want, "\x00")
			}
			if utf8.ValidString(s) && back["text"] != want {
				t.Fatalf("%q came back from JSON as %q", s, back["text"])
			}
			if strings.Count(out, "\n") != 1 {
				t.Fatalf("%q takes more than a line: %q", s, out)
			}
		}
		if !strings.Contains(s, "\r") { // encoding/csv normalises \r\n
			out := print(t, Options{Mode: CSV, Separator: ","}, names, rows)
			record, err := stdcsv.NewReader(strings.NewReader(out)).Read()
			if err != nil || record[0] != s {
				t.Fatalf("%q came back from CSV %q as %q, %v", s, out, record, err)
			}
		}
		if out := print(t, Options{Mode: TSV}, names, rows); strings.Count(out, "\n") != 1 || strings.Count(out, "\t") != 1 {
			t.Fatalf("%q breaks TSV: %q", s, out)
		}
		if out := print(t, Options{Mode: Markdown}, names, rows); strings.Count(out, "\n") != 3 {
			t.Fatalf("%q breaks Markdown: %q", s, out)
		}
		for _, m := range Modes() {
			out := print(t, Options{Mode: m, Terminal: true, Separator: "|"}, names, rows)
			if !utf8.ValidString(out) {
				t.Fatalf("%s sends invalid UTF-8 %q to a terminal", m, out)
			}
			for _, r := range out {
				if r < ' ' && r != '\n' && r != '\t' || r == 0x7f || r >= 0x80 && r < 0xa0 {
					t.Fatalf("%s sends %q to a terminal: %q", m, r, out)
				}
			}
		}
	})
}

type discard struct{ n int }

func (d *discard) Write(b []byte) (int, error) { d.n += len(b); return len(b), nil }

func BenchmarkRows(b *testing.B) {
	names := []string{"pid", "fd", "socket", "family", "protocol", "local_address", "remote_address", "local_port", "remote_port", "path", "state", "net_namespace"}
	row := []tables.Value{
		tables.Int(14960), tables.Int(2), tables.Int(307410), tables.Int(2), tables.Int(6),
		tables.Addr(netip.MustParseAddr("192.168.2.156")), tables.Addr(netip.MustParseAddr("192.168.2.145")),
		tables.Int(51118), tables.Int(8888), tables.String(""), tables.String("ESTABLISHED"), tables.Decimal(4026531956),
	}
	for _, m := range Modes() {
		b.Run(fmt.Sprintf("%s/100000x12", m), func(b *testing.B) {
			b.ReportAllocs()
			w := &discard{}
			for b.Loop() {
				p := New(w, Options{Mode: m, Separator: "|", Header: true})
				p.Columns(names)
				for range 100_000 {
					if err := p.Row(row); err != nil {
						b.Fatal(err)
					}
				}
				if err := errors.Join(p.End(), p.Close()); err != nil {
					b.Fatal(err)
				}
			}
			b.SetBytes(int64(w.n / b.N))
		})
	}
}

// A mode that must hold its result does not hold more than it may, and goes on
// with the next one.
func TestHeldIsBounded(t *testing.T) {
	for _, mode := range []Mode{Pretty, Aligned} {
		var out strings.Builder
		p := New(&out, Options{Mode: mode, Held: 10_000})
		p.Columns([]string{"a"})
		rows, err := 0, error(nil)
		for ; err == nil && rows < 1000; rows++ {
			err = p.Row([]tables.Value{tables.String(strings.Repeat("x", 100))})
		}
		if !errors.Is(err, ErrTooLarge) || rows < 90 || rows > 110 {
			t.Errorf("%v: error %v after %d rows", mode, err, rows)
		}
		p.End()
		if out.Len() != 0 {
			t.Errorf("%v: %d bytes were written of a result that was given up", mode, out.Len())
		}
		p.Columns([]string{"b"})
		if err := errors.Join(p.Row([]tables.Value{tables.Int(1)}), p.End(), p.Close()); err != nil || !strings.Contains(out.String(), "b") {
			t.Errorf("%v: the next result: %q, error %v", mode, out.String(), err)
		}
	}
}

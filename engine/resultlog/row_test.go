package resultlog

import (
	"cmp"
	"encoding/json"
	"math"
	"strconv"
	"testing"

	"sockql/tables"
)

func TestRows(t *testing.T) {
	columns := []string{"b", "a", "b", "", "B"}
	rows := NewRows(columns, true)
	rows.Add([]tables.Value{tables.Int(1), tables.Null(), tables.Float(2), tables.Bytes("x\x00\xff"), tables.String("é\n")})
	if got, want := string(rows.All()[0]), `{"":"x\\x00\\xFF","B":"é\\x0A","a":"","b":2.0}`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	rows = NewRows(columns, false)
	rows.Add([]tables.Value{tables.Int(1), tables.Null(), tables.Int(-2), tables.String("\x01\"\\/\t\xc3"), tables.Float(math.Inf(-1))})
	if got, want := string(appendRow(nil, rows.All()[0], false)), `{"":"\u0001\"\\/\t\\xC3","B":"-inf.0","a":"","b":"-2"}`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := rows.Size(); got != 0+9+1+6+1+0+1+8 {
		t.Errorf("size is %d", got)
	}
	if rows = NewRows(nil, true); len(rows.All()) != 0 || rows.Bytes() != 0 {
		t.Errorf("rows are %q", rows.All())
	}
}

// Names in turn, then integers, floats and texts, by what they mean and not by
// how JSON writes them.
func TestCompareRows(t *testing.T) {
	sorted := []Row{
		`{}`, `{"a":-10}`, `{"a":-9}`, `{"a":9}`, `{"a":9,"b":1}`, `{"a":10}`, `{"a":-2.5}`, `{"a":1e-7}`, `{"a":9.5}`, `{"a":1e21}`,
		`{"a":""}`, `{"a":"\n"}`, `{"a":" "}`, `{"a":"10"}`, `{"a":"9"}`, `{"a":"9\""}`, `{"a":"9}"}`, `{"a\n":1}`, `{"b":1}`,
	}
	for i, a := range sorted {
		for j, b := range sorted {
			if got := compareRows(a, b); got != cmp.Compare(i, j) {
				t.Errorf("%s and %s: %d", a, b, got)
			}
		}
	}
}

// What a damaged store holds must not hang or panic.
func TestMalformedRows(t *testing.T) {
	for _, r := range []Row{"", "{", `{"`, `{"a`, `{"a"`, `{"a":`, `{"a":"`, `{"a":"b`, `{"a":"b"`, `{"a":1`, `{"a":}`, `{"a":,"b":1}`, `{"a":"\`, `[1]`, "x"} {
		if got := string(appendRow(nil, r, false)); got != "{}" {
			t.Errorf("%q becomes %s", r, got)
		}
		compareRows(r, `{"a":"b"}`)
	}
}

// The texts are what C++ prints with setprecision(15) and what RapidJSON's
// Prettify makes of the shortest digits.
func TestFloats(t *testing.T) {
	for _, tt := range []struct {
		f             float64
		text, numeric string
	}{
		{1.5, "1.5", "1.5"}, {0, "0.0", "0.0"}, {-3, "-3.0", "-3.0"}, {1e14, "100000000000000.0", "100000000000000.0"},
		{1e15, "1e+15.0", "1000000000000000.0"}, {1.25e20, "1.25e+20", "125000000000000000000.0"},
		{1e21, "1e+21.0", "1e21"}, {-2.5e300, "-2.5e+300", "-2.5e300"}, {1e-5, "1e-05.0", "0.00001"},
		{1e-7, "1e-07.0", "1e-7"}, {0.30000000000000004, "0.3", "0.30000000000000004"}, {123456789012345.5, "123456789012346.0", "123456789012345.5"},
	} {
		if got := floatText(tt.f); got != tt.text {
			t.Errorf("floatText(%g) = %s, want %s", tt.f, got, tt.text)
		}
		if got := string(appendFloat(nil, tt.f)); got != tt.numeric {
			t.Errorf("appendFloat(%g) = %s, want %s", tt.f, got, tt.numeric)
		}
	}
}

func FuzzRow(f *testing.F) {
	f.Add("name", "text\x00\xff", int64(-1), 1.5)
	f.Add("", "é\u2028\"", int64(math.MinInt64), 1e300)
	f.Fuzz(func(t *testing.T, name, text string, n int64, x float64) {
		rows := NewRows([]string{name, "n", "x"}, true)
		values := []tables.Value{tables.String(text), tables.Int(n), tables.Float(x)}
		rows.Add(values)
		rows.Add(values)
		all := rows.All()
		if len(all) != 2 || all[0] != all[1] || compareRows(all[0], all[1]) != 0 {
			t.Fatalf("rows are %q", all)
		}
		var numbers, quoted map[string]any
		if err := json.Unmarshal([]byte(all[0]), &numbers); err != nil {
			t.Fatalf("%s: %v", all[0], err)
		}
		line := appendRow(nil, all[0], false)
		if err := json.Unmarshal(line, &quoted); err != nil || len(quoted) != len(numbers) {
			t.Fatalf("%s: %v", line, err)
		}
		if quoted["n"] != strconv.FormatInt(n, 10) {
			t.Errorf("%s has not n=%d", line, n)
		}
		if quoted["x"] != floatText(x) {
			t.Errorf("%s has not x=%s", line, floatText(x))
		}
	})
}

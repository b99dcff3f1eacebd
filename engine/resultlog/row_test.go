package resultlog

import (
	"math"
	"testing"

	"sockql/tables"
)

func TestShape(t *testing.T) {
	s := NewShape([]string{"b", "a", "b", "", "B"})
	row := s.Row([]tables.Value{tables.Int(1), tables.Null(), tables.Float(2), tables.Bytes("x\x00\xff"), tables.String("é\n")}, true)
	if got, want := string(appendObject(nil, row, true)), `{"":"x\\x00\\xFF","B":"é\\x0A","a":"","b":2.0}`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	row = s.Row([]tables.Value{tables.Int(1), tables.Null(), tables.Int(-2), tables.String("\x01\"\\/\t\xc3"), tables.Float(math.Inf(-1))}, false)
	if got, want := string(appendObject(nil, row, false)), `{"":"\u0001\"\\/\t\\xC3","B":"-inf.0","a":"","b":"-2"}`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := row.Size(); got != 0+9+1+6+1+0+1+8 {
		t.Errorf("size is %d", got)
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

func FuzzObject(f *testing.F) {
	f.Add("name", "text\x00\xff", int64(-1), 1.5)
	f.Add("", "é\u2028\"", int64(math.MinInt64), 1e300)
	f.Fuzz(func(t *testing.T, name, text string, n int64, x float64) {
		s := NewShape([]string{escapeBytes(name, true), "n", "x"})
		row := s.Row([]tables.Value{tables.String(text), tables.Int(n), tables.Float(x)}, true)
		line := string(appendObject(nil, row, true))
		back, err := parseObject(line)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if again := string(appendObject(nil, back, true)); again != line || compareRows(row, back) != 0 {
			t.Errorf("got  %s\nwant %s", again, line)
		}
	})
}

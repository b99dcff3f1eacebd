package sqlfunc

import (
	"context"
	"errors"
	"math"
	"syscall"
	"testing"

	"sockql/tables"
)

func TestMath(t *testing.T) {
	const domain, outOfRange = "Numerical argument out of domain", "Numerical result out of range"
	inf := math.Inf(1)
	for name, calls := range map[string][]call{
		"sqrt":    {{args: []any{16}, want: 4.0}, {args: []any{"x"}, want: 0.0}, {args: []any{"2.25abc"}, want: 1.5}, {args: []any{-1}, err: domain}, {args: []any{inf}, want: inf}, {args: []any{nil}}},
		"acos":    {{args: []any{1}, want: 0.0}, {args: []any{2}, err: domain}, {args: []any{-1.1}, err: domain}, {args: []any{nil}}},
		"asin":    {{args: []any{0}, want: 0.0}, {args: []any{2}, err: domain}, {args: []any{nil}}},
		"atan":    {{args: []any{0}, want: 0.0}, {args: []any{inf}, want: math.Pi / 2}, {args: []any{nil}}},
		"cos":     {{args: []any{0}, want: 1.0}, {args: []any{inf}, err: domain}, {args: []any{nil}}},
		"sin":     {{args: []any{0}, want: 0.0}, {args: []any{-inf}, err: domain}, {args: []any{nil}}},
		"tan":     {{args: []any{0}, want: 0.0}, {args: []any{inf}, err: domain}, {args: []any{nil}}},
		"cot":     {{args: []any{0}, want: inf}, {args: []any{inf}, err: domain}, {args: []any{nil}}},
		"exp":     {{args: []any{0}, want: 1.0}, {args: []any{1000}, want: inf}, {args: []any{-1000}, want: 0.0}, {args: []any{12000}, err: outOfRange}, {args: []any{-12000}, err: outOfRange}, {args: []any{inf}, want: inf}, {args: []any{-inf}, want: 0.0}, {args: []any{nil}}},
		"log":     {{args: []any{1}, want: 0.0}, {args: []any{0}, err: outOfRange}, {args: []any{-1}, err: domain}, {args: []any{-inf}, err: domain}, {args: []any{inf}, want: inf}, {args: []any{nil}}},
		"log10":   {{args: []any{1000}, want: math.Log10(1000)}, {args: []any{0}, err: outOfRange}, {args: []any{-1}, err: domain}, {args: []any{nil}}},
		"degrees": {{args: []any{math.Pi}, want: 180.0}, {args: []any{nil}}},
		"radians": {{args: []any{180}, want: math.Pi}, {args: []any{inf}, want: inf}, {args: []any{nil}}},
		"pi":      {{want: math.Pi}},
		"power": {
			{args: []any{2, 10}, want: 1024.0}, {args: []any{2, -1}, want: 0.5}, {args: []any{0, 0}, want: 1.0}, {args: []any{0, 2}, want: 0.0}, {args: []any{"2", "3x"}, want: 8.0},
			{args: []any{-8, 1.0 / 3}, err: domain}, {args: []any{0, -1}, err: outOfRange}, {args: []any{10, 400}, err: outOfRange}, {args: []any{10, -400}, err: outOfRange},
			{args: []any{inf, 2}, want: inf}, {args: []any{0.5, inf}, want: 0.0}, {args: []any{0, -inf}, want: inf}, {args: []any{nil, 1}}, {args: []any{1, nil}},
		},
		"ceil": {
			{args: []any{1.2}, want: 2}, {args: []any{-1.2}, want: -1}, {args: []any{7}, want: 7}, {args: []any{int64(math.MaxInt64)}, want: int64(math.MaxInt64)},
			{args: []any{"1.2x"}, want: 2}, {args: []any{"x"}, want: 0}, {args: []any{1e300}, want: int64(math.MinInt64)}, {args: []any{-1e300}, want: int64(math.MinInt64)}, {args: []any{nil}},
		},
		"floor": {{args: []any{1.8}, want: 1}, {args: []any{-1.2}, want: -2}, {args: []any{[]byte("2.9")}, want: 2}, {args: []any{inf}, want: int64(math.MinInt64)}, {args: []any{nil}}},
	} {
		check(t, name, calls)
	}
	c, _ := newCall()
	_, err := function(t, Config{}, "acos").Eval(context.Background(), c, values([]any{2}))
	if !errors.Is(err, syscall.EDOM) {
		t.Errorf("acos(2): %v is not EDOM", err)
	}
}

// Values as osquery prints them, with fifteen digits.
func TestMathDigits(t *testing.T) {
	for name, want := range map[string]string{
		"sqrt": "0.707106781186548", "acos": "1.0471975511966", "asin": "0.523598775598299", "atan": "0.463647609000806",
		"cos": "0.877582561890373", "sin": "0.479425538604203", "tan": "0.54630248984379", "cot": "1.83048772171245",
		"exp": "1.64872127070013", "log": "-0.693147180559945", "log10": "-0.301029995663981",
		"degrees": "28.6478897565412", "radians": "0.00872664625997165",
	} {
		c, _ := newCall()
		got, err := function(t, Config{}, name).Eval(context.Background(), c, []tables.Value{tables.Float(0.5)})
		if err != nil || got.String() != want {
			t.Errorf("%s(0.5) = %s, %v; want %s", name, got, err, want)
		}
	}
}

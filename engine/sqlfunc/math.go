package sqlfunc

import (
	"context"
	"math"
	"syscall"

	"sockql/tables"
)

// mathFunctions are osquery's. They take the place of SQLite's own of the same
// names, which give NULL where these give the error of the C library.
func mathFunctions() []Function {
	const null = "; NULL for NULL."
	const domain = " Outside of its domain it is an error" + null
	return []Function{
		realFunction("sqrt", "sqrt(x) returns the square root."+domain, func(x float64) (float64, error) {
			return math.Sqrt(x), outside(x < 0)
		}),
		realFunction("acos", "acos(x) returns the arc cosine in radians."+domain, func(x float64) (float64, error) {
			return math.Acos(x), outside(math.Abs(x) > 1)
		}),
		realFunction("asin", "asin(x) returns the arc sine in radians."+domain, func(x float64) (float64, error) {
			return math.Asin(x), outside(math.Abs(x) > 1)
		}),
		realFunction("atan", "atan(x) returns the arc tangent in radians"+null, func(x float64) (float64, error) {
			return math.Atan(x), nil
		}),
		realFunction("cos", "cos(x) returns the cosine of radians."+domain, func(x float64) (float64, error) {
			return math.Cos(x), outside(math.IsInf(x, 0))
		}),
		realFunction("sin", "sin(x) returns the sine of radians."+domain, func(x float64) (float64, error) {
			return math.Sin(x), outside(math.IsInf(x, 0))
		}),
		realFunction("tan", "tan(x) returns the tangent of radians."+domain, func(x float64) (float64, error) {
			return math.Tan(x), outside(math.IsInf(x, 0))
		}),
		realFunction("cot", "cot(x) returns the cotangent of radians, for 0 an infinity."+domain, func(x float64) (float64, error) {
			return 1 / math.Tan(x), outside(math.IsInf(x, 0))
		}),
		realFunction("exp", "exp(x) returns e to the power of x, an infinity or 0 where a double has no room. Beyond what an x87 extended float has room for it is an error"+null, exp),
		realFunction("log", "log(x) returns the natural logarithm, not that to base 10."+domain, logarithm(math.Log)),
		realFunction("log10", "log10(x) returns the logarithm to base 10."+domain, logarithm(math.Log10)),
		{
			Name: "power", Args: []int{2}, Deterministic: true,
			Doc: "power(x, y) returns x to the power of y. A result that is not real, infinite or too small for a double is an error; NULL if an argument is NULL.",
			Eval: func(_ context.Context, _ *Call, args []tables.Value) (tables.Value, error) {
				if anyNull(args) {
					return tables.Null(), nil
				}
				z, err := power(float(args[0]), float(args[1]))
				if err != nil {
					return tables.Null(), err
				}
				return number(z), nil
			},
		},
		wholeFunction("ceil", "ceil(x) returns the least integer that is not less than x, as an integer"+null, math.Ceil),
		wholeFunction("floor", "floor(x) returns the greatest integer that is not greater than x, as an integer"+null, math.Floor),
		realFunction("degrees", "degrees(x) turns radians into degrees"+null, func(x float64) (float64, error) {
			return 180 * x / math.Pi, nil
		}),
		realFunction("radians", "radians(x) turns degrees into radians"+null, func(x float64) (float64, error) {
			return x * math.Pi / 180, nil
		}),
		{
			Name: "pi", Args: []int{0}, Deterministic: true, Doc: "pi() returns the ratio of a circle's circumference to its diameter.",
			Eval: func(context.Context, *Call, []tables.Value) (tables.Value, error) { return tables.Float(math.Pi), nil },
		},
	}
}

// A mathError is an error of the C library, with its text from strerror(3).
type mathError struct {
	errno syscall.Errno
	text  string
}

func (e *mathError) Error() string { return e.text }

// Unwrap returns the errno that the C library sets (math_error(7)).
func (e *mathError) Unwrap() error { return e.errno }

var (
	errDomain = &mathError{syscall.EDOM, "Numerical argument out of domain"}
	errRange  = &mathError{syscall.ERANGE, "Numerical result out of range"}
)

func outside(domain bool) error {
	if domain {
		return errDomain
	}
	return nil
}

func realFunction(name, doc string, f func(float64) (float64, error)) Function {
	return Function{
		Name: name, Args: []int{1}, Deterministic: true, Doc: doc,
		Eval: func(_ context.Context, _ *Call, args []tables.Value) (tables.Value, error) {
			if args[0].IsNull() {
				return tables.Null(), nil
			}
			y, err := f(float(args[0]))
			if err != nil {
				return tables.Null(), err
			}
			return number(y), nil
		},
	}
}

func wholeFunction(name, doc string, round func(float64) float64) Function {
	return Function{
		Name: name, Args: []int{1}, Deterministic: true, Doc: doc,
		Eval: func(_ context.Context, _ *Call, args []tables.Value) (tables.Value, error) {
			switch args[0].Kind() {
			case tables.KindNull, tables.KindInt:
				return args[0], nil
			}
			y := round(float(args[0]))
			if y < math.MinInt64 || y >= math.MaxInt64 {
				// What amd64 converts a float without an integer to.
				return tables.Int(int64(math.MinInt64)), nil
			}
			return tables.Int(int64(y)), nil
		},
	}
}

// exp follows expl(3), which osquery calls: its errors are those of a float
// with a 15-bit exponent, and what a double cannot hold is no error.
func exp(x float64) (float64, error) {
	const maxLog, minLog = 11356.523406294143949492, -11399.498531488860558
	if !math.IsInf(x, 0) && (x > maxLog || x < minLog) {
		return 0, errRange
	}
	return math.Exp(x), nil
}

func logarithm(f func(float64) float64) func(float64) (float64, error) {
	return func(x float64) (float64, error) {
		switch {
		case x < 0:
			return 0, errDomain
		case x == 0:
			return 0, errRange // a pole
		}
		return f(x), nil
	}
}

// power follows pow(3) and its errors.
func power(x, y float64) (float64, error) {
	z := math.Pow(x, y)
	if math.IsInf(x, 0) || math.IsInf(y, 0) {
		return z, nil
	}
	switch {
	case math.IsNaN(z):
		return 0, errDomain
	case math.IsInf(z, 0), z == 0 && x != 0:
		return 0, errRange
	}
	return z, nil
}

package sqlfunc

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"sockql/tables"
)

// call is one call of a function and what it must give.
type call struct {
	args []any
	want any    // nil for NULL
	err  string // the whole text; then want is nil
}

func value(a any) tables.Value {
	switch a := a.(type) {
	case nil:
		return tables.Null()
	case int:
		return tables.Int(a)
	case int64:
		return tables.Int(a)
	case float64:
		return tables.Float(a)
	case string:
		return tables.String(a)
	case []byte:
		return tables.Bytes(string(a))
	}
	panic(fmt.Sprintf("no value for %T", a))
}

func values(args []any) []tables.Value {
	vs := make([]tables.Value, len(args))
	for i, a := range args {
		vs[i] = value(a)
	}
	return vs
}

func show(v tables.Value) string {
	if v.IsNull() {
		return "NULL"
	}
	return fmt.Sprintf("%q (kind %d)", v.String(), v.Kind())
}

// function returns a function by its name.
func function(t testing.TB, cfg Config, name string) Function {
	t.Helper()
	for _, f := range All(cfg) {
		if f.Name == name {
			return f
		}
	}
	t.Fatalf("there is no function %q", name)
	return Function{}
}

// newCall returns what a call uses, and the place of its warnings.
func newCall() (*Call, *[]string) {
	var warnings []string
	return &Call{
		Warn:  func(err error) { warnings = append(warnings, err.Error()) },
		Cache: map[any]any{},
	}, &warnings
}

// check runs calls of one function. None may warn.
func check(t *testing.T, name string, calls []call) {
	t.Helper()
	f := function(t, Config{}, name)
	for _, k := range calls {
		c, warnings := newCall()
		got, err := f.Eval(context.Background(), c, values(k.args))
		switch {
		case k.err != "":
			if err == nil || err.Error() != k.err || !got.IsNull() {
				t.Errorf("%s(%v) = %s, %v; want the error %q", name, k.args, show(got), err, k.err)
			}
		case err != nil:
			t.Errorf("%s(%v): %v; want %s", name, k.args, err, show(value(k.want)))
		case !got.Equal(value(k.want)):
			t.Errorf("%s(%v) = %s; want %s", name, k.args, show(got), show(value(k.want)))
		}
		if len(*warnings) > 0 {
			t.Errorf("%s(%v) warns: %q", name, k.args, *warnings)
		}
	}
}

func TestAllAreComplete(t *testing.T) {
	// Every function that osquery registers but the aggregate carve, and ours.
	want := strings.Fields(`split regex_split regex_match concat concat_ws inet_aton md5 sha1 sha256
		community_id_v1 community_id_v1_strict to_base64 from_base64 conditional_to_base64 in_cidr_block
		version_compare parent_directory find_file_path_in_cmd is_path_deterministic sleep
		sqrt acos asin atan cos sin tan cot exp log log10 power ceil floor degrees radians pi
		service_name protocol_name family_name ip_in ip_unmap is_private is_loopback resolve`)
	have := map[string]bool{}
	for _, f := range All(Config{}) {
		if have[f.Name] {
			t.Errorf("%s is there twice", f.Name)
		}
		have[f.Name] = true
		if f.Eval == nil || !strings.HasPrefix(f.Doc, f.Name+"(") || !strings.HasSuffix(f.Doc, ".") {
			t.Errorf("%s: no body, or its documentation does not begin with a call or end with a stop: %q", f.Name, f.Doc)
		}
		for _, word := range []string{"sleep", "resolve", "find_file_path_in_cmd", "is_path_deterministic"} {
			if f.Name == word && f.Deterministic {
				t.Errorf("%s is no function of its arguments alone", f.Name)
			}
		}
	}
	for _, name := range want {
		if !have[name] {
			t.Errorf("%s is missing", name)
		}
	}
	if len(have) != len(want) {
		t.Errorf("%d functions, want %d", len(have), len(want))
	}
	names := ""
	for _, k := range Collations() {
		names += k.Name + " "
		if k.Doc == "" {
			t.Errorf("collation %s has no documentation", k.Name)
		}
	}
	if names != "version version_arch version_dpkg version_rhel " {
		t.Errorf("collations %q", names)
	}
}

// TestArguments gives every function every kind of value in every place. None
// may panic, and none may keep a part of its arguments' memory changed.
func TestArguments(t *testing.T) {
	odd := []any{nil, 0, -1, 1 << 40, 0.5, -1e300, "", "x", "1", "10.0.0.0/8", "\x00", "é\xff", []byte(nil), []byte("a\x00b")}
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // sleep ends at once
	for _, f := range All(Config{Services: "testdata/services"}) {
		arities := f.Args
		if arities == nil {
			arities = []int{0, 1, 2, 3}
		}
		for _, n := range arities {
			for i := range n * len(odd) * len(odd) {
				args := make([]any, n)
				for j := range args {
					args[j] = odd[(i*(j+1)+i/len(odd))%len(odd)]
				}
				c, _ := newCall()
				if v, err := f.Eval(ctx, c, values(args)); err != nil && !v.IsNull() {
					t.Errorf("%s(%v) returns a value with its error", f.Name, args)
				}
			}
		}
	}
}

func TestText(t *testing.T) {
	for _, k := range []struct {
		in   any
		want string
	}{
		{"ab\x00c", "ab"}, {[]byte("\x00"), ""}, {12, "12"}, {1.0, "1.0"}, {1e21, "1.0e+21"}, {nil, ""},
	} {
		if got := text(value(k.in)); got != k.want {
			t.Errorf("text(%v) = %q, want %q", k.in, got, k.want)
		}
	}
}

func TestNumbers(t *testing.T) {
	const minInt, maxInt = -1 << 63, 1<<63 - 1
	for _, k := range []struct {
		in    any
		whole int64
		real  float64
	}{
		{nil, 0, 0}, {7, 7, 7}, {-1.9, -1, -1.9}, {1e300, maxInt, 1e300}, {-1e300, minInt, -1e300},
		{"12abc", 12, 12}, {" \t\n-3.75e1x", -3, -37.5}, {"+5", 5, 5}, {"1e3", 1, 1000}, {"1e", 1, 1}, {"1e+", 1, 1},
		{".5", 0, .5}, {"5.", 5, 5}, {".", 0, 0}, {"-", 0, 0}, {"", 0, 0}, {"x1", 0, 0}, {"0x10", 0, 0}, {"1_0", 1, 1},
		{"inf", 0, 0}, {"nan", 0, 0}, {"-.e1", 0, 0}, {"1.5.5", 1, 1.5},
		{"9223372036854775808", maxInt, 1 << 63}, {"-9999999999999999999", minInt, -9999999999999999999},
		{[]byte("42"), 42, 42},
	} {
		if got := integer(value(k.in)); got != k.whole {
			t.Errorf("integer(%v) = %d, want %d", k.in, got, k.whole)
		}
		if got := float(value(k.in)); got != k.real {
			t.Errorf("float(%v) = %v, want %v", k.in, got, k.real)
		}
	}
	if got := integer32(tables.Int(1 << 32)); got != 0 {
		t.Errorf("integer32(2^32) = %d, want its lower half, 0", got)
	}
}

func FuzzNumbers(f *testing.F) {
	f.Add([]byte(" -12.5e3x"))
	f.Fuzz(func(t *testing.T, s []byte) {
		trimmed := bytes.TrimLeft(s, space)
		whole, real := integerPrefix(string(trimmed)), floatPrefix(string(trimmed))
		if whole > real {
			t.Errorf("%q: an integer of %d bytes, but a number of %d", s, whole, real)
		}
		if n, ok := wholeNumber(tables.String(string(s))); ok && n != integer(tables.String(string(s))) {
			t.Errorf("%q: the number %d, but it begins with another", s, n)
		}
		integer(tables.Bytes(string(s)))
		float(tables.Bytes(string(s)))
	})
}

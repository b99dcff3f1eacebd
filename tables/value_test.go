package tables

import (
	"math"
	"net/netip"
	"testing"
)

func TestValueText(t *testing.T) {
	tests := []struct {
		name string
		v    Value
		kind Kind
		want string
	}{
		{"null", Null(), KindNull, ""},
		{"zero value", Value{}, KindNull, ""},
		{"int", Int(int32(-7)), KindInt, "-7"},
		{"least int", Int(int64(math.MinInt64)), KindInt, "-9223372036854775808"},
		{"unsigned beyond int64", Uint(math.MaxUint64), KindInt, "-1"},
		{"true", Bool(true), KindInt, "1"},
		{"false", Bool(false), KindInt, "0"},
		{"text", String("a\x00b"), KindText, "a\x00b"},
		{"empty text", String(""), KindText, ""},
		{"blob", Bytes("\xff\x00"), KindBlob, "\xff\x00"},
		{"ipv4", Addr(netip.MustParseAddr("192.168.2.156")), KindText, "192.168.2.156"},
		{"ipv6", Addr(netip.MustParseAddr("fe80::1")), KindText, "fe80::1"},
		{"ipv6 unspecified", Addr(netip.IPv6Unspecified()), KindText, "::"},
		{"mapped", Addr(netip.MustParseAddr("::ffff:10.1.2.3")), KindText, "::ffff:10.1.2.3"},
		{"zone is left out", Addr(netip.MustParseAddr("fe80::1%eth0")), KindText, "fe80::1"},
		{"no address", Addr(netip.Addr{}), KindNull, ""},
		{"decimal", Decimal(4026531956), KindText, "4026531956"},
		{"greatest decimal", Decimal(math.MaxUint64), KindText, "18446744073709551615"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.v.Kind() != tt.kind {
				t.Errorf("kind = %d, want %d", tt.v.Kind(), tt.kind)
			}
			if got := tt.v.String(); got != tt.want {
				t.Errorf("String() = %q, want %q", got, tt.want)
			}
			if got := string(tt.v.Append([]byte("x"))); got != "x"+tt.want {
				t.Errorf("Append = %q, want %q", got, "x"+tt.want)
			}
			if !tt.v.Equal(tt.v) {
				t.Error("a value does not equal itself")
			}
		})
	}
}

// The expected texts are what SQLite's shell prints for `select V`.
func TestValueFloatText(t *testing.T) {
	tests := map[float64]string{
		0: "0.0", 1: "1.0", -1: "-1.0", 1.5: "1.5", 0.1: "0.1", 100: "100.0",
		1024: "1024.0", math.Pi: "3.14159265358979", 1.0 / 3: "0.333333333333333",
		1e14: "100000000000000.0", 1e15: "1.0e+15", 1e20: "1.0e+20", 1e-4: "0.0001",
		1e-5: "1.0e-05", 1.25e-7: "1.25e-07", 1e100: "1.0e+100", -2.5e-300: "-2.5e-300",
		123456789012345678: "1.23456789012346e+17", 0.642092615934331: "0.642092615934331",
		math.Inf(1): "Inf", math.Inf(-1): "-Inf", 2.567: "2.567", 180: "180.0",
	}
	for f, want := range tests {
		if got := Float(f).String(); got != want {
			t.Errorf("Float(%g) = %q, want %q", f, got, want)
		}
	}
}

func TestValueEqual(t *testing.T) {
	addr := Addr(netip.MustParseAddr("10.0.0.1"))
	tests := []struct {
		a, b Value
		want bool
	}{
		{addr, String("10.0.0.1"), true},
		{String("10.0.0.1"), addr, true},
		{addr, String("10.0.0.2"), false},
		{Decimal(10), String("10"), true},
		{Decimal(10), Int(10), false},
		{Int(1), Float(1), false},
		{String("a"), Bytes("a"), false},
		{Null(), Null(), true},
		{Null(), String(""), false},
	}
	for _, tt := range tests {
		if got := tt.a.Equal(tt.b); got != tt.want {
			t.Errorf("%v.Equal(%v) = %v, want %v", tt.a, tt.b, got, tt.want)
		}
	}
}

func TestValueCostsNothing(t *testing.T) {
	addr := netip.MustParseAddr("192.168.2.156")
	buf := make([]byte, 0, 64)
	if n := testing.AllocsPerRun(100, func() {
		buf = Addr(addr).Append(buf[:0])
		buf = Decimal(4026531956).Append(buf[:0])
		buf = Int(uint32(8888)).Append(buf[:0])
		buf = String("ESTABLISHED").Append(buf[:0])
		buf = Float(1.5).Append(buf[:0])
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

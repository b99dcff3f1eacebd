package sqlfunc

import (
	"context"
	"fmt"
	"testing"

	"sockql/tables"
)

func TestInCIDRBlock(t *testing.T) {
	const v4, v6, bad = "CIDR for IP address v4 cannot be parsed", "CIDR for IP address v6 cannot be parsed", "IP address cannot be parsed"
	check(t, "in_cidr_block", []call{
		{args: []any{"198.51.100.14/24", "198.51.100.14"}, want: 1},
		{args: []any{"10.0.0.0/8", "10.1.2.3"}, want: 1},
		{args: []any{"10.0.0.0/8", "11.1.2.3"}, want: 0},
		{args: []any{"10.0.0.0/30", "10.0.0.0"}, want: 0},
		{args: []any{"10.0.0.0/30", "10.0.0.1"}, want: 1},
		{args: []any{"10.0.0.0/30", "10.0.0.3"}, want: 0},
		{args: []any{"10.0.0.0/31", "10.0.0.0"}, want: 0},
		{args: []any{"10.0.0.0/31", "10.0.0.1"}, want: 0},
		{args: []any{"10.0.0.1/32", "10.0.0.1"}, want: 1},
		{args: []any{"255.255.255.255/32", "255.255.255.255"}, want: 0},
		{args: []any{"0.0.0.0/0", "0.0.0.0"}, want: 0},
		{args: []any{"0.0.0.0/0", "8.8.8.8"}, want: 1},
		{args: []any{"10.0.0.0/08", "10.1.2.3"}, want: 1},
		{args: []any{"2001:db8::/48", "2001:db8:0:ffff:ffff:ffff:ffff:ffff"}, want: 1},
		{args: []any{"2001:db8::/48", "2001:db8::"}, want: 1},
		{args: []any{"2001:db8::/48", "2001:db8:1::"}, want: 0},
		{args: []any{"2a00:a040:019e:f12a:0000:0000:0000:0000/64", "2a00:a040:19e:f12a:658b:3589:b2ba:71a3"}, want: 1},
		{args: []any{"fe80::/10", "fe80::1%eth0"}, want: 1},
		{args: []any{"::1/128", "::1"}, want: 1},
		{args: []any{"::/0", "::1"}, want: 0}, // the end of the range wraps around
		{args: []any{"::ffff:10.0.0.0/104", "::ffff:10.1.1.1"}, want: 1},
		{args: []any{"10.0.0.0/8", "::1"}, err: v6},
		{args: []any{"10.0.0.0/8", "::ffff:10.1.1.1"}, err: v6},
		{args: []any{"::/0", "10.0.0.1"}, err: v4},
		{args: []any{"bad", "10.0.0.1"}, err: v4},
		{args: []any{"10.0.0.1", "10.0.0.1"}, err: v4},
		{args: []any{"10.0.0.1/", "10.0.0.1"}, err: v4},
		{args: []any{"10.0.0.1/33", "10.0.0.1"}, err: v4},
		{args: []any{"10.0.0.1/99999999999999999999", "10.0.0.1"}, err: v4},
		{args: []any{"10.0.0.1/-1", "10.0.0.1"}, err: v4},
		{args: []any{"10.0.0.1/8x", "10.0.0.1"}, err: v4},
		{args: []any{"::/129", "::1"}, err: v6},
		{args: []any{"10.0.0.0/8", "x"}, err: bad},
		{args: []any{"10.0.0.0/8", ""}, err: bad},
		{args: []any{nil, "10.0.0.1"}, err: "CIDR must be a string"},
		{args: []any{"10.0.0.0/8", nil}, err: "IP address must be a string"},
		{args: []any{"10.0.0.0/8", 1}, err: "IP address must be a string"},
	})
}

func TestIPIn(t *testing.T) {
	check(t, "ip_in", []call{
		{args: []any{"10.1.2.3", "10.0.0.0/8"}, want: 1},
		{args: []any{"10.0.0.0", "10.0.0.0/8"}, want: 1},
		{args: []any{"10.255.255.255", "10.0.0.0/8"}, want: 1},
		{args: []any{"11.0.0.0", "10.0.0.0/8"}, want: 0},
		{args: []any{"10.1.2.3", "10.9.9.9/8"}, want: 1},
		{args: []any{"10.1.2.3", "10.1.2.3"}, want: 1},
		{args: []any{"10.1.2.3", "10.1.2.4"}, want: 0},
		{args: []any{"::ffff:10.1.2.3", "10.0.0.0/8"}, want: 1},
		{args: []any{"10.1.2.3", "::ffff:10.0.0.0/104"}, want: 1},
		{args: []any{"::ffff:10.1.2.3", "::ffff:10.0.0.0/104"}, want: 1},
		{args: []any{"11.1.2.3", "::ffff:10.0.0.0/104"}, want: 0},
		{args: []any{"10.1.2.3", "::ffff:0:0/96"}, want: 1},
		{args: []any{"::ffff:10.1.2.3", "::/0"}, want: 1},
		{args: []any{"10.1.2.3", "::/0"}, want: 0},
		{args: []any{"::1", "0.0.0.0/0"}, want: 0},
		{args: []any{"fe80::1%eth0", "fe80::/10"}, want: 1},
		{args: []any{"::1", "::1"}, want: 1},
		{args: []any{"", "10.0.0.0/8"}},
		{args: []any{"/run/x.sock", "10.0.0.0/8"}},
		{args: []any{nil, "10.0.0.0/8"}},
		{args: []any{"10.0.0.1", nil}},
		{args: []any{10, "10.0.0.0/8"}},
	})
	f := function(t, Config{}, "ip_in")
	for _, cidr := range []string{"", "x", "10.0.0.0/", "10.0.0.0/33", "10.0/8", "fe80::%eth0/10"} {
		c, _ := newCall()
		if v, err := f.Eval(context.Background(), c, values([]any{"10.0.0.1", cidr})); err == nil {
			t.Errorf("ip_in with the block %q = %s, want an error", cidr, show(v))
		}
	}
}

func TestAddresses(t *testing.T) {
	check(t, "ip_unmap", []call{
		{args: []any{"::ffff:10.1.2.3"}, want: "10.1.2.3"},
		{args: []any{"::FFFF:0a01:0203"}, want: "10.1.2.3"},
		{args: []any{"10.1.2.3"}, want: "10.1.2.3"},
		{args: []any{"2001:DB8:0::1"}, want: "2001:db8::1"},
		{args: []any{"fe80::1%eth0"}, want: "fe80::1%eth0"},
		{args: []any{"::10.1.2.3"}, want: "::a01:203"}, // compatible, not mapped
		{args: []any{""}}, {args: []any{nil}}, {args: []any{"x"}}, {args: []any{1}},
	})
	check(t, "is_private", []call{
		{args: []any{"10.0.0.0"}, want: 1}, {args: []any{"172.31.255.255"}, want: 1}, {args: []any{"172.32.0.0"}, want: 0},
		{args: []any{"192.168.1.1"}, want: 1}, {args: []any{"::ffff:192.168.1.1"}, want: 1}, {args: []any{"fd00::1"}, want: 1},
		{args: []any{"fe80::1"}, want: 0}, {args: []any{"127.0.0.1"}, want: 0}, {args: []any{"8.8.8.8"}, want: 0}, {args: []any{""}}, {args: []any{nil}},
	})
	check(t, "is_loopback", []call{
		{args: []any{"127.0.0.1"}, want: 1}, {args: []any{"127.255.0.1"}, want: 1}, {args: []any{"::1"}, want: 1},
		{args: []any{"::ffff:127.0.0.1"}, want: 1}, {args: []any{"0.0.0.0"}, want: 0}, {args: []any{"::"}, want: 0}, {args: []any{"*"}}, {args: []any{nil}},
	})
}

func FuzzAddresses(f *testing.F) {
	f.Add("::ffff:10.0.0.1", "10.0.0.0/8")
	f.Add("fe80::1%eth0", "::/0")
	f.Add("255.0.10.1", "255.0.0.0/7")
	f.Fuzz(func(t *testing.T, addr, cidr string) {
		ctx := context.Background()
		c, _ := newCall()
		host, err := inCIDRBlock(ctx, c, values([]any{cidr, addr}))
		if err == nil && host.Int64() == 1 {
			// Every host of a block lies in it.
			if in, err := ipIn(ctx, c, values([]any{text(value(addr)), text(value(cidr))})); err == nil && !in.IsNull() && in.Int64() != 1 {
				t.Errorf("%q is a host of %q but not in it", addr, cidr)
			}
		}
		if v, err := function(t, Config{}, "ip_unmap").Eval(ctx, c, values([]any{addr})); err != nil {
			t.Error(err)
		} else if !v.IsNull() {
			if again, _ := function(t, Config{}, "ip_unmap").Eval(ctx, c, []tables.Value{v}); !again.Equal(v) {
				t.Errorf("ip_unmap(%q) = %s, and of that %s", addr, show(v), show(again))
			}
		}
		if v, err := inetAton(ctx, c, values([]any{addr})); err != nil {
			t.Error(err)
		} else if n := v.Int64(); !v.IsNull() {
			if dotted := fmt.Sprintf("%d.%d.%d.%d", n>>24, n>>16&255, n>>8&255, n&255); dotted != text(value(addr)) {
				t.Errorf("inet_aton(%q) = %s, which is %s", addr, show(v), dotted)
			}
		}
	})
}

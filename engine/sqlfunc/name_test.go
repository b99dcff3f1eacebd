package sqlfunc

import (
	"context"
	"path/filepath"
	"testing"

	"sockql/tables"
)

func TestServiceName(t *testing.T) {
	name := func(services string, port, protocol any) tables.Value {
		t.Helper()
		c, _ := newCall()
		v, err := function(t, Config{Services: services}, "service_name").Eval(context.Background(), c, values([]any{port, protocol}))
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, k := range []struct{ port, protocol, want any }{
		{22, "tcp", "ssh"}, {22, 6, "ssh"}, {"22", "6", "ssh"}, {22.0, "TCP", "ssh"}, {22, 262, "ssh"}, {22, "mptcp", "ssh"},
		{53, 17, "domain"}, {53, 136, "domain"}, {53, "udplite", "domain"}, {9, 132, "sctp-thing"},
		{80, 6, "http"}, // the first of two
		{22, 17, nil}, {23, 6, nil}, {22, 0, nil}, {22, 999, nil}, {22, "x", nil}, {22, nil, nil}, {nil, 6, nil},
		{-1, 6, nil}, {65536 + 22, 6, nil}, {"ssh", 6, nil}, {22.5, 6, nil}, {"", "", nil}, {[]byte("22"), 6, nil},
	} {
		if got := name("testdata/services", k.port, k.protocol); !got.Equal(value(k.want)) {
			t.Errorf("service_name(%v, %v) = %s, want %s", k.port, k.protocol, show(got), show(value(k.want)))
		}
	}
	missing := filepath.Join(t.TempDir(), "services")
	if got := name(missing, 443, "tcp"); got.String() != "https" {
		t.Errorf("without a file, 443/tcp is %s", show(got))
	}
	if got := name(missing, 9, 132); !got.IsNull() {
		t.Errorf("without a file, 9/sctp is %s", show(got))
	}
}

func TestNumberNames(t *testing.T) {
	check(t, "protocol_name", []call{
		{args: []any{6}, want: "tcp"}, {args: []any{"17"}, want: "udp"}, {args: []any{1.0}, want: "icmp"}, {args: []any{58}, want: "ipv6-icmp"},
		{args: []any{0}, want: "ip"}, {args: []any{132}, want: "sctp"}, {args: []any{255}, want: "raw"}, {args: []any{262}, want: "mptcp"},
		{args: []any{-1}}, {args: []any{254}}, {args: []any{"tcp"}}, {args: []any{""}}, {args: []any{6.5}}, {args: []any{nil}},
	})
	check(t, "family_name", []call{
		{args: []any{1}, want: "unix"}, {args: []any{2}, want: "inet"}, {args: []any{" 10 "}, want: "inet6"}, {args: []any{16}, want: "netlink"},
		{args: []any{17}, want: "packet"}, {args: []any{40}, want: "vsock"}, {args: []any{44}, want: "xdp"},
		{args: []any{46}}, {args: []any{-1}}, {args: []any{"inet"}}, {args: []any{nil}},
	})
}

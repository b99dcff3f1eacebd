package sqlfunc

import (
	"context"
	"strings"
	"testing"
)

func BenchmarkFunctions(b *testing.B) {
	for _, k := range []struct {
		name string
		args []any
	}{
		{"regex_match", []any{"/usr/lib/systemd/systemd-resolved --flag", `/([^/ ]+)( |$)`, 1}},
		{"regex_split", []any{"a, b,  c , d", `\s*,\s*`, 3}},
		{"split", []any{"a,b;c,d", ",;", 3}},
		{"in_cidr_block", []any{"10.0.0.0/8", "10.1.2.3"}},
		{"ip_in", []any{"::ffff:10.1.2.3", "10.0.0.0/8"}},
		{"community_id_v1", []any{"10.0.0.1", "10.0.0.2", 1, 2, 6}},
		{"service_name", []any{22, 6}},
		{"version_compare", []any{"1:2.3.4-5ubuntu6", "1:2.3.4-5ubuntu7", "DPKG"}},
		{"sha256", []any{strings.Repeat("x", 64)}},
	} {
		b.Run(k.name, func(b *testing.B) {
			f := function(b, Config{Services: "testdata/services"}, k.name)
			c, _ := newCall()
			args := values(k.args)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := f.Eval(context.Background(), c, args); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

package system

import (
	"strings"
	"testing"

	"sockql/tables/tabletest"
)

func TestNameResolution(t *testing.T) {
	c := Config{
		Root: tree(t, map[string]string{
			"etc/hosts":       "127.0.0.1 localhost me # first\n\n::1 localhost\n",
			"etc/resolv.conf": "nameserver 10.0.0.1\nsearch example.org example.net\noptions rotate\n",
		}),
		Proc: recorded(t, map[string]string{"7/root/etc/hosts": "10.1.1.1 container\n", "7/root/etc/resolv.conf": ""}),
	}
	hosts, err := EtcHosts(c)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, hosts, nil, "127.0.0.1|localhost me|0", "::1|localhost|0")
	expect(t, hosts, []where{{"pid_with_namespace", []any{7, 0, 99}}}, "127.0.0.1|localhost me|0", "::1|localhost|0", "10.1.1.1|container|7")
	resolvers, err := DNSResolvers(c)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, resolvers, nil, "0|nameserver|10.0.0.1|32|17089|0", "0|search|example.org||17089|0", "1|search|example.net||17089|0")
	expect(t, resolvers, []where{{"pid_with_namespace", []any{7}}}, "0|nameserver|127.0.0.1|32|705|7")
	tabletest.Run(t, hosts, tabletest.Options{Stable: true})
	tabletest.Run(t, resolvers, tabletest.Options{Stable: true})

	none, err := EtcHosts(Config{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if rows, warnings := ask(t, none); len(rows) != 0 || len(warnings) != 1 || !strings.Contains(warnings[0].Error(), "/etc/hosts") {
		t.Errorf("without a file: %q, %v", rows, warnings)
	}
}

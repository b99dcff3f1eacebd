package network

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sockql/tables/internal/kerneltest"
	"sockql/tables/tabletest"
)

func TestNFTablesRules(t *testing.T) {
	nft := kerneltest.RequireProgram(t, "nft")
	ns := kerneltest.NewNamespace(t)
	script := filepath.Join(t.TempDir(), "rules")
	if err := os.WriteFile(script, []byte(`
table inet f {
	chain in {
		type filter hook input priority -5; policy drop;
		iif "lo" counter packets 7 bytes 700 accept comment "own"
		tcp dport { 22, 80 } jump more
	}
	chain more {
		meta skuid 1000 reject with tcp reset
	}
	chain none {
		type filter hook output priority 0; policy accept;
	}
}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	ns.Output(t, "ip", "link", "set", "lo", "up")
	ns.Output(t, nft, "-f", script)
	inhabit(t, ns)
	table := open(t, "nftables_rules", "/proc")
	rows, warnings := ask(t, table, "family table_name chain chain_type hook priority policy position rule verdict comment packets bytes", ns.Inode)
	want := []string{
		`inet|f|in|filter|input|-5|drop|1|iif "lo" counter packets 7 bytes 700 accept|accept|own|7|700`,
		"inet|f|in|filter|input|-5|drop|2|tcp dport { 22, 80 } jump more|jump more|||",
		"inet|f|in|filter|input|-5|drop||||||",
		"inet|f|more|||||1|meta l4proto tcp meta skuid 1000 reject with tcp reset|reject|||",
		"inet|f|more||||||||||",
		"inet|f|none|filter|output|0|accept||||||",
	}
	slices.Sort(want)
	if !slices.Equal(rows, want) || len(warnings) > 0 {
		t.Errorf("warnings %v\n got %q\nwant %q", warnings, rows, want)
	}
	tabletest.Run(t, table, tabletest.Options{Stable: true, Constraints: inNamespace(table, ns.Inode)})
}

// What iptables-nft(8) makes is kept by nf_tables, not by ip_tables.
func TestIPTablesNFT(t *testing.T) {
	iptables := kerneltest.RequireProgram(t, "iptables-nft")
	ns := kerneltest.NewNamespace(t)
	for _, rule := range []string{"-P FORWARD DROP", "-A INPUT -p tcp --dport 22 -m comment --comment shell -j ACCEPT", "-A INPUT -p udp -j REJECT"} {
		ns.Output(t, iptables, strings.Fields(rule)...)
	}
	inhabit(t, ns)
	rows, warnings := ask(t, open(t, "nftables_rules", "/proc"), "table_name chain policy verdict comment", ns.Inode)
	for _, want := range []string{"filter|FORWARD|drop||", "filter|INPUT|accept|accept|shell", "filter|INPUT|accept|reject|"} {
		if !slices.Contains(rows, want) {
			t.Errorf("no %q in %q", want, rows)
		}
	}
	if len(warnings) > 0 {
		t.Errorf("warnings %v", warnings)
	}
	if rows, _ := ask(t, open(t, "iptables", "/proc"), "filter_name rule_inversions", ns.Inode); strings.Contains(fmt.Sprint(rows), "filter|") {
		t.Errorf("iptables shows %q", rows)
	}
}

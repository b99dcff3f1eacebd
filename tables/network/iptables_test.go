package network

import (
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sockql/tables/internal/kerneltest"
	"sockql/tables/tabletest"
)

// filtered returns a namespace with rules of iptables-legacy(8).
func filtered(t *testing.T) *kerneltest.Namespace {
	iptables := kerneltest.RequireProgram(t, "iptables-legacy")
	ns := kerneltest.NewNamespace(t)
	ns.Do(t, func() {
		if out, err := exec.Command(iptables, "-t", "nat", "-L", "-n").CombinedOutput(); err != nil {
			t.Skipf("needs the kernel's ip_tables: %s", out)
		}
	})
	for _, rule := range []string{
		"-P FORWARD DROP", "-N mine", "-A INPUT -p tcp --dport 22 -j ACCEPT", "-A INPUT -p udp -m udp --sport 1000:2000 ! --dport 53 -j DROP",
		"-A INPUT -i eth+ ! -s 10.0.0.0/8 -j mine", "-A mine -m comment --comment hello -p tcp -j RETURN",
		"-A mine -p tcp -m multiport --dports 80,443 -j REJECT", "-A mine ! -p icmp -j LOG", "-A OUTPUT -g mine", "-A OUTPUT -d 127.0.0.1",
		"-t nat -A POSTROUTING ! -o lo -j MASQUERADE",
	} {
		ns.Output(t, iptables, append([]string{"-w"}, strings.Fields(rule)...)...)
	}
	inhabit(t, ns)
	return ns
}

func TestIPTables(t *testing.T) {
	ns := filtered(t)
	table := open(t, "iptables", "/proc")
	rows, warnings := ask(t, table, "filter_name chain policy target protocol src_port dst_port src_ip src_mask iniface iniface_mask dst_ip outiface outiface_mask match rule_inversions", ns.Inode)
	want := []string{
		"filter|FORWARD|DROP|||||||||||||", "filter|INPUT|ACCEPT|||||||||||||", "filter|OUTPUT|ACCEPT|||||||||||||", "filter|mine||||||||||||||",
		"filter|INPUT|ACCEPT|ACCEPT|6|0:65535|22:22|0.0.0.0|0.0.0.0|all||0.0.0.0|all||yes|",
		"filter|INPUT|ACCEPT|DROP|17|1000:2000|53:53|0.0.0.0|0.0.0.0|all||0.0.0.0|all||yes|dst_port",
		"filter|INPUT|ACCEPT|mine|0|||!10.0.0.0|255.0.0.0|eth+|FFFFFF|0.0.0.0|all||no|src_ip",
		"filter|OUTPUT|ACCEPT|mine|0|||0.0.0.0|0.0.0.0|all||0.0.0.0|all||no|",
		"filter|OUTPUT|ACCEPT||0|||0.0.0.0|0.0.0.0|all||127.0.0.1|all||no|",
		"filter|mine||LOG|1|||0.0.0.0|0.0.0.0|all||0.0.0.0|all||no|protocol",
		"filter|mine||REJECT|6|||0.0.0.0|0.0.0.0|all||0.0.0.0|all||yes|",
		"filter|mine||RETURN|6|||0.0.0.0|0.0.0.0|all||0.0.0.0|all||yes|",
		"nat|INPUT|ACCEPT|||||||||||||", "nat|OUTPUT|ACCEPT|||||||||||||", "nat|POSTROUTING|ACCEPT|||||||||||||", "nat|PREROUTING|ACCEPT|||||||||||||",
		"nat|POSTROUTING|ACCEPT|MASQUERADE|0|||0.0.0.0|0.0.0.0|all||0.0.0.0|!lo|FFFFFF|no|outiface",
	}
	slices.Sort(want)
	if !slices.Equal(rows, want) || len(warnings) > 0 {
		t.Errorf("warnings %v\n got %q\nwant %q", warnings, rows, want)
	}
	tabletest.Run(t, table, tabletest.Options{Stable: true, Constraints: inNamespace(table, ns.Inode)})
}

// iptables-legacy-save(8) must have the same rules in the same order with the
// same counters.
func TestIPTablesAgreesWithSave(t *testing.T) {
	save := kerneltest.RequireProgram(t, "iptables-legacy-save")
	ns := filtered(t)
	ns.Output(t, "ip", "link", "set", "lo", "up")
	unheard(t, ns) // counted by OUTPUT and INPUT
	counted := regexp.MustCompile(`^\[(\d+):(\d+)\] -A (\S+)(.*)$`)
	policy := regexp.MustCompile(`^:(\S+) (\S+) \[(\d+):(\d+)\]$`)
	jump := regexp.MustCompile(` -[jg] (\S+)`)
	var want []string
	table := ""
	for line := range strings.Lines(ns.Output(t, save, "-c")) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "*"); ok {
			table = name
		} else if m := counted.FindStringSubmatch(line); m != nil {
			target := ""
			if to := jump.FindStringSubmatch(m[4]); to != nil {
				target = to[1]
			}
			want = append(want, fmt.Sprintf("%s|%s|%s|%s|%s", table, m[3], target, m[1], m[2]))
		} else if m := policy.FindStringSubmatch(line); m != nil {
			want = append(want, fmt.Sprintf("%s|%s||%s|%s", table, m[1], m[3], m[4]))
		}
	}
	slices.Sort(want)
	rows, warnings := ask(t, open(t, "iptables", "/proc"), "filter_name chain target packets bytes", ns.Inode)
	if !slices.Equal(rows, want) || len(want) < 15 || len(warnings) > 0 {
		t.Errorf("warnings %v\n got %q\nwant %q", warnings, rows, want)
	}
}

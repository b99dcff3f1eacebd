package procfs

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"sockql/fixtures"
)

func TestParseCounters(t *testing.T) {
	for _, test := range []struct {
		file, text string
		want       string
		bad        bool
	}{
		{"snmp", "Ip: Forwarding DefaultTTL\nIp: 2 64\nTcp: MaxConn\nTcp: -1\n", "[{Ip Forwarding 2} {Ip DefaultTTL 64} {Tcp MaxConn -1}]", false},
		{"netstat", "IpExt: InOctets\nIpExt: 18446744073709551615\n", "[{IpExt InOctets -1}]", false},
		{"snmp", "IcmpMsg: InType3 \nIcmpMsg: 2\n", "[{IcmpMsg InType3 2}]", false},
		{"snmp6", "Ip6InReceives                   \t326\nUdpLite6InDatagrams\t1\nIcmp6InMsgs 2\n", "[{Ip6 InReceives 326} {UdpLite6 InDatagrams 1} {Icmp6 InMsgs 2}]", false},
		{"sctp/snmp", "SctpCurrEstab                   \t3\n", "[{Sctp CurrEstab 3}]", false},
		{"snmp", "", "[]", false},
		{"snmp", "Ip: A B\nIp: 1\nUdp: C\nUdp: 3\n", "[{Udp C 3}]", true},
		{"snmp", "Ip: A B\nUdp: C\nUdp: 3\n", "[{Udp C 3}]", true},
		{"snmp", "Ip: A B\nIp: x 2\n", "[{Ip B 2}]", true},
		{"snmp", "rubbish\nUdp: C\nUdp: 3\nIp: D\n", "[{Udp C 3}]", true},
		{"snmp6", "Ip6A 1\nIp6B\nOther 3\nIp6C x\nIp6D 4\n", "[{Ip6 A 1} {Ip6 D 4}]", true},
	} {
		got, err := ParseCounters(test.file, []byte(test.text))
		if fmt.Sprint(got) != test.want || (err != nil) != test.bad {
			t.Errorf("%q: %v, %v; want %s", test.text, got, err, test.want)
		}
	}
}

func TestParseGroups(t *testing.T) {
	group := fmt.Sprintf("%08X", binary.NativeEndian.Uint32([]byte{224, 0, 0, 251}))
	for _, test := range []struct {
		file, text string
		want       string
		bad        bool
	}{
		{"igmp", "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n1\tlo        :     1      V3\n\t\t\t\t" + group + "     2 0:00000000\t\t0\n",
			"lo 1 224.0.0.251 2;", false},
		{"igmp", "7\tinterface123456: 1 V3\n\t\t\t\t" + group + "     1 0:00000000\t\t0\n", "interface123456 7 224.0.0.251 1;", false},
		{"igmp6", "4    eth0            ff0200000000000000000001ff000002     1 00000004 0\n", "eth0 4 ff02::1:ff00:2 1;", false},
		{"dev_mcast", "4    eth0            3     0     01005e000001\n", "eth0 4 01:00:5e:00:00:01 3;", false},
		{"igmp", "\t\t\t\t" + group + " 1 0:0\t\t0\n", "", true},
		{"igmp6", "4 eth0 ff02 1 0 0\n4 eth0 ff020000000000000000000000000001 1 0 0\n", "eth0 4 ff02::1 1;", true},
		{"dev_mcast", "x\n4 eth0 1 0 0x\n\n", "", true},
	} {
		groups, err := ParseGroups(test.file, []byte(test.text))
		got := ""
		for _, g := range groups {
			address := g.Link.String()
			if g.Address.IsValid() {
				address = g.Address.String()
			}
			got += fmt.Sprintf("%s %d %s %d;", g.Interface, g.Index, address, g.Users)
		}
		if got != test.want || (err != nil) != test.bad {
			t.Errorf("%q: %q, %v; want %q", test.text, got, err, test.want)
		}
	}
}

// No text makes the parsers panic, invent a row, or lose the lines behind it.
func FuzzNetTables(f *testing.F) {
	for _, file := range []string{"net/igmp", "net/dev_mcast"} {
		for _, content := range fixtures.Every(f, file) {
			f.Add(content)
		}
	}
	f.Add([]byte("nf_nat 65536 2 xt_nat,nft_chain_nat, Live 0xffffffffc0a00000\n"))
	f.Add([]byte("Ip: A B\nIp: 1 2\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, file := range CounterFiles {
			got, _ := ParseCounters(file, b)
			tail := slices.Concat(b, []byte("\n.\nIp6Last 9\nLast: Last\nLast: 9\n"))
			more, _ := ParseCounters(file, tail)
			if len(got) > len(b) || len(more) == 0 || more[len(more)-1].Value != 9 {
				t.Fatalf("%s: %d of %q, then %v", file, len(got), b, more)
			}
		}
		modules, _ := parseModules(slices.Concat(b, []byte("\nlast 1 0 - Live 0x0\n")))
		if len(modules) == 0 || modules[len(modules)-1].Name != "last" {
			t.Fatalf("modules %v of %q", modules, b)
		}
		for _, file := range GroupFiles {
			if got, _ := ParseGroups(file, b); len(got) > bytes.Count(b, []byte{'\n'})+1 {
				t.Fatalf("%s: %d groups of %q", file, len(got), b)
			}
		}
	})
}

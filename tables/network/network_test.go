package network

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sockql/fixtures"
	"sockql/tables"
	"sockql/tables/internal/kerneltest"
	"sockql/tables/internal/procfs"
	"sockql/tables/tabletest"
)

var constructors = map[string]func(Config) (tables.Table, error){
	"arp_cache": ARPCache, "interface_addresses": InterfaceAddresses, "interface_details": InterfaceDetails,
	"interface_statistics": InterfaceStatistics, "routes": Routes,
}

// open returns a table that asks this host, or a recorded one.
func open(t *testing.T, name, root string) tables.Table {
	t.Helper()
	proc, err := procfs.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { proc.Close() })
	table, err := constructors[name](Config{Proc: proc, Sys: "/sys"})
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// ask returns the named columns of each row, in order, and the warnings. The
// namespace is that of this process if inode is 0.
func ask(t *testing.T, table tables.Table, columns string, inode uint64) ([]string, []error) {
	t.Helper()
	s := tables.NewSession(context.Background())
	defer s.Close()
	schema := table.Schema()
	r := tables.Request{Used: tables.AllUsed}
	if inode != 0 {
		r.Constraints = inNamespace(table, inode)
	}
	var rows []string
	err := tables.Run(s.Context(), table, tables.NewQuery(s, schema, r), func(row tables.Row) bool {
		var cells []string
		for name := range strings.FieldsSeq(columns) {
			cells = append(cells, row.Column(schema.Column(name)).String())
		}
		rows = append(rows, strings.Join(cells, "|"))
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(rows)
	return rows, s.TakeWarnings()
}

func inNamespace(table tables.Table, inode uint64) []tables.Constraint {
	return []tables.Constraint{{Column: table.Schema().Column("netns_inode"), Op: tables.OpEq, Values: []tables.Value{tables.Uint(inode)}}}
}

// furnished returns a namespace with interfaces that we know, and a process in
// it by which it is found.
func furnished(t *testing.T) *kerneltest.Namespace {
	ns := kerneltest.NewNamespace(t)
	for _, command := range []string{
		"link add d0 address 02:00:00:00:00:01 mtu 1400 type veth peer name d1", "link set d1 address 02:00:00:00:00:02", "link set d0 up promisc on",
		"addr add 10.1.0.1/24 broadcast 10.1.0.255 dev d0", "addr add 10.2.0.1 peer 10.2.0.2 dev lo label lo:x", "addr add fd00::1/65 dev d0 nodad",
		"route add 10.9.0.0/16 via 10.1.0.9 dev d0 metric 5 mtu 1300 advmss 1200 window 3000 rtt 40ms", "route add 10.8.0.1 via 10.1.0.8",
		"route add 10.8.2.0/24 nexthop via 10.1.0.8 nexthop via 10.1.0.9", "route add blackhole 10.7.0.0/16",
		"neigh add 10.1.0.9 lladdr 02:00:00:00:00:09 dev d0 nud permanent", "neigh add 10.1.0.8 lladdr 02:00:00:00:00:08 dev d0 nud stale",
	} {
		ns.Output(t, "ip", strings.Fields(command)...)
	}
	sleep := kerneltest.RequireProgram(t, "sleep")
	cmd := exec.Command(sleep, "1000")
	ns.Do(t, func() {
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return ns
}

func TestNamespace(t *testing.T) {
	ns := furnished(t)
	for _, test := range []struct {
		table, columns string
		only           string // rows that begin with this
		want           []string
	}{
		{"interface_addresses", "interface address mask broadcast point_to_point type", "", []string{
			"d0|10.1.0.1|255.255.255.0|10.1.0.255||unknown", "d0|fd00::1|ffff:ffff:ffff:ffff:8000::|||unknown",
			"lo:x|10.2.0.1|255.255.255.255||10.2.0.2|unknown", "lo|127.0.0.1|255.0.0.0||127.0.0.1|unknown",
			"lo|::1|ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff|||unknown"}},
		{"interface_details", "interface mac type mtu metric last_change link_speed pci_slot", "", []string{
			"d0|02:00:00:00:00:01|1|1400|0|-1|0|-1", "d1|02:00:00:00:00:02|1|1500|0|-1|0|-1", "lo|00:00:00:00:00:00|772|65536|0|-1|0|-1"}},
		{"interface_statistics", "interface mtu metric flag_letters", "", []string{"d0|1400|0|BMPU", "d1|1500|0|BM", "lo|65536|0|LRU"}},
		{"routes", "destination netmask gateway source interface mtu metric type hopcount route_mss route_window route_irtt route_flag_letters", "10.", []string{
			"10.1.0.0|24||10.1.0.1|d0|0|0|gateway|0|0|0|0|U", "10.1.0.1|32||10.1.0.1|d0|0|0|local|0|0|0|0|UH", "10.1.0.255|32||10.1.0.1|d0|0|0|broadcast|0|0|0|0|UH",
			"10.2.0.1|32||10.2.0.1|lo|0|0|local|0|0|0|0|UH", "10.2.0.2|32||10.2.0.1|lo|0|0|local|0|0|0|0|UH",
			"10.7.0.0|16||||0|0|other|0|0|0|0|!", "10.8.0.1|32|10.1.0.8||d0|0|0|gateway|0|0|0|0|UGH",
			"10.8.2.0|24|10.1.0.8||d0|0|0|gateway|0|0|0|0|UG", "10.8.2.0|24|10.1.0.9||d0|0|0|gateway|0|0|0|0|UG",
			"10.9.0.0|16|10.1.0.9||d0|1300|5|gateway|0|1200|3000|40|UG"}},
		{"arp_cache", "address mac interface permanent", "", []string{"10.1.0.8|02:00:00:00:00:08|d0|0", "10.1.0.9|02:00:00:00:00:09|d0|1"}},
	} {
		table := open(t, test.table, "/proc")
		rows, warnings := ask(t, table, test.columns, ns.Inode)
		rows = slices.DeleteFunc(rows, func(r string) bool { return !strings.HasPrefix(r, test.only) || strings.Contains(r, "|fe80:") })
		if !slices.Equal(rows, test.want) || len(warnings) > 0 {
			t.Errorf("%s:\n got %q, warnings %v\nwant %q", test.table, rows, warnings, test.want)
		}
		t.Run(test.table, func(t *testing.T) {
			// Counters go on: IPv6 announces itself on an interface that is up.
			stable := test.table != "interface_statistics"
			tabletest.Run(t, table, tabletest.Options{Stable: stable, Constraints: inNamespace(table, ns.Inode)})
		})
	}
	if threads := kerneltest.ForeignThreads(t); len(threads) > 0 {
		t.Errorf("threads %v stay in another namespace", threads)
	}
}

func TestNoSuchNamespace(t *testing.T) {
	for name := range constructors {
		if rows, warnings := ask(t, open(t, name, "/proc"), "netns_inode", 12345); len(rows) > 0 || len(warnings) > 0 {
			t.Errorf("%s: %q, %v", name, rows, warnings)
		}
	}
}

// A recorded tree must not show the interfaces of this host.
func TestRecorded(t *testing.T) {
	root := fixtures.Unpack(t, "bash")
	for name := range constructors {
		table := open(t, name, root)
		rows, warnings := ask(t, table, "netns_inode", 0)
		if len(rows) > 0 || len(warnings) != 1 || !errors.Is(warnings[0], tables.ErrUnavailable) {
			t.Errorf("%s: %q, %v", name, rows, warnings)
		}
		t.Run(name, func(t *testing.T) { tabletest.Run(t, table, tabletest.Options{Stable: true}) })
	}
}

// ip(8) must show the same of this host's namespace.
func TestAgreesWithIP(t *testing.T) {
	ip := kerneltest.RequireProgram(t, "ip")
	fromIP := func(answer any, args ...string) {
		t.Helper()
		out, err := exec.Command(ip, append([]string{"-j"}, args...)...).Output()
		if err != nil {
			t.Skipf("ip: %v", err)
		}
		if err := json.Unmarshal(out, answer); err != nil {
			t.Fatal(err)
		}
	}
	var links []struct {
		Name    string `json:"ifname"`
		MTU     int    `json:"mtu"`
		Address string `json:"address"`
		Info    []struct {
			Local  string `json:"local"`
			Prefix int    `json:"prefixlen"`
			Label  string `json:"label"`
		} `json:"addr_info"`
	}
	fromIP(&links, "address")
	var details, addresses []string
	for _, l := range links {
		details = append(details, fmt.Sprintf("%s|%d|%s", l.Name, l.MTU, l.Address))
		for _, a := range l.Info {
			name := l.Name
			if a.Label != "" {
				name = a.Label
			}
			if addr := netip.MustParseAddr(a.Local); addr.Is6() && addr.IsLinkLocalUnicast() {
				a.Local += "%" + l.Name
			}
			addresses = append(addresses, name+"|"+a.Local)
		}
	}
	slices.Sort(details)
	slices.Sort(addresses)
	if rows, _ := ask(t, open(t, "interface_details", "/proc"), "interface mtu mac", 0); !slices.Equal(rows, details) {
		t.Errorf("interfaces %q, ip has %q", rows, details)
	}
	if rows, _ := ask(t, open(t, "interface_addresses", "/proc"), "interface address", 0); !slices.Equal(rows, addresses) {
		t.Errorf("addresses %q, ip has %q", rows, addresses)
	}
	var routes []struct {
		Destination string `json:"dst"`
		Gateway     string `json:"gateway"`
		Device      string `json:"dev"`
	}
	fromIP(&routes, "-4", "route", "show", "table", "main")
	rows, _ := ask(t, open(t, "routes", "/proc"), "destination netmask gateway interface", 0)
	for _, r := range routes {
		prefix := "0.0.0.0/0"
		if r.Destination != "default" {
			if prefix = r.Destination; !strings.Contains(prefix, "/") {
				prefix += "/32"
			}
		}
		if r.Device == "" {
			continue // several next hops
		}
		if want := strings.Replace(prefix, "/", "|", 1) + "|" + r.Gateway + "|" + r.Device; !slices.Contains(rows, want) {
			t.Errorf("%q lack ip's %q", rows, want)
		}
	}
}

func TestHost(t *testing.T) {
	for name := range constructors {
		table := open(t, name, "/proc")
		t.Run(name, func(t *testing.T) { tabletest.Run(t, table, tabletest.Options{}) })
	}
}

func TestLinkSpeed(t *testing.T) {
	sys := t.TempDir()
	for name, speed := range map[string]string{"eth0": "10000\n", "down": "-1\n", "odd": "fast\n"} {
		dir := filepath.Join(sys, "class/net", name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "speed"), []byte(speed), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]int64{"eth0": 10000, "down": 0, "odd": 0, "none": 0, "../net/eth0": 10000} {
		if got := (Config{Sys: sys}).linkSpeed(name); got != want {
			t.Errorf("%s: %d, want %d", name, got, want)
		}
	}
	if got := (Config{}).linkSpeed("eth0"); got != 0 {
		t.Errorf("without sysfs: %d", got)
	}
}

func TestMask(t *testing.T) {
	for prefix, want := range map[string]string{
		"10.0.0.0/0": "0.0.0.0", "10.0.0.0/8": "255.0.0.0", "10.0.0.0/25": "255.255.255.128", "10.0.0.0/32": "255.255.255.255", "::/0": "::", "fd00::/9": "ff80::",
	} {
		p := netip.MustParsePrefix(prefix)
		if got := mask(p.Addr(), p.Bits()).String(); got != want {
			t.Errorf("%s: %s, want %s", prefix, got, want)
		}
	}
	if got := flagLetters(0); got != "[NO FLAGS]" {
		t.Errorf("no flags: %q", got)
	}
}

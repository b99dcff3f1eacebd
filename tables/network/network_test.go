package network

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sockql/fixtures"
	"sockql/tables"
	"sockql/tables/internal/kerneltest"
	"sockql/tables/internal/procfs"
	"sockql/tables/tabletest"
)

var constructors = map[string]func(Config) (tables.Table, error){
	"arp_cache": ARPCache, "interface_addresses": InterfaceAddresses, "interface_details": InterfaceDetails,
	"interface_ipv6": InterfaceIPv6, "iptables": IPTables, "interface_statistics": InterfaceStatistics, "multicast_groups": MulticastGroups,
	"nftables_rules": NFTablesRules, "protocol_counters": ProtocolCounters, "routes": Routes,
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
	settle(t, ns, map[string]string{
		"lo/hop_limit": "9", "d0/forwarding": "1", "d0/accept_ra": "2", "d1/accept_redirects": "0", "d1/accept_ra": "0",
	})
	inhabit(t, ns)
	return ns
}

// settle writes settings of IPv6 inside a namespace.
func settle(t *testing.T, ns *kerneltest.Namespace, settings map[string]string) {
	ns.Do(t, func() {
		for name, value := range settings {
			if err := os.WriteFile(filepath.Join("/proc/sys/net/ipv6/conf", name), []byte(value), 0o644); err != nil {
				t.Skipf("needs IPv6 settings: %v", err)
			}
		}
	})
}

// unheard sends a datagram to a port of the loopback where nobody listens.
func unheard(t *testing.T, ns *kerneltest.Namespace) {
	t.Helper()
	ns.Do(t, func() {
		c, err := net.Dial("udp", "127.0.0.1:9")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	})
}

// inhabit starts a process in a namespace, by which it is found.
func inhabit(t *testing.T, ns *kerneltest.Namespace) {
	sleep := kerneltest.RequireProgram(t, "sleep")
	cmd := exec.Command(sleep, "1000")
	ns.Do(t, func() {
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
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
		{"interface_ipv6", "interface hop_limit forwarding_enabled redirect_accept rtadv_accept", "", []string{"d0|64|1|0|1", "d1|64|0|0|0", "lo|9|0|1|1"}},
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
	}
	if threads := kerneltest.ForeignThreads(t); len(threads) > 0 {
		t.Errorf("threads %v stay in another namespace", threads)
	}
}

// Nothing moves in a namespace without IPv6, which would announce itself, and
// with interfaces that are down: two scans agree, as do those with and without
// push-down.
func TestStillNamespace(t *testing.T) {
	ns := kerneltest.NewNamespace(t)
	settle(t, ns, map[string]string{"all/disable_ipv6": "1", "default/disable_ipv6": "1"})
	for _, command := range []string{"link add d0 type veth peer name d1", "addr add 10.1.0.1/24 dev d0", "neigh add 10.1.0.9 lladdr 02:00:00:00:00:09 dev d0 nud permanent"} {
		ns.Output(t, "ip", strings.Fields(command)...)
	}
	inhabit(t, ns)
	for name := range constructors {
		table := open(t, name, "/proc")
		t.Run(name, func(t *testing.T) {
			tabletest.Run(t, table, tabletest.Options{Stable: true, Constraints: inNamespace(table, ns.Inode)})
		})
	}
	rows, _ := ask(t, open(t, "interface_ipv6", "/proc"), "interface", ns.Inode)
	if want := []string{"d0", "d1", "lo"}; !slices.Equal(rows, want) {
		t.Errorf("interfaces %q, want %q", rows, want)
	}
}

// A namespace that no process lives in is entered by way of its mount.
func TestMountedNamespace(t *testing.T) {
	ns := kerneltest.NewNamespace(t)
	ns.Output(t, "ip", "link", "set", "lo", "up")
	mount := filepath.Join(t.TempDir(), "mounted")
	if err := os.WriteFile(mount, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(ns.Path(), mount, "", unix.MS_BIND, ""); err != nil {
		t.Skipf("needs leave to mount: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(mount, unix.MNT_DETACH) })
	for name, column := range map[string]string{"multicast_groups": "interface", "protocol_counters": "protocol", "interface_details": "interface"} {
		rows, warnings := ask(t, open(t, name, "/proc"), column+" netns_inode", ns.Inode)
		if len(rows) == 0 || len(warnings) > 0 || !strings.HasSuffix(rows[0], fmt.Sprint("|", ns.Inode)) {
			t.Errorf("%s: %q, %v", name, rows, warnings)
		}
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

// netstat(8) and ip(8) must know the same groups.
func TestMulticastAgreesWithTools(t *testing.T) {
	ns := furnished(t)
	netstat := kerneltest.RequireProgram(t, "netstat")
	table := open(t, "multicast_groups", "/proc")
	var rows, link []string
	all, warnings := ask(t, table, "interface users group_address family", ns.Inode)
	for _, r := range all {
		if row, ok := strings.CutSuffix(r, "|17"); ok {
			link = append(link, row)
			continue
		}
		rows = append(rows, r[:strings.LastIndexByte(r, '|')])
	}
	slices.Sort(rows)
	slices.Sort(link)
	var want []string
	for line := range strings.Lines(ns.Output(t, netstat, "-gn")) {
		if fields := strings.Fields(line); len(fields) == 3 && strings.ContainsAny(fields[2], ".:") {
			want = append(want, strings.Join(fields, "|"))
		}
	}
	slices.Sort(want)
	if !slices.Equal(rows, want) || len(want) < 4 || len(warnings) > 0 {
		t.Errorf("groups %q, netstat has %q; warnings %v", rows, want, warnings)
	}
	var interfaces []struct {
		Name   string `json:"ifname"`
		Groups []struct {
			Link  string
			Users int
		} `json:"maddr"`
	}
	if err := json.Unmarshal([]byte(ns.Output(t, "ip", "-j", "maddress")), &interfaces); err != nil {
		t.Fatal(err)
	}
	want = nil
	for _, i := range interfaces {
		for _, g := range i.Groups {
			if g.Link != "" {
				want = append(want, fmt.Sprintf("%s|%d|%s", i.Name, max(g.Users, 1), g.Link))
			}
		}
	}
	slices.Sort(want)
	if !slices.Equal(link, want) {
		t.Errorf("groups of the link %q, ip has %q", link, want)
	}
}

// nstat(8) must count the same in a namespace where nothing moves.
func TestCountersAgreeWithNstat(t *testing.T) {
	nstat := kerneltest.RequireProgram(t, "nstat")
	ns := kerneltest.NewNamespace(t)
	ns.Output(t, "ip", "link", "set", "lo", "up")
	unheard(t, ns)
	inhabit(t, ns)
	rows, warnings := ask(t, open(t, "protocol_counters", "/proc"), "protocol counter value", ns.Inode)
	ours := map[string]string{}
	for _, r := range rows {
		f := strings.Split(r, "|")
		ours[f[0]+f[1]] = f[2]
	}
	var report struct {
		Kernel map[string]int64 `json:"kernel"`
	}
	if err := json.Unmarshal([]byte(ns.Output(t, nstat, "-asz", "-j")), &report); err != nil {
		t.Fatal(err)
	}
	if len(report.Kernel) < 100 || len(warnings) > 0 || ours["UdpNoPorts"] != "1" {
		t.Fatalf("nstat has %d counters; UdpNoPorts is %q; warnings %v", len(report.Kernel), ours["UdpNoPorts"], warnings)
	}
	for name, value := range report.Kernel {
		if ours[name] != fmt.Sprint(value) {
			t.Errorf("%s: %q, nstat has %d", name, ours[name], value)
		}
	}
}

// The files of net.ipv6.conf must say the same as the kernel's answer.
func TestInterfaceIPv6AgreesWithSettings(t *testing.T) {
	rows, _ := ask(t, open(t, "interface_ipv6", "/proc"), "interface hop_limit forwarding_enabled", 0)
	var want []string
	for _, r := range rows {
		name, _, _ := strings.Cut(r, "|")
		cells := []string{name}
		for _, setting := range []string{"hop_limit", "forwarding"} {
			b, err := os.ReadFile(filepath.Join("/proc/sys/net/ipv6/conf", name, setting))
			if err != nil {
				t.Skipf("needs IPv6: %v", err)
			}
			cells = append(cells, strings.TrimSpace(string(b)))
		}
		want = append(want, strings.Join(cells, "|"))
	}
	if !slices.Equal(rows, want) {
		t.Errorf("%q, the settings are %q", rows, want)
	}
}

// netstat(8) must count the same on interfaces where nothing moves, and ip(8)
// know the same neighbours.
func TestStatisticsAgreeWithTools(t *testing.T) {
	netstat := kerneltest.RequireProgram(t, "netstat")
	ns := kerneltest.NewNamespace(t)
	settle(t, ns, map[string]string{"all/disable_ipv6": "1", "default/disable_ipv6": "1"})
	for _, command := range []string{
		"link add d0 mtu 1400 type veth peer name d1", "link set lo up", "addr add 10.1.0.1/24 dev d0",
		"neigh add 10.1.0.9 lladdr 02:00:00:00:00:09 dev d0 nud permanent", "neigh add 10.1.0.8 lladdr 02:00:00:00:00:08 dev d0 nud stale",
	} {
		ns.Output(t, "ip", strings.Fields(command)...)
	}
	unheard(t, ns)
	inhabit(t, ns)
	var want []string
	for line := range strings.Lines(ns.Output(t, netstat, "-ian")) {
		if fields := strings.Fields(line); len(fields) == 11 && fields[0] != "Iface" {
			want = append(want, strings.Join(fields, "|"))
		}
	}
	slices.Sort(want)
	columns := "interface mtu rx_packets rx_errors rx_dropped rx_overruns tx_packets tx_errors tx_dropped tx_overruns flag_letters"
	rows, _ := ask(t, open(t, "interface_statistics", "/proc"), columns, ns.Inode)
	if !slices.Equal(rows, want) || len(want) != 3 {
		t.Errorf("%q, netstat has %q", rows, want)
	}
	var neighbours []struct{ Dst, Dev, Lladdr string }
	if err := json.Unmarshal([]byte(ns.Output(t, "ip", "-j", "-4", "neigh")), &neighbours); err != nil {
		t.Fatal(err)
	}
	want = nil
	for _, n := range neighbours {
		want = append(want, n.Dst+"|"+n.Lladdr+"|"+n.Dev)
	}
	slices.Sort(want)
	if rows, _ := ask(t, open(t, "arp_cache", "/proc"), "address mac interface", ns.Inode); !slices.Equal(rows, want) || len(want) != 2 {
		t.Errorf("neighbours %q, ip has %q", rows, want)
	}
}

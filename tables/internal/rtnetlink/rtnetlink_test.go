package rtnetlink

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sockql/tables/internal/kerneltest"
	"sockql/tables/internal/netlink"
)

func attr(kind uint16, value ...byte) []byte { return netlink.AppendAttribute(nil, kind, value) }

func linkMessage(index byte, name string) []byte {
	b := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(b[4:], uint32(index))
	return append(b, attr(unix.IFLA_IFNAME, append([]byte(name), 0)...)...)
}

func TestParseRoute(t *testing.T) {
	route := func(attrs ...[]byte) []byte {
		b := make([]byte, unix.SizeofRtMsg)
		b[0], b[1], b[4], b[7] = unix.AF_INET, 24, unix.RT_TABLE_MAIN, unix.RTN_UNICAST
		return append(b, slices.Concat(attrs...)...)
	}
	number := func(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }
	hop := func(index uint32, attrs ...[]byte) []byte {
		body := slices.Concat(attrs...)
		b := binary.NativeEndian.AppendUint16(nil, uint16(unix.SizeofRtNexthop+len(body)))
		return append(append(append(b, 0, 0), number(index)...), body...)
	}
	dst := attr(unix.RTA_DST, 10, 0, 0, 0)
	one := Route{Destination: netip.MustParsePrefix("10.0.0.0/24"), Table: unix.RT_TABLE_MAIN, Type: unix.RTN_UNICAST}
	with := func(f func(*Route)) Route { r := one; f(&r); return r }
	for name, test := range map[string]struct {
		message []byte
		want    []Route
	}{
		"plain": {route(dst), []Route{one}},
		"all": {route(dst, attr(unix.RTA_OIF, number(3)...), attr(unix.RTA_GATEWAY, 10, 0, 0, 1), attr(unix.RTA_PREFSRC, 10, 0, 0, 2),
			attr(unix.RTA_PRIORITY, number(7)...), attr(unix.RTA_TABLE, number(1000)...),
			attr(unix.RTA_METRICS|unix.NLA_F_NESTED, slices.Concat(attr(unix.RTAX_MTU, number(1400)...), attr(unix.RTAX_WINDOW, number(4)...),
				attr(unix.RTAX_RTT, number(80)...), attr(unix.RTAX_ADVMSS, number(1300)...), attr(unix.RTAX_HOPLIMIT, number(9)...))...), attr(999, 1)),
			[]Route{with(func(r *Route) {
				r.Index, r.Priority, r.Table = 3, 7, 1000
				r.Gateway, r.Source = netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
				r.Metrics = RouteMetrics{MTU: 1400, Window: 4, RTT: 80, MSS: 1300, HopLimit: 9}
			})}},
		"two hops": {route(dst, attr(unix.RTA_MULTIPATH, slices.Concat(hop(3, attr(unix.RTA_GATEWAY, 10, 0, 0, 1)),
			hop(4, attr(unix.RTA_VIA, append([]byte{unix.AF_INET6, 0}, netip.MustParseAddr("fe80::1").AsSlice()...)...)))...)),
			[]Route{
				with(func(r *Route) { r.Index, r.Gateway = 3, netip.MustParseAddr("10.0.0.1") }),
				with(func(r *Route) { r.Index, r.Gateway = 4, netip.MustParseAddr("fe80::1") })}},
	} {
		got, err := parseRoute(test.message, nil)
		if err != nil || !slices.Equal(got, test.want) {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, test.want)
		}
	}
	for name, message := range map[string][]byte{
		"short": make([]byte, 5), "bits": {unix.AF_INET, 33, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
		"attribute": append(route(), 1), "attribute's length": append(route(), 99, 0, 1, 0), "hop": route(attr(unix.RTA_MULTIPATH, 1, 2)),
		"hop's length": route(attr(unix.RTA_MULTIPATH, 99, 0, 0, 0, 1, 0, 0, 0)), "metric": route(attr(unix.RTA_METRICS, 9)),
	} {
		if got, err := parseRoute(message, nil); err == nil {
			t.Errorf("%s: %+v, want an error", name, got)
		}
	}
}

func FuzzParsers(f *testing.F) {
	f.Add(linkMessage(1, "lo"))
	f.Add(append([]byte{unix.AF_INET, 24, 0, 0, 254, 0, 0, 1, 0, 0, 0, 0}, attr(unix.RTA_DST, 10, 0, 0, 0)...))
	f.Add(append([]byte{unix.AF_INET, 8, 0, 0, 1, 0, 0, 0}, attr(unix.IFA_LOCAL, 10, 0, 0, 1)...))
	f.Add(append(make([]byte, unix.SizeofNdMsg), attr(unix.NDA_DST, 10, 0, 0, 1)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		if l, err := parseLink(b); err == nil && (len(l.Name) > len(b) || len(l.Address) > len(b)) {
			t.Fatalf("%+v of % x", l, b)
		}
		if a, err := parseAddress(b); err == nil && a.Peer.IsValid() && !a.Address.IsValid() {
			t.Fatalf("%+v of % x", a, b)
		}
		routes, _ := parseRoute(b, nil)
		for _, r := range routes {
			if !r.Destination.IsValid() {
				t.Fatalf("%+v of % x", r, b)
			}
		}
		if n, err := parseNeighbour(b); err == nil && len(n.MAC) > len(b) {
			t.Fatalf("%+v of % x", n, b)
		}
	})
}

// The kernel's answers in a namespace where we know everything.
func TestKernel(t *testing.T) {
	ns := kerneltest.NewNamespace(t)
	for _, command := range []string{
		"link add d0 address 02:00:00:00:00:01 mtu 1400 type veth peer name d1", "link set d1 up", "link set d0 up", "addr add 10.1.0.1/24 broadcast 10.1.0.255 dev d0",
		"addr add 10.2.0.1 peer 10.2.0.2 dev d0", "route add 10.9.0.0/16 via 10.1.0.9 dev d0 metric 5 mtu 1300 advmss 1200 window 3000",
		"route add 10.8.0.0/16 nexthop via 10.1.0.8 nexthop via 10.1.0.9", "route add unreachable 10.7.0.0/16",
		"neigh add 10.1.0.9 lladdr 02:00:00:00:00:09 dev d0 nud permanent",
	} {
		ns.Output(t, "ip", strings.Fields(command)...)
	}
	ns.Do(t, func() {
		kernel, err := Dial()
		if err != nil {
			t.Fatal(err)
		}
		c := New(kernel)
		defer c.Close()
		links, err := c.Links(t.Context())
		i := slices.IndexFunc(links, func(l Link) bool { return l.Name == "d0" })
		if err != nil || i < 0 {
			t.Fatalf("links %+v, %v", links, err)
		}
		d0 := links[i]
		if d0.Address.String() != "02:00:00:00:00:01" || d0.MTU != 1400 || d0.Type != 1 || d0.Flags&unix.IFF_UP == 0 || !d0.StatsSeen {
			t.Errorf("%+v", d0)
		}
		addresses, err := c.Addresses(t.Context())
		var got []string
		for _, a := range addresses {
			if a.Address.Is4() {
				got = append(got, fmt.Sprint(a.Address, "/", a.Prefix, " ", a.Peer, " ", a.Broadcast, " ", a.Label))
			}
		}
		slices.Sort(got)
		want := []string{"10.1.0.1/24 10.1.0.1 10.1.0.255 d0", "10.2.0.1/32 10.2.0.2 invalid IP d0", "127.0.0.1/8 127.0.0.1 invalid IP lo"}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("addresses %q, %v; want %q", got, err, want)
		}
		routes, err := c.Routes(t.Context(), unix.AF_INET)
		got = nil
		for _, r := range routes {
			if r.Table == unix.RT_TABLE_MAIN {
				got = append(got, fmt.Sprint(r.Destination, " ", r.Gateway, " ", r.Priority, " ", r.Type, " ", r.Metrics))
			}
		}
		slices.Sort(got)
		want = []string{
			"10.1.0.0/24 invalid IP 0 1 {0 0 0 0 0}", "10.2.0.2/32 invalid IP 0 1 {0 0 0 0 0}", "10.7.0.0/16 invalid IP 0 7 {0 0 0 0 0}",
			"10.8.0.0/16 10.1.0.8 0 1 {0 0 0 0 0}", "10.8.0.0/16 10.1.0.9 0 1 {0 0 0 0 0}", "10.9.0.0/16 10.1.0.9 5 1 {1300 3000 0 1200 0}"}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("routes %q, %v; want %q", got, err, want)
		}
		neighbours, err := c.Neighbours(t.Context(), unix.AF_INET)
		if err != nil || len(neighbours) != 1 || neighbours[0].Address.String() != "10.1.0.9" || neighbours[0].MAC.String() != "02:00:00:00:00:09" ||
			neighbours[0].State&unix.NUD_PERMANENT == 0 || neighbours[0].Index != uint32(d0.Index) {
			t.Errorf("neighbours %+v, %v", neighbours, err)
		}
	})
}

// everything returns what a connection knows, as text.
func everything(t *testing.T, c *Conn) string {
	t.Helper()
	links, err1 := c.Links(t.Context())
	addresses, err2 := c.Addresses(t.Context())
	routes, err3 := c.Routes(t.Context(), unix.AF_INET)
	neighbours, err4 := c.Neighbours(t.Context(), unix.AF_INET)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		t.Fatal(err)
	}
	for i := range links {
		links[i].Stats, links[i].Inet6 = LinkStats{}, nil
	}
	return fmt.Sprintf("%+v %+v %+v %+v", links, addresses, routes, neighbours)
}

func TestRecord(t *testing.T) {
	ns := kerneltest.NewNamespace(t)
	for _, command := range []string{
		"link add d0 address 02:11:22:33:44:55 mtu 1400 type veth peer name d1", "link set d0 up", "addr add 10.11.12.13/24 broadcast 10.11.12.255 dev d0",
		"route add 10.99.0.0/16 nexthop via 10.11.12.8 nexthop via 10.11.12.9", "neigh add 10.11.12.9 lladdr 02:66:77:88:99:aa dev d0 nud permanent",
	} {
		ns.Output(t, "ip", strings.Fields(command)...)
	}
	var kernel netlink.Transport
	ns.Do(t, func() {
		var err error
		if kernel, err = Dial(); err != nil {
			t.Fatal(err)
		}
	})
	live := New(kernel)
	defer live.Close()
	exchanges, err := Record(t.Context(), kernel)
	if err != nil {
		t.Fatal(err)
	}
	want := everything(t, live)
	if got := everything(t, New(netlink.Replay(exchanges))); got != want {
		t.Errorf("recorded\n%s\nthe kernel says\n%s", got, want)
	}
	to := netip.MustParseAddr("192.0.2.77")
	scrubbed := everything(t, New(netlink.Replay(Scrub(exchanges, func(a netip.Addr) netip.Addr {
		if a.Is4() {
			return to
		}
		return netip.IPv6Loopback()
	}))))
	for _, secret := range []string{"10.11.12.", "10.99.0.0", "02:11:22:33:44:55", "02:66:77:88:99:aa"} {
		if !strings.Contains(want, secret) || strings.Contains(scrubbed, secret) {
			t.Errorf("scrubbed of %s:\n%s", secret, scrubbed)
		}
	}
	for _, kept := range []string{"d0", "1400", "192.0.2.77/16", "Gateway:192.0.2.77", "02:00:00:00:00:0"} {
		if !strings.Contains(scrubbed, kept) {
			t.Errorf("without %s:\n%s", kept, scrubbed)
		}
	}
}

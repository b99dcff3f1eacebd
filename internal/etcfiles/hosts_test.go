package etcfiles

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestHosts(t *testing.T) {
	const content = "127.0.0.1 localhost\n::1\tlocalhost ip6-localhost # loopback\n# 1.2.3.4 none\n  10.0.0.1\tdb\\\n10.0.0.2#all gone\nnot-an-address x\n   \n#\n"
	got := collect(t, func(yield func(*Host) bool) error { return Hosts(strings.NewReader(content), yield) })
	want := []Host{
		{"127.0.0.1", "localhost"}, {"::1", "localhost ip6-localhost"}, {"10.0.0.1", "db\\"}, {"10.0.0.2", ""}, {"not-an-address", "x"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestResolvers(t *testing.T) {
	for content, want := range map[string][]Resolver{
		"": {{0, "nameserver", "127.0.0.1", "32", 705}},
		"; comment\n# another\nnameserver 10.0.0.1\nnameserver fe80::1%eth0\nnameserver garbage\nnameserver 10.0.0.2\nnameserver 10.0.0.3\n" +
			"domain a.example\nsearch b.example c.example\noptions rotate ndots:2 edns0 unknown\nsortlist 130.155.160.0/255.255.240.0 130.155.0.0\n": {
			{0, "nameserver", "10.0.0.1", "32", 705 | 0x104000}, {1, "nameserver", "fe80::1%eth0", "32", 705 | 0x104000},
			{2, "nameserver", "10.0.0.2", "32", 705 | 0x104000},
			{0, "sortlist", "130.155.160.0", "255.255.240.0", 705 | 0x104000}, {1, "sortlist", "130.155.0.0", "", 705 | 0x104000},
			{0, "search", "b.example", "", 705 | 0x104000}, {1, "search", "c.example", "", 705 | 0x104000},
		},
		"nameserver ::1\nsearch b.example\ndomain a.example\nnameserver\n": {{0, "nameserver", "::1", "32", 705}, {0, "search", "a.example", "", 705}},
	} {
		got := collect(t, func(yield func(*Resolver) bool) error { return Resolvers(strings.NewReader(content), yield) })
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: %s", content, diff)
		}
	}
}

func FuzzHosts(f *testing.F) {
	f.Add("127.0.0.1 localhost # x\nnameserver ::1\nsearch a b\noptions debug\nsortlist 1.2.3.4/5\n")
	f.Fuzz(func(t *testing.T, content string) {
		Hosts(strings.NewReader(content), func(h *Host) bool {
			if h.Address == "" || strings.ContainsAny(h.Address+h.Names, "#\n") {
				t.Fatalf("%+v of %q", *h, content)
			}
			return true
		})
		servers := 0
		Resolvers(strings.NewReader(content), func(r *Resolver) bool {
			if r.Kind == "nameserver" {
				servers++
			}
			if r.Options&defaultOptions != defaultOptions {
				t.Fatalf("%+v of %q", *r, content)
			}
			return true
		})
		if servers < 1 || servers > maxNameservers {
			t.Fatalf("%d name servers in %q", servers, content)
		}
	})
}

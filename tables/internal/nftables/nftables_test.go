package nftables

import (
	"encoding/binary"
	"errors"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sockql/tables/internal/kerneltest"
	"sockql/tables/internal/netlink"
)

func TestMain(m *testing.M) { kerneltest.Main(m) }

// ruled returns a connection to a namespace that nft(8) has filled, and that
// namespace.
func ruled(t *testing.T) (*Conn, *kerneltest.Namespace, netlink.Transport) {
	nft := kerneltest.RequireProgram(t, "nft")
	rules, err := os.ReadFile("testdata/rules.nft")
	if err != nil {
		t.Fatal(err)
	}
	ns := kerneltest.NewNamespace(t)
	ns.Output(t, "ip", "link", "set", "lo", "up")
	ns.Output(t, nft, string(rules))
	var kernel netlink.Transport
	ns.Do(t, func() {
		if kernel, err = Dial(); err != nil {
			t.Skipf("needs netfilter: %v", err)
		}
	})
	c := New(kernel)
	c.Interface = func(index uint32) string { return map[uint32]string{1: "lo"}[index] }
	t.Cleanup(func() { c.Close() })
	return c, ns, kernel
}

// texts returns the rules of a connection as text.
func texts(t *testing.T, c *Conn) []string {
	t.Helper()
	rules, err := c.Rules(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for i := range rules {
		text, err := c.Text(t.Context(), &rules[i])
		if err != nil {
			t.Errorf("rule %d: %v", rules[i].Handle, err)
		}
		all = append(all, text)
	}
	return all
}

// nft(8) must write the same rules with the same words.
func TestTextAgreesWithNft(t *testing.T) {
	c, ns, _ := ruled(t)
	line := regexp.MustCompile(`^\t\t(.*?)( comment ".*")? # handle \d+$`)
	var want []string
	for l := range strings.Lines(ns.Output(t, "nft", "-a", "list", "ruleset")) {
		if m := line.FindStringSubmatch(strings.TrimSuffix(l, "\n")); m != nil {
			want = append(want, m[1])
		}
	}
	got := texts(t, c)
	for i := range max(len(got), len(want)) {
		ours, theirs := "", ""
		if i < len(got) {
			ours = got[i]
		}
		if i < len(want) {
			theirs = want[i]
		}
		if ours != theirs {
			t.Errorf("rule %d: %q, nft has %q", i, ours, theirs)
		}
	}
	if len(want) < 60 {
		t.Errorf("only %d rules were compared", len(want))
	}
}

func TestChainsAndRules(t *testing.T) {
	c, _, _ := ruled(t)
	chains, err := c.Chains(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range chains {
		chains[i].Handle = 0
	}
	for _, want := range []Chain{
		{Family: unix.NFPROTO_INET, Table: "filter", Name: "input", Type: "filter", Hook: "input", Policy: "drop"},
		{Family: unix.NFPROTO_INET, Table: "filter", Name: "other"},
		{Family: unix.NFPROTO_IPV4, Table: "nat", Name: "pre", Type: "nat", Hook: "prerouting", Priority: -100, Policy: "accept"},
		{Family: unix.NFPROTO_ARP, Table: "arps", Name: "input", Type: "filter", Hook: "input", Policy: "accept"},
	} {
		if !slices.Contains(chains, want) {
			t.Errorf("no %+v in %+v", want, chains)
		}
	}
	rules, err := c.Rules(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	verdicts := map[string]int{}
	comments := ""
	for _, r := range rules {
		verdicts[r.Verdict]++
		comments += r.Comment
	}
	for _, want := range []string{"accept", "drop", "goto other", "return", "reject", "masquerade", "redirect", "snat", "dnat", ""} {
		if verdicts[want] == 0 {
			t.Errorf("no verdict %q in %v", want, verdicts)
		}
	}
	if comments != "web and shell" {
		t.Errorf("comments %q", comments)
	}
}

// Recorded answers make the same text.
func TestReplay(t *testing.T) {
	c, _, kernel := ruled(t)
	want := texts(t, c)
	exchanges, err := Record(t.Context(), kernel)
	if err != nil {
		t.Fatal(err)
	}
	replayed := New(netlink.Replay(exchanges))
	replayed.Interface = c.Interface
	if got := texts(t, replayed); !slices.Equal(got, want) {
		t.Errorf("replayed %q, want %q", got, want)
	}
}

func TestRefused(t *testing.T) {
	c := New(netlink.Replay(nil))
	if _, err := c.Rules(t.Context()); !errors.Is(err, unix.ENODATA) {
		t.Errorf("rules: %v", err)
	}
	if _, err := c.Chains(t.Context()); !errors.Is(err, unix.ENODATA) {
		t.Errorf("chains: %v", err)
	}
	// A set that cannot be asked for keeps its name.
	r := Rule{Family: unix.NFPROTO_IPV4, Table: "t"}
	r.add(expression("payload", unix.NFTA_PAYLOAD_DREG, 1, unix.NFTA_PAYLOAD_BASE, 1, unix.NFTA_PAYLOAD_OFFSET, 12, unix.NFTA_PAYLOAD_LEN, 4))
	lookup := expression("lookup", unix.NFTA_LOOKUP_SREG, 1)
	lookup.data = netlink.AppendAttribute(lookup.data, unix.NFTA_LOOKUP_SET, []byte("bad\x00"))
	r.add(lookup)
	if text, err := c.Text(t.Context(), &r); err == nil || text != "ip saddr @bad" {
		t.Errorf("%q, %v", text, err)
	}
}

// expression makes an expression of numbers.
func expression(name string, attributes ...uint32) Expression {
	e := Expression{Name: name}
	for i := 0; i+1 < len(attributes); i += 2 {
		e.data = netlink.AppendAttribute(e.data, uint16(attributes[i]), binary.BigEndian.AppendUint32(nil, attributes[i+1]))
	}
	return e
}

// What nobody knows stands in brackets, and what follows it is still written.
func TestUnknown(t *testing.T) {
	r := Rule{Family: unix.NFPROTO_IPV6}
	r.add(expression("future"))
	r.add(expression("meta", unix.NFTA_META_DREG, 1, unix.NFTA_META_KEY, 999))
	cmp := expression("cmp", unix.NFTA_CMP_SREG, 1, unix.NFTA_CMP_OP, unix.NFT_CMP_NEQ)
	cmp.data = netlink.AppendAttribute(cmp.data, unix.NFTA_CMP_DATA, netlink.AppendAttribute(nil, unix.NFTA_DATA_VALUE, []byte{1, 2}))
	r.add(cmp)
	r.add(expression("counter"))
	want := "[future] meta 999 != 0x102 counter packets 0 bytes 0"
	if got, err := New(nil).Text(t.Context(), &r); got != want || err != nil {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
}

// No rule makes the decoder or the writer panic, and none loses a counter.
func FuzzRule(f *testing.F) {
	names := []string{"meta", "ct", "payload", "immediate", "bitwise", "cmp", "range", "lookup", "limit", "quota", "log", "reject", "nat", "masq",
		"redir", "queue", "objref", "dynset", "match", "target", "fib", "byteorder"}
	f.Add([]byte{2, 6, 0, 0, 0, 1}, uint8(unix.NFPROTO_INET))
	f.Fuzz(func(t *testing.T, b []byte, family uint8) {
		_, _ = parseRule(family, b)
		_ = comment(b)
		_, _ = parseElements(0, b, nil)
		r := Rule{Family: family}
		rest := b
		for len(rest) > 2 && len(r.Expressions) < 20 {
			n := min(int(rest[1]), len(rest)-2)
			r.add(Expression{Name: names[int(rest[0])%len(names)], data: rest[2 : 2+n]})
			rest = rest[2+n:]
		}
		r.add(expression("counter"))
		text, _ := New(netlink.Replay(nil)).Text(t.Context(), &r)
		if !strings.HasSuffix(text, "counter packets 0 bytes 0") || !r.Counted {
			t.Fatalf("%q of % x", text, b)
		}
	})
}

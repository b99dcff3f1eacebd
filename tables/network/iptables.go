package network

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"golang.org/x/sys/unix"

	"sockql/tables"
	"sockql/tables/internal/iptables"
)

type ruleRow struct {
	*location
	table string
	chain *iptables.Chain
	rule  *iptables.Rule // nil for the row of the chain itself
}

// IPTables returns the table iptables, with osquery's columns.
func IPTables(c Config) (tables.Table, error) {
	// of makes a column that only a rule has, not the chain itself.
	of := func(t tables.Type, name, doc string, get func(*iptables.Rule) tables.Value) tables.Column[ruleRow] {
		return column(t, name, doc+" NULL in the row of a chain.", func(r *ruleRow) tables.Value {
			if r.rule == nil {
				return tables.Null()
			}
			return get(r.rule)
		})
	}
	word := func(name, doc string, get func(*iptables.Rule) string) tables.Column[ruleRow] {
		return of(tables.Text, name, doc, func(r *iptables.Rule) tables.Value { return tables.String(get(r)) })
	}
	counted := func(name, doc string, get func(iptables.Counters) uint64) tables.Column[ruleRow] {
		return column(tables.Integer, name, doc, func(r *ruleRow) tables.Value {
			if r.rule == nil {
				return tables.Uint(get(r.chain.Counters))
			}
			return tables.Uint(get(r.rule.Counters))
		})
	}
	inverted := word("rule_inversions", "Conditions that hold if the packet differs, by the names of their columns, with commas between.", inversions)
	inverted.Flags |= tables.Hidden
	columns := []tables.Column[ruleRow]{
		text("filter_name", "Table: filter, nat, mangle, raw or security.", func(r *ruleRow) string { return r.table }),
		text("chain", "Chain.", func(r *ruleRow) string { return r.chain.Name }),
		text("policy", "What becomes of a packet that no rule of the chain decides on, ACCEPT or DROP; empty for a chain that rules jump to.", func(r *ruleRow) string { return r.chain.Policy }),
		word("target", "What becomes of a packet that matches: a verdict, a chain, or an extension; empty if it is only counted.", func(r *iptables.Rule) string { return r.Target }),
		of(tables.Integer, "protocol", "Protocol of IP that matches, 0 for all.", func(r *iptables.Rule) tables.Value { return tables.Uint(uint64(r.Protocol)) }),
		word("src_port", "First and last port that matches, with a colon between; empty if the rule does not ask for ports of TCP or UDP.",
			func(r *iptables.Rule) string { return portRange(r, r.SourcePorts) }),
		word("dst_port", "As src_port, of the destination.", func(r *iptables.Rule) string { return portRange(r, r.DestPorts) }),
		word("src_ip", "Address that matches, with an exclamation mark before if any other does.",
			func(r *iptables.Rule) string { return bang(r, iptables.InvertSource) + r.Source.String() }),
		word("src_mask", "Which of its bits count.", func(r *iptables.Rule) string { return r.SourceMask.String() }),
		word("iniface", "Interface that a packet came in by, or all, with an exclamation mark before if any other matches.",
			func(r *iptables.Rule) string { return device(r, r.In, iptables.InvertIn) }),
		word("iniface_mask", "Which bytes of its name count, in hexadecimal digits, up to the first that does not.", func(r *iptables.Rule) string { return deviceMask(r.InMask) }),
		word("dst_ip", "As src_ip, of the destination.", func(r *iptables.Rule) string { return bang(r, iptables.InvertDest) + r.Dest.String() }),
		word("dst_mask", "Which of its bits count.", func(r *iptables.Rule) string { return r.DestMask.String() }),
		word("outiface", "As iniface, of the way out.", func(r *iptables.Rule) string { return device(r, r.Out, iptables.InvertOut) }),
		word("outiface_mask", "As iniface_mask, of the way out.", func(r *iptables.Rule) string { return deviceMask(r.OutMask) }),
		word("match", "yes if the rule has conditions of extensions, such as tcp for ports, else no.", func(r *iptables.Rule) string {
			if len(r.Matches) > 0 {
				return "yes"
			}
			return "no"
		}),
		counted("packets", "Packets that the rule matched, or that the policy of a chain decided on.", func(c iptables.Counters) uint64 { return c.Packets }),
		counted("bytes", "Bytes of those packets.", func(c iptables.Counters) uint64 { return c.Bytes }),
		inverted,
		namespaceColumn(func(r *ruleRow) *location { return r.location }),
	}
	return tables.New(tables.Def[ruleRow]{
		Name: "iptables",
		Doc: "Rules of iptables-legacy for IPv4 in their order, with a row for each chain behind its rules (/proc/net/ip_tables_names, IPT_SO_GET_ENTRIES). " +
			"What iptables-nft made is in nftables_rules.",
		Privilege: "CAP_NET_ADMIN; another network namespace than one's own takes CAP_SYS_ADMIN and CAP_SYS_PTRACE.",
		Examples: []string{
			"SELECT chain, policy, target, protocol, src_ip, dst_port FROM iptables WHERE filter_name = 'filter';",
			"SELECT chain FROM iptables WHERE policy = 'ACCEPT' AND target IS NULL AND filter_name = 'filter';",
		},
		Columns: columns,
		Rows: func(ctx context.Context, q *tables.Query, yield func(*ruleRow) bool) error {
			return c.locations(ctx, q, len(columns)-1, func(l *location) (bool, error) {
				names, err := l.filters()
				if err != nil {
					return true, err
				}
				var errs []error
				for _, name := range names {
					var chains []iptables.Chain
					err := l.do(func() (err error) {
						chains, err = iptables.Read(name)
						return err
					})
					errs = append(errs, err)
					for i := range chains {
						if ctx.Err() != nil {
							return false, context.Cause(ctx)
						}
						r := ruleRow{location: l, table: name, chain: &chains[i]}
						for j := range r.chain.Rules {
							r.rule = &r.chain.Rules[j]
							if !yield(&r) {
								return false, nil
							}
						}
						if r.rule = nil; !yield(&r) {
							return false, nil
						}
					}
				}
				return true, errors.Join(errs...)
			})
		},
	})
}

// filters returns the names of the tables that are in use.
func (l *location) filters() (names []string, err error) {
	if !l.config.Proc.IsMounted() {
		return nil, l.notRecorded("rules")
	}
	err = l.read("ip_tables_names", func(b []byte) error {
		names = strings.Fields(string(b))
		return nil
	})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: the kernel has no ip_tables: iptables-legacy was not used on this host; nftables_rules shows what iptables-nft and nft made", tables.ErrUnavailable)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%w: it takes CAP_NET_ADMIN to see the rules", err)
	}
	return names, err
}

func portRange(r *iptables.Rule, ports [2]uint16) string {
	if !r.Ports {
		return ""
	}
	return fmt.Sprintf("%d:%d", ports[0], ports[1])
}

func bang(r *iptables.Rule, bit iptables.Inversions) string {
	if r.Inverted&bit != 0 {
		return "!"
	}
	return ""
}

func device(r *iptables.Rule, name string, bit iptables.Inversions) string {
	if name == "" {
		return "all"
	}
	return bang(r, bit) + name
}

func deviceMask(mask [unix.IFNAMSIZ]byte) string {
	n := 0
	for n < len(mask) && mask[n] != 0 {
		n++
	}
	return fmt.Sprintf("%X", mask[:n])
}

func inversions(r *iptables.Rule) string {
	var names []string
	for _, i := range [...]struct {
		is   bool
		name string
	}{
		{r.Inverted&iptables.InvertProtocol != 0, "protocol"}, {r.InvertedSourcePorts, "src_port"}, {r.InvertedDestPorts, "dst_port"},
		{r.Inverted&iptables.InvertSource != 0, "src_ip"}, {r.Inverted&iptables.InvertIn != 0, "iniface"},
		{r.Inverted&iptables.InvertDest != 0, "dst_ip"}, {r.Inverted&iptables.InvertOut != 0, "outiface"},
		{r.Inverted&iptables.InvertFragment != 0, "fragment"},
	} {
		if i.is {
			names = append(names, i.name)
		}
	}
	return strings.Join(names, ",")
}

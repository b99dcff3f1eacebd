package network

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"sockql/tables"
	"sockql/tables/internal/nftables"
	"sockql/tables/internal/recording"
)

type nftRow struct {
	*location
	chain    *nftables.Chain
	rule     *nftables.Rule // nil for the row of the chain itself
	position int            // of the rule in its chain, from 1
	text     string
}

// NFTablesRules returns the table nftables_rules, which osquery does not have.
func NFTablesRules(c Config) (tables.Table, error) {
	of := func(t tables.Type, name, doc string, get func(*nftRow) tables.Value) tables.Column[nftRow] {
		return column(t, name, doc+" NULL in the row of a chain.", func(r *nftRow) tables.Value {
			if r.rule == nil {
				return tables.Null()
			}
			return get(r)
		})
	}
	counted := func(name, doc string, get func(*nftables.Rule) uint64) tables.Column[nftRow] {
		return of(tables.BigInt, name, doc+" NULL also if the rule has no counter.", func(r *nftRow) tables.Value {
			if !r.rule.Counted {
				return tables.Null()
			}
			return tables.Uint(get(r.rule))
		})
	}
	columns := []tables.Column[nftRow]{
		text("family", "Family of the table: ip, ip6, inet (both), arp, bridge or netdev.", func(r *nftRow) string { return nftables.FamilyName(r.chain.Family) }),
		text("table_name", "Table.", func(r *nftRow) string { return r.chain.Table }),
		text("chain", "Chain.", func(r *nftRow) string { return r.chain.Name }),
		text("chain_type", "filter, nat or route; empty for a chain that rules jump to.", func(r *nftRow) string { return r.chain.Type }),
		text("hook", "Where the chain's packets come from, such as input or forward; empty for a chain that rules jump to.", func(r *nftRow) string { return r.chain.Hook }),
		column(tables.Integer, "priority", "Of chains at one hook the one with the lowest number comes first; NULL for a chain that rules jump to.", func(r *nftRow) tables.Value {
			if r.chain.Hook == "" {
				return tables.Null()
			}
			return tables.Int(r.chain.Priority)
		}),
		text("policy", "What becomes of a packet that no rule of the chain decides on, accept or drop; empty for a chain that rules jump to.", func(r *nftRow) string { return r.chain.Policy }),
		of(tables.BigInt, "handle", "Number by which nft deletes the rule.", func(r *nftRow) tables.Value { return tables.Uint(r.rule.Handle) }),
		of(tables.Integer, "position", "Place of the rule in its chain, counted from 1.", func(r *nftRow) tables.Value { return tables.Int(r.position) }),
		of(tables.Text, "rule", "The rule as nft writes it, without its comment.", func(r *nftRow) tables.Value { return tables.String(r.text) }),
		of(tables.Text, "verdict", "What becomes of a packet that matches: accept, drop, reject, a jump with its chain, snat, dnat and the like; empty if the chain goes on.",
			func(r *nftRow) tables.Value { return tables.String(r.rule.Verdict) }),
		of(tables.Text, "comment", "Comment of the rule.", func(r *nftRow) tables.Value { return tables.String(r.rule.Comment) }),
		counted("packets", "Packets that the rule's first counter counted.", func(r *nftables.Rule) uint64 { return r.Packets }),
		counted("bytes", "Bytes of those packets.", func(r *nftables.Rule) uint64 { return r.Bytes }),
		namespaceColumn(func(r *nftRow) *location { return r.location }),
	}
	const textColumn = 9
	return tables.New(tables.Def[nftRow]{
		Name: "nftables_rules",
		Doc: "Rules of nf_tables in their order, with a row for each chain behind its rules: what nft and iptables-nft made, as nft list ruleset shows it " +
			"(netlink(7), NETLINK_NETFILTER; Linux 3.13).",
		Privilege: "CAP_NET_ADMIN; another network namespace than one's own takes CAP_SYS_ADMIN and CAP_SYS_PTRACE.",
		Examples: []string{
			"SELECT family, table_name, chain, rule FROM nftables_rules WHERE rule IS NOT NULL;",
			"SELECT family, table_name, chain FROM nftables_rules WHERE hook = 'input' AND policy = 'accept' AND rule IS NULL;",
		},
		Columns: columns,
		Rows: func(ctx context.Context, q *tables.Query, yield func(*nftRow) bool) error {
			return c.locations(ctx, q, len(columns)-1, func(l *location) (bool, error) {
				t, err := l.dial(recording.Netfilter, nftables.Dial)
				if err != nil {
					return true, refused(err)
				}
				conn := nftables.New(t)
				defer conn.Close()
				if q.Used(textColumn) {
					conn.Interface = l.interfaces(ctx)
				}
				chains, err := conn.Chains(ctx)
				if err != nil {
					return true, refused(err)
				}
				rules, err := conn.Rules(ctx)
				errs := []error{err}
				for i := range chains {
					r := nftRow{location: l, chain: &chains[i]}
					for j := range rules {
						rule := &rules[j]
						if rule.Chain != r.chain.Name || rule.Table != r.chain.Table || rule.Family != r.chain.Family {
							continue
						}
						r.rule, r.position = rule, r.position+1
						if q.Used(textColumn) {
							if r.text, err = conn.Text(ctx, rule); err != nil {
								errs = append(errs, err)
							}
						}
						if !yield(&r) {
							return false, nil
						}
					}
					if r.rule = nil; !yield(&r) {
						return false, nil
					}
				}
				return true, errors.Join(errs...)
			})
		},
	})
}

// refused says what to do where the kernel does not answer for nf_tables.
func refused(err error) error {
	switch {
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w: it takes CAP_NET_ADMIN to see the rules", err)
	case errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.EINVAL), errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("%w: the kernel has no nf_tables: load the module nf_tables, or see the table iptables: %w", tables.ErrUnavailable, err)
	}
	return err
}

// interfaces returns the names of interfaces by index, asked for once one is
// needed.
func (l *location) interfaces(ctx context.Context) func(index uint32) string {
	var known map[uint32]string
	return func(index uint32) string {
		if known == nil {
			known = map[uint32]string{}
			if conn, err := l.routes(); err == nil {
				known, _ = names(ctx, &space{l, conn})
				conn.Close()
			}
		}
		return known[index]
	}
}

package nftables

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"sockql/tables/internal/netlink"
)

// Dial returns a transport to the running kernel, which answers for the
// network namespace of the calling thread. It fails with EPROTONOSUPPORT where
// the kernel has no netfilter.
func Dial() (netlink.Transport, error) {
	s, err := netlink.Open(unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("nftables: open: %w", err)
	}
	return s, nil
}

// A Conn asks one network namespace.
type Conn struct {
	conn *netlink.Conn
	// Interface returns the name of an interface by its index, or nothing. Nil
	// leaves numbers.
	Interface func(index uint32) string

	sets map[setKey]*set // nil until they were asked for
}

// New returns a connection over a transport.
func New(t netlink.Transport) *Conn { return &Conn{conn: netlink.New(t)} }

// Close closes the connection.
func (c *Conn) Close() error { return c.conn.Close() }

// A Chain is a list of rules.
type Chain struct {
	Family uint8 // NFPROTO_*
	Table  string
	Name   string
	Handle uint64
	// The rest is empty for a chain that rules jump to.
	Type     string // filter, nat or route
	Hook     string // where packets come from, such as "input"
	Device   string // of the family netdev
	Priority int32  // lower comes first
	Policy   string // accept or drop
}

// A Rule is a list of expressions.
type Rule struct {
	Family  uint8
	Table   string
	Chain   string
	Handle  uint64
	Comment string
	// Packets and Bytes are what its first counter counted.
	Packets, Bytes uint64
	Counted        bool // it has one
	// Verdict is the last one, such as "accept" or "jump other"; empty if the
	// rule has none.
	Verdict     string
	Expressions []Expression
}

// An Expression is one step of a rule.
type Expression struct {
	Name string
	data []byte // attributes
}

// subsystem is NFNL_SUBSYS_NFTABLES in the type of a message.
const subsystem = 10 << 8

// headSize is the size of struct nfgenmsg: family, version, two bytes more.
const headSize = 4

func list[T any](ctx context.Context, c *Conn, what string, kind uint16, request []byte, parse func(family uint8, attributes []byte, all []T) ([]T, error)) ([]T, error) {
	head := make([]byte, headSize, headSize+len(request))
	if len(request) > 0 {
		head[0] = request[0]
		head = append(head, request[1:]...)
	}
	all, err := netlink.List(ctx, c.conn, subsystem|kind, head, func(b []byte, all []T) ([]T, error) {
		if len(b) < headSize {
			return all, netlink.ErrShort
		}
		return parse(b[0], b[headSize:], all)
	})
	if err != nil {
		err = fmt.Errorf("nftables: %s: %w", what, err)
	}
	return all, err
}

// Chains returns the chains of all tables. It fails with EPERM without
// CAP_NET_ADMIN, and with EOPNOTSUPP or EINVAL where there is no nf_tables.
func (c *Conn) Chains(ctx context.Context) ([]Chain, error) {
	return list(ctx, c, "chains", unix.NFT_MSG_GETCHAIN, nil, func(family uint8, b []byte, all []Chain) ([]Chain, error) {
		chain := Chain{Family: family}
		var inner error
		err := netlink.Attributes(b, func(a netlink.Attribute) {
			switch a.Type {
			case unix.NFTA_CHAIN_TABLE:
				chain.Table = a.Text()
			case unix.NFTA_CHAIN_NAME:
				chain.Name = a.Text()
			case unix.NFTA_CHAIN_HANDLE:
				chain.Handle = a.BigUint64()
			case unix.NFTA_CHAIN_TYPE:
				chain.Type = a.Text()
			case unix.NFTA_CHAIN_POLICY:
				chain.Policy = verdictName(int32(a.BigUint32()))
			case unix.NFTA_CHAIN_HOOK:
				inner = netlink.Attributes(a.Value, func(a netlink.Attribute) {
					switch a.Type {
					case unix.NFTA_HOOK_HOOKNUM:
						chain.Hook = hookName(family, a.BigUint32())
					case unix.NFTA_HOOK_PRIORITY:
						chain.Priority = int32(a.BigUint32())
					case unix.NFTA_HOOK_DEV:
						chain.Device = a.Text()
					}
				})
			}
		})
		if err = errors.Join(err, inner); err != nil {
			return all, fmt.Errorf("chain %q: %w", chain.Name, err)
		}
		return append(all, chain), nil
	})
}

// Rules returns the rules of all chains, those of each in their order. It fails
// like [Conn.Chains].
func (c *Conn) Rules(ctx context.Context) ([]Rule, error) {
	return list(ctx, c, "rules", unix.NFT_MSG_GETRULE, nil, func(family uint8, b []byte, all []Rule) ([]Rule, error) {
		r, err := parseRule(family, b)
		if err != nil {
			return all, fmt.Errorf("rule %d of chain %q: %w", r.Handle, r.Chain, err)
		}
		return append(all, r), nil
	})
}

func parseRule(family uint8, b []byte) (Rule, error) {
	r := Rule{Family: family}
	var inner error
	err := netlink.Attributes(b, func(a netlink.Attribute) {
		switch a.Type {
		case unix.NFTA_RULE_TABLE:
			r.Table = a.Text()
		case unix.NFTA_RULE_CHAIN:
			r.Chain = a.Text()
		case unix.NFTA_RULE_HANDLE:
			r.Handle = a.BigUint64()
		case unix.NFTA_RULE_USERDATA:
			r.Comment = comment(a.Value)
		case unix.NFTA_RULE_EXPRESSIONS:
			inner = netlink.Attributes(a.Value, func(a netlink.Attribute) {
				e := Expression{}
				_ = netlink.Attributes(a.Value, func(a netlink.Attribute) {
					switch a.Type {
					case unix.NFTA_EXPR_NAME:
						e.Name = a.Text()
					case unix.NFTA_EXPR_DATA:
						e.data = slices.Clone(a.Value)
					}
				})
				r.add(e)
			})
		}
	})
	return r, errors.Join(err, inner)
}

// add appends an expression, and notes what the columns show of it.
func (r *Rule) add(e Expression) {
	r.Expressions = append(r.Expressions, e)
	switch e.Name {
	case "counter":
		if !r.Counted {
			r.Counted = true
			r.Packets, r.Bytes = e.get(unix.NFTA_COUNTER_PACKETS).BigUint64(), e.get(unix.NFTA_COUNTER_BYTES).BigUint64()
		}
	case "immediate":
		if v, ok := verdict(e.get(unix.NFTA_IMMEDIATE_DATA).Value); ok {
			r.Verdict = v
		}
	case "reject", "masq", "redir", "tproxy", "queue":
		r.Verdict = map[string]string{"masq": "masquerade", "redir": "redirect"}[e.Name]
		r.Verdict = cmp.Or(r.Verdict, e.Name)
	case "nat":
		r.Verdict = natName(e)
	case "target": // of iptables-nft
		switch name := e.get(unix.NFTA_TARGET_NAME).Text(); name {
		case "REJECT", "SNAT", "DNAT", "MASQUERADE", "REDIRECT", "TPROXY", "NFQUEUE":
			r.Verdict = strings.ToLower(name)
		}
	case "match":
		if e.get(unix.NFTA_MATCH_NAME).Text() == "comment" && r.Comment == "" {
			r.Comment = e.get(unix.NFTA_MATCH_INFO).Text()
		}
	}
}

// get returns an attribute, or an empty one.
func (e Expression) get(typ uint16) netlink.Attribute {
	a, _ := e.find(typ)
	return a
}

func (e Expression) find(typ uint16) (netlink.Attribute, bool) {
	for t, v, rest := netlink.NextAttribute(e.data); v != nil; t, v, rest = netlink.NextAttribute(rest) {
		if t == typ {
			return netlink.Attribute{Type: t, Value: v}, true
		}
	}
	return netlink.Attribute{}, false
}

// comment finds the comment among what nft keeps beside a rule: records of
// type, length and value (NFTNL_UDATA_RULE_COMMENT of libnftnl is type 0).
func comment(b []byte) string {
	for len(b) >= 2 && len(b) >= 2+int(b[1]) {
		if b[0] == 0 {
			return unix.ByteSliceToString(b[2 : 2+int(b[1])])
		}
		b = b[2+int(b[1]):]
	}
	return ""
}

// FamilyName returns nft's name of NFPROTO_* (include/uapi/linux/netfilter.h).
func FamilyName(family uint8) string {
	switch family {
	case unix.NFPROTO_INET:
		return "inet"
	case unix.NFPROTO_IPV4:
		return "ip"
	case unix.NFPROTO_ARP:
		return "arp"
	case unix.NFPROTO_NETDEV:
		return "netdev"
	case unix.NFPROTO_BRIDGE:
		return "bridge"
	case unix.NFPROTO_IPV6:
		return "ip6"
	}
	return fmt.Sprint(family)
}

func hookName(family uint8, hook uint32) string {
	names := []string{"prerouting", "input", "forward", "output", "postrouting", "ingress"}
	switch family {
	case unix.NFPROTO_ARP:
		names = []string{"input", "output", "forward"}
	case unix.NFPROTO_NETDEV:
		names = []string{"ingress", "egress"}
	}
	if int(hook) < len(names) {
		return names[hook]
	}
	return fmt.Sprint(hook)
}

// verdict reads NFTA_DATA_VERDICT, if the data is one.
func verdict(data []byte) (text string, ok bool) {
	for typ, v, rest := netlink.NextAttribute(data); v != nil; typ, v, rest = netlink.NextAttribute(rest) {
		if typ != unix.NFTA_DATA_VERDICT {
			continue
		}
		var name, chain string
		_ = netlink.Attributes(v, func(a netlink.Attribute) {
			switch a.Type {
			case unix.NFTA_VERDICT_CODE:
				name = verdictName(int32(a.BigUint32()))
			case unix.NFTA_VERDICT_CHAIN:
				chain = " " + a.Text()
			}
		})
		return name + chain, true
	}
	return "", false
}

func verdictName(code int32) string {
	switch code {
	case unix.NFT_CONTINUE:
		return "continue"
	case unix.NFT_BREAK:
		return "break"
	case unix.NFT_JUMP:
		return "jump"
	case unix.NFT_GOTO:
		return "goto"
	case unix.NFT_RETURN:
		return "return"
	case 0:
		return "drop"
	case 1:
		return "accept"
	}
	return fmt.Sprintf("verdict %d", code)
}

type setKey struct {
	family uint8
	table  string
	name   string
}

// A set is a set or a map.
type set struct {
	flags    uint32 // NFT_SET_*
	keyLen   int    // bytes
	elements []element
	loaded   bool
}

// An element is one of a set; end is where a range ends, if the set has pairs.
type element struct {
	key, end []byte
	flags    uint32
	data     []byte // NFTA_DATA_* of a map
}

// set returns a set, with its elements if it has no name of its own.
func (c *Conn) set(ctx context.Context, key setKey) (*set, error) {
	if c.sets == nil {
		c.sets = map[setKey]*set{}
		_, err := list(ctx, c, "sets", unix.NFT_MSG_GETSET, nil, func(family uint8, b []byte, all []struct{}) ([]struct{}, error) {
			k, s := setKey{family: family}, &set{}
			err := netlink.Attributes(b, func(a netlink.Attribute) {
				switch a.Type {
				case unix.NFTA_SET_TABLE:
					k.table = a.Text()
				case unix.NFTA_SET_NAME:
					k.name = a.Text()
				case unix.NFTA_SET_FLAGS:
					s.flags = a.BigUint32()
				case unix.NFTA_SET_KEY_LEN:
					s.keyLen = int(a.BigUint32())
				}
			})
			c.sets[k] = s
			return all, err
		})
		if err != nil {
			return nil, err
		}
	}
	s := c.sets[key]
	if s == nil || s.loaded || s.flags&unix.NFT_SET_ANONYMOUS == 0 {
		return s, nil
	}
	request := []byte{key.family}
	request = netlink.AppendAttribute(request, unix.NFTA_SET_ELEM_LIST_TABLE, append([]byte(key.table), 0))
	request = netlink.AppendAttribute(request, unix.NFTA_SET_ELEM_LIST_SET, append([]byte(key.name), 0))
	elements, err := list(ctx, c, "elements of "+key.name, unix.NFT_MSG_GETSETELEM, request, parseElements)
	s.elements, s.loaded = elements, err == nil
	return s, err
}

func parseElements(_ uint8, b []byte, all []element) ([]element, error) {
	const keyEnd = 10 // NFTA_SET_ELEM_KEY_END
	err := netlink.Attributes(b, func(a netlink.Attribute) {
		if a.Type != unix.NFTA_SET_ELEM_LIST_ELEMENTS {
			return
		}
		_ = netlink.Attributes(a.Value, func(a netlink.Attribute) {
			var e element
			_ = netlink.Attributes(a.Value, func(a netlink.Attribute) {
				switch a.Type {
				case unix.NFTA_SET_ELEM_KEY:
					e.key = value(a.Value)
				case keyEnd:
					e.end = value(a.Value)
				case unix.NFTA_SET_ELEM_FLAGS:
					e.flags = a.BigUint32()
				case unix.NFTA_SET_ELEM_DATA:
					e.data = slices.Clone(a.Value)
				}
			})
			all = append(all, e)
		})
	})
	return all, err
}

// value reads NFTA_DATA_VALUE.
func value(data []byte) []byte {
	for typ, v, rest := netlink.NextAttribute(data); v != nil; typ, v, rest = netlink.NextAttribute(rest) {
		if typ == unix.NFTA_DATA_VALUE {
			return slices.Clone(v)
		}
	}
	return nil
}

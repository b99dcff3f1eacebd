package sqlfunc

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"sockql/tables"
)

func addressFunctions() []Function {
	return []Function{
		{
			Name: "ip_in", Args: []int{2}, Deterministic: true, Eval: ipIn,
			Doc: "ip_in(address, cidr) returns 1 if the address lies in the block and 0 if not; every address of the block counts, an address without a length is a block of one, and families never match each other except that an IPv4-mapped IPv6 address (::ffff:a.b.c.d) is also its IPv4 address, in either argument. NULL if an argument is NULL or the address is none; a block that is none is an error.",
		},
		addressFunction("ip_unmap", "ip_unmap(address) returns the IPv4 address in an IPv4-mapped IPv6 address (RFC 4291, section 2.5.5.2), and any other address in its usual form (RFC 5952).", func(a netip.Addr) tables.Value {
			return tables.String(a.Unmap().String())
		}),
		addressFunction("is_private", "is_private(address) returns 1 if the address belongs to RFC 1918 or RFC 4193 (10/8, 172.16/12, 192.168/16, fc00::/7), mapped or not, and 0 if not.", func(a netip.Addr) tables.Value {
			return tables.Bool(a.Unmap().IsPrivate())
		}),
		addressFunction("is_loopback", "is_loopback(address) returns 1 if the address lies in 127/8, mapped or not, or is ::1, and 0 if not.", func(a netip.Addr) tables.Value {
			return tables.Bool(a.Unmap().IsLoopback())
		}),
	}
}

func addressFunction(name, doc string, f func(netip.Addr) tables.Value) Function {
	return Function{
		Name: name, Args: []int{1}, Deterministic: true, Doc: doc + " NULL for what is no address.",
		Eval: func(_ context.Context, _ *Call, args []tables.Value) (tables.Value, error) {
			addr, ok := address(args[0])
			if !ok {
				return tables.Null(), nil
			}
			return f(addr), nil
		},
	}
}

// address returns the address that a text is.
func address(v tables.Value) (netip.Addr, bool) {
	if v.Kind() != tables.KindText {
		return netip.Addr{}, false
	}
	addr, err := netip.ParseAddr(v.String())
	return addr, err == nil
}

func ipIn(_ context.Context, _ *Call, args []tables.Value) (tables.Value, error) {
	if anyNull(args) {
		return tables.Null(), nil
	}
	cidr := args[1].String()
	block, err := parseBlock(cidr)
	if err != nil {
		return tables.Null(), fmt.Errorf("ip_in: %.64q is no block of addresses such as 10.0.0.0/8", cidr)
	}
	addr, ok := address(args[0])
	if !ok {
		return tables.Null(), nil
	}
	addr = addr.WithZone("")
	in := block.Contains(addr) || unmapBlock(block).Contains(addr.Unmap())
	return tables.Bool(in), nil
}

// parseBlock parses a block, or one address as the block that holds it alone.
func parseBlock(s string) (netip.Prefix, error) {
	if strings.IndexByte(s, '/') >= 0 {
		return netip.ParsePrefix(s)
	}
	addr, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, err
	}
	addr = addr.WithZone("")
	return netip.PrefixFrom(addr, addr.BitLen()), nil
}

// unmapBlock returns the IPv4 block in a block of IPv4-mapped addresses, and
// any other block as it is.
func unmapBlock(p netip.Prefix) netip.Prefix {
	const mapped = 96 // bits of ::ffff:0:0/96
	if p.Addr().Is4In6() && p.Bits() >= mapped {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-mapped)
	}
	return p
}

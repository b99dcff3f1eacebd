package sqlfunc

import (
	"context"
	"errors"
	"net/netip"
	"strconv"
	"strings"

	"sockql/tables"
)

func cidrFunctions() []Function {
	return []Function{{
		Name: "in_cidr_block", Args: []int{2}, Deterministic: true, Eval: inCIDRBlock,
		Doc: "in_cidr_block(cidr, address) returns 1 if the address is a host of the block and 0 if not. As in osquery the network and the broadcast address of an IPv4 block are no hosts, an IPv4 /31 has none, and neither has an IPv6 block that reaches the last address of all; ip_in knows no such exceptions. NULL, what is no address, and families that differ are errors.",
	}}
}

func inCIDRBlock(_ context.Context, _ *Call, args []tables.Value) (tables.Value, error) {
	if args[0].Kind() != tables.KindText {
		return tables.Null(), osqueryError("CIDR must be a string")
	}
	if args[1].Kind() != tables.KindText {
		return tables.Null(), osqueryError("IP address must be a string")
	}
	addr, err := boostAddress(text(args[1]))
	if err != nil {
		return tables.Null(), osqueryError("IP address cannot be parsed")
	}
	network, err := boostNetwork(text(args[0]))
	switch {
	case addr.Is4() && (err != nil || !network.Addr().Is4()):
		return tables.Null(), osqueryError("CIDR for IP address v4 cannot be parsed")
	case addr.Is6() && (err != nil || !network.Addr().Is6()):
		return tables.Null(), osqueryError("CIDR for IP address v6 cannot be parsed")
	}
	return tables.Bool(isHost(network, addr)), nil
}

// isHost reports whether addr lies in the range that Boost calls the hosts of a
// network. The range ends before an address that wraps around to zero behind
// the last one of all; then it is empty.
func isHost(network netip.Prefix, addr netip.Addr) bool {
	last := lastAddress(network)
	single := network.IsSingleIP()
	switch {
	case !network.Contains(addr):
		return false
	case single || addr.Is6():
		return last.Next().IsValid()
	}
	return addr != network.Masked().Addr() && addr != last
}

// lastAddress returns the greatest address of a network.
func lastAddress(network netip.Prefix) netip.Addr {
	b := network.Addr().AsSlice()
	for bit := network.Bits(); bit < len(b)*8; bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	last, _ := netip.AddrFromSlice(b)
	return last
}

// boostAddress parses an address as boost::asio::ip::make_address does, which
// is inet_pton(3) with a zone that may follow an IPv6 address. The zone plays
// no part in a comparison with a network and is dropped.
func boostAddress(s string) (netip.Addr, error) {
	if strings.IndexByte(s, ':') >= 0 {
		s, _, _ = strings.Cut(s, "%")
	}
	return netip.ParseAddr(s)
}

var errPrefix = errors.New("no prefix length")

// boostNetwork parses a network as boost::asio::ip::make_network_v4 and _v6 do:
// host bits may be set, and the prefix length is one or more decimal digits.
func boostNetwork(s string) (netip.Prefix, error) {
	address, length, _ := strings.Cut(s, "/")
	addr, err := boostAddress(address)
	if err != nil {
		return netip.Prefix{}, err
	}
	if length == "" || digits(length) != len(length) {
		return netip.Prefix{}, errPrefix
	}
	bits, err := strconv.Atoi(length)
	if err != nil || bits > addr.BitLen() {
		return netip.Prefix{}, errPrefix
	}
	return netip.PrefixFrom(addr, bits), nil
}

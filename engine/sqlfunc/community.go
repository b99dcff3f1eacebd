package sqlfunc

import (
	"context"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"math"
	"net/netip"

	"sockql/tables"
)

func communityFunctions() []Function {
	const doc = "(source, destination, source port, destination port, protocol[, seed]) returns version 1 of the Community ID (https://github.com/corelight/community-id-spec) of a flow, the same for both directions. Addresses are texts, the rest integers. For ICMP (1) and ICMPv6 (58) the ports are the message's type and code. For a protocol without ports they are 0. "
	return []Function{
		{
			Name: "community_id_v1", Args: []int{5, 6}, Deterministic: true,
			Doc: "community_id_v1" + doc + "Arguments that make no flow give NULL and a warning.",
			Eval: func(_ context.Context, c *Call, args []tables.Value) (tables.Value, error) {
				id, err := communityID(args)
				if err != nil {
					c.Warn(err)
					return tables.Null(), nil
				}
				return tables.String(id), nil
			},
		},
		{
			Name: "community_id_v1_strict", Args: []int{5, 6}, Deterministic: true,
			Doc: "community_id_v1_strict" + doc + "Arguments that make no flow are an error.",
			Eval: func(_ context.Context, _ *Call, args []tables.Value) (tables.Value, error) {
				id, err := communityID(args)
				if err != nil {
					return tables.Null(), err
				}
				return tables.String(id), nil
			},
		},
	}
}

// The protocols that the Community ID treats specially (IANA protocol numbers).
const (
	protocolICMP   = 1
	protocolTCP    = 6
	protocolUDP    = 17
	protocolICMPv6 = 58
	protocolSCTP   = 132
)

// communityID checks the arguments in osquery's order and with its texts.
func communityID(args []tables.Value) (string, error) {
	var seed int64
	if len(args) == 6 {
		if args[5].Kind() != tables.KindInt {
			return "", osqueryError("Community ID seed must be an integer")
		}
		seed = args[5].Int64()
		if seed < math.MinInt16 || seed > math.MaxInt16 {
			return "", osqueryError("Community ID seed must fit in 2 bytes")
		}
	}
	if args[0].Kind() != tables.KindText || args[1].Kind() != tables.KindText {
		return "", osqueryError("Community ID IPs must be strings")
	}
	source, err := boostAddress(text(args[0]))
	if err != nil {
		return "", osqueryError("Community ID saddr cannot be parsed as IP")
	}
	destination, err := boostAddress(text(args[1]))
	if err != nil {
		return "", osqueryError("Community ID daddr cannot be parsed as IP")
	}
	if args[2].Kind() != tables.KindInt || args[3].Kind() != tables.KindInt {
		return "", osqueryError("Community ID ports must be integers")
	}
	sourcePort, destinationPort := args[2].Int64(), args[3].Int64()
	if min(sourcePort, destinationPort) < 0 || max(sourcePort, destinationPort) > math.MaxUint16 {
		return "", osqueryError("Community ID ports must fit in 2 bytes")
	}
	if args[4].Kind() != tables.KindInt {
		return "", osqueryError("Community ID protocol must be an integer")
	}
	protocol := args[4].Int64()
	if protocol < 0 || protocol > math.MaxUint8 {
		return "", osqueryError("Community ID protocol must fit in 1 byte")
	}
	f := flow{source, destination, uint16(sourcePort), uint16(destinationPort), uint8(protocol)}
	return f.communityID(uint16(int16(seed))), nil
}

type flow struct {
	source, destination         netip.Addr
	sourcePort, destinationPort uint16 // host order
	protocol                    uint8
}

// communityID hashes seed, addresses, protocol, a zero byte and ports, all big
// endian, with the lesser endpoint first.
//
// osquery hashes the ports of any protocol as it gets them. The specification
// gives the two directions of an ICMP exchange one identifier and a flow
// without ports none to hash, as Zeek and Suricata do, whose logs the
// identifier is there to match.
func (f flow) communityID(seed uint16) string {
	oneWay, ports := false, true
	switch f.protocol {
	case protocolICMP:
		oneWay = !f.pairICMP(icmpPairs[:])
	case protocolICMPv6:
		oneWay = !f.pairICMP(icmpv6Pairs[:])
	case protocolTCP, protocolUDP, protocolSCTP:
	default:
		ports = f.sourcePort != 0 || f.destinationPort != 0
	}
	order := f.source.Compare(f.destination) // IPv4 before IPv6
	if !oneWay && (order > 0 || order == 0 && f.sourcePort >= f.destinationPort) {
		f.source, f.destination = f.destination, f.source
		f.sourcePort, f.destinationPort = f.destinationPort, f.sourcePort
	}
	b := binary.BigEndian.AppendUint16(make([]byte, 0, 40), seed)
	b = append(b, f.source.AsSlice()...)
	b = append(b, f.destination.AsSlice()...)
	b = append(b, f.protocol, 0)
	if ports {
		b = binary.BigEndian.AppendUint16(b, f.sourcePort)
		b = binary.BigEndian.AppendUint16(b, f.destinationPort)
	}
	digest := sha1.Sum(b)
	return "1:" + base64.StdEncoding.EncodeToString(digest[:])
}

// The message types that ask and answer
// (https://www.iana.org/assignments/icmp-parameters and icmpv6-parameters),
// paired as the specification's reference implementation pairs them.
var (
	icmpPairs = [...][2]uint16{
		{8, 0},   // echo
		{13, 14}, // timestamp
		{15, 16}, // information
		{10, 9},  // router solicitation
		{17, 18}, // address mask
	}
	icmpv6Pairs = [...][2]uint16{
		{128, 129}, // echo
		{130, 131}, // multicast listener
		{133, 134}, // router solicitation
		{135, 136}, // neighbor solicitation
		{139, 140}, // node information
		{144, 145}, // home agent address discovery
	}
)

// pairICMP puts the counterpart of the message type in the place of the code.
// It reports whether the type has one.
func (f *flow) pairICMP(pairs [][2]uint16) bool {
	for _, p := range pairs {
		switch f.sourcePort {
		case p[0]:
			f.destinationPort = p[1]
			return true
		case p[1]:
			f.destinationPort = p[0]
			return true
		}
	}
	return false
}

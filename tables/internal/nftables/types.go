package nftables

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A kind says how the bytes of a value are read.
type kind uint8

const (
	opaque    kind = iota // hexadecimal digits
	number                // in network byte order
	hostOrder             // a number in host byte order
	mark                  // the same, in hexadecimal digits
	ipAddress
	linkAddress
	ipProtocol
	nfProtocol
	etherType
	packetType
	interfaceName
	interfaceIndex
	arpOperation
	icmpType
	icmpv6Type
	tcpFlags
	conntrackState
	conntrackDirection
	conntrackStatus
	text
)

// named are the names of single values.
var named = map[kind]map[uint64]string{
	ipProtocol: {
		unix.IPPROTO_ICMP: "icmp", unix.IPPROTO_IGMP: "igmp", unix.IPPROTO_TCP: "tcp", unix.IPPROTO_UDP: "udp", unix.IPPROTO_DCCP: "dccp",
		unix.IPPROTO_GRE: "gre", unix.IPPROTO_ESP: "esp", unix.IPPROTO_AH: "ah", unix.IPPROTO_ICMPV6: "ipv6-icmp", unix.IPPROTO_COMP: "ipcomp",
		unix.IPPROTO_SCTP: "sctp", unix.IPPROTO_UDPLITE: "udplite",
	},
	nfProtocol:         {unix.NFPROTO_IPV4: "ipv4", unix.NFPROTO_IPV6: "ipv6"},
	etherType:          {unix.ETH_P_IP: "ip", unix.ETH_P_IPV6: "ip6", unix.ETH_P_ARP: "arp", unix.ETH_P_8021Q: "vlan"},
	packetType:         {unix.PACKET_HOST: "host", unix.PACKET_BROADCAST: "broadcast", unix.PACKET_MULTICAST: "multicast", unix.PACKET_OTHERHOST: "other"},
	arpOperation:       {1: "request", 2: "reply", 3: "rrequest", 4: "rreply", 8: "inrequest", 9: "inreply", 10: "nak"},
	conntrackDirection: {0: "original", 1: "reply"},
	icmpType: {
		0: "echo-reply", 3: "destination-unreachable", 4: "source-quench", 5: "redirect", 8: "echo-request", 9: "router-advertisement",
		10: "router-solicitation", 11: "time-exceeded", 12: "parameter-problem", 13: "timestamp-request", 14: "timestamp-reply",
		15: "info-request", 16: "info-reply", 17: "address-mask-request", 18: "address-mask-reply",
	},
	icmpv6Type: {
		1: "destination-unreachable", 2: "packet-too-big", 3: "time-exceeded", 4: "parameter-problem", 128: "echo-request", 129: "echo-reply",
		130: "mld-listener-query", 131: "mld-listener-report", 132: "mld-listener-done", 133: "nd-router-solicit", 134: "nd-router-advert",
		135: "nd-neighbor-solicit", 136: "nd-neighbor-advert", 137: "nd-redirect", 138: "router-renumbering", 141: "ind-neighbor-solicit",
		142: "ind-neighbor-advert", 143: "mld2-listener-report",
	},
}

// bitNames are the names of bits, in the order in which nft writes them.
var bitNames = map[kind][]struct {
	bit  uint64
	name string
}{
	// enum ip_conntrack_info and nft_ct: bit n+1 stands for state n.
	conntrackState:  {{1, "invalid"}, {2, "established"}, {4, "related"}, {8, "new"}, {64, "untracked"}},
	conntrackStatus: {{1, "expected"}, {2, "seen-reply"}, {4, "assured"}, {8, "confirmed"}, {16, "snat"}, {32, "dnat"}, {512, "dying"}},
	tcpFlags:        {{1, "fin"}, {2, "syn"}, {4, "rst"}, {8, "psh"}, {16, "ack"}, {32, "urg"}, {64, "ecn"}, {128, "cwr"}},
}

// hostOrdered reports whether a number is in host byte order.
func (k kind) hostOrdered() bool {
	switch k {
	case hostOrder, mark, interfaceIndex, conntrackState, conntrackStatus, packetType:
		return true
	}
	return false
}

// size is the length in bytes of what meta and ct load, 0 if it depends.
func (k kind) size() int {
	switch k {
	case nfProtocol, ipProtocol, packetType, conntrackDirection:
		return 1
	case etherType:
		return 2
	case hostOrder, mark, interfaceIndex, conntrackState, conntrackStatus:
		return 4
	case interfaceName:
		return unix.IFNAMSIZ
	}
	return 0
}

// uint reads a number of up to eight bytes.
func (k kind) uint(b []byte) uint64 {
	if len(b) > 8 {
		return 0
	}
	var wide [8]byte
	if k.hostOrdered() && binary.NativeEndian.Uint16([]byte{1, 0}) == 1 {
		copy(wide[:], b)
		return binary.LittleEndian.Uint64(wide[:])
	}
	copy(wide[8-len(b):], b)
	return binary.BigEndian.Uint64(wide[:])
}

// write returns a value as nft writes it.
func (c *Conn) write(k kind, b []byte) string {
	switch k {
	case ipAddress:
		if a, ok := netip.AddrFromSlice(b); ok {
			return a.String()
		}
	case linkAddress:
		return net.HardwareAddr(b).String()
	case interfaceName:
		name := unix.ByteSliceToString(b)
		if len(name) == len(b) && len(b) < unix.IFNAMSIZ {
			name += "*" // only the beginning is compared
		}
		return strconv.Quote(name)
	case text:
		return strconv.Quote(unix.ByteSliceToString(b))
	case interfaceIndex:
		if c.Interface != nil {
			if name := c.Interface(uint32(k.uint(b))); name != "" {
				return strconv.Quote(name)
			}
		}
		return strconv.FormatUint(k.uint(b), 10)
	case mark:
		return fmt.Sprintf("0x%08x", k.uint(b))
	case opaque:
		if len(b) > 8 {
			return fmt.Sprintf("0x%x", b)
		}
		return fmt.Sprintf("0x%x", k.uint(b))
	}
	if len(b) > 8 {
		return fmt.Sprintf("0x%x", b)
	}
	n := k.uint(b)
	if bitNames[k] != nil {
		return bitList(k, n)
	}
	if name := named[k][n]; name != "" {
		return name
	}
	if k == etherType {
		return fmt.Sprintf("0x%04x", n)
	}
	return strconv.FormatUint(n, 10)
}

func bitList(k kind, n uint64) string {
	var names []string
	for _, b := range bitNames[k] {
		if n&b.bit != 0 {
			names = append(names, b.name)
			n &^= b.bit
		}
	}
	if n != 0 || len(names) == 0 {
		names = append(names, fmt.Sprintf("0x%x", n))
	}
	return strings.Join(names, ",")
}

// prefixLength returns how many bits a mask begins with, if it has no others.
func prefixLength(m []byte) (n int, ok bool) {
	for i, b := range m {
		ones := bits.LeadingZeros8(^b)
		n += ones
		if ones == 8 {
			continue
		}
		if b<<ones != 0 {
			return 0, false
		}
		for _, rest := range m[i+1:] {
			if rest != 0 {
				return 0, false
			}
		}
		break
	}
	return n, true
}

// A field is a part of a header that has a name.
type field struct {
	offset, length int // bytes
	name           string
	kind           kind
}

// headers are the fields of protocols.
var headers = map[string][]field{
	"ether": {{0, 6, "daddr", linkAddress}, {6, 6, "saddr", linkAddress}, {12, 2, "type", etherType}},
	"arp": {{0, 2, "htype", number}, {2, 2, "ptype", etherType}, {4, 1, "hlen", number}, {5, 1, "plen", number}, {6, 2, "operation", arpOperation},
		{8, 6, "saddr ether", linkAddress}, {14, 4, "saddr ip", ipAddress}, {18, 6, "daddr ether", linkAddress}, {24, 4, "daddr ip", ipAddress}},
	"ip": {{0, 1, "version", number}, {1, 1, "dscp", number}, {2, 2, "length", number}, {4, 2, "id", number}, {6, 2, "frag-off", opaque},
		{8, 1, "ttl", number}, {9, 1, "protocol", ipProtocol}, {10, 2, "checksum", number}, {12, 4, "saddr", ipAddress}, {16, 4, "daddr", ipAddress}},
	"ip6": {{4, 2, "length", number}, {6, 1, "nexthdr", ipProtocol}, {7, 1, "hoplimit", number}, {8, 16, "saddr", ipAddress}, {24, 16, "daddr", ipAddress}},
	"tcp": {{0, 2, "sport", number}, {2, 2, "dport", number}, {4, 4, "sequence", number}, {8, 4, "ackseq", number}, {13, 1, "flags", tcpFlags},
		{14, 2, "window", number}, {16, 2, "checksum", number}, {18, 2, "urgptr", number}},
	"udp":     {{0, 2, "sport", number}, {2, 2, "dport", number}, {4, 2, "length", number}, {6, 2, "checksum", number}},
	"udplite": {{0, 2, "sport", number}, {2, 2, "dport", number}, {4, 2, "csumcov", number}, {6, 2, "checksum", number}},
	"sctp":    {{0, 2, "sport", number}, {2, 2, "dport", number}, {4, 4, "vtag", number}, {8, 4, "checksum", number}},
	"dccp":    {{0, 2, "sport", number}, {2, 2, "dport", number}},
	"th":      {{0, 2, "sport", number}, {2, 2, "dport", number}},
	"icmp": {{0, 1, "type", icmpType}, {1, 1, "code", number}, {2, 2, "checksum", number}, {4, 2, "id", number}, {6, 2, "sequence", number},
		{4, 4, "gateway", number}},
	"icmpv6": {{0, 1, "type", icmpv6Type}, {1, 1, "code", number}, {2, 2, "checksum", number}, {4, 2, "id", number}, {6, 2, "sequence", number},
		{4, 4, "mtu", number}},
	"esp": {{0, 4, "spi", number}, {4, 4, "sequence", number}},
	"ah":  {{0, 1, "nexthdr", ipProtocol}, {4, 4, "spi", number}, {8, 4, "sequence", number}},
}

// A key is what meta or ct knows by a number.
type key struct {
	name string
	kind kind
}

var metaKeys = map[uint32]key{
	unix.NFT_META_LEN: {"meta length", hostOrder}, unix.NFT_META_PROTOCOL: {"meta protocol", etherType}, unix.NFT_META_PRIORITY: {"meta priority", mark},
	unix.NFT_META_MARK: {"meta mark", mark}, unix.NFT_META_IIF: {"iif", interfaceIndex}, unix.NFT_META_OIF: {"oif", interfaceIndex},
	unix.NFT_META_IIFNAME: {"iifname", interfaceName}, unix.NFT_META_OIFNAME: {"oifname", interfaceName},
	unix.NFT_META_IIFTYPE: {"iiftype", hostOrder}, unix.NFT_META_OIFTYPE: {"oiftype", hostOrder}, unix.NFT_META_SKUID: {"meta skuid", hostOrder},
	unix.NFT_META_SKGID: {"meta skgid", hostOrder}, unix.NFT_META_NFTRACE: {"meta nftrace", hostOrder}, unix.NFT_META_RTCLASSID: {"meta rtclassid", mark},
	unix.NFT_META_SECMARK: {"meta secmark", mark}, unix.NFT_META_NFPROTO: {"meta nfproto", nfProtocol}, unix.NFT_META_L4PROTO: {"meta l4proto", ipProtocol},
	unix.NFT_META_BRI_IIFNAME: {"meta ibrname", interfaceName}, unix.NFT_META_BRI_OIFNAME: {"meta obrname", interfaceName},
	unix.NFT_META_PKTTYPE: {"meta pkttype", packetType}, unix.NFT_META_CPU: {"meta cpu", hostOrder}, unix.NFT_META_IIFGROUP: {"iifgroup", hostOrder},
	unix.NFT_META_OIFGROUP: {"oifgroup", hostOrder}, unix.NFT_META_CGROUP: {"meta cgroup", hostOrder}, unix.NFT_META_PRANDOM: {"meta random", hostOrder},
}

var ctKeys = map[uint32]key{
	unix.NFT_CT_STATE: {"state", conntrackState}, unix.NFT_CT_DIRECTION: {"direction", conntrackDirection}, unix.NFT_CT_STATUS: {"status", conntrackStatus},
	unix.NFT_CT_MARK: {"mark", mark}, unix.NFT_CT_SECMARK: {"secmark", mark}, unix.NFT_CT_EXPIRATION: {"expiration", hostOrder}, unix.NFT_CT_HELPER: {"helper", text},
	unix.NFT_CT_L3PROTOCOL: {"l3proto", nfProtocol}, unix.NFT_CT_SRC: {"saddr", ipAddress}, unix.NFT_CT_DST: {"daddr", ipAddress},
	unix.NFT_CT_PROTOCOL: {"protocol", ipProtocol}, unix.NFT_CT_PROTO_SRC: {"proto-src", number}, unix.NFT_CT_PROTO_DST: {"proto-dst", number},
	unix.NFT_CT_LABELS: {"label", opaque}, unix.NFT_CT_PKTS: {"packets", hostOrder}, unix.NFT_CT_BYTES: {"bytes", hostOrder},
	unix.NFT_CT_AVGPKT: {"avgpkt", hostOrder}, unix.NFT_CT_ZONE: {"zone", hostOrder}, unix.NFT_CT_SRC_IP: {"ip saddr", ipAddress},
	unix.NFT_CT_DST_IP: {"ip daddr", ipAddress}, unix.NFT_CT_SRC_IP6: {"ip6 saddr", ipAddress}, unix.NFT_CT_DST_IP6: {"ip6 daddr", ipAddress},
	unix.NFT_CT_ID: {"id", mark},
}

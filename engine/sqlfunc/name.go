package sqlfunc

import (
	"context"
	"os"
	"strings"
	"sync"

	"sockql/internal/etcfiles"
	"sockql/tables"
)

func nameFunctions(services string) []Function {
	names := sync.OnceValue(func() serviceNames { return readServices(services) })
	return []Function{
		{
			Name: "service_name", Args: []int{2}, Deterministic: true, Eval: serviceName(names),
			Doc: "service_name(port, protocol) returns the name that services(5) has for a port and a protocol. The protocol is a number or a name; udplite counts as udp, and mptcp as tcp. NULL for what has no name.",
		},
		{
			Name: "protocol_name", Args: []int{1}, Deterministic: true, Eval: nameOf(protocolNames),
			Doc: "protocol_name(number) returns the name of an IP protocol in lower case, as protocols(5) writes it, with Linux's mptcp (262) and raw (255); NULL for an unknown number.",
		},
		{
			Name: "family_name", Args: []int{1}, Deterministic: true, Eval: nameOf(familyNames),
			Doc: "family_name(number) returns the name of an address family in lower case, without the AF_ of the kernel's constant (include/linux/socket.h); NULL for an unknown number.",
		},
	}
}

func nameOf(names map[int64]string) func(context.Context, *Call, []tables.Value) (tables.Value, error) {
	return func(_ context.Context, _ *Call, args []tables.Value) (tables.Value, error) {
		n, ok := wholeNumber(args[0])
		if !ok {
			return tables.Null(), nil
		}
		name, ok := names[n]
		if !ok {
			return tables.Null(), nil
		}
		return tables.String(name), nil
	}
}

func serviceName(names func() serviceNames) func(context.Context, *Call, []tables.Value) (tables.Value, error) {
	return func(_ context.Context, _ *Call, args []tables.Value) (tables.Value, error) {
		port, ok := wholeNumber(args[0])
		if !ok || port < 0 || port > 65535 {
			return tables.Null(), nil
		}
		protocol := ""
		if n, ok := wholeNumber(args[1]); ok {
			protocol = protocolNames[n]
		} else if args[1].Kind() == tables.KindText {
			protocol = strings.ToLower(args[1].String())
		}
		switch protocol {
		case "udplite":
			protocol = "udp"
		case "mptcp":
			protocol = "tcp"
		}
		name, ok := names()[service{uint16(port), protocol}]
		if !ok {
			return tables.Null(), nil
		}
		return tables.String(name), nil
	}
}

type service struct {
	port     uint16
	protocol string
}

type serviceNames map[service]string

// add keeps the first name of a service, as getservbyport(3) finds it.
func (n serviceNames) add(s *etcfiles.Service) bool {
	key := service{s.Port, strings.Clone(s.Protocol)}
	if _, found := n[key]; !found {
		n[key] = s.Name
	}
	return true
}

// readServices returns the names in a file. A minimal container has no such
// file; then the well-known names serve.
func readServices(path string) serviceNames {
	names := serviceNames{}
	f, err := os.Open(path)
	if err == nil {
		defer f.Close()
		err = etcfiles.Services(f, names.add)
	}
	if err != nil || len(names) == 0 {
		for _, s := range wellKnown {
			names.add(&s)
		}
	}
	return names
}

// wellKnown are names that everybody expects, from the registry of RFC 6335
// (https://www.iana.org/assignments/service-names-port-numbers).
var wellKnown = []etcfiles.Service{
	{Port: 20, Protocol: "tcp", Name: "ftp-data"},
	{Port: 21, Protocol: "tcp", Name: "ftp"},
	{Port: 22, Protocol: "tcp", Name: "ssh"},
	{Port: 23, Protocol: "tcp", Name: "telnet"},
	{Port: 25, Protocol: "tcp", Name: "smtp"},
	{Port: 53, Protocol: "tcp", Name: "domain"},
	{Port: 53, Protocol: "udp", Name: "domain"},
	{Port: 67, Protocol: "udp", Name: "bootps"},
	{Port: 68, Protocol: "udp", Name: "bootpc"},
	{Port: 69, Protocol: "udp", Name: "tftp"},
	{Port: 80, Protocol: "tcp", Name: "http"},
	{Port: 88, Protocol: "tcp", Name: "kerberos"},
	{Port: 88, Protocol: "udp", Name: "kerberos"},
	{Port: 110, Protocol: "tcp", Name: "pop3"},
	{Port: 111, Protocol: "tcp", Name: "sunrpc"},
	{Port: 111, Protocol: "udp", Name: "sunrpc"},
	{Port: 123, Protocol: "udp", Name: "ntp"},
	{Port: 137, Protocol: "udp", Name: "netbios-ns"},
	{Port: 138, Protocol: "udp", Name: "netbios-dgm"},
	{Port: 139, Protocol: "tcp", Name: "netbios-ssn"},
	{Port: 143, Protocol: "tcp", Name: "imap"},
	{Port: 161, Protocol: "udp", Name: "snmp"},
	{Port: 162, Protocol: "udp", Name: "snmptrap"},
	{Port: 179, Protocol: "tcp", Name: "bgp"},
	{Port: 389, Protocol: "tcp", Name: "ldap"},
	{Port: 443, Protocol: "tcp", Name: "https"},
	{Port: 443, Protocol: "udp", Name: "https"},
	{Port: 445, Protocol: "tcp", Name: "microsoft-ds"},
	{Port: 465, Protocol: "tcp", Name: "submissions"},
	{Port: 500, Protocol: "udp", Name: "isakmp"},
	{Port: 514, Protocol: "udp", Name: "syslog"},
	{Port: 546, Protocol: "udp", Name: "dhcpv6-client"},
	{Port: 547, Protocol: "udp", Name: "dhcpv6-server"},
	{Port: 587, Protocol: "tcp", Name: "submission"},
	{Port: 631, Protocol: "tcp", Name: "ipp"},
	{Port: 636, Protocol: "tcp", Name: "ldaps"},
	{Port: 853, Protocol: "tcp", Name: "domain-s"},
	{Port: 853, Protocol: "udp", Name: "domain-s"},
	{Port: 873, Protocol: "tcp", Name: "rsync"},
	{Port: 993, Protocol: "tcp", Name: "imaps"},
	{Port: 995, Protocol: "tcp", Name: "pop3s"},
	{Port: 1433, Protocol: "tcp", Name: "ms-sql-s"},
	{Port: 2049, Protocol: "tcp", Name: "nfs"},
	{Port: 3306, Protocol: "tcp", Name: "mysql"},
	{Port: 3389, Protocol: "tcp", Name: "ms-wbt-server"},
	{Port: 4500, Protocol: "udp", Name: "ipsec-nat-t"},
	{Port: 4789, Protocol: "udp", Name: "vxlan"},
	{Port: 5060, Protocol: "tcp", Name: "sip"},
	{Port: 5060, Protocol: "udp", Name: "sip"},
	{Port: 5353, Protocol: "udp", Name: "mdns"},
	{Port: 5355, Protocol: "udp", Name: "llmnr"},
	{Port: 5432, Protocol: "tcp", Name: "postgresql"},
	{Port: 6379, Protocol: "tcp", Name: "redis"},
	{Port: 8080, Protocol: "tcp", Name: "http-alt"},
}

// protocolNames are the protocols that Linux names in include/uapi/linux/in.h
// and in6.h, and the others of IANA's registry
// (https://www.iana.org/assignments/protocol-numbers) that protocols(5) of the
// distributions has.
var protocolNames = map[int64]string{
	0: "ip", 1: "icmp", 2: "igmp", 3: "ggp", 4: "ipencap", 5: "st", 6: "tcp", 8: "egp", 9: "igp",
	12: "pup", 17: "udp", 20: "hmp", 22: "xns-idp", 27: "rdp", 29: "iso-tp4", 33: "dccp", 36: "xtp",
	37: "ddp", 38: "idpr-cmtp", 41: "ipv6", 43: "ipv6-route", 44: "ipv6-frag", 45: "idrp", 46: "rsvp",
	47: "gre", 50: "esp", 51: "ah", 57: "skip", 58: "ipv6-icmp", 59: "ipv6-nonxt", 60: "ipv6-opts",
	73: "rspf", 81: "vmtp", 88: "eigrp", 89: "ospf", 92: "mtp", 93: "ax.25", 94: "ipip", 97: "etherip",
	98: "encap", 103: "pim", 108: "ipcomp", 112: "vrrp", 115: "l2tp", 124: "isis", 132: "sctp",
	133: "fc", 135: "mobility-header", 136: "udplite", 137: "mpls-in-ip", 138: "manet", 139: "hip",
	140: "shim6", 141: "wesp", 142: "rohc", 143: "ethernet", 144: "aggfrag",
	255: "raw", 256: "smc", 262: "mptcp",
}

// familyNames are the constants AF_* of include/linux/socket.h.
var familyNames = map[int64]string{
	0: "unspec", 1: "unix", 2: "inet", 3: "ax25", 4: "ipx", 5: "appletalk", 6: "netrom", 7: "bridge",
	8: "atmpvc", 9: "x25", 10: "inet6", 11: "rose", 12: "decnet", 13: "netbeui", 14: "security",
	15: "key", 16: "netlink", 17: "packet", 18: "ash", 19: "econet", 20: "atmsvc", 21: "rds", 22: "sna",
	23: "irda", 24: "pppox", 25: "wanpipe", 26: "llc", 27: "ib", 28: "mpls", 29: "can", 30: "tipc",
	31: "bluetooth", 32: "iucv", 33: "rxrpc", 34: "isdn", 35: "phonet", 36: "ieee802154", 37: "caif",
	38: "alg", 39: "nfc", 40: "vsock", 41: "kcm", 42: "qipcrtr", 43: "smc", 44: "xdp", 45: "mctp",
}

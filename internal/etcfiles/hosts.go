package etcfiles

import (
	"io"
	"net/netip"
	"strings"
)

// A Host is a line of hosts(5).
type Host struct {
	Address string // as it is written
	Names   string // a space between them
}

// Hosts parses hosts(5). An address without names is a row; it need not be an
// address.
func Hosts(r io.Reader, yield func(*Host) bool) error {
	var h Host
	return lines(r, func(line string) bool {
		content, _, _ := strings.Cut(line, "#")
		fields := strings.Fields(content)
		if len(fields) == 0 {
			return true
		}
		h = Host{Address: fields[0], Names: strings.Join(fields[1:], " ")}
		return yield(&h)
	})
}

// maxNameservers is how many name servers the C library asks (MAXNS of
// resolv.h).
const maxNameservers = 3

// The bits of resolver options that are always or by default set (res_init(3);
// RES_INIT, RES_RECURSE, RES_DEFNAMES and RES_DNSRCH of resolv.h).
const defaultOptions = 0x1 | 0x40 | 0x80 | 0x200

// resolverOptions are the bits of the options that resolv.conf(5) names, from
// resolv.h of glibc.
var resolverOptions = map[string]uint32{
	"debug": 0x2, "use-vc": 0x8, "inet6": 0x2000, "rotate": 0x4000, "no-check-names": 0x8000, "edns0": 0x100000,
	"single-request": 0x200000, "single-request-reopen": 0x400000, "no-tld-query": 0x1000000, "no-reload": 0x2000000,
	"trust-ad": 0x4000000, "no-aaaa": 0x8000000,
}

// A Resolver is a setting of resolv.conf(5) as the resolver of the C library
// uses it.
type Resolver struct {
	Index   int    // among those of its kind, counted from 0
	Kind    string // "nameserver", "sortlist" or "search"
	Address string // or the domain of a search
	Netmask string // of a sortlist; 32 for a name server, as osquery has it
	Options uint32 // bits of resolv.h, the same for all
}

// Resolvers parses resolv.conf(5). Without a name server in it there is the one
// on this host. The domain that the host's name gives is not in the file.
func Resolvers(r io.Reader, yield func(*Resolver) bool) error {
	var servers, sorts, searches []Resolver
	options := uint32(defaultOptions)
	err := lines(r, func(line string) bool {
		fields := strings.Fields(line)
		if len(fields) < 2 || line[0] == ';' {
			return true
		}
		switch fields[0] {
		case "nameserver":
			if address, err := netip.ParseAddr(fields[1]); err == nil && len(servers) < maxNameservers {
				servers = append(servers, Resolver{Kind: "nameserver", Address: address.String(), Netmask: "32"})
			}
		case "domain":
			searches = []Resolver{{Kind: "search", Address: fields[1]}}
		case "search": // the last of both counts
			searches = nil
			for _, domain := range fields[1:] {
				searches = append(searches, Resolver{Kind: "search", Address: domain})
			}
		case "sortlist":
			for _, pair := range fields[1:] {
				address, mask, _ := strings.Cut(pair, "/")
				sorts = append(sorts, Resolver{Kind: "sortlist", Address: address, Netmask: mask})
			}
		case "options":
			for _, name := range fields[1:] {
				options |= resolverOptions[name]
			}
		}
		return true
	})
	if err != nil {
		return err
	}
	if len(servers) == 0 {
		servers = []Resolver{{Kind: "nameserver", Address: "127.0.0.1", Netmask: "32"}}
	}
	for _, list := range [][]Resolver{servers, sorts, searches} {
		for i := range list {
			list[i].Index, list[i].Options = i, options
			if !yield(&list[i]) {
				return nil
			}
		}
	}
	return nil
}

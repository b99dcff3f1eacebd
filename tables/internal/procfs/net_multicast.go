package procfs

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
)

// A Group is a multicast group that an interface has joined.
type Group struct {
	Interface string
	Index     uint32           // of the interface
	Address   netip.Addr       // not valid for a group of the link
	Link      net.HardwareAddr // of a group of the link, else nil
	Users     uint32           // how often it was joined
}

// GroupFiles are the files of /proc/<pid>/net that [ParseGroups] knows: groups
// of IPv4, of IPv6, and of the link (proc_pid_net(5)).
var GroupFiles = [...]string{"igmp", "igmp6", "dev_mcast"}

// ParseGroups reads one of [GroupFiles]. A line that cannot be understood costs
// itself; the error that comes with the rest tells of the first. Addresses of
// IPv4 are in the byte order of this host.
func ParseGroups(file string, b []byte) ([]Group, error) {
	var all []Group
	var failure error
	var of Group // the interface whose groups follow in igmp
	for line := range bytes.SplitSeq(b, []byte{'\n'}) {
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		g, err := Group{}, error(nil)
		switch file {
		case "igmp":
			if line[0] != '\t' {
				if !bytes.HasPrefix(line, []byte("Idx")) {
					of, err = igmpInterface(line)
					failure = firstError(failure, err)
				}
				continue
			}
			g, err = igmpGroup(line, of)
		case "igmp6":
			g, err = igmp6Group(line)
		default:
			g, err = linkGroup(line)
		}
		if err != nil {
			failure = firstError(failure, err)
			continue
		}
		all = append(all, g)
	}
	return all, failure
}

// igmpInterface reads the line of an interface of igmp_mc_seq_show
// (net/ipv4/igmp.c): index, name, a colon, how many groups, the version.
func igmpInterface(line []byte) (Group, error) {
	c := cursor{line: line}
	g := Group{Index: c.dec32("index")}
	g.Interface = string(bytes.TrimSuffix(c.token("interface"), []byte{':'}))
	return g, c.err()
}

// igmpGroup reads a line of a group of igmp_mc_seq_show: the address as one
// number of host byte order, users, timer.
func igmpGroup(line []byte, g Group) (Group, error) {
	c := cursor{line: line}
	address := c.hex32(8, "group")
	g.Users = c.dec32("users")
	if c.bad == "" && g.Interface == "" {
		return g, fmt.Errorf("a group without interface: %q", clip(line))
	}
	g.Address = netip.AddrFrom4([4]byte(binary.NativeEndian.AppendUint32(nil, address)))
	return g, c.err()
}

// igmp6Group reads a line of igmp6_mc_seq_show (net/ipv6/mcast.c): index, name,
// address in network byte order, users, flags, timer.
func igmp6Group(line []byte) (Group, error) {
	c := cursor{line: line}
	g := Group{Index: c.dec32("index"), Interface: string(c.token("interface"))}
	digits := c.token("group")
	g.Users = c.dec32("users")
	address, err := hex.DecodeString(string(digits))
	if c.bad == "" && (err != nil || len(address) != 16) {
		c.fail("group")
	}
	g.Address, _ = netip.AddrFromSlice(address)
	return g, c.err()
}

// linkGroup reads a line of dev_mc_seq_show (net/core/dev_addr_lists.c): index,
// name, users, how many of them ask for good, address.
func linkGroup(line []byte) (Group, error) {
	c := cursor{line: line}
	g := Group{Index: c.dec32("index"), Interface: string(c.token("interface")), Users: c.dec32("users")}
	c.skip(1, "lasting users")
	address, err := hex.DecodeString(string(c.token("group")))
	if c.bad == "" && err != nil {
		c.fail("group")
	}
	g.Link = address
	return g, c.err()
}

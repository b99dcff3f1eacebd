package procfs

import (
	"bytes"
	"errors"
	"io/fs"
)

// Interfaces returns the names of the network interfaces of a process's
// network namespace by index, as far as the text of procfs gives both: those
// with an IPv6 address (net/if_inet6), with IPv4 (net/igmp), or with a
// multicast address of the link (net/dev_mcast). Everybody may.
func (p *FS) Interfaces(pid int32) (map[uint32]string, error) {
	names := map[uint32]string{}
	for _, source := range []struct {
		file string
		add  func(names map[uint32]string, line []byte)
	}{
		{"net/if_inet6", addInet6},
		{"net/dev_mcast", addMulticast},
		{"net/igmp", addIGMP},
	} {
		err := p.readProcess(pid, source.file, func(b []byte) error {
			for line := range bytes.SplitSeq(b, []byte{'\n'}) {
				source.add(names, line)
			}
			return nil
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return names, err
		}
	}
	return names, nil
}

// addInet6 reads a line of if6_seq_show (net/ipv6/addrconf.c): address, index,
// prefix length, scope and flags in hexadecimal, name.
func addInet6(names map[uint32]string, line []byte) {
	c := cursor{line: line}
	c.token("address")
	index := c.hex32(1, "index")
	c.skip(3, "prefix, scope and flags")
	addName(names, &c, index)
}

// addMulticast reads a line of dev_mc_seq_show (net/core/dev_addr_lists.c):
// index, name, counts, address.
func addMulticast(names map[uint32]string, line []byte) {
	c := cursor{line: line}
	index := c.dec32("index")
	addName(names, &c, index)
}

// addIGMP reads a line of igmp_mc_seq_show (net/ipv4/igmp.c): index and name,
// parted by a tab. Lines of groups begin with a tab.
func addIGMP(names map[uint32]string, line []byte) {
	digits, rest, ok := bytes.Cut(line, []byte{'\t'})
	if !ok || len(digits) == 0 {
		return
	}
	head := cursor{line: digits}
	index := head.dec32("index")
	if head.bad != "" {
		return
	}
	addName(names, &cursor{line: rest}, index)
}

func addName(names map[uint32]string, c *cursor, index uint32) {
	name := c.token("name")
	if c.bad == "" && index != 0 {
		names[index] = string(name)
	}
}

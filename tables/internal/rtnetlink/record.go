package rtnetlink

import (
	"context"
	"encoding/binary"
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"

	"sockql/tables/internal/netlink"
	"sockql/tables/internal/recording"
)

// Record asks for every list that a [Conn] can ask for, and returns the
// requests with the answers as they came. What failed is missing, and is the
// error. The transport is not closed.
func Record(ctx context.Context, t netlink.Transport) ([]recording.Exchange, error) {
	tap := &netlink.Tap{Transport: t}
	c := New(tap)
	var errs []error
	ask := func(err error) { errs = append(errs, err) }
	_, err := c.Links(ctx)
	ask(err)
	_, err = c.Addresses(ctx)
	ask(err)
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		_, err = c.Routes(ctx, family)
		ask(err)
		_, err = c.Neighbours(ctx, family)
		ask(err)
	}
	return tap.Exchanges, errors.Join(errs...)
}

// What becomes of an attribute in a scrubbed recording.
type treatment uint8

const (
	dropped treatment = iota // of all that no table shows
	kept
	address // replaced, of either family
	via     // an address behind its family
	link    // an address of the link, replaced
	hops    // struct rtnexthop with attributes of their own
)

// treatments say it by type of message; fixed is the length of what stands
// before the attributes.
var treatments = map[uint16]struct {
	fixed int
	of    map[uint16]treatment
}{
	unix.RTM_NEWLINK: {unix.SizeofIfInfomsg, map[uint16]treatment{
		unix.IFLA_IFNAME: kept, unix.IFLA_ADDRESS: link, unix.IFLA_MTU: kept, unix.IFLA_PROMISCUITY: kept, unix.IFLA_STATS64: kept, unix.IFLA_AF_SPEC: kept,
	}},
	unix.RTM_NEWADDR: {unix.SizeofIfAddrmsg, map[uint16]treatment{
		unix.IFA_ADDRESS: address, unix.IFA_LOCAL: address, unix.IFA_BROADCAST: address, unix.IFA_LABEL: kept, unix.IFA_FLAGS: kept,
	}},
	unix.RTM_NEWROUTE: {unix.SizeofRtMsg, map[uint16]treatment{
		unix.RTA_DST: address, unix.RTA_PREFSRC: address, unix.RTA_GATEWAY: address, unix.RTA_VIA: via, unix.RTA_MULTIPATH: hops,
		unix.RTA_PRIORITY: kept, unix.RTA_TABLE: kept, unix.RTA_METRICS: kept, unix.RTA_OIF: kept,
	}},
	unix.RTM_NEWNEIGH: {unix.SizeofNdMsg, map[uint16]treatment{unix.NDA_DST: address, unix.NDA_LLADDR: link}},
}

// Scrub returns recorded exchanges with addresses replaced by what addr returns
// for them, of the same family, and those of links by numbers. Of attributes
// that no table shows nothing is left.
func Scrub(exchanges []recording.Exchange, addr func(netip.Addr) netip.Addr) []recording.Exchange {
	s := scrubber{addr: addr, links: map[string]uint32{}}
	scrubbed := make([]recording.Exchange, len(exchanges))
	for i, x := range exchanges {
		scrubbed[i].Request = x.Request
		for _, answer := range x.Answers {
			var b []byte
			for m, rest := netlink.Next(answer); m.Payload != nil; m, rest = netlink.Next(rest) {
				switch t, known := treatments[m.Type]; {
				case known && len(m.Payload) >= t.fixed:
					m.Payload = append(m.Payload[:t.fixed:t.fixed], s.attributes(m.Payload[t.fixed:], t.of)...)
				case m.Type != unix.NLMSG_DONE && m.Type != unix.NLMSG_ERROR:
					continue
				}
				b = netlink.Append(b, m)
			}
			scrubbed[i].Answers = append(scrubbed[i].Answers, b)
		}
	}
	return scrubbed
}

type scrubber struct {
	addr  func(netip.Addr) netip.Addr
	links map[string]uint32 // numbers of addresses of links
}

func (s *scrubber) attributes(b []byte, of map[uint16]treatment) []byte {
	var out []byte
	for typ, v, rest := netlink.NextAttribute(b); v != nil; typ, v, rest = netlink.NextAttribute(rest) {
		switch of[typ] {
		case dropped:
			continue
		case address:
			v = s.address(v)
		case via:
			if len(v) < 2 {
				continue
			}
			v = append(v[:2:2], s.address(v[2:])...)
		case link:
			v = s.link(v)
		case hops:
			v = s.hops(v, of)
		}
		out = netlink.AppendAttribute(out, typ, v)
	}
	return out
}

func (s *scrubber) address(v []byte) []byte {
	a := ipAddress(v)
	if !a.IsValid() {
		return nil
	}
	return s.addr(a).AsSlice()
}

// link returns an address of the same length: a number behind the bit that
// says that an administrator chose it. Zeros stay.
func (s *scrubber) link(v []byte) []byte {
	const size = 6
	out := make([]byte, len(v))
	if len(v) < size || string(v) == string(out) {
		return out
	}
	n, known := s.links[string(v)]
	if !known {
		n = uint32(len(s.links) + 1)
		s.links[string(v)] = n
	}
	out[0] = 2
	binary.BigEndian.PutUint32(out[len(v)-4:], n)
	return out
}

func (s *scrubber) hops(b []byte, of map[uint16]treatment) []byte {
	const fixed = unix.SizeofRtNexthop
	var out []byte
	for len(b) >= fixed {
		size := int(binary.NativeEndian.Uint16(b))
		if size < fixed || size > len(b) {
			break
		}
		body := s.attributes(b[fixed:size], of)
		hop := append(b[:fixed:fixed], body...)
		binary.NativeEndian.PutUint16(hop, uint16(len(hop)))
		out = append(out, hop...)
		b = b[min(netlink.Align(size), len(b)):]
	}
	return out
}

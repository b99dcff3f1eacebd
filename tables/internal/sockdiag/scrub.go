package sockdiag

import (
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"sockql/tables/internal/netlink"
	"sockql/tables/internal/recording"
	"sockql/tables/internal/socket"
)

// A Scrubber replaces what a recording shall not show.
type Scrubber interface {
	// Addr returns an address of the same family.
	Addr(netip.Addr) netip.Addr
	// Path returns a name for a file, or for an abstract UNIX socket, which
	// begins with NUL.
	Path(string) string
}

// Scrub returns recorded exchanges with addresses and names replaced. Of
// messages that it cannot read, and of attributes that no table shows, nothing
// is left.
func Scrub(exchanges []recording.Exchange, with Scrubber) []recording.Exchange {
	scrubbed := make([]recording.Exchange, len(exchanges))
	for i, x := range exchanges {
		scrubbed[i].Request = x.Request
		key, _ := keyOf(x.Request)
		for _, answer := range x.Answers {
			b := rewrite(answer, 0, func(payload []byte) []byte { return scrubMessage(payload, key, with) })
			scrubbed[i].Answers = append(scrubbed[i].Answers, b)
		}
	}
	return scrubbed
}

// ScrubSocket replaces the addresses and the name of a socket.
func ScrubSocket(s *socket.Socket, with Scrubber) {
	if s.Local.IsValid() {
		s.Local = with.Addr(s.Local)
	}
	if s.Remote.IsValid() {
		s.Remote = with.Addr(s.Remote)
	}
	if s.Path != "" {
		s.Path = with.Path(s.Path)
	}
}

// scrubMessage returns the payload of one socket's message without its secrets,
// or nil.
func scrubMessage(b []byte, k listKey, with Scrubber) []byte {
	// How long the fixed part is, and which attributes hold numbers only.
	var fixed int
	var harmless []uint16
	switch k.family {
	case unix.AF_UNIX:
		fixed, harmless = unixMsgSize, []uint16{unixDiagPeer, unixDiagRQLen, unixDiagMemInfo, unixDiagShutdown, unixDiagUID}
	case unix.AF_PACKET:
		fixed, harmless = packetMsgSize, []uint16{packetDiagInfo, packetDiagUID, packetDiagMemInfo}
	case unix.AF_NETLINK:
		fixed, harmless = netlinkMsgSize, []uint16{netlinkDiagMemInfo, netlinkDiagGroups}
	case unix.AF_UNSPEC, unix.AF_INET, unix.AF_INET6:
		fixed, harmless = inetMsgSize, []uint16{diagInfo, diagSKMemInfo, diagShutdown, diagProtocol, diagSKV6Only, diagMark, diagCgroupID}
	case unix.AF_VSOCK:
		fixed, harmless = 32, nil
	case unix.AF_XDP:
		fixed, harmless = 16, []uint16{xdpDiagInfo, xdpDiagUID, xdpDiagMemInfo}
	}
	if fixed == 0 || len(b) < fixed {
		return nil
	}
	out := append([]byte(nil), b[:fixed]...)
	if fixed == inetMsgSize {
		scrubSockID(out[4:4+sockIDSize], out[0], with)
	}
	for typ, v, rest := netlink.NextAttribute(b[fixed:]); v != nil; typ, v, rest = netlink.NextAttribute(rest) {
		switch {
		case slices.Contains(harmless, typ):
			out = netlink.AppendAttribute(out, typ, v)
		case k.family == unix.AF_UNIX && typ == unixDiagName && len(v) > 0:
			var s socket.Socket
			setPath(v, &s)
			name := []byte(with.Path(s.Path))
			if !s.PathAbstract {
				name = append(name, 0)
			}
			out = netlink.AppendAttribute(out, typ, name)
		}
	}
	return out
}

// scrubSockID replaces the addresses of struct inet_diag_sockid.
func scrubSockID(b []byte, family uint8, with Scrubber) {
	for _, at := range []int{4, 20} {
		field := b[at : at+16]
		if family == unix.AF_INET {
			a := with.Addr(netip.AddrFrom4([4]byte(field[:4]))).As4()
			clear(field) // the kernel leaves what it had there
			copy(field, a[:])
			continue
		}
		a := with.Addr(netip.AddrFrom16([16]byte(field))).As16()
		copy(field, a[:])
	}
}

// Package socket holds what every source of sockets speaks: the record of one
// socket, the names of the kernel's codes, and the request that says which
// sockets and which of their fields are wanted.
//
// It does no I/O and needs no privilege. Values of its types are not safe for
// concurrent change.
package socket

import (
	"net/netip"
	"slices"
)

// A Kind is a set of socket lists as the kernel keeps them, one for each
// protocol and family. It is the unit in which a source can or cannot answer.
type Kind uint32

// The kinds of sockets.
const (
	TCP4 Kind = 1 << iota
	TCP6
	UDP4
	UDP6
	UDPLite4
	UDPLite6
	Raw4
	Raw6
	ICMP4 // ping sockets, SOCK_DGRAM with IPPROTO_ICMP
	ICMP6
	Unix
	Packet
	Netlink
	MPTCP4
	MPTCP6
	SCTP4
	SCTP6
	DCCP4
	DCCP6
	Vsock
	XDP
	TIPC
	SMC
	Other // every other family, and a socket of which only the inode is known
)

// Kinds that belong together.
const (
	AllKinds = Other<<1 - 1
	Inet4    = TCP4 | UDP4 | UDPLite4 | Raw4 | ICMP4 | MPTCP4 | SCTP4 | DCCP4
	Inet6    = TCP6 | UDP6 | UDPLite6 | Raw6 | ICMP6 | MPTCP6 | SCTP6 | DCCP6
	Inet     = Inet4 | Inet6
)

// Fields is a set of the optional parts of a [Socket].
type Fields uint64

// The fields of a Socket that a source may know or not, or a query may want or
// not.
const (
	FieldCookie       Fields = 1 << iota // Cookie
	FieldFamily                          // Family
	FieldType                            // Type
	FieldProtocol                        // Protocol
	FieldState                           // State
	FieldAddresses                       // Local, Remote and their ports
	FieldPath                            // Path
	FieldPathExact                       // Path holds the exact bytes; PathAbstract is known
	FieldQueues                          // RxQueue, TxQueue
	FieldBacklog                         // Backlog of a listener
	FieldTimer                           // Timer, TimerExpires, Retransmits
	FieldProbes                          // Probes
	FieldUID                             // UID
	FieldRefcount                        // Refcount
	FieldRTO                             // RTO
	FieldATO                             // ATO
	FieldQuickACK                        // QuickACK, PingPong
	FieldCWnd                            // CongestionWindow
	FieldSSThresh                        // SlowStartThreshold
	FieldFastOpen                        // FastOpenLimit of a listener
	FieldDrops                           // Drops
	FieldInterface                       // Interface
	FieldMark                            // Mark
	FieldShutdown                        // Shutdown
	FieldV6Only                          // V6Only
	FieldCgroup                          // CgroupID
	FieldNetns                           // Netns
	FieldPeer                            // PeerInode of a UNIX socket
	FieldBacklogLimit                    // BacklogLimit of a listener; /proc does not tell it
	FieldNetlinkPort                     // NetlinkPort, NetlinkGroups
	AllFields         = FieldNetlinkPort<<1 - 1
)

// A Socket is one socket as a source saw it, with one of its holders.
//
// Known says which of the optional fields are set; the others hold zero and
// are shown as NULL.
type Socket struct {
	Known Fields
	Kind  Kind // exactly one kind

	// Inode is the socket's inode in sockfs, 0 for TIME_WAIT and other sockets
	// that no file refers to.
	Inode uint64
	// Cookie is the kernel's unique number of the socket (SO_COOKIE).
	Cookie uint64
	// Netns is the inode of the network namespace in nsfs.
	Netns uint64

	Family   uint16 // AF_*
	Type     uint16 // SOCK_*
	Protocol uint16 // IPPROTO_*, NETLINK_*, or the EtherType of a packet socket
	// State is the code of the list it comes from: include/net/tcp_states.h for
	// inet sockets and for UNIX sockets alike.
	State uint8

	Local, Remote         netip.Addr // invalid where the family has none
	LocalPort, RemotePort uint16     // host byte order; the protocol of a raw socket

	// Path is the name of a UNIX socket as it was bound, without the
	// terminating NUL of a file's name and with the leading NUL of an abstract
	// one.
	Path         string
	PathAbstract bool

	RxQueue, TxQueue      uint32 // bytes
	Backlog, BacklogLimit uint32 // connections waiting to be accepted, and their limit

	Timer        Timer
	TimerExpires uint32 // milliseconds until it fires
	Retransmits  uint8
	Probes       uint8 // keepalive or zero-window probes without an answer

	UID                uint32 // of the creator, in the initial user namespace
	Refcount           uint32
	RTO                uint32 // milliseconds
	ATO                uint32 // milliseconds
	QuickACK           uint32 // remaining quick acknowledgements
	PingPong           bool   // interactive mode
	CongestionWindow   uint32 // segments
	SlowStartThreshold uint32 // segments; unset is not Known
	FastOpenLimit      uint32 // length limit of a listener's fast-open queue
	Drops              uint32 // datagrams
	Interface          uint32 // index of the interface it is bound to; 0 none
	Mark               uint32 // SO_MARK
	Shutdown           uint8  // 1 receive, 2 send, 3 both (RCV_SHUTDOWN, SEND_SHUTDOWN)
	V6Only             bool
	CgroupID           uint64 // inode of the cgroup v2 directory
	PeerInode          uint64 // of a UNIX socket's peer
	NetlinkPort        uint32 // port id (nl_pid) of a netlink socket; 0 is the kernel's own
	NetlinkGroups      uint32 // first 32 multicast groups of a netlink socket, group 1 in bit 0

	Holder
}

// A Holder is a process, or a thread with a descriptor table of its own, that
// refers to a socket.
type Holder struct {
	PID int32 // thread group; -1 where there is none
	TID int32 // the thread whose table it is: PID, but for an unshared table
	FD  int32 // -1 where there is no holder
	// Reason says why there is no holder.
	Reason Reason
}

// A Reason says why the process that holds a socket is not named.
type Reason uint8

// The reasons.
const (
	Held    Reason = iota // a process is named
	NoOwner               // every descriptor table was read and none refers to it
	Denied                // at least one descriptor table could not be read
	Raced                 // a process vanished while it was read
)

// String returns the reason as the column pid_reason shows it, empty for Held.
func (r Reason) String() string {
	switch r {
	case NoOwner:
		return "no owner"
	case Denied:
		return "denied"
	case Raced:
		return "raced"
	}
	return ""
}

// A Timer is the timer that runs for a TCP socket: the column "tr" of
// /proc/net/tcp and idiag_timer of sock_diag use the same codes
// (net/ipv4/tcp_ipv4.c, get_tcp4_sock).
type Timer uint8

// The timers.
const (
	TimerOff        Timer = 0
	TimerRetransmit Timer = 1
	TimerKeepalive  Timer = 2
	TimerTimeWait   Timer = 3
	TimerProbe      Timer = 4
)

// String returns the timer as the column timer shows it.
func (t Timer) String() string {
	switch t {
	case TimerOff:
		return "off"
	case TimerRetransmit:
		return "retransmit"
	case TimerKeepalive:
		return "keepalive"
	case TimerTimeWait:
		return "time_wait"
	case TimerProbe:
		return "probe"
	}
	return ""
}

// The states of include/net/tcp_states.h.
const (
	StateEstablished   = 1
	StateSynSent       = 2
	StateSynRecv       = 3
	StateFinWait1      = 4
	StateFinWait2      = 5
	StateTimeWait      = 6
	StateClose         = 7
	StateCloseWait     = 8
	StateLastAck       = 9
	StateListen        = 10
	StateClosing       = 11
	StateNewSynRecv    = 12 // a request socket; shown as SYN_RECV
	StateBoundInactive = 13 // Linux 6.8: bound, neither listening nor connected
)

// AllStates is the [Request.States] of a request that wants every state.
const AllStates = ^uint32(0)

// A Request says which sockets are wanted. The zero value of each part, but
// for Kinds, States and Fields, means all; [Everything] is a request for all.
// A source may return more than was asked for, never less.
type Request struct {
	// PIDs are the thread groups whose sockets are wanted, ascending and each
	// once; nil means all, and then sockets without a holder too.
	PIDs   []int32
	Kinds  Kind
	States uint32 // bit n is state n
	// LocalPorts and RemotePorts restrict inet sockets, in host byte order.
	LocalPorts, RemotePorts Ports
	// LocalAddrs and RemoteAddrs list the wanted addresses of inet sockets;
	// nil means any.
	LocalAddrs, RemoteAddrs []netip.Addr
	// Bound says that of inet sockets only those are wanted that are bound to an
	// interface (SO_BINDTODEVICE).
	Bound bool
	// Namespaces are inodes in nsfs, ascending; nil means all.
	Namespaces []uint64
	// Fields are the optional fields that the query reads or filters by.
	Fields Fields
	// NoHolders says that nobody can see which process holds a socket, nor how
	// many do, so descriptors need not be read.
	NoHolders bool
}

// Everything returns a request for all sockets with all fields.
func Everything() Request {
	return Request{Kinds: AllKinds, States: AllStates, Fields: AllFields}
}

// Ports is a set of wanted ports: a range, or a list within it.
type Ports struct {
	// Restricted says that not every port is wanted.
	Restricted bool
	Lo, Hi     uint16
	List       []uint16 // ascending; nil means all of Lo to Hi
}

// Has reports whether a port is wanted.
func (p Ports) Has(port uint16) bool {
	if !p.Restricted {
		return true
	}
	if port < p.Lo || port > p.Hi {
		return false
	}
	if p.List == nil {
		return true
	}
	_, found := slices.BinarySearch(p.List, port)
	return found
}

package sockets

import "sockql/tables/internal/socket"

// A tcpState is one state of the kernel's enum in include/net/tcp_states.h, and
// what the tools call it.
type tcpState struct {
	code    uint8
	kernel  string
	osquery string // in process_open_sockets and listening_ports
	netstat string // as netstat(8) prints it
	ss      string // as ss(8) prints it
	filter  string // as ss's filters name it
	meaning string
}

// tcpStates lists the states by code.
var tcpStates = [...]tcpState{
	{1, "TCP_ESTABLISHED", "ESTABLISHED", "ESTABLISHED", "ESTAB", "established",
		"connected: both sides may send"},
	{2, "TCP_SYN_SENT", "SYN_SENT", "SYN_SENT", "SYN-SENT", "syn-sent",
		"asked for a connection and awaits the answer"},
	{3, "TCP_SYN_RECV", "SYN_RECV", "SYN_RECV", "SYN-RECV", "syn-recv",
		"was asked for a connection, agreed, and awaits the confirmation"},
	{4, "TCP_FIN_WAIT1", "FIN_WAIT1", "FIN_WAIT1", "FIN-WAIT-1", "fin-wait-1",
		"has said that it sends no more; the peer has not acknowledged it yet"},
	{5, "TCP_FIN_WAIT2", "FIN_WAIT2", "FIN_WAIT2", "FIN-WAIT-2", "fin-wait-2",
		"has said that it sends no more, which the peer knows; the peer may still send"},
	{6, "TCP_TIME_WAIT", "TIME_WAIT", "TIME_WAIT", "TIME-WAIT", "time-wait",
		"both sides have finished; the address pair is kept until late packets have died"},
	{7, "TCP_CLOSE", "CLOSED", "CLOSE", "UNCONN", "closed",
		"neither connected nor listening"},
	{8, "TCP_CLOSE_WAIT", "CLOSE_WAIT", "CLOSE_WAIT", "CLOSE-WAIT", "close-wait",
		"the peer sends no more; this side has not closed its end yet"},
	{9, "TCP_LAST_ACK", "LAST_ACK", "LAST_ACK", "LAST-ACK", "last-ack",
		"closed after the peer, and awaits the last acknowledgement"},
	{10, "TCP_LISTEN", "LISTEN", "LISTEN", "LISTEN", "listening",
		"waits for connections"},
	{11, "TCP_CLOSING", "CLOSING", "CLOSING", "CLOSING", "closing",
		"both sides closed at once; the acknowledgement of this side's end is missing"},
	{12, "TCP_NEW_SYN_RECV", "SYN_RECV", "SYN_RECV", "SYN-RECV", "syn-recv",
		"was asked for a connection that the listener keeps in brief until it is confirmed"},
	{13, "TCP_BOUND_INACTIVE", "CLOSED", "CLOSE", "UNCONN", "bound-inactive",
		"bound to an address, neither connected nor listening"},
}

// osqueryState returns the state as osquery's tables show it.
func osqueryState(kind socket.Kind, code uint8) string {
	switch {
	case kind&tcpLike != 0:
		if int(code) > len(tcpStates) || code == 0 {
			return "UNKNOWN"
		}
		return tcpStates[code-1].osquery
	case kind == socket.Packet:
		return "NONE"
	}
	return ""
}

// realState returns a socket's state by the rules of its own protocol, and
// what it means.
func realState(kind socket.Kind, code uint8) (name, meaning string) {
	switch {
	case kind == socket.Packet:
		return "", "" // the kernel tells none
	case kind == socket.Netlink:
		// include/linux/netlink.h: NETLINK_UNCONNECTED, NETLINK_CONNECTED.
		switch code {
		case 0, socket.StateClose:
			return "UNCONN", "has no default destination"
		case 1:
			return "ESTABLISHED", "has a default destination"
		}
		return "UNKNOWN", "a state that this program does not know"
	case int(code) > len(tcpStates) || code == 0:
		return "UNKNOWN", "a state that this program does not know"
	case kind&tcpLike != 0:
	case code == socket.StateClose && kind&datagram == 0:
		return "UNCONN", "has no peer"
	case code == socket.StateClose:
		return "UNCONN", "has no peer: takes from anybody and must name whom it sends to"
	case code == socket.StateEstablished && kind&datagram != 0:
		return "ESTABLISHED", "has a fixed peer, the only one that it exchanges datagrams with"
	}
	return tcpStates[code-1].osquery, tcpStates[code-1].meaning
}

// datagram are the kinds whose sockets have at most a fixed peer, never a
// connection.
const datagram = socket.UDP4 | socket.UDP6 | socket.UDPLite4 | socket.UDPLite6 |
	socket.Raw4 | socket.Raw6 | socket.ICMP4 | socket.ICMP6

// possible returns the states that sockets of a kind can be in, bit n for
// state n.
func possible(kind socket.Kind) uint32 {
	switch {
	case kind&datagram != 0:
		return 1<<socket.StateEstablished | 1<<socket.StateClose
	case kind == socket.Netlink:
		return 1<<0 | 1<<1 | 1<<socket.StateClose
	}
	return socket.AllStates
}

// twins returns the states that sock_diag filters by but shows as one of the
// given: a request socket (TCP_NEW_SYN_RECV) is shown as SYN_RECV, one that is
// only bound (TCP_BOUND_INACTIVE) as CLOSE.
func twins(states uint32) uint32 {
	var more uint32
	if states&(1<<socket.StateSynRecv) != 0 {
		more |= 1 << socket.StateNewSynRecv
	}
	if states&(1<<socket.StateClose) != 0 {
		more |= 1 << socket.StateBoundInactive
	}
	return more
}

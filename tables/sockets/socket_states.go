package sockets

import (
	"strings"

	"sockql/tables"
	"sockql/tables/internal/socket"
)

// SocketStates returns the table socket_states: everything that the kernel
// tells of each socket.
func (h *Host) SocketStates() (tables.Table, error) {
	columns := socketStatesColumns()
	l := newLayout(columns, nil)
	l.protocol = func(k kindInfo) int64 { return k.protocol }
	l.stateOf = func(kind socket.Kind, code uint8) string {
		name, _ := realState(kind, code)
		return name
	}
	return tables.New(tables.Def[row]{
		Name: "socket_states",
		Doc: "Every socket with everything that the kernel tells of it: one row for each descriptor, and one for each socket that no known process holds. " +
			"A cell is NULL where the socket has no such property or the source in use cannot tell it.",
		Privilege: privilege + " Without BPF, CAP_NET_ADMIN shows mark.",
		Examples: []string{
			"SELECT state, count(DISTINCT socket) FROM socket_states GROUP BY state;",
			"SELECT local_port, backlog, backlog_limit FROM socket_states WHERE state = 'LISTEN' AND backlog > 0;",
			"SELECT pid, remote_address, tx_queue, retransmits FROM socket_states WHERE protocol = 6 ORDER BY tx_queue DESC LIMIT 10;",
		},
		Columns: definitions(columns),
		Rows:    h.rows(&l, nil),
	})
}

func socketStatesColumns() []column {
	return []column{
		{Column: tables.Column[row]{Name: "pid", Type: tables.BigInt, Flags: tables.Pushdown, Get: pid,
			Doc: "Thread group that holds the socket; -1 if none is known, see pid_reason."}},
		{Column: tables.Column[row]{Name: "tid", Type: tables.BigInt, Get: tid,
			Doc: "Thread whose descriptor table refers to the socket: pid, but for a thread that has a table of its own (unshare(2), CLONE_FILES); -1 without a process."}},
		{Column: tables.Column[row]{Name: "fd", Type: tables.BigInt, Get: fd,
			Doc: "Descriptor in that table; -1 without a process."}},
		{Column: tables.Column[row]{Name: "socket", Type: tables.BigInt, Get: inode,
			Doc: "Inode of the socket in sockfs, as in the link of the descriptor; 0 for a TIME_WAIT socket and others without a file."}},
		field("cookie", tables.BigInt, 0, socket.FieldCookie,
			"The kernel's number of the socket (SO_COOKIE of socket(7)), never used twice before a reboot. Text does not tell it.",
			func(r *row) tables.Value { return tables.Uint(r.Cookie) }),
		field("family", tables.Integer, tables.Pushdown, socket.FieldFamily,
			"Address family, AF_* of <sys/socket.h>: 1 UNIX, 2 IPv4, 10 IPv6, 16 netlink, 17 packet, 40 vsock, 44 XDP. NULL for a socket of which only the inode is known.",
			family),
		field("protocol", tables.Integer, tables.Pushdown, socket.FieldProtocol,
			"Protocol within the family: IPPROTO_* for IP (6 TCP, 17 UDP, 262 MPTCP, a raw socket's own), NETLINK_*, the EtherType of a packet socket in host byte order.",
			func(r *row) tables.Value { return tables.Int(r.Protocol) }),
		field("type", tables.Integer, tables.Pushdown, socket.FieldType,
			"Type, SOCK_* of socket(2): 1 stream, 2 datagram, 3 raw, 5 seqpacket.",
			func(r *row) tables.Value { return tables.Int(r.Type) }),
		field("local_address", tables.Text, tables.Pushdown, socket.FieldAddresses,
			"Address that an IP socket is bound to, 0.0.0.0 or :: for any; NULL for other families.",
			func(r *row) tables.Value { return tables.Addr(r.Local) }),
		field("local_port", tables.Integer, tables.Pushdown, socket.FieldAddresses,
			"Port in host byte order; the IP protocol of a raw socket; NULL for families without ports.",
			localPort),
		field("remote_address", tables.Text, tables.Pushdown, socket.FieldAddresses,
			"Address of an IP socket's peer, 0.0.0.0 or :: without one; NULL for other families.",
			func(r *row) tables.Value { return tables.Addr(r.Remote) }),
		field("remote_port", tables.Integer, tables.Pushdown, socket.FieldAddresses,
			"The peer's port, 0 without a peer; NULL for families without ports.",
			remotePort),
		field("path", tables.Text, 0, socket.FieldPath,
			"Name of a UNIX socket as bind(2) was given it, NUL bytes written as @; empty without a name, NULL for other families.",
			func(r *row) tables.Value { return tables.String(displayPath(r.Socket)) }),
		field("path_bytes", tables.Blob, 0, socket.FieldPathExact,
			"The name's exact bytes, with the leading NUL of an abstract one (unix(7)). NULL where the text of /proc leaves them in doubt.",
			func(r *row) tables.Value { return tables.Bytes(r.Path) }),
		field("path_abstract", tables.Integer, 0, socket.FieldPathExact,
			"1 if the name is abstract, 0 if it is a file's or there is none. NULL where the text of /proc leaves it in doubt: a file may be named @x.",
			func(r *row) tables.Value { return tables.Bool(r.PathAbstract) }),
		field("state", tables.Text, tables.Pushdown, socket.FieldState,
			"State by the rules of the socket's own protocol: TCP's names as in process_open_sockets; UNCONN for a datagram, raw, UNIX or netlink socket without a peer. NULL for packet sockets, which have none.",
			func(r *row) tables.Value { name, _ := realState(r.Kind, r.State); return tables.String(name) }),
		field("state_code", tables.Integer, tables.Pushdown, socket.FieldState,
			"The kernel's code of the state: include/net/tcp_states.h, NETLINK_* of include/linux/netlink.h for netlink.",
			func(r *row) tables.Value { return tables.Int(r.State) }),
		field("state_description", tables.Text, 0, socket.FieldState,
			"What the state means for this protocol.",
			func(r *row) tables.Value { _, meaning := realState(r.Kind, r.State); return tables.String(meaning) }),
		field("rx_queue", tables.BigInt, 0, socket.FieldQueues|socket.FieldBacklog,
			"Bytes that wait to be read. For a listener the connections that wait to be accepted, as ss shows it.", rxQueue),
		field("tx_queue", tables.BigInt, 0, socket.FieldQueues|socket.FieldBacklogLimit,
			"Bytes that were sent and not acknowledged. For a listener the limit of its backlog, as ss shows it; NULL where /proc alone was asked.", txQueue),
		field("backlog", tables.Integer, 0, socket.FieldBacklog,
			"Connections that wait to be accepted; NULL for a socket that does not listen.",
			func(r *row) tables.Value { return tables.Int(r.Backlog) }),
		field("backlog_limit", tables.Integer, 0, socket.FieldBacklogLimit,
			"How many connections may wait: the backlog of listen(2) cut to net.core.somaxconn. Text does not tell it.",
			func(r *row) tables.Value { return tables.Int(r.BacklogLimit) }),
		field("timer", tables.Text, 0, socket.FieldTimer,
			"The timer that runs for a TCP socket: off, retransmit, keepalive, time_wait or probe (of a zero window).",
			func(r *row) tables.Value { return tables.String(r.Timer.String()) }),
		field("timer_expires_ms", tables.BigInt, 0, socket.FieldTimer,
			"Milliseconds until the timer fires, 0 while none runs.",
			func(r *row) tables.Value { return tables.Int(r.TimerExpires) }),
		field("retransmits", tables.Integer, 0, socket.FieldTimer,
			"How often the oldest unacknowledged segment was sent again without an answer.",
			func(r *row) tables.Value { return tables.Int(r.Retransmits) }),
		field("probes", tables.Integer, 0, socket.FieldProbes,
			"Keepalive or zero-window probes that were not answered.",
			func(r *row) tables.Value { return tables.Int(r.Probes) }),
		field("uid", tables.BigInt, 0, socket.FieldUID,
			"Effective user of the process that made the socket, in the user namespace of the reader.",
			func(r *row) tables.Value { return tables.Int(r.UID) }),
		field("refcount", tables.BigInt, 0, socket.FieldRefcount,
			"References that the kernel holds to the socket; not the number of descriptors. sock_diag does not tell it.",
			func(r *row) tables.Value { return tables.Int(r.Refcount) }),
		field("rto_ms", tables.BigInt, 0, socket.FieldRTO,
			"TCP's retransmission timeout in milliseconds; /proc rounds it to 1/USER_HZ seconds.",
			func(r *row) tables.Value { return tables.Int(r.RTO) }),
		field("ato_ms", tables.BigInt, 0, socket.FieldATO,
			"TCP's timeout of delayed acknowledgements in milliseconds; /proc rounds it to 1/USER_HZ seconds.",
			func(r *row) tables.Value { return tables.Int(r.ATO) }),
		field("quickack", tables.Integer, 0, socket.FieldQuickACK,
			"Acknowledgements that TCP will still send at once.",
			func(r *row) tables.Value { return tables.Int(r.QuickACK) }),
		field("pingpong", tables.Integer, 0, socket.FieldQuickACK,
			"1 if TCP takes the session for an interactive one and delays acknowledgements, else 0.",
			func(r *row) tables.Value { return tables.Bool(r.PingPong) }),
		field("congestion_window", tables.BigInt, 0, socket.FieldCWnd,
			"Segments that TCP may have in flight.",
			func(r *row) tables.Value { return tables.Int(r.CongestionWindow) }),
		field("slow_start_threshold", tables.BigInt, 0, socket.FieldSSThresh,
			"Segments at which TCP ends slow start. NULL while it was never set, and for a listener.",
			func(r *row) tables.Value { return tables.Int(r.SlowStartThreshold) }),
		field("fastopen_limit", tables.BigInt, 0, socket.FieldFastOpen,
			"How many fast-open requests a listener lets wait (TCP_FASTOPEN of tcp(7)); NULL for a socket that does not listen.",
			func(r *row) tables.Value { return tables.Int(r.FastOpenLimit) }),
		field("drops", tables.BigInt, 0, socket.FieldDrops,
			"Messages that were thrown away because the receive queue was full.",
			func(r *row) tables.Value { return tables.Int(r.Drops) }),
		field("interface", tables.Text, tables.Pushdown, socket.FieldInterface,
			"Network interface that the socket is bound to (SO_BINDTODEVICE), by its name or, where the namespace cannot be asked, its index; empty if it is bound to none.",
			interfaceCell),
		field("mark", tables.BigInt, 0, socket.FieldMark,
			"Mark of the packets that the socket sends (SO_MARK). Text does not tell it, and sock_diag only with CAP_NET_ADMIN.",
			func(r *row) tables.Value { return tables.Int(r.Mark) }),
		field("shutdown", tables.Integer, 0, socket.FieldShutdown,
			"Which ways shutdown(2) has closed: 0 none, 1 receiving, 2 sending, 3 both. Text does not tell it.",
			func(r *row) tables.Value { return tables.Int(r.Shutdown) }),
		field("v6only", tables.Integer, 0, socket.FieldV6Only,
			"1 if an IPv6 socket does not serve IPv4 too (IPV6_V6ONLY of ipv6(7)), else 0. Text does not tell it.",
			func(r *row) tables.Value { return tables.Bool(r.V6Only) }),
		field("cgroup_path", tables.Text, 0, socket.FieldCgroup,
			"cgroup v2 that the socket was made in, relative to the mount point of the hierarchy. NULL if it is gone or was not found. Text does not tell it, and sock_diag since Linux 5.10.",
			func(r *row) tables.Value {
				if r.cgroupPath == "" {
					return tables.Null()
				}
				return tables.String(r.cgroupPath)
			}),
		{needs: socket.FieldNetns, Column: tables.Column[row]{Name: "net_namespace", Type: tables.Text, Flags: tables.Pushdown, Get: identified(netNamespace), Doc: docNetns}},
		{Column: tables.Column[row]{Name: "pid_reason", Type: tables.Text, Get: reason, Doc: docReason}},
		{needs: listenerFields, Column: tables.Column[row]{Name: "is_listener", Type: tables.Integer, Get: identified(listener), Doc: docListener}},
	}
}

// field makes a column that is NULL where the source does not know the field.
func field(name string, t tables.Type, flags tables.Flags, needs socket.Fields, doc string, get func(*row) tables.Value) column {
	if !strings.Contains(doc, "NULL") {
		doc += " NULL where the socket has no such thing or the source in use cannot tell it."
	}
	return column{needs: needs, Column: tables.Column[row]{Name: name, Type: t, Flags: flags, Doc: doc, Get: known(needs, get)}}
}

func rxQueue(r *row) tables.Value {
	switch {
	case r.Known&socket.FieldBacklog != 0:
		return tables.Int(r.Backlog)
	case r.Known&socket.FieldQueues != 0:
		return tables.Int(r.RxQueue)
	}
	return tables.Null()
}

func txQueue(r *row) tables.Value {
	switch {
	case r.Known&socket.FieldBacklogLimit != 0:
		return tables.Int(r.BacklogLimit)
	case r.Known&socket.FieldQueues != 0 && r.Known&socket.FieldBacklog == 0:
		return tables.Int(r.TxQueue)
	}
	return tables.Null()
}

func interfaceCell(r *row) tables.Value {
	if r.interfaceName == "" && r.Interface != 0 {
		return tables.Decimal(uint64(r.Interface))
	}
	return tables.String(r.interfaceName)
}

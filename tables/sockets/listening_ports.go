package sockets

import (
	"sockql/tables"
	"sockql/tables/internal/socket"
)

// ListeningPorts returns the table listening_ports with osquery's columns and
// its rule of what listens: an IP socket without a remote port, a UNIX socket
// with a name, a packet socket.
func (h *Host) ListeningPorts() (tables.Table, error) {
	columns := []column{
		{Column: tables.Column[row]{Name: "pid", Type: tables.Integer, Flags: tables.Pushdown, Get: pid,
			Doc: "Thread group that holds the socket; -1 if none is known, see pid_reason."}},
		{needs: socket.FieldAddresses, Column: tables.Column[row]{Name: "port", Type: tables.Integer, Flags: tables.Pushdown, Get: localPort,
			Doc: "Port in host byte order; the IP protocol of a raw socket; 0 for UNIX and packet sockets."}},
		{needs: socket.FieldProtocol, Column: tables.Column[row]{Name: "protocol", Type: tables.Integer, Flags: tables.Pushdown,
			Get: func(r *row) tables.Value { return tables.Int(osqueryProtocol(r.Socket)) },
			Doc: "Protocol, IPPROTO_* for IP sockets: 6 TCP, 17 UDP, and as in osquery 255 for every raw and 1 for every ping socket; EtherType of a packet socket; 0 for UNIX."}},
		{needs: socket.FieldFamily, Column: tables.Column[row]{Name: "family", Type: tables.Integer, Flags: tables.Pushdown, Get: family,
			Doc: "Address family, AF_* of <sys/socket.h>: 1 UNIX, 2 IPv4, 10 IPv6, 17 packet."}},
		{needs: socket.FieldAddresses, Column: tables.Column[row]{Name: "address", Type: tables.Text, Flags: tables.Pushdown,
			Get: func(r *row) tables.Value {
				if r.Kind == socket.Unix {
					return tables.Null()
				}
				return emptyIfNull(tables.Addr(r.Local))
			},
			Doc: "Address that the socket is bound to, 0.0.0.0 or :: for any; empty for a packet socket, NULL for UNIX."}},
		{Column: tables.Column[row]{Name: "fd", Type: tables.BigInt, Get: fd,
			Doc: "Descriptor in that process; -1 without a process."}},
		{Column: tables.Column[row]{Name: "socket", Type: tables.BigInt, Get: inode,
			Doc: "Inode of the socket in sockfs, also for UNIX, where osquery shows 0."}},
		{needs: socket.FieldPath, Column: tables.Column[row]{Name: "path", Type: tables.Text,
			Get: func(r *row) tables.Value {
				if r.Kind != socket.Unix {
					return tables.Null()
				}
				return tables.String(displayPath(r.Socket))
			},
			Doc: "Name of a UNIX socket, NUL bytes written as @; NULL for other families."}},
		{needs: socket.FieldNetns, Column: tables.Column[row]{Name: "net_namespace", Type: tables.Text, Flags: tables.Pushdown, Get: netNamespace, Doc: docNetns}},
		{Column: tables.Column[row]{Name: "pid_reason", Type: tables.Text, Flags: tables.Hidden, Get: reason, Doc: docReason}},
		{needs: listenerFields, Column: tables.Column[row]{Name: "is_listener", Type: tables.Integer, Flags: tables.Hidden, Get: listener, Doc: docListener}},
	}
	l := newLayout(columns, map[string]string{"local_port": "port", "local_address": "address"})
	l.kinds = socket.Inet | socket.Unix | socket.Packet
	l.listedOnly = true
	l.protocol = func(k kindInfo) int64 { return k.osquery }
	l.stateOf = osqueryState
	return tables.New(tables.Def[row]{
		Name: "listening_ports",
		Doc: "Sockets that osquery counts as listening, with the processes that hold them: IP sockets without a remote port, UNIX sockets with a name, " +
			"packet sockets. It includes unconnected UDP sockets of clients; is_listener tells what really waits for peers.",
		Privilege: privilege,
		Examples: []string{
			"SELECT pid, port, address FROM listening_ports WHERE protocol = 6 AND is_listener = 1;",
			"SELECT p.name, l.port FROM listening_ports l JOIN processes p USING (pid) WHERE l.address NOT IN ('127.0.0.1', '::1');",
		},
		Columns: definitions(columns),
		Rows:    h.rows(&l, onlyListening),
	})
}

// onlyListening narrows a question to what listening_ports shows.
func onlyListening(a *question) {
	match := a.match
	a.match = func(r *row) bool { return listens(r.Socket) && match(r) }
	a.request.Fields |= socket.FieldAddresses | socket.FieldPath
	a.request.RemotePorts = socket.Ports{Restricted: true}
	for i, k := range kindInfos {
		if k.kind&tcpLike != 0 {
			a.states[i] &= 1 << socket.StateListen
		}
	}
}

// listens is osquery's rule.
func listens(s *socket.Socket) bool {
	switch {
	case s.Kind == socket.Unix:
		return s.Path != ""
	case s.Kind == socket.Packet:
		return true
	case s.Kind&tcpLike != 0 && (s.State == socket.StateClose || s.State == socket.StateBoundInactive):
		return false // bound at most: sock_diag tells, the text that osquery reads does not
	}
	// The kernel's text has no unbound sockets; they have port 0.
	return s.Kind&socket.Inet != 0 && s.RemotePort == 0 && s.LocalPort != 0
}

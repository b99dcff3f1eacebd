package sockets

import (
	"golang.org/x/sys/unix"

	"sockql/tables"
	"sockql/tables/internal/socket"
)

// A row is one socket with one of its holders.
type row struct {
	*socket.Socket
	holder socket.Holder // shadows the unused one of Socket
	// names are resolved before the row is yielded, if their columns are used.
	interfaceName, cgroupPath string
}

// A column is a column of a socket table, with the fields of a socket that its
// accessor reads.
type column struct {
	tables.Column[row]
	needs socket.Fields
}

// definitions strips the columns of what only the request needs.
func definitions(columns []column) []tables.Column[row] {
	defs := make([]tables.Column[row], len(columns))
	for i, c := range columns {
		defs[i] = c.Column
	}
	return defs
}

// known makes an accessor that gives NULL where the source could not tell.
func known(f socket.Fields, get func(*row) tables.Value) func(*row) tables.Value {
	return func(r *row) tables.Value {
		if r.Known&f == 0 {
			return tables.Null()
		}
		return get(r)
	}
}

// identified makes an accessor that gives NULL for a socket of which nothing
// but the inode is known.
func identified(get func(*row) tables.Value) func(*row) tables.Value {
	return known(socket.FieldFamily, get)
}

func pid(r *row) tables.Value    { return tables.Int(r.holder.PID) }
func tid(r *row) tables.Value    { return tables.Int(r.holder.TID) }
func fd(r *row) tables.Value     { return tables.Int(r.holder.FD) }
func reason(r *row) tables.Value { return tables.String(r.holder.Reason.String()) }
func inode(r *row) tables.Value  { return tables.Uint(r.Inode) }

func family(r *row) tables.Value     { return tables.Int(r.Family) }
func localPort(r *row) tables.Value  { return tables.Int(r.LocalPort) }
func remotePort(r *row) tables.Value { return tables.Int(r.RemotePort) }

func netNamespace(r *row) tables.Value { return tables.Decimal(r.Netns) }

// emptyIfNull is for osquery's tables, which show an empty text where a socket
// has no address.
func emptyIfNull(v tables.Value) tables.Value {
	if v.IsNull() {
		return tables.String("")
	}
	return v
}

// osqueryProtocol returns the protocol as osquery's tables show it.
func osqueryProtocol(s *socket.Socket) int64 {
	switch s.Kind {
	case socket.Raw4, socket.Raw6:
		return osqueryRaw
	case socket.ICMP4, socket.ICMP6:
		return osqueryICMP
	}
	return int64(s.Protocol)
}

// isListener reports whether peers that the socket does not know yet can reach
// it: it waits for connections, or is a bound datagram socket without a peer.
func isListener(s *socket.Socket) bool {
	switch {
	case s.State == socket.StateListen:
		return s.Kind&(socket.Netlink|socket.Packet) == 0
	case s.State != socket.StateClose:
		return false
	case s.Kind&(socket.UDP4|socket.UDP6|socket.UDPLite4|socket.UDPLite6) != 0:
		return s.LocalPort != 0
	case s.Kind == socket.Unix:
		return s.Type == unix.SOCK_DGRAM && s.Path != ""
	}
	return false
}

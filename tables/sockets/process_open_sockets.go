package sockets

import (
	"context"
	"errors"
	"strings"

	"sockql/tables"
	"sockql/tables/internal/socket"
)

// Docs of the columns that several tables share.
const (
	docReason = "Why the row names no process: 'no owner' if every descriptor table was read and none refers to the socket, " +
		"'denied' if one could not be read, or procfs hides processes or shows those of one pid namespace alone, 'raced' if a process ended while it was read; empty for a row with a process."
	docListener = "1 if peers that the socket does not know yet can reach it: it is in state LISTEN, or it is a bound UDP, UDP-Lite or UNIX " +
		"datagram socket without a peer; else 0. NULL for a socket of which only the inode is known."
	docNetns = "Inode of the socket's network namespace in nsfs, as in /proc/<pid>/ns/net; 0 if it cannot be told for want of privilege, NULL if only the socket's inode is known."

	privilege = "CAP_BPF and CAP_PERFMON, or CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH, name the holders of other users' sockets; without, those rows have pid -1."
)

// ProcessOpenSockets returns the table process_open_sockets with osquery's
// columns.
func (h *Host) ProcessOpenSockets() (tables.Table, error) {
	columns := []column{
		{Column: tables.Column[row]{Name: "pid", Type: tables.Integer, Flags: tables.Additional, Get: pid,
			Doc: "Thread group that holds the socket; -1 if none is known, see pid_reason."}},
		{Column: tables.Column[row]{Name: "fd", Type: tables.BigInt, Get: fd,
			Doc: "Descriptor in that process; -1 without a process."}},
		{Column: tables.Column[row]{Name: "socket", Type: tables.BigInt, Get: inode,
			Doc: "Inode of the socket in sockfs, as in the link of the descriptor; 0 for a TIME_WAIT socket and others without a file."}},
		{needs: socket.FieldFamily, Column: tables.Column[row]{Name: "family", Type: tables.Integer, Flags: tables.Pushdown, Get: identified(family),
			Doc: "Address family, AF_* of <sys/socket.h>: 1 UNIX, 2 IPv4, 10 IPv6, 16 netlink, 17 packet. NULL if only the inode is known."}},
		{needs: socket.FieldProtocol, Column: tables.Column[row]{Name: "protocol", Type: tables.Integer, Flags: tables.Pushdown,
			Get: identified(func(r *row) tables.Value { return tables.Int(osqueryProtocol(r.Socket)) }),
			Doc: "Protocol, IPPROTO_* for IP sockets: 6 TCP, 17 UDP, and as in osquery 255 for every raw and 1 for every ping socket; EtherType of a packet socket; 0 for UNIX. NULL if only the inode is known."}},
		{needs: socket.FieldAddresses, Column: tables.Column[row]{Name: "local_address", Type: tables.Text, Flags: tables.Pushdown,
			Get: identified(func(r *row) tables.Value { return emptyIfNull(tables.Addr(r.Local)) }),
			Doc: "Address that an IP socket is bound to; empty for other families. NULL if only the inode is known."}},
		{needs: socket.FieldAddresses, Column: tables.Column[row]{Name: "remote_address", Type: tables.Text, Flags: tables.Pushdown,
			Get: identified(func(r *row) tables.Value { return emptyIfNull(tables.Addr(r.Remote)) }),
			Doc: "Address of an IP socket's peer, 0.0.0.0 or :: without one; empty for other families. NULL if only the inode is known."}},
		{needs: socket.FieldAddresses, Column: tables.Column[row]{Name: "local_port", Type: tables.Integer, Flags: tables.Pushdown, Get: identified(localPort),
			Doc: "Port in host byte order; the IP protocol of a raw socket; 0 for families without ports. NULL if only the inode is known."}},
		{needs: socket.FieldAddresses, Column: tables.Column[row]{Name: "remote_port", Type: tables.Integer, Flags: tables.Pushdown, Get: identified(remotePort),
			Doc: "The peer's port, 0 without a peer. NULL if only the inode is known."}},
		{needs: socket.FieldPath, Column: tables.Column[row]{Name: "path", Type: tables.Text,
			Get: identified(func(r *row) tables.Value { return tables.String(displayPath(r.Socket)) }),
			Doc: "Name of a UNIX socket, NUL bytes written as @; empty without a name and for other families. NULL if only the inode is known."}},
		{needs: socket.FieldState, Column: tables.Column[row]{Name: "state", Type: tables.Text, Flags: tables.Pushdown,
			Get: identified(func(r *row) tables.Value { return tables.String(osqueryState(r.Kind, r.State)) }),
			Doc: "State of a TCP socket in osquery's words, NONE for a packet socket, else empty; socket_states has the others'. NULL if only the inode is known."}},
		{needs: socket.FieldNetns, Column: tables.Column[row]{Name: "net_namespace", Type: tables.Text, Flags: tables.Pushdown, Get: identified(netNamespace), Doc: docNetns}},
		{Column: tables.Column[row]{Name: "pid_reason", Type: tables.Text, Flags: tables.Hidden, Get: reason, Doc: docReason}},
		{needs: listenerFields, Column: tables.Column[row]{Name: "is_listener", Type: tables.Integer, Flags: tables.Hidden, Get: identified(listener), Doc: docListener}},
	}
	l := newLayout(columns, nil)
	l.protocol = func(k kindInfo) int64 { return k.osquery }
	l.stateOf = osqueryState
	return tables.New(tables.Def[row]{
		Name: "process_open_sockets",
		Doc: "Open sockets of every kind and network namespace with the processes that hold them: one row for each descriptor, " +
			"and one for each socket that no known process holds.",
		Privilege: privilege,
		Examples: []string{
			"SELECT pid, remote_address, remote_port FROM process_open_sockets WHERE state = 'ESTABLISHED';",
			"SELECT p.name, s.local_port FROM process_open_sockets s JOIN processes p USING (pid) WHERE s.is_listener = 1;",
		},
		Columns: definitions(columns),
		Rows:    h.rows(&l, nil),
	})
}

const listenerFields = socket.FieldState | socket.FieldAddresses | socket.FieldPath | socket.FieldType

func listener(r *row) tables.Value { return tables.Bool(isListener(r.Socket)) }

// rows makes the function that streams a table's rows. restrict narrows each
// question by what the table shows.
func (h *Host) rows(l *layout, restrict func(*question)) func(context.Context, *tables.Query, func(*row) bool) error {
	return func(ctx context.Context, q *tables.Query, yield func(*row) bool) error {
		a := l.ask(q)
		h.leaveHelpers(&a)
		if restrict != nil {
			restrict(&a)
		}
		source, err := h.bpf(&a)
		if err != nil {
			return err
		}
		if source != nil {
			begun := false
			err := h.bpfRows(ctx, q, source, l, &a, func(r *row) bool {
				begun = true
				return yield(r)
			})
			if h.source == BPF || begun || !errors.Is(err, tables.ErrUnavailable) {
				return err
			}
			// The kernel took the program for a smaller question, but not this one.
			h.lazyBPF.refuse(err)
		}
		c, entries, err := h.collect(ctx, q, l, &a)
		if err != nil {
			return err
		}
		var r row
		for _, e := range entries {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			r = row{Socket: e.socket, holder: e.holder}
			c.name(&r, a.request.Fields)
			if !yield(&r) {
				return nil
			}
		}
		return nil
	}
}

// displayPath returns a UNIX socket's name with each NUL as @, as the kernel's
// text shows it (net/unix/af_unix.c, unix_seq_show).
func displayPath(s *socket.Socket) string { return strings.ReplaceAll(s.Path, "\x00", "@") }

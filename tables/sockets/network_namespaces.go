package sockets

import (
	"context"
	"slices"
	"strings"

	"sockql/tables"
	"sockql/tables/internal/netns"
	"sockql/tables/internal/socket"
)

// A namespace is one row of network_namespaces.
type namespace struct {
	inode     uint64
	mounts    []string // paths
	processes int
	hidden    bool // processes may live in it, but none is seen
	held      bool // known from a descriptor
	current   bool
	unread    bool // its sockets could not be read
	sockets   map[socket.Kind]int
}

// socketGroups are the columns that count sockets.
var socketGroups = [...]struct {
	column, what string
	kinds        socket.Kind
}{
	{"tcp_sockets", "TCP sockets, those in TIME_WAIT and the like included", socket.TCP4 | socket.TCP6},
	{"udp_sockets", "UDP and UDP-Lite sockets", socket.UDP4 | socket.UDP6 | socket.UDPLite4 | socket.UDPLite6},
	{"raw_sockets", "raw IP sockets", socket.Raw4 | socket.Raw6},
	{"icmp_sockets", "ping sockets", socket.ICMP4 | socket.ICMP6},
	{"unix_sockets", "UNIX sockets", socket.Unix},
	{"packet_sockets", "packet sockets", socket.Packet},
	{"netlink_sockets", "netlink sockets, the kernel's own included", socket.Netlink},
	{"other_sockets", "sockets of every other kind", socket.AllKinds &^ (socket.TCP4 | socket.TCP6 | socket.UDP4 | socket.UDP6 |
		socket.UDPLite4 | socket.UDPLite6 | socket.Raw4 | socket.Raw6 | socket.ICMP4 | socket.ICMP6 | socket.Unix | socket.Packet | socket.Netlink)},
	{"sockets", "all of its sockets", socket.AllKinds},
}

// NetworkNamespaces returns the table network_namespaces.
func (h *Host) NetworkNamespaces() (tables.Table, error) {
	columns := []tables.Column[namespace]{
		{Name: "inode", Type: tables.BigInt, Flags: tables.Pushdown,
			Doc: "Inode of the namespace in nsfs, which the column net_namespace of other tables shows; 0 if it cannot be told for want of privilege.",
			Get: func(n *namespace) tables.Value { return tables.Uint(n.inode) }},
		{Name: "names", Type: tables.Text,
			Doc: "Names that its bind mounts give it (ip-netns(8), container runtimes), separated by commas; empty without one.",
			Get: func(n *namespace) tables.Value { return tables.String(strings.Join(baseNames(n.mounts), ",")) }},
		{Name: "mounts", Type: tables.Text,
			Doc: "Paths of its bind mounts, each as the processes of its mount namespace see it, separated by commas; empty without one.",
			Get: func(n *namespace) tables.Value { return tables.String(strings.Join(n.mounts, ",")) }},
		{Name: "found", Type: tables.Text,
			Doc: "How it was found, separated by commas: process (one lives in it), mount (a bind mount keeps it), descriptor (a socket that a process elsewhere holds).",
			Get: func(n *namespace) tables.Value { return tables.String(n.found()) }},
		{Name: "processes", Type: tables.Integer, Doc: "Number of processes that are seen to live in it; NULL if none is, but some may be hidden.",
			Get: func(n *namespace) tables.Value {
				if n.hidden {
					return tables.Null()
				}
				return tables.Int(n.processes)
			}},
		{Name: "is_current", Type: tables.Integer, Doc: "1 for the namespace of the program that answers, else 0.",
			Get: func(n *namespace) tables.Value { return tables.Bool(n.current) }},
	}
	first := len(columns)
	for _, g := range socketGroups {
		columns = append(columns, tables.Column[namespace]{Name: g.column, Type: tables.BigInt,
			Doc: "Number of " + g.what + ", each once whatever the number of its holders; NULL if they could not be read. Sockets are read only if a column asks for them.",
			Get: func(n *namespace) tables.Value {
				if n.unread {
					return tables.Null()
				}
				return tables.Int(n.count(g.kinds))
			}})
	}
	return tables.New(tables.Def[namespace]{
		Name:      "network_namespaces",
		Doc:       "Network namespaces: those with processes, those that only a bind mount keeps, and those that only a socket keeps.",
		Privilege: "CAP_SYS_PTRACE shows the numbers of namespaces that other users' processes live in; CAP_SYS_ADMIN counts sockets where no process lives.",
		Examples: []string{
			"SELECT inode, names, processes FROM network_namespaces;",
			"SELECT inode, tcp_sockets, unix_sockets FROM network_namespaces ORDER BY sockets DESC;",
		},
		Columns: columns,
		Rows: func(ctx context.Context, q *tables.Query, yield func(*namespace) bool) error {
			counted := false
			for i := first; i < len(columns); i++ {
				counted = counted || q.Used(i)
			}
			rows, err := h.namespaces(ctx, q, counted)
			if err != nil {
				return err
			}
			for i := range rows {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				if q.Set(0).HasInt(int64(rows[i].inode)) && !yield(&rows[i]) {
					return nil
				}
			}
			return nil
		},
	})
}

func baseNames(paths []string) []string {
	names := make([]string, len(paths))
	for i, p := range paths {
		names[i] = netns.Mount{Path: p}.Name()
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (n *namespace) found() string {
	var ways []string
	if n.processes > 0 {
		ways = append(ways, "process")
	}
	if len(n.mounts) > 0 {
		ways = append(ways, "mount")
	}
	if n.held {
		ways = append(ways, "descriptor")
	}
	return strings.Join(ways, ",")
}

func (n *namespace) count(kinds socket.Kind) int {
	total := 0
	for kind, sockets := range n.sockets {
		if kinds&kind != 0 {
			total += sockets
		}
	}
	return total
}

// namespaces lists the session's namespaces. Where descriptors can be looked up
// it collects all sockets, since one of them may lead to a namespace; else only
// if they are to be counted.
func (h *Host) namespaces(ctx context.Context, q *tables.Query, counted bool) ([]namespace, error) {
	a := question{
		request:  socket.Request{Kinds: socket.AllKinds, States: socket.AllStates, Fields: socket.FieldNetns},
		everyPID: true, ownerless: true, unlisted: true,
		wantsPID:   func(int64) bool { return true },
		wantsNetns: func(uint64) bool { return true },
		match:      func(*row) bool { return false },
	}
	for i := range a.states {
		a.states[i] = socket.AllStates
	}
	var rows []namespace
	err := h.locked(ctx, q, func(c *collector) error {
		if counted || c.looksUp() {
			if _, err := c.collect(ctx, &a); err != nil {
				return err
			}
		} else if err := c.listProcesses(ctx); err != nil {
			return err
		}
		rows = c.describe()
		return nil
	})
	return rows, err
}

// describe returns what the collector knows of namespaces.
func (c *collector) describe() []namespace {
	rows := make([]namespace, len(c.spaces))
	at := map[uint64]*namespace{}
	own, err := netns.Current()
	for i, sp := range c.spaces {
		n := &rows[i]
		*n = namespace{inode: sp.inode, processes: len(sp.pids), held: sp.held, unread: sp.unread, sockets: map[socket.Kind]int{}}
		n.hidden = len(sp.pids) == 0 && (sp.hidden || c.unseen())
		n.current = err == nil && c.host.proc.IsMounted() && sp.inode == own
		for kind, l := range sp.lists {
			n.sockets[kind] = l.len()
		}
		if sp.inode != 0 {
			at[sp.inode] = n
		}
	}
	for _, m := range c.mounts {
		if n := at[m.Inode]; n != nil && !slices.Contains(n.mounts, m.Path) {
			n.mounts = append(n.mounts, m.Path)
		}
	}
	for inode, s := range c.unlisted {
		if s != nil && c.sockets[inode] == nil && s.Known&socket.FieldNetns != 0 && at[s.Netns] != nil {
			at[s.Netns].sockets[s.Kind]++
		}
	}
	return rows
}

package network

import (
	"context"

	"golang.org/x/sys/unix"

	"sockql/tables"
	"sockql/tables/internal/procfs"
)

type groupRow struct {
	*location
	procfs.Group
}

func (r *groupRow) family() int {
	switch {
	case !r.Address.IsValid():
		return unix.AF_PACKET
	case r.Address.Is4():
		return unix.AF_INET
	}
	return unix.AF_INET6
}

func (r *groupRow) address() string {
	if r.Address.IsValid() {
		return r.Address.String()
	}
	return r.Link.String()
}

// MulticastGroups returns the table multicast_groups, which osquery does not
// have: what netstat(8) shows with -g and ip-maddress(8).
func MulticastGroups(c Config) (tables.Table, error) {
	columns := []tables.Column[groupRow]{
		text("interface", "Interface.", func(r *groupRow) string { return r.Interface }),
		column(tables.Integer, "interface_index", "Number of the interface.", func(r *groupRow) tables.Value { return tables.Int(r.Index) }),
		column(tables.Integer, "family", "AF_INET (2), AF_INET6 (10), or AF_PACKET (17) for a group of the link.", func(r *groupRow) tables.Value { return tables.Int(r.family()) }),
		text("group_address", "Address of the group; for one of the link, hexadecimal digits with colons.", (*groupRow).address),
		column(tables.Integer, "users", "How often the group was joined, RefCnt.", func(r *groupRow) tables.Value { return tables.Int(r.Users) }),
		namespaceColumn(func(r *groupRow) *location { return r.location }),
	}
	return tables.New(tables.Def[groupRow]{
		Name: "multicast_groups",
		Doc: "Multicast groups that network interfaces have joined, of IPv4, IPv6 and the link, as netstat -g and ip maddress show them " +
			"(/proc/net/igmp, igmp6 and dev_mcast, proc_pid_net(5)).",
		Privilege: privilege,
		Examples: []string{
			"SELECT interface, users, group_address FROM multicast_groups WHERE family <> 17;",
			"SELECT interface FROM multicast_groups WHERE group_address = '224.0.0.251';",
		},
		Columns: columns,
		Rows: func(ctx context.Context, q *tables.Query, yield func(*groupRow) bool) error {
			return fileRows(ctx, c, q, len(columns)-1, procfs.GroupFiles[:], procfs.ParseGroups, func(l *location, _ string, g procfs.Group) groupRow {
				return groupRow{l, g}
			}, yield)
		},
	})
}

package network

import (
	"context"

	"sockql/tables"
	"sockql/tables/internal/procfs"
)

type counterRow struct {
	*location
	procfs.Counter
	file string
}

// ProtocolCounters returns the table protocol_counters, which osquery does not
// have: what netstat(8) shows with -s and nstat(8).
func ProtocolCounters(c Config) (tables.Table, error) {
	columns := []tables.Column[counterRow]{
		text("protocol", "Ip, Icmp, IcmpMsg, Tcp, Udp, UdpLite, their extensions TcpExt, IpExt and MPTcpExt, Ip6, Icmp6, Udp6, UdpLite6, Sctp.",
			func(r *counterRow) string { return r.Protocol }),
		text("counter", "Name that the kernel gives the counter, which behind the protocol's makes that of nstat.", func(r *counterRow) string { return r.Name }),
		column(tables.BigInt, "value", "Number since the namespace was made. Some are no counts: CurrEstab is a number of now, RtoMin and RtoMax are milliseconds, MaxConn is -1 if there is no limit.",
			func(r *counterRow) tables.Value { return tables.Int(r.Value) }),
		text("source", "File of /proc/net: snmp, netstat, snmp6 or sctp/snmp.", func(r *counterRow) string { return r.file }),
		namespaceColumn(func(r *counterRow) *location { return r.location }),
	}
	return tables.New(tables.Def[counterRow]{
		Name: "protocol_counters",
		Doc: "What the protocols have counted, one row each, as netstat -s and nstat show it " +
			"(proc_pid_net(5), Documentation/networking/snmp_counter.rst).",
		Privilege: privilege,
		Examples: []string{
			"SELECT counter, value FROM protocol_counters WHERE protocol = 'Tcp';",
			"SELECT protocol || counter AS name, value FROM protocol_counters WHERE counter LIKE '%Drop%' AND value > 0;",
		},
		Columns: columns,
		Rows: func(ctx context.Context, q *tables.Query, yield func(*counterRow) bool) error {
			return fileRows(ctx, c, q, len(columns)-1, procfs.CounterFiles[:], procfs.ParseCounters, func(l *location, name string, counter procfs.Counter) counterRow {
				return counterRow{l, counter, name}
			}, yield)
		},
	})
}

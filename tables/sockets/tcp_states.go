package sockets

import (
	"context"
	"fmt"

	"sockql/tables"
	"sockql/tables/internal/socket"
)

// TCPStates returns the table tcp_states, the catalogue of the states that a
// TCP socket can be in.
func TCPStates() (tables.Table, error) {
	text := func(name, doc string, get func(*tcpState) string) tables.Column[tcpState] {
		return tables.Column[tcpState]{Name: name, Type: tables.Text, Doc: doc,
			Get: func(s *tcpState) tables.Value { return tables.String(get(s)) }}
	}
	set := func(name, doc string, states uint32) tables.Column[tcpState] {
		return tables.Column[tcpState]{Name: name, Type: tables.Integer, Doc: doc,
			Get: func(s *tcpState) tables.Value { return tables.Bool(states&(1<<s.code) != 0) }}
	}
	// The sets of ss(8), "STATE-FILTER".
	const (
		every        = 1<<(len(tcpStates)+1) - 2
		connected    = every &^ (1<<socket.StateClose | 1<<socket.StateListen | 1<<socket.StateBoundInactive)
		synchronized = connected &^ (1 << socket.StateSynSent)
		bucket       = 1<<socket.StateSynRecv | 1<<socket.StateTimeWait | 1<<socket.StateNewSynRecv
		big          = every &^ bucket
	)
	return tables.New(tables.Def[tcpState]{
		Name: "tcp_states",
		Doc: "The states of a TCP socket with the names that the kernel and the tools give them. " +
			"The last two are the kernel's own: it shows sockets in them as SYN_RECV and CLOSE.",
		Examples: []string{
			"SELECT code_hex, osquery, meaning FROM tcp_states;",
			"SELECT t.ss, count(*) FROM socket_states s JOIN tcp_states t ON t.code = s.state_code WHERE s.protocol = 6 GROUP BY t.ss;",
		},
		Columns: []tables.Column[tcpState]{
			{Name: "code", Type: tables.Integer, Flags: tables.Pushdown, Doc: "Number in include/net/tcp_states.h, as in the column state_code of socket_states.",
				Get: func(s *tcpState) tables.Value { return tables.Int(s.code) }},
			text("code_hex", "The number as /proc/net/tcp writes it.", func(s *tcpState) string { return fmt.Sprintf("%02X", s.code) }),
			text("kernel", "Name in include/net/tcp_states.h.", func(s *tcpState) string { return s.kernel }),
			text("osquery", "Name in the column state of process_open_sockets and socket_states.", func(s *tcpState) string { return s.osquery }),
			text("netstat", "Name that netstat(8) prints.", func(s *tcpState) string { return s.netstat }),
			text("ss", "Name that ss(8) prints.", func(s *tcpState) string { return s.ss }),
			text("ss_filter", "Name by which a filter of ss(8) selects the state.", func(s *tcpState) string { return s.filter }),
			text("meaning", "What the state means for the side that is in it.", func(s *tcpState) string { return s.meaning }),
			set("connected", "1 in the set connected of ss: there is a peer, or there is about to be one.", connected),
			set("synchronized", "1 in the set synchronized of ss: connected, and the peer has answered.", synchronized),
			set("bucket", "1 in the set bucket of ss: the kernel keeps no whole socket, only a small record.", bucket),
			set("big", "1 in the set big of ss: the opposite of bucket.", big),
		},
		Rows: func(ctx context.Context, q *tables.Query, yield func(*tcpState) bool) error {
			code := q.Set(0)
			for i := range tcpStates {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				if code.HasInt(int64(tcpStates[i].code)) && !yield(&tcpStates[i]) {
					return nil
				}
			}
			return nil
		},
	})
}

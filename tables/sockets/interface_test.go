package sockets

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"sockql/tables"
	"sockql/tables/internal/kerneltest"
)

// TestKernelInterface asks for sockets that are bound to an interface: what the
// kernel leaves must be what SQLite leaves of all rows.
func TestKernelInterface(t *testing.T) {
	ns := kerneltest.NewNamespace(t)
	bind := func(s *kerneltest.Sock) *kerneltest.Sock { return s.Set(unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, 1) }
	listener := ns.Listen(t, "127.0.0.1:0")
	client, server := ns.Pair(t, listener)
	flying := bind(ns.UDP(t, "127.0.0.1:0"))
	kerneltest.Hold(t, ns, listener, client, bind(server), bind(ns.Listen(t, "[::1]:0")),
		ns.UDP(t, "127.0.0.1:0"), bind(ns.UDP(t, "[::1]:0")), bind(ns.Raw(t, unix.AF_INET, unix.IPPROTO_ICMP)),
		ns.Unix(t, unix.SOCK_STREAM, "@bound"))
	ns.InFlight(t, flying)

	for name, source := range map[string]Source{"bpf": BPF, "netlink": Netlink, "procfs": Procfs} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, "/proc", source)
			c := connect(t, h)
			sql := fmt.Sprintf("SELECT family, protocol, local_address, local_port, remote_port, interface, pid_reason FROM socket_states WHERE net_namespace = '%d' AND ", ns.Inode)
			for _, condition := range []string{"= 'lo'", "= ''", "= 'nosuch0'", "IN ('lo', '')", "IN ('lo', 'nosuch0')", "> 'a'", "IS NULL", "IS NOT NULL"} {
				got, want := query(t, c, sql+"interface "+condition), query(t, c, sql+"+interface "+condition)
				slices.Sort(got)
				slices.Sort(want)
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("interface %s (-SQLite's +ours):\n%s", condition, diff)
				}
				if condition == "= 'lo'" && source != Procfs && len(slices.Compact(got)) != 5 {
					t.Errorf("%d sockets are bound to lo, want 5: %q", len(got), got)
				}
			}

			table := must(t)(h.SocketStates())
			s := tables.NewSession(context.Background())
			defer s.Close()
			var account tables.Account
			q := tables.NewQuery(s, table.Schema(), tables.Request{
				Used:        tables.AllUsed,
				Constraints: []tables.Constraint{in(table, ns), where(table, "interface", tables.OpEq, "lo")},
			})
			q.OnAccount(func(a tables.Account) { account = a })
			if err := tables.Run(s.Context(), table, q, func(tables.Row) bool { return true }); err != nil {
				t.Fatal(err)
			}
			if !slices.Contains(account.Pushed, "interface") {
				t.Errorf("account %+v", account)
			}
		})
	}
}

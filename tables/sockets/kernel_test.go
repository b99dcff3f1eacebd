package sockets

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sockql/tables"
	"sockql/tables/internal/kerneltest"
)

// eachSource runs a test with the text of procfs, with sock_diag and with BPF.
func eachSource(t *testing.T, f func(t *testing.T, h *Host)) {
	for _, source := range []Source{Procfs, Auto, BPF} {
		t.Run(string(source), func(t *testing.T) { f(t, newHost(t, "/proc", source)) })
	}
}

// noOwner is the reason of sockets that nobody holds: even root is refused a
// process's descriptors in some sandboxes, and a container shows its own
// processes only.
func noOwner(t *testing.T, h *Host) string {
	t.Helper()
	if !h.proc.ShowsHost() {
		return "denied"
	}
	_, warnings := ask(t, must(t)(h.ProcessOpenSockets()), "pid")
	for _, w := range warnings {
		if errors.Is(w, fs.ErrPermission) {
			return "denied"
		}
	}
	return "no owner"
}

// in restricts a table to a namespace.
func in(table tables.Table, ns *kerneltest.Namespace) tables.Constraint {
	return where(table, "net_namespace", tables.OpEq, fmt.Sprint(ns.Inode))
}

// port returns the number in which a raw socket shows its protocol.
func endpoints(local, remote netip.AddrPort) string {
	unspecified := netip.IPv4Unspecified()
	if local.Addr().Is6() {
		unspecified = netip.IPv6Unspecified()
	}
	if !remote.IsValid() {
		remote = netip.AddrPortFrom(unspecified, 0)
	}
	return fmt.Sprintf("%s|%s|%d|%d", local.Addr(), remote.Addr(), local.Port(), remote.Port())
}

func wantRows(t *testing.T, got, want []string) {
	t.Helper()
	got, want = sorted(got), sorted(want)
	for _, w := range want {
		if !slices.Contains(got, w) {
			t.Errorf("missing %q", w)
		}
	}
	if t.Failed() || !slices.Equal(got, want) {
		t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// TestKernelStates makes a socket in each state of TCP.
func TestKernelStates(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
		ns := kerneltest.NewNamespace(t)
		states := ns.States(t, addr)
		kerneltest.Hold(t, ns) // text is read through a process in the namespace
		eachSource(t, func(t *testing.T, h *Host) {
			reason := noOwner(t, h)
			for _, table := range []tables.Table{must(t)(h.ProcessOpenSockets()), must(t)(h.SocketStates())} {
				got, _ := ask(t, table, "pid fd socket protocol local_address remote_address local_port remote_port state net_namespace pid_reason is_listener", in(table, ns))
				for _, s := range states {
					holder := "-1|-1|0"
					tail := reason
					if s.Sock != nil {
						holder = fmt.Sprintf("%d|%d|%d", os.Getpid(), s.Sock.FD, s.Sock.Inode())
						tail = ""
					}
					listener := 0
					if s.State == 10 {
						listener = 1
					}
					want := fmt.Sprintf("%s|6|%s|%s|%d|%s|%d", holder, endpoints(s.Local, s.Remote), tcpStates[s.State-1].osquery, ns.Inode, tail, listener)
					if n := count(got, want); n != 1 {
						t.Errorf("%s: %d rows %q among\n%s", table.Schema().Name, n, want, strings.Join(got, "\n"))
					}
				}
			}
		})
	}
}

func count(rows []string, row string) int {
	n := 0
	for _, r := range rows {
		if r == row {
			n++
		}
	}
	return n
}

// TestKernelKinds makes a socket of every kind that osquery knows.
func TestKernelKinds(t *testing.T) {
	ns := kerneltest.NewNamespace(t)
	names := kerneltest.UnixNames(t)
	udp := ns.UDP(t, "127.0.0.1:0")
	udp6 := ns.UDP(t, "[::1]:0")
	connected := ns.UDP(t, "127.0.0.1:0").Connect(udp.Local().String())
	raw := ns.Raw(t, unix.AF_INET, unix.IPPROTO_ICMP)
	raw6 := ns.Raw(t, unix.AF_INET6, 89)
	ping := ns.Ping(t, "127.0.0.1:77")
	dual := ns.ListenDual(t)
	mapped, accepted := ns.Pair(t, dual)
	packet := ns.Packet(t, unix.SOCK_RAW, unix.ETH_P_ARP)
	stream := ns.Unix(t, unix.SOCK_STREAM, names[0]).Listen(5)
	seqpacket := ns.Unix(t, unix.SOCK_SEQPACKET, names[1]).Listen(5)
	datagram := ns.Unix(t, unix.SOCK_DGRAM, names[5])
	client, server := ns.UnixConnection(t, stream)
	route := ns.Netlink(t, unix.NETLINK_ROUTE)
	socks := []*kerneltest.Sock{udp, udp6, connected, raw, raw6, ping, dual, mapped, accepted, packet, stream, seqpacket, datagram, client, server, route}
	holder := kerneltest.Hold(t, ns, socks...)
	type expected struct{ open, listening string }
	want := []expected{
		{"2|17|" + endpoints(udp.Local(), netip.AddrPort{}) + "|||1", "%d|17|2|127.0.0.1||NULL|1"},
		{"10|17|" + endpoints(udp6.Local(), netip.AddrPort{}) + "|||1", "%d|17|10|::1||NULL|1"},
		{"2|17|" + endpoints(connected.Local(), udp.Local()) + "|||0", ""},
		{"2|255|0.0.0.0|0.0.0.0|1|0|||0", "1|255|2|0.0.0.0||NULL|0"},
		{"10|255|::|::|89|0|||0", "89|255|10|::||NULL|0"},
		{"2|1|127.0.0.1|0.0.0.0|77|0|||0", "77|1|2|127.0.0.1||NULL|0"},
		{"10|6|::|::|" + fmt.Sprint(dual.Local().Port()) + "|0||LISTEN|1", "%d|6|10|::||NULL|1"},
		{"2|6|" + endpoints(mapped.Local(), mapped.Remote()) + "||ESTABLISHED|0", ""},
		{"10|6|" + fmt.Sprintf("::ffff:127.0.0.1|::ffff:127.0.0.1|%d|%d", mapped.Remote().Port(), mapped.Local().Port()) + "||ESTABLISHED|0", ""},
		{"17|2054|||0|0||NONE|0", "0|2054|17|||NULL|0"},
		{"1|0|||0|0|" + names[0] + "||1", "0|0|1|NULL||" + names[0] + "|1"},
		{"1|0|||0|0|" + names[1] + "||1", "0|0|1|NULL||" + names[1] + "|1"},
		{"1|0|||0|0|@abstract||1", "0|0|1|NULL||@abstract|1"},
		{"1|0|||0|0|||0", ""},
		{"1|0|||0|0|" + names[0] + "||0", "0|0|1|NULL||" + names[0] + "|0"},
		{"16|0|||0|0|||0", ""},
	}
	eachSource(t, func(t *testing.T, h *Host) {
		table := must(t)(h.ProcessOpenSockets())
		listening := must(t)(h.ListeningPorts())
		got, _ := ask(t, table, "pid fd socket family protocol local_address remote_address local_port remote_port path state is_listener net_namespace pid_reason",
			where(table, "pid", tables.OpEq, holder.PID))
		gotListening, _ := ask(t, listening, "pid port protocol family address net_namespace path is_listener fd socket", where(listening, "pid", tables.OpEq, holder.PID))
		var wantOpen, wantListening []string
		for i, w := range want {
			wantOpen = append(wantOpen, fmt.Sprintf("%d|%d|%d|%s|%d|", holder.PID, holder.FDs[i], socks[i].Inode(), w.open, ns.Inode))
			if w.listening == "" {
				continue
			}
			if strings.Contains(w.listening, "%d") {
				w.listening = fmt.Sprintf(w.listening, socks[i].Local().Port())
			}
			w.listening = strings.Replace(w.listening, "||", fmt.Sprintf("|%d|", ns.Inode), 1)
			if socks[i] == packet { // its address is empty
				w.listening = fmt.Sprintf("0|2054|17||%d|NULL|0", ns.Inode)
			}
			wantListening = append(wantListening, fmt.Sprintf("%d|%s|%d|%d", holder.PID, w.listening, holder.FDs[i], socks[i].Inode()))
		}
		wantRows(t, got, wantOpen)
		wantRows(t, gotListening, wantListening)
	})
}

// TestKernelUnixNames compares names byte by byte.
func TestKernelUnixNames(t *testing.T) {
	ns := kerneltest.NewNamespace(t)
	names := kerneltest.UnixNames(t)
	var socks []*kerneltest.Sock
	for _, name := range names {
		socks = append(socks, ns.Unix(t, unix.SOCK_DGRAM, name))
	}
	holder := kerneltest.Hold(t, ns, socks...)
	eachSource(t, func(t *testing.T, h *Host) {
		table := must(t)(h.SocketStates())
		got, _ := ask(t, table, "fd path path_bytes path_abstract", where(table, "pid", tables.OpEq, holder.PID))
		var want []string
		for i, name := range names {
			shown := strings.ReplaceAll(name, "\x00", "@")
			abstract := 0
			if name[0] == 0 {
				abstract = 1
			}
			if h.source == Procfs && (strings.HasPrefix(shown, "@") || strings.Contains(name, "\n")) {
				want = append(want, fmt.Sprintf("%d|%s|NULL|NULL", holder.FDs[i], shown))
				continue
			}
			want = append(want, fmt.Sprintf("%d|%s|%s|%d", holder.FDs[i], shown, name, abstract))
		}
		wantRows(t, got, want)
	})
}

// TestKernelHolders counts the rows of sockets that several descriptors share.
func TestKernelHolders(t *testing.T) {
	ns := kerneltest.NewNamespace(t)
	shared := ns.Listen(t, "127.0.0.1:0")
	inode := shared.Inode()
	dup := shared.Dup()
	var holders []*kerneltest.Holder
	for range 3 {
		holders = append(holders, kerneltest.Hold(t, ns, shared, dup))
	}
	thread := kerneltest.HoldWith(t, kerneltest.HoldOptions{Namespace: ns, OwnTable: true}, shared)
	lone := ns.Listen(t, "127.0.0.1:0")
	loneInode := lone.Inode()
	ns.InFlight(t, lone)
	shared.Close()
	dup.Close()
	eachSource(t, func(t *testing.T, h *Host) {
		table := must(t)(h.SocketStates())
		got, _ := ask(t, table, "pid tid fd socket pid_reason", in(table, ns), where(table, "family", tables.OpEq, 2))
		var want []string
		for _, holder := range holders {
			for _, fd := range holder.FDs {
				want = append(want, fmt.Sprintf("%d|%d|%d|%d|", holder.PID, holder.PID, fd, inode))
			}
		}
		want = append(want, fmt.Sprintf("%d|%d|%d|%d|", thread.PID, thread.TID, thread.FDs[0], inode))
		want = append(want, fmt.Sprintf("-1|-1|-1|%d|%s", loneInode, noOwner(t, h)))
		wantRows(t, got, want)

		c := connect(t, h)
		from := fmt.Sprintf(" from socket_states where family = 2 and net_namespace = '%d'", ns.Inode)
		// A plus sign takes the push-down from a column.
		without := fmt.Sprintf(" from socket_states where +family = 2 and +net_namespace = '%d'", ns.Inode)
		for sql, want := range map[string]string{
			"select count(*)":                                      "8",
			"select count(pid), count(distinct pid)":               "8|5",
			"select state, count(*) %s group by state":             "LISTEN|8",
			"select distinct state":                                "LISTEN",
			"select count(*) from (select distinct socket %s)":     "2",
			"select count(*) from (select distinct socket, fd %s)": "3",
		} {
			for _, from := range []string{from, without} {
				statement := sql + from
				if strings.Contains(sql, "%s") {
					statement = fmt.Sprintf(sql, from)
				}
				if got := query(t, c, statement); len(got) != 1 || got[0] != want {
					t.Errorf("%s: got %q, want %q", statement, got, want)
				}
			}
		}
	})
}

// TestKernelClassicQuery runs the join that osquery's users write.
func TestKernelClassicQuery(t *testing.T) {
	ns := kerneltest.NewNamespace(t)
	client, server := ns.Pair(t, ns.Listen(t, "127.0.0.1:0"))
	holder := kerneltest.Hold(t, ns, client)
	cwd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	eachSource(t, func(t *testing.T, h *Host) {
		got := query(t, connect(t, h), "select pos.*, p.cwd, p.cmdline from process_open_sockets pos left join processes p where pos.family=2 and pos.pid=p.pid and net_namespace<>0")
		for _, w := range []string{
			fmt.Sprintf("%d|%d|%d|2|6|%s||ESTABLISHED|%d|%s|%s", holder.PID, holder.FDs[0], client.Inode(), endpoints(client.Local(), client.Remote()), ns.Inode, cwd, os.Args[0]),
			fmt.Sprintf("%d|%d|%d|2|6|%s||ESTABLISHED|%d|%s|%s", os.Getpid(), server.FD, server.Inode(), endpoints(server.Local(), server.Remote()), ns.Inode, cwd, strings.Join(os.Args, " ")),
		} {
			if count(got, w) != 1 {
				t.Errorf("missing %q among\n%s", w, strings.Join(got, "\n"))
			}
		}
	})
}

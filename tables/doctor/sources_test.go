package doctor_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sockql/tables/internal/kerneltest"
)

// A sourceCase is one row of docs/sources.md: sockets, and how a view of the
// host shows them.
type sourceCase struct {
	name string
	show func(*view) string
}

// shown says how the rows of a socket look: not at all, without a holder, with
// a holder but of unknown kind, or all right. wrong is what must not be.
func shown(v *view, p place, cells ...string) string {
	rows := v.of(p.Inode)
	if len(rows) == 0 {
		return "no"
	}
	for _, r := range rows {
		switch {
		case r["family"] == "":
			return "inode only"
		case r["pid"] == "-1":
			return "without holder"
		case r["pid"] != fmt.Sprint(p.PID):
			return "wrong holder"
		case r["net_namespace"] != "" && r["net_namespace"] != fmt.Sprint(p.Netns):
			return "wrong namespace"
		}
		for i := 0; i < len(cells); i += 2 {
			if r[cells[i]] != cells[i+1] {
				return "without " + cells[i]
			}
		}
	}
	return "yes"
}

// TestSources holds what each source sees against docs/sources.md.
func TestSources(t *testing.T) {
	kerneltest.RequireRoot(t)
	requireBPF(t)
	s := newScene(t)
	var cases []sourceCase
	add := func(name string, show func(*view) string) { cases = append(cases, sourceCase{name, show}) }
	add("TCP in a namespace where a process lives", func(v *view) string { return shown(v, s.Other, "state", "LISTEN") })
	add("TCP in a namespace where no process lives, held from elsewhere", func(v *view) string { return shown(v, s.Lone, "state", "LISTEN") })
	add("TCP without a file in a namespace that only a mount keeps", func(v *view) string {
		for _, r := range v.rows {
			if r["local_port"] == fmt.Sprint(s.Mounted.Port) && r["net_namespace"] == fmt.Sprint(s.Mounted.Netns) && r["state"] == "FIN_WAIT1" {
				return "yes"
			}
		}
		return "no"
	})
	add("TCP that is bound, but neither listens nor is connected", func(v *view) string {
		return shown(v, s.Bound, "local_port", fmt.Sprint(s.Bound.Port))
	})
	add("TCP that is not bound", func(v *view) string { return shown(v, s.Unbound, "protocol", "6") })
	unasked := addKinds(t, add)
	addHolders(t, add)
	addStates(t, add)
	addNames(t, add)

	m := newMatrix("what is seen by", "procfs", "netlink", "bpf", "auto")
	for _, source := range m.columns {
		v := look(t, "", source)
		for _, c := range cases {
			m.set(c.name, source, c.show(v))
		}
	}
	m.compare(t, "sources.md", unasked...)
	if threads := kerneltest.ForeignThreads(t); threads != nil {
		t.Errorf("threads were left in other namespaces: %v", threads)
	}
}

// holds has a process hold a socket and returns where.
func holds(t *testing.T, ns *kerneltest.Namespace, sock *kerneltest.Sock) place {
	p := place{Inode: sock.Inode(), Netns: ns.Inode}
	p.PID = kerneltest.Hold(t, ns, sock).PID
	sock.Close()
	return p
}

// addKinds adds a socket of each kind, and returns the rows of those that this
// kernel does not have.
func addKinds(t *testing.T, add func(string, func(*view) string)) (unasked []string) {
	ns := kerneltest.NewNamespace(t)
	for _, k := range []struct {
		name                string
		family, typ, number int
		make                func() *kerneltest.Sock
		cells               []string
	}{
		{"UDP", unix.AF_INET, unix.SOCK_DGRAM, 0, func() *kerneltest.Sock { return ns.UDP(t, "127.0.0.1:0") }, []string{"protocol", "17"}},
		{"UDP-Lite", unix.AF_INET6, unix.SOCK_DGRAM, unix.IPPROTO_UDPLITE, func() *kerneltest.Sock { return ns.UDPLite(t, "[::1]:0") }, []string{"protocol", "136"}},
		{"raw", unix.AF_INET, unix.SOCK_RAW, 89, func() *kerneltest.Sock { return ns.Raw(t, unix.AF_INET, 89) }, []string{"protocol", "89"}},
		{"ping", unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP, func() *kerneltest.Sock { return ns.Ping(t, "127.0.0.1:70") }, []string{"protocol", "1", "local_port", "70"}},
		{"MPTCP", unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP, func() *kerneltest.Sock {
			return ns.Socket(t, unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP).Bind("127.0.0.1:0").Listen(1)
		}, nil},
		{"packet", unix.AF_PACKET, unix.SOCK_RAW, 0, func() *kerneltest.Sock { return ns.Packet(t, unix.SOCK_RAW, unix.ETH_P_ARP) }, []string{"type", "3"}},
		{"netlink", unix.AF_NETLINK, unix.SOCK_RAW, 0, func() *kerneltest.Sock { return ns.Netlink(t, unix.NETLINK_ROUTE) }, []string{"protocol", "0"}},
		{"vsock", unix.AF_VSOCK, unix.SOCK_STREAM, 0, func() *kerneltest.Sock { return ns.Vsock(t) }, []string{"type", "1"}},
		{"XDP", unix.AF_XDP, unix.SOCK_RAW, 0, func() *kerneltest.Sock { return ns.XDP(t) }, []string{"type", "3"}},
	} {
		fd, err := unix.Socket(k.family, k.typ|unix.SOCK_CLOEXEC, k.number)
		if err == nil {
			unix.Close(fd)
		} else if !errors.Is(err, unix.EACCES) { // ping sockets, outside of the namespace
			unasked = append(unasked, k.name)
			continue
		}
		p := holds(t, ns, k.make())
		if k.name == "MPTCP" {
			add(k.name, func(v *view) string {
				if v.where(p.Inode, "protocol", "262", "pid", fmt.Sprint(p.PID)) {
					return "yes"
				}
				return shown(v, p, "protocol", "262")
			})
			continue
		}
		add(k.name, func(v *view) string { return shown(v, p, k.cells...) })
	}
	return unasked
}

// addHolders adds sockets that are held in odd ways.
func addHolders(t *testing.T, add func(string, func(*view) string)) {
	ns := kerneltest.NewNamespace(t)
	sock := ns.Listen(t, "127.0.0.1:0")
	thread := kerneltest.HoldWith(t, kerneltest.HoldOptions{Namespace: ns, OwnTable: true}, sock)
	p := place{Inode: sock.Inode(), Netns: ns.Inode, PID: thread.PID}
	sock.Close()
	add("held by a thread with a descriptor table of its own", func(v *view) string { return shown(v, p, "tid", fmt.Sprint(thread.TID)) })

	sock = ns.Listen(t, "127.0.0.1:0")
	inode := sock.Inode()
	for range 5 {
		kerneltest.Hold(t, ns, sock)
	}
	sock.Close()
	add("rows of a socket that five processes hold", func(v *view) string { return fmt.Sprint(len(v.of(inode))) })

	sock = ns.Listen(t, "127.0.0.1:0")
	flying := place{Inode: sock.Inode(), Netns: ns.Inode}
	ns.InFlight(t, sock)
	add("in flight between processes (SCM_RIGHTS)", func(v *view) string { return shown(v, flying) })
}

// addStates adds connections that no file refers to.
func addStates(t *testing.T, add func(string, func(*view) string)) {
	ns := kerneltest.NewNamespace(t)
	seen := func(p kerneltest.State, name string) func(*view) string {
		return func(v *view) string {
			for _, r := range v.rows {
				if r["net_namespace"] == fmt.Sprint(ns.Inode) && r["state"] == name &&
					r["local_port"] == fmt.Sprint(p.Local.Port()) && r["remote_port"] == fmt.Sprint(p.Remote.Port()) {
					if r["pid"] == "-1" {
						return "without holder"
					}
					return "yes"
				}
			}
			return "no"
		}
	}
	named := map[uint8]string{4: "FIN_WAIT1", 6: "TIME_WAIT", 9: "LAST_ACK", 3: "SYN_RECV"}
	for _, state := range ns.States(t, "127.0.0.1:0") {
		if name := named[state.State]; name != "" && state.Sock == nil {
			add(name+" that no file refers to", seen(state, name))
		}
	}
	kerneltest.Hold(t, ns)
	quiet := kerneltest.NewNamespace(t)
	listener := quiet.Listen(t, "127.0.0.1:0")
	client := quiet.Dial(t, listener)
	local, remote := client.Remote(), client.Local()
	kerneltest.Hold(t, quiet, listener)
	add("established, but not yet accepted", func(v *view) string {
		for _, r := range v.rows {
			if r["net_namespace"] == fmt.Sprint(quiet.Inode) && r["local_port"] == fmt.Sprint(local.Port()) && r["remote_port"] == fmt.Sprint(remote.Port()) {
				return "without holder"
			}
		}
		return "no"
	})
	add("limit of a listener's queue", func(v *view) string {
		for _, r := range v.rows {
			if r["net_namespace"] == fmt.Sprint(quiet.Inode) && r["state"] == "LISTEN" {
				return yes(r["backlog_limit"] == "16")
			}
		}
		return "no"
	})
}

// addNames adds UNIX sockets with odd names.
func addNames(t *testing.T, add func(string, func(*view) string)) {
	ns := kerneltest.NewNamespace(t)
	dir, err := os.MkdirTemp("", "name")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for _, n := range []struct{ what, name string }{
		{"UNIX name with spaces", filepath.Join(dir, "with two spaces ")},
		{"UNIX name with a newline", filepath.Join(dir, "new\nline")},
		{"UNIX name that is not UTF-8", filepath.Join(dir, "\xff\xfe")},
		{"abstract UNIX name", "\x00abstract"},
		{"abstract UNIX name with NUL inside", "\x00nul\x00inside"},
	} {
		p := holds(t, ns, ns.Unix(t, unix.SOCK_DGRAM, n.name))
		add(n.what, func(v *view) string {
			rows := v.of(p.Inode)
			switch {
			case len(rows) != 1 || rows[0]["path"] != strings.ReplaceAll(n.name, "\x00", "@"):
				return "wrong"
			case rows[0]["path_bytes"] == n.name:
				return "exact"
			case rows[0]["path_bytes"] != "":
				return "wrong bytes"
			}
			return "path only"
		})
	}
	quiet := kerneltest.NewNamespace(t)
	listener := quiet.Unix(t, unix.SOCK_STREAM, "\x00waiting").Listen(4)
	kerneltest.Hold(t, quiet, listener)
	quiet.UnixDial(t, listener)
	add("UNIX connection that is not yet accepted", func(v *view) string {
		for _, r := range v.rows {
			if r["net_namespace"] == fmt.Sprint(quiet.Inode) && r["family"] == "1" && r["socket"] == "0" {
				return shown(&view{rows: []map[string]string{r}}, place{Netns: quiet.Inode})
			}
		}
		return "no"
	})
	a, b := ns.UnixPair(t, unix.SOCK_STREAM)
	pair := []uint64{a.Inode(), b.Inode()}
	kerneltest.Hold(t, ns, a, b)
	a.Close()
	b.Close()
	add("UNIX socket without a name", func(v *view) string {
		if slices.ContainsFunc(pair, func(inode uint64) bool { return len(v.of(inode)) != 1 }) {
			return "no"
		}
		return "yes"
	})
}

package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"sockql/tables/internal/netns"
	"sockql/tables/internal/procfs"
	"sockql/tables/internal/sockdiag"
	"sockql/tables/internal/socket"
)

// spaces enters the network namespaces of processes and of bind mounts.
func (e *examination) spaces(ctx context.Context) error {
	numbers := Check{Name: "namespaces", Status: OK, Needed: true}
	enter := Check{Name: "entering namespaces", Status: OK, Needed: true}
	mounted := Check{Name: "mounted namespaces", Status: OK, Needed: true}
	seen := map[uint64]bool{}
	var refused, failed, lone, unopened int
	var failure, mountFailure error
	own, err := netns.Current()
	if err != nil {
		return fmt.Errorf("doctor: %w", err)
	}
	for _, pid := range e.pids {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		inode, err := e.proc.NetNS(pid)
		if denied(err) {
			refused++
			continue
		}
		if err != nil || seen[inode] {
			continue
		}
		seen[inode] = true
		if inode == own {
			continue
		}
		h, err := netns.Open(filepath.Join(e.root, strconv.Itoa(int(pid)), "ns/net"))
		if err == nil {
			err = errors.Join(try(ctx, h), h.Close())
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			failed++
			failure = err
		}
	}
	numbers.Found = count(len(seen), "network namespace", "network namespaces") + " of processes"
	if hidden := e.hiddenSpaces(refused); hidden > 0 {
		numbers.Status = Limited
		numbers.Found += fmt.Sprintf(", and %d more without a number", hidden)
		numbers.Why, numbers.Remedy = e.lacks(unix.CAP_SYS_PTRACE)
		numbers.Why = "net_namespace shows 0 for those of " + count(refused, "process", "processes") + ": " + numbers.Why
	}
	enter.Found = fmt.Sprintf("%d of %s can be entered", len(seen)-failed, count(len(seen), "network namespace", "network namespaces"))
	if failed > 0 {
		enter.Status = Limited
		enter.Why, enter.Remedy = explain(e, failure, unix.CAP_SYS_ADMIN, unix.CAP_SYS_PTRACE)
		enter.Why = "the others' sockets are read as text, which lacks cookies, marks and sockets that are bound only: " + enter.Why
	}
	var warning error
	for _, m := range netns.Find(e.root, e.pids, func(err error) { warning = err }) {
		if seen[m.Inode] {
			continue
		}
		seen[m.Inode] = true
		lone++
		h, err := m.Open(e.root)
		if err == nil {
			err = errors.Join(try(ctx, h), h.Close())
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			unopened++
			mountFailure = err
		}
	}
	mounted.Found = count(lone, "namespace", "namespaces") + " without a process"
	switch {
	case unopened > 0:
		mounted.Status = Limited
		mounted.Why, mounted.Remedy = explain(e, mountFailure, unix.CAP_SYS_ADMIN, unix.CAP_SYS_PTRACE, unix.CAP_DAC_READ_SEARCH)
		mounted.Why = fmt.Sprintf("the sockets of %d are invisible: %s", unopened, mounted.Why)
	case warning != nil:
		mounted.Status, mounted.Why = Limited, warning.Error()
		_, mounted.Remedy = e.lacks(unix.CAP_SYS_PTRACE)
	}
	e.add(numbers)
	e.add(enter)
	e.add(mounted)
	return nil
}

// hiddenSpaces returns how many namespaces are known by no number, because
// their processes do not tell.
func (e *examination) hiddenSpaces(refused int) int {
	if refused == 0 {
		return 0
	}
	told := map[uint64]bool{}
	untold := map[uint64]bool{}
	for _, pid := range e.pids {
		identity, err := e.proc.NetIdentity(pid)
		if err != nil {
			continue
		}
		if _, err := e.proc.NetNS(pid); denied(err) {
			untold[identity] = true
		} else if err == nil {
			told[identity] = true
		}
	}
	n := 0
	for identity := range untold {
		if !told[identity] {
			n++
		}
	}
	return n
}

// explain says why something failed and what would help.
func explain(e *examination, err error, capabilities ...int) (why, remedy string) {
	if denied(err) {
		return e.lacks(capabilities...)
	}
	return err.Error(), "report it"
}

// try asks for a small dump inside a namespace.
func try(ctx context.Context, h *netns.Handle) error {
	var conn *sockdiag.Conn
	err := netns.Do(h, func() (err error) {
		conn, err = sockdiag.Open()
		return err
	})
	if err != nil {
		return err
	}
	req := socket.Request{Kinds: socket.Unix, States: socket.AllStates}
	_, err = conn.Dump(ctx, &req, nil, func(*socket.Socket) bool { return false })
	return errors.Join(err, conn.Close())
}

// A diagKind is what sock_diag lists of one protocol.
type diagKind struct {
	name     string
	kinds    socket.Kind
	protocol string // as /proc/<pid>/net/protocols names it
	module   string
}

var diagKinds = [...]diagKind{
	{"tcp", socket.TCP4 | socket.TCP6, "TCP", "tcp_diag"},
	{"udp", socket.UDP4 | socket.UDP6, "UDP", "udp_diag"},
	{"udplite", socket.UDPLite4 | socket.UDPLite6, "UDP-Lite", "udp_diag"},
	{"raw", socket.Raw4 | socket.Raw6, "RAW", "raw_diag"},
	{"mptcp", socket.MPTCP4 | socket.MPTCP6, "MPTCP", "mptcp_diag"},
	{"sctp", socket.SCTP4 | socket.SCTP6, "SCTP", "sctp_diag"},
	{"dccp", socket.DCCP4 | socket.DCCP6, "DCCP", "dccp_diag"},
	{"unix", socket.Unix, "UNIX", "unix_diag"},
	{"packet", socket.Packet, "PACKET", "af_packet_diag"},
	{"netlink", socket.Netlink, "NETLINK", "netlink_diag"},
	{"vsock", socket.Vsock, "AF_VSOCK", "vsock_diag"},
	{"xdp", socket.XDP, "XDP", "xsk_diag"},
	{"tipc", socket.TIPC, "TIPC", "tipc"},
	{"smc", socket.SMC, "SMC", "smc_diag"},
}

func kindName(kind socket.Kind) string {
	for _, k := range diagKinds {
		if k.kinds&kind != 0 {
			if kind&socket.Inet6 != 0 {
				return k.name + "6"
			}
			return k.name
		}
	}
	if kind == socket.ICMP6 {
		return "icmp6"
	}
	return "icmp"
}

// diag asks sock_diag for each kind of socket, until the first one comes.
func (e *examination) diag(ctx context.Context) error {
	conn, err := sockdiag.Open()
	if err != nil {
		e.add(Check{
			Name: "sock_diag", Status: Missing, Found: "sock_diag cannot be asked", Why: err.Error(), Needed: true,
			Remedy: "a kernel with CONFIG_INET_DIAG and CONFIG_UNIX_DIAG, and a sandbox that allows AF_NETLINK sockets; text is read meanwhile",
		})
		return nil
	}
	defer conn.Close()
	protocols := e.protocols()
	for _, k := range diagKinds {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		before := len(conn.Refusals())
		seen := false
		req := socket.Request{Kinds: k.kinds, States: socket.AllStates}
		answered, err := conn.Dump(ctx, &req, nil, func(*socket.Socket) bool {
			seen = true
			return false
		})
		c := Check{Name: "sock_diag " + k.name, Status: OK, Found: "listed"}
		if !seen && answered != k.kinds {
			e.explainRefusal(&c, k, protocols, err, conn.Refusals()[before:])
		}
		e.add(c)
	}
	return nil
}

func (e *examination) explainRefusal(c *Check, k diagKind, protocols []byte, err error, refusals []sockdiag.Refusal) {
	if len(refusals) > 0 {
		err = refusals[len(refusals)-1].Err
	}
	if protocols != nil && !hasProtocol(protocols, k.protocol) {
		c.Status, c.Found = Absent, "this kernel has, or has loaded, no such sockets"
		return
	}
	c.Status, c.Found = Limited, "not listed by sock_diag; read as text instead"
	if procfs.Kinds&k.kinds != k.kinds {
		c.Status, c.Found = Missing, "not listed; those that a process holds are found by its descriptors"
	}
	switch {
	case err == nil:
		c.Why = "the kernel did not answer"
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EINVAL), errors.Is(err, unix.EOPNOTSUPP):
		c.Why = "the kernel has no diag module for them"
	default:
		c.Why = err.Error()
	}
	c.Remedy = fmt.Sprintf("modprobe %s, if this kernel was built with it", k.module)
}

// protocols returns /proc/<pid>/net/protocols of a process, or nothing.
func (e *examination) protocols() []byte {
	pid := unix.Getpid()
	if !e.proc.IsHost() {
		pid = int(e.pids[0])
	}
	b, err := os.ReadFile(filepath.Join(e.root, strconv.Itoa(pid), "net/protocols"))
	if err != nil {
		return nil
	}
	return b
}

// hasProtocol looks for a name in the first column of what proto_seq_show
// prints (net/core/sock.c).
func hasProtocol(protocols []byte, name string) bool {
	for line := range strings.Lines(string(protocols)) {
		if first, _, _ := strings.Cut(line, " "); first == name {
			return true
		}
	}
	return false
}

// marks asks for a UDP socket of our own, and whether its mark comes along.
func (e *examination) marks(ctx context.Context) error {
	c := Check{Name: "marks", Status: OK, Found: "sock_diag tells the marks of sockets"}
	known, err := markOfOwn(ctx)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		c.Status, c.Found, c.Why, c.Remedy = Missing, "no marks", err.Error(), "see sock_diag udp"
	case !known:
		c.Status, c.Found = Missing, "the column mark is NULL"
		c.Why, c.Remedy = e.lacks(unix.CAP_NET_ADMIN)
		if e.has(unix.CAP_NET_ADMIN) {
			c.Why, c.Remedy = "CAP_NET_ADMIN is not one of the network namespace's user namespace, or the kernel is too old", "Linux 4.20, and CAP_NET_ADMIN for the namespace"
		}
	}
	e.add(c)
	return nil
}

func markOfOwn(ctx context.Context) (known bool, err error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false, fmt.Errorf("socket: %w", err)
	}
	defer unix.Close(fd)
	loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: loopback.As4()}); err != nil {
		return false, fmt.Errorf("bind: %w", err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return false, fmt.Errorf("getsockname: %w", err)
	}
	port := uint16(name.(*unix.SockaddrInet4).Port)
	conn, err := sockdiag.Open()
	if err != nil {
		return false, err
	}
	defer conn.Close()
	found := false
	req := socket.Request{
		Kinds: socket.UDP4, States: socket.AllStates, Fields: socket.FieldMark,
		LocalPorts: socket.Ports{Restricted: true, Lo: port, Hi: port},
	}
	_, err = conn.Dump(ctx, &req, nil, func(s *socket.Socket) bool {
		if s.LocalPort == port && s.Local == loopback {
			found, known = true, s.Known&socket.FieldMark != 0
		}
		return true
	})
	if err == nil && !found {
		err = errors.New("sock_diag does not show a socket that is there")
	}
	return known, err
}

package kerneltest

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience bounds the wait for the kernel to reach a state; on loopback it
// gets there at once.
const patience = 10 * time.Second

// The states of include/net/tcp_states.h.
const (
	tcpEstablished = 1
	tcpSynSent     = 2
	tcpSynRecv     = 3
	tcpFinWait1    = 4
	tcpFinWait2    = 5
	tcpTimeWait    = 6
	tcpCloseWait   = 8
	tcpLastAck     = 9
	tcpListen      = 10
	tcpClosing     = 11
)

// Listen makes a TCP listener with a backlog of 16. An IPv6 one is IPv6 only.
func (ns *Namespace) Listen(tb testing.TB, addr string) *Sock {
	tb.Helper()
	s := ns.Socket(tb, domain(addr), unix.SOCK_STREAM, 0)
	if domain(addr) == unix.AF_INET6 {
		s.Set(unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
	}
	return s.Bind(addr).Listen(16)
}

// ListenDual makes a TCP listener on every address of both families.
func (ns *Namespace) ListenDual(tb testing.TB) *Sock {
	tb.Helper()
	s := ns.Socket(tb, unix.AF_INET6, unix.SOCK_STREAM, 0)
	return s.Set(unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0).Bind("[::]:0").Listen(16)
}

// Dial connects to a listener and leaves the connection in its queue, not yet
// accepted. To a listener on every address of both families it speaks IPv4, so
// that what is accepted has IPv4-mapped addresses.
func (ns *Namespace) Dial(tb testing.TB, listener *Sock) *Sock {
	tb.Helper()
	s := ns.connect(tb, listener)
	ns.await(tb, State{State: tcpEstablished, Local: s.Remote(), Remote: s.Local()})
	return s
}

func (ns *Namespace) connect(tb testing.TB, listener *Sock) *Sock {
	tb.Helper()
	to := dialable(listener.Local())
	return ns.Socket(tb, domain(to), unix.SOCK_STREAM, 0).Connect(to)
}

func dialable(ap netip.AddrPort) string {
	if ap.Addr().IsUnspecified() {
		ap = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), ap.Port())
	}
	return ap.String()
}

// Pair connects to a listener, in whose queue no connection waits, and accepts
// the connection.
func (ns *Namespace) Pair(tb testing.TB, listener *Sock) (client, server *Sock) {
	tb.Helper()
	client = ns.connect(tb, listener)
	server = listener.Accept()
	if server.Remote().Port() != client.Local().Port() {
		tb.Fatalf("accepted %v in place of %v: a connection waited already", server.Remote(), client.Local())
	}
	return client, server
}

// BoundInactive makes a TCP socket that is bound, but neither listens nor is
// connected.
func (ns *Namespace) BoundInactive(tb testing.TB, addr string) *Sock {
	tb.Helper()
	return ns.Socket(tb, domain(addr), unix.SOCK_STREAM, 0).Bind(addr)
}

// MPTCP makes an MPTCP listener on 127.0.0.1 and a connection to it.
func (ns *Namespace) MPTCP(tb testing.TB) (listener, client, server *Sock) {
	tb.Helper()
	listener = ns.Socket(tb, unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP).Bind("127.0.0.1:0").Listen(16)
	client = ns.Socket(tb, unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP).Connect(listener.Local().String())
	return listener, client, listener.Accept()
}

// A State is a TCP socket in a certain state.
type State struct {
	State         uint8 // the code of include/net/tcp_states.h
	Local, Remote netip.AddrPort
	// Sock is the socket's descriptor, nil where the kernel keeps it without
	// one: an orphan, TIME_WAIT, SYN_RECV.
	Sock *Sock
}

// States returns a socket in each of the eleven TCP states but CLOSE, in the
// order of their codes, of the family of addr, which is a loopback address
// with port 0. FIN_WAIT1 and LAST_ACK come twice: with a descriptor and as
// orphans. It waits until /proc/net/tcp shows all of them. More sockets are
// left over from making them.
func (ns *Namespace) States(tb testing.TB, addr string) []State {
	tb.Helper()
	listener := ns.Listen(tb, addr)
	var states []State
	add := func(state uint8, s *Sock, local, remote netip.AddrPort) {
		states = append(states, State{State: state, Local: local, Remote: remote, Sock: s})
	}
	held := func(state uint8, s *Sock) { add(state, s, s.Local(), s.Remote()) }

	client, _ := ns.Pair(tb, listener)
	held(tcpEstablished, client)

	// The answer to its SYN is dropped, so that one end stays in SYN_SENT and
	// the other is a request that waits for the handshake's last packet.
	client = ns.Socket(tb, domain(addr), unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0).Deafen()
	if err := unix.Connect(client.FD, sockaddr(tb, listener.Local().String())); err != unix.EINPROGRESS {
		tb.Fatalf("connect without an answer: %v", err)
	}
	add(tcpSynSent, client, client.Local(), listener.Local())
	add(tcpSynRecv, nil, listener.Local(), client.Local())

	client, server := ns.Pair(tb, listener)
	server.Deafen()
	client.Shutdown(unix.SHUT_WR)
	held(tcpFinWait1, client)
	client, server = ns.Pair(tb, listener)
	server.Deafen()
	add(tcpFinWait1, nil, client.Local(), client.Remote())
	client.Close()

	client, server = ns.Pair(tb, listener)
	client.Shutdown(unix.SHUT_WR)
	held(tcpFinWait2, client)
	held(tcpCloseWait, server)
	ns.await(tb, states[len(states)-2:]...)

	client, server = ns.Pair(tb, listener)
	add(tcpTimeWait, nil, client.Local(), client.Remote())
	gone := State{State: tcpFinWait2, Local: client.Local(), Remote: client.Remote()}
	client.Close()
	ns.await(tb, gone)
	server.Close()

	for _, orphan := range []bool{false, true} {
		client, server = ns.Pair(tb, listener)
		client.Shutdown(unix.SHUT_WR)
		ns.await(tb, State{State: tcpCloseWait, Local: server.Local(), Remote: server.Remote()})
		client.Deafen()
		if orphan {
			add(tcpLastAck, nil, server.Local(), server.Remote())
			server.Close()
		} else {
			held(tcpLastAck, server)
			server.Shutdown(unix.SHUT_WR)
		}
	}

	add(tcpListen, listener, listener.Local(), netip.AddrPort{})

	// The server never hears of the client's FIN and sends its own: both are
	// closing and neither is acknowledged.
	client, server = ns.Pair(tb, listener)
	server.Deafen()
	client.Shutdown(unix.SHUT_WR)
	held(tcpClosing, client)
	server.Shutdown(unix.SHUT_WR)

	ns.await(tb, states...)
	return states
}

// await returns once /proc/net/tcp or tcp6 shows all the states.
func (ns *Namespace) await(tb testing.TB, states ...State) {
	tb.Helper()
	var text []byte
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		text = text[:0]
		ns.Do(tb, func() {
			for _, name := range []string{"tcp", "tcp6"} {
				b, err := os.ReadFile(filepath.Join(procRoot, "thread-self/net", name))
				if err != nil {
					tb.Fatal(err)
				}
				text = append(text, b...)
			}
		})
		missing := missingState(text, states)
		if missing == nil {
			return
		}
		if time.Now().After(deadline) {
			tb.Fatalf("the kernel does not show state %d of %v to %v:\n%s", missing.State, missing.Local, missing.Remote, text)
		}
	}
}

func missingState(text []byte, states []State) *State {
	for i, s := range states {
		// A connection between a mapped and an IPv4 address stands in both files.
		plain := fmt.Sprintf(": %s %s %02X ", hexAddr(s.Local, false), hexAddr(s.Remote, s.Local.Addr().Is6()), s.State)
		mapped := fmt.Sprintf(": %s %s %02X ", hexAddr(s.Local, true), hexAddr(s.Remote, true), s.State)
		if !bytes.Contains(text, []byte(plain)) && !bytes.Contains(text, []byte(mapped)) {
			return &states[i]
		}
	}
	return nil
}

// hexAddr writes an address as /proc/net/tcp does: 32-bit words in host byte
// order, proc_net_tcp(5).
func hexAddr(ap netip.AddrPort, six bool) string {
	b := []byte{0, 0, 0, 0}
	switch a := ap.Addr(); {
	case a.Is4() && !six:
		b = a.AsSlice()
	case a.IsValid():
		w := a.As16()
		b = w[:]
	case six:
		b = make([]byte, 16)
	}
	for i := 0; i < len(b); i += 4 {
		binary.NativeEndian.PutUint32(b[i:], binary.BigEndian.Uint32(b[i:]))
	}
	return strings.ToUpper(hex.EncodeToString(b)) + fmt.Sprintf(":%04X", ap.Port())
}

package sockdiag

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"sockql/tables/internal/kerneltest"
	"sockql/tables/internal/socket"
)

// audit checks a program by the kernel's rules (inet_diag_bc_audit).
func audit(program []byte) error {
	starts := map[int]bool{len(program): true}
	for at := 0; at < len(program); {
		starts[at] = true
		if at+opSize > len(program) || program[at+1] < opSize || program[at+1]%4 != 0 {
			return fmt.Errorf("at %d: length %d", at, program[at+1])
		}
		at += int(program[at+1])
	}
	for at := 0; at < len(program); at += int(program[at+1]) {
		least, left := opSize, len(program)-at
		switch program[at] {
		case opJump:
		case opLocalFrom, opLocalTo, opRemoteFrom, opRemoteTo:
			least += 4
		case opLocalMatch, opRemoteMatch:
			least += 8
			if left < least {
				return fmt.Errorf("at %d: no room for a condition", at)
			}
			size := map[byte]int{unix.AF_INET: 4, unix.AF_INET6: 16}[program[at+4]]
			if size == 0 || int(program[at+5]) > 8*size {
				return fmt.Errorf("at %d: family %d, prefix %d", at, program[at+4], program[at+5])
			}
			least += size
		case opInterface:
			least += 4
		default:
			return fmt.Errorf("at %d: code %d", at, program[at])
		}
		yes, no := int(program[at+1]), int(binary.NativeEndian.Uint16(program[at+2:]))
		if yes < least || yes > left+4 || no < least || no > left+4 || no%4 != 0 {
			return fmt.Errorf("at %d: code %d goes on at %d or %d of %d", at, program[at], yes, no, left)
		}
		if no < left && !starts[at+no] {
			return fmt.Errorf("at %d: jumps to %d, into an operation", at, at+no)
		}
	}
	return nil
}

// accepts runs a program as the kernel does (inet_diag_bc_run).
func accepts(program []byte, s *socket.Socket) bool {
	at := 0
	for at < len(program) {
		yes := true
		port := func() uint16 { return binary.NativeEndian.Uint16(program[at+6:]) }
		switch program[at] {
		case opJump:
			yes = false
		case opLocalFrom:
			yes = s.LocalPort >= port()
		case opLocalTo:
			yes = s.LocalPort <= port()
		case opRemoteFrom:
			yes = s.RemotePort >= port()
		case opRemoteTo:
			yes = s.RemotePort <= port()
		case opLocalMatch, opRemoteMatch:
			have := s.Local
			if program[at] == opRemoteMatch {
				have = s.Remote
			}
			want, _ := netip.AddrFromSlice(program[at+12 : at+int(program[at+1])])
			yes = have == want || have.Is4In6() && want.Is4() && have.Unmap() == want
		case opInterface:
			yes = s.Interface == binary.NativeEndian.Uint32(program[at+4:])
		}
		if yes {
			at += int(program[at+1])
		} else {
			at += int(binary.NativeEndian.Uint16(program[at+2:]))
		}
	}
	return at == len(program)
}

func wants(req *socket.Request, s *socket.Socket) bool {
	has := func(list []netip.Addr, a netip.Addr) bool { return list == nil || slices.Contains(list, a) }
	return req.LocalPorts.Has(s.LocalPort) && req.RemotePorts.Has(s.RemotePort) &&
		has(req.LocalAddrs, s.Local) && has(req.RemoteAddrs, s.Remote) && (!req.Bound || s.Interface != 0)
}

var (
	somePorts = []uint16{0, 1, 22, 80, 81, 82, 443, 8080, 65534, 65535}
	someAddrs = []netip.Addr{
		netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("0.0.0.0"),
		netip.MustParseAddr("::1"), netip.MustParseAddr("::"), netip.MustParseAddr("::ffff:127.0.0.1"), netip.MustParseAddr("fe80::1"),
	}
)

func someOf[T any](r *rand.Rand, from []T) []T {
	var list []T
	for _, v := range from {
		if r.IntN(3) == 0 {
			list = append(list, v)
		}
	}
	return list
}

func randomPorts(r *rand.Rand) socket.Ports {
	switch r.IntN(4) {
	case 0:
		return socket.Ports{}
	case 1:
		return socket.Ports{Restricted: true, Lo: somePorts[r.IntN(len(somePorts))], Hi: somePorts[r.IntN(len(somePorts))]}
	}
	list := someOf(r, somePorts)
	if len(list) == 0 {
		return socket.Ports{Restricted: true, Lo: 1, Hi: 0}
	}
	return socket.Ports{Restricted: true, Lo: list[0], Hi: list[len(list)-1], List: list}
}

func randomRequest(r *rand.Rand) socket.Request {
	return socket.Request{
		LocalPorts: randomPorts(r), RemotePorts: randomPorts(r),
		LocalAddrs: someOf(r, someAddrs), RemoteAddrs: someOf(r, someAddrs),
		Bound: r.IntN(2) == 0,
	}
}

func TestCompile(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	rejected := 0
	for range 2000 {
		req := randomRequest(r)
		program := compile(&req)
		if err := audit(program); err != nil {
			t.Fatalf("%+v: %v: %d", req, err, program)
		}
		for range 100 {
			s := socket.Socket{
				LocalPort: somePorts[r.IntN(len(somePorts))], RemotePort: somePorts[r.IntN(len(somePorts))],
				Local: someAddrs[r.IntN(len(someAddrs))], Remote: someAddrs[r.IntN(len(someAddrs))],
				Interface: uint32(r.IntN(3)),
			}
			got, want := accepts(program, &s), wants(&req, &s)
			if want && !got {
				t.Fatalf("%+v rejects %v:%d to %v:%d", req, s.Local, s.LocalPort, s.Remote, s.RemotePort)
			}
			mapped := s.Local.Is4In6() || s.Remote.Is4In6() || s.Local.Is4() || s.Remote.Is4()
			if got && !want && !mapped {
				t.Fatalf("%+v accepts %v:%d to %v:%d", req, s.Local, s.LocalPort, s.Remote, s.RemotePort)
			}
			if !got {
				rejected++
			}
		}
	}
	if rejected == 0 {
		t.Error("no program rejects anything")
	}
}

func TestCompileBounds(t *testing.T) {
	if p := compile(&socket.Request{}); p != nil {
		t.Errorf("a request for all has the program %d", p)
	}
	// Ports far apart, so that none are joined to a range.
	list := make([]uint16, 60000/2)
	for i := range list {
		list[i] = uint16(2*i + 1)
	}
	addrs := make([]netip.Addr, 1000)
	for i := range addrs {
		addrs[i] = netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
	}
	for _, n := range []int{1, maxAlternatives, maxAlternatives + 1, len(list)} {
		req := socket.Request{
			LocalPorts: socket.Ports{Restricted: true, Lo: list[0], Hi: list[n-1], List: list[:n]},
			LocalAddrs: addrs[:min(n, len(addrs))],
		}
		req.RemotePorts, req.RemoteAddrs = req.LocalPorts, req.LocalAddrs
		program := compile(&req)
		if err := audit(program); err != nil || len(program) > 8<<10 {
			t.Errorf("%d alternatives: %d bytes, %v", n, len(program), err)
		}
	}
}

func FuzzCompile(f *testing.F) {
	f.Add([]byte{1, 2, 3}, []byte{127, 0, 0, 1}, uint16(80), uint16(443), true)
	f.Add([]byte{}, []byte{15: 1}, uint16(9), uint16(8), false)
	f.Fuzz(func(t *testing.T, ports, addr []byte, lo, hi uint16, list bool) {
		req := socket.Request{LocalPorts: socket.Ports{Restricted: true, Lo: lo, Hi: hi}}
		if list {
			for i := 0; i+1 < min(len(ports), 8*maxAlternatives); i += 2 {
				req.RemotePorts.List = append(req.RemotePorts.List, uint16(ports[i])<<8|uint16(ports[i+1]))
			}
			slices.Sort(req.RemotePorts.List)
			req.RemotePorts.List = slices.Compact(req.RemotePorts.List)
			if n := len(req.RemotePorts.List); n > 0 {
				req.RemotePorts.Restricted = true
				req.RemotePorts.Lo, req.RemotePorts.Hi = req.RemotePorts.List[0], req.RemotePorts.List[n-1]
			}
		}
		if a, ok := netip.AddrFromSlice(addr); ok {
			req.LocalAddrs = []netip.Addr{a}
		}
		program := compile(&req)
		if err := audit(program); err != nil {
			t.Fatal(err)
		}
		for _, port := range append([]uint16{0, lo, hi, 65535}, req.RemotePorts.List...) {
			for _, a := range append([]netip.Addr{someAddrs[0]}, req.LocalAddrs...) {
				s := socket.Socket{LocalPort: lo, RemotePort: port, Local: a}
				if wants(&req, &s) && !accepts(program, &s) {
					t.Fatalf("%+v rejects %+v", req, s)
				}
			}
		}
	})
}

// TestKernelTakesPrograms gives random requests to the kernel, which must
// return every wanted socket of a namespace, and shows that it filters.
func TestKernelTakesPrograms(t *testing.T) {
	ns := kerneltest.NewNamespace(t)
	ns.States(t, "127.0.0.1:0")
	ns.States(t, "[::1]:0")
	for range 3 {
		ns.Pair(t, ns.ListenDual(t))
		ns.UDP(t, "127.0.0.2:0").Connect("127.0.0.1:80")
		ns.UDP(t, "[::1]:0").Connect("[::1]:80")
	}
	c := open(t, ns)
	const kinds = socket.TCP4 | socket.TCP6 | socket.UDP4 | socket.UDP6
	all, _ := collect(t, c, everything(kinds))
	var ports []uint16
	for _, s := range all {
		ports = append(ports, s.LocalPort, s.RemotePort)
	}
	slices.Sort(ports)
	ports = slices.Compact(ports)
	r := rand.New(rand.NewPCG(3, 4))
	filtered := 0
	for range 300 {
		req := everything(kinds)
		parts := randomRequest(r)
		req.LocalAddrs, req.RemoteAddrs = parts.LocalAddrs, parts.RemoteAddrs
		for _, p := range []*socket.Ports{&req.LocalPorts, &req.RemotePorts} {
			if list := someOf(r, ports); r.IntN(2) == 0 && len(list) > 0 {
				*p = socket.Ports{Restricted: true, Lo: list[0], Hi: list[len(list)-1], List: list}
			}
		}
		if r.IntN(2) == 0 {
			req.LocalAddrs = nil
		}
		if r.IntN(2) == 0 {
			req.RemoteAddrs = nil
		}
		got, _ := collect(t, c, req)
		if c.noBytecode {
			t.Fatal("the kernel refuses the program")
		}
		have := map[uint64]bool{}
		for _, s := range got {
			have[s.Cookie] = true
		}
		for _, s := range all {
			if wants(&req, &s) && !have[s.Cookie] {
				t.Errorf("%+v: %+v is missing", req, s)
			}
		}
		filtered += len(all) - len(got)
	}
	if filtered == 0 {
		t.Error("nothing was filtered")
	}
}

// TestStateMasks asks for each state alone.
func TestStateMasks(t *testing.T) {
	ns := kerneltest.NewNamespace(t)
	ns.States(t, "127.0.0.1:0")
	ns.BoundInactive(t, "127.0.0.1:0")
	ns.UDP(t, "127.0.0.1:0")
	ns.Unix(t, unix.SOCK_STREAM, "\x00listener").Listen(1)
	ns.UnixPair(t, unix.SOCK_STREAM)
	c := open(t, ns)
	const kinds = socket.TCP4 | socket.UDP4 | socket.Unix
	all, _ := collect(t, c, everything(kinds))
	for state := range 14 {
		req := everything(kinds)
		req.States = 1 << state
		got, answered := collect(t, c, req)
		if answered != kinds {
			t.Errorf("state %d: answered %#x, want %#x", state, answered, kinds)
		}
		want := map[uint64]bool{}
		for _, s := range all {
			if int(s.State) == state {
				want[s.Cookie] = true
			}
		}
		for _, s := range got {
			delete(want, s.Cookie)
			if same := inetStates(&lists[0], req.States); same&(1<<s.State) == 0 {
				t.Errorf("state %d: got state %d", state, s.State)
			}
		}
		if len(want) > 0 {
			t.Errorf("state %d: %d sockets are missing", state, len(want))
		}
	}
}

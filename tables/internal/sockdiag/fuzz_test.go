package sockdiag

import (
	"testing"

	"golang.org/x/sys/unix"

	"sockql/tables/internal/kerneltest"
	"sockql/tables/internal/netlink"
	"sockql/tables/internal/socket"
)

// FuzzDecode gives any bytes as the payload of any list's message. What is
// taken for a socket must be of one kind of the list and of its family.
func FuzzDecode(f *testing.F) {
	for i := range lists {
		f.Add(uint8(i), make([]byte, 80))
		f.Add(uint8(i), append([]byte{lists[i].family}, make([]byte, 80)...))
	}
	for _, b := range corpus {
		for i := range lists {
			if lists[i].family == b[0] || lists[i].family == unix.AF_UNSPEC {
				f.Add(uint8(i), b)
			}
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, payload []byte) {
		l := &lists[int(which)%len(lists)]
		var s socket.Socket
		if !l.decode(l, payload, socket.AllFields, &s) {
			return
		}
		if s.Kind == 0 || s.Kind&(s.Kind-1) != 0 || s.Kind&l.kinds == 0 {
			t.Errorf("%s: kind %#x, want one of %#x", l.name, s.Kind, l.kinds)
		}
		if l.family != unix.AF_UNSPEC && s.Family != uint16(l.family) {
			t.Errorf("%s: family %d, want %d", l.name, s.Family, l.family)
		}
		if s.Known&socket.FieldAddresses != 0 && s.Local.Is4() != s.Remote.Is4() {
			t.Errorf("%s: %v to %v", l.name, s.Local, s.Remote)
		}
		if len(s.Path) > len(payload) {
			t.Errorf("%s: path %q of %d bytes", l.name, s.Path, len(payload))
		}
		if s.Known&socket.FieldBacklogLimit != 0 && s.State != socket.StateListen {
			t.Errorf("%s: a backlog in state %d", l.name, s.State)
		}
	})
}

// corpus holds answers of a kernel, Linux 6.18 on amd64 (little endian): a TCP
// listener with all attributes, a UNIX listener with an abstract name, a packet
// and a netlink socket.
var corpus = [][]byte{
	[]byte("\x02\x0a\x00\x00\x9c\x40\x00\x00\x7f\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" +
		"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x10\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x10\x00\x00\x00" +
		"\x00\x00\x00\x00\x34\x12\x00\x00\x05\x00\x08\x00\x00\x00\x00\x00\x08\x00\x0f\x00\x00\x00\x00\x00\x0c\x00\x15\x00\x01\x00\x00\x00\x00\x00\x00\x00" +
		"\x06\x00\x16\x00\x46\x00\x00\x00"),
	[]byte("\x01\x01\x0a\x00\x34\x12\x00\x00\x02\x10\x00\x00\x00\x00\x00\x00\x0c\x00\x00\x00\x00abc\x00de\x00" +
		"\x0c\x00\x04\x00\x01\x00\x00\x00\x07\x00\x00\x00\x05\x00\x06\x00\x00\x00\x00\x00\x08\x00\x07\x00\xe8\x03\x00\x00"),
	[]byte("\x11\x03\x03\x00\x35\x12\x00\x00\x03\x10\x00\x00\x00\x00\x00\x00" +
		"\x1c\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x08\x00\x05\x00\x00\x00\x00\x00"),
	[]byte("\x10\x03\x00\x07\x40\x58\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x36\x12\x00\x00\x04\x10\x00\x00\x00\x00\x00\x00" +
		"\x08\x00\x01\x00\x04\x00\x00\x00"),
}

// FuzzReceive gives any datagrams in place of the kernel's.
func FuzzReceive(f *testing.F) {
	f.Add(join(unixMsg(0, 1), doneMsg), []byte{})
	f.Add(unixMsg(unix.NLM_F_DUMP_INTR, 1), errnoMsg(unix.NLMSG_ERROR, unix.ENOENT))
	f.Add(errnoMsg(unix.NLMSG_ERROR, unix.EBUSY), join(unixMsg(0, 1), doneMsg))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		k := &fakeKernel{}
		for range 2 * (maxRepeats + 1) * (maxRepeats + 1) {
			k.answers = append(k.answers, []any{first, second, doneMsg})
		}
		r := dumpFake(new(Support).New(k, 0), socket.Unix)
		seen := map[uint64]bool{}
		for _, cookie := range r.cookies {
			seen[cookie] = true
		}
		if r.err != nil && len(first) <= netlink.BufferSize && len(second) <= netlink.BufferSize {
			t.Errorf("a garbled answer, after which the list ends, broke the connection: %v", r.err)
		}
		if len(seen) > 0 && r.answered != socket.Unix {
			t.Errorf("sockets of a list that was not answered: %d", r.cookies)
		}
	})
}

// TestDecodersTakeCutMessages cuts real answers at every length.
func TestDecodersTakeCutMessages(t *testing.T) {
	ns := kerneltest.NewNamespace(t)
	zoo(t, ns, 11)
	c := open(t, ns)
	for i := range lists {
		l := &lists[i]
		var answers [][]byte
		req := socket.Everything()
		d := dump{Conn: c, list: l, req: &req}
		d.Conn.request = l.request(nil, l, &req, nil)
		if err := d.send(d.Conn.request); err != nil {
			t.Fatal(err)
		}
		for err := error(nil); err == nil; {
			err = c.receive(c.seq, func(payload []byte, _ uint16) bool {
				answers = append(answers, append([]byte(nil), payload...))
				return true
			})
		}
		for _, b := range answers {
			for n := range len(b) {
				var s socket.Socket
				l.decode(l, b[:n:n], socket.AllFields, &s)
			}
			var s socket.Socket
			if !l.decode(l, b, socket.AllFields, &s) {
				t.Errorf("%s: a whole message is not understood: %x", l.name, b)
			}
		}
	}
}

func TestDecodersOfModulesThatAreMissing(t *testing.T) {
	words := func(head []byte, w ...uint32) []byte {
		b := head
		for _, w := range w {
			b = append(b, byte(w), byte(w>>8), byte(w>>16), byte(w>>24))
		}
		return b
	}
	if uint32At([]byte{1, 0, 0, 0}, 0) != 1 {
		t.Skip("the messages are those of a little endian machine")
	}
	decode := func(kind socket.Kind, payload []byte) socket.Socket {
		t.Helper()
		for i := range lists {
			if l := &lists[i]; l.kinds == kind {
				var s socket.Socket
				if !l.decode(l, payload, socket.AllFields, &s) {
					t.Fatalf("%s: not understood: %x", l.name, payload)
				}
				return s
			}
		}
		t.Fatalf("no list of kind %#x", kind)
		return socket.Socket{}
	}
	attribute := func(typ uint16, value []byte) []byte { return netlink.AppendAttribute(nil, typ, value) }

	vsock := words([]byte{unix.AF_VSOCK, unix.SOCK_STREAM, socket.StateListen, 3}, 2, 1024, 0, 0, 4711, 0x11, 0x22)
	if s := decode(socket.Vsock, vsock); s.Inode != 4711 || s.Cookie != 0x22_00000011 || s.Shutdown != 3 || s.State != socket.StateListen {
		t.Errorf("vsock: %+v", s)
	}
	xdp := words([]byte{unix.AF_XDP, unix.SOCK_RAW, 0, 0}, 4712, 0x11, 0)
	xdp = append(xdp, attribute(xdpDiagInfo, words(nil, 7, 1))...)
	xdp = append(xdp, attribute(xdpDiagUID, words(nil, 1000))...)
	xdp = append(xdp, attribute(xdpDiagMemInfo, words(nil, 1, 2, 3, 4, 5, 6, 7, 8, 9))...)
	if s := decode(socket.XDP, xdp); s.Inode != 4712 || s.Interface != 7 || s.UID != 1000 || s.RxQueue != 1 || s.TxQueue != 3 || s.Drops != 9 {
		t.Errorf("xdp: %+v", s)
	}
	tipc := attribute(tipcSock, join(
		attribute(tipcType, words(nil, unix.SOCK_RDM)), attribute(tipcInode, words(nil, 4713)), attribute(tipcUID, words(nil, 1000)),
		attribute(tipcState, words(nil, 2)), attribute(tipcCookie, words(nil, 0x11, 0x22)),
		attribute(tipcStat, join(attribute(tipcStatRx, words(nil, 5)), attribute(tipcStatTx, words(nil, 6)), attribute(tipcStatDrop, words(nil, 7))))))
	if s := decode(socket.TIPC, tipc); s.Inode != 4713 || s.Type != unix.SOCK_RDM || s.UID != 1000 || s.State != 2 ||
		s.Cookie != 0x22_00000011 || s.RxQueue != 5 || s.TxQueue != 6 || s.Drops != 7 {
		t.Errorf("tipc: %+v", s)
	}
	id := words([]byte{0x1f, 0x90, 0, 80}, 0x0100007f, 0, 0, 0, 0x0200007f, 0, 0, 0, 3, 0x11, 0)
	smc := words(append([]byte{unix.AF_SMC, 1, 0, 2}, id...), 1000, 4714, 0)
	if s := decode(socket.SMC, smc); s.Inode != 4714 || s.UID != 1000 || s.Local.String() != "127.0.0.1" || s.Remote.String() != "127.0.0.2" ||
		s.LocalPort != 8080 || s.RemotePort != 80 || s.Interface != 3 || s.Shutdown != 2 {
		t.Errorf("smc: %+v", s)
	}
	raw := words(append([]byte{unix.AF_INET, 7, 0, 0}, id...), 0, 5, 6, 1000, 4715)
	raw = append(raw, attribute(diagProtocol, []byte{1, 0, 0, 0})...)
	if s := decode(socket.Raw4, raw); s.Protocol != 1 || s.LocalPort != 1 || s.Type != unix.SOCK_RAW || s.RxQueue != 5 || s.TxQueue != 6 {
		t.Errorf("raw: %+v", s)
	}
	sctp := words(append([]byte{unix.AF_INET, 3, 0, 0}, id...), 0, 5, 6, 1000, 4716)
	if s := decode(socket.SCTP4, sctp); s.Protocol != unix.IPPROTO_SCTP || s.State != 3 || s.Known&(socket.FieldType|socket.FieldTimer) != 0 {
		t.Errorf("sctp: %+v", s)
	}
}

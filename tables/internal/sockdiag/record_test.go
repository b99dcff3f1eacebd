package sockdiag

import (
	"bytes"
	"context"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"sockql/tables/internal/kerneltest"
	"sockql/tables/internal/netns"
	"sockql/tables/internal/socket"
)

// A recorder keeps what passes through a transport.
type recorder struct {
	Transport
	answers [][]any
}

func (r *recorder) Send(request []byte) error {
	r.answers = append(r.answers, nil)
	return r.Transport.Send(request)
}

func (r *recorder) Receive(buf []byte) (int, error) {
	n, err := r.Transport.Receive(buf)
	if err == nil {
		last := &r.answers[len(r.answers)-1]
		*last = append(*last, slices.Clone(buf[:n]))
	}
	return n, err
}

// TestReplay gives what was recorded of a namespace to a second connection.
func TestReplay(t *testing.T) {
	ns := kerneltest.NewNamespace(t)
	zoo(t, ns, 13)
	h, err := netns.Open(ns.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	var kernel Transport
	if err := netns.Do(h, func() (err error) { kernel, err = Dial(); return err }); err != nil {
		t.Fatal(err)
	}
	r := &recorder{Transport: kernel}
	live := new(Support).New(r, ns.Inode)
	defer live.Close()
	want, answered := collect(t, live, socket.Everything())
	got, again := collect(t, new(Support).New(&fakeKernel{answers: r.answers}, ns.Inode), socket.Everything())
	if answered != again || len(want) < 20 {
		t.Errorf("answered %#x with %d sockets, then %#x", answered, len(want), again)
	}
	if !slices.Equal(want, got) {
		t.Errorf("live %+v, replayed %+v", want, got)
	}
}

// TestRecordLeavesKeysOut records a listener whose connections are signed: the
// kernel tells the key to whoever has CAP_NET_ADMIN.
func TestRecordLeavesKeysOut(t *testing.T) {
	ns := kerneltest.NewNamespace(t)
	s := ns.Listen(t, "127.0.0.1:0")
	key := []byte("a-key-that-nobody-shall-see")
	sig := unix.TCPMD5Sig{Addr: unix.SockaddrStorage{Family: unix.AF_INET}, Keylen: uint16(len(key))}
	copy(sig.Key[:], key)
	if err := unix.SetsockoptTCPMD5Sig(s.FD, unix.IPPROTO_TCP, unix.TCP_MD5SIG, &sig); err != nil {
		t.Skipf("needs TCP_MD5SIG: %v", err)
	}
	h, err := netns.Open(ns.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	var c *Conn
	if err := netns.Do(h, func() (err error) { c, err = Open(); return err }); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	exchanges, err := c.Record(context.Background(), func(err error) { t.Error(err) }, func(*socket.Socket) {})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range exchanges {
		for _, answer := range x.Answers {
			if bytes.Contains(answer, key) {
				t.Errorf("the answer to %x holds the key", x.Request)
			}
		}
	}
	replayed, _ := collect(t, new(Support).Replay(exchanges, ns.Inode), socket.Everything())
	if !slices.ContainsFunc(replayed, func(r socket.Socket) bool { return r.Inode == s.Inode() }) {
		t.Errorf("the listener is not among %d sockets", len(replayed))
	}
}

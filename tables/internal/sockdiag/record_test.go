package sockdiag

import (
	"slices"
	"testing"

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

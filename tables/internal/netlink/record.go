package netlink

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"

	"golang.org/x/sys/unix"

	"sockql/tables/internal/recording"
)

// A Tap is a transport that remembers what crosses another one.
type Tap struct {
	Transport
	// Exchanges are the requests with what came before the next one.
	Exchanges []recording.Exchange
	// Stalled says that receiving failed: an answer has a gap.
	Stalled bool
}

// Send notes the request and sends it.
func (t *Tap) Send(request []byte) error {
	t.Exchanges = append(t.Exchanges, recording.Exchange{Request: slices.Clone(request)})
	return t.Transport.Send(request)
}

// Receive receives a datagram and notes it.
func (t *Tap) Receive(buf []byte) (int, error) {
	n, err := t.Transport.Receive(buf)
	switch {
	case err != nil:
		t.Stalled = true
	case len(t.Exchanges) > 0 && n <= len(buf):
		last := &t.Exchanges[len(t.Exchanges)-1]
		last.Answers = append(last.Answers, slices.Clone(buf[:n]))
	}
	return n, err
}

// Replay returns a transport to a recorded kernel, which answers a request as
// it was answered last when it was recorded, and any other with ENODATA.
func Replay(exchanges []recording.Exchange) Transport { return &replay{exchanges: exchanges} }

type replay struct {
	exchanges []recording.Exchange
	queue     [][]byte
}

func (r *replay) Send(request []byte) error {
	asked, _ := Next(request)
	for _, x := range slices.Backward(r.exchanges) {
		recorded, _ := Next(x.Request)
		if recorded.Payload == nil || recorded.Type != asked.Type || !bytes.Equal(recorded.Payload, asked.Payload) {
			continue
		}
		for _, answer := range x.Answers {
			var b []byte
			for m, rest := Next(answer); m.Payload != nil; m, rest = Next(rest) {
				m.Seq = asked.Seq
				b = Append(b, m)
			}
			r.queue = append(r.queue, b)
		}
		return nil
	}
	r.queue = append(r.queue, ErrorMessage(asked.Seq, unix.ENODATA))
	return nil
}

func (r *replay) Receive(buf []byte) (int, error) {
	if len(r.queue) == 0 {
		return 0, errors.New("replay: the recorded answer has no end")
	}
	next := r.queue[0]
	r.queue = r.queue[1:]
	copy(buf, next)
	return len(next), nil
}

func (r *replay) Close() error { return nil }

// ErrorMessage returns the answer with which the kernel refuses a request.
func ErrorMessage(seq uint32, errno unix.Errno) []byte {
	payload := binary.NativeEndian.AppendUint32(nil, uint32(-int32(errno)))
	return Append(nil, Message{Type: unix.NLMSG_ERROR, Seq: seq, Payload: payload})
}

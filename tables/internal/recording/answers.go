package recording

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

const answersMagic = "sockql answers 1\n"

// The kinds of records.
const (
	requestRecord = 'Q'
	answerRecord  = 'A'
	endRecord     = 'Z'
)

const (
	recordHeader  = 5 // kind and length
	recordTrailer = 4 // checksum

	// maxPayload bounds a record: the kernel's datagrams are at most 32 KiB,
	// and a reader takes no more than twice that.
	maxPayload = 1 << 20
)

// A Protocol of netlink(7) is whose answers a file holds, by the name of the
// file.
type Protocol string

// The protocols that are recorded.
const (
	SockDiag  Protocol = "answers"  // sock_diag(7)
	Route     Protocol = "route"    // rtnetlink(7)
	Netfilter Protocol = "nftables" // nf_tables
)

// An Exchange is a request to the kernel and its answer, as raw netlink
// messages in the recorded host's byte order.
type Exchange struct {
	Request []byte
	Answers [][]byte // one a datagram
}

// writeAnswers writes the exchanges of one namespace.
func writeAnswers(w io.Writer, exchanges []Exchange) error {
	if _, err := io.WriteString(w, answersMagic); err != nil {
		return err
	}
	var buf []byte
	write := func(kind byte, payload []byte) error {
		if len(payload) > maxPayload {
			return fmt.Errorf("a message of %d bytes is too long", len(payload))
		}
		buf = append(buf[:0], kind)
		buf = binary.BigEndian.AppendUint32(buf, uint32(len(payload)))
		buf = append(buf, payload...)
		buf = binary.BigEndian.AppendUint32(buf, crc32.ChecksumIEEE(buf))
		_, err := w.Write(buf)
		return err
	}
	for _, x := range exchanges {
		if err := write(requestRecord, x.Request); err != nil {
			return err
		}
		for _, a := range x.Answers {
			if err := write(answerRecord, a); err != nil {
				return err
			}
		}
	}
	return write(endRecord, nil)
}

// parseAnswers reads what writeAnswers wrote. The exchanges share b's memory.
// With an error it returns the exchanges that are whole.
func parseAnswers(b []byte) ([]Exchange, error) {
	rest, ok := bytes.CutPrefix(b, []byte(answersMagic))
	if !ok {
		return nil, &damage{0, errors.New("not the beginning of recorded answers, or of another version")}
	}
	var exchanges []Exchange
	whole := 0 // exchanges that a later record has ended
	fail := func(text string) ([]Exchange, error) {
		return exchanges[:whole], &damage{len(b) - len(rest), errors.New(text)}
	}
	for {
		if len(rest) < recordHeader+recordTrailer {
			return fail("cut short")
		}
		size := binary.BigEndian.Uint32(rest[1:])
		if size > maxPayload || int(size) > len(rest)-recordHeader-recordTrailer {
			return fail(fmt.Sprintf("a record of %d bytes, which are not there", size))
		}
		end := recordHeader + int(size)
		if crc32.ChecksumIEEE(rest[:end]) != binary.BigEndian.Uint32(rest[end:]) {
			return fail("a wrong checksum")
		}
		kind, payload := rest[0], rest[recordHeader:end:end]
		switch {
		case kind == requestRecord:
			whole = len(exchanges)
			exchanges = append(exchanges, Exchange{Request: payload})
		case kind == answerRecord && len(exchanges) > 0:
			last := &exchanges[len(exchanges)-1]
			last.Answers = append(last.Answers, payload)
		case kind == answerRecord:
			return fail("an answer without a request")
		case kind == endRecord:
			whole = len(exchanges)
			rest = rest[end+recordTrailer:]
			if len(rest) > 0 {
				return fail("more after the end")
			}
			return exchanges, nil
		default:
			return fail(fmt.Sprintf("a record of the unknown kind %q", kind))
		}
		rest = rest[end+recordTrailer:]
	}
}

package procfs

import (
	"bytes"
	"io"

	"golang.org/x/sys/unix"

	"sockql/tables/internal/socket"
)

const (
	// The socket states of include/uapi/linux/net.h that unix_seq_show prints.
	// The even ones have no file: a connection not yet accepted, and a socket
	// that is being released.
	ssUnconnected   = 1
	ssConnecting    = 2
	ssConnected     = 3
	ssDisconnecting = 4

	flagAcceptCon = 1 << 16 // __SO_ACCEPTCON: it listens

	// unixPathMax is the size of sun_path, the longest name (unix(7)).
	unixPathMax = 108
)

// decodeUnix decodes a line of /proc/net/unix (proc_net(5); unix_seq_show of
// net/unix/af_unix.c). States become those of sk_state, which sock_diag tells:
// LISTEN, ESTABLISHED, CLOSE.
//
// The kernel prints a NUL as @ and a newline as it is. So a name that begins
// with @ may be abstract or the name of a file, and only others are exact.
func decodeUnix(_ *decoder, line []byte, s *socket.Socket) error {
	c := cursor{line: line}
	if pointer := c.token("pointer"); len(pointer) == 0 || pointer[len(pointer)-1] != ':' {
		c.fail("pointer")
	}
	s.Refcount = c.hex32(8, "reference count")
	protocol := c.hex32(8, "protocol")
	flags := c.hex32(8, "flags")
	typ := c.hex32(4, "type")
	state := c.hex32(2, "state")
	s.Inode = c.dec("inode")
	if protocol > 0xffff {
		c.fail("protocol")
	}
	switch typ {
	case unix.SOCK_STREAM, unix.SOCK_DGRAM, unix.SOCK_SEQPACKET:
	default:
		c.fail("type")
	}
	switch {
	case flags&flagAcceptCon != 0:
		s.State = socket.StateListen
	case state == ssConnected, state == ssConnecting:
		s.State = socket.StateEstablished
	case state == ssUnconnected, state == ssDisconnecting:
		s.State = socket.StateClose
	default:
		c.fail("state")
	}
	if c.bad != "" {
		return c.err()
	}
	s.Protocol, s.Type = uint16(protocol), uint16(typ)
	s.Known |= socket.FieldFamily | socket.FieldType | socket.FieldProtocol | socket.FieldState |
		socket.FieldRefcount | socket.FieldPath | socket.FieldPathExact
	if c.at < len(line) { // a single space, then the name, which may begin with spaces
		s.Path = string(line[c.at+1:])
		if s.Path != "" && s.Path[0] == '@' {
			s.Known &^= socket.FieldPathExact
		}
	}
	return nil
}

// eachUnix holds each socket back until the next line shows that its name is
// complete: a line that is no socket continues a name with a newline in it. A
// name whose second part looks like a socket deceives it; sock_diag is immune.
func (l *list) eachUnix(yield func(*socket.Socket) bool) error {
	var s, next socket.Socket
	held, named := false, false
	for {
		line, err := l.lines.next()
		if err == nil {
			next = l.decoder.empty
			err = decodeUnix(&l.decoder, line, &next)
			switch {
			case err == nil:
				if held && !yield(&s) {
					return nil
				}
				s, held, named = next, true, next.Path != "" || line[len(line)-1] == ' '
				continue
			case held && named && continuesName(&s, line):
				s.Path += "\n" + string(line)
				s.Known &^= socket.FieldPathExact
				continue
			}
		} else if err != errLineTooLong {
			if held && !yield(&s) || err == io.EOF {
				return nil
			}
			return err
		}
		l.reject(err)
	}
}

// continuesName reports whether a line that is no socket may be the rest of
// the name of s. A line that begins like a socket is a damaged one instead.
func continuesName(s *socket.Socket, line []byte) bool {
	if len(s.Path)+1+len(line) > unixPathMax {
		return false
	}
	digits := bytes.IndexFunc(line, func(r rune) bool { return r > 0x7f || hexDigit(byte(r)) > 15 })
	return digits < 8 || line[digits] != ':'
}

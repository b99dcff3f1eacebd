package procfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"golang.org/x/sys/unix"

	"sockql/tables/internal/socket"
)

// Kinds are the socket lists that the kernel shows in /proc/<pid>/net.
const Kinds = socket.TCP4 | socket.TCP6 | socket.UDP4 | socket.UDP6 | socket.UDPLite4 | socket.UDPLite6 |
	socket.Raw4 | socket.Raw6 | socket.ICMP4 | socket.ICMP6 | socket.Unix | socket.Packet | socket.Netlink

// A LineError says that lines of a list could not be understood and were left
// out.
type LineError struct {
	Path string // below the root
	Line int    // the first such line, counted from 1
	More int    // how many more lines were left out
	Err  error  // what is wrong with the first one
}

func (e *LineError) Error() string {
	text := fmt.Sprintf("procfs: %s: line %d: %v", e.Path, e.Line, e.Err)
	switch e.More {
	case 0:
		return text + "; line left out"
	case 1:
		return text + "; left out with 1 more"
	}
	return fmt.Sprintf("%s; left out with %d more", text, e.More)
}

// Unwrap returns Err.
func (e *LineError) Unwrap() error { return e.Err }

// List streams the sockets of one kind in the network namespace of a process.
// netns, the inode of that namespace, is noted in each socket unless it is 0.
// The socket behind the pointer is reused after yield returns; it has no
// holder: PID, TID and FD are -1. List ends early, without error, when yield
// returns false, and with the context's cause when ctx ends.
//
// A line that cannot be understood costs only itself: for all such lines of
// the file warn gets one [*LineError], which names the first. A list that the
// kernel does not have is [ErrNoList], a process without a namespace, such as
// a zombie, [ErrVanished].
//
// The kernel writes the list while it is read, page by page, so that a socket
// that changes meanwhile may be there twice or not at all. What its text does
// not tell is not Known: cookies, marks, a listener's backlog limit, sockets
// that are neither bound nor connected. The kernel's slot ("sl") and the hashed
// address of the socket are left out: neither means anything outside of it.
// Addresses of a recorded tree are read in the byte order of this host.
func (p *FS) List(ctx context.Context, pid int32, kind socket.Kind, netns uint64, warn func(error), yield func(*socket.Socket) bool) error {
	name, ok := fileName(kind)
	if !ok {
		return fmt.Errorf("procfs: list sockets of kind %#x: %w", uint32(kind), ErrNoList)
	}
	path, err := processPath(pid, "net/"+name)
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	f, err := p.open(path, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return p.missingList(pid, path, err)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	buf := p.buffer()
	defer p.release(buf)
	l := list{
		lines:   lineReader{r: contextReader{ctx, f}, buf: *buf},
		decoder: newDecoder(kind, netns, p.ticks),
	}
	err = l.each(yield)
	if l.bad != nil && warn != nil {
		l.bad.Path = path
		warn(l.bad)
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return &Error{Op: "read", Path: path, Err: err}
}

// missingList tells a kernel without the protocol from a process without a
// namespace: the net directory of the latter has no entries.
func (p *FS) missingList(pid int32, path string, cause error) error {
	netPath, err := processPath(pid, "net")
	if err != nil {
		return err
	}
	dir, err := p.open(netPath, unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer dir.Close()
	buf := p.buffer()
	defer p.release(buf)
	n, err := ignoringEINTR(func() (int, error) { return unix.Getdents(dir.fd, *buf) })
	if err != nil {
		return cause
	}
	for name, rest := nextDirent((*buf)[:max(n, 0)]); name != nil; name, rest = nextDirent(rest) {
		if name[0] != '.' {
			return fmt.Errorf("procfs: open %s: %w", path, ErrNoList)
		}
	}
	return cause
}

// fileName returns the name of the list of one kind.
func fileName(kind socket.Kind) (name string, ok bool) {
	switch kind {
	case socket.TCP4:
		return "tcp", true
	case socket.TCP6:
		return "tcp6", true
	case socket.UDP4:
		return "udp", true
	case socket.UDP6:
		return "udp6", true
	case socket.UDPLite4:
		return "udplite", true
	case socket.UDPLite6:
		return "udplite6", true
	case socket.Raw4:
		return "raw", true
	case socket.Raw6:
		return "raw6", true
	case socket.ICMP4:
		return "icmp", true
	case socket.ICMP6:
		return "icmp6", true
	case socket.Unix:
		return "unix", true
	case socket.Packet:
		return "packet", true
	case socket.Netlink:
		return "netlink", true
	}
	return "", false
}

// A contextReader fails once its context has ended.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(b []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(b)
}

// A decoder turns the lines of one list into sockets.
type decoder struct {
	empty socket.Socket // what all sockets of the list have in common
	ticks uint64        // USER_HZ
	line  func(d *decoder, line []byte, s *socket.Socket) error
}

func newDecoder(kind socket.Kind, netns, ticks uint64) decoder {
	d := decoder{ticks: ticks}
	s := &d.empty
	s.Kind = kind
	s.Holder = socket.Holder{PID: -1, TID: -1, FD: -1}
	if netns != 0 {
		s.Netns = netns
		s.Known = socket.FieldNetns
	}
	switch kind {
	case socket.Unix:
		s.Family, d.line = unix.AF_UNIX, decodeUnix
	case socket.Packet:
		s.Family, d.line = unix.AF_PACKET, decodePacket
	case socket.Netlink:
		s.Family, d.line = unix.AF_NETLINK, decodeNetlink
	default:
		s.Family, d.line = unix.AF_INET, decodeInet
		if kind&socket.Inet6 != 0 {
			s.Family = unix.AF_INET6
		}
		s.Type, s.Protocol = inetType(kind)
	}
	return d
}

// milliseconds converts ticks of USER_HZ, at most to the largest number.
func (d *decoder) milliseconds(ticks uint64) uint32 {
	const most = 1<<32 - 1
	if ticks > most {
		return most
	}
	return uint32(min(ticks*1000/d.ticks, most))
}

// A list is one file with its reader, its decoder and its malformed lines.
type list struct {
	lines   lineReader
	decoder decoder
	bad     *LineError
}

// each streams the sockets of the list.
func (l *list) each(yield func(*socket.Socket) bool) error {
	if l.decoder.empty.Kind == socket.Unix {
		return l.eachUnix(yield)
	}
	var s socket.Socket
	for {
		line, err := l.lines.next()
		if err == nil {
			s = l.decoder.empty
			err = l.decoder.line(&l.decoder, line, &s)
			if err == nil {
				if !yield(&s) {
					return nil
				}
				continue
			}
		} else if err == io.EOF {
			return nil
		} else if err != errLineTooLong {
			return err
		}
		l.reject(err)
	}
}

// reject counts a malformed line. The first one of a file is its header, which
// no decoder takes for a socket.
func (l *list) reject(err error) {
	switch {
	case l.lines.number == 1:
	case l.bad == nil:
		l.bad = &LineError{Line: l.lines.number, Err: err}
	default:
		l.bad.More++
	}
}

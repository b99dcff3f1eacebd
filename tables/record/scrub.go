package record

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// A scrubber replaces addresses and texts, equal ones by equal ones. A nil
// scrubber leaves everything as it is.
type scrubber struct {
	addrs map[netip.Addr]netip.Addr
	words map[string]string
	pools []pool
}

// A pool is a range of addresses that have something in common, which their
// replacements, from a range of their own, have too.
type pool struct {
	from, to netip.Prefix
	next     uint64 // distance of the next replacement from the beginning
}

// newScrubber returns a scrubber that begins each range at a random place, so
// that two recordings of one host have nothing to do with each other.
func newScrubber() *scrubber {
	s := &scrubber{addrs: map[netip.Addr]netip.Addr{}, words: map[string]string{}}
	for _, p := range [][2]string{
		{"10.0.0.0/8", "10.0.0.0/8"},
		{"172.16.0.0/12", "172.16.0.0/12"},
		{"192.168.0.0/16", "192.168.0.0/16"},
		{"100.64.0.0/10", "100.64.0.0/10"},
		{"169.254.0.0/16", "169.254.0.0/16"},
		{"224.0.0.0/4", "239.0.0.0/8"},
		// Nobody's: benchmarking (RFC 2544) and documentation (RFC 3849).
		{"0.0.0.0/0", "198.18.0.0/15"},
		{"fe80::/10", "fe80::/64"},
		{"fc00::/7", "fd00::/64"},
		{"ff02::/16", "ff02::/64"},
		{"ff00::/8", "ff05::/64"},
		{"::/0", "2001:db8::/64"},
	} {
		to := netip.MustParsePrefix(p[1])
		s.pools = append(s.pools, pool{netip.MustParsePrefix(p[0]), to, rand.Uint64N(size(to))})
	}
	return s
}

// size returns how many addresses a range has, at most 2^32.
func size(p netip.Prefix) uint64 { return 1 << min(p.Addr().BitLen()-p.Bits(), 32) }

// Addr returns the replacement of an address. The unspecified address, those
// of the loopback interface and the broadcast address tell nothing and stay.
func (s *scrubber) Addr(a netip.Addr) netip.Addr {
	switch {
	case s == nil, !a.IsValid(), a.IsUnspecified(), a.IsLoopback(), a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return a
	case a.Is4In6():
		return netip.AddrFrom16(s.Addr(a.Unmap()).As16())
	}
	if to, ok := s.addrs[a]; ok {
		return to
	}
	// The last pool of each family holds every address.
	p := &s.pools[slices.IndexFunc(s.pools, func(p pool) bool { return p.from.Contains(a) })]
	to := p.take()
	if to == a {
		to = p.take()
	}
	s.addrs[a] = to
	return to
}

// take returns the next address of a range, around at its end.
func (p *pool) take() netip.Addr {
	b := p.to.Addr().AsSlice()
	last := b[len(b)-4:]
	p.next = (p.next + 1) % size(p.to)
	if p.next == 0 {
		p.next++ // the first one is the network's
	}
	binary.BigEndian.PutUint32(last, binary.BigEndian.Uint32(last)|uint32(p.next))
	a, _ := netip.AddrFromSlice(b)
	return a
}

// word returns the replacement of a text. A NUL and an @ are the same, since
// /proc/net/unix writes one for the other.
func (s *scrubber) word(text string) string {
	if s == nil || text == "" {
		return text
	}
	text = strings.ReplaceAll(text, "\x00", "@")
	to, ok := s.words[text]
	if !ok {
		to = "x" + strconv.Itoa(len(s.words)+1)
		s.words[text] = to
	}
	return to
}

const deleted = " (deleted)"

// Path returns the replacement of the name of a file or an abstract UNIX
// socket, the latter beginning with NUL.
func (s *scrubber) Path(name string) string { return s.path(name) }

func (s *scrubber) path(name string) string {
	switch {
	case s == nil:
		return name
	case strings.HasPrefix(name, "\x00"):
		return "\x00" + s.word(name[1:])
	case !strings.HasPrefix(name, "/"):
		return s.word(name)
	}
	name, gone := strings.CutSuffix(name, deleted)
	parts := strings.Split(name, "/")
	for i, part := range parts {
		if part != "." && part != ".." {
			parts[i] = s.word(part)
		}
	}
	name = strings.Join(parts, "/")
	if gone {
		name += deleted
	}
	return name
}

// target returns the replacement of where a link of a process leads. What is
// no file, such as socket:[7] or anon_inode:[eventfd], stays.
func (s *scrubber) target(link string) string {
	kind, rest, ok := strings.Cut(link, ":")
	if s == nil || ok && !strings.Contains(kind, "/") && (strings.HasPrefix(rest, "[") || kind == "anon_inode") {
		return link
	}
	return s.path(link)
}

// argument replaces an argument or the value of a variable.
func (s *scrubber) argument(text string) string {
	if strings.HasPrefix(text, "/") {
		return s.path(text)
	}
	return s.word(text)
}

// processFile replaces what a file of a process says.
func (s *scrubber) processFile(name string, b []byte) []byte {
	if s == nil {
		return b
	}
	switch name {
	case "comm":
		return []byte(s.word(strings.TrimSuffix(string(b), "\n")) + "\n")
	case "stat":
		// The name stands in parentheses, and may hold some itself.
		first, last := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
		if first < 0 || last < first {
			return nil
		}
		return []byte(string(b[:first+1]) + s.word(string(b[first+1:last])) + string(b[last:]))
	case "status":
		return eachLine(b, func(line string) string {
			if name, ok := strings.CutPrefix(line, "Name:\t"); ok {
				// proc_pid_status(5) escapes newline and backslash.
				return "Name:\t" + s.word(strings.NewReplacer(`\n`, "\n", `\\`, `\`).Replace(name))
			}
			return line
		})
	case "cmdline":
		return eachNUL(b, s.argument)
	case "environ":
		return eachNUL(b, func(text string) string {
			name, value, ok := strings.Cut(text, "=")
			if !ok {
				return s.word(text)
			}
			return s.word(name) + "=" + s.argument(value)
		})
	case "fdinfo":
		// Lines of its kind's own may name other processes' files.
		return eachLine(b, func(line string) string {
			if key, _, _ := strings.Cut(line, ":"); key == "pos" || key == "flags" || key == "mnt_id" || key == "ino" {
				return line
			}
			return ""
		})
	case "maps":
		return eachLine(b, s.mapping)
	case "cgroup":
		return eachLine(b, func(line string) string {
			parts := strings.SplitN(line, ":", 3)
			if len(parts) < 3 {
				return ""
			}
			parts[2] = s.path(parts[2])
			return strings.Join(parts, ":")
		})
	}
	return b
}

// mapping replaces the path in a line of maps (proc_pid_maps(5)), which stands
// behind five columns. Names in brackets are the kernel's, but for those that a
// process gives to its memory (PR_SET_VMA_ANON_NAME, prctl(2)).
func (s *scrubber) mapping(line string) string {
	at := strings.IndexAny(line, "/[")
	if at < 0 {
		return line
	}
	if name, ok := strings.CutPrefix(line[at:], "[anon"); ok {
		return line[:at] + "[anon:" + s.word(name) + "]"
	}
	if line[at] == '[' {
		return line
	}
	return line[:at] + s.path(strings.ReplaceAll(line[at:], `\012`, "\n"))
}

// eachLine replaces the lines of a text that is not empty.
func eachLine(b []byte, f func(line string) string) []byte {
	var out strings.Builder
	for line := range strings.Lines(string(b)) {
		text, ended := strings.CutSuffix(line, "\n")
		out.WriteString(f(text))
		if ended {
			out.WriteByte('\n')
		}
	}
	return []byte(out.String())
}

// eachNUL replaces the parts of a text between NULs.
func eachNUL(b []byte, f func(string) string) []byte {
	parts := strings.Split(string(b), "\x00")
	for i, part := range parts {
		parts[i] = f(part)
	}
	return []byte(strings.Join(parts, "\x00"))
}

// mounts replaces the paths of a mount table (proc_pid_mountinfo(5)): root and
// mount point, the source, and all options of the file system but ro and rw,
// since they may name directories, users and servers.
func (s *scrubber) mounts(b []byte) []byte {
	if s == nil {
		return b
	}
	return eachLine(b, func(line string) string {
		mount, super, ok := strings.Cut(line, " - ")
		fields, source := strings.Fields(mount), strings.Fields(super)
		if !ok || len(fields) < 6 || len(source) < 2 {
			return ""
		}
		for _, i := range []int{3, 4} {
			fields[i] = s.target(unescape(fields[i]))
		}
		access, _, _ := strings.Cut(source[len(source)-1], ",")
		if access != "ro" {
			access = "rw"
		}
		return fmt.Sprintf("%s - %s %s %s", strings.Join(fields, " "), source[0], s.target(unescape(source[1])), access)
	})
}

// unescape undoes the octal escapes of mangle_path (fs/seq_file.c).
func unescape(field string) string {
	var b strings.Builder
	for i := 0; i < len(field); i++ {
		if field[i] == '\\' && i+3 < len(field) {
			if n, err := strconv.ParseUint(field[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(field[i])
	}
	return b.String()
}

// netFile replaces the addresses and names of a list in PID/net.
func (s *scrubber) netFile(name string, b []byte) []byte {
	if s == nil {
		return b
	}
	switch name {
	case "unix":
		return s.unixList(b)
	case "packet", "netlink", "snmp", "netstat", "snmp6", "sctp/snmp":
		return b // numbers
	case "if_inet6":
		return eachLine(b, func(line string) string {
			digits, rest, _ := strings.Cut(line, " ")
			a, err := hex.DecodeString(digits)
			if err != nil || len(a) != 16 {
				return ""
			}
			to := s.Addr(netip.AddrFrom16([16]byte(a))).As16()
			return hex.EncodeToString(to[:]) + " " + rest
		})
	case "igmp":
		return eachLine(b, func(line string) string {
			group, rest, _ := strings.Cut(strings.TrimPrefix(line, "\t\t\t\t"), " ")
			if !strings.HasPrefix(line, "\t") {
				return line
			}
			n, err := strconv.ParseUint(group, 16, 32)
			if err != nil {
				return ""
			}
			var raw [4]byte // the kernel prints it as a number of its byte order
			binary.NativeEndian.PutUint32(raw[:], uint32(n))
			to := s.Addr(netip.AddrFrom4(raw)).As4()
			return fmt.Sprintf("\t\t\t\t%08X %s", binary.NativeEndian.Uint32(to[:]), rest)
		})
	case "igmp6":
		return eachLine(b, func(line string) string {
			fields := strings.Fields(line)
			if len(fields) < 4 {
				return ""
			}
			a, err := hex.DecodeString(fields[2])
			if err != nil || len(a) != 16 {
				return ""
			}
			to := s.Addr(netip.AddrFrom16([16]byte(a))).As16()
			fields[2] = hex.EncodeToString(to[:])
			return strings.Join(fields, " ")
		})
	case "dev_mcast":
		return eachLine(b, func(line string) string {
			fields := strings.Fields(line)
			if len(fields) < 5 {
				return ""
			}
			return strings.Join(fields[:4], " ") + " " + strings.Repeat("0", len(fields[4]))
		})
	}
	header := true
	return eachLine(b, func(line string) string {
		if header {
			header = false
			return line
		}
		return s.inetLine(line)
	})
}

// inetLine replaces the two addresses in a line of tcp, udp, raw or icmp, which
// follow the number of the slot.
func (s *scrubber) inetLine(line string) string {
	fields := strings.Fields(line)
	if len(fields) < 3 {
		return ""
	}
	for _, i := range []int{1, 2} {
		digits, port, _ := strings.Cut(fields[i], ":")
		b, err := hex.DecodeString(digits)
		if err != nil || len(b) != 4 && len(b) != 16 {
			return ""
		}
		swapWords(b)
		a, _ := netip.AddrFromSlice(b)
		b = s.Addr(a).AsSlice()
		swapWords(b)
		fields[i] = strings.ToUpper(hex.EncodeToString(b)) + ":" + port
	}
	return strings.Join(fields, " ")
}

// swapWords turns 32-bit words of the host's byte order into such of the
// network's, and back (proc_net_tcp(5)).
func swapWords(b []byte) {
	for ; len(b) >= 4; b = b[4:] {
		binary.NativeEndian.PutUint32(b, binary.BigEndian.Uint32(b))
	}
}

// unixList replaces the names in the list of UNIX sockets. A name may go on
// after a newline: a line that does not begin with a pointer belongs to the one
// before.
func (s *scrubber) unixList(b []byte) []byte {
	var entries []string
	for line := range strings.Lines(string(b)) {
		if pointer, _, ok := strings.Cut(line, ": "); len(entries) < 2 || ok && len(pointer) >= 8 && strings.Trim(pointer, "0123456789abcdefABCDEF") == "" {
			entries = append(entries, line)
			continue
		}
		entries[len(entries)-1] += line
	}
	var out strings.Builder
	for i, entry := range entries {
		if i == 0 {
			out.WriteString(entry) // the heading
			continue
		}
		fixed, name := cutUnix(strings.TrimSuffix(entry, "\n"))
		if abstract, ok := strings.CutPrefix(name, "@"); ok {
			name = "@" + s.word(abstract)
		} else {
			name = s.path(name)
		}
		out.WriteString(fixed + name + "\n")
	}
	return []byte(out.String())
}

// cutUnix parts the seven columns of a line of /proc/net/unix, with the space
// after them, from the name.
func cutUnix(line string) (fixed, name string) {
	at := 0
	for range 7 {
		for at < len(line) && line[at] == ' ' {
			at++
		}
		for at < len(line) && line[at] != ' ' {
			at++
		}
	}
	at = min(at+1, len(line))
	return line[:at], line[at:]
}

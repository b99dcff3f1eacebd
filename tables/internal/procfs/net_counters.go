package procfs

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// A Counter is one number that a protocol keeps of a network namespace, under
// the names of the kernel, which are those of the MIBs where there is one.
type Counter struct {
	Protocol string // such as "Tcp" or "Ip6"
	Name     string // such as "RetransSegs"
	Value    int64  // some are no counts: RtoMin are milliseconds, MaxConn may be -1
}

// CounterFiles are the files of /proc/<pid>/net that [ParseCounters] knows
// (proc_pid_net(5), Documentation/networking/snmp_counter.rst).
var CounterFiles = [...]string{"snmp", "netstat", "snmp6", "sctp/snmp"}

// ParseCounters reads one of [CounterFiles]. A line that cannot be understood
// costs itself; the error that comes with the rest tells of the first.
func ParseCounters(file string, b []byte) ([]Counter, error) {
	if file == "snmp" || file == "netstat" {
		return parsePairs(b)
	}
	var all []Counter
	var failure error
	for line := range bytes.SplitSeq(b, []byte{'\n'}) {
		fields := bytes.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if len(fields) != 2 {
			failure = firstError(failure, fmt.Errorf("no name and number in %q", line))
			continue
		}
		// In 64 bits without a sign (snmp6_seq_show_item64 in net/ipv6/proc.c).
		n, err := strconv.ParseUint(string(fields[1]), 10, 64)
		protocol, name := splitCounter(fields[0])
		if err != nil || name == "" {
			failure = firstError(failure, fmt.Errorf("no name and number in %q", line))
			continue
		}
		all = append(all, Counter{protocol, name, int64(n)})
	}
	return all, failure
}

// splitCounter parts a name such as "Udp6InDatagrams" behind the protocol.
func splitCounter(name []byte) (protocol, rest string) {
	for _, p := range [...]string{"UdpLite6", "Udp6", "Icmp6", "Ip6", "Sctp"} {
		if after, ok := bytes.CutPrefix(name, []byte(p)); ok {
			return p, string(after)
		}
	}
	return "", ""
}

// parsePairs reads lines that come in pairs, of names and of numbers, each
// behind the protocol and a colon (net/ipv4/proc.c).
func parsePairs(b []byte) ([]Counter, error) {
	var all []Counter
	var failure error
	var protocol, names []byte
	for line := range bytes.SplitSeq(b, []byte{'\n'}) {
		if len(line) == 0 {
			continue
		}
		head, rest, ok := bytes.Cut(line, []byte{':'})
		switch {
		case !ok:
			failure = firstError(failure, fmt.Errorf("no protocol in %q", clip(line)))
			protocol = nil
		case protocol == nil || !bytes.Equal(head, protocol):
			if protocol != nil {
				failure = firstError(failure, fmt.Errorf("no numbers of %s", protocol))
			}
			protocol, names = head, rest
		default:
			var err error
			all, err = appendCounters(all, string(protocol), bytes.Fields(names), bytes.Fields(rest))
			failure = firstError(failure, err)
			protocol = nil
		}
	}
	if protocol != nil {
		failure = firstError(failure, fmt.Errorf("no numbers of %s", protocol))
	}
	return all, failure
}

func appendCounters(all []Counter, protocol string, names, numbers [][]byte) ([]Counter, error) {
	if len(names) != len(numbers) {
		return all, fmt.Errorf("%d names and %d numbers of %s", len(names), len(numbers), protocol)
	}
	var failure error
	for i, name := range names {
		n, err := strconv.ParseInt(string(numbers[i]), 10, 64)
		if errors.Is(err, strconv.ErrRange) { // a count without a sign
			var u uint64
			u, err = strconv.ParseUint(string(numbers[i]), 10, 64)
			n = int64(u)
		}
		if err != nil {
			failure = firstError(failure, fmt.Errorf("%s of %s: no number: %q", name, protocol, clip(numbers[i])))
			continue
		}
		all = append(all, Counter{protocol, string(name), n})
	}
	return all, failure
}

// firstError returns the first of two errors that there is.
func firstError(first, second error) error {
	if first != nil {
		return first
	}
	return second
}

// clip shortens what a warning quotes.
func clip(b []byte) []byte { return b[:min(len(b), clipped)] }

package iptables

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// A Chain is a list of rules.
type Chain struct {
	Name string
	// Policy is what becomes of a packet that no rule decides on, "ACCEPT" or
	// "DROP"; empty for a chain that rules jump to.
	Policy string
	Counters
	Rules []Rule
}

// Counters say what a rule has matched, or a policy decided on.
type Counters struct{ Packets, Bytes uint64 }

// Inversions are the bits of ipt_ip.invflags: a condition holds if the packet
// is different.
type Inversions uint8

// The inversions (IPT_INV_* of ip_tables.h, XT_INV_PROTO of x_tables.h).
const (
	InvertIn       Inversions = 0x01
	InvertOut      Inversions = 0x02
	InvertSource   Inversions = 0x08
	InvertDest     Inversions = 0x10
	InvertFragment Inversions = 0x20
	InvertProtocol Inversions = 0x40
)

// A Rule is a struct ipt_entry with its matches and its target
// (include/uapi/linux/netfilter_ipv4/ip_tables.h, netfilter/x_tables.h).
type Rule struct {
	Counters
	Source, SourceMask, Dest, DestMask netip.Addr
	// In and Out are names of interfaces, empty for all. InMask and OutMask say
	// which of their bytes count, including the NUL.
	In, Out         string
	InMask, OutMask [unix.IFNAMSIZ]byte
	Protocol        uint16 // 0 for all
	Inverted        Inversions
	Matches         []string // names of the further conditions
	// SourcePorts and DestPorts are the ranges of the match tcp or udp.
	Ports                  bool // there is such a match
	SourcePorts, DestPorts [2]uint16
	// InvertedSourcePorts and InvertedDestPorts say that ports outside match.
	InvertedSourcePorts, InvertedDestPorts bool
	// Target is a verdict such as "ACCEPT", the name of a chain or of an
	// extension; empty if the rule only counts.
	Target string
}

const (
	entrySize = 112 // struct ipt_entry
	ruleSize  = 32  // struct xt_entry_match, xt_entry_target
	hooks     = 5   // NF_INET_NUMHOOKS
)

var hookNames = [hooks]string{"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"}

// errorTarget is the name of the target that begins a chain that rules jump to.
const errorTarget = "ERROR"

// An entry is a rule under way.
type entry struct {
	Rule
	offset  uint32
	end     uint32
	header  string // name of the chain that it begins
	verdict int32  // of the standard target
	plain   bool   // has the standard target
}

// parse takes the answers of IPT_SO_GET_INFO and IPT_SO_GET_ENTRIES apart.
func parse(info, blob []byte) ([]Chain, error) {
	if len(info) < infoSize {
		return nil, errors.New("info is too short")
	}
	word := func(at int) uint32 { return binary.NativeEndian.Uint32(info[at:]) }
	valid := word(nameSize)
	begins, policies := map[uint32]int{}, map[uint32]int{}
	for hook := range hooks {
		if valid&(1<<hook) != 0 {
			begins[word(nameSize+4+4*hook)] = hook
			policies[word(nameSize+4+4*hooks+4*hook)] = hook
		}
	}
	var entries []entry
	names := map[uint32]string{} // of chains, by where their first rule is
	var failure error
	for at := 0; at < len(blob); {
		e, err := parseEntry(blob[at:])
		if err != nil {
			failure = fmt.Errorf("rule at %d: %w", at, err)
			break
		}
		e.offset, e.end = uint32(at), uint32(at)+e.end
		if e.header != "" {
			names[e.end] = e.header
		}
		entries = append(entries, e)
		at = int(e.end)
	}
	var chains []Chain
	var current *Chain
	begin := func(name string) {
		chains = append(chains, Chain{Name: name})
		current = &chains[len(chains)-1]
	}
	for i := range entries {
		e := &entries[i]
		if hook, ok := begins[e.offset]; ok {
			begin(hookNames[hook])
		}
		if e.header != "" {
			begin(e.header)
			continue
		}
		if current == nil {
			continue
		}
		if _, ok := policies[e.offset]; ok {
			current.Policy, current.Counters = verdictName(e.verdict), e.Counters
			current = nil
			continue
		}
		if e.plain {
			e.Target = e.target(names)
		}
		// Every chain ends in a return that nobody wrote.
		last := i+1 == len(entries) || entries[i+1].header != ""
		if !last {
			_, last = begins[entries[i+1].offset]
		}
		if last && current.Policy == "" && e.plain && e.verdict == verdictReturn {
			continue
		}
		current.Rules = append(current.Rules, e.Rule)
	}
	// The last entry is a header of no chain, which ends the table.
	if n := len(chains); n > 0 && failure == nil && chains[n-1].Name == errorTarget {
		chains = chains[:n-1]
	}
	return chains, failure
}

// verdictReturn is XT_RETURN: -NF_REPEAT - 1.
const verdictReturn = -5

// verdictName returns what the standard target calls a verdict below zero, which
// is -n-1 for NF_n.
func verdictName(verdict int32) string {
	switch verdict {
	case -1:
		return "DROP"
	case -2:
		return "ACCEPT"
	case -4:
		return "QUEUE"
	case verdictReturn:
		return "RETURN"
	}
	return ""
}

// target returns where the standard target leads: to a verdict, to a chain, or
// on to the next rule.
func (e *entry) target(chains map[uint32]string) string {
	if e.verdict < 0 {
		return verdictName(e.verdict)
	}
	if uint32(e.verdict) == e.end {
		return ""
	}
	return chains[uint32(e.verdict)]
}

func parseEntry(b []byte) (entry, error) {
	if len(b) < entrySize {
		return entry{}, errors.New("too short")
	}
	target, next := int(binary.NativeEndian.Uint16(b[88:])), int(binary.NativeEndian.Uint16(b[90:]))
	if target < entrySize || next < target+ruleSize || next > len(b) {
		return entry{}, fmt.Errorf("target at %d, end at %d of %d bytes", target, next, len(b))
	}
	address := func(at int) netip.Addr { return netip.AddrFrom4([4]byte(b[at:])) }
	e := entry{end: uint32(next), Rule: Rule{
		Source: address(0), Dest: address(4), SourceMask: address(8), DestMask: address(12),
		In: unix.ByteSliceToString(b[16:32]), Out: unix.ByteSliceToString(b[32:48]),
		InMask: [unix.IFNAMSIZ]byte(b[48:]), OutMask: [unix.IFNAMSIZ]byte(b[64:]),
		Protocol: binary.NativeEndian.Uint16(b[80:]), Inverted: Inversions(b[83]),
		Counters: Counters{binary.NativeEndian.Uint64(b[96:]), binary.NativeEndian.Uint64(b[104:])},
	}}
	for at := entrySize; at < target; {
		size := 0
		if target-at >= ruleSize {
			size = int(binary.NativeEndian.Uint16(b[at:]))
		}
		if size < ruleSize || at+size > target {
			return entry{}, fmt.Errorf("match at %d has %d bytes", at, size)
		}
		e.match(unix.ByteSliceToString(b[at+2:at+ruleSize-1]), b[at+ruleSize:at+size])
		at += size
	}
	name, data := unix.ByteSliceToString(b[target+2:target+ruleSize-1]), b[target+ruleSize:next]
	switch {
	case name == "" && len(data) >= 4:
		e.plain, e.verdict = true, int32(binary.NativeEndian.Uint32(data))
	case name == errorTarget:
		if e.header = unix.ByteSliceToString(data); e.header == "" {
			e.header = errorTarget
		}
	default:
		e.Target = name
	}
	return e, nil
}

// match reads struct xt_tcp or xt_udp
// (include/uapi/linux/netfilter/xt_tcpudp.h): ranges of ports in host byte
// order, then, behind what TCP has of its own, which of them are inverted.
func (r *Rule) match(name string, data []byte) {
	r.Matches = append(r.Matches, name)
	inverted := 8
	switch name {
	case "tcp":
		inverted = 11
	case "udp":
	default:
		return
	}
	if len(data) <= inverted {
		return
	}
	port := func(i int) uint16 { return binary.NativeEndian.Uint16(data[2*i:]) }
	r.Ports = true
	r.SourcePorts, r.DestPorts = [2]uint16{port(0), port(1)}, [2]uint16{port(2), port(3)}
	r.InvertedSourcePorts, r.InvertedDestPorts = data[inverted]&1 != 0, data[inverted]&2 != 0
}

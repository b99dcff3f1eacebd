package iptables

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sockql/tables/internal/kerneltest"
)

func TestMain(m *testing.M) { kerneltest.Main(m) }

// standard makes an entry with matches and the standard target.
func standard(verdict int32, matches ...[]byte) []byte {
	return assemble(matches, "", binary.NativeEndian.AppendUint32(nil, uint32(verdict)))
}

func assemble(matches [][]byte, target string, data []byte) []byte {
	b := make([]byte, entrySize)
	copy(b[16:], "eth0\x00")
	copy(b[48:], "\xff\xff\xff\xff\xff")
	binary.NativeEndian.PutUint64(b[96:], 7)
	binary.NativeEndian.PutUint64(b[104:], 700)
	for _, m := range matches {
		b = append(b, m...)
	}
	binary.NativeEndian.PutUint16(b[88:], uint16(len(b)))
	b = append(b, extension(target, data)...)
	binary.NativeEndian.PutUint16(b[90:], uint16(len(b)))
	return b
}

// extension makes a match or a target.
func extension(name string, data []byte) []byte {
	b := make([]byte, ruleSize)
	binary.NativeEndian.PutUint16(b, uint16(ruleSize+len(data)))
	copy(b[2:], name)
	return append(b, data...)
}

// info makes a struct ipt_getinfo with the chain INPUT.
func info(begin, policy int) []byte {
	b := make([]byte, infoSize)
	binary.NativeEndian.PutUint32(b[nameSize:], 1<<1)
	binary.NativeEndian.PutUint32(b[nameSize+8:], uint32(begin))
	binary.NativeEndian.PutUint32(b[nameSize+4+4*hooks+4:], uint32(policy))
	return b
}

func ports(values ...uint16) []byte {
	var b []byte
	for _, v := range values {
		b = binary.NativeEndian.AppendUint16(b, v)
	}
	return b
}

// table is INPUT with a rule for tcp, one that goes on and a jump, then a chain.
func table() (blob []byte, policy int) {
	first := standard(-2, extension("tcp", append(ports(0, 65535, 22, 23), 0, 0, 0, 2)), extension("comment", nil))
	second := standard(0)
	jump := standard(0)
	end := standard(-1)
	header := assemble(nil, errorTarget, append([]byte("mine"), 0, 0))
	policy = len(first) + len(second) + len(jump)
	put := func(entry []byte, verdict int) {
		binary.NativeEndian.PutUint32(entry[len(entry)-4:], uint32(verdict))
	}
	put(second, len(first)+len(second))
	put(jump, policy+len(end)+len(header))
	return slices.Concat(first, second, jump, end, header, assemble(nil, "LOG", nil), standard(verdictReturn), assemble(nil, errorTarget, []byte("ERROR\x00"))), policy
}

func show(chains []Chain) string {
	var b strings.Builder
	for _, c := range chains {
		fmt.Fprintf(&b, "%s %s %d:%d;", c.Name, c.Policy, c.Packets, c.Bytes)
		for _, r := range c.Rules {
			fmt.Fprintf(&b, " %s %s %v %v %v %v;", r.In, r.Target, r.Matches, r.SourcePorts, r.DestPorts, r.InvertedDestPorts)
		}
	}
	return b.String()
}

func TestParse(t *testing.T) {
	blob, policy := table()
	chains, err := parse(info(0, policy), blob)
	want := "INPUT DROP 7:700; eth0 ACCEPT [tcp comment] [0 65535] [22 23] true; eth0  [] [0 0] [0 0] false; eth0 mine [] [0 0] [0 0] false;" +
		"mine  0:0; eth0 LOG [] [0 0] [0 0] false;"
	if got := show(chains); got != want || err != nil {
		t.Errorf("%v\n got %s\nwant %s", err, got, want)
	}
	// What is before the damage stays.
	if chains, err := parse(info(0, policy), blob[:policy+10]); err == nil || len(chains) != 1 || len(chains[0].Rules) != 3 {
		t.Errorf("cut: %s, %v", show(chains), err)
	}
	if _, err := parse(nil, blob); err == nil {
		t.Error("no info: no error")
	}
}

func FuzzParse(f *testing.F) {
	blob, policy := table()
	f.Add(info(0, policy), blob)
	f.Fuzz(func(t *testing.T, info, blob []byte) {
		chains, _ := parse(info, blob)
		rules := 0
		for _, c := range chains {
			if c.Name == "" {
				t.Fatal("a chain without name")
			}
			rules += len(c.Rules)
		}
		if most := len(blob) / (entrySize + ruleSize); rules > most {
			t.Fatalf("%d rules in %d bytes", rules, len(blob))
		}
	})
}

func TestReadRefused(t *testing.T) {
	if _, err := Read(strings.Repeat("x", 40)); !errors.Is(err, unix.ENAMETOOLONG) {
		t.Errorf("a long name: %v", err)
	}
}

package files

import (
	"encoding/binary"
	"strconv"
	"strings"
)

// capabilityNames are the names of capabilities by number
// (include/uapi/linux/capability.h).
var capabilityNames = [...]string{
	"cap_chown", "cap_dac_override", "cap_dac_read_search", "cap_fowner", "cap_fsetid", "cap_kill", "cap_setgid",
	"cap_setuid", "cap_setpcap", "cap_linux_immutable", "cap_net_bind_service", "cap_net_broadcast", "cap_net_admin",
	"cap_net_raw", "cap_ipc_lock", "cap_ipc_owner", "cap_sys_module", "cap_sys_rawio", "cap_sys_chroot",
	"cap_sys_ptrace", "cap_sys_pacct", "cap_sys_admin", "cap_sys_boot", "cap_sys_nice", "cap_sys_resource",
	"cap_sys_time", "cap_sys_tty_config", "cap_mknod", "cap_lease", "cap_audit_write", "cap_audit_control",
	"cap_setfcap", "cap_mac_override", "cap_mac_admin", "cap_syslog", "cap_wake_alarm", "cap_block_suspend",
	"cap_audit_read", "cap_perfmon", "cap_bpf", "cap_checkpoint_restore",
}

// capabilityFlags are the sets that a capability is in.
type capabilityFlags uint8

// The numbers decide the order in which cap_to_text(3) writes them.
const (
	effective capabilityFlags = 1 << iota
	permitted
	inheritable
	flagSets = 1 << iota // the number of different capabilityFlags
)

func (f capabilityFlags) String() string {
	var s string
	if f&effective != 0 {
		s = "e"
	}
	if f&inheritable != 0 {
		s += "i"
	}
	if f&permitted != 0 {
		s += "p"
	}
	return s
}

// The revisions of struct vfs_cap_data and how long it is in each
// (include/uapi/linux/capability.h). A third one names the user namespace.
const (
	capRevision1, capSize1 = 0x01000000, 12
	capRevision2, capSize2 = 0x02000000, 20
	capRevision3, capSize3 = 0x03000000, 24
	capEffective           = 1
)

// parseCapabilities takes struct vfs_cap_data apart, which is little-endian in
// every file system, and returns the sets of each capability.
func parseCapabilities(value []byte) (flags [64]capabilityFlags, ok bool) {
	if len(value) < 4 {
		return flags, false
	}
	magic := binary.LittleEndian.Uint32(value)
	n := len(flags)
	switch revision := magic &^ capEffective; {
	case revision == capRevision1 && len(value) == capSize1:
		n = 32
	case revision == capRevision2 && len(value) == capSize2, revision == capRevision3 && len(value) == capSize3:
	default:
		return flags, false
	}
	for i := range n {
		word, bit := value[4+8*(i/32):], uint32(1)<<(i%32)
		if binary.LittleEndian.Uint32(word)&bit != 0 {
			flags[i] |= permitted
		}
		if binary.LittleEndian.Uint32(word[4:])&bit != 0 {
			flags[i] |= inheritable
		}
		if flags[i] != 0 && magic&capEffective != 0 {
			flags[i] |= effective
		}
	}
	return flags, true
}

// capabilityText returns file capabilities as cap_to_text(3) writes them: the
// sets that most capabilities are in, then those that differ, then those
// without a name.
func capabilityText(value []byte) (string, bool) {
	flags, ok := parseCapabilities(value)
	if !ok {
		return "", false
	}
	named := flags[:len(capabilityNames)]
	var count [flagSets]int
	for _, f := range named {
		count[f]++
	}
	most := capabilityFlags(0)
	for f := range capabilityFlags(flagSets) {
		if count[f] > count[most] {
			most = f
		}
	}
	var parts []string
	if most != 0 {
		parts = append(parts, "="+most.String())
	}
	for f := capabilityFlags(flagSets); f > 0; {
		if f--; f == most || count[f] == 0 {
			continue
		}
		var names []string
		for i, have := range named {
			if have == f {
				names = append(names, capabilityNames[i])
			}
		}
		change := ""
		if added := f &^ most; added != 0 {
			change = "+" + added.String()
		}
		if removed := most &^ f; removed != 0 {
			change += "-" + removed.String()
		}
		if len(parts) == 0 { // "cap_kill=ep" is short for "= cap_kill+ep"
			change = "=" + f.String()
		}
		parts = append(parts, strings.Join(names, ",")+change)
	}
	if len(parts) == 0 {
		parts = append(parts, "=")
	}
	for f := capabilityFlags(flagSets); f > 1; {
		f--
		var numbers []string
		for i := len(named); i < len(flags); i++ {
			if flags[i] == f {
				numbers = append(numbers, strconv.Itoa(i))
			}
		}
		if len(numbers) > 0 {
			parts = append(parts, strings.Join(numbers, ",")+"+"+f.String())
		}
	}
	return strings.Join(parts, " "), true
}

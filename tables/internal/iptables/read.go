package iptables

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The socket options of include/uapi/linux/netfilter_ipv4/ip_tables.h.
const (
	getInfo    = 64 // IPT_SO_GET_INFO
	getEntries = 65 // IPT_SO_GET_ENTRIES
)

const (
	nameSize    = 32 // XT_TABLE_MAXNAMELEN
	infoSize    = 84 // struct ipt_getinfo
	entriesHead = 40 // struct ipt_get_entries up to the entries

	// maxSize bounds a table in bytes: the kernel's own limit is far above it.
	maxSize = 256 << 20

	// attempts is how often a table is read that changes in between.
	attempts = 5
)

// Read returns the chains of a table, such as "filter". The name should be one
// of /proc/net/ip_tables_names: the kernel loads a module for one that is not
// there yet. It fails with EPERM without CAP_NET_ADMIN, and with ENOPROTOOPT
// or ENOENT if there is no such table. Chains that come with an error are
// those before the damage.
func Read(table string) ([]Chain, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("iptables: open: socket: %w", err)
	}
	defer unix.Close(fd)
	if len(table) >= nameSize {
		return nil, fmt.Errorf("iptables: table %q: %w", table, unix.ENAMETOOLONG)
	}
	for n := 1; ; n++ {
		info := make([]byte, infoSize)
		copy(info, table)
		if err := getsockopt(fd, getInfo, info); err != nil {
			return nil, fmt.Errorf("iptables: table %q: get info: %w", table, err)
		}
		size := binary.NativeEndian.Uint32(info[80:])
		if size > maxSize {
			return nil, fmt.Errorf("iptables: table %q: %d bytes are too many", table, size)
		}
		entries := make([]byte, entriesHead+int(size))
		copy(entries, table)
		binary.NativeEndian.PutUint32(entries[nameSize:], size)
		err := getsockopt(fd, getEntries, entries)
		if errors.Is(err, unix.EAGAIN) && n < attempts {
			continue // the table has changed its size
		}
		if err != nil {
			return nil, fmt.Errorf("iptables: table %q: get entries: %w", table, err)
		}
		chains, err := parse(info, entries[entriesHead:])
		if err != nil {
			err = fmt.Errorf("iptables: table %q: %w", table, err)
		}
		return chains, err
	}
}

// getsockopt has the kernel read and fill in a buffer.
func getsockopt(fd, option int, buf []byte) error {
	size := uint32(len(buf))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_IP, uintptr(option),
		uintptr(unsafe.Pointer(unsafe.SliceData(buf))), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

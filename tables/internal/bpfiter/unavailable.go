package bpfiter

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"sockql/tables"
)

// initialPIDNamespace is the inode of the initial pid namespace in nsfs
// (PROC_PID_INIT_INO, include/linux/proc_ns.h).
const initialPIDNamespace = 0xeffffffc

// checkNamespace returns an error if processes have other numbers here than in
// the kernel's own eyes.
func (c Config) checkNamespace() error {
	var st unix.Stat_t
	path := filepath.Join(c.Proc, "self/ns/pid")
	if err := unix.Stat(path, &st); err != nil {
		return fmt.Errorf("bpfiter: %w: own pid namespace: stat %q: %w", tables.ErrUnavailable, path, err)
	}
	if st.Ino != initialPIDNamespace {
		return fmt.Errorf("bpfiter: %w: this pid namespace is not the host's; run on the host, or in a container with the host's (--pid=host)", tables.ErrUnavailable)
	}
	return nil
}

// explain says why the programs could not be loaded, and what to do about it.
// Only a failure has it look.
func (c Config) explain(err error) error {
	return fmt.Errorf("bpfiter: %w: %s: %w", tables.ErrUnavailable, c.reason(err), err)
}

// reason looks at what is to be seen before it looks at the error: without a
// capability, or locked down, the kernel gives one error here and another
// there.
func (c Config) reason(err error) string {
	switch missing := missingCapabilities(); {
	case errors.Is(err, unix.ENOSYS):
		return "the kernel has no bpf(2) (CONFIG_BPF_SYSCALL)"
	case errors.Is(err, fs.ErrNotExist) && !c.hasTypes():
		return "the kernel does not describe its types (CONFIG_DEBUG_INFO_BTF)"
	case missing != "":
		return "it needs " + missing + "; run as root or grant them (capabilities(7))"
	case c.lockedDown():
		return "the kernel is locked down (confidentiality), which forbids BPF to read it; boot with lockdown=integrity or none"
	case errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES):
		return "a security module, a seccomp filter or the user namespace forbids bpf(2)"
	}
	return "the kernel does not take the program, which needs Linux 5.17"
}

func (c Config) hasTypes() bool {
	_, err := os.Stat(c.types())
	return err == nil
}

// lockedDown reports whether kernel_lockdown(7) is at its highest level, of
// which the file marks the current one by brackets.
func (c Config) lockedDown() bool {
	b, err := os.ReadFile(filepath.Join(c.Sys, "kernel/security/lockdown"))
	return err == nil && bytes.Contains(b, []byte("[confidentiality]"))
}

// missingCapabilities names those that the process does not have, empty if
// none is missing or that cannot be told.
func missingCapabilities() string {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return ""
	}
	has := func(c uint) bool { return data[c/32].Effective&(1<<(c%32)) != 0 }
	bpf, perfmon := has(unix.CAP_BPF), has(unix.CAP_PERFMON)
	switch {
	case has(unix.CAP_SYS_ADMIN) || bpf && perfmon:
		return ""
	case bpf:
		return "CAP_PERFMON"
	case perfmon:
		return "CAP_BPF"
	}
	return "CAP_BPF and CAP_PERFMON"
}

package sockets

import (
	"fmt"

	"sockql/tables"
	"sockql/tables/internal/procfs"
	"sockql/tables/internal/sockdiag"
)

// A Source says where sockets are read from.
type Source string

// The sources.
const (
	Auto    Source = "auto"    // the best that answers, for each namespace and kind
	BPF     Source = "bpf"     // BPF iterators, and sock_diag or text for what no descriptor refers to
	Netlink Source = "netlink" // sock_diag(7) alone
	Procfs  Source = "procfs"  // the text of /proc/<pid>/net alone
)

// A Config says where the tables get their sockets.
type Config struct {
	// Proc is the procfs of the host, or a recorded tree. Of a recording that
	// holds them, answers of sock_diag take the kernel's place.
	Proc *procfs.FS
	// Source is where socket lists come from; empty stands for Auto.
	Source Source
	// Sys is where sysfs is mounted, which describes the kernel's types to BPF.
	// Empty leaves BPF out.
	Sys string
	// CgroupRoot is where the cgroup v2 hierarchy is mounted, alone or as
	// "unified" beside version 1; empty leaves cgroup_path NULL.
	CgroupRoot string
}

// A Host makes the tables of one host's sockets.
type Host struct {
	proc       *procfs.FS
	source     Source
	sys        string
	cgroupRoot string
	support    sockdiag.Support
	replay     *replay // of a recorded host, else nil
	lazyBPF    bpfSource
}

// Close removes from the kernel what scans have loaded. None may run any more.
func (h *Host) Close() error { return h.lazyBPF.close() }

// asksDiag reports whether sock_diag is asked at all, be it a recorded one.
func (h *Host) asksDiag() bool { return h.asksKernel() || h.source != Procfs && h.replay != nil }

// asksKernel reports whether the running kernel is asked for more than text.
func (h *Host) asksKernel() bool { return h.source != Procfs && h.proc.IsMounted() }

// New returns the tables' maker. It fails on a source that does not exist or
// that this host cannot have.
func New(c Config) (*Host, error) {
	switch c.Source {
	case "":
		c.Source = Auto
	case Auto, BPF, Netlink, Procfs:
	default:
		return nil, fmt.Errorf("sockets: no source %q: choose %s, %s, %s or %s", c.Source, Auto, BPF, Netlink, Procfs)
	}
	h := &Host{proc: c.Proc, source: c.Source, sys: c.Sys, cgroupRoot: c.CgroupRoot}
	if r := c.Proc.Recording(); r != nil {
		h.replay = &replay{r}
	}
	if c.Source == Netlink && !h.asksDiag() {
		return nil, fmt.Errorf("sockets: source %q: %w: %q is no mounted procfs, so its namespaces cannot be entered; leave the source out or choose %s",
			c.Source, tables.ErrUnavailable, c.Proc.Root(), Procfs)
	}
	if c.Source == BPF {
		if err := h.mayUseBPF(); err != nil {
			return nil, err
		}
		if c.Sys == "" {
			return nil, fmt.Errorf("sockets: source %q: %w: it needs sysfs", BPF, tables.ErrUnavailable)
		}
	}
	return h, nil
}

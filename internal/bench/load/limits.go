package load

import (
	"errors"
	"fmt"

	"github.com/shirou/gopsutil/v4/mem"
	"golang.org/x/sys/unix"
)

// What the load takes of a host: measured, and rounded up.
const (
	spareDescriptors = 32
	processMemory    = 4 << 20
	socketMemory     = 8 << 10
	namespaceMemory  = 2 << 20
)

// MaxNamespaces bounds the namespaces of one load: each takes a thread of the
// process that starts it.
const MaxNamespaces = 1000

// ErrTooLarge is in the error of a load that would take more of the host than
// there is.
var ErrTooLarge = errors.New("the load does not fit this host")

// Limits are what a load has to fit in.
type Limits struct {
	Memory      uint64 // bytes that can be taken without swapping
	Descriptors uint64 // of one process
	Processes   uint64 // of this user
}

// HostLimits returns the limits of this host for this process. It leaves a
// quarter of the available memory to others.
func HostLimits() (Limits, error) {
	memory, err := mem.VirtualMemory()
	if err != nil {
		return Limits{}, fmt.Errorf("available memory: %w", err)
	}
	l := Limits{Memory: memory.Available / 4 * 3}
	for resource, to := range map[int]*uint64{unix.RLIMIT_NOFILE: &l.Descriptors, unix.RLIMIT_NPROC: &l.Processes} {
		var limit unix.Rlimit
		if err := unix.Getrlimit(resource, &limit); err != nil {
			return Limits{}, fmt.Errorf("getrlimit: %w", err)
		}
		*to = limit.Max
	}
	return l, nil
}

// Check tells whether a load makes sense and fits. The error of one that does
// not fit is [ErrTooLarge], with what it lacks.
func (c Config) Check(l Limits) error {
	switch {
	case c.Processes < 1 || c.Sockets < c.Processes:
		return fmt.Errorf("%d sockets of %d processes: each process holds at least one", c.Sockets, c.Processes)
	case c.Namespaces < 0 || c.Namespaces > c.Processes || c.Namespaces > MaxNamespaces:
		return fmt.Errorf("%d namespaces of %d processes: each needs a process, and there may be %d", c.Namespaces, c.Processes, MaxNamespaces)
	}
	each := uint64((c.Sockets+c.Processes-1)/c.Processes + spareDescriptors)
	memory := uint64(c.Processes)*processMemory + uint64(c.Sockets)*socketMemory + uint64(c.Namespaces)*namespaceMemory
	switch {
	case each > l.Descriptors:
		return fmt.Errorf("%w: each process needs %d descriptors and may have %d (ulimit -Hn): use more processes", ErrTooLarge, each, l.Descriptors)
	case uint64(c.Processes+spareDescriptors) > l.Descriptors:
		return fmt.Errorf("%w: it takes %d descriptors to hold %d processes and there may be %d (ulimit -Hn): use fewer processes", ErrTooLarge, c.Processes+spareDescriptors, c.Processes, l.Descriptors)
	case uint64(c.Processes) > l.Processes:
		return fmt.Errorf("%w: %d processes, and this user may have %d (ulimit -Hu)", ErrTooLarge, c.Processes, l.Processes)
	case memory > l.Memory:
		return fmt.Errorf("%w: it takes about %d MiB of memory and %d MiB may be taken: use fewer sockets or processes", ErrTooLarge, memory>>20, l.Memory>>20)
	}
	return nil
}

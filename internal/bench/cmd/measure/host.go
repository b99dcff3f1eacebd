package main

import (
	"fmt"
	"os"
	"runtime"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/mem"
	"golang.org/x/sys/unix"

	"sockql/internal/bench/timing"
)

func describeHost() (timing.Host, error) {
	h := timing.Host{Cores: runtime.NumCPU(), Root: os.Geteuid() == 0}
	cpus, err := cpu.Info()
	if err != nil {
		return h, fmt.Errorf("processor: %w", err)
	}
	if len(cpus) > 0 {
		h.CPU = cpus[0].ModelName
	}
	memory, err := mem.VirtualMemory()
	if err != nil {
		return h, fmt.Errorf("memory: %w", err)
	}
	h.Memory = memory.Total
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return h, fmt.Errorf("uname: %w", err)
	}
	h.Kernel = unix.ByteSliceToString(name.Release[:])
	return h, nil
}

// ownPeak is the peak of this process's resident memory in bytes.
func ownPeak() (int64, error) {
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		return 0, fmt.Errorf("getrusage: %w", err)
	}
	return usage.Maxrss << 10, nil
}

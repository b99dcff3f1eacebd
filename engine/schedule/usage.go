package schedule

import (
	"runtime/metrics"
	"syscall"
	"time"

	"sockql/engine"
)

// Usage is what a process has taken.
type Usage struct {
	User, System time.Duration
	// Memory is in bytes: Go's, without what was given back, and SQLite's.
	Memory int64
}

// ReadUsage returns what this process has taken (getrusage(2)).
func ReadUsage() Usage {
	var u Usage
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) == nil {
		u.User, u.System = time.Duration(r.Utime.Nano()), time.Duration(r.Stime.Nano())
	}
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(samples)
	for i, s := range samples {
		if s.Value.Kind() == metrics.KindUint64 {
			u.Memory += int64(s.Value.Uint64()) * int64(1-2*i)
		}
	}
	u.Memory += engine.MemoryUsed()
	return u
}

// ReadMemory returns the bytes that this process has in use: of Go's heap what
// the last garbage collection found in use, which runs whenever the heap has
// doubled, and all of SQLite's.
func ReadMemory() int64 {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	n := engine.MemoryUsed()
	if live[0].Value.Kind() == metrics.KindUint64 {
		n += int64(live[0].Value.Uint64())
	}
	return n
}

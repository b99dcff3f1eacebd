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

// ReadMemory returns the bytes that Go's objects, garbage that was not collected
// yet among them, and SQLite take.
func ReadMemory() int64 {
	objects := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(objects)
	n := engine.MemoryUsed()
	if objects[0].Value.Kind() == metrics.KindUint64 {
		n += int64(objects[0].Value.Uint64())
	}
	return n
}

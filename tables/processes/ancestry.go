package processes

import (
	"context"
	"encoding/json"

	"sockql/tables/internal/procfs"
)

// maxAncestors bounds how far up a process is followed. Numbers are used again,
// so that what was read at different times may form a circle.
const maxAncestors = 256

// An ancestor is a process that another one descends from.
type ancestor struct {
	PID  int32  `json:"pid"`
	Name string `json:"name"`
}

// A lineage knows who descends from whom. It reads each process once.
type lineage struct {
	proc  *procfs.FS
	known map[int32]kin
}

// kin is what a lineage knows of one process.
type kin struct {
	parent int32
	name   string
}

func newLineage(proc *procfs.FS) *lineage { return &lineage{proc, map[int32]kin{}} }

// of appends the ancestors of a process to dst, the parent first. They end at a
// process without a parent in its pid namespace, and at one that cannot be
// read any more.
func (l *lineage) of(ctx context.Context, pid int32, dst []ancestor) ([]ancestor, error) {
	self, err := l.read(pid)
	if err != nil {
		return dst, err
	}
	for at := self.parent; at > 0 && len(dst) < maxAncestors; {
		if ctx.Err() != nil {
			return dst, context.Cause(ctx)
		}
		k, err := l.read(at)
		if err != nil {
			break
		}
		dst = append(dst, ancestor{at, k.name})
		at = k.parent
	}
	return dst, nil
}

func (l *lineage) read(pid int32) (kin, error) {
	if k, ok := l.known[pid]; ok {
		return k, nil
	}
	stat, err := l.proc.Stat(pid)
	if err != nil {
		return kin{}, err
	}
	k := kin{stat.Parent, stat.Comm}
	l.known[pid] = k
	return k, nil
}

// ancestry returns ancestors as JSON. Bytes of a name that are not UTF-8 become
// the replacement character.
func ancestry(list []ancestor) string {
	if len(list) == 0 {
		return "[]"
	}
	text, err := json.Marshal(list)
	if err != nil {
		return "[]" // numbers and texts are always valid
	}
	return string(text)
}

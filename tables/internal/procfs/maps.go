package procfs

import (
	"fmt"
	"io"
)

// A Mapping is one line of /proc/<pid>/maps (proc_pid_maps(5)).
type Mapping struct {
	Start, End  uint64 // the first address, and the first one behind
	Permissions string // r, w, x or - each, then p for private or s for shared
	Offset      uint64 // in the file, in bytes
	Device      string // major and minor number in hexadecimal digits, with a colon between
	Inode       uint64 // 0 for memory that is not of a file
	// Path is that of the file, with " (deleted)" after it if it is gone, a
	// name in brackets, or empty. A newline in it is written \012.
	Path string
}

// Maps calls yield for the mappings of a process, ascending, until it returns
// false. For another user's process it takes CAP_SYS_PTRACE. The Mapping is
// reused. Where lines were malformed, the others are handed over before the
// error is returned. A kernel thread and a zombie have no mappings.
func (p *FS) Maps(pid int32, yield func(*Mapping) bool) error {
	path, err := processPath(pid, "maps")
	if err != nil {
		return err
	}
	f, err := p.open(path, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	pooled := p.buffer()
	defer p.release(pooled)
	lines := lineReader{r: f, buf: *pooled}
	var m Mapping
	var malformed error
	for {
		line, err := lines.next()
		switch {
		case err == io.EOF:
			return malformed
		case err == errLineTooLong:
		case err != nil:
			return &Error{Op: "read", Path: path, Err: err}
		default:
			err = parseMapping(line, &m)
		}
		if err != nil {
			malformed = &Error{Op: "parse", Path: path, Err: fmt.Errorf("line %d: %w", lines.number, err)}
			continue
		}
		if !yield(&m) {
			return nil
		}
	}
}

// parseMapping reads a line of show_map_vma (fs/proc/task_mmu.c), which pads
// the numbers so that paths stand in one column.
func parseMapping(line []byte, m *Mapping) error {
	c := cursor{line: line}
	*m = Mapping{Start: c.hex(1, "start")}
	if c.at >= len(line) || line[c.at] != '-' {
		c.fail("end")
	}
	c.at = min(c.at+1, len(line))
	m.End = c.hex(1, "end")
	m.Permissions = string(c.token("permissions"))
	c.more()
	m.Offset = c.hex(1, "offset")
	m.Device = string(c.token("device"))
	m.Inode = c.dec("inode")
	if c.bad == "" && c.more() {
		m.Path = string(line[c.at:])
	}
	return c.err()
}

package procfs

import (
	"bytes"
	"errors"
	"fmt"
)

// A Stat is what tables use of /proc/<pid>/stat (proc_pid_stat(5); do_task_stat
// of fs/proc/array.c). Ticks are [FS.ClockTicks] a second.
type Stat struct {
	PID         int32
	Comm        string // at most 15 bytes, of any value; a kernel thread's may be longer
	State       byte   // R running, S sleeping, D uninterruptible, Z zombie, T stopped, t traced, I idle, X dead
	Parent      int32
	Group       int32 // process group
	Session     int32
	TTY         int32  // device number of the controlling terminal, 0 without one
	UserTicks   uint64 // time in user mode, of all threads
	SystemTicks uint64 // time in kernel mode, of all threads
	Priority    int32
	Nice        int32 // 19 lowest to -20 highest priority
	Threads     int32
	StartTicks  uint64 // time after boot when it started
	VirtualSize uint64 // bytes
	RSS         int64  // pages; the kernel calls it inaccurate: see [Status]
}

// Stat reads /proc/<pid>/stat. Everybody may.
func (p *FS) Stat(pid int32) (Stat, error) {
	var s Stat
	err := p.readProcess(pid, "stat", func(b []byte) (err error) {
		s, err = parseStat(b)
		return err
	})
	return s, err
}

// TaskStat reads /proc/<pid>/task/<tid>/stat.
func (p *FS) TaskStat(pid, tid int32) (Stat, error) {
	var s Stat
	err := p.readProcess(pid, fmt.Sprintf("task/%d/stat", tid), func(b []byte) (err error) {
		s, err = parseStat(b)
		return err
	})
	return s, err
}

// parseStat takes the name to end at the last parenthesis: a process may put
// spaces, parentheses and newlines into it (PR_SET_NAME(2const)).
func parseStat(b []byte) (Stat, error) {
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 1 || end < open {
		return Stat{}, errors.New("no name in parentheses")
	}
	head := cursor{line: b[:open]}
	s := Stat{PID: head.signed("pid"), Comm: string(b[open+1 : end])}
	c := cursor{line: bytes.TrimRight(b[end+1:], "\n")}
	if state := c.token("state"); len(state) == 1 {
		s.State = state[0]
	} else {
		c.fail("state")
	}
	s.Parent = c.signed("ppid")
	s.Group = c.signed("pgrp")
	s.Session = c.signed("session")
	s.TTY = c.signed("tty_nr")
	c.skip(6, "flags and faults") // tpgid flags minflt cminflt majflt cmajflt
	s.UserTicks = c.dec("utime")
	s.SystemTicks = c.dec("stime")
	c.skip(2, "times of children") // cutime cstime
	s.Priority = c.signed("priority")
	s.Nice = c.signed("nice")
	s.Threads = c.signed("num_threads")
	c.skip(1, "itrealvalue")
	s.StartTicks = c.dec("starttime")
	s.VirtualSize = c.dec("vsize")
	s.RSS = c.signed64("rss")
	return s, errors.Join(head.err(), c.err())
}

// skip leaves columns out.
func (c *cursor) skip(columns int, what string) {
	for range columns {
		c.token(what)
	}
}

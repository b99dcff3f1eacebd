package procfs

import (
	"bytes"
	"errors"
	"math"
	"strings"
)

// IDs are the four user or group numbers of a process (credentials(7)), in the
// user namespace of whoever opened the procfs file.
type IDs struct{ Real, Effective, Saved, FS uint32 }

// A Status is what tables use of /proc/<pid>/status (proc_pid_status(5);
// proc_pid_status of fs/proc/array.c). Fields that the file lacks are zero: a
// kernel thread has no memory.
type Status struct {
	Name                     string // as [Stat.Comm]
	State                    byte   // as [Stat.State]
	ThreadGroup              int32  // the process's number, also in a thread's file
	PID                      int32  // the thread's number
	Parent                   int32
	UID, GID                 IDs
	Groups                   []uint32 // supplementary groups
	NSPIDs                   []int32  // its numbers from the procfs's pid namespace down to its own; Linux 4.1
	VirtualSize              uint64   // VmSize, bytes
	LockedSize               uint64   // VmLck, bytes
	PinnedSize               uint64   // VmPin, bytes
	ResidentSize             uint64   // VmRSS, bytes
	Threads                  int32
	EffectiveCapabilities    uint64 // CapEff, bit n is capability n of capabilities(7)
	VoluntarySwitches        uint64
	InvoluntarySwitches      uint64
	KernelThread             bool // Kthread; Linux 6.8
	NoNewPrivileges, Seccomp uint8
}

// Status reads /proc/<pid>/status. Everybody may.
func (p *FS) Status(pid int32) (Status, error) {
	var s Status
	err := p.readProcess(pid, "status", func(b []byte) (err error) {
		s, err = parseStatus(b)
		return err
	})
	return s, err
}

// ThreadGroup returns the number of the process that a thread belongs to. The
// kernel answers to /proc/<tid> for every thread, although it lists only
// processes: the two are equal for a process.
func (p *FS) ThreadGroup(tid int32) (int32, error) {
	s, err := p.Status(tid)
	return s.ThreadGroup, err
}

func parseStatus(b []byte) (Status, error) {
	var s Status
	err := eachField(b, "Pid", s.set)
	return s, err
}

// eachField calls f for each line of a key, a colon and a value. Lines whose
// value is malformed, and the lack of a key that is always there, are the
// error.
func eachField(b []byte, always string, f func(key []byte, c *cursor)) error {
	var errs []error
	var c cursor // one for all lines: it escapes
	seen := false
	for line := range bytes.SplitSeq(b, []byte{'\n'}) {
		key, value, ok := bytes.Cut(line, []byte{':'})
		if !ok {
			continue
		}
		c = cursor{line: value}
		f(key, &c)
		if err := c.err(); err != nil {
			errs = append(errs, err)
		}
		seen = seen || string(key) == always
	}
	if !seen {
		errs = append(errs, errors.New("no "+always))
	}
	return errors.Join(errs...)
}

func (s *Status) set(key []byte, c *cursor) {
	switch string(key) {
	case "Name":
		s.Name = unescapeName(string(bytes.TrimPrefix(c.line, []byte{'\t'})))
	case "State":
		if state := c.token("State"); len(state) > 0 {
			s.State = state[0]
		}
	case "Tgid":
		s.ThreadGroup = c.signed("Tgid")
	case "Pid":
		s.PID = c.signed("Pid")
	case "PPid":
		s.Parent = c.signed("PPid")
	case "Uid":
		s.UID = c.ids("Uid")
	case "Gid":
		s.GID = c.ids("Gid")
	case "Groups":
		for c.more() {
			s.Groups = append(s.Groups, c.dec32("Groups"))
		}
	case "NSpid":
		for c.more() {
			s.NSPIDs = append(s.NSPIDs, c.signed("NSpid"))
		}
	case "VmSize":
		s.VirtualSize = c.kibibytes("VmSize")
	case "VmLck":
		s.LockedSize = c.kibibytes("VmLck")
	case "VmPin":
		s.PinnedSize = c.kibibytes("VmPin")
	case "VmRSS":
		s.ResidentSize = c.kibibytes("VmRSS")
	case "Threads":
		s.Threads = c.signed("Threads")
	case "CapEff":
		c.more()
		s.EffectiveCapabilities = c.hex(1, "CapEff")
	case "voluntary_ctxt_switches":
		s.VoluntarySwitches = c.dec("voluntary_ctxt_switches")
	case "nonvoluntary_ctxt_switches":
		s.InvoluntarySwitches = c.dec("nonvoluntary_ctxt_switches")
	case "Kthread":
		s.KernelThread = c.dec("Kthread") != 0
	case "NoNewPrivs":
		s.NoNewPrivileges = uint8(min(c.dec("NoNewPrivs"), math.MaxUint8))
	case "Seccomp":
		s.Seccomp = uint8(min(c.dec("Seccomp"), math.MaxUint8))
	}
}

func (c *cursor) ids(column string) IDs {
	return IDs{c.dec32(column), c.dec32(column), c.dec32(column), c.dec32(column)}
}

// kibibytes takes a size such as "3060 kB" and returns bytes.
func (c *cursor) kibibytes(column string) uint64 {
	n := c.dec(column)
	if n > math.MaxUint64/1024 {
		c.fail(column)
		return 0
	}
	return n * 1024
}

// unescapeName undoes what the kernel does to a newline and a backslash in the
// name of a process (proc_task_name).
func unescapeName(name string) string {
	if !strings.Contains(name, `\`) {
		return name
	}
	return strings.NewReplacer(`\n`, "\n", `\\`, `\`).Replace(name)
}

// HasCapability reports whether an effective capability of capabilities(7) is
// set.
func (s *Status) HasCapability(capability int) bool {
	return capability >= 0 && capability < 64 && s.EffectiveCapabilities>>capability&1 != 0
}

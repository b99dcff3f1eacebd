package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"sockql/tables/internal/procfs"
	"sockql/tables/sockets"
)

// A Config says what is examined.
type Config struct {
	// Proc is the mount point of a procfs.
	Proc string
	// Sys is the mount point of sysfs.
	Sys string
	// CgroupRoot is the mount point of the cgroup v2 hierarchy, as
	// [sockets.Config] has it.
	CgroupRoot string
}

// A Status is the outcome of a check.
type Status string

// The outcomes.
const (
	OK      Status = "ok"
	Limited Status = "limited" // it works in part
	Missing Status = "missing" // it does not work
	Absent  Status = "absent"  // this kernel has nothing that it could show
)

// A Check is one thing that was tried.
type Check struct {
	Name   string `json:"name"`
	Status Status `json:"status"`
	// Found says what was seen.
	Found string `json:"found"`
	// Why says what is in the way, Remedy what would help. Both are empty where
	// nothing is missing.
	Why    string `json:"why,omitempty"`
	Remedy string `json:"remedy,omitempty"`
	// Needed says that without it some socket or holder cannot be seen.
	Needed bool `json:"needed"`
}

// A Report is the outcome of an examination.
type Report struct {
	Kernel string `json:"kernel"` // its release, as uname(2) gives it
	User   int    `json:"user"`   // the effective user
	// Capabilities are those of capabilities(7) in effect that matter here.
	Capabilities []string `json:"capabilities"`
	Checks       []Check  `json:"checks"`
	// Complete says that every socket of the host can be seen with everyone who
	// holds it: all needed checks are ok.
	Complete bool `json:"complete"`
}

// Examine examines a host. It fails if Proc is no mounted procfs, and with the
// context's cause when ctx ends.
func Examine(ctx context.Context, c Config) (*Report, error) {
	proc, err := procfs.Open(c.Proc)
	if err != nil {
		return nil, err
	}
	defer proc.Close()
	if !proc.IsMounted() {
		return nil, fmt.Errorf("doctor: %q is a recorded tree, of which everything can be read: name the mount point of a procfs", c.Proc)
	}
	e := &examination{proc: proc, root: c.Proc, sys: c.Sys, capabilities: effective(), report: &Report{User: unix.Geteuid()}}
	var name unix.Utsname
	if err := unix.Uname(&name); err == nil {
		e.report.Kernel = unix.ByteSliceToString(name.Release[:])
	}
	for _, c := range knownCapabilities {
		if e.has(c.bit) {
			e.report.Capabilities = append(e.report.Capabilities, c.name)
		}
	}
	for _, examine := range []func(context.Context) error{
		e.procfs, e.bpf, e.hidePID, e.texts, e.descriptors, e.spaces, e.diag, e.lookups, e.threads, e.marks,
	} {
		if err := examine(ctx); err != nil {
			return nil, err
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
	e.cgroups(c.CgroupRoot)
	e.report.Complete = true
	for i := range e.report.Checks {
		c := &e.report.Checks[i]
		if e.byBPF && slices.Contains(sparedByBPF, c.Name) {
			c.Needed = false
		}
		if c.Needed && c.Status != OK {
			e.report.Complete = false
		}
	}
	return e.report, nil
}

// sparedByBPF are checks that only other sources need.
var sparedByBPF = []string{"hidden processes", "descriptors", "namespaces", "inspection"}

// An examination is one call of Examine.
type examination struct {
	proc         *procfs.FS
	root, sys    string
	capabilities uint64
	report       *Report

	pids  []int32
	byBPF bool // BPF reads every descriptor table
}

func (e *examination) add(c Check) { e.report.Checks = append(e.report.Checks, c) }

// The capabilities of capabilities(7) that have a say.
var knownCapabilities = [...]struct {
	bit  int
	name string
}{
	{unix.CAP_SYS_PTRACE, "CAP_SYS_PTRACE"},
	{unix.CAP_DAC_READ_SEARCH, "CAP_DAC_READ_SEARCH"},
	{unix.CAP_SYS_ADMIN, "CAP_SYS_ADMIN"},
	{unix.CAP_NET_ADMIN, "CAP_NET_ADMIN"},
	{unix.CAP_BPF, "CAP_BPF"},
	{unix.CAP_PERFMON, "CAP_PERFMON"},
}

// effective returns the calling process's effective capabilities.
func effective() uint64 {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if unix.Capget(&header, &data[0]) != nil {
		return 0
	}
	return uint64(data[1].Effective)<<32 | uint64(data[0].Effective)
}

func (e *examination) has(capability int) bool { return e.capabilities&(1<<capability) != 0 }

// lacks explains a denial by the capabilities that would have helped, or by
// what denies even those who have them.
func (e *examination) lacks(capabilities ...int) (why, remedy string) {
	var names []string
	for _, c := range knownCapabilities {
		for _, wanted := range capabilities {
			// CAP_DAC_OVERRIDE does what CAP_DAC_READ_SEARCH does, and more.
			if c.bit == wanted && !e.has(c.bit) && !(wanted == unix.CAP_DAC_READ_SEARCH && e.has(unix.CAP_DAC_OVERRIDE)) {
				names = append(names, c.name)
			}
		}
	}
	if len(names) > 0 {
		list := strings.Join(names, " and ")
		return list + " missing", "run it as root or grant " + list + " (setcap, systemd's AmbientCapabilities=, docker run --cap-add)"
	}
	if inode, err := e.proc.Namespace(int32(unix.Getpid()), "user"); err == nil && inode != initialUserNamespace {
		return "the capabilities are those of a user namespace, not of the host", "run it outside of the user namespace, in a container without userns-remap or as a rootful one"
	}
	return "a security module (SELinux, AppArmor, Landlock) or a sandbox denies it even to those who have the capabilities", "allow sockql to read other processes (ptrace read) in the module's policy"
}

// initialUserNamespace is the inode of the host's user namespace
// (include/linux/proc_ns.h, PROC_USER_INIT_INO).
const initialUserNamespace = 0xEFFFFFFD

func denied(err error) bool { return errors.Is(err, fs.ErrPermission) }

// count writes "1 process", "2 processes" and the like.
func count(n int, singular, plural string) string {
	if n == 1 {
		return "1 " + singular
	}
	return fmt.Sprintf("%d %s", n, plural)
}

func (e *examination) cgroups(root string) {
	c := Check{Name: "cgroups", Status: OK}
	n := len(sockets.CgroupPaths(root))
	c.Found = count(n, "directory of cgroup v2", "directories of cgroup v2")
	if n == 0 {
		c.Status = Missing
		c.Why = fmt.Sprintf("no cgroup v2 hierarchy is mounted at %q or at \"unified\" below it", root)
		c.Remedy = "mount -t cgroup2 none /sys/fs/cgroup; cgroup_path is NULL meanwhile"
	}
	e.add(c)
}

package doctor_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"sockql/tables/internal/kerneltest"
)

// defaultCapabilities are what Docker and Podman leave to root in a container.
var defaultCapabilities = []int{
	unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_FSETID, unix.CAP_FOWNER, unix.CAP_MKNOD, unix.CAP_NET_RAW,
	unix.CAP_SETGID, unix.CAP_SETUID, unix.CAP_SETFCAP, unix.CAP_SETPCAP, unix.CAP_NET_BIND_SERVICE,
	unix.CAP_SYS_CHROOT, unix.CAP_KILL, unix.CAP_AUDIT_WRITE,
}

// hostCapabilities are what the run command of docs/containers.md adds.
var hostCapabilities = append([]int{unix.CAP_SYS_PTRACE, unix.CAP_SYS_ADMIN, unix.CAP_NET_ADMIN}, defaultCapabilities...)

// TestContainers makes what container runtimes make of their options, as far as
// it matters, and holds what is seen from inside against docs/containers.md.
func TestContainers(t *testing.T) {
	kerneltest.RequireRoot(t)
	s := newScene(t)
	dir, err := os.MkdirTemp("", "container")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	host := filepath.Join(dir, "host")
	if err := os.Mkdir(host, 0o755); err != nil {
		t.Fatal(err)
	}
	const isolated = syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET
	containers := []struct {
		name  string
		task  task
		flags uintptr
		// numbers says whether the procfs is that of the container's own pid
		// namespace: what the examination finds of it.
		numbers, procfs string
		rootless        bool
	}{
		{name: "nothing", task: task{Mount: kernelRoot, Keep: defaultCapabilities}, flags: isolated, numbers: "ok", procfs: "limited"},
		{name: "rootless, nothing", task: task{Mount: kernelRoot}, flags: isolated, numbers: "ok", procfs: "limited", rootless: true},
		{name: "`-v /proc:/host/proc:ro`", task: task{Mount: kernelRoot, Host: host, Proc: host, Keep: defaultCapabilities}, flags: isolated, numbers: "missing", procfs: "ok"},
		{name: "`-v /proc:/host/proc:ro` and capabilities", task: task{Mount: kernelRoot, Host: host, Proc: host, Keep: hostCapabilities}, flags: isolated, numbers: "missing", procfs: "ok"},
		{name: "`--pid=host`", task: task{Keep: defaultCapabilities}, flags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET, numbers: "ok", procfs: "ok"},
		{name: "`--pid=host` and capabilities", task: task{Keep: hostCapabilities}, flags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET, numbers: "ok", procfs: "ok"},
	}
	var names []string
	for _, c := range containers {
		names = append(names, c.name)
	}
	m := newMatrix("what is seen with", names...)
	for _, c := range containers {
		c.task.Step, c.task.Scene = "prepare", s
		attr := &syscall.SysProcAttr{Cloneflags: c.flags}
		if c.rootless {
			// Root of the container is an ordinary user of the host.
			attr.Cloneflags |= syscall.CLONE_NEWUSER
			attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: nobody, Size: 1}}
			attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: nobody, Size: 1}}
			attr.Credential = &syscall.Credential{NoSetGroups: true}
		}
		a := run[answer](t, c.task, attr)
		if a.Wrong != nil {
			t.Errorf("%s: numbers of two pid namespaces were mixed: %q", c.name, a.Wrong)
		}
		if a.Checks["process numbers"] != c.numbers || a.Checks["procfs"] != c.procfs {
			t.Errorf("%s: the examination finds the numbers %s and the procfs %s", c.name, a.Checks["process numbers"], a.Checks["procfs"])
		}
		for _, fact := range a.Order {
			switch fact {
			case "sockets in the test's namespace":
				m.set("sockets of the host", c.name, yes(a.Facts[fact]))
			case "sockets in other namespaces where processes live":
				m.set("sockets of other containers", c.name, yes(a.Facts[fact]))
			case "holders of other users' sockets":
				m.set("who holds them", c.name, yes(a.Facts[fact]))
			case "holders of the same user's sockets", "what only sock_diag tells, in namespaces of the same user's processes":
				// Whose user that is says nothing of a container.
			default:
				m.set(fact, c.name, yes(a.Facts[fact]))
			}
		}
	}
	m.compare(t, "containers.md")
	if threads := kerneltest.ForeignThreads(t); threads != nil {
		t.Errorf("threads were left in other namespaces: %v", threads)
	}
}

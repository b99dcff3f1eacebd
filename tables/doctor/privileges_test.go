package doctor_test

import (
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"sockql/tables/internal/bpfiter"
	"sockql/tables/internal/kerneltest"
)

// requireBPF skips a test whose table a host without BPF would not fill.
func requireBPF(t *testing.T) {
	t.Helper()
	s, err := bpfiter.Open(bpfiter.Config{Proc: kernelRoot, Sys: "/sys"}, nil)
	if err != nil {
		t.Skip(err)
	}
	s.Close()
}

// TestPrivileges drops to each set of capabilities and holds what is seen then
// against docs/privileges.md.
func TestPrivileges(t *testing.T) {
	kerneltest.RequireRoot(t)
	requireBPF(t)
	s := newScene(t)
	sets := []struct {
		name    string
		ambient []uintptr // of an ordinary user's process; nil for none
		root    bool
		limited []string // checks of the examination that are needed and not ok
	}{
		{"none", nil, false, []string{"descriptors", "entering namespaces", "inspection", "mounted namespaces", "namespaces"}},
		{"SYS_PTRACE + DAC_READ_SEARCH", []uintptr{unix.CAP_SYS_PTRACE, unix.CAP_DAC_READ_SEARCH}, false, []string{"entering namespaces", "inspection", "mounted namespaces"}},
		{"NET_ADMIN", []uintptr{unix.CAP_NET_ADMIN}, false, []string{"descriptors", "entering namespaces", "inspection", "mounted namespaces", "namespaces"}},
		{"SYS_ADMIN", []uintptr{unix.CAP_SYS_ADMIN}, false, []string{"descriptors", "inspection", "mounted namespaces", "namespaces"}},
		{"BPF + PERFMON", []uintptr{unix.CAP_BPF, unix.CAP_PERFMON}, false, []string{"descriptors", "entering namespaces", "inspection", "mounted namespaces", "namespaces"}},
		{"all four", []uintptr{unix.CAP_SYS_PTRACE, unix.CAP_DAC_READ_SEARCH, unix.CAP_NET_ADMIN, unix.CAP_SYS_ADMIN}, false, nil},
		{"root", nil, true, nil},
	}
	var names []string
	for _, set := range sets {
		names = append(names, set.name)
	}
	m := newMatrix("what is seen with", names...)
	for _, set := range sets {
		attr := &syscall.SysProcAttr{AmbientCaps: set.ambient}
		if !set.root {
			attr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
		}
		a := run[answer](t, task{Scene: s}, attr)
		if a.Wrong != nil {
			t.Errorf("%s: wrong holders %q", set.name, a.Wrong)
		}
		var limited []string
		for _, name := range []string{"procfs", "process numbers", "hidden processes", "text lists", "descriptors", "namespaces", "entering namespaces", "mounted namespaces", "inspection"} {
			// The host may have a process that a security module keeps from
			// everybody.
			spared := slices.Contains(set.ambient, unix.CAP_SYS_PTRACE) || set.root
			if a.Checks[name] != "ok" && !(spared && (name == "descriptors" || name == "namespaces")) {
				limited = append(limited, name)
			}
		}
		slices.Sort(limited)
		if !slices.Equal(limited, set.limited) {
			t.Errorf("%s: the examination finds %q limited, want %q", set.name, limited, set.limited)
		}
		for _, fact := range a.Order {
			m.set(fact, set.name, yes(a.Facts[fact]))
		}
	}
	m.compare(t, "privileges.md")
	if threads := kerneltest.ForeignThreads(t); threads != nil {
		t.Errorf("threads were left in other namespaces: %v", threads)
	}
}

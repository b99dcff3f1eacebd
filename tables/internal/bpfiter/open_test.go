package bpfiter

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"sockql/tables"
	"sockql/tables/internal/kerneltest"
	"sockql/tables/internal/socket"
)

// childEnv has the test binary act as a child with other privileges.
const childEnv = "SOCKQL_BPFITER_CHILD"

// child opens a source, asks it for its own process, and prints what comes.
func child(string) int {
	s, err := Open(host, nil)
	if err != nil {
		fmt.Println("unavailable:", errors.Is(err, tables.ErrUnavailable), err)
		return 0
	}
	defer s.Close()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	req, n := socket.Everything(), 0
	req.PIDs = []int32{int32(os.Getpid())}
	if err := s.Scan(context.Background(), &req, func(s *socket.Socket, _ ID) bool {
		if s.Kind == socket.Unix && (s.FD == int32(pair[0]) || s.FD == int32(pair[1])) {
			n++
		}
		return true
	}); err != nil {
		fmt.Println(err)
		return 1
	}
	req.PIDs = nil
	err = s.Ownerless(context.Background(), &req, func(*socket.Socket, ID) bool { return true })
	fmt.Println("sockets", n, "ownerless", err)
	return 0
}

// run runs a child as nobody with capabilities.
func runChild(t *testing.T, attr *syscall.SysProcAttr) string {
	t.Helper()
	// The path through /proc works for one who may not search the directory
	// that the test binary lies in.
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{childEnv + "=1"}
	cmd.SysProcAttr = attr
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// TestOpen checks that BPF works where nothing speaks against it, so that other
// tests do not all skip for a fault of ours.
func TestOpen(t *testing.T) {
	s, err := Open(host, nil)
	if err == nil {
		s.Close()
		return
	}
	if !errors.Is(err, tables.ErrUnavailable) {
		t.Errorf("%v does not wrap ErrUnavailable", err)
	}
	if missingCapabilities() == "" && host.hasTypes() && !host.lockedDown() && host.checkNamespace() == nil && fits(6, 1) {
		t.Errorf("this kernel should take the program: %v", err)
	}
	t.Skip(err)
}

// fits reports whether the kernel is at least of a version.
func fits(major, minor int) bool {
	var name unix.Utsname
	var a, b int
	if unix.Uname(&name) != nil {
		return false
	}
	fmt.Sscanf(unix.ByteSliceToString(name.Release[:]), "%d.%d", &a, &b)
	return a > major || a == major && b >= minor
}

func TestCapabilities(t *testing.T) {
	kerneltest.RequireRoot(t)
	open(t)
	const nobody = 65534
	for _, c := range []struct {
		name string
		caps []uintptr
		want string
	}{
		{"none", nil, "it needs CAP_BPF and CAP_PERFMON; run as root or grant them"},
		{"bpf", []uintptr{unix.CAP_BPF}, "it needs CAP_PERFMON; run"},
		{"perfmon", []uintptr{unix.CAP_PERFMON}, "it needs CAP_BPF; run"},
		{"both", []uintptr{unix.CAP_BPF, unix.CAP_PERFMON}, "sockets 2 ownerless <nil>"},
		{"admin", []uintptr{unix.CAP_SYS_ADMIN}, "sockets 2 ownerless <nil>"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := runChild(t, &syscall.SysProcAttr{
				Credential:  &syscall.Credential{Uid: nobody, Gid: nobody},
				AmbientCaps: c.caps,
			})
			if !strings.Contains(got, c.want) || strings.Contains(got, "unavailable: false") {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestPIDNamespace(t *testing.T) {
	kerneltest.RequireRoot(t)
	got := runChild(t, &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID})
	if !strings.Contains(got, "unavailable: true") || !strings.Contains(got, "--pid=host") {
		t.Errorf("got %q", got)
	}
}

func TestReasons(t *testing.T) {
	write := func(sys, name, text string) {
		path := sys + "/kernel/" + name
		if err := os.MkdirAll(path[:strings.LastIndex(path, "/")], 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	locked, plain := t.TempDir(), t.TempDir()
	write(locked, "security/lockdown", "none integrity [confidentiality]\n")
	write(locked, "btf/vmlinux", "")
	write(plain, "security/lockdown", "none [integrity] confidentiality\n")
	for _, c := range []struct {
		sys  string
		err  error
		want string
	}{
		{locked, unix.EPERM, "lockdown=integrity"},
		{plain, unix.ENOSYS, "CONFIG_BPF_SYSCALL"},
		{plain, unix.ENOENT, "CONFIG_DEBUG_INFO_BTF"},
		{plain, unix.EINVAL, "Linux 5.17"},
	} {
		if missing := missingCapabilities(); missing != "" && (c.err == unix.EPERM || c.err == unix.EINVAL) {
			c.want = missing
		}
		err := Config{Sys: c.sys}.explain(c.err)
		if !strings.Contains(err.Error(), c.want) || !errors.Is(err, tables.ErrUnavailable) || !errors.Is(err, c.err) {
			t.Errorf("%v: got %q, want %q", c.err, err, c.want)
		}
	}
	if _, err := Open(Config{Proc: "/proc", Sys: t.TempDir()}, nil); !errors.Is(err, tables.ErrUnavailable) ||
		!strings.Contains(err.Error(), "CONFIG_DEBUG_INFO_BTF") {
		t.Errorf("without the kernel's types: %v", err)
	}
}

// TestFirstQuestion checks that a program made for a question answers it as one
// made for all questions does, and that a source gets on to larger ones.
func TestFirstQuestion(t *testing.T) {
	all := open(t)
	ns := kerneltest.NewNamespace(t)
	load(t, ns, 5)
	ns.MPTCP(t)
	diag(t, ns) // gives every socket its cookie
	compare := func(s *Source, req socket.Request) {
		t.Helper()
		got, want := s.collect(t, req), all.collect(t, req)
		got, want = append(got, s.collectOwnerless(t, req)...), append(want, all.collectOwnerless(t, req)...)
		type key struct {
			id ID
			socket.Holder
		}
		byKey := map[key]*found{}
		for i := range want {
			byKey[key{want[i].id, want[i].Holder}] = &want[i]
		}
		for i := range got {
			k := key{got[i].id, got[i].Holder}
			w := byKey[k]
			if got[i].PID >= 0 && got[i].PID != int32(os.Getpid()) {
				continue // another program takes a copy for an instant (pidfd_getfd(2))
			}
			if w == nil {
				t.Errorf("kinds %#x fields %#x: not wanted: %v", req.Kinds, req.Fields, got[i])
				continue
			}
			if diff := differ(&got[i].Socket, &w.Socket); diff != "" || got[i].Known != w.Known {
				t.Errorf("kinds %#x fields %#x: %v: %s", req.Kinds, req.Fields, got[i], diff)
			}
			delete(byKey, k)
		}
		for k, w := range byKey {
			if k.PID >= 0 && k.PID != int32(os.Getpid()) {
				continue
			}
			t.Errorf("kinds %#x fields %#x: missing %v", req.Kinds, req.Fields, *w)
		}
	}
	for kind := socket.TCP4; kind <= socket.MPTCP4; kind <<= 1 {
		for _, fields := range []socket.Fields{0, socket.AllFields &^ socket.FieldTimer} {
			req := inside(ns)
			req.Kinds, req.Fields = kind, fields
			s, err := Open(host, &req)
			if err != nil {
				t.Fatal(err)
			}
			if s.files.idle[0].limit == everything {
				t.Error("the program is for all questions")
			}
			compare(s, req)
			req.Kinds, req.Fields = socket.AllKinds, socket.AllFields&^socket.FieldTimer
			compare(s, req)
			s.Close()
		}
	}
	req := inside(ns)
	s, err := Open(host, &req)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	req.LocalPorts = socket.Ports{Restricted: true, Hi: 65535, List: make([]uint16, roomy+1)}
	for i := range req.LocalPorts.List {
		req.LocalPorts.List[i] = uint16(30000 + i)
	}
	compare(s, req)
}

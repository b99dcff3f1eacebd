package sockets

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"sockql/tables"
	"sockql/tables/internal/kerneltest"
	"sockql/tables/processes"
)

// TestKernelAgreesWithOsqueryi asks a real osqueryi for the sockets of one
// process and compares every cell.
func TestKernelAgreesWithOsqueryi(t *testing.T) {
	osqueryi := kerneltest.RequireProgram(t, "osqueryi")
	ns := kerneltest.NewNamespace(t)
	names := kerneltest.UnixNames(t)
	listener := ns.Listen(t, "127.0.0.1:0")
	client, server := ns.Pair(t, listener)
	dual := ns.ListenDual(t)
	mapped, accepted := ns.Pair(t, dual)
	udp := ns.UDP(t, "[::1]:0")
	a, b := ns.UnixPair(t, unix.SOCK_STREAM)
	ping := ns.Ping(t, "127.0.0.1:7")
	holder := kerneltest.Hold(t, ns, listener, client, server, dual, mapped, accepted,
		udp, ns.UDP(t, "[::1]:0").Connect(udp.Local().String()), ns.UDPLite(t, "127.0.0.1:0"),
		ns.Raw(t, unix.AF_INET, unix.IPPROTO_ICMP), ns.Raw(t, unix.AF_INET6, 89), ns.Ping(t, "[::1]:7"), ping,
		ns.Packet(t, unix.SOCK_RAW, unix.ETH_P_ALL), ns.Unix(t, unix.SOCK_STREAM, names[0]).Listen(1), ns.Unix(t, unix.SOCK_DGRAM, names[6]), a, b)
	cmd := exec.Command(osqueryi, "--json", fmt.Sprintf("select %s from process_open_sockets where pid = %d", strings.ReplaceAll(osqueryColumns, " ", ","), holder.PID))
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("osqueryi: %v", err)
	}
	var rows []map[string]string
	if err := json.Unmarshal(out, &rows); err != nil {
		t.Fatalf("osqueryi printed %q: %v", out, err)
	}
	var want []string
	for _, row := range rows {
		var cells []string
		for name := range strings.FieldsSeq(osqueryColumns) {
			cells = append(cells, row[name])
		}
		want = append(want, strings.Join(cells, "|"))
	}
	// Kernels show a ping socket in the list of the other family, too, if one
	// of that family has its identifier. It is there once all the same.
	want = slices.DeleteFunc(want, func(row string) bool {
		return strings.HasSuffix(row, fmt.Sprintf("|%d|10|1|::|::|7|0|||%d", ping.Inode(), ns.Inode))
	})
	if len(want) != len(holder.FDs) {
		t.Fatalf("%s\n"+"osqueryi has %d sockets, the process %d", strings.Join(want, "\n"), len(want), len(holder.FDs))
	}
	eachSource(t, func(t *testing.T, h *Host) {
		table := must(t)(h.ProcessOpenSockets())
		got, _ := ask(t, table, osqueryColumns, where(table, "pid", tables.OpEq, holder.PID))
		wantRows(t, got, want)
	})
}

// childEnv tells the test binary that it runs in namespaces of its own, and
// names a directory.
const childEnv = "SOCKQL_SOCKETS_CHILD"

// TestKernelHidePID looks at a procfs that shows an ordinary user nothing but
// its own processes.
func TestKernelHidePID(t *testing.T) {
	inChild(t, syscall.CLONE_NEWNS|syscall.CLONE_NEWNET, hidePID)
}

// TestKernelPIDNamespace looks from a pid namespace at a socket that a process
// outside of it holds.
func TestKernelPIDNamespace(t *testing.T) {
	inChild(t, syscall.CLONE_NEWNS|syscall.CLONE_NEWPID, pidNamespace)
}

// inChild runs the rest of a test in new namespaces, with a directory that
// everybody may enter.
func inChild(t *testing.T, namespaces uintptr, f func(t *testing.T, dir string)) {
	t.Helper()
	if dir, child := os.LookupEnv(childEnv); child {
		f(t, dir)
		return
	}
	kerneltest.RequireRoot(t)
	dir, err := os.MkdirTemp("", "proc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	listenUnix(t, "@"+dir)
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), childEnv+"="+dir)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: namespaces}
	out, err := cmd.CombinedOutput()
	switch {
	case errors.Is(err, fs.ErrPermission):
		t.Skipf("needs the privilege to make namespaces: %v", err)
	case strings.Contains(string(out), "--- SKIP"):
		t.Skipf("%s", out)
	case err != nil || !strings.Contains(string(out), "--- PASS"):
		t.Errorf("%v\n%s", err, out)
	}
}

// mountProc mounts a procfs in the mount namespace of the test.
func mountProc(t *testing.T, dir, options string) {
	t.Helper()
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Skipf("needs a mount namespace: %v", err)
	}
	if err := unix.Mount("proc", dir, "proc", 0, options); err != nil {
		t.Skipf("needs a procfs mounted with %q: %v", options, err)
	}
}

func pidNamespace(t *testing.T, dir string) {
	mountProc(t, dir, "")
	const inside = "@inside"
	listenUnix(t, inside)
	for _, source := range []Source{Procfs, Auto} {
		table := must(t)(newHost(t, dir, source).ListeningPorts())
		for path, want := range map[string]string{inside: fmt.Sprintf("%d|", os.Getpid()), "@" + dir: "-1|denied"} {
			got, warnings := ask(t, table, "pid pid_reason", where(table, "path", tables.OpEq, path))
			if !slices.Equal(got, []string{want}) {
				t.Errorf("%s: %s is %q, want %q", source, path, got, want)
			}
			if told := refused(warnings, "outside of this pid namespace"); told != (path != inside) {
				t.Errorf("%s: %s: a warning tells of processes outside: %v, %v", source, path, told, warnings)
			}
		}
	}
}

// listenUnix listens at an abstract address, written with @.
func listenUnix(t *testing.T, name string) {
	t.Helper()
	l, err := net.Listen("unix", name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
}

// refused reports whether one of the warnings is of a want of privilege and says
// so in the words.
func refused(warnings []error, words string) bool {
	return slices.ContainsFunc(warnings, func(w error) bool {
		return errors.Is(w, fs.ErrPermission) && strings.Contains(w.Error(), words)
	})
}

func hidePID(t *testing.T, dir string) {
	mountProc(t, dir, "hidepid=2")
	listenUnix(t, "@mine")
	// Nobody holds the kernel's own netlink sockets: a table that may be
	// hidden from us keeps us from saying so.
	h := newHost(t, dir, Procfs)
	table := must(t)(h.ProcessOpenSockets())
	netlink := where(table, "family", tables.OpEq, unix.AF_NETLINK)
	asRoot, warnings := ask(t, table, "pid_reason", netlink)
	unseen := refused(warnings, "") || !h.proc.ShowsHost()
	if len(asRoot) == 0 || !unseen && slices.Contains(asRoot, "denied") || refused(warnings, "hidepid") {
		t.Errorf("root is exempt: reasons %q, warnings %v", asRoot, warnings)
	}
	const nobody = 65534
	if err := errors.Join(syscall.Setgroups(nil), syscall.Setresgid(nobody, nobody, nobody), syscall.Setresuid(nobody, nobody, nobody)); err != nil {
		t.Fatal(err)
	}
	// A change of user makes a process unreadable for its new user.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	h = newHost(t, filepath.Clean(dir), Procfs)
	table = must(t)(h.ProcessOpenSockets())
	got, warnings := ask(t, table, "pid_reason", netlink)
	if !refused(warnings, "hidepid") {
		t.Errorf("as nobody: no warning tells of hidepid: %v", warnings)
	}
	others := must(t)(processes.Processes(h.proc))
	if list, warnings := ask(t, others, "pid"); !slices.Contains(list, fmt.Sprint(os.Getpid())) || !refused(warnings, "hidepid") {
		t.Errorf("as nobody: processes %q, warnings %v", list, warnings)
	}
	if _, warnings := ask(t, others, "pid", where(others, "pid", tables.OpEq, os.Getpid())); warnings != nil {
		t.Errorf("as nobody: warnings for the own process: %v", warnings)
	}
	for _, reason := range got {
		if reason != "denied" {
			t.Errorf("as nobody: reason %q", reason)
		}
	}
	if len(got) == 0 {
		t.Error("nobody sees no netlink socket")
	}
	mine, _ := ask(t, table, "pid path", where(table, "family", tables.OpEq, unix.AF_UNIX))
	if want := fmt.Sprintf("%d|@mine", os.Getpid()); !slices.Contains(mine, want) {
		t.Errorf("%q is not among %q", want, mine)
	}
}

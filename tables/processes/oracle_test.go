package processes

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"sockql/tables/internal/kerneltest"
)

// subject starts a program whose properties are known, on the reading end of a
// pipe.
func subject(t *testing.T) int {
	t.Helper()
	cmd := exec.Command(kerneltest.RequireProgram(t, "cat"), "-", "-")
	cmd.Env = []string{"WHO=subject", "EMPTY="}
	cmd.Dir = "/"
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); cmd.Process.Kill(); cmd.Wait() })
	// It has become the program once it answers.
	if _, err := in.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return cmd.Process.Pid
}

// output runs a program and returns the fields of each line.
func output(t *testing.T, name string, arg ...string) (lines [][]string) {
	t.Helper()
	out, err := exec.Command(kerneltest.RequireProgram(t, name), arg...).Output()
	if err != nil {
		t.Skipf("%s %v: %v", name, arg, err)
	}
	for line := range strings.Lines(string(out)) {
		if fields := strings.Fields(line); len(fields) > 0 {
			lines = append(lines, fields)
		}
	}
	return lines
}

func TestProcessesAgreeWithPS(t *testing.T) {
	pid := subject(t)
	want := output(t, "ps", "-o", "pid=,comm=,uid=,gid=,ppid=,pgid=,nlwp=,nice=", "-p", fmt.Sprint(pid))
	got, _ := rows(t, make1(t, Processes, "/proc"), "pid name uid gid parent pgroup threads nice", pid)
	if len(want) != 1 || !slices.Equal(got, []string{strings.Join(want[0], "|")}) {
		t.Errorf("%q, ps has %q", got, want)
	}
	memory := output(t, "ps", "-o", "rss=,vsz=", "-p", fmt.Sprint(pid))
	got, _ = rows(t, make1(t, Processes, "/proc"), "resident_size total_size", pid)
	var kibibytes []string
	for _, field := range memory[0] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		kibibytes = append(kibibytes, fmt.Sprint(n*1024))
	}
	if !slices.Equal(got, []string{strings.Join(kibibytes, "|")}) {
		t.Errorf("memory %q, ps has %q KiB", got, memory)
	}
}

func TestEnvironmentAgreesWithPS(t *testing.T) {
	pid := subject(t)
	line := strings.Join(output(t, "ps", "eww", "-o", "args=", "-p", fmt.Sprint(pid))[0], " ")
	got, _ := rows(t, make1(t, ProcessEnvs, "/proc"), "key value", pid)
	if want := []string{"WHO|subject", "EMPTY|"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if !strings.HasSuffix(line, "WHO=subject EMPTY=") {
		t.Errorf("ps shows %q", line)
	}
}

func TestNamespacesAgreeWithLsns(t *testing.T) {
	pid := subject(t)
	var want []string
	types := map[string]string{}
	for _, f := range output(t, "lsns", "-n", "-p", fmt.Sprint(pid), "-o", "TYPE,NS") {
		types[f[0]] = f[1]
	}
	for _, kind := range []string{"cgroup", "ipc", "mnt", "net", "pid", "user", "uts"} {
		want = append(want, types[kind])
	}
	got, _ := rows(t, make1(t, ProcessNamespaces, "/proc"),
		"cgroup_namespace ipc_namespace mnt_namespace net_namespace pid_namespace user_namespace uts_namespace", pid)
	if !slices.Equal(got, []string{strings.Join(want, "|")}) {
		t.Errorf("%q, lsns has %q", got, want)
	}
}

func TestMemoryMapAgreesWithPmap(t *testing.T) {
	pid := subject(t)
	var want []string
	for _, f := range output(t, "pmap", "-q", "-d", fmt.Sprint(pid)) {
		start, err := strconv.ParseUint(f[0], 16, 64)
		if err != nil || len(f) < 6 {
			continue // the command line
		}
		permissions := f[2][:3] + "p"
		if strings.Contains(f[2], "s") {
			permissions = f[2][:3] + "s"
		}
		want = append(want, fmt.Sprintf("0x%x|%s", start, permissions))
	}
	got, _ := rows(t, make1(t, ProcessMemoryMap, "/proc"), "start permissions", pid)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) || len(want) < 5 {
		t.Errorf("%q, pmap has %q", got, want)
	}
}

func TestPipesAgreeWithLsof(t *testing.T) {
	pid := subject(t)
	var want []string
	for _, f := range output(t, "lsof", "-n", "-P", "-w", "-p", fmt.Sprint(pid)) {
		if len(f) >= 9 && f[4] == "FIFO" {
			fd := strings.TrimRight(f[3], "rwu")
			want = append(want, fd+"|"+strings.TrimPrefix(f[3], fd)+"|"+f[7])
		}
	}
	got, _ := rows(t, make1(t, ProcessOpenPipes, "/proc"), "fd mode inode", pid)
	if !slices.Equal(got, want) || len(want) < 2 {
		t.Errorf("%q, lsof has %q", got, want)
	}
	// The other ends are ours.
	partners, _ := rows(t, make1(t, ProcessOpenPipes, "/proc"), "partner_pid", pid)
	if !slices.Contains(partners, fmt.Sprint(os.Getpid())) {
		t.Errorf("partners %q, want %d", partners, os.Getpid())
	}
}

package load

import (
	"context"
	"errors"
	"math"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	Worker()
	os.Exit(m.Run())
}

func TestMix(t *testing.T) {
	for n := range 3000 {
		for _, ipv6 := range []bool{false, true} {
			m := mixOf(n, ipv6)
			if m.Total() != n {
				t.Fatalf("%d sockets, IPv6 %v: %+v are %d", n, ipv6, m, m.Total())
			}
			if six := m.TCPListen6 + m.TCPConnected6 + m.UDP6; !ipv6 && six != 0 {
				t.Fatalf("%d sockets without IPv6: %+v", n, m)
			}
			for _, count := range []int{m.TCPListen4, m.TCPListen6, m.UDP4, m.UDP6, m.UnixListen} {
				if count < 0 {
					t.Fatalf("%d sockets, IPv6 %v: %+v", n, ipv6, m)
				}
			}
			for _, ends := range []int{m.TCPConnected4, m.TCPConnected6, m.UnixStream, m.UnixDatagram} {
				if ends < 0 || ends%2 != 0 {
					t.Fatalf("%d sockets, IPv6 %v: %+v has half a pair", n, ipv6, m)
				}
			}
			if m.TCPConnected4 > 0 && m.TCPListen4 == 0 || m.TCPConnected6 > 0 && m.TCPListen6 == 0 {
				t.Fatalf("%d sockets, IPv6 %v: %+v has nothing to connect to", n, ipv6, m)
			}
		}
	}
	if m := mixOf(1000, true); m != (Mix{40, 10, 400, 100, 120, 30, 20, 200, 80}) {
		t.Errorf("1000 sockets: %+v", m)
	}
}

func TestCheck(t *testing.T) {
	enough := Limits{Memory: math.MaxUint64, Descriptors: math.MaxUint64, Processes: math.MaxUint64}
	for name, test := range map[string]struct {
		c     Config
		l     Limits
		large bool
		want  string // in the error; empty: there is none
	}{
		"fits":                      {Config{1000, 100_000, 50}, enough, false, ""},
		"caller's namespace":        {Config{1, 1, 0}, enough, false, ""},
		"no process":                {Config{0, 10, 0}, enough, false, "at least one"},
		"fewer sockets":             {Config{10, 9, 0}, enough, false, "at least one"},
		"namespace without process": {Config{10, 10, 11}, enough, false, "11 namespaces"},
		"too many namespaces":       {Config{5000, 5000, MaxNamespaces + 1}, enough, false, "1001 namespaces"},
		"descriptors":               {Config{10, 10_000, 0}, Limits{math.MaxUint64, 1024, math.MaxUint64}, true, "1032 descriptors"},
		"last descriptor":           {Config{10, 9919, 0}, Limits{math.MaxUint64, 1024, math.MaxUint64}, false, ""},
		"descriptors of the parent": {Config{1000, 2000, 0}, Limits{math.MaxUint64, 1024, math.MaxUint64}, true, "1032 descriptors to hold"},
		"processes":                 {Config{101, 200, 0}, Limits{math.MaxUint64, 1024, 100}, true, "101 processes"},
		"memory":                    {Config{100, 1000, 0}, Limits{256 << 20, 1024, 1000}, true, "407 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			err := test.c.Check(test.l)
			if errors.Is(err, ErrTooLarge) != test.large {
				t.Errorf("%v", err)
			}
			if err == nil && test.want != "" || err != nil && (test.want == "" || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
}

// start makes a load in one new namespace or, without the privilege for that,
// in the test's own.
func start(t *testing.T, c Config) *Load {
	t.Helper()
	l, err := Start(t.Context(), c)
	if errors.Is(err, unix.EPERM) && c.Namespaces > 0 {
		t.Skipf("needs the right to make network namespaces: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Stop(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// inNamespaceOf runs a program in the network namespace of a process and
// returns the lines that it prints.
func inNamespaceOf(t *testing.T, pid int, name string, arg ...string) []string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("needs %s: %v", name, err)
	}
	var out []byte
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlock: the thread ends with the goroutine
		done <- func() error {
			fd, err := unix.PidfdOpen(pid, 0)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
				return err
			}
			out, err = exec.Command(path, arg...).Output()
			return err
		}()
	}()
	if err := <-done; err != nil {
		t.Fatalf("%s %q: %v", name, arg, err)
	}
	return strings.FieldsFunc(string(out), func(r rune) bool { return r == '\n' })
}

// ss has the last word on what a load consists of.
func TestCountsAgainstSS(t *testing.T) {
	const namespaces = 3
	l := start(t, Config{Processes: 4 * namespaces, Sockets: 2000, Namespaces: namespaces})
	if l.Mix.Total() != 2000 || len(l.PIDs) != 4*namespaces {
		t.Fatalf("%d processes with %+v", len(l.PIDs), l.Mix)
	}
	sum := map[string]int{}
	for _, pid := range l.PIDs[:namespaces] {
		for kind, arg := range map[string][]string{
			"tcp listening": {"-Htan", "state", "listening"},
			"tcp connected": {"-Htan", "state", "established"},
			"tcp":           {"-Htan"},
			"udp":           {"-Huan"},
			"unix":          {"-Hxa"},
			"unix bound":    {"-Hxal", "src", "@sockload/*"},
			"unix datagram": {"-Hxa", "-A", "unix_dgram"},
		} {
			sum[kind] += len(inNamespaceOf(t, pid, "ss", arg...))
		}
	}
	for kind, want := range map[string]int{
		"tcp listening": l.Mix.TCPListen(),
		"tcp connected": l.Mix.TCPConnected4 + l.Mix.TCPConnected6,
		"tcp":           l.Mix.TCPListen() + l.Mix.TCPConnected4 + l.Mix.TCPConnected6,
		"udp":           l.Mix.UDP4 + l.Mix.UDP6,
		"unix":          l.Mix.UnixListen + l.Mix.UnixStream + l.Mix.UnixDatagram,
		"unix bound":    l.Mix.UnixListen,
		"unix datagram": l.Mix.UnixDatagram,
	} {
		if sum[kind] != want {
			t.Errorf("%s: ss shows %d, want %d of %+v", kind, sum[kind], want, l.Mix)
		}
	}
}

func TestCallersNamespace(t *testing.T) {
	path, err := exec.LookPath("ss")
	if err != nil {
		t.Skipf("needs ss: %v", err)
	}
	l := start(t, Config{Processes: 3, Sockets: 100})
	out, err := exec.Command(path, "-Hanp").Output()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, ",fd=") && strings.Contains(line, "\"load.test\"") {
			n++
		}
	}
	if n < l.Mix.Total() || l.Mix.Total() != 100 {
		t.Errorf("ss shows %d of the sockets %+v", n, l.Mix)
	}
}

func alive(pid int) bool { return unix.Kill(pid, 0) == nil }

func TestStopLeavesNothing(t *testing.T) {
	l, err := Start(t.Context(), Config{Processes: 5, Sockets: 100})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Stop(); err != nil {
		t.Error(err)
	}
	for _, pid := range l.PIDs {
		if alive(pid) {
			t.Errorf("process %d is still there", pid)
		}
	}
}

func TestStartEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	l, err := Start(ctx, Config{Processes: 5, Sockets: 100})
	if !errors.Is(err, context.Canceled) || l != nil {
		t.Errorf("%v, %v", l, err)
	}
}

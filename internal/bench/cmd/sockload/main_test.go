package main

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"sockql/internal/bench/load"
)

// mainEnv has the test binary act as the command.
const mainEnv = "SOCKLOAD_MAIN"

func TestMain(m *testing.M) {
	load.Worker()
	if os.Getenv(mainEnv) != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// Whichever way the command ends, its processes end, too.
func TestEnds(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGKILL} {
		t.Run(signal.String(), func(t *testing.T) {
			cmd := command(t, "-sockets", "50", "-processes", "5")
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			var l load.Load
			if err := json.NewDecoder(bufio.NewReader(out)).Decode(&l); err != nil {
				cmd.Process.Kill()
				t.Fatal(err, cmd.Wait())
			}
			if len(l.PIDs) != 5 || l.Mix.Total() != 50 {
				t.Errorf("%+v", l)
			}
			var fds []unix.PollFd
			for _, pid := range l.PIDs {
				fd, err := unix.PidfdOpen(pid, 0)
				if err != nil {
					t.Fatalf("process %d: %v", pid, err)
				}
				defer unix.Close(fd)
				fds = append(fds, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
			}
			if err := cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); (err == nil) != (signal != syscall.SIGKILL) {
				t.Errorf("ended by %v: %v", signal, err)
			}
			// A process descriptor becomes readable when the process ends. The
			// test's own time limit ends the wait for one that does not.
			for i := range fds {
				for {
					if _, err := unix.Poll(fds[i:i+1], -1); err != unix.EINTR {
						break
					}
				}
			}
		})
	}
}

func TestRefusal(t *testing.T) {
	for _, test := range []struct{ args, want string }{
		{"-sockets 4000000000 -processes 1", "does not fit this host"},
		{"-sockets 3 -processes 4", "each process holds at least one"},
		{"-sockets 4 -processes 2 -namespaces 3", "each needs a process"},
	} {
		cmd := command(t, strings.Fields(test.args)...)
		cmd.Stderr = nil
		_, err := cmd.Output()
		exit, ok := err.(*exec.ExitError)
		if !ok || exit.ExitCode() != 1 || !strings.Contains(string(exit.Stderr), test.want) {
			t.Errorf("%s: %v", test.args, err)
		}
	}
}

func command(t *testing.T, arg ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, arg...)
	cmd.Env = append(os.Environ(), mainEnv+"=1")
	cmd.Stderr = os.Stderr
	return cmd
}

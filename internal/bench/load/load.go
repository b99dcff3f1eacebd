package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// startAhead is how many processes make their sockets at the same time.
const startAhead = 8

// A Config says how large a load is.
type Config struct {
	Processes  int `json:"processes"`
	Sockets    int `json:"sockets"`    // of all processes together, divided evenly
	Namespaces int `json:"namespaces"` // new network namespaces, taken in turn; 0 is the caller's own
}

// A Load is what runs.
type Load struct {
	PIDs []int `json:"pids"` // the processes; process i is in namespace i % Config.Namespaces
	Mix  Mix   `json:"mix"`  // the sockets of all of them

	workers []*worker
	done    chan struct{} // closed to end the threads that hold namespaces
}

type worker struct {
	cmd   *exec.Cmd
	hold  io.Closer // the worker ends when it is closed
	ready io.ReadCloser
}

// Start makes the sockets and returns when all are there. It fails, with
// nothing left, if the host's limits are too low, if a namespace cannot be made,
// and when ctx ends meanwhile; when it ends later, nothing happens.
func Start(ctx context.Context, c Config) (*Load, error) {
	limits, err := HostLimits()
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	if err := c.Check(limits); err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	l := &Load{done: make(chan struct{})}
	if err := l.start(ctx, c); err != nil {
		return nil, errors.Join(fmt.Errorf("load: %w", err), l.Stop())
	}
	return l, nil
}

func (l *Load) start(ctx context.Context, c Config) error {
	var starters []*starter
	for i := range max(1, c.Namespaces) {
		s := newStarter(l.done)
		starters = append(starters, s)
		if c.Namespaces == 0 {
			break
		}
		if err := s.do(newNamespace); err != nil {
			return fmt.Errorf("namespace %d of %d: %w", i+1, c.Namespaces, err)
		}
	}
	answered := 0
	for i := range c.Processes {
		if err := ctx.Err(); err != nil {
			return err
		}
		j := job{Index: i, Sockets: c.Sockets / c.Processes}
		if i < c.Sockets%c.Processes {
			j.Sockets++
		}
		if err := starters[i%len(starters)].do(func() error { return l.startWorker(j) }); err != nil {
			return fmt.Errorf("process %d of %d: %w", i+1, c.Processes, err)
		}
		if i-answered >= startAhead {
			if err := l.await(answered); err != nil {
				return err
			}
			answered++
		}
	}
	for ; answered < c.Processes; answered++ {
		if err := l.await(answered); err != nil {
			return err
		}
	}
	return nil
}

// startWorker runs on the thread whose namespace the worker gets.
func (l *Load) startWorker(j job) error {
	env, err := json.Marshal(j)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self)
	// One thread that runs, and no collection: a worker does nothing but wait.
	cmd.Env = []string{workerEnv + "=" + string(env), "GOMAXPROCS=1", "GOGC=off"}
	cmd.Stderr = os.Stderr
	// Should this process be killed, its pipes close too; the signal also ends
	// a worker that has not come to reading them. The group of its own keeps a
	// terminal's Ctrl-C from the workers, so that Stop ends them in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	hold, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	ready, err := cmd.StdoutPipe()
	if err != nil {
		hold.Close()
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	l.workers = append(l.workers, &worker{cmd: cmd, hold: hold, ready: ready})
	l.PIDs = append(l.PIDs, cmd.Process.Pid)
	return nil
}

// await takes the answer of worker i.
func (l *Load) await(i int) error {
	w := l.workers[i]
	defer w.ready.Close()
	var a answer
	if err := json.NewDecoder(w.ready).Decode(&a); err != nil {
		return fmt.Errorf("process %d: it ended before its sockets were there (does the program call load.Worker?): %w", i+1, err)
	}
	if a.Error != "" {
		return fmt.Errorf("process %d: %s", i+1, a.Error)
	}
	l.Mix = l.Mix.Plus(a.Mix)
	return nil
}

// Stop ends the processes, waits until they are gone, and lets go of the
// namespaces. It reports workers that did not end by themselves.
func (l *Load) Stop() error {
	for _, w := range l.workers {
		w.hold.Close()
	}
	var errs []error
	for _, w := range l.workers {
		var exit *exec.ExitError
		// Status 1 is a worker's that has told its error.
		if err := w.cmd.Wait(); err != nil && !(errors.As(err, &exit) && exit.ExitCode() == 1) {
			errs = append(errs, fmt.Errorf("load: process %d: %w", w.cmd.Process.Pid, err))
		}
	}
	l.workers = nil
	close(l.done)
	return errors.Join(errs...)
}

// A starter is a thread that stays in one namespace. It lives until done is
// closed: the kernel ends the children of a thread that has ended, for that is
// their parent (PR_SET_PDEATHSIG in prctl(2)).
type starter struct {
	calls  chan func() error
	result chan error
}

func newStarter(done <-chan struct{}) *starter {
	s := &starter{make(chan func() error), make(chan error)}
	go func() {
		runtime.LockOSThread() // and never unlock: the thread ends with the goroutine
		for {
			select {
			case f := <-s.calls:
				s.result <- f()
			case <-done:
				return
			}
		}
	}()
	return s
}

// do runs f on the starter's thread.
func (s *starter) do(f func() error) error {
	s.calls <- f
	return <-s.result
}

// newNamespace moves the calling thread to a new network namespace, whose
// loopback interface is up (netdevice(7)).
func newNamespace() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	fd, err := newSocket(unix.AF_INET, unix.SOCK_DGRAM)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil {
		return fmt.Errorf("set lo up: %w", err)
	}
	return nil
}

package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"sockql/engine"
	"sockql/engine/schedule"
)

// The variables by which a parent tells a worker what it is, and why the last
// one ended.
const (
	workerEnv = "SOCKQL_DAEMON_WORKER"
	reasonEnv = "SOCKQL_DAEMON_RESTARTED"
)

// limits are what a worker may take.
type limits struct {
	memory  int64         // bytes more than it had when first looked at
	cpu     float64       // part of all processors
	latency time.Duration // for how long
	delay   time.Duration // after a start in which nothing is limited
}

// pollEvery is how often a worker is looked at.
const pollEvery = 3 * time.Second

// limits returns osquery's limits of the levels (osquery/core/watcher.cpp), and
// whether there are any.
func (f *flags) limits() (limits, bool) {
	l := limits{memory: 200, cpu: 10, latency: 12}
	if f.watchdogLevel == 1 {
		l = limits{memory: 100, cpu: 5, latency: 6}
	}
	if f.watchdogMemory > 0 {
		l.memory = int64(f.watchdogMemory)
	}
	if f.watchdogCPU > 0 {
		l.cpu = float64(f.watchdogCPU)
	}
	if f.watchdogLatency > 0 {
		l.latency = time.Duration(f.watchdogLatency)
	}
	l.memory <<= 20
	l.cpu /= 100
	l.latency *= time.Second
	l.delay = time.Duration(f.watchdogDelay) * time.Second
	return l, f.watchdogLevel >= 0
}

// A sample is what a process has taken at a moment.
type sample struct {
	cpu    time.Duration
	memory int64 // bytes
}

// A judge compares samples of one process with limits.
type judge struct {
	limits limits
	cores  int
	first  int64
	cpu    time.Duration
	over   time.Duration
}

// sentence takes a sample that was taken pollEvery after the last, age after
// the process was started, and returns why the process must end, or nothing.
func (j *judge) sentence(s sample, age time.Duration) string {
	allowed := time.Duration(float64(pollEvery) * j.limits.cpu * float64(j.cores))
	used := s.cpu - j.cpu
	j.cpu = s.cpu
	if used > allowed {
		j.over += pollEvery
	} else {
		j.over = 0
	}
	if j.first == 0 {
		j.first = s.memory
	}
	grown := s.memory - j.first
	switch {
	case age < j.limits.delay:
	case j.over >= j.limits.latency:
		return fmt.Sprintf("Maximum sustainable CPU utilization limit %dms exceeded for %d seconds", allowed.Milliseconds(), j.over/time.Second)
	case grown > j.limits.memory:
		return fmt.Sprintf("Memory limits exceeded: %d bytes (limit is %dMB)", grown, j.limits.memory>>20)
	}
	return ""
}

// An exitError is the status of a worker that ended by itself.
type exitError struct{ status int }

func (e *exitError) Error() string { return fmt.Sprintf("the worker ended with status %d", e.status) }

// Workers that end within shortLife are started again only after a while, which
// doubles up to maxRespawn: osquery's limits.
const (
	shortLife  = 4 * time.Second
	minRespawn = 5 * time.Second
	maxRespawn = 10 * time.Minute
)

// A backoff says how long to wait before a worker is started again.
type backoff struct{ next time.Duration }

// after returns the time to wait after a worker that lived for so long.
func (b *backoff) after(life time.Duration) time.Duration {
	if life >= shortLife {
		b.next = 0
		return 0
	}
	wait := max(b.next, minRespawn)
	b.next = min(2*wait, maxRespawn)
	return wait
}

// patience is how long a worker may take to end after SIGTERM.
const patience = 10 * time.Second

// watch runs workers until one ends by itself or ctx ends.
func (c *Config) watch(ctx context.Context, f *flags, args []string) error {
	if f.pidfile != "" {
		remove, err := writePidfile(f.pidfile)
		if err != nil {
			return err
		}
		defer remove()
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("daemon: watchdog: %w", err)
	}
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	level, limited := f.limits()
	var conn *engine.Conn
	if limited {
		eng, err := c.engine(f, &schedule.Board{})
		if err != nil {
			return err
		}
		if conn, err = eng.Open(); err != nil {
			return err
		}
		defer conn.Close()
	}
	parent := &parent{log: slog.New(slog.NewTextHandler(c.Stderr, nil)), conn: conn, hangups: hangups}
	var pause backoff
	reason := ""
	for {
		cmd := exec.Command(self, append([]string{"daemon"}, args...)...)
		cmd.Stdout, cmd.Stderr = c.Stdout, c.Stderr
		cmd.Env = append(os.Environ(), workerEnv+"=1", reasonEnv+"="+reason)
		// A worker must not outlive the parent that would have bounded it.
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
		start := time.Now()
		reason, err = parent.guard(ctx, cmd, &judge{limits: level, cores: runtime.NumCPU()})
		if reason == "" {
			return err
		}
		wait := pause.after(time.Since(start))
		parent.log.Warn("the worker ended and is started again", "reason", reason, "after", wait)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// A parent watches one worker after the other.
type parent struct {
	log     *slog.Logger
	conn    *engine.Conn // nil without limits
	hangups <-chan os.Signal
}

// guard runs a worker to its end. It returns a reason if another shall be
// started, and otherwise how the worker ended.
func (p *parent) guard(ctx context.Context, cmd *exec.Cmd, j *judge) (reason string, err error) {
	// The parent's death signal is sent when the thread ends that started the
	// worker (prctl(2), PR_SET_PDEATHSIG).
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		return "", fmt.Errorf("daemon: watchdog: start worker: %w", err)
	}
	start := time.Now()
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	ended := ctx.Done()
	for {
		select {
		case <-ended:
			ended = nil
			cmd.Process.Signal(syscall.SIGTERM)
			defer time.AfterFunc(patience, func() { cmd.Process.Kill() }).Stop()
		case <-p.hangups:
			cmd.Process.Signal(syscall.SIGHUP)
		case <-poll.C:
			if p.conn == nil || reason != "" {
				continue
			}
			s, err := p.look(ctx, cmd.Process.Pid)
			if err != nil {
				p.log.Error("cannot see what the worker takes", "error", err)
				continue
			}
			if reason = j.sentence(s, time.Since(start)); reason != "" {
				// Its state survives SIGKILL, and so does the name of the query
				// that runs, which is then denied.
				cmd.Process.Kill()
			}
		case err := <-done:
			var exit *exec.ExitError
			switch {
			case reason != "":
				return reason, nil
			case err == nil, ctx.Err() != nil && !errors.As(err, &exit):
				return "", err
			case errors.As(err, &exit) && exit.Exited():
				return "", &exitError{status: exit.ExitCode()}
			case ctx.Err() != nil:
				return "", nil
			}
			return fmt.Sprintf("the worker ended: %v", err), nil
		}
	}
}

// look asks the table processes, as osquery's watchdog does.
func (p *parent) look(ctx context.Context, pid int) (sample, error) {
	res, err := p.conn.Query(ctx, fmt.Sprintf("SELECT user_time + system_time, resident_size FROM processes WHERE pid = %d", pid))
	if err != nil {
		return sample{}, fmt.Errorf("daemon: watchdog: %w", err)
	}
	if len(res.Rows) != 1 {
		return sample{}, fmt.Errorf("daemon: watchdog: process %d is not in the table processes", pid)
	}
	return sample{
		cpu:    time.Duration(res.Rows[0][0].Int64()) * time.Millisecond,
		memory: res.Rows[0][1].Int64(),
	}, nil
}

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sockql/internal/bench/load"
	"sockql/internal/bench/timing"
)

// settle is how long the machine is left alone after a load has come or gone:
// the kernel takes namespaces and sockets down in the background.
const settle = 2 * time.Second

// pidEnv names a process of the load to the Go benchmarks.
const pidEnv = "SOCKQL_BENCH_PID"

// loads returns what to measure: each size in one namespace, and the largest
// divided among several.
func (c *config) loads(root bool) []load.Config {
	var list []load.Config
	for _, n := range c.sockets {
		l := load.Config{Sockets: n, Processes: max(1, n/c.perProcess)}
		if root {
			l.Namespaces = 1
		}
		list = append(list, l)
	}
	if root && c.namespaces > 1 {
		largest := slices.MaxFunc(list, func(a, b load.Config) int { return a.Sockets - b.Sockets })
		largest.Namespaces = min(c.namespaces, largest.Processes)
		list = append(list, largest)
	}
	return list
}

// measure asks all questions about one load.
func (c *config) measure(ctx context.Context, m *meter, cfg load.Config) (result timing.Load, err error) {
	m.logf("%s", timing.Load{Config: cfg}.Title())
	l, end, err := startLoad(ctx, c.sockload, cfg)
	if err != nil {
		return result, err
	}
	defer func() {
		err = errors.Join(err, end())
		m.pause(ctx)
	}()
	m.pause(ctx)

	result = timing.Load{Config: cfg, Mix: l.Mix}
	target := l.PIDs[len(l.PIDs)/2/max(1, cfg.Namespaces)*max(1, cfg.Namespaces)]
	err = inNamespaceOf(target, cfg.Namespaces > 0, func() error {
		for _, q := range c.programs.questions(l, cfg, target) {
			answers, err := m.ask(ctx, q, l.PIDs)
			if err != nil {
				return fmt.Errorf("%s: %w", q.title, err)
			}
			result.Questions = append(result.Questions, timing.Question{Key: q.key, Title: q.title, Answers: answers})
		}
		if c.inProcess == "" {
			return nil
		}
		m.logf("  in process")
		cmd := exec.CommandContext(ctx, c.inProcess, "-test.run=^$", "-test.bench=^BenchmarkStatement$", "-test.benchmem", "-test.benchtime=0.5s")
		cmd.Env = append(os.Environ(), pidEnv+"="+strconv.Itoa(target))
		cmd.Stderr = m.log
		out, err := cmd.Output()
		if err != nil {
			return fmt.Errorf("benchmarks in process: %w", err)
		}
		result.InProcess = string(out)
		return nil
	})
	return result, err
}

func (m *meter) pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(settle):
	}
}

// startLoad returns when the sockets are there. end removes them.
func startLoad(ctx context.Context, sockload string, c load.Config) (l load.Load, end func() error, err error) {
	cmd := exec.CommandContext(ctx, sockload,
		"-sockets", strconv.Itoa(c.Sockets), "-processes", strconv.Itoa(c.Processes), "-namespaces", strconv.Itoa(c.Namespaces))
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return l, nil, err
	}
	if err := cmd.Start(); err != nil {
		return l, nil, fmt.Errorf("load: %w", err)
	}
	end = func() error {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("load: %w", err)
		}
		if err := cmd.Wait(); err != nil && ctx.Err() == nil {
			return fmt.Errorf("load: %w", err)
		}
		return nil
	}
	if err := json.NewDecoder(bufio.NewReader(out)).Decode(&l); err != nil {
		return l, nil, errors.Join(errors.New("load: it did not come up"), end(), ctx.Err())
	}
	return l, end, nil
}

// inNamespaceOf runs f on a thread that is in the network namespace of a
// process, if enter is set. Programs that f starts are in it too.
func inNamespaceOf(pid int, enter bool, f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlock: the thread ends with the goroutine
		done <- func() error {
			if enter {
				if err := enterNamespace(pid); err != nil {
					return err
				}
			}
			return f()
		}()
	}()
	return <-done
}

// enterNamespace moves the calling thread (setns(2) of a pidfd, Linux 5.8).
func enterNamespace(pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return fmt.Errorf("namespace of the load: pidfd_open: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("namespace of the load: setns: %w", err)
	}
	return nil
}

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"sockql/internal/bench/timing"
)

// A pace says how often and how long a program may answer.
type pace struct {
	runs   int
	budget time.Duration // for one question, all runs
	limit  time.Duration // for one run
}

// enough is how many runs there are in any case, unless a run takes too long.
const enough = 3

type question struct {
	key, title string
	contenders []contender
}

// A contender is a program with its arguments for one question.
type contender struct {
	name     string
	command  []string
	count    counter // nil: it shows no sockets
	expected int     // sockets of the load that it should show, or 0
}

// ask has each contender answer once to count and to warm up, and then all of
// them in turns, another one first each time, so that what else the machine
// does hits none of them alone.
func (m *meter) ask(ctx context.Context, q question, pids []int) ([]timing.Answer, error) {
	ours := make(map[int]bool, len(pids))
	for _, pid := range pids {
		ours[pid] = true
	}
	m.logf("  %s", q.title)
	answers := make([]timing.Answer, len(q.contenders))
	spent := make([]time.Duration, len(q.contenders))
	for i, c := range q.contenders {
		a := timing.Answer{Program: c.name, Command: append([]string{filepath.Base(c.command[0])}, c.command[1:]...), Expected: c.expected, Seen: -1}
		run, err := m.once(ctx, c, func(r io.Reader) (err error) {
			if c.count == nil {
				return nil
			}
			a.Seen, err = c.count(r, ours)
			return err
		}, &a)
		if err != nil {
			return nil, err
		}
		spent[i] = run.Wall
		answers[i] = a
	}
	for round := range m.pace.runs {
		for turn := range q.contenders {
			i := (turn + round) % len(q.contenders)
			a := &answers[i]
			if a.Limit > 0 || spent[i] > m.pace.budget && len(a.Runs) >= enough {
				continue
			}
			run, err := m.once(ctx, q.contenders[i], nil, a)
			if err != nil {
				return nil, err
			}
			if a.Limit > 0 {
				a.Runs = nil
				continue
			}
			spent[i] += run.Wall
			a.Runs = append(a.Runs, run)
		}
	}
	return answers, nil
}

// once runs a program to its end. What it prints goes to read, or nowhere. Its
// exit status and remarks go into a, as does its running out of time.
func (m *meter) once(ctx context.Context, c contender, read func(io.Reader) error, a *timing.Answer) (timing.Run, error) {
	limited, cancel := context.WithTimeout(ctx, m.pace.limit)
	defer cancel()
	cmd := exec.CommandContext(limited, c.command[0], c.command[1:]...)
	cmd.Env = append(os.Environ(), "HOME="+m.home, "LC_ALL=C")
	cmd.Dir = m.home
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = time.Second
	var stderr bounded
	cmd.Stderr = &stderr
	var out io.ReadCloser
	if read != nil {
		var err error
		if out, err = cmd.StdoutPipe(); err != nil {
			return timing.Run{}, err
		}
	}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return timing.Run{}, fmt.Errorf("%s: %w", c.name, err)
	}
	var failed error
	if read != nil {
		failed = read(out)
		_, err := io.Copy(io.Discard, out)
		failed = errors.Join(failed, err)
	}
	err := cmd.Wait()
	wall := time.Since(start)
	if ctx.Err() != nil {
		return timing.Run{}, ctx.Err()
	}
	if limited.Err() != nil {
		a.Limit = m.pace.limit
		a.Seen = -1
		return timing.Run{Wall: wall}, nil
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return timing.Run{}, fmt.Errorf("%s: %w", c.name, err)
	}
	if failed != nil {
		return timing.Run{}, fmt.Errorf("%s: read what it prints: %w", c.name, failed)
	}
	a.Exit = cmd.ProcessState.ExitCode()
	a.Remark = stderr.remark()
	run := timing.Run{Wall: wall, CPU: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		run.Peak = usage.Maxrss << 10 // getrusage(2): kilobytes
	}
	return run, nil
}

// bounded keeps the beginning of what is written to it.
type bounded struct{ bytes.Buffer }

func (b *bounded) Write(p []byte) (int, error) {
	if room := 4096 - b.Len(); room > 0 {
		b.Buffer.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

// remark is the first line, and how many there are.
func (b *bounded) remark() string {
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	if len(lines) > 1 {
		return fmt.Sprintf("%s (and %d lines more)", lines[0], len(lines)-1)
	}
	return lines[0]
}

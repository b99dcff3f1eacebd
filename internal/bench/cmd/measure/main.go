// Measure makes a load, asks sockql and whichever other programs are installed
// the same questions about it, in turns, and writes what it found as JSON.
//
// As root each load has network namespaces of its own, and the programs run in
// the first of them. Without root the load is in the caller's namespace and
// there is only one.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/shirou/gopsutil/v4/load"

	"sockql/internal/bench/timing"
)

type config struct {
	sockets    []int
	perProcess int
	namespaces int
	pace       pace
	programs   programs
	sockload   string
	inProcess  string // a test binary, or empty
	output     string
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "measure:", err)
		os.Exit(1)
	}
}

func run() error {
	c, err := flags()
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer stop()
	// The load ends when the thread that started it does.
	runtime.LockOSThread()

	host, err := describeHost()
	if err != nil {
		return err
	}
	before, err := load.Avg()
	if err != nil {
		return fmt.Errorf("load average: %w", err)
	}
	home, err := os.MkdirTemp("", "sockql-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(home)
	m := &meter{pace: c.pace, home: home, log: os.Stderr}

	result := timing.Result{Date: time.Now().Format(time.DateOnly), Busy: before.Load1, Host: host, Versions: c.programs.versions(ctx, m)}
	for _, v := range result.Versions {
		if v.Text == "" {
			m.logf("%s: not installed", v.Program)
		}
	}
	if !host.Root {
		m.logf("without root: one namespace, the caller's, and only the caller's processes have owners")
	}
	for _, l := range c.loads(host.Root) {
		r, err := c.measure(ctx, m, l)
		if err != nil {
			return err
		}
		result.Loads = append(result.Loads, r)
		// What is measured is not lost when the next load is interrupted.
		if err := write(c.output, result); err != nil {
			return err
		}
	}
	return nil
}

func write(path string, result timing.Result) error {
	floor, err := ownPeak()
	if err != nil {
		return err
	}
	result.Floor = floor
	text, err := json.MarshalIndent(result, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

func flags() (config, error) {
	var c config
	sockets := flag.String("sockets", "1000 10000 100000", "the sizes of the loads, in sockets")
	flag.IntVar(&c.perProcess, "per-process", 100, "sockets of one process")
	flag.IntVar(&c.namespaces, "namespaces", 50, "namespaces that the largest load is divided among, in the end; 0 leaves that out")
	flag.IntVar(&c.pace.runs, "runs", 7, "how often each program answers each question")
	flag.DurationVar(&c.pace.budget, "budget", 10*time.Second, "a program that has taken longer than this for one question is not run again")
	flag.DurationVar(&c.pace.limit, "limit", 20*time.Second, "a program is ended after this time")
	flag.StringVar(&c.programs.sockql, "sockql", "sockql", "the sockql to measure")
	flag.StringVar(&c.programs.osqueryi, "osqueryi", "osqueryi", "the osqueryi to compare with")
	flag.StringVar(&c.programs.gopsockets, "gopsockets", "", "the program of this module that lists sockets with gopsutil")
	flag.StringVar(&c.sockload, "sockload", "sockload", "the program of this module that makes the load")
	flag.StringVar(&c.inProcess, "in-process", "", "the compiled tests of tables/builtin, for figures without a process's start")
	flag.StringVar(&c.output, "o", "results.json", "the file to write")
	flag.Parse()
	for _, field := range strings.FieldsFunc(*sockets, func(r rune) bool { return r == ' ' || r == ',' }) {
		n, err := strconv.Atoi(field)
		if err != nil || n < 1 {
			return c, fmt.Errorf("not a number of sockets: %q", field)
		}
		c.sockets = append(c.sockets, n)
	}
	switch {
	case len(c.sockets) == 0:
		return c, errors.New("no sizes of loads")
	case c.perProcess < 1 || c.pace.runs < 1 || c.namespaces < 0:
		return c, errors.New("-per-process and -runs are at least 1, -namespaces at least 0")
	}
	return c, nil
}

// meter is the stopwatch and what it needs.
type meter struct {
	pace pace
	home string // a directory for the programs' own files
	log  io.Writer
}

func (m *meter) logf(format string, arg ...any) { fmt.Fprintf(m.log, format+"\n", arg...) }

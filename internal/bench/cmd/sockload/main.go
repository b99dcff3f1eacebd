// Sockload makes sockets on loopback, says what it made in one line of JSON on
// standard output, and holds them until SIGTERM, SIGINT or the end of the
// process that started it. Nothing is left then.
//
//	sockload -sockets 10000 -processes 100 -namespaces 5
//
// New namespaces need CAP_SYS_ADMIN; -namespaces 0 needs nothing, and puts the
// sockets into the caller's.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"sockql/internal/bench/load"
)

func main() {
	load.Worker()
	var c load.Config
	flag.IntVar(&c.Sockets, "sockets", 1000, "how many sockets")
	flag.IntVar(&c.Processes, "processes", 10, "how many processes hold them")
	flag.IntVar(&c.Namespaces, "namespaces", 0, "how many new network namespaces they are in; 0 is the caller's")
	flag.Parse()
	if err := run(c); err != nil {
		fmt.Fprintln(os.Stderr, "sockload:", err)
		os.Exit(1)
	}
}

func run(c load.Config) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer stop()
	runtime.LockOSThread()
	parent := os.Getppid()
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGTERM), 0, 0, 0); err != nil {
		return fmt.Errorf("prctl: %w", err)
	}
	if os.Getppid() != parent {
		return errors.New("the process that started it has ended")
	}
	l, err := load.Start(ctx, c)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(l); err != nil {
		return errors.Join(err, l.Stop())
	}
	<-ctx.Done()
	return l.Stop()
}

package daemon

import (
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sockql/engine"
	"sockql/engine/pack"
	"sockql/engine/resultlog"
	"sockql/engine/schedule"
	"sockql/extension/host"
	"sockql/tables"
)

// A Config is what the command needs from outside.
type Config struct {
	Stdout, Stderr io.Writer
	Getenv         func(string) string
	// Human says that standard error is a terminal.
	Human bool
	// OsqueryVersion is the version of osquery that packs may ask for.
	OsqueryVersion string
	// Engine builds the engine, with further tables.
	Engine func(Sources, []tables.Table, engine.Limits) (*engine.Engine, error)
	// Extensions adds the tables that tell of extensions to the engine and, if
	// they are wanted, begins to serve extensions; nil if there can be none. The
	// function says which tables are offered.
	Extensions func(_ context.Context, _ host.Config, wanted bool, _ func(string) bool, _ *engine.Engine) (Extensions, error)
}

// Sources says where tables take their rows from.
type Sources struct {
	// Proc is the root of procfs; empty stands for the system's. Source is
	// auto, netlink or procfs.
	Proc, Source string
	// ReadMax is the size in bytes of the largest file that the table hash
	// reads; 0 stands for any.
	ReadMax int64
	// Offered reports whether a table is wanted.
	Offered func(name string) bool
}

// The exit statuses: usage and configuration, and what ends osqueryd for good.
const (
	statusBad          = 1
	statusCatastrophic = 78
)

// Main runs the command until ctx ends and returns the exit status: 0, 1 if the
// command line or the configuration is wrong, and 78 if the daemon cannot run.
func Main(ctx context.Context, c Config, args []string) int {
	f := newFlags()
	useless, err := f.parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		f.usage(c.Stdout)
		return 0
	case err != nil:
		fmt.Fprintf(c.Stderr, "sockql daemon: %v\n", err)
		return statusBad
	case f.configDump:
		return c.report(c.dump(f))
	case f.configCheck:
		return c.check(ctx, f)
	}
	if !f.disableWatchdog && !f.once && c.Getenv(workerEnv) == "" {
		return c.report(c.watch(ctx, f, args))
	}
	return c.report(c.work(ctx, f, useless))
}

// report prints why the command ends and returns its status.
func (c *Config) report(err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintf(c.Stderr, "sockql daemon: %v\n", err)
	var syntax *pack.SyntaxError
	var exit *exitError
	switch {
	case errors.As(err, &exit):
		return exit.status
	case errors.As(err, &syntax), errors.Is(err, os.ErrNotExist):
		return statusBad
	}
	return statusCatastrophic
}

func (c *Config) target() pack.Target {
	host, _ := os.Hostname()
	return pack.Target{Version: c.OsqueryVersion, Shard: pack.Shard(host)}
}

// dump prints files as osqueryd --config_dump does.
func (c *Config) dump(f *flags) error {
	conf, err := pack.Load(f.configPath, c.target())
	if err != nil {
		return err
	}
	for _, file := range conf.Files {
		fmt.Fprintf(c.Stdout, "{\"%s\": %s}\n", file.Path, file.Text)
	}
	return nil
}

// check prints what is wrong with a configuration and its queries. Only that
// some have no effect does not make it fail.
func (c *Config) check(ctx context.Context, f *flags) int {
	conf, err := pack.Load(f.configPath, c.target())
	if err != nil {
		return c.report(err)
	}
	for _, w := range conf.Warnings {
		fmt.Fprintf(c.Stderr, "warning: %s\n", w)
	}
	for _, err := range f.options(conf.Options, true) {
		fmt.Fprintf(c.Stderr, "warning: %v\n", err)
	}
	// A daemon that runs has its own socket.
	f.extensionsSocket, f.ephemeral = "", true
	status := slog.New(slog.NewTextHandler(c.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	conn, closeAll, err := c.open(ctx, f, &schedule.Board{}, status)
	if err != nil {
		return c.report(err)
	}
	defer closeAll()
	wrong := schedule.Check(ctx, schedule.Conn(conn), conf)
	for _, w := range wrong {
		fmt.Fprintf(c.Stderr, "error: %s\n", w)
	}
	if len(wrong) > 0 {
		return statusBad
	}
	return 0
}

// engine builds the engine with the tables of a board.
func (c *Config) engine(f *flags, board *schedule.Board) (*engine.Engine, error) {
	own, err := board.Tables()
	if err != nil {
		return nil, err
	}
	limit := f.memoryLimit()
	if limit == 0 {
		limit = -1
	}
	return c.Engine(Sources{Proc: f.proc, Source: f.source, ReadMax: int64(min(f.readMax, math.MaxInt64)), Offered: f.offered}, own, engine.Limits{HeapBytes: limit})
}

// open opens a connection to an engine that has extensions, and returns what
// closes both.
func (c *Config) open(ctx context.Context, f *flags, board *schedule.Board, log *slog.Logger) (*engine.Conn, func() error, error) {
	eng, err := c.engine(f, board)
	if err != nil {
		return nil, nil, err
	}
	extensions, err := c.loadExtensions(ctx, f, eng, log)
	if err != nil {
		return nil, nil, err
	}
	conn, err := eng.Open()
	closeAll := func() error {
		var errs []error
		if conn != nil {
			errs = append(errs, conn.Close())
		}
		if extensions != nil {
			errs = append(errs, extensions.Close())
		}
		return errors.Join(errs...)
	}
	if err != nil {
		return nil, nil, errors.Join(err, closeAll())
	}
	return conn, closeAll, nil
}

// A worker is the process that runs the queries.
type worker struct {
	config    *Config
	flags     *flags
	log       *slog.Logger
	store     *resultlog.Store
	scheduler *schedule.Scheduler
	notify    *notifier
	host      func() string
	broken    bool              // the configuration that was read last
	sum       [sha256.Size]byte // of the configuration that runs
}

// softMemory is what Go's memory is kept within where that is possible, in
// bytes: beyond it garbage is collected early and given back at once. A few
// large results would otherwise decide what the daemon keeps for good.
const softMemory = 64 << 20

func (c *Config) work(ctx context.Context, f *flags, useless []string) (err error) {
	if c.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(softMemory)
	}
	conf, err := pack.Load(f.configPath, c.target())
	if err != nil {
		return err
	}
	refused := f.options(conf.Options, true)
	sinks := c.sinks(f)
	status, err := c.status(f, sinks)
	if err != nil {
		return err
	}
	defer status.Close()
	w := &worker{config: c, flags: f, log: slog.New(status), sum: conf.Sum}
	if reason := c.Getenv(reasonEnv); reason != "" {
		w.log.Warn("The watchdog started this worker anew", "reason", reason)
	}
	for _, name := range useless {
		w.log.Warn("A flag has no effect here", "flag", "--"+name)
	}
	w.warn(conf, refused)
	if w.notify, err = newNotifier(c.Getenv); err != nil {
		w.log.Error("Cannot notify the service manager", "error", err)
	}
	defer w.notify.Close()
	if f.pidfile != "" && c.Getenv(workerEnv) == "" {
		remove, err := writePidfile(f.pidfile)
		if err != nil {
			return err
		}
		defer remove()
	}
	if err := w.openStore(sinks); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.store.Close()) }()
	board := &schedule.Board{}
	conn, closeAll, err := c.open(ctx, f, board, w.log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAll()) }()
	if w.host, err = identity(f, w.store); err != nil {
		return err
	}
	w.scheduler, err = schedule.New(schedule.Config{
		Database: schedule.Conn(conn), Store: w.store, Board: board, Log: w.log, Alive: w.notify.alive,
	}, !f.disableWatchdog)
	if err != nil {
		return err
	}
	w.scheduler.Load(ctx, conf, f.settings(w.host))
	if f.once {
		w.scheduler.Once(ctx)
		return w.waiting()
	}
	if err := w.run(ctx, conf); err != nil {
		return err
	}
	if err := w.waiting(); err != nil {
		w.log.Error("Not all results were logged", "error", err)
	}
	return nil
}

// waiting returns an error if a logger has not taken all lines.
func (w *worker) waiting() error {
	n, err := w.store.Waiting()
	switch {
	case err != nil || n == 0:
		return err
	case w.flags.inMemory():
		return fmt.Errorf("daemon: %d lines are lost, which a logger did not take", n)
	}
	return fmt.Errorf("daemon: %d lines, which a logger did not take, wait in the state for the next start", n)
}

// run runs the schedule and takes signals.
func (w *worker) run(ctx context.Context, conf *pack.Config) error {
	if w.flags.scheduleTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(w.flags.scheduleTimeout)*time.Second)
		defer cancel()
	}
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	reloads := make(chan struct{})
	go func() {
		defer close(reloads)
		w.reload(ctx, hangups)
	}()
	w.log.Info("The schedule begins", "queries", countQueries(conf))
	w.notify.ready(summary(conf))
	w.scheduler.Run(ctx)
	<-reloads
	w.notify.stopping()
	w.log.Info("The schedule has ended")
	return nil
}

// reload reads the configuration again after each SIGHUP and each refresh, which
// changes nothing if the files are what they were.
func (w *worker) reload(ctx context.Context, hangups <-chan os.Signal) {
	for {
		var refresh <-chan time.Time
		seconds := w.flags.configRefresh
		if w.broken && seconds > 0 {
			seconds = min(seconds, w.flags.configAcceleratedRefresh)
		}
		timer := time.NewTimer(time.Duration(max(seconds, 1)) * time.Second)
		if seconds > 0 {
			refresh = timer.C
		}
		asked := false
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-hangups:
			asked = true
		case <-refresh:
		}
		timer.Stop()
		conf, err := pack.Load(w.flags.configPath, w.config.target())
		if err == nil && conf.Sum == w.sum && !asked {
			if w.broken {
				w.broken = false
				w.log.Info("The configuration is as it was before it was broken")
				w.notify.ready(summary(conf))
			}
			continue
		}
		w.notify.reloading()
		if w.broken = err != nil; w.broken {
			w.log.Error("The configuration is broken; the old one goes on", "error", err)
			w.notify.ready("the configuration is broken; the old one goes on")
			continue
		}
		w.sum = conf.Sum
		w.warn(conf, w.flags.options(conf.Options, false))
		w.scheduler.Reload(ctx, conf, w.flags.settings(w.host))
		w.log.Info("The configuration was read again", "queries", countQueries(conf))
		w.notify.ready(summary(conf))
	}
}

func (w *worker) warn(conf *pack.Config, refused []error) {
	for _, warning := range conf.Warnings {
		w.log.Warn("Configuration:", "query", warning)
	}
	for _, err := range refused {
		w.log.Warn("Option of the configuration", "error", err)
	}
}

func countQueries(c *pack.Config) (n int) {
	for _, p := range c.Packs {
		if p.Skip == "" {
			n += len(p.Queries)
		}
	}
	return n
}

func summary(c *pack.Config) string { return fmt.Sprintf("%d queries", countQueries(c)) }

// sinks makes the loggers that flags name.
func (c *Config) sinks(f *flags) (sinks []resultlog.Sink) {
	if f.disableLogging {
		return nil
	}
	for name := range strings.SplitSeq(f.loggerPlugin, ",") {
		switch name {
		case "filesystem":
			fs := &resultlog.Filesystem{Dir: f.loggerPath, Mode: f.mode(), RotateFiles: f.loggerRotateFiles}
			if f.loggerRotate {
				fs.RotateSize = f.loggerRotateSize
			}
			sinks = append(sinks, fs)
		case "stdout":
			sinks = append(sinks, &resultlog.Stdout{W: c.Stdout})
		case "syslog":
			sinks = append(sinks, &resultlog.Syslog{Facility: f.syslogFacility, CEE: f.syslogCEE})
		}
	}
	return sinks
}

// status makes the status log. As in osqueryd, standard error does not get what
// standard output gets.
func (c *Config) status(f *flags, sinks []resultlog.Sink) (*resultlog.Status, error) {
	// glog's numbers of levels; 3, fatal, is above all that is logged here.
	levels := []slog.Level{slog.LevelInfo, slog.LevelWarn, slog.LevelError, slog.LevelError + 1}
	level := func(n int) slog.Level { return levels[min(max(n, 0), 3)] }
	s := resultlog.StatusConfig{
		Mode: f.mode(), Min: level(f.loggerMinStatus),
		Stderr: c.Stderr, MinStderr: level(f.loggerMinStderr), Human: c.Human,
	}
	if !f.loggerStderr {
		s.MinStderr = level(3)
	}
	for _, k := range sinks {
		switch k := k.(type) {
		case *resultlog.Filesystem:
			if err := os.MkdirAll(f.loggerPath, 0o750); err != nil {
				return nil, fmt.Errorf("daemon: logger_path: %w", err)
			}
			s.Dir = f.loggerPath
		case *resultlog.Stdout:
			s.MinStderr = level(3)
			s.Sinks = append(s.Sinks, k)
		case resultlog.StatusSink:
			s.Sinks = append(s.Sinks, k)
		}
	}
	return resultlog.NewStatus(s), nil
}

// openStore opens the state and has it deliver to sinks.
func (w *worker) openStore(sinks []resultlog.Sink) error {
	f := w.flags
	path := f.databasePath
	if f.inMemory() {
		path = ""
	} else if info, err := os.Stat(path); err == nil && info.IsDir() {
		path += ".sockql" // osqueryd's own database is a directory
	}
	store, moved, err := resultlog.Open(path)
	if err != nil {
		return err
	}
	w.store = store
	if moved != nil {
		w.log.Error("The state of queries is lost", "error", moved)
	}
	for _, k := range sinks {
		if fs, ok := k.(*resultlog.Filesystem); ok {
			if err := fs.Create(); err != nil {
				w.log.Error("Cannot write results", "error", err)
			}
		}
	}
	return store.Attach(f.bufferedLogMax, sinks...)
}

// writePidfile writes the number of this process and returns what removes the
// file again. It fails if the file names a process that lives.
func writePidfile(path string) (remove func(), err error) {
	if text, err := os.ReadFile(path); err == nil {
		pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err == nil && pid > 0 && pid != os.Getpid() && !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			return nil, fmt.Errorf("daemon: pidfile %q: process %d is running", path, pid)
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("daemon: pidfile: %w", err)
	}
	if err := os.WriteFile(path, []byte(strconv.Itoa(os.Getpid())+"\n"), 0o644); err != nil {
		return nil, fmt.Errorf("daemon: pidfile: %w", err)
	}
	return func() { os.Remove(path) }, nil
}

package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// files returns the extensions to start, each once.
func (h *Host) files() []string {
	files := slices.Clone(h.cfg.Extensions)
	if h.cfg.Autoload != "" {
		text, err := os.ReadFile(h.cfg.Autoload)
		if err != nil {
			h.log.Warn("could not autoload extensions", "error", err)
		}
		for _, path := range parseAutoload(string(text)) {
			if err := h.autoloadable(path); err != nil {
				h.log.Warn("extension refused", "error", err)
				continue
			}
			files = append(files, path)
		}
	}
	for i := range files {
		if abs, err := filepath.Abs(files[i]); err == nil {
			files[i] = abs
		}
	}
	slices.Sort(files)
	return slices.Compact(files)
}

// parseAutoload returns the paths that an autoload file lists: one a line, for a
// directory the ".ext" files in it and below. Lines that begin with "#" or ";"
// are comments.
func parseAutoload(text string) []string {
	var paths []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		if info, err := os.Stat(line); err != nil || !info.IsDir() {
			paths = append(paths, line)
			continue
		}
		// What cannot be read below is not there to load.
		_ = filepath.WalkDir(line, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && filepath.Ext(path) == ".ext" {
				paths = append(paths, path)
			}
			return nil
		})
	}
	return paths
}

// autoloadable says, in osquery's words, why a file is not loaded.
func (h *Host) autoloadable(path string) error {
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("extension doesn't exist at: %s", path)
	}
	if !h.cfg.AllowUnsafe && unsafeFile(path) != nil {
		return fmt.Errorf("Will not autoload extension with unsafe directory permissions: %s", path) //lint:ignore ST1005 osquery's text
	}
	if filepath.Ext(path) != ".ext" {
		return fmt.Errorf("Will not autoload extension not ending in one of '.ext': %s", path) //lint:ignore ST1005 osquery's text
	}
	return nil
}

// unsafeFile says why a file must not be started: it is no executable file of
// this user or of root, others may write it, or it lies in a directory like
// /tmp, where others may put files (sticky, inode(7)).
func unsafeFile(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	dir, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.Mode().IsRegular():
		return errors.New("no regular file")
	case info.Mode()&0o111 == 0:
		return errors.New("not executable")
	case info.Mode()&0o002 != 0:
		return errors.New("writable by everybody")
	case dir.Mode()&fs.ModeSticky != 0:
		return errors.New("in a directory for everybody's files")
	case ok && owner.Uid != 0 && int(owner.Uid) != os.Geteuid():
		return errors.New("owned by another user")
	}
	return nil
}

// The pauses between the end of an extension and its next start. One that lived
// longer than osquery's respawn limit is started after the first.
const (
	firstPause   = time.Second
	longestPause = time.Minute
	respawnLimit = 4 * time.Second
)

// supervise keeps an extension running until ctx ends.
func (h *Host) supervise(ctx context.Context, path string) {
	for pause := firstPause; ; {
		if err := unsafeFile(path); err != nil && !h.cfg.AllowUnsafe {
			if errors.Is(err, fs.ErrNotExist) {
				err = fmt.Errorf("Extension binary doesn't exist in: %s", path) //lint:ignore ST1005 osquery's text
			} else {
				err = fmt.Errorf("[Ref #1382] Extension binary has unsafe permissions: %s (%w)", path, err)
			}
			h.log.Error("extension refused", "error", err)
			return
		}
		started := time.Now()
		err := h.execute(ctx, path)
		if ctx.Err() != nil {
			return
		}
		if time.Since(started) > respawnLimit {
			pause = firstPause
		}
		message := "extension ended, starting it again"
		if pause > firstPause {
			message = "Extension respawning too quickly" // osquery's text
		}
		h.log.Warn(message, "path", path, "error", err, "pause", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		pause = min(2*pause, longestPause)
	}
}

// execute runs an extension until it ends or ctx does.
func (h *Host) execute(ctx context.Context, path string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	args := []string{
		"--socket", h.cfg.Socket,
		"--timeout", seconds(h.cfg.Timeout),
		"--interval", seconds(h.cfg.Interval),
	}
	if h.cfg.Verbose {
		args = append(args, "--verbose")
	}
	cmd := exec.CommandContext(ctx, path, args...)
	// osqueryd gives the extension's own number, which nobody reads and is not
	// known here before it runs; on Windows it gives 1.
	cmd.Env = append(os.Environ(), "OSQUERY_EXTENSION=1")
	cmd.Stdout, cmd.Stderr = h.cfg.Output, h.cfg.Output
	// An interrupt at the prompt is not meant for it. A host that is killed takes
	// it along: the signal comes when the thread ends that has started it
	// (prctl(2), PR_SET_PDEATHSIG).
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = killAfter
	if err := cmd.Start(); err != nil {
		return err
	}
	pid := cmd.Process.Pid
	h.log.Debug("extension started", "path", path, "pid", pid)
	h.mu.Lock()
	h.processes[pid] = cancel
	h.mu.Unlock()
	late := time.AfterFunc(h.cfg.Timeout, func() {
		if len(h.ofProcess(pid)) == 0 {
			h.log.Warn("extension runs and has not registered", "path", path, "pid", pid, "after", h.cfg.Timeout)
		}
	})
	err := cmd.Wait()
	late.Stop()
	h.mu.Lock()
	delete(h.processes, pid)
	h.mu.Unlock()
	for _, e := range h.ofProcess(pid) {
		h.drop(e.uuid)
	}
	return err
}

// seconds writes a duration as osquery's flags take it: whole, at least one.
func seconds(d time.Duration) string {
	return strconv.Itoa(max(1, int((d+time.Second-1)/time.Second)))
}

// ofProcess returns the extensions that a process has registered.
func (h *Host) ofProcess(pid int) []*registered {
	return slices.DeleteFunc(h.list(), func(e *registered) bool { return e.pid != pid })
}

// end ends a process that was started here, so that it is started again: one
// that has lost its registration does not know.
func (h *Host) end(pid int) {
	h.mu.Lock()
	cancel := h.processes[pid]
	h.mu.Unlock()
	if cancel != nil {
		cancel()
	}
}

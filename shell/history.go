package shell

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// historyLimit is how many lines are kept.
const historyLimit = 1000

// home returns the home directory of the effective user. sudo may leave HOME
// at somebody else's, where root must not write.
func home(getenv func(string) string) (string, error) {
	if dir := getenv("HOME"); dir != "" {
		info, err := os.Stat(dir)
		if err == nil && owner(info) == os.Geteuid() {
			return dir, nil
		}
	}
	u, err := user.LookupId(strconv.Itoa(os.Geteuid()))
	if err != nil {
		return "", err
	}
	return u.HomeDir, nil
}

// owner returns the uid of a file's owner, or -1.
func owner(info os.FileInfo) int {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid)
	}
	return -1
}

// userFile returns the path of a file of ours below a base directory of the
// XDG Base Directory Specification, which a variable may move.
func userFile(getenv func(string) string, variable, fallback, name string) (string, error) {
	dir, err := home(getenv)
	if err != nil {
		return "", err
	}
	base := getenv(variable)
	if !filepath.IsAbs(base) || dir != getenv("HOME") {
		base = filepath.Join(dir, fallback)
	}
	return filepath.Join(base, "sockql", name), nil
}

// history is the lines of earlier sessions and this one, each once, the latest
// last.
type history struct {
	path  string
	lines []string
}

func openHistory(getenv func(string) string) (*history, error) {
	path, err := userFile(getenv, "XDG_STATE_HOME", filepath.Join(".local", "state"), "history")
	if err != nil {
		return &history{}, err
	}
	h := &history{path: path}
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		h.path = ""
		return h, err
	}
	h.lines = parseHistory(text)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		h.path = ""
		return h, err
	}
	return h, nil
}

func parseHistory(text []byte) []string {
	var lines []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimRight(line, "\r\n"); line != "" {
			lines = remember(lines, line)
		}
	}
	return lines
}

// remember appends a line and drops what it repeats and what is too old.
func remember(lines []string, line string) []string {
	lines = slices.DeleteFunc(lines, func(l string) bool { return l == line })
	lines = append(lines, line)
	return lines[max(0, len(lines)-historyLimit):]
}

// entries turns an input into lines of history. A statement of several lines
// becomes one, unless a comment would swallow what follows it.
func entries(text string) []string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if !strings.Contains(text, "--") {
		lines = []string{strings.Join(lines, " ")}
	}
	return slices.DeleteFunc(lines, func(l string) bool { return strings.TrimSpace(l) == "" })
}

// add remembers an input, in the file too. Other sessions may have written to
// it meanwhile, so it is read again under a lock.
func (h *history) add(text string) error {
	added := entries(text)
	for _, line := range added {
		h.lines = remember(h.lines, line)
	}
	if h.path == "" || len(added) == 0 {
		return nil
	}
	err := h.write(added)
	if err != nil {
		h.path = "" // one complaint is enough
		return fmt.Errorf("history: %w", err)
	}
	return nil
}

func (h *history) write(added []string) error {
	f, err := os.OpenFile(h.path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	text, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	lines := parseHistory(text)
	for _, line := range added {
		lines = remember(lines, line)
	}
	out := []byte(strings.Join(lines, "\n") + "\n")
	if _, err := f.WriteAt(out, 0); err != nil {
		return err
	}
	if err := f.Truncate(int64(len(out))); err != nil {
		return err
	}
	return f.Close()
}

package rooted

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"sockql/fixtures"
	"sockql/tables/internal/procfs"
)

// read returns the content of a file below a root.
func read(t *testing.T, r Root, path string) (string, error) {
	t.Helper()
	fd, err := r.Open(path, unix.O_RDONLY)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	buf := make([]byte, 100)
	n, err := unix.Read(fd, buf)
	return string(buf[:max(n, 0)]), err
}

func TestLinksStayBelow(t *testing.T) {
	outside, inside := t.TempDir(), t.TempDir()
	if err := errors.Join(
		os.WriteFile(filepath.Join(outside, "secret"), []byte("secret"), 0o600),
		os.WriteFile(filepath.Join(inside, "plain"), []byte("plain"), 0o600),
		os.Symlink(filepath.Join(outside, "secret"), filepath.Join(inside, "absolute")),
		os.Symlink("../../../../../../plain", filepath.Join(inside, "up")),
		os.Symlink("/plain", filepath.Join(inside, "rooted")),
	); err != nil {
		t.Fatal(err)
	}
	r, err := Open(inside)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for path, want := range map[string]string{"plain": "plain", "/plain": "plain", "up": "plain", "rooted": "plain", "../../plain": "plain"} {
		if got, err := read(t, r, path); err != nil || got != want {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
	for _, path := range []string{"absolute", filepath.Join(outside, "secret"), "plain\x00", "none"} {
		if got, err := read(t, r, path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: %q, %v", path, got, err)
		}
	}
	own, err := Open("/")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := read(t, own, filepath.Join(outside, "secret")); err != nil || got != "secret" {
		t.Errorf("below the own root: %q, %v", got, err)
	}
}

func TestOfProcess(t *testing.T) {
	proc, err := procfs.Open("/proc")
	if err != nil {
		t.Skip(err)
	}
	defer proc.Close()
	r, err := OfProcess(proc, int64(os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := read(t, r, filepath.Join(dir, "f")); err != nil || got != "mine" {
		t.Errorf("%q, %v", got, err)
	}
	tree, err := procfs.Open(fixtures.Unpack(t, "bash"))
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	for _, test := range []struct {
		proc *procfs.FS
		pid  int64
	}{{nil, 1}, {proc, 0}, {proc, -1}, {proc, 1 << 40}, {tree, 14960}} {
		if r, err := OfProcess(test.proc, test.pid); !errors.Is(err, fs.ErrNotExist) {
			r.Close()
			t.Errorf("process %d: %v", test.pid, err)
		}
	}
}

package procfs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestParseMapping(t *testing.T) {
	for line, want := range map[string]Mapping{
		"560178ca4000-560178cd3000 r--p 00001000 fe:00 246999                     /usr/bin/bash": {
			0x560178ca4000, 0x560178cd3000, "r--p", 0x1000, "fe:00", 246999, "/usr/bin/bash"},
		"7f00-7f01 rw-s 00000000 00:01 7 /memfd:a b (deleted)": {0x7f00, 0x7f01, "rw-s", 0, "00:01", 7, "/memfd:a b (deleted)"},
		"7f00-7f01 rw-p 00000000 00:00 0 ":                     {0x7f00, 0x7f01, "rw-p", 0, "00:00", 0, ""},
		"7f00-7f01 rw-p 00000000 00:00 0":                      {0x7f00, 0x7f01, "rw-p", 0, "00:00", 0, ""},
		"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]": {
			0xffffffffff600000, 0xffffffffff601000, "--xp", 0, "00:00", 0, "[vsyscall]"},
	} {
		var got Mapping
		err := parseMapping([]byte(line), &got)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%q: %v\n%s", line, err, diff)
		}
	}
	for _, line := range []string{"", "7f00", "7f00-", "7f00 7f01 r--p 0 00:00 0", "x-y r--p 0 00:00 0", "1-2 r--p", "1-2 r--p z 00:00 0", "1-2 r--p 0 00:00 -"} {
		var m Mapping
		if err := parseMapping([]byte(line), &m); err == nil {
			t.Errorf("%q: %+v, want an error", line, m)
		}
	}
}

func TestKernelMaps(t *testing.T) {
	p := openKernel(t)
	content, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	self := int32(os.Getpid())
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	n, text := 0, 0
	err = p.Maps(self, func(m *Mapping) bool {
		n++
		if m.Path == exe {
			text++
		}
		if m.Start >= m.End || len(m.Permissions) != 4 {
			t.Errorf("%+v", m)
		}
		return true
	})
	if err != nil || n < bytes.Count(content, []byte{'\n'})/2 || text == 0 {
		t.Errorf("%d mappings, %d of the program, %v", n, text, err)
	}
	n = 0
	if err := p.Maps(self, func(*Mapping) bool { n++; return false }); n != 1 || err != nil {
		t.Errorf("stopped after the first: %d, %v", n, err)
	}
	if err := p.Maps(-1, nil); !errors.Is(err, ErrVanished) {
		t.Errorf("of no process: %v", err)
	}
}

func TestKernelOpenFiles(t *testing.T) {
	p := openKernel(t)
	dir := t.TempDir()
	fifo := dir + "/" + strings.Repeat("n", 200)
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	named, err := os.OpenFile(fifo, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer named.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	self := int32(os.Getpid())
	var walker Walker
	files, err := p.OpenFiles(&walker, self, nil)
	if err != nil {
		t.Fatal(err)
	}
	targets := map[int32]string{}
	for i, f := range files {
		if i > 0 && files[i-1].FD >= f.FD {
			t.Error("not ascending")
		}
		targets[f.FD] = f.Target
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(r.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	if got, want := targets[int32(r.Fd())], fmt.Sprintf("pipe:[%d]", st.Ino); got != want {
		t.Errorf("pipe: %q, want %q", got, want)
	}
	if got := targets[int32(named.Fd())]; got != fifo {
		t.Errorf("named pipe: %q, want %q", got, fifo)
	}
	for fd, mode := range map[uintptr]uint32{r.Fd(): unix.O_RDONLY, w.Fd(): unix.O_WRONLY, named.Fd(): unix.O_RDWR} {
		info, err := p.FDInfo(self, int32(fd))
		if err != nil || info.Flags&unix.O_ACCMODE != mode {
			t.Errorf("descriptor %d: flags %o, %v; want mode %o", fd, info.Flags, err, mode)
		}
	}
	if err := unix.Stat(fifo, &st); err != nil {
		t.Fatal(err)
	}
	if dev, ino, ok, err := p.NamedPipe(self, int32(named.Fd())); !ok || err != nil || ino != st.Ino || dev != uint64(st.Dev) {
		t.Errorf("named pipe: %d, %d, %v, %v", dev, ino, ok, err)
	}
	if _, err := p.FDInfo(self, 1<<30); !errors.Is(err, ErrVanished) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("closed descriptor: %v", err)
	}
}

func FuzzMapping(f *testing.F) {
	f.Add([]byte("560178ca4000-560178cd3000 r--p 00001000 fe:00 246999    /usr/bin/bash"))
	f.Add([]byte("7f00-7f01 rw-s 00000000 00:01 7 /memfd:a b (deleted)"))
	f.Fuzz(func(t *testing.T, line []byte) {
		var m Mapping
		if parseMapping(line, &m) != nil {
			return
		}
		if !bytes.HasSuffix(line, []byte(m.Path)) || !bytes.Contains(line, []byte(m.Permissions+" ")) {
			t.Fatalf("%+v of %q", m, line)
		}
		var again Mapping
		printed := fmt.Appendf(nil, "%x-%x %s %08x %s %d    %s", m.Start, m.End, m.Permissions, m.Offset, m.Device, m.Inode, m.Path)
		if err := parseMapping(printed, &again); err != nil || again != m {
			t.Fatalf("%q: %+v, %v; want %+v", printed, again, err, m)
		}
	})
}

func FuzzFDInfo(f *testing.F) {
	f.Add([]byte("pos:\t0\nflags:\t0100001\nmnt_id:\t15\nino:\t7\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if info, err := parseFDInfo(text); err == nil && !bytes.Contains(text, fmt.Appendf(nil, "%o", info.Flags)) {
			t.Fatalf("flags %o of %q", info.Flags, text)
		}
	})
}

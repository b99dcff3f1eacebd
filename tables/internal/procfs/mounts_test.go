package procfs

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseMount(t *testing.T) {
	for line, want := range map[string]Mount{
		`36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`: {
			ID: 36, Parent: 35, Device: "98:0", Root: "/mnt1", Path: "/mnt2", Options: "rw,noatime",
			Type: "ext3", Source: "/dev/root", SuperOptions: "rw,errors=continue"},
		`1 1 0:2 / /a\040b\134\012 ro shared:2 master:1 propagate_from:7 - fuse.x a\043b rw`: {
			ID: 1, Parent: 1, Device: "0:2", Root: "/", Path: "/a b\\\n", Options: "ro",
			Type: "fuse.x", Source: "a#b", SuperOptions: "rw"},
		`1 1 0:2 / / rw - tmpfs  rw,size=1k`: {
			ID: 1, Parent: 1, Device: "0:2", Root: "/", Path: "/", Options: "rw", Type: "tmpfs", SuperOptions: "rw,size=1k"},
		`1 1 0:2 / / rw - tmpfs none `: {ID: 1, Parent: 1, Device: "0:2", Root: "/", Path: "/", Options: "rw", Type: "tmpfs", Source: "none"},
	} {
		got, err := ParseMount([]byte(line))
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", line, err, diff)
		}
	}
	for _, line := range []string{"", "1", "x 1 0:2 / / rw - tmpfs none rw", "1 1 0:2 / / rw tmpfs none rw", "1 1 0:2 / / rw -"} {
		if m, err := ParseMount([]byte(line)); err == nil {
			t.Errorf("%q: %+v, want an error", line, m)
		}
	}
}

func TestMountFlags(t *testing.T) {
	for _, test := range []struct{ options, super, want string }{
		{"rw,relatime", "rw", "rw,relatime"},
		{"rw", "ro,size=1k", "ro,size=1k"},
		{"ro,nosuid", "rw,sync,lazytime,size=1k", "ro,sync,lazytime,nosuid,size=1k"},
		{"rw,nodev", "rw,synchronous", "rw,nodev,synchronous"},
		{"rw", "", "rw"},
	} {
		if got := (&Mount{Options: test.options, SuperOptions: test.super}).Flags(); got != test.want {
			t.Errorf("%s with %s: %s, want %s", test.options, test.super, got, test.want)
		}
	}
}

// The kernel prints the same mounts in another form.
func TestMountsAreThoseOfProcMounts(t *testing.T) {
	p := openKernel(t)
	content, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Skipf("needs procfs: %v", err)
	}
	var want, got []string
	for line := range strings.Lines(string(content)) {
		line = strings.TrimSuffix(line, " 0 0\n")
		f := strings.SplitN(line, " ", 4)
		want = append(want, unescapeMount([]byte(f[0]))+"|"+unescapeMount([]byte(f[1]))+"|"+f[2]+"|"+f[3])
	}
	err = p.Mounts(func(m *Mount) bool {
		got = append(got, m.Source+"|"+m.Path+"|"+m.Type+"|"+m.Flags())
		return true
	})
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	n := 0
	if err := p.Mounts(func(*Mount) bool { n++; return false }); n != 1 || err != nil {
		t.Errorf("stopped after the first: %d, %v", n, err)
	}
}

func TestMountsKeepsGoodLines(t *testing.T) {
	root := t.TempDir()
	for name, content := range map[string]string{"1/stat": "", "self/mountinfo": "garbage\n1 1 0:2 / /x rw - tmpfs none rw\n"} {
		if err := os.MkdirAll(root+"/"+name[:strings.IndexByte(name, '/')], 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(root+"/"+name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p, err := Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	var paths []string
	err = p.Mounts(func(m *Mount) bool { paths = append(paths, m.Path); return true })
	var e *Error
	if !errors.As(err, &e) || e.Path != "self/mountinfo" || !strings.Contains(err.Error(), "garbage") || len(paths) != 1 {
		t.Errorf("%v, %q", err, paths)
	}
}

func FuzzMount(f *testing.F) {
	f.Add([]byte(`36 35 98:0 /mnt1 /mnt\040 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`))
	f.Add([]byte(`1 1 0:2 / / rw - tmpfs  rw`))
	f.Fuzz(func(t *testing.T, line []byte) {
		m, err := ParseMount(line)
		if err != nil {
			return
		}
		for _, field := range []string{m.Device, m.Options, m.SuperOptions} {
			if !bytes.Contains(line, []byte(field)) {
				t.Fatalf("%q is not in %q", field, line)
			}
		}
		if flags := m.Flags(); len(flags) > len(m.Options)+len(m.SuperOptions)+1 {
			t.Fatalf("flags %q of %+v", flags, m)
		}
	})
}

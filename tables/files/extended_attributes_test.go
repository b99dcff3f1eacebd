package files

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sockql/tables"
	"sockql/tables/tabletest"
)

// setAttributes gives a file attributes, or skips the test where the file
// system has none.
func setAttributes(t *testing.T, path string, attributes map[string]string) {
	t.Helper()
	for key, value := range attributes {
		if err := unix.Setxattr(path, key, []byte(value), 0); err != nil {
			t.Skipf("needs a file system with extended attributes, and leave to set %s: %v", key, err)
		}
	}
}

func TestExtendedAttributes(t *testing.T) {
	root := tree(t, map[string]string{"d/f": "", "d/plain": "", "d/link": "->f", "d/pipe|": "", "d/sub/": ""})
	setAttributes(t, root+"/d/f", map[string]string{
		"user.text": "hello world\x00", "user.bare": "hello", "user.empty": "", "user.bytes": "\xff\x00", "user.nul": "\x00", "user.line": "a\nb\x00",
	})
	setAttributes(t, root+"/d/sub", map[string]string{"user.of.directory": "x\x00"})
	table, err := ExtendedAttributes(Config{Root: root})
	must(t, table, err)
	const all = "path directory key value base64"
	var want []string
	for _, row := range []string{
		"user.bare|aGVsbG8=|1", "user.bytes|/w==|1", "user.empty||1", "user.line|YQpi|1", "user.nul||0", "user.text|hello world|0",
	} {
		want = append(want, "/d/f|/d|"+row)
	}
	expect(t, table, all, []where{equal("path", "/d/f", "/d/plain", "/d/pipe", "/no")}, want...)
	expect(t, table, "path key", []where{equal("directory", "/d/"), equal("path", "/d/sub", "/etc")}, "/d/sub|user.of.directory")
	expect(t, table, "path value", []where{like("path", "/d/su%")}, "/d/sub/|x")
	if rows, _ := ask(t, table, "path", equal("path", "/d/link")); len(rows) != 6 {
		t.Errorf("through a link: %q", rows)
	}
	var reads tabletest.Counter
	table, err = ExtendedAttributes(Config{Root: root, OnOpen: reads.Read})
	must(t, table, err)
	tabletest.Run(t, table, tabletest.Options{
		Stable: true, Reads: &reads, Constraints: []tables.Constraint{like("path", "/%%").constraint(table)},
	})
	table, err = ExtendedAttributes(Config{Root: root, OnOpen: deny("/d/f")})
	must(t, table, err)
	if rows, warnings := ask(t, table, "path", equal("path", "/d/f", "/d/sub")); len(rows) != 1 || !deniedOnce(warnings) {
		t.Errorf("denied: %q, %v", rows, warnings)
	}
}

// vfsCap returns a struct vfs_cap_data.
func vfsCap(magic uint32, words ...uint32) []byte {
	var b []byte
	for _, w := range append([]uint32{magic}, words...) {
		b = append(b, byte(w), byte(w>>8), byte(w>>16), byte(w>>24))
	}
	return b
}

// The texts are those of libcap 2.66's cap_to_text(3) for the same sets.
func TestCapabilityText(t *testing.T) {
	const all, high = 0xffffffff, 0x1ff
	for want, value := range map[string][]byte{
		"=":                                     vfsCap(0x02000000, 0, 0, 0, 0),
		"cap_net_raw=ep":                        vfsCap(0x02000001, 1<<13, 0, 0, 0),
		"cap_net_raw,cap_sys_admin=p":           vfsCap(0x03000000, 1<<13|1<<21, 0, 0, 0, 1000),
		"cap_kill=ip cap_chown+i cap_net_raw+p": vfsCap(0x02000000, 1<<13|1<<5, 1<<0|1<<5, 0, 0),
		"=p":                                    vfsCap(0x02000000, all, 0, high, 0),
		"=ep":                                   vfsCap(0x02000001, all, 0, high, 0),
		"=ep cap_chown-ep":                      vfsCap(0x02000001, all&^1, 0, high, 0),
		"=ep cap_chown+i-p":                     vfsCap(0x02000001, all&^1, 1, high, 0),
		"=ep 45+ep":                             vfsCap(0x02000001, all, 0, high|1<<13, 0),
		"= 45+p":                                vfsCap(0x02000000, 0, 0, 1<<13, 0),
		"cap_perfmon,cap_bpf=ei":                vfsCap(0x02000001, 0, 0, 0, 1<<6|1<<7),
		"cap_chown=p":                           vfsCap(0x01000000, 1, 0),
	} {
		if got, ok := capabilityText(value); got != want || !ok {
			t.Errorf("% x: %q, want %q", value, got, want)
		}
	}
	for _, bad := range [][]byte{nil, {1}, vfsCap(0x02000000, 1, 0), vfsCap(0x04000000, 0, 0, 0, 0), bytes.Repeat([]byte{2}, 20)} {
		if got, ok := capabilityText(bad); ok {
			t.Errorf("% x: %q, want a failure", bad, got)
		}
		if _, encoded := attributeText(capabilityAttribute, bad); !encoded {
			t.Errorf("% x is shown as text", bad)
		}
	}
}

func TestCapabilitiesAgreeWithGetcap(t *testing.T) {
	getcap, err := exec.LookPath("getcap")
	if err != nil {
		t.Skipf("needs getcap: %v", err)
	}
	root := tree(t, map[string]string{"ping": "x"})
	path := filepath.Join(root, "ping")
	setAttributes(t, path, map[string]string{capabilityAttribute: string(vfsCap(0x02000001, 1<<13|1<<12, 1<<0, 0, 0))})
	out, err := exec.Command(getcap, path).Output()
	if err != nil {
		t.Fatal(err)
	}
	want := strings.TrimSpace(strings.TrimPrefix(string(out), path))
	table, err := ExtendedAttributes(Config{})
	must(t, table, err)
	expect(t, table, "key value base64", []where{equal("path", path)}, "security.capability|"+want+"|0")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	expect(t, table, "key", []where{equal("path", path)})
}

func FuzzCapabilityText(f *testing.F) {
	f.Add(vfsCap(0x02000001, 1<<13, 0, 1<<20, 0))
	f.Fuzz(func(t *testing.T, value []byte) {
		text, ok := capabilityText(value)
		if ok && text == "" || !ok && text != "" {
			t.Fatalf("% x: %q, %v", value, text, ok)
		}
		if ok && strings.Trim(text, "abcdefghijklmnopqrstuvwxyz_0123456789=+-, ") != "" {
			t.Fatalf("% x: %q", value, text)
		}
	})
}

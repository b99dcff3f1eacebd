package files

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sockql/tables/tabletest"
)

func suidTree(t *testing.T) string {
	root := tree(t, map[string]string{
		"usr/bin/su": "x", "usr/bin/write": "x", "usr/bin/both": "x", "usr/bin/plain": "x", "usr/bin/alias": "->su", "usr/bin/gone": "->no",
		"usr/bin/pipe|": "", "usr/bin/sub/deep": "x", "usr/bin/out": "->../../opt", "opt/hidden": "x", "tmp/evil\nname": "x",
		"bin": "->usr/bin", "etc/group": "", "etc/passwd": "",
	})
	for name, mode := range map[string]os.FileMode{
		"usr/bin/su": os.ModeSetuid, "usr/bin/write": os.ModeSetgid, "usr/bin/both": os.ModeSetuid | os.ModeSetgid,
		"usr/bin/sub/deep": os.ModeSetuid, "opt/hidden": os.ModeSetuid, "tmp/evil\nname": os.ModeSetgid, "usr/bin/pipe": os.ModeSetuid,
	} {
		if err := os.Chmod(filepath.Join(root, name), 0o755|mode); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestSuidBin(t *testing.T) {
	root := suidTree(t)
	table, err := SuidBin(Config{Root: root})
	must(t, table, err)
	expect(t, table, "path permissions pid_with_namespace", nil,
		"/bin/alias|S|0", "/bin/both|SG|0", "/bin/sub/deep|S|0", "/bin/su|S|0", "/bin/write|G|0", "/tmp/evil\nname|G|0",
		"/usr/bin/alias|S|0", "/usr/bin/both|SG|0", "/usr/bin/sub/deep|S|0", "/usr/bin/su|S|0", "/usr/bin/write|G|0")

	rows, _ := ask(t, table, "path username groupname")
	if want := "/bin/su|" + itoa(os.Getuid()) + "|" + itoa(os.Getgid()); !slices.Contains(rows, want) {
		t.Errorf("%q lack %q", rows, want)
	}
	passwd := "x:x:notanumber:0:::\nfirst:x:" + itoa(os.Getuid()) + ":0:::\nsecond:x:" + itoa(os.Getuid()) + ":0:::\n"
	if err := os.WriteFile(filepath.Join(root, "etc/passwd"), []byte(passwd), 0o644); err != nil {
		t.Fatal(err)
	}
	rows, _ = ask(t, table, "path username")
	if !slices.Contains(rows, "/bin/su|first") {
		t.Errorf("%q", rows)
	}
}

func TestSuidBinConformance(t *testing.T) {
	var reads tabletest.Counter
	table, err := SuidBin(Config{Root: suidTree(t), OnOpen: reads.Read})
	must(t, table, err)
	tabletest.Run(t, table, tabletest.Options{Stable: true, Reads: &reads})
}

func TestSuidBinDenied(t *testing.T) {
	table, err := SuidBin(Config{Root: suidTree(t), OnOpen: deny("/usr/bin/sub")})
	must(t, table, err)
	rows, warnings := ask(t, table, "path")
	if len(rows) != 10 || slices.Contains(rows, "/usr/bin/sub/deep") || !deniedOnce(warnings) {
		t.Errorf("%q, %v", rows, warnings)
	}
}

func TestSuidBinAgreesWithFind(t *testing.T) {
	find, err := exec.LookPath("find")
	if err != nil {
		t.Skipf("needs find: %v", err)
	}
	// /tmp changes while we look.
	out, _ := exec.Command(find, "/usr/bin/", "/usr/sbin/", "-follow", "-type", "f", "-perm", "/6000", "-printf", "%p|%u|%g\n").Output()
	want := strings.Fields(string(out))
	slices.Sort(want)
	table, err := SuidBin(Config{})
	must(t, table, err)
	rows, _ := ask(t, table, "path username groupname")
	rows = slices.DeleteFunc(rows, func(r string) bool { return !strings.HasPrefix(r, "/usr/bin/") && !strings.HasPrefix(r, "/usr/sbin/") })
	if !slices.Equal(rows, want) {
		t.Errorf("got %q, want %q", rows, want)
	}
}

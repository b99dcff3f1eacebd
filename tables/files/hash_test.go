package files

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"sockql/tables"
	"sockql/tables/tabletest"
)

// The digests of "abc": RFC 1321, and FIPS 180-4's examples.
const (
	abcMD5    = "900150983cd24fb0d6963f7d28e17f72"
	abcSHA1   = "a9993e364706816aba3e25717850c26c9cd0d89d"
	abcSHA256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
)

func TestHash(t *testing.T) {
	root := tree(t, map[string]string{
		"d/abc": "abc", "d/link": "->abc", "d/gone": "->nowhere", "d/pipe|": "", "d/sub/x": "abc", "d/.hidden": "abc",
		"big": strings.Repeat("x", 1001), "limit": strings.Repeat("x", 1000),
	})
	table, err := Hash(Config{Root: root, HashLimit: 1000})
	must(t, table, err)
	const all = "path directory md5 sha1 sha256 pid_with_namespace mount_namespace_id"
	digests := abcMD5 + "|" + abcSHA1 + "|" + abcSHA256 + "|0|"
	expect(t, table, all, []where{equal("path", "/d/abc", "/d/gone", "/d/pipe", "/d", "/no")}, "/d/abc|/d|"+digests)
	expect(t, table, all, []where{equal("directory", "/d/")}, "/d/.hidden|/d/|"+digests, "/d/abc|/d/|"+digests, "/d/link|/d/|"+digests)
	expect(t, table, "path sha256", []where{like("path", "/d/%")}, "/d/abc|"+abcSHA256, "/d/link|"+abcSHA256)
	expect(t, table, "path", []where{like("path", "/d/%%")}, "/d/abc", "/d/link", "/d/sub/x")
	expect(t, table, "sha256 md5", []where{like("directory", "/d/su%")}, abcSHA256+"|"+abcMD5)
	for path, null := range map[string]bool{"/big": true, "/limit": false} {
		rows, warnings := ask(t, table, "md5", equal("path", path))
		if len(rows) != 1 || (rows[0] == "NULL") != null || (len(warnings) == 1) != null {
			t.Errorf("%s: %q, warnings %v", path, rows, warnings)
		}
		if null && !strings.Contains(warnings[0].Error(), "larger than the limit for hashing of 1000 bytes") {
			t.Errorf("warning %v", warnings)
		}
	}
	unlimited, err := Hash(Config{Root: root, HashLimit: -1})
	must(t, unlimited, err)
	if rows, warnings := ask(t, unlimited, "md5", equal("path", "/big")); len(rows) != 1 || len(rows[0]) != 32 || warnings != nil {
		t.Errorf("without limit: %q, %v", rows, warnings)
	}
	expect(t, unlimited, "path", []where{equal("path", "/d/pipe", "/d/gone")})
}

func TestHashDenied(t *testing.T) {
	root := tree(t, map[string]string{"a": "abc", "b": "abc", "c": "abc"})
	// A file may be seen but not read: the first look is not for reading.
	seen := map[string]int{}
	table, err := Hash(Config{Root: root, OnOpen: func(path string) error {
		if seen[path]++; path != "/b" && seen[path] == 2 {
			return unix.EACCES
		}
		return nil
	}})
	must(t, table, err)
	rows, warnings := ask(t, table, "path sha1", equal("path", "/a", "/b", "/c"))
	if !slices.Equal(rows, []string{"/a|NULL", "/b|" + abcSHA1, "/c|NULL"}) || !deniedOnce(warnings) {
		t.Errorf("%q, %v", rows, warnings)
	}
}

// A version that was hashed may be opened again, but is not read.
func TestHashOncePerVersion(t *testing.T) {
	root := tree(t, map[string]string{"a": "abc", "hard": "", "link": "->a"})
	if err := os.Remove(filepath.Join(root, "hard")); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(filepath.Join(root, "a"), filepath.Join(root, "hard")); err != nil {
		t.Fatal(err)
	}
	table, err := Hash(Config{Root: root})
	must(t, table, err)
	s := tables.NewSession(context.Background())
	defer s.Close()
	for range 3 {
		got := askIn(t, s, table, "sha256", equal("path", "/a", "/hard", "/link"))
		if !slices.Equal(got, []string{abcSHA256, abcSHA256, abcSHA256}) {
			t.Errorf("%q", got)
		}
	}
	c, err := tables.Share(t.Context(), s, cacheKey{}, func(context.Context) (*cache, error) { t.Error("no cache in the session"); return nil, nil })
	if err != nil || len(c.versions) != 1 || c.reads.Load() != 1 {
		t.Errorf("%d versions, %d reads, %v", len(c.versions), c.reads.Load(), err)
	}
	// Another sum takes another read, a sum that is there none.
	askIn(t, s, table, "md5 sha256", equal("path", "/a"))
	askIn(t, s, table, "md5", equal("path", "/hard"))
	if c.reads.Load() != 2 {
		t.Errorf("%d reads, want 2", c.reads.Load())
	}
	// Another content of the same length and path is another version.
	if err := os.WriteFile(filepath.Join(root, "a"), []byte("abd"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(filepath.Join(root, "a"), timeOf(5), timeOf(5)); err != nil {
		t.Fatal(err)
	}
	if got := askIn(t, s, table, "sha256", equal("path", "/a")); len(got) != 1 || got[0] == abcSHA256 {
		t.Errorf("changed file: %q", got)
	}
	// Scans at the same time wait for each other's result.
	two := tables.NewSession(context.Background())
	defer two.Close()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { askIn(t, two, table, "sha1", equal("path", "/a", "/hard", "/link")) })
	}
	wg.Wait()
	c, _ = tables.Share(t.Context(), two, cacheKey{}, func(context.Context) (*cache, error) { return nil, nil })
	if c.reads.Load() != 1 {
		t.Errorf("%d reads of one version, want 1", c.reads.Load())
	}
}

// The kernel has regular files that wait for news or never end.
func TestHashKernelFiles(t *testing.T) {
	table, err := Hash(Config{HashLimit: 1 << 20})
	must(t, table, err)
	for _, path := range []string{"/proc/kmsg", "/proc/kcore", "/proc/self/pagemap", "/proc/self/mem", "/sys/kernel/tracing/trace_pipe"} {
		rows, _ := ask(t, table, "path sha256", equal("path", path))
		if len(rows) > 1 || len(rows) == 1 && !strings.HasSuffix(rows[0], "NULL") && len(rows[0]) < 64 {
			t.Errorf("%s: %q", path, rows)
		}
	}
}

func TestHashConformance(t *testing.T) {
	root := tree(t, map[string]string{"a": "abc", "b": "", "c": "->a", "d/e": strings.Repeat("z", 300000)})
	var reads tabletest.Counter
	table, err := Hash(Config{Root: root, OnOpen: reads.Read})
	must(t, table, err)
	tabletest.Run(t, table, tabletest.Options{
		Stable: true, Reads: &reads,
		Constraints: []tables.Constraint{like("path", "/%%").constraint(table)},
	})
}

func TestHashAgreesWithSha256sum(t *testing.T) {
	for column, program := range map[string]string{"md5": "md5sum", "sha1": "sha1sum", "sha256": "sha256sum"} {
		path, err := exec.LookPath(program)
		if err != nil {
			t.Skipf("needs %s: %v", program, err)
		}
		out, err := exec.Command(path, path, os.Args[0]).Output()
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for line := range strings.Lines(string(out)) {
			sum, file, _ := strings.Cut(strings.TrimSpace(line), "  ")
			want = append(want, file+"|"+sum)
		}
		slices.Sort(want)
		table, err := Hash(Config{HashLimit: -1})
		must(t, table, err)
		expect(t, table, "path "+column, []where{equal("path", path, os.Args[0])}, want...)
	}
}

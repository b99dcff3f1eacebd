package files

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A home directory whose owner wants a search to hang, to leave it, or to read
// without end: every table that looks there comes back with what is there.
func TestHostileHome(t *testing.T) {
	const deep = 60
	files := map[string]string{
		"outside/secret":             "secret",
		"home/eve/fifo|":             "",
		"home/eve/sub/fifo|":         "",
		"home/eve/out":               "->../../outside",
		"home/eve/sub/up":            "->..",
		"home/eve/self":              "->self",
		"home/eve/device":            "->/dev/zero",
		"home/eve/secret":            "->../../outside/secret",
		"home/eve/new\nline":         "content",
		"home/eve/-rf *":             "content",
		"home/eve/'; drop table x--": "content",
		"home/eve/\xff\xfe":          "content",
	}
	path := "home/eve/deep"
	for i := range deep {
		path += "/" + strings.Repeat("d", 20+i)
	}
	files[path+"/end"] = "content"
	for i := range 30 { // each link leads through the one before, twice
		files[fmt.Sprintf("home/eve/l%d", i)] = fmt.Sprintf("->l%d", i+1)
	}
	root := tree(t, files)
	huge := filepath.Join(root, "home/eve/huge")
	if err := os.WriteFile(huge, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(huge, 1<<40); err != nil {
		t.Skipf("needs a file system with sparse files: %v", err)
	}
	config := Config{Root: root}
	list, err := File(config)
	all, _ := ask(t, must(t, list, err), "path", like("path", "/home/eve/%%"))
	for _, name := range []string{"fifo", "sub/fifo", "new\nline", "-rf *", "'; drop table x--", "\xff\xfe", "huge", strings.TrimPrefix(path, "home/eve/") + "/end"} {
		if !slices.Contains(all, "/home/eve/"+name) {
			t.Errorf("no %q", name)
		}
	}
	for _, found := range all {
		// A link to a directory is shown, with a slash at its end, and no more.
		if beyond := strings.TrimSuffix(found, "/"); strings.Contains(beyond, "/out/") || strings.Contains(beyond, "/up/") || !strings.HasPrefix(beyond, "/home/eve/") {
			t.Errorf("the search left the directory: %q", found)
		}
	}
	sums, err := Hash(config)
	hashes, warnings := ask(t, must(t, sums, err), "path sha1", like("path", "/home/eve/%%"))
	const content = "040f06fd774092478d450774f5ba30c5da78acc8"
	for _, want := range []string{"new\nline|" + content, "\xff\xfe|" + content, "huge|NULL"} {
		if !slices.Contains(hashes, "/home/eve/"+want) {
			t.Errorf("no %q in %q", want, hashes)
		}
	}
	for _, h := range hashes {
		if strings.Contains(h, "fifo") || strings.Contains(h, "device") {
			t.Errorf("hashed %q", h)
		}
	}
	if len(warnings) == 0 {
		t.Error("no warning tells of the files that were left out")
	}
	attributes, err := ExtendedAttributes(config)
	ask(t, must(t, attributes, err), "path key", like("path", "/home/eve/%%"))
	programs, err := SuidBin(Config{Root: filepath.Join(root, "home")})
	ask(t, must(t, programs, err), "path")
}

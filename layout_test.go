// Package sockql_test guards the structure of the module: which package may
// import which, where unsafe memory is allowed, and what every package owes its
// reader. It needs the go command and no privilege.
package sockql_test

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "sockql"

type listed struct {
	ImportPath   string
	Dir          string
	Standard     bool
	Imports      []string
	Deps         []string
	GoFiles      []string
	TestImports  []string
	XTestImports []string
}

func list(t *testing.T) map[string]listed {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,Standard,Imports,Deps,GoFiles", "./...")
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %v\n%s", err, exit.Stderr)
		}
		t.Skipf("the go command is not there: %v", err)
	}
	packages := map[string]listed{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages[p.ImportPath] = p
	}
}

// within reports whether a package is dir or lies below it.
func within(path string, dirs ...string) bool {
	return slices.ContainsFunc(dirs, func(dir string) bool {
		dir = module + "/" + dir
		return path == dir || strings.HasPrefix(path, dir+"/")
	})
}

func standard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return first != module && !strings.Contains(first, ".")
}

func TestLayoutImports(t *testing.T) {
	testSupport := []string{"fixtures", "tables/tabletest", "tables/internal/kerneltest"}
	for path, p := range list(t) {
		for _, dep := range p.Deps {
			switch {
			case path == module+"/tables" && !standard(dep):
				t.Errorf("%s depends on %s: the contract between tables and their callers stays free of everything but the standard library, so that anybody can implement it", path, dep)
			case within(path, "extension", "cmd/sockql.ext") && strings.HasPrefix(dep, "modernc.org/"):
				t.Errorf("%s depends on %s: the extension runs inside osqueryd's budget and has no use for a second SQLite", path, dep)
			}
		}
		for _, imp := range p.Imports {
			switch {
			case strings.HasPrefix(imp, "modernc.org/") && path != module+"/engine/internal/sqlite":
				t.Errorf("%s imports %s: only engine/internal/sqlite handles SQLite's memory", path, imp)
			case imp == "unsafe" && path != module+"/engine/internal/sqlite" && !within(path, "tables/internal"):
				t.Errorf("%s imports unsafe: only the SQLite binding and the kernel sources may", path)
			case within(imp, testSupport...) && !within(path, testSupport...):
				t.Errorf("%s imports %s, which is for tests only", path, imp)
			case within(path, "engine", "shell", "extension") && within(imp, "tables") && imp != module+"/tables":
				t.Errorf("%s imports %s: callers know tables by their contract; cmd wires the real ones in", path, imp)
			case within(path, "tables") && within(imp, "engine", "shell", "extension"):
				t.Errorf("%s imports %s: data takes one road, from the kernel up to the caller", path, imp)
			case within(path, "engine") && within(imp, "shell", "extension"):
				t.Errorf("%s imports %s: the engine does not know who asks", path, imp)
			}
		}
	}
}

// sources calls f for each Go file of the module that is not a test.
func sources(t *testing.T, f func(path string, fset *token.FileSet, file *ast.File)) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); name == "testdata" || len(name) > 1 && name[0] == '.' {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		f(filepath.ToSlash(path), fset, file)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestLayoutPackageComments(t *testing.T) {
	comments := map[string][]string{}
	sources(t, func(path string, _ *token.FileSet, file *ast.File) {
		dir := filepath.Dir(path)
		if _, ok := comments[dir]; !ok {
			comments[dir] = nil
		}
		if file.Doc != nil {
			comments[dir] = append(comments[dir], path)
		}
	})
	for dir, files := range comments {
		if len(files) != 1 {
			t.Errorf("%s has %d package comments %v: one, in one file, says scope, privileges and concurrency", dir, len(files), files)
		}
	}
}

func TestLayoutSources(t *testing.T) {
	literals := []string{
		"tables/builtin/",             // the one place where the default root is written
		"tables/internal/netns/",      // the calling thread's own namespace: no other root can know it
		"tables/internal/kerneltest/", // test support, always on the live kernel
	}
	sources(t, func(path string, fset *token.FileSet, file *ast.File) {
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if n.Recv == nil && n.Name.Name == "init" {
					t.Errorf("%s: init hides an order and a dependency; pass it in a Config", fset.Position(n.Pos()))
				}
			case *ast.BasicLit:
				if n.Kind != token.STRING || slices.ContainsFunc(literals, func(dir string) bool { return strings.HasPrefix(path, dir) }) {
					return true
				}
				if text, err := strconv.Unquote(n.Value); err == nil && (text == "/proc" || strings.HasPrefix(text, "/proc/")) && !strings.ContainsAny(text, " <") {
					t.Errorf("%s: literal %q: the root of procfs comes from a Config", fset.Position(n.Pos()), text)
				}
			}
			return true
		})
	})
}

// TestLayoutDependencies holds go.mod to what docs/dependencies.md says of it.
func TestLayoutDependencies(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{if not .Indirect}}{{.Path}} {{.Version}} {{.GoMod}}{{end}}", "all").Output()
	if err != nil {
		t.Skipf("the go command does not list the modules: %v", err)
	}
	reasons, err := os.ReadFile("docs/dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	versions := map[string]string{}
	var sqlite string // its go.mod
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] == module {
			continue
		}
		versions[fields[0]] = fields[1]
		if fields[0] == "modernc.org/sqlite" && len(fields) == 3 {
			sqlite = fields[2]
		}
		if !strings.Contains(string(reasons), "| `"+fields[0]+"` |") {
			t.Errorf("docs/dependencies.md gives no reason for %s", fields[0])
		}
	}
	if sqlite == "" {
		t.Skip("the module cache does not hold sqlite's go.mod")
	}
	mod, err := os.ReadFile(sqlite)
	if err != nil {
		t.Fatal(err)
	}
	want := "modernc.org/libc " + versions["modernc.org/libc"]
	if !slices.ContainsFunc(strings.Split(string(mod), "\n"), func(line string) bool {
		return strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(line), "require "), " // indirect") == want
	}) {
		t.Errorf("sqlite's go.mod does not ask for %q: the two are generated together, so take its version", want)
	}
}

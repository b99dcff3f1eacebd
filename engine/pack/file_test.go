package pack_test

import (
	"errors"
	"io/fs"
	"path/filepath"
	"testing"

	"sockql/engine/pack"
)

func TestLoadPack(t *testing.T) {
	path := write(t, map[string]string{
		"net.conf": "# comment\n{\"platform\": \"linux\", \"queries\": {\"b\": {\"query\": \"select 2 \\\nas n\"}, \"a\": {\"query\": \"select 1\"}, \"c\": 5}}",
		"bad.conf": "{",
	}, "net.conf")
	c, err := pack.LoadPack(path, pack.Target{})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Packs) != 1 || c.Packs[0].Name != "net" || c.Packs[0].Platform != "linux" || len(c.Packs[0].Queries) != 2 {
		t.Fatalf("the packs are %+v", c.Packs)
	}
	if q := c.Packs[0].Queries[1]; q.Name != "b" || q.SQL != "select 2 as n" {
		t.Errorf("the second query is %+v", q)
	}
	if len(c.Warnings) != 1 {
		t.Errorf("warnings are %q", warnings(c))
	}
	var syntax *pack.SyntaxError
	if _, err := pack.LoadPack(filepath.Join(filepath.Dir(path), "bad.conf"), pack.Target{}); !errors.As(err, &syntax) {
		t.Errorf("a file that is not JSON gives %v", err)
	}
	if _, err := pack.LoadPack(path+".none", pack.Target{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there gives %v", err)
	}
}

package daemon

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"sockql/engine/resultlog"
)

func TestIdentity(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	ask := func(mode, specified string) string {
		t.Helper()
		store, moved, err := resultlog.Open(path)
		if err != nil || moved != nil {
			t.Fatal(err, moved)
		}
		defer store.Close()
		f := newFlags()
		f.hostIdentifier, f.specifiedIdentifier = mode, specified
		name, err := identity(f, store)
		if err != nil {
			t.Fatal(err)
		}
		return name()
	}
	host, err := os.Hostname()
	if err != nil {
		t.Skip(err)
	}
	for _, tt := range []struct{ mode, specified, want string }{
		{"hostname", "x", host}, {"specified", "x", "x"}, {"specified", "", host},
	} {
		if got := ask(tt.mode, tt.specified); got != tt.want {
			t.Errorf("%s with %q is %q, want %q", tt.mode, tt.specified, got, tt.want)
		}
	}
	uuid := regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
	for mode, same := range map[string]bool{"uuid": true, "instance": true, "ephemeral": false} {
		a, b := ask(mode, ""), ask(mode, "")
		if !uuid.MatchString(a) || (a == b) != same {
			t.Errorf("%s is %q and then %q", mode, a, b)
		}
	}
	for id, want := range map[string]bool{
		"": true, "Not Settable": true, "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF": true, "4c4c4544-0042-3010-8051-b4c04f4a3132": false,
	} {
		if got := placeholder(id); got != want {
			t.Errorf("placeholder(%q) is %t", id, got)
		}
	}
}

package sockets

import (
	"path/filepath"
	"testing"

	"sockql/tables/internal/recording"
)

// TestReplayOfContainer replays a recording of a pid namespace: whoever holds a
// socket from outside of it was not seen, so nobody can say that nobody does.
func TestReplayOfContainer(t *testing.T) {
	for nested, want := range map[bool]string{true: "denied", false: "no owner"} {
		root := filepath.Join(t.TempDir(), "recording")
		w, err := recording.Create(root)
		if err != nil {
			t.Fatal(err)
		}
		for _, err := range []error{
			w.File("7/status", []byte("Name:\tx\nPid:\t7\nTgid:\t7\n")),
			w.Dir("7/fd"),
			w.Link("7/ns/net", "net:[50]"),
			w.List(50, "tcp", []byte("  sl  local_address rem_address   st\n   0: 0100007F:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 17 1 0000000000000000 100 0 0 10 0\n")),
			w.LinkNet(7, 50),
			w.Finish(recording.Header{ClockTicks: 100, PageSize: 4096, HideExempt: true, Nested: nested}, nil, nil),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		got, warnings := ask(t, must(t)(newHost(t, root, Auto).ProcessOpenSockets()), "pid socket pid_reason")
		wantRows(t, got, []string{"-1|17|" + want})
		if told := refused(warnings, "outside of this pid namespace"); told != nested {
			t.Errorf("nested %v: warnings %v", nested, warnings)
		}
	}
}

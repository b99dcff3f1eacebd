package procfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sockql/tables/internal/recording"
	"sockql/tables/internal/socket"
)

// record makes a recording with two processes, of which the second denies its
// descriptors and namespaces.
func record(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	w, err := recording.Create(root)
	if err != nil {
		t.Fatal(err)
	}
	w.Denied("8/fd")
	w.Denied("8/ns")
	for _, err := range []error{
		w.File("7/status", []byte("Name:\tx\nPid:\t7\nTgid:\t7\n")),
		w.Link("7/fd/3", "socket:[17]"),
		w.Link("7/ns/net", "net:[50]"),
		w.List(50, "tcp", []byte("  sl  local_address rem_address   st\n   0: 0100007F:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 17 1 0000000000000000 100 0 0 10 0\n")),
		w.LinkNet(7, 50),
		w.LinkNet(8, 50),
		w.Dir("8/fd"),
		w.Finish(recording.Header{ClockTicks: 250, PageSize: 65536, HideMode: 2, HideGID: 9}, nil, nil),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestRecording(t *testing.T) {
	var opened []string
	p, err := Open(record(t), OnOpen(func(path string) error {
		opened = append(opened, path)
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if p.Recording() == nil || p.IsMounted() || p.IsHost() || p.IsInitial() || p.ClockTicks() != 250 || p.PageSize() != 65536 {
		t.Errorf("recording %v, mounted %v, host %v, %d ticks, pages of %d", p.Recording(), p.IsMounted(), p.IsHost(), p.ClockTicks(), p.PageSize())
	}
	if h, err := p.HidePID(); err != nil || h != (HidePID{Mode: HideInvisible, GID: 9}) {
		t.Errorf("HidePID = %+v, %v", h, err)
	}
	if pids, err := p.PIDs(nil); err != nil || !slices.Equal(pids, []int32{7, 8}) {
		t.Errorf("PIDs = %v, %v", pids, err)
	}
	var w Walker
	if held, err := p.Sockets(&w, 7, nil); err != nil || !slices.Equal(held, []FDInode{{3, 17}}) {
		t.Errorf("Sockets(7) = %v, %v", held, err)
	}
	if _, err := p.Sockets(&w, 8, nil); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("Sockets(8) fails with %v", err)
	}
	if _, err := p.NetNS(8); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("NetNS(8) fails with %v", err)
	}
	if slices.Contains(opened, "8/fd") {
		t.Error("what was denied is announced as opened")
	}
	one, err := p.NetIdentity(7)
	other, otherErr := p.NetIdentity(8)
	if err != nil || otherErr != nil || one != other {
		t.Errorf("two processes of one namespace have the identities %d, %v and %d, %v", one, err, other, otherErr)
	}
	if list := quiet(t, p, 8, socket.TCP4); len(list) != 1 || list[0].Inode != 17 || list[0].LocalPort != 22 {
		t.Errorf("list %+v", list)
	}
}

func TestRecordingDamaged(t *testing.T) {
	root := record(t)
	if err := os.WriteFile(filepath.Join(root, "recording/format"), []byte("sockql recording 9\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(root); err == nil || !strings.Contains(err.Error(), `offset 0: version "9"`) {
		t.Errorf("Open fails with %v", err)
	}
}

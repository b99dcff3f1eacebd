package files

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"sockql/tables"
	"sockql/tables/tabletest"
)

func TestMountsRecorded(t *testing.T) {
	root := tree(t, map[string]string{"1/stat": "", "self/mountinfo": `21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/root rw,errors=remount-ro
22 21 0:21 / /mnt/with\040space ro,nosuid - fuse.sshfs user@host:/\040dir rw,user_id=0
`})
	table, err := Mounts(Config{Proc: openProc(t, root)})
	must(t, table, err)
	expect(t, table, "device device_alias path type blocks_size blocks blocks_free blocks_available inodes inodes_free flags", nil,
		"/dev/root|/dev/root|/|ext4|NULL|NULL|NULL|NULL|NULL|NULL|rw,relatime,errors=remount-ro",
		"user@host:/ dir|user@host:/ dir|/mnt/with space|fuse.sshfs|NULL|NULL|NULL|NULL|NULL|NULL|ro,nosuid,user_id=0")
	tabletest.Run(t, table, tabletest.Options{Stable: true})
	none, err := Mounts(Config{})
	must(t, none, err)
	expect(t, none, "path", nil)
	empty, err := Mounts(Config{Proc: openProc(t, tree(t, map[string]string{"1/stat": ""}))})
	must(t, empty, err)
	if rows, warnings := ask(t, empty, "path"); len(rows) != 0 || len(warnings) != 1 {
		t.Errorf("a recording without mounts: %q, %v", rows, warnings)
	}
}

func TestMountsAgreeWithFindmnt(t *testing.T) {
	findmnt, err := exec.LookPath("findmnt")
	if err != nil {
		t.Skipf("needs findmnt: %v", err)
	}
	out, err := exec.Command(findmnt, "--list", "--json", "--kernel", "--output", "TARGET,SOURCE,FSTYPE,OPTIONS").Output()
	if err != nil {
		t.Skipf("findmnt: %v", err)
	}
	var answer struct {
		Filesystems []struct{ Target, Source, Fstype, Options string }
	}
	if err := json.Unmarshal(out, &answer); err != nil {
		t.Fatal(err)
	}
	sorted := func(options string) string {
		list := strings.Split(options, ",")
		slices.Sort(list)
		return strings.Join(slices.Compact(list), ",")
	}
	var want []string
	for _, m := range answer.Filesystems {
		device, _, _ := strings.Cut(m.Source, "[") // findmnt adds what of it is mounted
		want = append(want, fmt.Sprintf("%s|%s|%s|%s", m.Target, device, m.Fstype, sorted(m.Options)))
	}
	table, err := Mounts(Config{Proc: openProc(t, "/proc")})
	must(t, table, err)
	rows, _ := ask(t, table, "path device type flags")
	for i, r := range rows {
		at := strings.LastIndexByte(r, '|') + 1
		device, _, _ := strings.Cut(r[:at], "[")
		if device != r[:at] {
			device = strings.Replace(r[:at], r[len(device):strings.IndexByte(r, ']')+1], "", 1)
		}
		rows[i] = device + sorted(r[at:])
	}
	slices.Sort(want)
	slices.Sort(rows)
	if !slices.Equal(rows, want) {
		t.Errorf("got %q\nwant %q", rows, want)
	}
	var st unix.Statfs_t
	if err := unix.Statfs("/", &st); err != nil {
		t.Fatal(err)
	}
	rows, _ = ask(t, table, "path blocks_size blocks inodes")
	if want := fmt.Sprintf("/|%d|%d|%d", st.Bsize, st.Blocks, st.Files); !slices.Contains(rows, want) {
		t.Errorf("%q lack %q", rows, want)
	}
}

// A file system whose server is gone costs its limit once, not once a scan.
func TestMountsThatDoNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dead := make(chan struct{})
		var asked atomic.Int32
		a := &asker{limit: fileSystemLimit, late: map[string]bool{}, resolve: func(p string) (string, error) { return p, nil },
			statfs: func(path string, s *unix.Statfs_t) error {
				switch path {
				case "/dead":
					asked.Add(1)
					<-dead
				case "/denied":
					return unix.EACCES
				}
				s.Blocks = 7
				return nil
			}}
		s := tables.NewSession(context.Background())
		table, err := Mounts(Config{})
		must(t, table, err)
		q := tables.NewQuery(s, table.Schema(), tables.Request{})
		counts := func(path, kind string) mountRow {
			var r mountRow
			r.Path, r.Type = path, kind
			a.counts(t.Context(), q, &r)
			return r
		}
		start := time.Now()
		for range 3 {
			if r := counts("/dead", "nfs"); r.asked {
				t.Error("a dead file system answered")
			}
		}
		if took := time.Since(start); took != fileSystemLimit || asked.Load() != 1 {
			t.Errorf("asked %d times, waited %v", asked.Load(), took)
		}
		if r := counts("/alive", "ext4"); !r.asked || r.statfs.Blocks != 7 {
			t.Error("no answer")
		}
		if r := counts("/auto", "autofs"); r.asked {
			t.Error("an automounter was asked")
		}
		counts("/denied", "ext4")
		warnings := s.TakeWarnings()
		if len(warnings) != 2 || !errors.Is(warnings[0], errNoAnswer) || !errors.Is(warnings[1], unix.EACCES) && !strings.Contains(warnings[1].Error(), "permission") {
			t.Errorf("warnings %v", warnings)
		}
		close(dead)
		synctest.Wait()
		if r := counts("/dead", "nfs"); !r.asked || asked.Load() != 2 {
			t.Error("it is not asked again once it has answered")
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if got := a.alias(ctx, "/dev/x"); got != "/dev/x" {
			t.Errorf("alias %q", got)
		}
	})
}

func TestMountsHost(t *testing.T) {
	proc := openProc(t, "/proc")
	if !proc.IsMounted() {
		t.Skip("needs procfs")
	}
	table, err := Mounts(Config{Proc: proc})
	must(t, table, err)
	tabletest.Run(t, table, tabletest.Options{})
}

package system

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sockql/tables"
	"sockql/tables/internal/procfs"
	"sockql/tables/tabletest"
)

// recordedHost returns the procfs of a tree with one process and some files.
func recordedHost(t *testing.T, files map[string]string) *procfs.FS {
	t.Helper()
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "1"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(root, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	proc, err := procfs.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { proc.Close() })
	return proc
}

// cells returns all columns of each row, and the warnings.
func cells(t *testing.T, table tables.Table) (rows []string, warnings []error) {
	t.Helper()
	s := tables.NewSession(context.Background())
	defer s.Close()
	q := tables.NewQuery(s, table.Schema(), tables.Request{Used: tables.AllUsed})
	if err := tables.Run(s.Context(), table, q, func(r tables.Row) bool {
		var row []string
		for i := range table.Schema().Columns {
			row = append(row, r.Column(i).String())
		}
		rows = append(rows, strings.Join(row, "|"))
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return rows, s.TakeWarnings()
}

func TestKernelModules(t *testing.T) {
	proc := recordedHost(t, map[string]string{"modules": "nf_nat 65536 2 xt_nat,nft_chain_nat, Live 0xffffffffc0a00000\n" +
		"broken\nvirtio_net 122880 0 - Live 0x0000000000000000 (OE)\n\n"})
	table, err := KernelModules(Config{Proc: proc})
	if err != nil {
		t.Fatal(err)
	}
	rows, warnings := cells(t, table)
	want := []string{"nf_nat|65536|xt_nat,nft_chain_nat|Live|0xffffffffc0a00000", "virtio_net|122880|-|Live|0x0000000000000000"}
	if !slices.Equal(rows, want) || len(warnings) != 1 || !strings.Contains(warnings[0].Error(), `"broken"`) {
		t.Errorf("%q, %v; want %q", rows, warnings, want)
	}
	tabletest.Run(t, table, tabletest.Options{Stable: true})
	for _, c := range []Config{{}, {Proc: recordedHost(t, nil)}} {
		table, err := KernelModules(c)
		if err != nil {
			t.Fatal(err)
		}
		if rows, warnings := cells(t, table); len(rows) > 0 || len(warnings) != 1 || !errors.Is(warnings[0], tables.ErrUnavailable) {
			t.Errorf("without a list: %q, %v", rows, warnings)
		}
	}
}

// lsmod(8) must show the same modules.
func TestKernelModulesAgreeWithLsmod(t *testing.T) {
	if _, err := os.Stat("/proc/modules"); err != nil {
		t.Skipf("needs a kernel with modules: %v", err)
	}
	out, err := exec.Command("lsmod").Output()
	if err != nil {
		t.Skipf("needs lsmod: %v", err)
	}
	proc, err := procfs.Open("/proc")
	if err != nil {
		t.Fatal(err)
	}
	defer proc.Close()
	table, err := KernelModules(Config{Proc: proc})
	if err != nil {
		t.Fatal(err)
	}
	rows, _ := cells(t, table)
	var names, want []string
	for _, r := range rows {
		f := strings.Split(r, "|")
		names = append(names, f[0]+" "+f[1])
	}
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); len(f) >= 3 && f[0] != "Module" {
			want = append(want, f[0]+" "+f[1])
		}
	}
	if !slices.Equal(names, want) {
		t.Errorf("%q, lsmod has %q", names, want)
	}
}

func TestUptime(t *testing.T) {
	table, err := Uptime(Config{Proc: recordedHost(t, map[string]string{"uptime": "183845.99 1.00\n"})})
	if err != nil {
		t.Fatal(err)
	}
	if rows, warnings := cells(t, table); !slices.Equal(rows, []string{"2|3|4|5|183845"}) || len(warnings) > 0 {
		t.Errorf("%q, %v", rows, warnings)
	}
	tabletest.Run(t, table, tabletest.Options{Stable: true})
	for content, part := range map[string]string{"rubbish\n": "invalid syntax", "": "invalid syntax"} {
		table, err := Uptime(Config{Proc: recordedHost(t, map[string]string{"uptime": content})})
		if err != nil {
			t.Fatal(err)
		}
		if rows, warnings := cells(t, table); len(rows) > 0 || len(warnings) != 1 || !strings.Contains(warnings[0].Error(), part) {
			t.Errorf("%q: %q, %v", content, rows, warnings)
		}
	}
}

// uptime(1) counts from the same moment.
func TestUptimeAgreesWithUptime(t *testing.T) {
	out, err := exec.Command("uptime", "-s").Output()
	if err != nil {
		t.Skipf("needs uptime -s: %v", err)
	}
	booted, err := time.ParseInLocation("2006-01-02 15:04:05", strings.TrimSpace(string(out)), time.Local)
	if err != nil {
		t.Skip(err)
	}
	proc, err := procfs.Open("/proc")
	if err != nil {
		t.Fatal(err)
	}
	defer proc.Close()
	uptime, err := proc.Uptime()
	if err != nil {
		t.Fatal(err)
	}
	const tolerance = 5 * 60 // seconds: a clock may be set, and a host be busy
	if ours := time.Now().Unix() - int64(uptime); ours < booted.Unix()-tolerance || ours > booted.Unix()+tolerance {
		t.Errorf("booted at %d, uptime says %d", ours, booted.Unix())
	}
}

package sockets

import (
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sockql/fixtures"
	"sockql/tables"
	"sockql/tables/internal/procfs"
	"sockql/tables/tabletest"
)

// fixture returns a host that is a recorded tree, read by whoever is denied
// what its entries deny.
func fixture(t testing.TB, name string, options ...procfs.Option) *Host {
	t.Helper()
	root := fixtures.Unpack(t, name)
	return newHost(t, root, Auto, append([]procfs.Option{procfs.OnOpen(fixtures.Denied(root))}, options...)...)
}

const osqueryColumns = "pid fd socket family protocol local_address remote_address local_port remote_port path state net_namespace"

func TestProcessOpenSocketsOfBash(t *testing.T) {
	table := must(t)(fixture(t, "bash").ProcessOpenSockets())
	got, warnings := ask(t, table, osqueryColumns, where(table, "pid", tables.OpEq, 14960))
	want := "14960|2|307410|2|6|192.168.2.156|192.168.2.145|51118|8888||ESTABLISHED|4026531956"
	if len(got) != 1 || got[0] != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if warnings != nil {
		t.Errorf("warnings %v", warnings)
	}
}

var update = flag.Bool("update", false, "write the golden files instead of comparing with them")

// golden compares a table's rows, warnings after them, with a golden file.
func golden(t *testing.T, name string, table tables.Table, columns string, constraints ...tables.Constraint) {
	t.Helper()
	rows, warnings := ask(t, table, columns, constraints...)
	var b strings.Builder
	b.WriteString(strings.Join(strings.Fields(columns), "|") + "\n")
	for _, r := range rows {
		quoted := strconv.Quote(r)
		b.WriteString(quoted[1:len(quoted)-1] + "\n")
	}
	for _, w := range warnings {
		b.WriteString("warning: " + w.Error() + "\n")
	}
	path := filepath.Join("testdata", name+"."+table.Schema().Name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(b.String(), "\n")); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", path, diff)
	}
}

func TestGolden(t *testing.T) {
	for _, name := range fixtures.Names() {
		h := fixture(t, name)
		t.Run(name, func(t *testing.T) {
			golden(t, name, must(t)(h.ProcessOpenSockets()), osqueryColumns+" pid_reason is_listener")
			golden(t, name, must(t)(h.ListeningPorts()), "pid port protocol family address fd socket path net_namespace pid_reason is_listener")
			states := must(t)(h.SocketStates())
			var all []string
			for _, c := range states.Schema().Columns {
				all = append(all, c.Name)
			}
			golden(t, name, states, strings.Join(all, " "))
		})
	}
}

func TestConformance(t *testing.T) {
	for _, name := range fixtures.Names() {
		root := fixtures.Unpack(t, name)
		var reads tabletest.Counter
		h := newHost(t, root, Auto, procfs.OnOpen(fixtures.Hooks(reads.Read, fixtures.Denied(root))))
		for _, table := range []tables.Table{
			must(t)(h.ProcessOpenSockets()), must(t)(h.ListeningPorts()), must(t)(h.SocketStates()),
		} {
			t.Run(name+"/"+table.Schema().Name, func(t *testing.T) {
				tabletest.Run(t, table, tabletest.Options{Stable: true, Reads: &reads, Parallel: walkers})
			})
		}
	}
}

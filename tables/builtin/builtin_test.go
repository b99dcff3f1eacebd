package builtin

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sockql/engine"
	"sockql/fixtures"
	"sockql/tables"
	"sockql/tables/tabletest"
)

// recorded returns the tables of a recorded host whose clock stands still.
func recorded(t *testing.T, tree string) []tables.Table {
	t.Helper()
	etc := t.TempDir()
	for name, content := range map[string]string{
		"passwd":    "root:x:0:0:root:/root:/bin/sh\nreader:x:1000:1000:A Reader,,,:/home/reader:/bin/bash\n",
		"group":     "root:x:0:\nreader:x:1000:\n",
		"services":  "ssh 22/tcp\ndomain 53/udp # name service\n",
		"protocols": "tcp 6 TCP\nudp 17 UDP\n",
		"hosts":     "127.0.0.1 localhost loopback\n2001:db8::1 furnished\n", "resolv.conf": "nameserver 192.0.2.53\nsearch example.org\noptions ndots:2\n",
	} {
		path := filepath.Join(etc, "etc", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	list, err := Tables(Config{
		Proc: fixtures.Unpack(t, tree), Root: etc,
		Now: func() time.Time { return time.Unix(1795358301, 0) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestConformance runs the suite over every table that there is.
func TestConformance(t *testing.T) {
	for _, table := range recorded(t, "bash") {
		t.Run(table.Schema().Name, func(t *testing.T) {
			options := tabletest.Options{Stable: true}
			if path := table.Schema().Column("path"); path >= 0 && table.Schema().Columns[path].Flags.Has(tables.Required) {
				options.Constraints = []tables.Constraint{{Column: path, Op: tables.OpLike, Values: []tables.Value{tables.String("/%%")}}}
			}
			tabletest.Run(t, table, options)
		})
	}
}

func TestNames(t *testing.T) {
	var names []string
	for _, table := range recorded(t, "bash") {
		names = append(names, table.Schema().Name)
	}
	if !slices.IsSorted(names) {
		t.Errorf("tables are not in the order of their names: %v", names)
	}
	for _, want := range []string{"listening_ports", "network_namespaces", "process_open_sockets", "processes", "socket_states", "tcp_states", "time", "users"} {
		if !slices.Contains(names, want) {
			t.Errorf("there is no table %s in %v", want, names)
		}
	}
}

// TestExamples runs each table's examples, with everything that a host has.
func TestExamples(t *testing.T) {
	list := recorded(t, "kinds")
	e, err := engine.New(engine.Config{Tables: list})
	if err != nil {
		t.Fatal(err)
	}
	c, err := e.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, table := range list {
		for _, example := range table.Schema().Examples {
			if _, err := c.Query(context.Background(), example); err != nil && !strings.Contains(err.Error(), "no such function") {
				t.Errorf("%s: %s: %v", table.Schema().Name, example, err)
			}
		}
	}
	got, err := c.Query(context.Background(), "select pos.*, p.cwd, p.cmdline from process_open_sockets pos left join processes p "+
		"where pos.family=2 and pos.pid=p.pid and net_namespace<>0 and pos.local_port = 80 order by pos.pid, pos.fd")
	if err != nil {
		t.Fatal(err)
	}
	var rows []string
	for _, r := range got.Rows {
		var cells []string
		for _, v := range r {
			cells = append(cells, v.String())
		}
		rows = append(rows, strings.Join(cells, "|"))
	}
	want := []string{
		"400|3|9001|2|6|0.0.0.0|0.0.0.0|80|0||LISTEN|4026531840|/|kinds",
		"400|4|9002|2|6|10.0.0.1|10.0.0.2|80|41000||ESTABLISHED|4026531840|/|kinds",
		"400|23|9002|2|6|10.0.0.1|10.0.0.2|80|41000||ESTABLISHED|4026531840|/|kinds",
		"401|4|9002|2|6|10.0.0.1|10.0.0.2|80|41000||ESTABLISHED|4026531840|/|kinds: worker",
	}
	if !slices.Equal(rows, want) {
		t.Errorf("the classic query: got\n%s\nwant\n%s", strings.Join(rows, "\n"), strings.Join(want, "\n"))
	}
}

func TestConfig(t *testing.T) {
	empty := t.TempDir()
	tree := fixtures.Unpack(t, "bash")
	for name, test := range map[string]struct {
		config Config
		want   string // part of the error; empty for none
	}{
		"this host":          {Config{}, ""},
		"no such directory":  {Config{Proc: filepath.Join(empty, "nowhere")}, "name the mount point of a procfs"},
		"no processes":       {Config{Proc: empty}, "mount one"},
		"no such source":     {Config{Proc: tree, Source: "ebpf"}, "choose auto, bpf, netlink or procfs"},
		"BPF of a tree":      {Config{Proc: tree, Source: "bpf"}, "choose procfs"},
		"netlink of a tree":  {Config{Proc: tree, Source: "netlink"}, "choose procfs"},
		"procfs of a tree":   {Config{Proc: tree, Source: "procfs"}, ""},
		"netlink of a host":  {Config{Source: "netlink"}, ""},
		"another cgroup dir": {Config{CgroupRoot: empty}, ""},
	} {
		list, err := Tables(test.config)
		switch {
		case test.want == "" && (err != nil || len(list) == 0):
			t.Errorf("%s: %d tables, error %v", name, len(list), err)
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%s: error %v, want one that says %q", name, err, test.want)
		}
	}
}

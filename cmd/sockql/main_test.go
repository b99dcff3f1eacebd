package main

import (
	"context"
	"flag"
	"log"
	"testing"
	"time"

	osquery "github.com/osquery/osquery-go"
	"github.com/osquery/osquery-go/plugin/table"
	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain makes the command available to tests as programs of both its names,
// and an extension as osquery-go's users write one.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"sockql": main, "osqueryi": main, "planets.ext": planets})
}

func planets() {
	socket := flag.String("socket", "", "")
	timeout := flag.Int("timeout", 3, "")
	interval := flag.Int("interval", 3, "")
	flag.Bool("verbose", false, "")
	flag.Parse()
	server, err := osquery.NewExtensionManagerServer("planets", *socket,
		osquery.ServerTimeout(time.Duration(*timeout)*time.Second),
		osquery.ServerPingInterval(time.Duration(*interval)*time.Second))
	if err != nil {
		log.Fatal(err)
	}
	columns := []table.ColumnDefinition{table.TextColumn("name"), table.BigIntColumn("moons"), table.BigIntColumn("pid")}
	server.RegisterPlugin(table.NewPlugin("planets", columns,
		func(context.Context, table.QueryContext) ([]map[string]string, error) {
			return []map[string]string{
				{"name": "Mercury", "moons": "0", "pid": "1"},
				{"name": "Mars", "moons": "2", "pid": "1"},
				{"name": "Vulcan"},
			}, nil
		}))
	if err := server.Run(); err != nil {
		log.Fatal(err)
	}
}

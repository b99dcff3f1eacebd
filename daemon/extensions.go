package daemon

import (
	"context"
	"errors"
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"sockql/engine"
	"sockql/extension/host"
)

// defaultAutoload is osqueryd's list of extensions to start. It counts only if
// it is there.
const defaultAutoload = "/etc/osquery/extensions.load"

// Extensions are osquery's extensions that a worker serves.
type Extensions interface {
	// Await waits for those that --extensions_require names. Its error names
	// those that do not come.
	Await(context.Context) error
	// Close ends them.
	Close() error
}

// extensions returns what flags say about extensions, and whether any are to be
// served at all.
func (f *flags) extensions() (c host.Config, wanted bool) {
	list := func(text string) []string {
		return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' })
	}
	c = host.Config{
		Socket:      f.extensionsSocket,
		Extensions:  list(f.extensionFiles),
		Autoload:    f.extensionsAutoload,
		Require:     list(f.extensionsRequire),
		Timeout:     time.Duration(f.extensionsTimeout) * time.Second,
		Interval:    time.Duration(f.extensionsInterval) * time.Second,
		AllowUnsafe: f.allowUnsafe,
		Verbose:     f.verbose,
	}
	if c.Autoload == defaultAutoload {
		if _, err := os.Stat(c.Autoload); errors.Is(err, os.ErrNotExist) {
			c.Autoload = ""
		}
	}
	f.set.VisitAll(func(o *flag.Flag) {
		kind := "string"
		if truth(o) {
			kind = "bool"
		}
		c.Options = append(c.Options, host.Option{Name: o.Name, Value: o.Value.String(), Default: o.DefValue, Type: kind})
	})
	wanted = c.Socket != "" || c.Autoload != "" || len(c.Extensions) > 0 || len(c.Require) > 0
	if c.Socket == "" && !f.inMemory() {
		// A worker that is killed leaves it, and the next one takes its place.
		if path := filepath.Join(filepath.Dir(f.databasePath), "sockql.em"); len(path) <= host.MaxSocket {
			c.Socket = path
		}
	}
	return c, wanted && !f.disableExtensions
}

// loadExtensions begins to serve extensions whose tables the engine then has,
// and waits for those that are required. Like osqueryd the daemon goes on
// without those that do not come. What is returned is nil if there can be none.
func (c *Config) loadExtensions(ctx context.Context, f *flags, e *engine.Engine, log *slog.Logger) (Extensions, error) {
	if c.Extensions == nil {
		return nil, nil
	}
	from, wanted := f.extensions()
	from.Log, from.Output = log, c.Stderr
	// They outlive the query that runs when ctx ends.
	loaded, err := c.Extensions(context.WithoutCancel(ctx), from, wanted, f.offered, e)
	if err != nil || !wanted {
		return loaded, err
	}
	if err := loaded.Await(ctx); err != nil && ctx.Err() == nil {
		for line := range strings.Lines(err.Error()) { // one for each that is missing
			log.Warn(strings.TrimSpace(line))
		}
	}
	return loaded, nil
}

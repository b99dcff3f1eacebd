package builtin

import (
	"context"

	"sockql/tables/record"
)

// Record writes what the tables of a Config show of its host to a directory,
// scrubbed on request, so that Tables with that directory as Proc shows the
// same. Its errors are those of [record.Write].
func Record(ctx context.Context, dir string, scrub bool, c Config) (*record.Summary, error) {
	c = c.withDefaults()
	return record.Write(ctx, dir, record.Config{Proc: c.Proc, CgroupRoot: c.CgroupRoot, Scrub: scrub, Now: c.Now})
}

package builtin

import (
	"context"

	"sockql/tables/doctor"
)

// Doctor finds out how much the tables of a Config can see of its host. Its
// errors are those of [doctor.Examine].
func Doctor(ctx context.Context, c Config) (*doctor.Report, error) {
	c = c.withDefaults()
	return doctor.Examine(ctx, doctor.Config{Proc: c.Proc, Sys: defaultSys, CgroupRoot: c.CgroupRoot})
}

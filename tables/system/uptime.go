package system

import (
	"context"
	"fmt"

	"sockql/tables"
)

// Uptime returns the table uptime, with osquery's columns.
func Uptime(c Config) (tables.Table, error) {
	part := func(t tables.Type, name, doc string, unit, of int64) tables.Column[int64] {
		return tables.Column[int64]{Name: name, Type: t, Doc: doc, Get: func(seconds *int64) tables.Value {
			n := *seconds / unit
			if of > 0 {
				n %= of
			}
			return tables.Int(n)
		}}
	}
	const minute, hour, day = 60, 60 * 60, 24 * 60 * 60
	return tables.New(tables.Def[int64]{
		Name:     "uptime",
		Doc:      "How long ago the system was booted, in one row; time during which it was suspended counts (/proc/uptime, proc_uptime(5)).",
		Examples: []string{"SELECT * FROM uptime;", "SELECT unix_time - total_seconds AS booted FROM uptime, time;"},
		Columns: []tables.Column[int64]{
			part(tables.Integer, "days", "Whole days.", day, 0),
			part(tables.Integer, "hours", "Hours beyond the days, 0 to 23.", hour, day/hour),
			part(tables.Integer, "minutes", "Minutes beyond the hours, 0 to 59.", minute, hour/minute),
			part(tables.Integer, "seconds", "Seconds beyond the minutes, 0 to 59.", 1, minute),
			part(tables.BigInt, "total_seconds", "All of it in seconds.", 1, 0),
		},
		Rows: func(_ context.Context, q *tables.Query, yield func(*int64) bool) error {
			if c.Proc == nil {
				q.Warn(fmt.Errorf("uptime: %w: no procfs was given", tables.ErrUnavailable))
				return nil
			}
			uptime, err := c.Proc.Uptime()
			if err != nil {
				q.Warn(fmt.Errorf("uptime: %w", err))
				return nil
			}
			seconds := int64(uptime)
			yield(&seconds)
			return nil
		},
	})
}

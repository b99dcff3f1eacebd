package system

import (
	"context"
	"time"

	"sockql/tables"
)

// Time returns the table time: one row that says what time it is, in osquery's
// formats. A nil now stands for [time.Now].
func Time(now func() time.Time) (tables.Table, error) {
	if now == nil {
		now = time.Now
	}
	type row struct{ utc, local time.Time }
	text := func(layout string) func(*row) tables.Value {
		return func(r *row) tables.Value { return tables.String(r.utc.Format(layout)) }
	}
	const iso8601 = "2006-01-02T15:04:05Z"
	return tables.New(tables.Def[row]{
		Name:     "time",
		Doc:      "The current date and time in UTC, in one row. All columns tell the same moment.",
		Examples: []string{"SELECT * FROM time;", "SELECT unix_time - start_time AS age FROM processes, time WHERE pid = 1;"},
		Columns: []tables.Column[row]{
			{Name: "weekday", Type: tables.Text, Doc: "English name of the day of the week.", Get: text("Monday")},
			{Name: "year", Type: tables.Integer, Doc: "Year of the Gregorian calendar.",
				Get: func(r *row) tables.Value { return tables.Int(r.utc.Year()) }},
			{Name: "month", Type: tables.Integer, Doc: "Month, 1 to 12.",
				Get: func(r *row) tables.Value { return tables.Int(int(r.utc.Month())) }},
			{Name: "day", Type: tables.Integer, Doc: "Day of the month, 1 to 31.",
				Get: func(r *row) tables.Value { return tables.Int(r.utc.Day()) }},
			{Name: "hour", Type: tables.Integer, Doc: "Hour, 0 to 23.",
				Get: func(r *row) tables.Value { return tables.Int(r.utc.Hour()) }},
			{Name: "minutes", Type: tables.Integer, Doc: "Minute, 0 to 59.",
				Get: func(r *row) tables.Value { return tables.Int(r.utc.Minute()) }},
			{Name: "seconds", Type: tables.Integer, Doc: "Second, 0 to 59.",
				Get: func(r *row) tables.Value { return tables.Int(r.utc.Second()) }},
			{Name: "timezone", Type: tables.Text, Doc: "Time zone of the other columns, always UTC.",
				Get: func(*row) tables.Value { return tables.String("UTC") }},
			{Name: "local_timezone", Type: tables.Text, Doc: "Abbreviation of the system's own time zone, from TZ or /etc/localtime (tzset(3)).",
				Get: func(r *row) tables.Value {
					name, _ := r.local.Zone()
					return tables.String(name)
				}},
			{Name: "unix_time", Type: tables.Integer, Doc: "Seconds since 1970-01-01T00:00:00Z.",
				Get: func(r *row) tables.Value { return tables.Int(r.utc.Unix()) }},
			{Name: "timestamp", Type: tables.Text, Doc: "The time as asctime(3) writes it, followed by UTC.", Get: text("Mon Jan _2 15:04:05 2006 UTC")},
			{Name: "datetime", Type: tables.Text, Doc: "The time in ISO 8601.", Get: text(iso8601)},
			{Name: "iso_8601", Type: tables.Text, Doc: "The time in ISO 8601.", Get: text(iso8601)},
			{Name: "win_timestamp", Type: tables.BigInt, Flags: tables.Hidden, Doc: "NULL: a clock that only Windows has.",
				Get: func(*row) tables.Value { return tables.Null() }},
			{Name: "date_time", Type: tables.Text, Flags: tables.Hidden, Doc: "Another name of datetime.", Get: text(iso8601)},
		},
		Rows: func(_ context.Context, _ *tables.Query, yield func(*row) bool) error {
			t := now()
			yield(&row{utc: t.UTC(), local: t.Local()})
			return nil
		},
	})
}

package system

import (
	"context"
	"strings"
	"testing"
	"time"

	"sockql/tables"
)

func TestTime(t *testing.T) {
	// A single-digit day: asctime pads it with a space.
	moment := time.Date(2026, 11, 2, 4, 5, 6, 999, time.FixedZone("elsewhere", 3600))
	table, err := Time(func() time.Time { return moment })
	if err != nil {
		t.Fatal(err)
	}
	s := tables.NewSession(context.Background())
	defer s.Close()
	rows := 0
	var got []string
	q := tables.NewQuery(s, table.Schema(), tables.Request{Used: tables.AllUsed})
	err = tables.Run(s.Context(), table, q, func(r tables.Row) bool {
		rows++
		for i, c := range table.Schema().Columns {
			v := r.Column(i)
			switch c.Name {
			case "local_timezone":
				if zone, _ := moment.Local().Zone(); v.String() != zone {
					t.Errorf("local_timezone = %q, want %q", v, zone)
				}
			case "win_timestamp":
				if !v.IsNull() {
					t.Errorf("win_timestamp = %v, want NULL", v)
				}
			default:
				got = append(got, c.Name+"="+v.String())
			}
		}
		return true
	})
	if err != nil || rows != 1 {
		t.Fatalf("rows, err = %d, %v; want one row", rows, err)
	}
	want := "weekday=Monday year=2026 month=11 day=2 hour=3 minutes=5 seconds=6 timezone=UTC unix_time=1793588706 " +
		"timestamp=Mon Nov  2 03:05:06 2026 UTC datetime=2026-11-02T03:05:06Z iso_8601=2026-11-02T03:05:06Z date_time=2026-11-02T03:05:06Z"
	if s := strings.Join(got, " "); s != want {
		t.Errorf("row:\n got %s\nwant %s", s, want)
	}
}

package schedule

import (
	"errors"
	"log/slog"
	"maps"

	"sockql/engine/pack"
)

// decorations hold what decorators gave last, for each file of the
// configuration.
type decorations struct {
	sources []pack.Decorators
	values  []map[string]string
	log     *slog.Logger
	told    map[string]bool // decorators whose failure was logged
}

// run runs decorators of the i-th file and keeps the first row of each.
func (d *decorations) run(i int, queries []string, query func(string) (Result, error)) {
	for _, sql := range queries {
		res, err := query(sql)
		if err == nil && len(res.rows) > 1 {
			err = errors.New("more than one row, of which the first counts")
		}
		if err != nil && !d.told[sql] {
			if d.told == nil {
				d.told = map[string]bool{}
			}
			d.told[sql] = true
			d.log.Warn("Decorator query failed", "query", "("+sql+")", "error", err)
		}
		if len(res.rows) == 0 {
			continue
		}
		if d.values[i] == nil {
			d.values[i] = map[string]string{}
		}
		for column, name := range res.names {
			d.values[i][name] = res.rows[0][column].String()
		}
	}
}

func (d *decorations) load(t *tick) {
	for i := range d.sources {
		d.run(i, d.sources[i].Load, t.query)
	}
}

func (d *decorations) always(t *tick) {
	for i := range d.sources {
		d.run(i, d.sources[i].Always, t.query)
	}
}

func (d *decorations) interval(t *tick, from, to int64) {
	for i := range d.sources {
		for _, every := range d.sources[i].Interval {
			if passed(from, to, int64(every.Seconds)) {
				d.run(i, every.Queries, t.query)
			}
		}
	}
}

// merged returns the decorations for one result; a later file's count.
func (d *decorations) merged() map[string]string {
	all := map[string]string{}
	for _, values := range d.values {
		maps.Copy(all, values)
	}
	return all
}

package tables

import (
	"context"
	"runtime/debug"
	"runtime/pprof"
)

// Run scans a table: every caller goes through it. A query that can match
// nothing returns without asking the table, one that lacks a required column
// fails with a [*RequiredError]. A panic becomes a [*PanicError]. The scan's
// CPU samples carry [Labels]. When ctx ends, so does the scan at
// its next row, with the context's cause as error.
func Run(ctx context.Context, t Table, q *Query, yield func(Row) bool) (err error) {
	schema := t.Schema()
	if column, missing := q.Missing(); missing {
		return &RequiredError{Table: schema.Name, Column: column}
	}
	if q.Empty() {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Table: schema.Name, Value: v, Stack: debug.Stack()}
		}
	}()
	stopped := false
	scan := func(ctx context.Context) {
		err = t.Scan(ctx, q, func(r Row) bool {
			if ctx.Err() != nil {
				return false
			}
			if !yield(r) {
				stopped = true
				return false
			}
			return true
		})
	}
	if name, _ := pprof.Label(ctx, labelTable); name == schema.Name {
		scan(ctx)
	} else {
		pprof.Do(ctx, Labels(t), scan)
	}
	if err == nil && !stopped && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return err
}

const labelTable = "table"

// Labels returns the pprof labels of a table's scans. A caller that runs many
// short scans in one goroutine sets them once, with [pprof.Do], and [Run] finds
// them in its context.
func Labels(t Table) pprof.LabelSet { return pprof.Labels(labelTable, t.Schema().Name) }

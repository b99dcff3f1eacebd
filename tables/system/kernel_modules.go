package system

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"sockql/tables"
	"sockql/tables/internal/procfs"
)

// KernelModules returns the table kernel_modules, with osquery's columns.
func KernelModules(c Config) (tables.Table, error) {
	text := func(name, doc string, get func(*procfs.Module) string) tables.Column[procfs.Module] {
		return tables.Column[procfs.Module]{Name: name, Type: tables.Text, Doc: doc, Get: func(m *procfs.Module) tables.Value { return tables.String(get(m)) }}
	}
	return tables.New(tables.Def[procfs.Module]{
		Name:      "kernel_modules",
		Doc:       "Modules that the kernel has loaded (/proc/modules, proc_modules(5)); none if it was built without modules.",
		Privilege: "CAP_SYSLOG shows addresses, unless kernel.kptr_restrict is 2.",
		Examples:  []string{"SELECT name, size, used_by FROM kernel_modules WHERE status = 'Live' ORDER BY size DESC LIMIT 10;"},
		Columns: []tables.Column[procfs.Module]{
			text("name", "Name.", func(m *procfs.Module) string { return m.Name }),
			{Name: "size", Type: tables.BigInt, Doc: "Memory that it takes, in bytes.", Get: func(m *procfs.Module) tables.Value { return tables.Uint(m.Size) }},
			text("used_by", "Modules that need it, with commas between; a hyphen if none does.", func(m *procfs.Module) string { return m.UsedBy }),
			text("status", "Live, Loading or Unloading.", func(m *procfs.Module) string { return m.State }),
			text("address", "Where it is in the kernel's memory, in hexadecimal digits behind 0x; zeros for those who may not know.", func(m *procfs.Module) string { return m.Address }),
		},
		Rows: func(ctx context.Context, q *tables.Query, yield func(*procfs.Module) bool) error {
			if c.Proc == nil {
				q.Warn(fmt.Errorf("kernel_modules: %w: no procfs was given", tables.ErrUnavailable))
				return nil
			}
			modules, err := c.Proc.Modules()
			switch {
			case errors.Is(err, fs.ErrNotExist) && !c.Proc.IsMounted():
				err = fmt.Errorf("%w: the recorded tree has no modules: ask a running host", tables.ErrUnavailable)
			case errors.Is(err, fs.ErrNotExist):
				err = nil
			}
			if err != nil {
				q.Warn(fmt.Errorf("kernel_modules: %w", err))
			}
			for i := range modules {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				if !yield(&modules[i]) {
					return nil
				}
			}
			return nil
		},
	})
}

package processes

import (
	"context"
	"math"
	"strconv"

	"sockql/tables"
	"sockql/tables/internal/procfs"
)

type mapping struct {
	pid int32
	*procfs.Mapping
}

// ProcessMemoryMap returns the table process_memory_map of a procfs: the
// mappings of processes, with osquery's columns.
func ProcessMemoryMap(proc *procfs.FS) (tables.Table, error) {
	text := func(name, doc string, get func(*mapping) string) tables.Column[mapping] {
		return tables.Column[mapping]{Name: name, Type: tables.Text, Doc: doc, Get: func(r *mapping) tables.Value { return tables.String(get(r)) }}
	}
	address := func(n uint64) string { return "0x" + pad(strconv.FormatUint(n, 16)) }
	return tables.New(tables.Def[mapping]{
		Name:      "process_memory_map",
		Doc:       "Parts of the address space of processes that are mapped, one row each (proc_pid_maps(5)).",
		Privilege: "CAP_SYS_PTRACE shows the mappings of other users' processes.",
		Examples: []string{
			"SELECT DISTINCT path FROM process_memory_map WHERE pid = 1 AND pseudo = 0 AND path <> '';",
			"SELECT pid, start, permissions FROM process_memory_map WHERE permissions LIKE 'rwx%';",
		},
		Columns: []tables.Column[mapping]{
			pid(tables.Integer, tables.Index|tables.Optimized, func(r *mapping) int32 { return r.pid }),
			text("start", "First address, in hexadecimal digits after 0x.", func(r *mapping) string { return address(r.Start) }),
			text("end", "First address behind, in the same form.", func(r *mapping) string { return address(r.End) }),
			text("permissions", "r, w and x or hyphens, then p for private or s for shared.", func(r *mapping) string { return r.Permissions }),
			{Name: "offset", Type: tables.BigInt, Doc: "Where in the file it begins, in bytes.", Get: func(r *mapping) tables.Value { return tables.Uint(r.Offset) }},
			text("device", "Device of the file: major and minor number in hexadecimal digits, with a colon between.", func(r *mapping) string { return r.Device }),
			{Name: "inode", Type: tables.Integer, Doc: "Number of the file in its file system, 0 if there is no file; NULL if it does not fit osquery's 32 bits.",
				Get: func(r *mapping) tables.Value {
					if r.Inode > math.MaxInt32 {
						return tables.Null()
					}
					return tables.Uint(r.Inode)
				}},
			text("path", "File, with \" (deleted)\" after it if it is gone, or the kind of memory in brackets; empty for anonymous memory.", func(r *mapping) string { return r.Path }),
			{Name: "pseudo", Type: tables.Integer, Doc: "1 if the path is not that of a file, else 0.",
				Get: func(r *mapping) tables.Value { return tables.Bool(r.Inode == 0 && r.Path != "") }},
		},
		Rows: func(ctx context.Context, q *tables.Query, yield func(*mapping) bool) error {
			var r mapping
			return eachProcess(ctx, proc, q, func(pid int32) (bool, error) {
				more := true
				err := proc.Maps(pid, func(m *procfs.Mapping) bool {
					r = mapping{pid, m}
					more = yield(&r)
					return more
				})
				return more, err
			})
		},
	})
}

// pad fills an address up to the eight digits that the kernel writes at least.
func pad(digits string) string {
	const least = "00000000"
	return least[min(len(digits), len(least)):] + digits
}

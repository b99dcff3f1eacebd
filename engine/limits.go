package engine

import "sockql/engine/internal/sqlite"

// Limits bound what a statement may take. A field that is zero has its
// default, which is far above what query packs need.
type Limits struct {
	// SQLBytes is the length of a statement. Default 1,000,000, as osquery's.
	SQLBytes int
	// ValueBytes is the length of a text, a blob or a row. Default 64 MiB.
	ValueBytes int
	// Columns is the number of columns of a result, a table, an ORDER BY or a
	// GROUP BY. Default 2000.
	Columns int
	// ExprDepth is the depth of an expression. Default 1000.
	ExprDepth int
	// CompoundSelects is the number of SELECTs joined by UNION and the like.
	// Default 500.
	CompoundSelects int
	// LikePattern is the length of a LIKE or GLOB pattern in bytes. Matching
	// takes time in proportion to it. Default 50,000.
	LikePattern int
	// HeapBytes is a ceiling of SQLite's memory, in which sorters, temporary
	// tables and rows in flight live. SQLite has one for the whole process,
	// which the connection opened last sets. Default 1 GiB; -1 is none.
	HeapBytes int64
	// ResultBytes is what [Stmt.Collect] and [Conn.Query] may gather of a
	// result. Default 512 MiB. Rows that are read one by one have no such limit.
	ResultBytes int
	// Instructions is the number of SQLite's instructions that one statement
	// may run, give or take some thousands. Default 0: no limit.
	Instructions int64
}

func (l Limits) orDefault() Limits {
	for _, d := range []struct {
		n     *int
		value int
	}{
		{&l.SQLBytes, 1_000_000},
		{&l.ValueBytes, 64 << 20},
		{&l.Columns, 2000},
		{&l.ExprDepth, 1000},
		{&l.CompoundSelects, 500},
		{&l.LikePattern, 50_000},
		{&l.ResultBytes, 512 << 20},
	} {
		if *d.n == 0 {
			*d.n = d.value
		}
	}
	if l.HeapBytes == 0 {
		l.HeapBytes = 1 << 30
	}
	l.HeapBytes = max(l.HeapBytes, 0)
	return l
}

// sqlite returns the limits as SQLite counts them.
func (l Limits) sqlite() map[sqlite.Limit]int {
	return map[sqlite.Limit]int{
		sqlite.LimitSQLLength:     l.SQLBytes,
		sqlite.LimitLength:        l.ValueBytes,
		sqlite.LimitColumn:        l.Columns,
		sqlite.LimitExprDepth:     l.ExprDepth,
		sqlite.LimitCompound:      l.CompoundSelects,
		sqlite.LimitLikePattern:   l.LikePattern,
		sqlite.LimitAttached:      0,
		sqlite.LimitWorkerThreads: 0,
	}
}

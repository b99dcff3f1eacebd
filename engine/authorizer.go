package engine

import (
	"strings"

	"sockql/engine/internal/sqlite"
)

// authorize permits what osquery's authorizer permits: reading, and tables and
// views of one's own in memory. Everything else is "not authorized": ATTACH
// and VACUUM, which name files, pragmas but for a few that look, triggers,
// indexes, savepoints. An object of one's own may not hide a table.
func (e *Engine) authorize(action sqlite.Action, arg1, arg2 string) bool {
	switch action {
	case sqlite.ActionRead,
		sqlite.ActionSelect,
		sqlite.ActionInsert,
		sqlite.ActionUpdate,
		sqlite.ActionDelete,
		sqlite.ActionCreateVTable,
		sqlite.ActionDropVTable,
		sqlite.ActionDropView,
		sqlite.ActionDropTempView,
		sqlite.ActionDropTable,
		sqlite.ActionDropTempTable,
		sqlite.ActionFunction,
		sqlite.ActionRecursive,
		sqlite.ActionTransaction:
		return true
	case sqlite.ActionCreateTable,
		sqlite.ActionCreateTempTable,
		sqlite.ActionCreateView,
		sqlite.ActionCreateTempView:
		return e.set.Load().known[strings.ToLower(arg1)] == nil
	case sqlite.ActionPragma:
		switch strings.ToLower(arg1) {
		case "table_info", "table_xinfo", "function_list", "journal_mode", "case_sensitive_like", "collation_list":
			return true
		}
	}
	return false
}

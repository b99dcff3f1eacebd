package engine

import (
	"testing"

	"sockql/engine/internal/sqlite"
	"sockql/tables"
)

// TestAuthorizeByNumber states for each number that SQLite's authorizer knows,
// and some that later versions may use, whether it is allowed.
func TestAuthorizeByNumber(t *testing.T) {
	allowed := map[sqlite.Action]bool{
		2: true, 4: true, 6: true, 8: true, // create table, temp table, temp view, view
		9: true, 18: true, 23: true, // delete, insert, update
		11: true, 13: true, 15: true, 17: true, // drop table, temp table, temp view, view
		20: true, 21: true, 22: true, // read, select, transaction
		29: true, 30: true, 31: true, 33: true, // create and drop vtable, function, recursive
	}
	e := &Engine{}
	e.set.Store(&tableSet{known: map[string]*tables.Schema{"time": {}}})
	for action := range sqlite.Action(64) {
		if got := e.authorize(action, "x", ""); got != allowed[action] {
			t.Errorf("action %d: allowed %v, want %v", action, got, allowed[action])
		}
	}
	for name, want := range map[string]bool{
		"table_info": true, "TABLE_XINFO": true, "function_list": true, "journal_mode": true,
		"case_sensitive_like": true, "collation_list": true,
		"": false, "user_version": false, "temp_store": false, "database_list": false, "table_list": false,
	} {
		if got := e.authorize(sqlite.ActionPragma, name, ""); got != want {
			t.Errorf("pragma %q: allowed %v, want %v", name, got, want)
		}
	}
	if e.authorize(sqlite.ActionCreateTempView, "Time", "") {
		t.Error("a view may hide a table")
	}
}

package sqlite

import (
	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// An Action is something that a statement does and an authorizer may refuse
// (https://www.sqlite.org/c3ref/c_alter_table.html).
type Action int32

// The actions.
const (
	ActionCopy              Action = lib.SQLITE_COPY // not used any more
	ActionCreateIndex       Action = lib.SQLITE_CREATE_INDEX
	ActionCreateTable       Action = lib.SQLITE_CREATE_TABLE
	ActionCreateTempIndex   Action = lib.SQLITE_CREATE_TEMP_INDEX
	ActionCreateTempTable   Action = lib.SQLITE_CREATE_TEMP_TABLE
	ActionCreateTempTrigger Action = lib.SQLITE_CREATE_TEMP_TRIGGER
	ActionCreateTempView    Action = lib.SQLITE_CREATE_TEMP_VIEW
	ActionCreateTrigger     Action = lib.SQLITE_CREATE_TRIGGER
	ActionCreateView        Action = lib.SQLITE_CREATE_VIEW
	ActionDelete            Action = lib.SQLITE_DELETE
	ActionDropIndex         Action = lib.SQLITE_DROP_INDEX
	ActionDropTable         Action = lib.SQLITE_DROP_TABLE
	ActionDropTempIndex     Action = lib.SQLITE_DROP_TEMP_INDEX
	ActionDropTempTable     Action = lib.SQLITE_DROP_TEMP_TABLE
	ActionDropTempTrigger   Action = lib.SQLITE_DROP_TEMP_TRIGGER
	ActionDropTempView      Action = lib.SQLITE_DROP_TEMP_VIEW
	ActionDropTrigger       Action = lib.SQLITE_DROP_TRIGGER
	ActionDropView          Action = lib.SQLITE_DROP_VIEW
	ActionInsert            Action = lib.SQLITE_INSERT
	ActionPragma            Action = lib.SQLITE_PRAGMA
	ActionRead              Action = lib.SQLITE_READ
	ActionSelect            Action = lib.SQLITE_SELECT
	ActionTransaction       Action = lib.SQLITE_TRANSACTION
	ActionUpdate            Action = lib.SQLITE_UPDATE
	ActionAttach            Action = lib.SQLITE_ATTACH
	ActionDetach            Action = lib.SQLITE_DETACH
	ActionAlterTable        Action = lib.SQLITE_ALTER_TABLE
	ActionReindex           Action = lib.SQLITE_REINDEX
	ActionAnalyze           Action = lib.SQLITE_ANALYZE
	ActionCreateVTable      Action = lib.SQLITE_CREATE_VTABLE
	ActionDropVTable        Action = lib.SQLITE_DROP_VTABLE
	ActionFunction          Action = lib.SQLITE_FUNCTION
	ActionSavepoint         Action = lib.SQLITE_SAVEPOINT
	ActionRecursive         Action = lib.SQLITE_RECURSIVE
)

var authorizeCallback = cfunc(onAuthorize)

func onAuthorize(tls *libc.TLS, arg uintptr, action int32, arg1, arg2, schema, cause uintptr) (rc int32) {
	c := at[Conn](arg)
	defer func() {
		if recover() != nil {
			rc = lib.SQLITE_DENY
		}
	}()
	// Preparing a statement of thousands of nested queries takes long and runs
	// no instructions, but it asks here.
	if c.interrupt != nil {
		if err := c.interrupt(0); err != nil {
			c.failure = err
			return lib.SQLITE_DENY
		}
	}
	if c.authorize == nil || c.authorize(Action(action), gostring(arg1), gostring(arg2)) {
		return lib.SQLITE_OK
	}
	return lib.SQLITE_DENY
}

package sqlite

import (
	"fmt"
	"slices"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// Attach makes a table known. Statements prepared from now on see it.
func (c *Conn) Attach(m Module) error {
	if err := c.createModule(m); err != nil {
		return fmt.Errorf("sqlite: register table %q: %w", m.Name(), err)
	}
	return nil
}

// Detach makes a table unknown. A statement that reads it goes on, and SQLite
// keeps the module until then
// (https://www.sqlite.org/c3ref/create_module.html).
func (c *Conn) Detach(name string) error {
	err := c.withCString(name, func(name uintptr) error {
		return c.check(lib.Xsqlite3_create_module_v2(c.tls, c.db, name, 0, 0, 0))
	})
	if err != nil {
		return fmt.Errorf("sqlite: remove table %q: %w", name, err)
	}
	return nil
}

var destroyModuleCallback = cfunc(onDestroyModule)

// onDestroyModule is called when SQLite has no use for a module any more.
func onDestroyModule(_ *libc.TLS, aux uintptr) {
	mod := at[module](aux)
	c := mod.conn
	c.modules = slices.DeleteFunc(c.modules, func(m *module) bool { return m == mod })
}

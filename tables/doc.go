// Package tables is the contract between the tables of sockql and whatever
// asks them: the SQL engine, which turns them into SQLite virtual tables, and
// the extension, which offers them to osqueryd.
//
// A table's author writes a [Def]: a name, documentation, columns with an
// accessor each, and one function that streams rows. [New] turns it into a
// [Table]. Who asks builds a [Query] within a [Session] and calls [Run].
//
// Constraints only ever narrow. What a [Query] tells of a column is a superset
// of the values that can still matter, and whoever asked filters the rows
// again, so a table may return too much and never too little.
//
// The package imports nothing but the standard library and needs no
// privilege. A Session is safe for concurrent use; a Query belongs to the
// goroutine of its scan.
package tables

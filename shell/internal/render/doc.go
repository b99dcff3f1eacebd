// Package render writes the rows of SQL results in the modes of the shell:
// osqueryi's pretty, column, line, list, csv, json and json_pretty, byte for
// byte where osqueryi's bytes are known, and sockql's own jsonl, markdown, tsv
// and expanded.
//
// Pretty keeps a result set in memory, because a column is as wide as its
// widest cell. Every other mode streams through one buffer.
//
// The package needs no privilege. A Printer belongs to one goroutine,
// except for its count of rows.
package render

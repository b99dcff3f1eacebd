// Package pack reads osquery's configuration: osquery.conf, the files beside
// it, and the query packs that they hold or name.
//
// The format is that of osquery 5
// (https://osquery.readthedocs.io/en/stable/deployment/configuration/), with
// what real packs use beyond JSON: lines that are comments, a backslash before
// the end of a line, and numbers in quotes. What is wrong with one query costs
// that query, and is a [Warning] that names its place; only a file that is not
// JSON fails as a whole.
//
// The package needs the permission to read the files and runs nothing. Its
// functions are safe for concurrent use; a [Config] is not changed once loaded.
package pack

// Package host is the side of osquery's extension API that osqueryd serves: it
// loads extensions that were written for osquery and offers their tables as
// [tables.Table]s
// (https://osquery.readthedocs.io/en/stable/deployment/extensions/).
//
// A [Host] serves the ExtensionManager service on a UNIX socket, starts the
// extensions that it is told to, watches all that register, and starts again
// those it has started. Whoever owns the tables implements [Database].
// [Manager] asks another host's socket, osqueryd's for one.
//
// An extension runs with the privileges of this process, and so its file must
// be the user's own or root's, writable by nobody else, and not in a directory
// such as /tmp. The socket belongs to the user alone. The package needs no
// privilege. A Host and the tables of extensions are safe for concurrent use.
package host

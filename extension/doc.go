// Package extension offers tables to osqueryd over its extension socket
// (https://osquery.readthedocs.io/en/stable/deployment/extensions/).
//
// A [Plugin] is one table as osquery-go's OsqueryPlugin. [Run] registers a set
// of them and keeps them registered: whatever happens to osqueryd or to the
// registration, it registers again, until it is told to end.
//
// osquery filters the rows again, so a plugin may send too many and never too
// few; where the text of a constraint does not tell exactly what was compared,
// the constraint is not used.
//
// The calls of one moment, by default a second, share one [tables.Session]:
// osqueryd makes a call for each row of the outer table of a join, and each
// would else collect anew. What a call returns is therefore up to one moment
// older than the call, never more.
//
// The package needs the privilege to connect to osqueryd's socket, which is
// its user's, and whatever the tables need. A Plugin is safe for concurrent
// use.
package extension

// Package daemon is the command sockql daemon: it runs the configuration that
// people have for osqueryd and writes the logs that their pipelines read.
//
// The process is a worker under a parent that watches what it takes, unless
// --disable_watchdog or --once is given. The worker reads the configuration,
// holds the state and runs the queries on one goroutine; SIGHUP and
// --config_refresh have it read the configuration again, SIGTERM and SIGINT
// end it.
//
// Any user may run it who may write its files; what tables show without
// privileges is less, and they say so in the status log.
package daemon

// Package processes holds the table processes with osquery's columns, read
// from procfs or a recorded tree.
//
// Everybody sees every process, unless procfs is mounted with hidepid. The
// program, the directories and the I/O counters of other users' processes need
// leave to ptrace them (CAP_SYS_PTRACE, and CAP_DAC_READ_SEARCH for some):
// without, those cells are NULL and the session gets one warning.
//
// The table is safe for concurrent use; scans share nothing.
package processes

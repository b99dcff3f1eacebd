// Package processes holds the tables of processes with osquery's columns, read
// from procfs or a recorded tree: processes and, one row for each thing that a
// process has, process_envs, process_memory_map, process_namespaces,
// process_open_files and process_open_pipes.
//
// Everybody sees every process, unless procfs is mounted with hidepid. What
// belongs to other users' processes needs leave to ptrace them (CAP_SYS_PTRACE,
// and CAP_DAC_READ_SEARCH for some): without, those cells are NULL or those
// rows missing, and the session gets one warning.
//
// The tables are safe for concurrent use; scans share nothing but, in one
// session, the list of all pipes.
package processes

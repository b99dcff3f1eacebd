// Package network holds the tables of network interfaces: their addresses,
// counters and routes, and their neighbours. They show the network namespace of
// this process, or those that the hidden column netns_inode names.
//
// Everybody sees everything, but another namespace takes CAP_SYS_ADMIN, and
// CAP_SYS_PTRACE to find it.
//
// The tables are safe for concurrent use; scans share nothing.
package network

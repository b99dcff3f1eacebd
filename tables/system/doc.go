// Package system holds the tables that describe the system as a whole: its
// clock and uptime, the kernel's modules, and the users, groups, services, protocols, hosts and name servers
// that /etc names.
//
// They need no privilege, except that files in the mount namespace of another
// user's process are read with CAP_SYS_PTRACE. The tables are safe for
// concurrent use; what a session has read of a file is shared by its scans.
package system

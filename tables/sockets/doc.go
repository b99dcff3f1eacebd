// Package sockets holds the tables of sockets: process_open_sockets and
// listening_ports with osquery's columns, socket_states with everything that
// the kernel tells, and what explains and groups them.
//
// Where the kernel takes a BPF program, a pass over all descriptor tables streams
// the rows, and a session that asks again is answered from one snapshot.
// Elsewhere all ask one collector, which a session shares: it reads each list of
// sockets of each network namespace and each process's descriptors once,
// whatever the number of statements, cursors and looked-up processes. Either
// way lists are read before descriptors, so that a socket that was seen has had
// its chance of an owner.
//
// Without privilege the sockets of every namespace that has a process are
// seen, but of holders only one's own: other people's need CAP_BPF and
// CAP_PERFMON, or CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH.
//
// A [Host] is safe for concurrent use. Scans of different sessions share
// nothing but its configuration; those of one session wait for each other while
// they read, not while they yield rows.
package sockets

// Package record writes what sockql sees of a host to a directory, from which
// the same questions get the same answers later and elsewhere.
//
// It sees what a reader of the tables would see: without privilege other
// people's descriptors and namespaces are missing, and the recording says so.
// To see everything it needs CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH,
// CAP_SYS_ADMIN and, for marks and for sockets in namespaces where no process
// lives, CAP_NET_ADMIN. Descriptors that refer to sockets of no list are
// inspected by pidfd_getfd(2), which holds each for an instant.
//
// A recording holds command lines, environments and addresses unless they are
// scrubbed. A scrubbed one keeps numbers (processes, users, ports, inodes,
// queues), times, interface names, mount options that only say read or write,
// and the shape of things: equal texts and addresses stay equal, paths keep
// their depth, addresses their family and whether they are loopback, private,
// link-local, multicast or mapped.
//
// A call belongs to one goroutine; calls with different directories may run at
// the same time.
package record

// Package bpfiter reads sockets with BPF iterators: the sockets of every
// process, of every family and in every network namespace in one pass over the
// kernel's descriptor tables, and the TCP connections that belong to no
// descriptor in one pass over the kernel's hash table. It knows nothing of SQL.
//
// [Open] loads a program into the kernel, which takes CAP_BPF and CAP_PERFMON,
// or CAP_SYS_ADMIN, in the initial user namespace, the initial pid namespace,
// and Linux 5.17 with BTF (CONFIG_DEBUG_INFO_BTF); it tries, and explains a
// failure by an error that wraps tables.ErrUnavailable. [Source.Scan] hands over
// one process's sockets in about a hundred microseconds since Linux 6.1, which
// is told to look at that process only. Programs only read; but to tell a
// socket's cookie makes one for a socket that has none, as sock_diag does.
//
// A Source is safe for concurrent use: each scan takes a set of program and maps
// for itself, and leaves it to the next one. A scan holds no lock and no thread
// while it yields.
//
// What the kernel's tables do not hold is not seen: a socket that is open only
// in a message in flight (SCM_RIGHTS, unix(7)), and in the pass over the hash
// table, listeners and sockets that are bound but not connected.
package bpfiter

// Package load makes sockets for a benchmark: many processes, each with its
// share of connected TCP, listening, UDP and UNIX sockets, in network
// namespaces of their own or in the caller's. It talks on loopback only.
//
// Namespaces need CAP_SYS_ADMIN; without them no privilege is needed. The
// sockets live in child processes that end with the process that started them,
// and a namespace ends with its last process, so that nothing is left behind
// whichever way the load ends. A [Load] is not safe for concurrent use.
package load

// Package doctor finds out which sources of sockets and processes work here,
// and what would make the others work.
//
// It tries: it loads the BPF program, reads lists and descriptor tables, enters
// namespaces, dumps each kind of socket until the first one comes, and inspects a
// socket of its own.
// Only where something fails does it look at capabilities, mount options and
// numbers of namespaces to say why. Asking for a diag module may have the kernel
// load it, as a query does.
//
// It needs no privilege; what is missing without is what it reports. An
// examination belongs to one goroutine; several may run at the same time.
package doctor

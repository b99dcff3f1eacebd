// Package rtnetlink asks the kernel for the interfaces, addresses, routes and
// neighbours of a network namespace (rtnetlink(7)).
//
// Dumps stream: an answer is decoded and handed over one message at a time, and
// the kernel has a limit on how long it may take for each. The decoders are
// pure and take short and unknown attributes; a message that makes no sense is
// an error that names it.
//
// It takes no privilege but for a namespace that is not the caller's, which
// takes CAP_SYS_ADMIN. A [Conn] belongs to one goroutine.
package rtnetlink

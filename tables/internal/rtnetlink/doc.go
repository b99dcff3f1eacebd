// Package rtnetlink asks the kernel for the interfaces, addresses, routes and
// neighbours of a network namespace (rtnetlink(7)).
//
// A dump is collected before it is handed over, so that one during which objects
// changed can be made again; the kernel has a limit on how long it may take for
// each part of it. The decoders are pure and take short and unknown attributes.
// A message that makes no sense costs its own object, and is reported with the
// others.
//
// It takes no privilege but for a namespace that is not the caller's, which
// takes CAP_SYS_ADMIN. A [Conn] belongs to one goroutine.
package rtnetlink

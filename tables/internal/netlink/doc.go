// Package netlink frames and carries messages of netlink(7): what rtnetlink,
// sock_diag and nf_tables have in common. The packages that ask the kernel for
// one of these are built on it.
//
// [Conn] is for dumps that are collected before they are handed over, so that
// one during which objects changed can be made again. Whoever has to read
// hundreds of thousands of messages drives a [Transport] itself and reads them
// in place.
//
// Opening a socket takes no privilege; what the kernel answers is its matter.
// Nothing here is safe for concurrent use, but values of different connections
// share nothing.
package netlink

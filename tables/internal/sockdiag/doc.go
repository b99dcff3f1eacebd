// Package sockdiag asks the kernel for sockets by NETLINK_SOCK_DIAG
// (sock_diag(7)), knows the sockets behind single descriptors, and nothing of
// SQL or of processes that hold sockets.
//
// A [Conn] is a netlink socket of one network namespace. It stays in the
// namespace that it was opened in, so that it is opened inside netns.Do and
// used from anywhere. [Conn.Dump] asks for one list after the other and says
// which kinds of sockets were answered; what is not, because the kernel lacks
// the protocol's diag module or the protocol never had one (ping sockets), is
// to be read elsewhere. What works is found by trying: a [Support] remembers
// what the kernel has refused for good.
//
// Everybody may dump. The mark of sockets is told only to CAP_NET_ADMIN in the
// user namespace of the network namespace. [Lookup] needs leave to ptrace the
// process, and CAP_NET_ADMIN for the namespace of the socket.
//
// A Conn belongs to one goroutine at a time. A Support is safe for concurrent
// use.
package sockdiag

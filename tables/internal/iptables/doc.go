// Package iptables reads the rules of ip_tables, the packet filter behind
// iptables-legacy(8), of the network namespace of the calling thread.
//
// The kernel hands out a table as one block of memory, which the decoders take
// apart without changing it; a block that contradicts itself costs what follows
// the contradiction. Rules that iptables-nft(8) made are not there: nf_tables
// keeps those. It takes CAP_NET_ADMIN.
//
// The functions are safe for concurrent use.
package iptables

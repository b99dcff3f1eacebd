// Package nftables asks the kernel for the chains and rules of nf_tables, the
// packet filter behind nft(8) and iptables-nft(8), and writes rules as nft does.
//
// The kernel keeps a rule as a list of expressions that load registers and
// compare them. [Conn.Text] puts them together again: what only serves another
// comparison, such as the protocol before a port, is left out as nft leaves it
// out, and sets without a name are written where they are used. An expression
// that it does not know stands in brackets. A rule that makes no sense costs
// itself.
//
// It takes CAP_NET_ADMIN (include/uapi/linux/netfilter/nf_tables.h, Linux 3.13).
// A [Conn] belongs to one goroutine.
package nftables

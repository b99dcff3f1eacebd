/* SPDX-License-Identifier: GPL-2.0 */
/* How a socket of the kernel becomes a record. */
#ifndef SOCKQL_FILL_H
#define SOCKQL_FILL_H

#include "kernel.h"
#include "record.h"

#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10
#define AF_NETLINK 16
#define AF_PACKET 17
#define AF_TIPC 30
#define AF_VSOCK 40
#define AF_SMC 43
#define AF_XDP 44

#define SOCK_STREAM 1
#define SOCK_DGRAM 2
#define SOCK_RAW 3
#define SOCK_SEQPACKET 5

#define IPPROTO_ICMP 1
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define IPPROTO_DCCP 33
#define IPPROTO_ICMPV6 58
#define IPPROTO_SCTP 132
#define IPPROTO_UDPLITE 136
#define IPPROTO_MPTCP 262

#define TCP_ESTABLISHED 1
#define TCP_SYN_RECV 3
#define TCP_TIME_WAIT 6
#define TCP_CLOSE 7
#define TCP_LISTEN 10
#define TCP_NEW_SYN_RECV 12

/* enum of include/net/inet_connection_sock.h */
#define ICSK_TIME_RETRANS 1
#define ICSK_TIME_PROBE0 3
#define ICSK_TIME_LOSS_PROBE 5
#define ICSK_TIME_REO_TIMEOUT 6

#define TCP_INFINITE_SSTHRESH 0x7fffffff

#define TIMER_RETRANSMIT 1
#define TIMER_KEEPALIVE 2
#define TIMER_TIME_WAIT 3
#define TIMER_PROBE 4

struct question config;

/*
 * What no question to this copy of the program goes beyond. It is set before
 * the program is loaded and never again, so that the verifier, which takes
 * most of the time of a cold start, leaves out what is not asked for.
 */
const volatile struct question limit = { .want = ~0, .kinds = ~0, .lists = ~0 };

INLINE u32 wanted(void)
{
	return config.want & limit.want;
}

INLINE u32 wanted_kinds(void)
{
	return config.kinds & limit.kinds;
}

INLINE u32 wanted_lists(void)
{
	return config.lists & limit.lists;
}

/* tcp_size returns the size of the record of a TCP socket. */
INLINE u32 tcp_size(void)
{
	if (wanted() & TCP_FIELDS)
		return sizeof(struct record) + sizeof(struct tcp_part);
	return wanted() & ~(SHORT_FIELDS | FIELD_FILED | FIELD_FILED_WHOLE) ? sizeof(struct record) : SHORT_RECORD;
}

struct {
	UINT(type, BPF_MAP_TYPE_HASH);
	UINT(max_entries, 65536);
	UINT(map_flags, BPF_F_NO_PREALLOC);
	TYPE(key, struct key);
	TYPE(value, u8);
} lists SEC(".maps");

/* listed reports whether a number is in a list, if there is one. */
INLINE bool listed(enum list list, u64 number)
{
	if (!(wanted_lists() & 1 << list))
		return 1;
	struct key key = { .list = list, .number = { number, 0 } };
	return bpf_map_lookup_elem(&lists, &key) != NULL;
}

/* address_listed is listed for an address of two words; list is that of IPv4. */
INLINE bool address_listed(enum list list, u16 family, const u8 *address)
{
	/* Both lists are there, or none, and either may be empty. */
	if (!(wanted_lists() & 1 << list))
		return 1;
	struct key key = {};
	key.list = list;
	if (family == AF_INET6) {
		key.list = list + 1;
		key.number[0] = *(const u64 *)address;
		key.number[1] = *(const u64 *)(address + 8);
	} else {
		key.number[0] = *(const u32 *)address;
	}
	return bpf_map_lookup_elem(&lists, &key) != NULL;
}

INLINE u32 inet_kind(u16 type, u16 protocol, u32 six)
{
	if (type == SOCK_RAW)
		return KIND_RAW4 + six;
	switch (protocol) {
	case IPPROTO_TCP:
		return KIND_TCP4 + six;
	case IPPROTO_UDP:
		return KIND_UDP4 + six;
	case IPPROTO_UDPLITE:
		return KIND_UDPLITE4 + six;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return KIND_ICMP4 + six;
	case IPPROTO_MPTCP:
		return KIND_MPTCP4 + six;
	case IPPROTO_SCTP:
		return KIND_SCTP4 + six;
	case IPPROTO_DCCP:
		return KIND_DCCP4 + six;
	}
	return KIND_OTHER;
}

INLINE u32 kind_of(u16 family, u16 type, u16 protocol)
{
	switch (family) {
	case AF_INET:
		return inet_kind(type, protocol, 0);
	case AF_INET6:
		return inet_kind(type, protocol, 1);
	case AF_UNIX:
		return KIND_UNIX;
	case AF_PACKET:
		return KIND_PACKET;
	case AF_NETLINK:
		return KIND_NETLINK;
	case AF_VSOCK:
		return KIND_VSOCK;
	case AF_XDP:
		return KIND_XDP;
	case AF_TIPC:
		return KIND_TIPC;
	case AF_SMC:
		return KIND_SMC;
	}
	return KIND_OTHER;
}

INLINE u16 swap16(u16 n)
{
	return __builtin_bswap16(n);
}

/*
 * fill_common reads what every entry of the kernel's tables has, a struct
 * sock_common, and reports whether it is wanted.
 */
INLINE bool fill_common(struct record *r, struct sock_common *skc, const bool direct)
{
	u32 want = wanted();

	r->address = (u64)skc;
	struct net *net = get(skc, skc_net.net);
	if (direct)
		r->netns = net->ns.inum;
	else
		r->netns = probe(net, ns.inum);
	r->known |= FIELD_NETNS;
	if (!listed(LIST_NETNS, r->netns))
		return 0;
	if (want & FIELD_REFCOUNT) {
		r->refcount = get(skc, skc_refcnt.refs.counter);
		r->known |= FIELD_REFCOUNT;
	}
	return 1;
}

/* fill_inet reads addresses and ports and reports whether they are wanted. */
INLINE bool fill_inet(struct record *r, struct sock_common *skc, u16 local_port, const bool direct)
{
	r->local_port = local_port;
	r->remote_port = swap16(get(skc, skc_dport));
	if (r->local_port < config.local_from || r->local_port > config.local_to ||
	    r->remote_port < config.remote_from || r->remote_port > config.remote_to ||
	    !listed(LIST_LOCAL_PORT, r->local_port) ||
	    !listed(LIST_REMOTE_PORT, r->remote_port))
		return 0;
	r->interface = get(skc, skc_bound_dev_if);
	if (config.bound && !r->interface)
		return 0;
	r->known |= wanted() & FIELD_INTERFACE;
	if (!(wanted() & FIELD_ADDRESSES))
		return 1;
	if (r->family == AF_INET) {
		*(u64 *)r->local = get(skc, skc_rcv_saddr);
		*(u64 *)r->remote = get(skc, skc_daddr);
		*(u64 *)(r->local + 8) = 0;
		*(u64 *)(r->remote + 8) = 0;
	} else {
		*(struct in6_addr *)r->local = get(skc, skc_v6_rcv_saddr);
		*(struct in6_addr *)r->remote = get(skc, skc_v6_daddr);
	}
	r->known |= FIELD_ADDRESSES;
	return address_listed(LIST_LOCAL4, r->family, r->local) &&
	       address_listed(LIST_REMOTE4, r->family, r->remote);
}

/* fill_v6only tells IPV6_V6ONLY where inet_diag_msg_attrs_fill does. */
INLINE void fill_v6only(struct record *r, struct sock_common *skc)
{
	if (r->family != AF_INET6 || (r->state != TCP_LISTEN && r->state != TCP_CLOSE))
		return;
	r->v6only = bits(skc, skc_ipv6only);
	r->known |= wanted() & FIELD_V6ONLY;
}

/* drops counts as sk_drops_read of include/net/sock.h does. */
INLINE u32 drops(struct sock *sk, const bool direct)
{
	if (field_exists(sk->sk_drop_counters)) {
		struct numa_drop_counters *numa = get(sk, sk_drop_counters);
		if (numa)
			return probe(numa, drops0.counter) + probe(numa, drops1.counter);
	}
	return get(sk, sk_drops.counter);
}

/* fill_sock reads what every full socket has beyond fill_common. */
INLINE void fill_sock(struct record *r, struct sock *sk, const bool direct)
{
	u32 want = wanted();

	if (want & FIELD_UID) {
		r->uid = get(sk, sk_uid.val);
		r->known |= FIELD_UID;
	}
	if (want & FIELD_SHUTDOWN) {
		r->shutdown = get(sk, sk_shutdown);
		r->known |= FIELD_SHUTDOWN;
	}
	if (want & FIELD_MARK) {
		r->mark = get(sk, sk_mark);
		r->known |= FIELD_MARK;
	}
	if (want & FIELD_DROPS) {
		r->drops = drops(sk, direct);
		r->known |= FIELD_DROPS;
	}
	if (want & FIELD_CGROUP && field_exists(sk->sk_cgrp_data.cgroup)) {
		struct cgroup *cgroup = get(sk, sk_cgrp_data.cgroup);
		if (cgroup) {
			struct kernfs_node *kn = probe(cgroup, kn);
			r->cgroup = probe(kn, id);
			r->known |= FIELD_CGROUP;
		}
	}
	if (want & FIELD_QUEUES) {
		r->rx_queue = get(sk, sk_backlog.rmem_alloc.counter);
		r->tx_queue = get(sk, sk_wmem_alloc.refs.counter) - 1;
		r->known |= FIELD_QUEUES;
	}
}

/* fill_backlog reads the queue of connections that wait to be accepted. */
INLINE void fill_backlog(struct record *r, struct sock *sk, const bool direct)
{
	r->rx_queue = get(sk, sk_ack_backlog);
	r->tx_queue = get(sk, sk_max_ack_backlog);
}

/* until returns the jiffies until a timer's expiry, 0 if it has passed. */
INLINE u32 until(u64 expires)
{
	s64 left = expires - bpf_jiffies64();
	return left > 0 ? left : 0;
}

/* pingpong is inet_csk_in_pingpong_mode, whose threshold is a sysctl since 6.7. */
INLINE u8 pingpong(struct sock *sk, u8 count, const bool direct)
{
	u8 threshold = 1;
	struct net *net = get(sk, __sk_common.skc_net.net);
	if (field_exists(net->ipv4.sysctl_tcp_pingpong_thresh))
		threshold = probe(net, ipv4.sysctl_tcp_pingpong_thresh);
	return count >= threshold;
}

/*
 * fill_tcp reads what inet_sk_diag_fill (net/ipv4/inet_diag.c), tcp_diag_get_info
 * (net/ipv4/tcp_diag.c) and tcp_get_info (net/ipv4/tcp.c) tell.
 */
INLINE void fill_tcp(struct record *r, struct tcp_part *t, struct tcp_sock *tp, const bool direct)
{
	u32 want = wanted();
	struct inet_connection_sock *icsk = &tp->inet_conn;
	struct sock *sk = &icsk->icsk_inet.sk;

	fill_v6only(r, &sk->__sk_common);
	if (want & FIELD_QUEUES) {
		if (r->state == TCP_LISTEN) {
			fill_backlog(r, sk, direct);
		} else {
			int unread = get(tp, rcv_nxt) - get(tp, copied_seq);
			r->rx_queue = unread > 0 ? unread : 0;
			r->tx_queue = get(tp, write_seq) - get(tp, snd_una);
		}
	}
	if (!(want & TCP_FIELDS))
		return;
	*t = (struct tcp_part){};
	if (want & FIELD_TIMER) {
		u8 pending = get(icsk, icsk_pending);
		if (pending == ICSK_TIME_RETRANS || pending == ICSK_TIME_REO_TIMEOUT ||
		    pending == ICSK_TIME_LOSS_PROBE || pending == ICSK_TIME_PROBE0) {
			t->timer = pending == ICSK_TIME_PROBE0 ? TIMER_PROBE : TIMER_RETRANSMIT;
			/* icsk_timeout until 6.17 */
			struct inet_connection_sock___timeout *old = (void *)icsk;
			if (field_exists(old->icsk_timeout))
				t->expires = until(probe(old, icsk_timeout));
			else
				t->expires = until(get(icsk, icsk_retransmit_timer.expires));
		} else if (get(sk, sk_timer.entry.pprev)) {
			t->timer = TIMER_KEEPALIVE;
			t->expires = until(get(sk, sk_timer.expires));
		}
		if (t->timer == TIMER_RETRANSMIT)
			t->retransmits = get(icsk, icsk_retransmits);
	}
	r->known |= want & (FIELD_TIMER | FIELD_PROBES | FIELD_CWND);
	t->cwnd = get(tp, snd_cwnd);
	if (r->state == TCP_LISTEN) {
		t->fastopen = get(icsk, icsk_accept_queue.fastopenq.max_qlen);
		r->known |= want & FIELD_FASTOPEN;
		return;
	}
	t->retransmits = get(icsk, icsk_retransmits);
	t->probes = get(icsk, icsk_probes_out);
	t->rto = get(icsk, icsk_rto);
	t->ato = bits(icsk, icsk_ack.ato);
	t->quickack = get(icsk, icsk_ack.quick);
	t->pingpong = pingpong(sk, get(icsk, icsk_ack.pingpong), direct);
	r->known |= want & (FIELD_RTO | FIELD_ATO | FIELD_QUICKACK);
	t->ssthresh = get(tp, snd_ssthresh);
	if (t->ssthresh < TCP_INFINITE_SSTHRESH)
		r->known |= want & FIELD_SSTHRESH;
}
#endif

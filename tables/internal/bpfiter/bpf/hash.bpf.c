// SPDX-License-Identifier: GPL-2.0
/*
 * The network namespaces, and the entries of the hash table of established
 * TCP connections: those that belong to no file, and with FIELD_FILED the
 * others in brief. Both are asked for by BPF_PROG_TEST_RUN, which runs a raw_tp program in
 * an RCU section.
 *
 * The table is read without its locks. An entry counts only if it still stands
 * where it was found after it was read.
 */
#include "fill.h"

char LICENSE[] SEC("license") = "GPL";

struct {
	UINT(type, BPF_MAP_TYPE_ARRAY);
	UINT(max_entries, 1);
	UINT(map_flags, BPF_F_MMAPABLE);
	TYPE(key, u32);
	TYPE(value, struct chunk);
} output SEC(".maps");

#define MAX_NAMESPACES (1 << 16)
#define MAX_CHAIN (1 << 12)

struct name_walk {
	struct chunk *out;
	const void *ops; /* tell a namespace from the head of their list */
	struct net *first, *at;
};

INLINE struct inet_hashinfo *hashinfo(struct net *net)
{
	struct netns_ipv4___pointer *old = (void *)&net->ipv4;
	if (field_exists(net->ipv4.tcp_death_row.hashinfo))
		return probe(net, ipv4.tcp_death_row.hashinfo);
	/* some kernels between 5.17 and 6.0 */
	if (field_exists(old->tcp_death_row)) {
		struct inet_timewait_death_row *row = probe(old, tcp_death_row);
		return probe(row, hashinfo);
	}
	return NULL;
}

static long next_namespace(u32 i, struct name_walk *w)
{
	struct net *net = w->at;
	if (probe(net, ns.ops) == w->ops) {
		u32 used = w->out->used;
		if (used > sizeof(w->out->data) - sizeof(struct namespace))
			return 1;
		struct namespace *n = (void *)w->out->data + used;
		n->hashinfo = (u64)hashinfo(net);
		n->inum = probe(net, ns.inum);
		n->unused = 0;
		w->out->used = used + sizeof(*n);
	}
	struct list_head *next = probe(net, list.next);
	if (!next)
		return 1;
	w->at = (void *)next - field_offset(struct net, list);
	return w->at == w->first;
}

SEC("raw_tp")
int namespaces(struct bpf_raw_tracepoint_args *ctx)
{
	u32 zero = 0;
	struct chunk *out = bpf_map_lookup_elem(&output, &zero);
	if (!out)
		return 0;
	out->used = 0;
	struct task_struct *task = bpf_get_current_task_btf();
	struct nsproxy *proxy = probe(task, nsproxy);
	if (!proxy)
		return 0;
	struct name_walk w = { .out = out, .first = probe(proxy, net_ns) };
	struct net *first = w.first;
	w.at = first;
	w.ops = probe(first, ns.ops);
	bpf_loop(MAX_NAMESPACES, next_namespace, &w, 0);
	return 0;
}

struct walk {
	struct chunk *out;
	struct inet_ehash_bucket *table;
	u32 bucket;
	u32 full;
	void *link; /* where the pointer to the node at hand stands */
};

/* fill_time_wait reads a struct inet_timewait_sock, as inet_twsk_diag_fill. */
INLINE void fill_time_wait(struct record *r, struct tcp_part *t, struct sock_common *skc)
{
	struct inet_timewait_sock *tw = (void *)skc;

	t->timer = TIMER_TIME_WAIT;
	t->expires = until(probe(tw, tw_timer.expires));
	r->mark = probe(tw, tw_mark);
	r->known |= wanted() & (FIELD_TIMER | FIELD_QUEUES | FIELD_MARK);
}

/* fill_request reads a struct request_sock, as inet_req_diag_fill. */
INLINE void fill_request(struct record *r, struct tcp_part *t, struct sock_common *skc)
{
	struct inet_request_sock *req = (void *)skc;

	t->timer = TIMER_RETRANSMIT;
	t->expires = until(probe(req, req.rsk_timer.expires));
	t->retransmits = probe(req, req.num_retrans);
	r->mark = probe(req, ir_mark);
	r->known |= wanted() & (FIELD_TIMER | FIELD_QUEUES | FIELD_MARK);
}

/* fill_entry returns the size of the entry's record, 0 if it is not wanted. */
INLINE u32 fill_entry(struct record *r, struct tcp_part *t, struct sock_common *skc)
{
	struct sock *sk = (void *)skc;
	struct inet_timewait_sock *tw = (void *)skc;
	u16 family = probe(skc, skc_family);
	u8 state = probe(skc, skc_state);

	bool full = state != TCP_TIME_WAIT && state != TCP_NEW_SYN_RECV;
	bool brief = 0;
	u16 port;
	if (full) {
		struct socket *s = probe(sk, sk_socket);
		if (s && !(wanted() & FIELD_FILED_WHOLE) && probe(s, file)) {
			if (!(wanted() & FIELD_FILED))
				return 0; /* some descriptor's */
			brief = 1;
		}
		struct inet_sock *inet = (void *)skc;
		port = swap16(probe(inet, inet_sport));
	} else {
		port = probe(skc, skc_num);
	}
	if (state == TCP_TIME_WAIT)
		state = probe(tw, tw_substate);
	else if (state == TCP_NEW_SYN_RECV)
		state = TCP_SYN_RECV;
	if (!(config.states >> (state & 31) & 1))
		return 0;
	r->family = family;
	r->state = state;
	r->kind = family == AF_INET6 ? KIND_TCP6 : KIND_TCP4;
	if (!(wanted_kinds() & 1 << r->kind))
		return 0;
	r->type = SOCK_STREAM;
	r->protocol = IPPROTO_TCP;
	r->known = FIELD_FAMILY | FIELD_TYPE | FIELD_PROTOCOL | FIELD_STATE;
	if (!fill_common(r, skc, 0) || !fill_inet(r, skc, port, 0))
		return 0;
	r->cookie = probe(skc, skc_cookie.counter);
	if (r->cookie)
		r->known |= wanted() & FIELD_COOKIE;
	if (full) {
		struct socket_alloc *alloc = (void *)probe(sk, sk_socket);
		if (alloc)
			r->inode = probe(alloc, vfs_inode.i_ino);
		if (brief)
			return SHORT_RECORD;
		fill_sock(r, sk, 0);
		fill_tcp(r, t, (void *)sk, 0);
	} else if (probe(skc, skc_state) == TCP_TIME_WAIT) {
		fill_time_wait(r, t, skc);
	} else {
		fill_request(r, t, skc);
	}
	return tcp_size();
}

static long next_entry(u32 i, struct walk *w)
{
	struct hlist_nulls_node *node = NULL, *again = NULL;
	struct chunk *out = w->out;
	void *link = w->link;

	bpf_probe_read_kernel(&node, sizeof(node), link);
	if (!node || (u64)node & 1)
		return 1; /* the end, is_a_nulls */
	u32 used = out->used;
	if (used > sizeof(out->data) - sizeof(struct record) - sizeof(struct tcp_part)) {
		w->full = 1;
		return 1;
	}
	struct record *r = (void *)out->data + used;
	struct tcp_part *t = (void *)(r + 1);
	__builtin_memset(r, 0, sizeof(*r));
	__builtin_memset(t, 0, sizeof(*t));
	struct sock_common *skc = (void *)node - field_offset(struct sock_common, skc_nulls_node);
	u32 size = fill_entry(r, t, skc);
	bpf_probe_read_kernel(&again, sizeof(again), link);
	if (again != node) {
		out->lost++;
		return 1;
	}
	if (size) {
		r->pid = r->tid = r->fd = ~0;
		r->size = size;
		out->used = used + size;
	}
	w->link = &node->next;
	return 0;
}

static long next_bucket(u32 i, struct walk *w)
{
	struct chunk *out = w->out;
	struct inet_ehash_bucket *bucket =
		(void *)w->table + (u64)w->bucket * __builtin_preserve_type_info(*(struct inet_ehash_bucket *)0, 1);
	u32 used = out->used;

	w->link = &bucket->chain.first;
	bpf_loop(MAX_CHAIN, next_entry, w, 0);
	if (w->full && used) {
		/* Give the whole bucket in the next chunk. */
		out->used = used;
		return 1;
	}
	w->full = 0;
	w->bucket++;
	return 0;
}

/*
 * established walks buckets from args[1] to, at most, args[2] of the table
 * args[0] and says in output where to go on. With args[2] 0 it only tells how
 * many buckets there are.
 */
SEC("raw_tp")
int established(struct bpf_raw_tracepoint_args *ctx)
{
	u32 zero = 0;
	struct chunk *out = bpf_map_lookup_elem(&output, &zero);
	if (!out)
		return 0;
	out->used = 0;
	out->lost = 0;
	struct inet_hashinfo *info = (void *)ctx->args[0];
	u32 from = ctx->args[1], to = ctx->args[2];
	struct walk w = { .out = out, .bucket = from };
	u32 buckets = probe(info, ehash_mask) + 1;
	w.table = probe(info, ehash);
	if (!to || !w.table) {
		out->next = buckets;
		return 0;
	}
	if (to > buckets)
		to = buckets;
	if (from < to)
		bpf_loop(to - from, next_bucket, &w, 0);
	out->next = w.bucket;
	return 0;
}

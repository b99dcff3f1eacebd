// SPDX-License-Identifier: GPL-2.0
/* The sockets of every task's descriptor table. */
#include "fill.h"

char LICENSE[] SEC("license") = "GPL";

/* sun_path of struct sockaddr_un, include/uapi/linux/un.h */
#define NAME_SIZE 108
#define NAME_ROOM 112

/* Bounds of lists that change while they are read. */
#define MAX_QUEUE 4096
#define MAX_SUBFLOWS 64

/*
 * The record at hand. An iterator is read by one reader at a time, so it need
 * not be on the stack, where the verifier would follow each byte of it through
 * every combination of fields, which takes a hundred milliseconds.
 */
struct entry {
	struct record record;
	union {
		struct tcp_part tcp;
		u8 name[NAME_ROOM];
	};
} entry;

/*
 * shown reports whether the thread group's leader has the same file at the
 * same place: a thread that leaves the common table takes a copy with it.
 */
INLINE bool shown(struct task_struct *task, u32 fd, struct file *file)
{
	if (task->pid == task->tgid)
		return 0;
	struct task_struct *leader = task->group_leader;
	struct files_struct *files = probe(leader, files);
	struct fdtable *table = probe(files, fdt);
	if (fd >= probe(table, max_fds))
		return 0;
	struct file **array = probe(table, fd), *same = NULL;
	bpf_probe_read_kernel(&same, sizeof(same), array + fd);
	return same == file;
}

INLINE u64 socket_inode(struct sock *sk)
{
	struct socket_alloc *alloc = (void *)probe(sk, sk_socket);
	return alloc ? probe(alloc, vfs_inode.i_ino) : 0;
}

struct queue {
	struct sk_buff *at, *end;
	u32 unread;
	u16 type;
};

static long next_message(u32 i, struct queue *q)
{
	struct sk_buff *skb = q->at;
	if (!skb || skb == q->end)
		return 1;
	q->unread += probe(skb, len);
	if (q->type == SOCK_DGRAM)
		return 1;
	if (q->type == SOCK_STREAM) {
		struct unix_skb_parms *parms = (void *)&skb->cb;
		q->unread -= probe(parms, consumed);
	}
	q->at = probe(skb, next);
	return 0;
}

/*
 * unix_unread counts as unix_inq_len (net/unix/af_unix.c): a stream's bytes,
 * which the kernel counts itself since 6.16, or those of all packets, or of
 * the first datagram.
 */
INLINE u32 unix_unread(struct sock *sk, struct unix_sock *u, u16 type)
{
	if (type == SOCK_STREAM && field_exists(u->inq_len))
		return probe(u, inq_len);
	struct queue q = {
		.at = sk->sk_receive_queue.next,
		.end = (void *)&sk->sk_receive_queue,
		.type = type,
	};
	bpf_loop(MAX_QUEUE, next_message, &q, 0);
	return q.unread;
}

/* fill_unix reads what net/unix/diag.c tells. */
INLINE void fill_unix(struct entry *e, struct sock *sk)
{
	struct record *r = &e->record;
	struct unix_sock *u = (void *)sk;
	u32 want = wanted();

	if (want & FIELD_QUEUES) {
		if (r->state == TCP_LISTEN) {
			r->rx_queue = sk->sk_receive_queue.qlen;
			r->tx_queue = sk->sk_max_ack_backlog;
		} else {
			r->rx_queue = unix_unread(sk, u, r->type);
		}
	}
	if (want & FIELD_PEER) {
		struct sock *peer = probe(u, peer);
		if (peer)
			r->peer = socket_inode(peer);
		r->known |= FIELD_PEER;
	}
	if (want & (FIELD_PATH | FIELD_PATH_EXACT)) {
		struct unix_address *a = probe(u, addr);
		r->known |= want & (FIELD_PATH | FIELD_PATH_EXACT);
		if (!a)
			return;
		int size = probe(a, len) - 2; /* sun_family */
		if (size <= 0 || size > NAME_SIZE)
			return;
		bpf_probe_read_kernel(e->name, size & 127, (void *)a->name + 2);
		r->path_size = size;
	}
}

INLINE void fill_netlink(struct record *r, struct sock *sk)
{
	struct netlink_sock *n = (void *)sk;

	if (!(wanted() & FIELD_NETLINK_PORT))
		return;
	r->known |= FIELD_NETLINK_PORT;
	r->netlink[0] = probe(n, portid);
	unsigned long *groups = probe(n, groups);
	if (groups && probe(n, ngroups)) {
		unsigned long first = 0;
		bpf_probe_read_kernel(&first, sizeof(first), groups);
		r->netlink[1] = first;
	}
}

/* fill_packet reads the EtherType, and the interface unless it is gone (-1). */
INLINE void fill_packet(struct record *r, struct sock *sk)
{
	struct packet_sock *p = (void *)sk;

	r->known &= ~(FIELD_PROTOCOL | FIELD_STATE);
	if (!type_exists(struct packet_sock))
		return; /* in a module whose types nobody has told us */
	r->protocol = swap16(probe(p, num));
	int index = probe(p, ifindex);
	r->interface = index;
	r->known |= FIELD_PROTOCOL;
	if (index >= 0)
		r->known |= wanted() & FIELD_INTERFACE;
}

INLINE void fill_xdp(struct record *r, struct sock *sk)
{
	struct xdp_sock *x = (void *)sk;

	r->known &= ~FIELD_STATE;
	if (!type_exists(struct xdp_sock))
		return;
	struct net_device *dev = probe(x, dev);
	r->interface = dev ? probe(dev, ifindex) : 0;
	r->known |= wanted() & FIELD_INTERFACE;
}

/* fill_mptcp reads a listener's queue, which is that of its first subflow. */
INLINE void fill_mptcp(struct record *r, struct sock *sk)
{
	r->known |= wanted() & FIELD_TIMER; /* it has none */
	if (r->state != TCP_LISTEN || !(wanted() & FIELD_QUEUES))
		return;
	struct mptcp_sock *m = (void *)sk;
	struct sock *first = probe(m, first);
	if (first)
		fill_backlog(r, first, 0);
}

/* state_wanted is asked only of kinds that have states. */
INLINE bool state_wanted(u8 state)
{
	return config.states >> (state & 31) & 1;
}

INLINE u32 round_up(u32 size)
{
	return (size + 7) & ~7;
}

INLINE void emit(struct seq_file *seq, struct entry *e, u32 size)
{
	if (size > sizeof(*e))
		return;
	e->record.size = size;
	bpf_seq_write(seq, e, size);
}

/*
 * show_subflow shows a TCP connection of an MPTCP one, which has the latter's
 * inode, as sock_diag does.
 */
INLINE void show_subflow(struct seq_file *seq, struct entry *e, struct sock *sk)
{
	struct record *r = &e->record;
	struct sock_common *skc = &sk->__sk_common;
	struct tcp_sock *tp = (void *)sk;

	r->family = probe(skc, skc_family);
	r->kind = r->family == AF_INET6 ? KIND_TCP6 : KIND_TCP4;
	r->state = probe(skc, skc_state);
	if (!(wanted_kinds() & 1 << r->kind) || !state_wanted(r->state))
		return;
	r->type = SOCK_STREAM;
	r->protocol = IPPROTO_TCP;
	r->known = FIELD_FAMILY | FIELD_TYPE | FIELD_PROTOCOL | FIELD_STATE;
	if (!fill_common(r, skc, 0) ||
	    !fill_inet(r, skc, swap16(probe(tp, inet_conn.icsk_inet.inet_sport)), 0))
		return;
	r->cookie = probe(skc, skc_cookie.counter);
	if (r->cookie)
		r->known |= wanted() & FIELD_COOKIE;
	fill_sock(r, sk, 0);
	fill_tcp(r, &e->tcp, tp, 0);
	emit(seq, e, tcp_size());
}

struct subflows {
	struct seq_file *seq;
	struct list_head *at, *end;
};

static long next_subflow(u32 i, struct subflows *s)
{
	struct mptcp_subflow_context *subflow = (void *)s->at;
	if (!subflow || s->at == s->end)
		return 1;
	struct sock *sk = probe(subflow, tcp_sock);
	if (sk)
		show_subflow(s->seq, &entry, sk);
	s->at = probe(subflow, node.next);
	return 0;
}

INLINE void show_subflows(struct seq_file *seq, struct sock *sk)
{
	struct mptcp_sock *m = (void *)sk;
	struct subflows s = {
		.seq = seq,
		.at = probe(m, conn_list.next),
		.end = &m->conn_list,
	};
	bpf_loop(MAX_SUBFLOWS, next_subflow, &s, 0);
}

/* Kinds of AF_INET and AF_INET6 but for TCP. */
#define OTHER_INET ((((1 << KIND_UNIX) - 1) & ~3) | 1 << KIND_MPTCP4 | 1 << KIND_MPTCP6 | \
		    1 << KIND_SCTP4 | 1 << KIND_SCTP6 | 1 << KIND_DCCP4 | 1 << KIND_DCCP6)

/* may reports whether a kind can be asked for at all. */
#define may(kind) (limit.kinds >> (kind) & 1)

SEC("iter/task_file")
int files(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct seq_file *seq = ctx->meta->seq;
	if (!task || !file)
		return 0;
	struct socket *s = bpf_sock_from_file(file);
	if (!s || !listed(LIST_PID, task->tgid))
		return 0;

	struct entry *e = &entry;
	struct record *r = &e->record;
	__builtin_memset(r, 0, sizeof(*r));
	r->pid = task->tgid;
	r->tid = task->pid;
	r->fd = ctx->fd;
	r->inode = file->f_inode->i_ino;

	struct sock *sk = s->sk;
	if (!sk) {
		if (!(wanted_kinds() & 1 << KIND_OTHER) || shown(task, ctx->fd, file))
			return 0;
		r->kind = KIND_OTHER;
		emit(seq, e, SHORT_RECORD);
		return 0;
	}
	struct sock_common *skc = &sk->__sk_common;
	r->family = skc->skc_family;
	r->type = sk->sk_type;
	r->protocol = sk->sk_protocol;
	r->state = skc->skc_state;
	r->kind = kind_of(r->family, r->type, r->protocol);
	/* Forget the constant, for which the verifier would walk the rest again. */
	u32 kind = *(volatile u8 *)&r->kind & 31;
	bool mptcp = (may(KIND_MPTCP4) || may(KIND_MPTCP6) || may(KIND_TCP4) || may(KIND_TCP6)) &&
		     (kind == KIND_MPTCP4 || kind == KIND_MPTCP6);
	u32 kinds = 1 << kind;
	if (mptcp)
		kinds |= 1 << KIND_TCP4 | 1 << KIND_TCP6;
	if (!(wanted_kinds() & kinds) || shown(task, ctx->fd, file))
		return 0;
	if (mptcp && !(wanted_kinds() & 1 << kind))
		goto subflow;
	if (kind <= KIND_UNIX || kind == KIND_VSOCK || kind == KIND_DCCP4 || kind == KIND_DCCP6 || mptcp) {
		if (!state_wanted(r->state)) {
			if (mptcp)
				goto subflow;
			return 0;
		}
	}
	r->known = FIELD_FAMILY | FIELD_TYPE | FIELD_PROTOCOL | FIELD_STATE;
	if (!fill_common(r, skc, 1))
		return 0;
	if (wanted() & FIELD_COOKIE) {
		r->cookie = bpf_get_socket_cookie(sk);
		r->known |= FIELD_COOKIE;
	}
	fill_sock(r, sk, 1);
	u32 size = wanted() & ~SHORT_FIELDS ? sizeof(*r) : SHORT_RECORD;

	switch (kind) {
	case KIND_TCP4:
	case KIND_TCP6: {
		if (!may(KIND_TCP4) && !may(KIND_TCP6))
			return 0;
		struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);
		if (!tp || !fill_inet(r, skc, swap16(tp->inet_conn.icsk_inet.inet_sport), 1))
			return 0;
		fill_tcp(r, &e->tcp, tp, 1);
		size = tcp_size();
		break;
	}
	case KIND_UNIX:
		if (!may(KIND_UNIX))
			return 0;
		fill_unix(e, sk);
		size += round_up(r->path_size);
		break;
	case KIND_NETLINK:
		if (!may(KIND_NETLINK))
			return 0;
		fill_netlink(r, sk);
		break;
	case KIND_PACKET:
		if (!may(KIND_PACKET))
			return 0;
		fill_packet(r, sk);
		break;
	case KIND_XDP:
		if (!may(KIND_XDP))
			return 0;
		fill_xdp(r, sk);
		break;
	case KIND_VSOCK:
	case KIND_TIPC:
	case KIND_SMC:
	case KIND_OTHER:
		break;
	default: {
		if (!(limit.kinds & OTHER_INET))
			return 0;
		struct inet_sock *inet = (void *)sk;
		if (!fill_inet(r, skc, swap16(probe(inet, inet_sport)), 1)) {
			if (mptcp)
				goto subflow;
			return 0;
		}
		if (kind >= KIND_UDP4 && kind <= KIND_UDPLITE6 && wanted() & FIELD_QUEUES) {
			struct udp_sock *u = (void *)sk;
			if (field_exists(u->forward_deficit))
				r->rx_queue -= probe(u, forward_deficit);
		}
		fill_v6only(r, skc);
		if (mptcp)
			fill_mptcp(r, sk);
	}
	}
	emit(seq, e, size);
	if (!mptcp)
		return 0;
subflow:
	show_subflows(seq, sk);
	return 0;
}

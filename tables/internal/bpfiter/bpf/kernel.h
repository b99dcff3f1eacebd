/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The parts of the kernel's types that the programs read, each with the few
 * members they need. Where these are in the running kernel is found when the
 * programs are loaded (CO-RE), so order and gaps mean nothing here. A suffix
 * after three underscores tells apart what one type was in different kernels.
 */
#ifndef SOCKQL_KERNEL_H
#define SOCKQL_KERNEL_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long s64;
typedef _Bool bool;

#define NULL ((void *)0)
#define SEC(name) __attribute__((section(name), used))
#define INLINE static inline __attribute__((always_inline))
#define offsetof(type, member) __builtin_offsetof(type, member)

/* Helpers, by their numbers in enum bpf_func_id of include/uapi/linux/bpf.h. */
static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static u64 (*bpf_get_socket_cookie)(void *sk) = (void *)46;
static long (*bpf_probe_read_kernel)(void *to, u32 size, const void *from) = (void *)113;
static u64 (*bpf_jiffies64)(void) = (void *)118;
static long (*bpf_seq_write)(void *seq, const void *data, u32 size) = (void *)127;
static void *(*bpf_skc_to_tcp_sock)(void *sk) = (void *)137;
static void *(*bpf_get_current_task_btf)(void) = (void *)158;
static void *(*bpf_sock_from_file)(void *file) = (void *)162;
static long (*bpf_loop)(u32 n, void *callback, void *ctx, u64 flags) = (void *)181;

/* Maps are described to the loader by the types of a variable's members. */
#define UINT(name, value) int (*name)[value]
#define TYPE(name, type) typeof(type) *name

#define BPF_MAP_TYPE_HASH 1
#define BPF_MAP_TYPE_ARRAY 2
#define BPF_F_NO_PREALLOC 1
#define BPF_F_MMAPABLE 1024

/* Questions to the loader about the running kernel's types. */
#define field_exists(expr) __builtin_preserve_field_info(expr, 2)
#define field_offset(type, member) \
	__builtin_preserve_field_info(((type *)0)->member, 0)
#define type_exists(type) __builtin_preserve_type_info(*(typeof(type) *)0, 0)

/* The value of a member that is a bit field in some kernels. */
#define bits(ptr, member) ({ \
	u64 bits_ = 0; \
	u32 size_ = __builtin_preserve_field_info((ptr)->member, 1); \
	const void *at_ = (const void *)(ptr) + \
		__builtin_preserve_field_info((ptr)->member, 0); \
	bpf_probe_read_kernel(&bits_, size_ > 8 ? 8 : size_, at_); \
	bits_ <<= __builtin_preserve_field_info((ptr)->member, 4); \
	bits_ >>= __builtin_preserve_field_info((ptr)->member, 5); \
	bits_; \
})

/*
 * The value of a member, by a load if the verifier knows the pointer, else by
 * a copy that cannot fault and gives zero where there is no memory. "direct"
 * is a constant of the function around.
 */
#define get(ptr, member) ({ \
	typeof((ptr)->member) value_; \
	if (direct) \
		value_ = (ptr)->member; \
	else \
		bpf_probe_read_kernel(&value_, sizeof(value_), &(ptr)->member); \
	value_; \
})
#define probe(ptr, member) ({ const bool direct = 0; get(ptr, member); })

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct { int counter; } atomic_t;
typedef struct { s64 counter; } atomic64_t;
typedef struct { atomic_t refs; } refcount_t;
typedef struct { u32 val; } kuid_t;

struct list_head { struct list_head *next, *prev; };
struct hlist_node { struct hlist_node *next, **pprev; };
struct hlist_nulls_node { struct hlist_nulls_node *next, **pprev; };
struct hlist_nulls_head { struct hlist_nulls_node *first; };
struct timer_list { struct hlist_node entry; unsigned long expires; };
struct in6_addr { union { u8 u6_addr8[16]; } in6_u; };

struct seq_file;
struct bpf_iter_meta { struct seq_file *seq; };
struct bpf_iter__task_file {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
	u32 fd;
	struct file *file;
};

struct fdtable { unsigned int max_fds; struct file **fd; };
struct files_struct { struct fdtable *fdt; };
struct nsproxy { struct net *net_ns; };
struct task_struct {
	int pid, tgid;
	struct task_struct *group_leader;
	struct files_struct *files;
	struct nsproxy *nsproxy;
};

struct inode { unsigned long i_ino; };
struct file { struct inode *f_inode; };
struct socket { struct file *file; struct sock *sk; };
struct socket_alloc { struct socket socket; struct inode vfs_inode; };

struct proc_ns_operations;
struct ns_common { const struct proc_ns_operations *ops; unsigned int inum; };
struct inet_ehash_bucket { struct hlist_nulls_head chain; };
struct inet_hashinfo { struct inet_ehash_bucket *ehash; unsigned int ehash_mask; };
struct inet_timewait_death_row { struct inet_hashinfo *hashinfo; };
struct netns_ipv4 {
	struct inet_timewait_death_row tcp_death_row;
	u8 sysctl_tcp_pingpong_thresh;
};
struct netns_ipv4___pointer { struct inet_timewait_death_row *tcp_death_row; };
struct net {
	struct list_head list;
	struct ns_common ns;
	struct netns_ipv4 ipv4;
};
typedef struct { struct net *net; } possible_net_t;

struct kernfs_node { u64 id; };
struct cgroup { struct kernfs_node *kn; };
struct sock_cgroup_data { struct cgroup *cgroup; };

struct sk_buff { struct sk_buff *next; unsigned int len; char cb[48]; };
struct sk_buff_head { struct sk_buff *next; u32 qlen; };
struct unix_skb_parms { u32 consumed; };

struct sock_common {
	u32 skc_daddr, skc_rcv_saddr;
	u16 skc_dport, skc_num;
	unsigned short skc_family;
	unsigned char skc_state;
	unsigned char skc_ipv6only : 1;
	int skc_bound_dev_if;
	possible_net_t skc_net;
	struct in6_addr skc_v6_daddr, skc_v6_rcv_saddr;
	atomic64_t skc_cookie;
	struct hlist_nulls_node skc_nulls_node;
	refcount_t skc_refcnt;
};
struct numa_drop_counters { atomic_t drops0, drops1; };
struct sock {
	struct sock_common __sk_common;
	atomic_t sk_drops;
	struct numa_drop_counters *sk_drop_counters; /* since 6.18 */
	struct sk_buff_head sk_receive_queue;
	struct { atomic_t rmem_alloc; } sk_backlog;
	struct socket *sk_socket;
	refcount_t sk_wmem_alloc;
	struct timer_list sk_timer;
	u32 sk_mark;
	kuid_t sk_uid;
	u16 sk_protocol, sk_type;
	u8 sk_shutdown;
	u32 sk_ack_backlog, sk_max_ack_backlog;
	struct sock_cgroup_data sk_cgrp_data;
};

struct inet_sock { struct sock sk; u16 inet_sport; };
struct fastopen_queue { int max_qlen; };
struct request_sock_queue { struct fastopen_queue fastopenq; };
struct inet_connection_sock {
	struct inet_sock icsk_inet;
	struct request_sock_queue icsk_accept_queue;
	struct timer_list icsk_retransmit_timer;
	u32 icsk_rto;
	u8 icsk_retransmits, icsk_pending, icsk_probes_out;
	struct { u8 quick, pingpong; u32 ato : 8; } icsk_ack;
};
struct inet_connection_sock___timeout { unsigned long icsk_timeout; };
struct tcp_sock {
	struct inet_connection_sock inet_conn;
	u32 rcv_nxt, copied_seq, write_seq, snd_una, snd_cwnd, snd_ssthresh;
};
struct inet_timewait_sock {
	struct sock_common __tw_common;
	u32 tw_mark;
	unsigned char tw_substate;
	struct timer_list tw_timer;
};
struct request_sock {
	struct sock_common __req_common;
	u8 num_retrans;
	struct timer_list rsk_timer;
};
struct inet_request_sock { struct request_sock req; u32 ir_mark; };
struct udp_sock { int forward_deficit; };

struct mptcp_sock { struct inet_connection_sock sk; struct list_head conn_list; struct sock *first; };
struct mptcp_subflow_context { struct list_head node; struct sock *tcp_sock; };

struct sockaddr_un { u16 sun_family; };
struct unix_address { int len; struct sockaddr_un name[0]; };
struct unix_sock { struct unix_address *addr; struct sock *peer; int inq_len; };
struct netlink_sock { u32 portid, ngroups; unsigned long *groups; };
struct packet_sock { int ifindex; u16 num; };
struct net_device { int ifindex; };
struct xdp_sock { struct net_device *dev; };

struct bpf_raw_tracepoint_args { u64 args[0]; };

#pragma clang attribute pop
#endif

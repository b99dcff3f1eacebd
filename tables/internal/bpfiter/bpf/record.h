/* SPDX-License-Identifier: GPL-2.0 */
/* What the programs and their reader in Go agree on. */
#ifndef SOCKQL_RECORD_H
#define SOCKQL_RECORD_H

/* Positions of the kinds' bits in socket.Kind. */
enum kind {
	KIND_TCP4, KIND_TCP6, KIND_UDP4, KIND_UDP6, KIND_UDPLITE4, KIND_UDPLITE6,
	KIND_RAW4, KIND_RAW6, KIND_ICMP4, KIND_ICMP6, KIND_UNIX, KIND_PACKET,
	KIND_NETLINK, KIND_MPTCP4, KIND_MPTCP6, KIND_SCTP4, KIND_SCTP6,
	KIND_DCCP4, KIND_DCCP6, KIND_VSOCK, KIND_XDP, KIND_TIPC, KIND_SMC,
	KIND_OTHER,
};

/* The bits of socket.Fields. */
enum field {
	FIELD_COOKIE = 1 << 0,
	FIELD_FAMILY = 1 << 1,
	FIELD_TYPE = 1 << 2,
	FIELD_PROTOCOL = 1 << 3,
	FIELD_STATE = 1 << 4,
	FIELD_ADDRESSES = 1 << 5,
	FIELD_PATH = 1 << 6,
	FIELD_PATH_EXACT = 1 << 7,
	FIELD_QUEUES = 1 << 8,
	FIELD_BACKLOG = 1 << 9,
	FIELD_TIMER = 1 << 10,
	FIELD_PROBES = 1 << 11,
	FIELD_UID = 1 << 12,
	FIELD_REFCOUNT = 1 << 13,
	FIELD_RTO = 1 << 14,
	FIELD_ATO = 1 << 15,
	FIELD_QUICKACK = 1 << 16,
	FIELD_CWND = 1 << 17,
	FIELD_SSTHRESH = 1 << 18,
	FIELD_FASTOPEN = 1 << 19,
	FIELD_DROPS = 1 << 20,
	FIELD_INTERFACE = 1 << 21,
	FIELD_MARK = 1 << 22,
	FIELD_SHUTDOWN = 1 << 23,
	FIELD_V6ONLY = 1 << 24,
	FIELD_CGROUP = 1 << 25,
	FIELD_NETNS = 1 << 26,
	FIELD_PEER = 1 << 27,
	FIELD_BACKLOG_LIMIT = 1 << 28,
	FIELD_NETLINK_PORT = 1 << 29,
};

/*
 * Beside the fields: connections that belong to a file are wanted, too, in short
 * records or in whole ones.
 */
#define FIELD_FILED (1 << 30)
#define FIELD_FILED_WHOLE (1u << 31)

/* What a restricted list is of. */
enum list {
	LIST_PID, LIST_NETNS, LIST_LOCAL_PORT, LIST_REMOTE_PORT,
	LIST_LOCAL4, LIST_LOCAL6, LIST_REMOTE4, LIST_REMOTE6,
};

/* A member of a list: a number, or an address in network byte order. */
struct key {
	u64 list;
	union {
		u64 number[2];
		u8 address[16];
	};
};

/* The question of a scan. */
struct question {
	u32 want;   /* fields */
	u32 kinds;  /* bits 1 << enum kind */
	u32 states; /* bits 1 << state */
	u32 lists;  /* bits 1 << enum list: only its members are wanted */
	u16 local_from, local_to, remote_from, remote_to; /* host byte order */
	u32 bound; /* whether only sockets bound to an interface are wanted */
};

/*
 * One socket, in host byte order but for addresses. The members up to "queues"
 * are always there, those up to the end if the record is so long; then follow
 * a struct tcp_part, or the bytes of a UNIX socket's name.
 */
struct record {
	u16 size;  /* of the record, a multiple of eight */
	u8 kind;
	u8 state;
	u32 known; /* fields */
	u32 pid, tid;
	u32 fd;
	u32 netns;
	u64 inode;
	u64 address; /* in the kernel's memory */
	u16 family, type, protocol;
	u8 shutdown;
	union {
		u8 path_size;
		u8 v6only;
	};
	u16 local_port, remote_port;
	u32 uid;
	u32 rx_queue, tx_queue;
	u32 interface, mark;
	u32 drops, refcount;
	u64 cookie;
	u64 cgroup;
	union {
		u8 local[16];
		u32 netlink[2]; /* port, groups */
		u64 peer;       /* inode */
	};
	u8 remote[16];
};

struct tcp_part {
	u8 timer, retransmits, probes, pingpong;
	u32 expires, rto, ato; /* jiffies */
	u32 quickack;
	u32 cwnd, ssthresh;
	u32 fastopen;
};

#define SHORT_RECORD offsetof(struct record, rx_queue)
#define SHORT_FIELDS \
	(FIELD_FAMILY | FIELD_TYPE | FIELD_PROTOCOL | FIELD_STATE | FIELD_UID | \
	 FIELD_SHUTDOWN | FIELD_V6ONLY | FIELD_NETNS)
#define TCP_FIELDS \
	(FIELD_TIMER | FIELD_PROBES | FIELD_RTO | FIELD_ATO | FIELD_QUICKACK | \
	 FIELD_CWND | FIELD_SSTHRESH | FIELD_FASTOPEN)

/* What the passes over the kernel's own tables write. */
#define OUTPUT_SIZE (256 << 10)
struct chunk {
	u32 used; /* bytes of data */
	u32 next; /* the bucket to go on at */
	u32 lost; /* sockets that changed under the reader's eyes */
	u32 unused;
	u8 data[OUTPUT_SIZE - 16];
};

struct namespace {
	u64 hashinfo; /* its hash table of TCP sockets, in the kernel's memory */
	u32 inum;     /* inode in nsfs */
	u32 unused;
};
#endif

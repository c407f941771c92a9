/* Everything that the program and its control plane both see. lb-l4/src/abi.rs is the twin of this
 * file; a test compares size and offsets with the object's BTF.
 *
 * Addresses are 16 bytes in network order; IPv4 stands as ::ffff:a.b.c.d (RFC 4291, 2.5.5.2), so one
 * key serves both families. Ports are in network order. Times are jiffies (HZ is in `settings`),
 * 32 bits wide and compared by their difference. */
#ifndef LB_TYPES_H
#define LB_TYPES_H

#include <linux/types.h>

/* Raise with every change that an older program or an older lb could not read: pinned maps of
 * another layout are left alone, and lb starts afresh beside them. */
#define LB_LAYOUT 4

#define LB_WAYS 8

struct addr {
	__u64 q[2];
};

/* A packet's addresses as they are on the wire, in one direction. 40 bytes. */
struct flow_key {
	struct addr src;
	struct addr dst;
	__be16 sport;
	__be16 dport;
	__u8 proto;
	__u8 zero[3];
};

enum flow_state {
	FLOW_NONE = 0,
	FLOW_SYN = 1,      /* half open, the client's SYN was seen */
	FLOW_SYN_RECV = 2, /* half open, the backend's SYN-ACK was seen (NAT only) */
	FLOW_ESTABLISHED = 3,
	FLOW_FIN = 4,       /* one side has closed */
	FLOW_TIME_WAIT = 5, /* both sides have closed */
	FLOW_CLOSED = 6,    /* reset */
	FLOW_UDP_NEW = 7,   /* one datagram so far, and no answer */
	FLOW_UDP = 8,
	FLOW_STATES
};

enum flow_flag {
	FLOW_REPLY = 1,    /* from the backend to the client */
	FLOW_SNAT = 2,     /* both addresses are rewritten */
	FLOW_FIN_FWD = 4,  /* the client has closed */
	FLOW_FIN_BACK = 8, /* the backend has closed */
	FLOW_COUNTED = 16, /* in `loads` as active; else as inactive */
	FLOW_SYNCED = 32,  /* another node has made it, and no packet of it has come here since it spoke of it last */
};

/* Where a frame goes. 20 bytes. `ifindex` 0: not known. */
struct hop {
	__u32 ifindex;
	__u8 dmac[6];
	__u8 smac[6];
	__be16 vlan; /* tag control information to send with; 0: see fit_tags() */
	__u16 mtu;   /* 0: of a reply, the way back that note_way_back() saw, and no look-up has found any yet */
};

/* One direction of a flow. Two cache lines: the first decides, the second rewrites. */
struct flow {
	struct flow_key key;
	__u32 expires;
	__u32 dest;
	__u16 incarnation; /* of dest when the flow was made */
	__u8 state;
	__u8 flags;
	__u32 peer;    /* place + 1 of the other direction, bucket * LB_WAYS + way; 0: none (dr, tunnel) */
	__u32 renew;   /* the first packet from then on sets `expires` anew: an eighth of the timeout after the last time;
	                * FLOW_SYNCED: that last time itself */
	__u32 created;

	struct addr new_src;
	struct addr new_dst;
	__be16 new_sport;
	__be16 new_dport;
	struct hop hop;    /* of replies; forward packets take the one of their dest */
	__u32 epoch;       /* of the look-up of hop, see hop.h */
	__u16 addr_delta;  /* one's complement sum: what the new addresses add to a checksum */
	__u16 total_delta; /* the same of addresses and ports */
};

/* Set-associative: a key is in one of the ways of its first bucket, or of its second while
 * `overflow` of the first is not 0. Tags are published last and taken back first. */
struct bucket {
	__u32 lock; /* 0, or (now | 1) of who changes this bucket; older than a second: may be taken over */
	__u32 overflow; /* flows that belong here and stand in their second bucket; only grows */
	__u32 tags[LB_WAYS];
	__u32 zero[6];
	struct flow ways[LB_WAYS];
};

#define SHORTCUT_LINES 16384
#define SHORTCUT_WAYS 4

/* Where a client's flow goes, and until when; see shortcut.h. */
struct shortcut {
	__u64 addrs; /* of the client and the VIP, sealed */
	__u64 rest;
};

/* A cache line. */
struct shortcut_line {
	struct shortcut ways[SHORTCUT_WAYS];
};

enum mode {
	MODE_NAT = 1,
	MODE_DR = 2,
	MODE_TUNNEL = 3,
};

enum scheduler {
	SCHED_ROUND_ROBIN = 1, /* ring by a counter of this CPU */
	SCHED_LEAST = 2,       /* ring lists each destination once */
	SCHED_SOURCE = 3,      /* ring by a hash of the client's address */
	SCHED_FLOW = 4,        /* ring by a hash of the 5-tuple */
};

enum dest_state {
	DEST_UNUSED = 0, /* removed: flows are treated as `gone` of their frontend says */
	DEST_READY = 1,
	DEST_DRAIN = 2, /* weight 0, drain, maint: keeps what it has */
	DEST_DOWN = 3,
};

enum on_down {
	DOWN_REBIND = 0,
	DOWN_RESET = 1,
	DOWN_KEEP = 2,
};

/* One backend of one frontend: the unit of forwarding and of counting. 64 bytes. */
struct dest {
	struct addr addr;
	struct addr tunnel_src; /* ours towards it: outer source of tunnel mode, sender with `snat: auto` */
	__u32 frontend;         /* index into `frontends` */
	__u32 weight;
	__be16 port; /* 0: the port stays as it is */
	__u16 incarnation;
	__u8 state;
	__u8 on_down; /* stays readable when the destination is removed */
	__u8 mode;
	__u8 zero[17];
};

enum frontend_flag {
	FRONTEND_PERSIST = 1,
	FRONTEND_SNAT = 2,
};

struct frontend {
	__u64 ring; /* base << 32 | size, in entries of `rings`; written in one piece. Size 0: no backend */
	__u8 mode;
	__u8 scheduler;
	__u8 flags;
	__u8 on_down;
	__u8 prefix4; /* persistence: bits of a client's address that count */
	__u8 prefix6;
	__u8 proto;
	__u8 used;
	__u32 established; /* timeouts */
	__u32 syn;
	__u32 fin;
	__u32 close;
	__u32 udp;
	__u32 persist;
	__u32 snat_base; /* entries of `snat` */
	__u32 snat_count;
	struct addr addr; /* as in `vips`: so that a restarted lb recognises its own */
	__be16 port;
	__u8 zero[6];
};

/* Key of `vips`. Port 0: every port. Protocol ICMP or ICMPv6 with port 0: echo is answered. */
struct vip_key {
	struct addr addr;
	__be16 port;
	__u8 proto;
	__u8 zero[5];
};

struct load {
	__u32 active;   /* established TCP and answered UDP flows */
	__u32 inactive; /* all others */
};

/* Next hop of a destination, written by the program. Two copies, so that a reader never sees a mixture. */
struct dest_hop {
	struct hop hops[2];
	__u32 current; /* 0 or 1 */
	__u32 checked; /* now >> tick_shift */
	__u32 epoch;
	__u16 path_mtu;       /* tunnel: learned from an ICMP error; 0: none */
	__u16 zero;
	__u32 path_mtu_until;
	__u32 none;
};

struct stats {
	__u64 packets_in; /* from clients */
	__u64 bytes_in;   /* of layer 3 */
	__u64 packets_out;
	__u64 bytes_out;
	__u64 flows; /* scheduled here */
};

/* Per-CPU counters. Those up to DROP_END are dropped packets. */
enum counter {
	DROP_NO_BACKEND = 0,
	DROP_NO_ROUTE,
	DROP_NO_NEIGHBOUR, /* dr, tunnel: the kernel cannot resolve for us */
	DROP_TABLE_FULL,
	DROP_SNAT_EXHAUSTED,
	DROP_BACKEND_DOWN, /* answered with a reset, or silently where none is due */
	DROP_MALFORMED,
	DROP_FRAGMENT, /* a later fragment whose first was not seen */
	DROP_TTL,      /* answered with time exceeded */
	DROP_TOO_BIG,  /* answered with fragmentation needed / packet too big */
	DROP_NO_FLOW,  /* mid-stream without a flow, and the scheduler cannot adopt it */
	DROP_EGRESS,   /* the interface of the next hop is not one that lb may send to */
	DROP_HEADROOM, /* no room to grow the packet */
	DROP_STANDBY,  /* for a virtual MAC that another node has, see mac.h */
	DROP_END,
	COUNT_EVICT_EXPIRED = 16,
	COUNT_EVICT_HALF_OPEN,
	COUNT_EVICT_CLOSING,
	COUNT_STATELESS,    /* forwarded by hash without an entry */
	COUNT_ADOPTED,      /* mid-stream, by hash */
	COUNT_REBOUND,      /* flow given to another backend */
	COUNT_RESET_SENT,
	COUNT_ICMP_SENT,    /* errors made here */
	COUNT_ICMP_FORWARDED,
	COUNT_ECHO,         /* answered here */
	COUNT_PASSED_UP,    /* rewritten, and left to the kernel to forward */
	COUNT_LOCK_BUSY,
	COUNT_END
};

#define MAC_SLOTS 64

struct settings {
	__u64 flow_seed; /* random, of this table */
	__u64 ring_seed; /* the same on all nodes */
	__u32 hz;
	__u32 tick_shift;  /* now >> tick_shift is about a second */
	__u32 epoch;       /* raised on changes of routes and neighbours */
	__u32 new_flows;   /* per CPU and tick, 0: any */
	__u32 sample_mask; /* a packet is sampled where (random & mask) == 0; ~0: none */
	__u32 sample_frontend; /* index, ~0: all */
	__u16 snat_first;  /* host order, inclusive */
	__u16 snat_last;
	__u32 answers; /* ICMP errors and resets per CPU and tick, 0: any (RFC 4443, 2.4 (f)) */
	__u64 mac_factor;     /* says which of `macs` a frame looks at, see mac.h */
	__u64 macs[MAC_SLOTS]; /* of the map `macs` those that are MAC_OURS; 0: none */
	__u64 vip_bits[64]; /* 4,096 bits: addr_bit() of every address in `vips` */
};

/* An address that frames come to on an interface. 12 bytes. */
struct mac_key {
	__u32 ifindex;
	__u8 mac[6];
	__u16 zero;
};

enum mac_state {
	MAC_NONE = 0, /* somebody else's */
	MAC_OURS = 1,
	MAC_STANDBY = 2, /* a virtual router's here, and not up: another node has it now */
};

struct persist_key {
	struct addr client; /* masked */
	__u32 frontend;
	__u32 zero;
};

struct persist {
	__u32 dest;
	__u32 expires;
	__u16 incarnation;
	__u16 zero;
};

struct frag_key {
	struct addr src;
	struct addr dst;
	__u32 id;
	__u8 proto;
	__u8 zero[3];
};

struct frag {
	__be16 sport;
	__be16 dport;
};

/* An interface on top of another: where XDP really sends. */
struct vlan {
	__u32 parent;
	__be16 tci;
	__u16 zero;
};

/* An address that the kernel is to resolve, or to verify, on an interface. 24 bytes. */
struct neighbour {
	struct addr addr;
	__u32 ifindex;
	__u32 zero;
};

/* A flow of another node, and what becomes of it: see sync.c. 80 bytes. */
struct import {
	struct flow_key key; /* as the client sends */
	struct addr snat;    /* with snat_port: what the backend sees in place of the client; zero: the client */
	__be16 snat_port;
	__u16 incarnation; /* of dest */
	__u32 dest;
	__u32 age;   /* jiffies since its timeout began anew */
	__u32 lived; /* and since its first packet */
	__u8 state;
	__u8 flags; /* FLOW_FIN_FWD, FLOW_FIN_BACK; FLOW_SYNCED: the other node has it from yet another one */
	__u8 result; /* enum imported, written by the program */
	__u8 zero[5];
};

enum imported {
	IMPORT_NONE = 0, /* not looked at */
	IMPORT_MADE,
	IMPORT_CHANGED,
	IMPORT_OLDER, /* than what this node knows of it */
	IMPORT_OVER,  /* it has ended or expired */
	IMPORT_GONE,  /* its destination is */
	IMPORT_TAKEN, /* another flow has the addresses that its replies come with */
	IMPORT_FULL,  /* the table */
	IMPORT_END
};

#define SAMPLE_BYTES 128

struct sample {
	__u64 time_ns; /* CLOCK_MONOTONIC */
	__u32 ifindex;
	__u32 dest;   /* ~0: none */
	__u32 length; /* of the frame */
	__u8 verdict; /* 0 pass, 1 forwarded, 2 answered, 3 dropped */
	__u8 reason;  /* enum counter, where dropped */
	__u8 reply;
	__u8 captured;
	__u8 bytes[SAMPLE_BYTES]; /* as it came */
};

#endif

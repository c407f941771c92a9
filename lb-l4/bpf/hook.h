/* What differs between XDP and tc, and nothing else does. */
#ifndef LB_HOOK_H
#define LB_HOOK_H

#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

#include "maps.h"

#define inline_ static __always_inline
/* Verified by itself, once; keeps the paths through the program few. At most eight frames deep. */
#define function __attribute__((noinline))

/* A length of `least` to `least + mask` bytes, by arithmetic on the register that is used in the end, behind the compiler's
 * back. Older verifiers learn nothing of a comparison with another register, as the compiler makes of a range, nor of be16. */
inline_ __u32 bounded(__u32 bytes, __u32 least, __u32 mask)
{
	asm volatile("" : "+r"(bytes));
	return ((bytes - least) & mask) + least;
}

/* Beside verdicts: what is to be done next. */
enum step {
	SLOW = 100, /* from the start, the long way */
	STAND_BY,   /* for a virtual MAC that this node does not have now */
	SCHEDULE,   /* make a flow to work->frontend */
	FORWARD,    /* along work->place */
};

#ifdef HOOK_XDP

#define SECTION "xdp.frags"
typedef struct xdp_md ctx_t;

enum {
	PASS = XDP_PASS, /* untouched */
	PASS_UP = XDP_PASS, /* rewritten; the kernel forwards it */
	DROP = XDP_DROP,
};

inline_ __u32 ingress(ctx_t *ctx)
{
	return ctx->ingress_ifindex;
}

/* The kernel has compared the frame's destination with the interface's own address. */
inline_ int is_for_interface(ctx_t *ctx)
{
	(void)ctx;
	return 0;
}

/* Tags that the hardware or the kernel has taken out of the frame. */
inline_ __u32 tags_beside(ctx_t *ctx)
{
	(void)ctx;
	return 0;
}

inline_ __u32 frame_length(ctx_t *ctx)
{
	return bpf_xdp_get_buff_len(ctx);
}

/* Makes that many bytes from the start accessible, as far as the frame has them. */
inline_ void linearize(ctx_t *ctx, __u32 bytes)
{
	(void)ctx;
	(void)bytes;
}

inline_ long load(ctx_t *ctx, __u32 from, void *to, __u32 bytes)
{
	return bpf_xdp_load_bytes(ctx, from, to, bytes);
}

inline_ long store(ctx_t *ctx, __u32 to, void *from, __u32 bytes)
{
	return bpf_xdp_store_bytes(ctx, to, from, bytes);
}

/* Size of one segment on the wire, of layer 3; 0: the packet is one. */
inline_ __u32 segment(ctx_t *ctx)
{
	(void)ctx;
	return 0;
}

/* Set by the loader where an interface is a veth: XDP_TX reaches a peer only if that has a program
 * of its own (veth_xdp_flush), a redirect also one that receives by NAPI (veth_xdp_xmit). */
const volatile __u32 redirect_only;

inline_ int send(ctx_t *ctx, __u32 ifindex)
{
	if (ifindex == ctx->ingress_ifindex && !redirect_only)
		return XDP_TX;
	return bpf_redirect_map(&egress, ifindex, XDP_DROP);
}

inline_ int send_back(ctx_t *ctx)
{
	return send(ctx, ctx->ingress_ifindex);
}

/* May frames leave by that interface? */
inline_ int is_egress(ctx_t *ctx, __u32 ifindex)
{
	return (ifindex == ctx->ingress_ifindex && !redirect_only) || bpf_map_lookup_elem(&egress, &ifindex);
}

/* Room for `bytes` between layers 2 and 3. `link` holds layer 2, of `l3` bytes. */
inline_ long grow(ctx_t *ctx, __u32 bytes, int v6, __u8 *link, __u32 l3)
{
	(void)v6;
	l3 = bounded(l3, 14, 15); /* up to two tags: 22 */
	if (bpf_xdp_load_bytes(ctx, 0, link, l3))
		return -1;
	if (bpf_xdp_adjust_head(ctx, -(int)bytes))
		return -1;
	return bpf_xdp_store_bytes(ctx, 0, link, l3);
}

/* The frame is about to be overwritten but for layer 2, of `l3` bytes. Behind a packet that came as a
 * socket buffer there is no room to grow, before it there is. */
inline_ long resize(ctx_t *ctx, __u32 bytes, __u32 l3, __u32 l4)
{
	int more = (int)bytes - (int)bpf_xdp_get_buff_len(ctx);
	__u8 link[32];

	(void)l4;
	if (!bpf_xdp_adjust_tail(ctx, more))
		return 0;
	return more > 0 ? grow(ctx, more, 0, link, l3) : -1;
}

/* The one tag that the frame shall leave with (0: none), in place of `tags`. MACs are written later. */
inline_ long retag(ctx_t *ctx, __be16 tci, __u32 tags)
{
	int more = (tci ? 1 : 0) - (int)tags;
	__be16 tag[2] = {0x0081, tci}; /* 0x8100 */

	if (more && bpf_xdp_adjust_head(ctx, -4 * more))
		return -1;
	return tci ? bpf_xdp_store_bytes(ctx, 12, tag, sizeof(tag)) : 0;
}

#else

#define SECTION "classifier"
typedef struct __sk_buff ctx_t;

enum {
	PASS = -1, /* TCX_NEXT, TC_ACT_UNSPEC: whoever comes next decides */
	PASS_UP = TC_ACT_OK,
	DROP = TC_ACT_SHOT,
};

inline_ __u32 ingress(ctx_t *ctx)
{
	return ctx->ifindex;
}

inline_ int is_for_interface(ctx_t *ctx)
{
	return ctx->pkt_type == 0; /* PACKET_HOST of linux/if_packet.h */
}

inline_ __u32 tags_beside(ctx_t *ctx)
{
	return !!ctx->vlan_present;
}

inline_ __u32 frame_length(ctx_t *ctx)
{
	return ctx->len;
}

inline_ void linearize(ctx_t *ctx, __u32 bytes)
{
	bpf_skb_pull_data(ctx, bytes < ctx->len ? bytes : ctx->len);
}

inline_ long load(ctx_t *ctx, __u32 from, void *to, __u32 bytes)
{
	return bpf_skb_load_bytes(ctx, from, to, bytes);
}

inline_ long store(ctx_t *ctx, __u32 to, void *from, __u32 bytes)
{
	return bpf_skb_store_bytes(ctx, to, from, bytes, 0);
}

inline_ __u32 segment(ctx_t *ctx)
{
	return ctx->gso_size;
}

inline_ int send(ctx_t *ctx, __u32 ifindex)
{
	(void)ctx;
	return bpf_redirect(ifindex, 0);
}

inline_ int send_back(ctx_t *ctx)
{
	return bpf_redirect(ctx->ifindex, 0);
}

inline_ int is_egress(ctx_t *ctx, __u32 ifindex)
{
	(void)ctx;
	(void)ifindex;
	return 1;
}

#define SHED 128

/* What arrives may still owe its checksum (CHECKSUM_PARTIAL), which the kernel would write into
 * the new content. Pulling the start of the checksummed part out of the frame cancels the debt
 * (skb_postpull_rcsum), and changing the tail ends GSO. */
inline_ long resize(ctx_t *ctx, __u32 bytes, __u32 l3, __u32 l4)
{
	long failed = bpf_skb_change_tail(ctx, bytes + SHED, 0);

	(void)l3;
	if (failed || l4 >= SHED)
		return -1;
	return bpf_skb_adjust_room(ctx, -SHED, BPF_ADJ_ROOM_MAC, 0);
}

inline_ long grow(ctx_t *ctx, __u32 bytes, int v6, __u8 *link, __u32 l3)
{
	__u64 outer = v6 ? BPF_F_ADJ_ROOM_ENCAP_L3_IPV6 : BPF_F_ADJ_ROOM_ENCAP_L3_IPV4;

	(void)link;
	(void)l3;
	return bpf_skb_adjust_room(ctx, bytes, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO | outer);
}

/* VLAN devices tag for themselves here. */
inline_ long retag(ctx_t *ctx, __be16 tci, __u32 tags)
{
	(void)tci;
	for (__u32 i = 0; i < 3 && i < tags; i++)
		if (bpf_skb_vlan_pop(ctx))
			return -1;
	return 0;
}

#endif

/* A pointer to `bytes` of the frame from `offset`, or NULL. */
inline_ void *at(ctx_t *ctx, __u32 offset, __u32 bytes)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	void *start = data + (offset & 0x3ff);

	return start + bytes > end ? NULL : start;
}

inline_ void count(__u32 what)
{
	__u64 *counter = bpf_map_lookup_elem(&counters, &what);

	if (counter)
		*counter += 1;
}

#endif

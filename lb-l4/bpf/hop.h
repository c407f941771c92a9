/* Next hops: one look-up in the kernel's tables for many packets. */
#ifndef LB_HOP_H
#define LB_HOP_H

#include "pick.h"

#define REPLY_HOP_TICKS 4 /* replies look theirs up again after 2^4 ticks */

enum found {
	HOP_FOUND = 0,
	HOP_UP = 1,        /* the kernel may be able to do it */
	HOP_UNRESOLVED = 2, /* no neighbour yet */
	HOP_NOWHERE = 3,
	HOP_NO_EGRESS = 4,
};

inline_ __u32 tick_of(const struct settings *settings, __u32 now)
{
	return now >> settings->tick_shift;
}

/* For as long as this stays the same, a hop that was found is good. The hooks do not share them, as XDP sends by
 * the device below a VLAN's; where one takes over from the other, both run for a moment. */
inline_ __u32 hop_epoch(const struct settings *settings)
{
#ifdef HOOK_XDP
	return settings->epoch;
#else
	return ~settings->epoch;
#endif
}

/* The same for a reply's. Time and epoch both count on in one direction, so that no value comes a second time. */
inline_ __u32 reply_epoch(const struct settings *settings, __u32 now)
{
	__u32 ticks = now >> (settings->tick_shift + REPLY_HOP_TICKS);

#ifdef HOOK_XDP
	return hop_epoch(settings) + ticks;
#else
	return hop_epoch(settings) - ticks;
#endif
}

inline_ enum found found_of(long result)
{
	switch (result) {
	case BPF_FIB_LKUP_RET_SUCCESS:
		return HOP_FOUND;
	case BPF_FIB_LKUP_RET_NO_NEIGH:
		return HOP_UNRESOLVED;
	case BPF_FIB_LKUP_RET_BLACKHOLE:
	case BPF_FIB_LKUP_RET_UNREACHABLE:
	case BPF_FIB_LKUP_RET_PROHIBIT:
		return HOP_NOWHERE;
	default:
		return HOP_UP;
	}
}

/* An interface that tags: XDP sends by the one below. */
inline_ void step_below(struct hop *hop)
{
#ifdef HOOK_XDP
	__u32 ifindex = hop->ifindex;
	struct vlan *vlan = bpf_map_lookup_elem(&vlans, &ifindex);

	if (!vlan)
		return;
	hop->ifindex = vlan->parent;
	hop->vlan = vlan->tci;
#else
	(void)hop;
#endif
}

/* Is the next hop of this look-up the destination itself? */
inline_ int is_direct(const struct bpf_fib_lookup *fib, const struct addr *dst)
{
	const __u64 *hop = (const __u64 *)fib->ipv6_dst;

	if (fib->family == 2)
		return fib->ipv4_dst == dst->q[1] >> 32;
	return hop[0] == dst->q[0] && hop[1] == dst->q[1];
}

/* The control plane is to have the next hop of this look-up resolved. */
inline_ void ask_for(const struct bpf_fib_lookup *fib)
{
	struct neighbour hop = {.ifindex = fib->ifindex};
	__u32 asked = 1;

	if (fib->family == 2)
		hop.addr = mapped(fib->ipv4_dst);
	else
		__builtin_memcpy(&hop.addr, fib->ipv6_dst, 16);
	if (!bpf_map_lookup_elem(&neighbours, &hop))
		bpf_map_update_elem(&neighbours, &hop, &asked, BPF_ANY);
}

/* Fills work->hop for a packet from `src` to `dst`. What the kernel has not resolved is asked for; a client too, where
 * no router stands before it: what the kernel knows of it would grow stale, as nothing of the kernel's own goes there. */
function int find_hop(ctx_t *ctx, struct work *work, const struct addr *src, const struct addr *dst, int is_client)
{
	struct bpf_fib_lookup *fib;
	struct hop *hop;
	long result;
	int found;

	if (!work || !src || !dst)
		return HOP_NOWHERE;
	fib = &work->fib;
	hop = &work->hop;
	__builtin_memset(fib, 0, sizeof(*fib));
	fib->ifindex = ingress(ctx);
	fib->tot_len = 1; /* asks for the route's MTU */
	if (is_mapped(dst)) {
		fib->family = 2; /* AF_INET */
		fib->ipv4_src = src->q[1] >> 32;
		fib->ipv4_dst = dst->q[1] >> 32;
	} else {
		fib->family = 10; /* AF_INET6 */
		__builtin_memcpy(fib->ipv6_src, src, 16);
		__builtin_memcpy(fib->ipv6_dst, dst, 16);
	}
	result = bpf_fib_lookup(ctx, fib, sizeof(*fib), 0);
	if (result == BPF_FIB_LKUP_RET_FWD_DISABLED) {
		/* A host that does not route may still balance over its own network. */
		fib->ifindex = ingress(ctx);
		fib->tot_len = 1;
		result = bpf_fib_lookup(ctx, fib, sizeof(*fib), BPF_FIB_LOOKUP_OUTPUT);
	}
	found = found_of(result);
	if (found == HOP_UNRESOLVED || (found == HOP_FOUND && is_client && is_direct(fib, dst)))
		ask_for(fib);
	if (found != HOP_FOUND)
		return found;
	__builtin_memset(hop, 0, sizeof(*hop));
	hop->ifindex = fib->ifindex;
	hop->mtu = fib->mtu_result;
	__builtin_memcpy(hop->dmac, fib->dmac, 6);
	__builtin_memcpy(hop->smac, fib->smac, 6);
	step_below(hop);
	return is_egress(ctx, hop->ifindex) ? HOP_FOUND : HOP_NO_EGRESS;
}

inline_ int same_hop(const struct hop *a, const struct hop *b)
{
	const __u32 *x = (const __u32 *)a, *y = (const __u32 *)b;

	return x[0] == y[0] && x[1] == y[1] && x[2] == y[2] && x[3] == y[3] && x[4] == y[4];
}

inline_ void publish_hop(struct dest_hop *known, const struct hop *hop)
{
	__u32 current = known->current & 1;

	if (same_hop(&known->hops[current], hop))
		return;
	known->hops[current ^ 1] = *hop;
	known->current = current ^ 1;
}

/* Brings the hop of work->dest up to date and copies it to work->hop. */
function int dest_hop(ctx_t *ctx, struct work *work)
{
	struct settings *settings = get_settings();
	struct dest_hop *known;
	struct dest *dest;
	int found;

	if (!work || !settings || !(dest = dest_at(work->dest)))
		return HOP_NOWHERE;
	known = hops_at(work->dest);
	if (!known)
		return HOP_NOWHERE;
	work->hop = known->hops[known->current & 1];
	if (work->hop.ifindex && known->checked == tick_of(settings, work->now) && known->epoch == hop_epoch(settings))
		return HOP_FOUND;
	/* From us or from nobody: what one client's packet finds holds for those of all. */
	found = find_hop(ctx, work, &dest->tunnel_src, &dest->addr, 0);
	if (found == HOP_UNRESOLVED && work->hop.ifindex)
		found = HOP_FOUND; /* the one from before may still be right */
	if (found != HOP_FOUND)
		__builtin_memset(&work->hop, 0, sizeof(work->hop));
	publish_hop(known, &work->hop);
	known->checked = tick_of(settings, work->now);
	known->epoch = hop_epoch(settings);
	return found;
}

/* The tag that a frame with so many tags is answered with, or -1 where that cannot be said in one. */
inline_ int tag_back(ctx_t *ctx, __u32 tags)
{
#ifdef HOOK_XDP
	struct vlan_header *tag = at(ctx, ETH_HLEN - sizeof(__be16), sizeof(*tag));
	const __be16 *words = (const __be16 *)tag; /* the tag's ethertype, and the tag */

	if (!tags)
		return 0;
	return tags == 1 && words && words[0] == bpf_htons(ETH_P_8021Q) ? words[1] & bpf_htons(0x0fff) : -1;
#else
	(void)ctx;
	return tags ? -1 : 0; /* VLAN devices tag for themselves here */
#endif
}

/* Leaves in work->hop how the sender of this frame is reached without asking the kernel: as it came. */
function int note_way_back(ctx_t *ctx, struct work *work)
{
	__u16 *frame, *macs;
	int tag;

	if (!work)
		return 0;
	__builtin_memset(&work->hop, 0, sizeof(work->hop));
	tag = tag_back(ctx, work->p.tags);
	frame = at(ctx, 0, ETH_HLEN);
	if (!frame || tag < 0)
		return 0;
	if (*(__u8 *)&frame[3] & 1 || !(frame[3] | frame[4] | frame[5]))
		return 0; /* a group, or nobody */
	macs = (__u16 *)work->hop.dmac; /* and smac */
	for (__u32 i = 0; i < 3; i++) {
		macs[i] = frame[3 + i];
		macs[3 + i] = frame[i];
	}
	work->hop.ifindex = ingress(ctx);
	work->hop.vlan = tag;
	return 0;
}

/* A flow that this node was told of: its client's first packet here shows the way back. */
inline_ void learn_way_back(ctx_t *ctx, struct work *work, const struct flow *flow, __u32 place)
{
	struct flow *reply = flow_at(flow->peer);

	if (!reply || reply->peer != place)
		return;
	note_way_back(ctx, work);
	reply->hop = work->hop;
}

/* The kernel knows a route for a reply and no neighbour. The hop of before may still be right, and so may the way by
 * which the client's packet came: work->hop. */
inline_ int fall_back(ctx_t *ctx, struct work *work, const struct hop *known)
{
	__u32 mtu = 0;

	if (!known->ifindex || !is_egress(ctx, known->ifindex))
		return HOP_UNRESOLVED;
	work->hop = *known;
	if (known->mtu)
		return HOP_FOUND;
	if (bpf_check_mtu(ctx, known->ifindex, &mtu, 0, 0) < 0)
		return HOP_UNRESOLVED;
	work->hop.mtu = mtu;
	return HOP_FOUND;
}

/* The same of a reply, whose hop is in its entry. */
function int flow_hop(ctx_t *ctx, struct work *work, __u32 place)
{
	struct settings *settings = get_settings();
	struct flow *flow = flow_at(place);
	__u32 epoch;
	int found;

	if (!work || !settings || !flow)
		return HOP_NOWHERE;
	epoch = reply_epoch(settings, work->now);
	work->hop = flow->hop;
	if (flow->hop.mtu && flow->epoch == epoch)
		return HOP_FOUND;
	found = find_hop(ctx, work, &flow->new_src, &flow->new_dst, 1);
	if (found == HOP_UNRESOLVED)
		found = fall_back(ctx, work, &flow->hop);
	if (found != HOP_FOUND)
		return found;
	flow->hop = work->hop;
	flow->epoch = epoch; /* when the kernel has resolved it, there is another */
	return HOP_FOUND;
}

/* What a found hop that cannot be used means for that mode. */
inline_ int no_hop(struct work *work, int found)
{
	if (found == HOP_UNRESOLVED)
		return drop(work, DROP_NO_NEIGHBOUR);
	return drop(work, found == HOP_NO_EGRESS ? DROP_EGRESS : DROP_NO_ROUTE);
}

/* Largest packet of layer 3 that reaches the destination in one piece. */
inline_ __u32 tunnel_mtu(struct work *work, int v6)
{
	struct dest_hop *known = hops_at(work->dest);
	__u32 mtu = work->hop.mtu, outer = v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);

	if (known && known->path_mtu && !is_past(work->now, known->path_mtu_until) && known->path_mtu < mtu)
		mtu = known->path_mtu;
	return mtu > outer ? mtu - outer : 0;
}

#endif

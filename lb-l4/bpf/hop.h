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

/* The same for a reply's. */
inline_ __u32 reply_epoch(const struct settings *settings, __u32 now)
{
	return hop_epoch(settings) + (now >> (settings->tick_shift + REPLY_HOP_TICKS));
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

/* Fills work->hop for a packet from `src` to `dst`. */
function int find_hop(ctx_t *ctx, struct work *work, const struct addr *src, const struct addr *dst)
{
	struct bpf_fib_lookup *fib;
	struct hop *hop;
	long result;

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
	if (found_of(result) != HOP_FOUND)
		return found_of(result);
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
	found = find_hop(ctx, work, &dest->tunnel_src, &dest->addr);
	if (found == HOP_UNRESOLVED && work->hop.ifindex)
		return HOP_FOUND; /* the one from before may still be right */
	if (found != HOP_FOUND)
		__builtin_memset(&work->hop, 0, sizeof(work->hop));
	publish_hop(known, &work->hop);
	known->checked = tick_of(settings, work->now);
	known->epoch = hop_epoch(settings);
	return found;
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
	if (flow->hop.ifindex && flow->epoch == epoch)
		return HOP_FOUND;
	found = find_hop(ctx, work, &flow->new_src, &flow->new_dst);
	if (found == HOP_UNRESOLVED && flow->hop.ifindex)
		return HOP_FOUND;
	if (found != HOP_FOUND)
		__builtin_memset(&work->hop, 0, sizeof(work->hop));
	flow->hop = work->hop;
	flow->epoch = epoch;
	return found;
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

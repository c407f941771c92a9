/* Whom a frame is for. A segment floods what its switch has not learned yet, and a standby node that forwarded what the
 * active one forwards too would double packets.
 *
 * `macs` knows all addresses of this host. Those of settings.macs are looked at first, so that an established flow pays
 * for no look-up in a hash. The control plane chooses the factor so that each has a slot of its own; one that has none
 * is found in the map. */
#ifndef LB_MAC_H
#define LB_MAC_H

#include "pick.h"

/* An address in its upper 48 bits. An index of more than 16 bits changes the first bytes of the address: somebody who
 * sends to such a one on purpose has his frame taken, which harms nobody. */
inline_ __u64 mac_word(const struct ethhdr *eth, __u32 ifindex)
{
	return *(const __u64 *)eth << 16 ^ ifindex;
}

inline_ int is_in_slot(ctx_t *ctx, const struct settings *settings, const struct ethhdr *eth)
{
	__u64 word = mac_word(eth, ingress(ctx));

	return settings->macs[word * settings->mac_factor >> 58] == word;
}

function int look_mac_up(ctx_t *ctx)
{
	struct ethhdr *eth = at(ctx, 0, sizeof(*eth));
	struct mac_key key = {.ifindex = ingress(ctx)};
	__u32 *state;

	if (!eth || eth->h_dest[0] & 1)
		return MAC_NONE; /* a group's: every host looks at it itself */
	__builtin_memcpy(key.mac, eth->h_dest, sizeof(key.mac));
	state = bpf_map_lookup_elem(&macs, &key);
	return state ? *state : MAC_NONE;
}

/* Untouched what is somebody else's; a virtual MAC's as well, but for what the program would forward if this node had
 * it: while this node takes over, its kernel has the VIP before the program knows of the MAC, and would reset
 * connections of which it knows nothing. */
function int stand_by(ctx_t *ctx)
{
	struct work *work = get_work();

	if (!work)
		return PASS;
	begin(work);
	if (parse(ctx, &work->p) != PARSED || work->p.fragment == LATER)
		return PASS;
	if (work->p.key.proto != IPPROTO_TCP && work->p.key.proto != IPPROTO_UDP)
		return PASS;
	return flow_find(&work->p.key) || has_frontend(work) ? drop(work, DROP_STANDBY) : PASS;
}

#endif

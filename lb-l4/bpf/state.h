/* States of flows and their time. The names are conntrack's; timeouts come with the frontend. */
#ifndef LB_STATE_H
#define LB_STATE_H

#include "flow.h"

inline_ int is_active(__u8 state)
{
	return state == FLOW_ESTABLISHED || state == FLOW_UDP;
}

inline_ __u32 timeout_of(const struct frontend *frontend, __u8 state)
{
	if (state == FLOW_ESTABLISHED)
		return frontend->established;
	if (state == FLOW_SYN || state == FLOW_SYN_RECV)
		return frontend->syn;
	if (state == FLOW_CLOSED)
		return frontend->close;
	if (state == FLOW_UDP || state == FLOW_UDP_NEW)
		return frontend->udp;
	return frontend->fin;
}

inline_ void set_times(struct flow *flow, __u32 timeout, __u32 now)
{
	flow->expires = now + timeout + timeout / 8;
	flow->renew = now + timeout / 8;
}

/* The first packet of a flow has come; it may be in the middle of a connection. */
inline_ __u8 first_state(const struct packet *p)
{
	if (p->key.proto == IPPROTO_UDP)
		return FLOW_UDP_NEW;
	if (p->flags & TCP_SYN)
		return FLOW_SYN;
	/* Anybody can send one such packet, so it takes a second one to be kept. */
	return p->flags & TCP_FIN ? FLOW_FIN : FLOW_SYN_RECV;
}

/* Which sides have closed, after this packet. */
inline_ __u8 closed_sides(__u8 flags, __u8 tcp)
{
	__u8 side = flags & FLOW_REPLY ? FLOW_FIN_BACK : FLOW_FIN_FWD;

	return (flags & (FLOW_FIN_BACK | FLOW_FIN_FWD)) | (tcp & TCP_FIN ? side : 0);
}

inline_ __u8 next_tcp_state(__u8 state, __u8 closed, __u8 tcp, int reply, int one_sided)
{
	if (tcp & TCP_RST || state == FLOW_CLOSED)
		return FLOW_CLOSED;
	if (closed == (FLOW_FIN_BACK | FLOW_FIN_FWD))
		return FLOW_TIME_WAIT;
	if (closed || state == FLOW_FIN || state == FLOW_TIME_WAIT)
		return state == FLOW_TIME_WAIT ? state : FLOW_FIN;
	if (reply && state == FLOW_SYN && (tcp & (TCP_SYN | TCP_ACK)) == (TCP_SYN | TCP_ACK))
		return FLOW_SYN_RECV;
	if (!reply && !(tcp & TCP_SYN) && tcp & TCP_ACK)
		if (state == FLOW_SYN_RECV || (state == FLOW_SYN && one_sided))
			return FLOW_ESTABLISHED;
	return state;
}

/* Its packets are to be looked at from now on. */
inline_ void forget_shortcut(const struct flow *flow)
{
	struct settings *settings = get_settings();

	if (settings && !(flow->flags & FLOW_REPLY))
		shortcut_forget(&flow->key, hash_table(&flow->key, settings->flow_seed), settings);
}

inline_ void count_active(struct flow *flow)
{
	__u8 counted = is_active(flow->state) ? FLOW_COUNTED : 0;

	if ((flow->flags & FLOW_COUNTED) == counted)
		return;
	count_load(flow->dest, flow->flags, -1);
	flow->flags = (flow->flags & ~FLOW_COUNTED) | counted;
	count_load(flow->dest, flow->flags, 1);
	if (!counted)
		forget_shortcut(flow);
}

/* What one direction has learned holds for the other. */
inline_ void tell_peer(const struct flow *flow, __u32 place)
{
	const __u8 shared = FLOW_FIN_FWD | FLOW_FIN_BACK | FLOW_SYNCED;
	struct flow *peer = flow_at(flow->peer);

	if (!peer || peer->peer != place)
		return;
	peer->state = flow->state;
	peer->flags = (peer->flags & ~shared) | (flow->flags & shared);
	peer->expires = flow->expires;
	peer->renew = flow->renew;
	count_active(peer);
}

/* Other nodes should know of a change of the flow at that place. */
inline_ void mark(const struct flow *flow, __u32 place)
{
	__u32 bucket = ((flow->flags & FLOW_REPLY ? flow->peer : place) - 1) / LB_WAYS, eight = bucket / 8;
	__u8 *marked = bpf_map_lookup_elem(&marks, &eight);

	/* Once for many flows: most are marked already where nobody takes the marks away. */
	if (marked && !marked[bucket & 7])
		marked[bucket & 7] = 1;
}

/* A packet of a known flow. */
function int advance(struct work *work, __u32 place)
{
	struct flow *flow = flow_at(place);
	struct frontend *frontend;
	struct dest *dest;
	__u8 state, closed = 0;
	int is_news;
	__u32 id;

	if (!work || !flow)
		return 0;
	id = flow->dest;
	dest = bpf_map_lookup_elem(&dests, &id);
	if (!dest)
		return 0;
	id = dest->frontend;
	frontend = bpf_map_lookup_elem(&frontends, &id);
	if (!frontend)
		return 0;
	if (work->p.key.proto == IPPROTO_UDP) {
		state = FLOW_UDP;
	} else {
		closed = closed_sides(flow->flags, work->p.flags);
		state = next_tcp_state(flow->state, closed, work->p.flags, flow->flags & FLOW_REPLY, !flow->peer);
	}
	/* A side that has closed may still receive for long; only when both have, time runs out whatever comes. */
	if (state == flow->state && (state == FLOW_TIME_WAIT || !is_past(work->now, flow->renew)))
		return 0;
	is_news = state != flow->state || flow->flags & FLOW_SYNCED;
	flow->state = state;
	flow->flags = (flow->flags & ~FLOW_SYNCED) | closed;
	set_times(flow, timeout_of(frontend, state), work->now);
	count_active(flow);
	tell_peer(flow, place);
	if (is_news)
		mark(flow, place);
	return 0;
}

#endif

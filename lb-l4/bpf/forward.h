/* A packet whose flow is known, or whose destination is: out by its mode. */
#ifndef LB_FORWARD_H
#define LB_FORWARD_H

#include "answer.h"

inline_ void count_packet(const struct work *work, int reply)
{
	struct stats *stats_of = stats_at(work->dest);

	if (!stats_of)
		return;
	if (reply) {
		stats_of->packets_out++;
		stats_of->bytes_out += work->p.length;
	} else {
		stats_of->packets_in++;
		stats_of->bytes_in += work->p.length;
	}
}

/* Length of the transport header that every segment will have. */
inline_ __u32 transport_header(ctx_t *ctx, const struct packet *p)
{
	struct tcphdr *tcp = at(ctx, p->l4, sizeof(*tcp));

	return p->key.proto == IPPROTO_TCP && tcp ? tcp->doff * 4 : sizeof(struct udphdr);
}

/* Does it fit, as one packet or in the segments that it will be cut into? */
inline_ int fits(ctx_t *ctx, const struct work *work, __u32 mtu)
{
	__u32 size = segment(ctx);

	if (!size)
		return work->p.length <= mtu;
	return size + (work->p.l4 - work->p.l3) + transport_header(ctx, &work->p) <= mtu;
}

/* A first fragment tells the ports to those that follow. */
inline_ void remember_ports(const struct packet *p)
{
	struct frag_key key = {.src = p->key.src, .dst = p->key.dst, .id = p->id, .proto = p->key.proto};
	struct frag ports = {.sport = p->key.sport, .dport = p->key.dport};

	bpf_map_update_elem(&fragments, &key, &ports, BPF_ANY);
}

/* A later one learns them. */
inline_ int recall_ports(struct packet *p)
{
	struct frag_key key = {.src = p->key.src, .dst = p->key.dst, .id = p->id, .proto = p->key.proto};
	struct frag *ports = bpf_map_lookup_elem(&fragments, &key);

	if (!ports)
		return -1;
	p->key.sport = ports->sport;
	p->key.dport = ports->dport;
	return 0;
}

inline_ int rewrite(ctx_t *ctx, const struct work *work, const struct flow *flow, int ttl)
{
	const struct packet *p = &work->p;
	int udp = p->key.proto == IPPROTO_UDP, later = p->fragment == LATER;

	if (p->v6)
		return rewrite_nat(ctx, p->l3, p->l4, 1, udp, later, flow, ttl);
	return rewrite_nat(ctx, p->l3, p->l4, 0, udp, later, flow, ttl);
}

/* Rewritten, and left to the kernel's own forwarding: it resolves, routes and fragments. Replies are as a last resort:
 * over IPv4 they pass only where `accept_local` says so, and a firewall that keeps state finds them invalid. */
inline_ int pass_up(ctx_t *ctx, struct work *work, const struct flow *flow)
{
	if (rewrite(ctx, work, flow, 0))
		return drop(work, DROP_HEADROOM);
	count(COUNT_PASSED_UP);
	return PASS_UP;
}

function int forward_nat(ctx_t *ctx, struct work *work, __u32 place)
{
	struct flow *flow = flow_at(place);
	int found, reply;

	if (!work || !flow)
		return DROP;
	reply = flow->flags & FLOW_REPLY;
	found = reply ? flow_hop(ctx, work, place) : dest_hop(ctx, work);
	if (found == HOP_NOWHERE)
		return drop(work, DROP_NO_ROUTE);
	if (found == HOP_FOUND && !fits(ctx, work, work->hop.mtu)) {
		/* A reply comes from an address of this host's own, which IPv4 does not forward. Its sender can cut it. */
		if (work->p.dont_fragment || reply)
			return answer_too_big(ctx, work, work->hop.mtu);
		found = HOP_UP;
	}
	count_packet(work, reply);
	if (found != HOP_FOUND)
		return pass_up(ctx, work, flow);
	if (rewrite(ctx, work, flow, 1))
		return drop(work, DROP_HEADROOM);
	return depart(ctx, work);
}

/* dr and tunnel: to work->dest, whose answer does not come by. */
function int forward_one_way(ctx_t *ctx, struct work *work, __u32 tunnel)
{
	__u32 mtu;
	int found;

	if (!work)
		return DROP;
	found = dest_hop(ctx, work);
	if (found != HOP_FOUND)
		return no_hop(work, found);
	mtu = tunnel ? tunnel_mtu(work, work->p.v6) : work->hop.mtu;
	if (!fits(ctx, work, mtu))
		return work->p.dont_fragment ? answer_too_big(ctx, work, mtu) : drop(work, DROP_TOO_BIG);
	count_packet(work, 0);
	if (!tunnel)
		return lower_ttl(ctx, work->p.l3, work->p.v6) ? drop(work, DROP_HEADROOM) : depart(ctx, work);
	if (work->p.flags & TCP_SYN)
		clamp_mss(ctx, work, mtu);
	return encapsulate(ctx, work);
}

/* Along a flow, or (place 0) to work->dest without one. */
function int forward(ctx_t *ctx, struct work *work, __u32 place)
{
	struct dest *dest;

	if (!work || !(dest = dest_at(work->dest)))
		return DROP;
	if (work->p.ttl <= 1)
		return answer_time_exceeded(ctx, work);
	if (work->p.fragment == FIRST)
		remember_ports(&work->p);
	if (dest->mode == MODE_NAT)
		return forward_nat(ctx, work, place);
	return forward_one_way(ctx, work, dest->mode == MODE_TUNNEL);
}

#endif

/* ICMP errors: matched by the packet that they quote, translated inside and out, and delivered to
 * the side that sent it. RFC 5508 has the rules for NAT. */
#ifndef LB_ICMP_H
#define LB_ICMP_H

#include "forward.h"

#define QUOTED_TRANSPORT 8 /* bytes of it that every quotation has (RFC 792) */
#define PATH_MTU_SECONDS 600 /* RFC 1191, 6.3 */
#define MIN_MTU4 576

inline_ int is_error(const struct packet *p)
{
	if (p->v6)
		return p->type >= ICMPV6_DEST_UNREACH && p->type <= ICMPV6_PARAMPROB;
	return p->type == ICMP_DEST_UNREACH || p->type == ICMP_TIME_EXCEEDED || p->type == ICMP_PARAMETERPROB;
}

inline_ int is_too_big(ctx_t *ctx, const struct packet *p)
{
	struct icmphdr *icmp = at(ctx, p->l4, sizeof(*icmp));

	if (p->v6)
		return p->type == ICMPV6_PKT_TOOBIG;
	return icmp && p->type == ICMP_DEST_UNREACH && icmp->code == ICMP_FRAG_NEEDED;
}

inline_ __u32 given_mtu(ctx_t *ctx, const struct packet *p)
{
	struct icmphdr *icmp = at(ctx, p->l4, sizeof(*icmp));

	if (!icmp)
		return 0;
	return p->v6 ? bpf_ntohl(icmp->un.gateway) : bpf_ntohs(icmp->un.frag.mtu);
}

/* Steps over extension headers, and leaves the protocol behind them in `key`. Offset of the transport,
 * or 0: there is none, as in a fragment other than the first. */
function __u32 quoted_extensions(ctx_t *ctx, __u32 offset, struct flow_key *key)
{
	struct fragment_header *header;

	if (!key)
		return 0;
	for (int i = 0; i < MAX_EXTENSIONS && is_extension(key->proto); i++) {
		header = at(ctx, offset, sizeof(*header));
		if (!header)
			return 0;
		if (key->proto != IPPROTO_FRAGMENT)
			offset += (header->reserved + 1) * 8;
		else if (header->offset & bpf_htons(0xfff8))
			return 0;
		else
			offset += sizeof(*header);
		if (offset >= MAX_L4)
			return 0;
		key->proto = header->next;
	}
	return is_extension(key->proto) ? 0 : offset;
}

/* Addresses and protocol of a packet quoted at `offset`, into `key`. Offset of its transport, or 0. */
inline_ __u32 quoted_addresses(ctx_t *ctx, int v6, __u32 offset, struct flow_key *key)
{
	struct ipv6hdr *ip6;
	struct iphdr *ip4;

	__builtin_memset(key, 0, sizeof(*key));
	if (v6) {
		ip6 = at(ctx, offset, sizeof(*ip6));
		if (!ip6 || ip6->version != 6)
			return 0;
		__builtin_memcpy(&key->src, &ip6->saddr, 16);
		__builtin_memcpy(&key->dst, &ip6->daddr, 16);
		if (is_mapped(&key->src) || is_mapped(&key->dst))
			return 0;
		key->proto = ip6->nexthdr;
		return quoted_extensions(ctx, offset + sizeof(*ip6), key);
	}
	ip4 = at(ctx, offset, sizeof(*ip4));
	if (!ip4 || ip4->version != 4 || ip4->ihl < 5 || ip4->frag_off & IP_OFFSET)
		return 0;
	key->src = mapped(ip4->saddr);
	key->dst = mapped(ip4->daddr);
	key->proto = ip4->protocol;
	return offset + ip4->ihl * 4;
}

/* What stands behind the packet in its frame is no quotation. */
inline_ int quoted_ports(ctx_t *ctx, const struct packet *p, __u32 offset, struct flow_key *key)
{
	__be16 *ports = at(ctx, offset, QUOTED_TRANSPORT);

	if (!ports || offset + QUOTED_TRANSPORT > (__u32)p->l3 + p->length)
		return -1;
	if ( (key->proto != IPPROTO_TCP && key->proto != IPPROTO_UDP))
		return -1;
	key->sport = ports[0];
	key->dport = ports[1];
	return 0;
}

inline_ int same_addr(const struct addr *a, const struct addr *b)
{
	return a->q[0] == b->q[0] && a->q[1] == b->q[1];
}

inline_ void reverse(struct flow_key *key)
{
	struct addr src = key->src;
	__be16 sport = key->sport;

	key->src = key->dst;
	key->sport = key->dport;
	key->dst = src;
	key->dport = sport;
}

/* Place + 1 of a flow that lives. */
inline_ __u32 live_flow(struct work *work)
{
	__u32 place = flow_find(&work->key);
	struct flow *flow = flow_at(place);

	return flow && !is_past(work->now, flow->expires) ? place : 0;
}

/* The quoted packet as the receiver of the error knows it: what the flow does to a packet, backwards. */
inline_ int rewrite_quote(ctx_t *ctx, const struct packet *p, __u32 transport, const struct flow *flow)
{
	__u32 offset = p->l4 + sizeof(struct icmphdr);
	struct ipv6hdr *ip6;
	struct iphdr *ip4;
	__be16 *ports;
	__u64 *quoted;

	if (p->v6) {
		ip6 = at(ctx, offset, sizeof(*ip6));
		if (!ip6)
			return -1;
		quoted = (__u64 *)&ip6->saddr;
		quoted[0] = flow->new_dst.q[0];
		quoted[1] = flow->new_dst.q[1];
		quoted[2] = flow->new_src.q[0];
		quoted[3] = flow->new_src.q[1];
	} else {
		ip4 = at(ctx, offset, sizeof(*ip4));
		if (!ip4)
			return -1;
		ip4->saddr = flow->new_dst.q[1] >> 32;
		ip4->daddr = flow->new_src.q[1] >> 32;
		ip4->check = adjusted(ip4->check, flow->addr_delta);
	}
	ports = at(ctx, transport, QUOTED_TRANSPORT);
	if (!ports)
		return -1;
	ports[0] = flow->new_dport;
	ports[1] = flow->new_sport;
	return 0;
}

/* The header of the error itself. What changes there is in ICMPv6's checksum, and in IPv4's own. */
inline_ int rewrite_error(ctx_t *ctx, struct work *work, const struct flow *flow, int ttl)
{
	struct addr *addrs = (struct addr *)work->buffer, *src = &addrs[0], *dst = &addrs[1];
	__u32 ports = minus(flow->total_delta, flow->addr_delta);
	const struct packet *p = &work->p;
	struct icmphdr *icmp;
	struct ipv6hdr *ip6;
	struct iphdr *ip4;
	__u16 outer;

	*src = flow->flags & FLOW_REPLY ? flow->new_src : p->key.src;
	*dst = flow->new_dst;
	outer = fold((__u32)bpf_csum_diff((__be32 *)&p->key.src, 32, (__be32 *)addrs, 32, 0));
	icmp = at(ctx, p->l4, sizeof(*icmp));
	if (!icmp)
		return -1;
	/* In IPv4 the quoted header's own checksum makes up for its addresses. */
	icmp->checksum = adjusted(icmp->checksum, p->v6 ? outer + fold(ports + flow->addr_delta) : ports);
	if (p->v6) {
		ip6 = at(ctx, p->l3, sizeof(*ip6));
		if (!ip6)
			return -1;
		__builtin_memcpy(&ip6->saddr, src, 16);
		__builtin_memcpy(&ip6->daddr, dst, 16);
		ip6->hop_limit -= ttl;
		return 0;
	}
	ip4 = at(ctx, p->l3, sizeof(*ip4));
	if (!ip4)
		return -1;
	ip4->saddr = src->q[1] >> 32;
	ip4->daddr = dst->q[1] >> 32;
	ip4->ttl -= ttl;
	ip4->check = adjusted(ip4->check, outer + (ttl ? TTL_DELTA : 0));
	return 0;
}

function int forward_error_nat(ctx_t *ctx, struct work *work, __u32 place, __u32 transport)
{
	struct flow *flow = flow_at(place);
	int found, ttl;

	if (!work || !flow)
		return DROP;
	found = flow->flags & FLOW_REPLY ? flow_hop(ctx, work, place) : dest_hop(ctx, work);
	if (found == HOP_NOWHERE)
		return drop(work, DROP_NO_ROUTE);
	ttl = found == HOP_FOUND;
	if (rewrite_quote(ctx, &work->p, transport, flow) || rewrite_error(ctx, work, flow, ttl))
		return drop(work, DROP_HEADROOM);
	count_packet(work, flow->flags & FLOW_REPLY);
	count(COUNT_ICMP_FORWARDED);
	if (found == HOP_FOUND)
		return depart(ctx, work);
	count(COUNT_PASSED_UP);
	return PASS_UP;
}

/* Is it the tunnel from where the error was sent to, up to `end`? */
inline_ int is_tunnel(const struct work *work, const struct dest *dest, const struct addr *end)
{
	return dest && dest->mode == MODE_TUNNEL && same_addr(&dest->addr, end) &&
	       same_addr(&dest->tunnel_src, &work->p.key.dst);
}

/* About a packet inside a tunnel: remember the path's MTU, and tell the client (RFC 2003, 4 and 5). */
function int tunnel_error(ctx_t *ctx, struct work *work, __u32 inner)
{
	__u32 mtu, place, transport, header, bytes;
	struct settings *settings = get_settings();
	struct dest_hop *known;
	struct flow *flow;
	struct addr end;

	if (!work || !settings || !is_too_big(ctx, &work->p))
		return PASS;
	end = work->key.dst;
	transport = quoted_addresses(ctx, work->p.v6, inner, &work->key);
	if (!transport || quoted_ports(ctx, &work->p, transport, &work->key))
		return PASS;
	place = live_flow(work);
	flow = flow_at(place);
	mtu = given_mtu(ctx, &work->p);
	if (!flow || !is_tunnel(work, dest_at(flow->dest), &end) || mtu < (work->p.v6 ? MIN_MTU6 : MIN_MTU4) || mtu > 0xffff)
		return PASS;
	work->dest = flow->dest;
	known = hops_at(work->dest);
	if (!known)
		return PASS;
	known->path_mtu = mtu;
	known->path_mtu_until = work->now + PATH_MTU_SECONDS * settings->hz;
	header = work->p.v6 ? 40 : 20;
	if (find_hop(ctx, work, &work->key.dst, &work->key.src, 0) != HOP_FOUND)
		return drop(work, DROP_NO_ROUTE);
	bytes = write_error(ctx, work, inner, work->p.length - (inner - work->p.l3), &work->key,
			    work->p.v6 ? ICMPV6_PKT_TOOBIG : ICMP_DEST_UNREACH, work->p.v6 ? 0 : ICMP_FRAG_NEEDED,
			    told_mtu(&work->p, mtu - header));
	if (!bytes || replace_packet(ctx, work, bytes))
		return drop(work, DROP_HEADROOM);
	count(COUNT_ICMP_SENT);
	return depart(ctx, work);
}

function int icmp_error(ctx_t *ctx, struct work *work)
{
	__u32 offset, transport, place;
	struct flow *flow;
	struct dest *dest;

	if (!work)
		return PASS;
	offset = work->p.l4 + sizeof(struct icmphdr);
	transport = quoted_addresses(ctx, work->p.v6, offset, &work->key);
	if (!transport || !same_addr(&work->key.src, &work->p.key.dst)) /* not to who sent that */
		return PASS;
	if (work->key.proto == (work->p.v6 ? IPPROTO_IPV6 : IPPROTO_IPIP))
		return tunnel_error(ctx, work, transport);
	if (quoted_ports(ctx, &work->p, transport, &work->key))
		return PASS;
	reverse(&work->key);
	place = live_flow(work);
	flow = flow_at(place);
	if (!flow || !(dest = dest_at(flow->dest)))
		return PASS;
	work->dest = flow->dest;
	if (work->p.ttl <= 1)
		return drop(work, DROP_TTL); /* RFC 1122, 3.2.2: no error about an error */
	if (dest->mode == MODE_NAT)
		return forward_error_nat(ctx, work, place, transport);
	count(COUNT_ICMP_FORWARDED);
	return forward_one_way(ctx, work, dest->mode == MODE_TUNNEL);
}

inline_ int icmp(ctx_t *ctx, struct work *work)
{
	if (is_error(&work->p))
		return icmp_error(ctx, work);
	if (work->p.type == (work->p.v6 ? ICMPV6_ECHO_REQUEST : ICMP_ECHO) && is_vip(&work->p))
		return answer_echo(ctx, work);
	return PASS;
}

#endif

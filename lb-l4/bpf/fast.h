/* The short way: an ordinary packet of an established flow, or of nothing that is ours. Whatever is out of the ordinary, in the
 * packet or in the flow, takes the long way from the start. */
#ifndef LB_FAST_H
#define LB_FAST_H

#include "mac.h"
#include "sample.h"

/* Of an untagged frame whose IP header is the plain one. */
struct plain {
	struct flow_key key;
	__u32 length; /* of layer 3 */
	__u32 l4;
	int v6;
	int udp;
};

inline_ int is_plain_ipv4(const struct iphdr *ip)
{
	/* Version 4, five words; neither a fragment nor its first. */
	return *(const __u8 *)ip == 0x45 && !(ip->frag_off & (IP_MF | IP_OFFSET)) && ip->ttl > 1;
}

inline_ int fast_transport(const void *transport, __u32 bytes, struct plain *p)
{
	const struct tcphdr *tcp = transport;
	const struct udphdr *udp = transport;

	if (p->key.proto == IPPROTO_TCP) {
		p->udp = 0;
		if (tcp->doff < 5 || tcp->doff * 4u > bytes || ((const __u8 *)tcp)[TCP_FLAGS] & (TCP_FIN | TCP_SYN | TCP_RST))
			return -1;
	} else if (p->key.proto == IPPROTO_UDP) {
		p->udp = 1;
		if (bpf_ntohs(udp->len) < sizeof(*udp) || bpf_ntohs(udp->len) > bytes)
			return -1;
	} else {
		return -1;
	}
	*(__be32 *)&p->key.sport = *(const __be32 *)transport;
	return 0;
}

inline_ int fast_ipv4(void *data, void *end, struct plain *p)
{
	struct iphdr *ip = data + ETH_HLEN;

	if ((void *)(ip + 1) + sizeof(struct tcphdr) > end || !is_plain_ipv4(ip))
		return -1;
	p->v6 = 0;
	p->l4 = ETH_HLEN + sizeof(*ip);
	p->length = bounded(bpf_ntohs(ip->tot_len), 0, 0xffff);
	if (p->length < sizeof(*ip) + sizeof(struct udphdr) || data + ETH_HLEN + p->length > end)
		return -1;
	p->key.src = mapped(ip->saddr);
	p->key.dst = mapped(ip->daddr);
	p->key.proto = ip->protocol;
	return fast_transport(ip + 1, p->length - sizeof(*ip), p);
}

inline_ int fast_ipv6(void *data, void *end, struct plain *p)
{
	struct ipv6hdr *ip = data + ETH_HLEN;

	if ((void *)(ip + 1) + sizeof(struct tcphdr) > end || ip->version != 6 || ip->hop_limit <= 1)
		return -1;
	p->v6 = 1;
	p->l4 = ETH_HLEN + sizeof(*ip);
	p->length = bounded(bpf_ntohs(ip->payload_len), 0, 0xffff) + sizeof(*ip);
	if (p->length < sizeof(*ip) + sizeof(struct udphdr) || data + ETH_HLEN + p->length > end)
		return -1;
	__builtin_memcpy(&p->key.src, &ip->saddr, 16);
	__builtin_memcpy(&p->key.dst, &ip->daddr, 16);
	if (is_mapped(&p->key.dst))
		return -1;
	p->key.proto = ip->nexthdr;
	return fast_transport(ip + 1, p->length - sizeof(*ip), p);
}

/* NULL: look again the long way, unless `absent` says that it is in neither bucket. */
inline_ struct flow *fast_find(const struct flow_key *key, __u64 hash, int *absent)
{
	struct bucket *bucket = bucket_at(first_of(hash));
	__u32 tag = tag_of(hash), way;

	if (!bucket)
		return NULL;
	way = home_of(tag);
	if (bucket->tags[way] == tag)
		return same_key(&bucket->ways[way].key, key) ? &bucket->ways[way] : NULL;
#pragma unroll
	for (way = 0; way < LB_WAYS; way++)
		if (bucket->tags[way] == tag)
			break;
	if (way == LB_WAYS) {
		*absent = !bucket->overflow;
		return NULL;
	}
	return same_key(&bucket->ways[way & (LB_WAYS - 1)].key, key) ? &bucket->ways[way & (LB_WAYS - 1)] : NULL;
}

inline_ int is_settled(const struct flow *flow, __u32 now)
{
	return (flow->state == FLOW_ESTABLISHED || flow->state == FLOW_UDP) && !is_past(now, flow->renew);
}

inline_ int is_serving(const struct dest *dest)
{
	return dest->mode != MODE_TUNNEL && (dest->state == DEST_READY || dest->state == DEST_DRAIN);
}

inline_ const struct hop *hop_of_dest(__u32 id, const struct settings *settings, __u32 now)
{
	struct dest_hop *known = hops_at(id);

	if (!known || known->checked != tick_of(settings, now) || known->epoch != hop_epoch(settings))
		return NULL;
	return &known->hops[known->current & 1];
}

inline_ const struct hop *hop_of_reply(const struct flow *flow, const struct settings *settings, __u32 now)
{
	return flow->epoch == reply_epoch(settings, now) ? &flow->hop : NULL;
}

inline_ int is_way_out(const struct hop *hop, const struct plain *p)
{
	return hop && hop->ifindex && !hop->vlan && p->length <= hop->mtu;
}

inline_ int fast_send(ctx_t *ctx, const struct hop *hop)
{
	return write_macs(ctx, hop) ? DROP : send(ctx, hop->ifindex);
}

inline_ int fast_rewrite(ctx_t *ctx, const struct plain *p, const struct flow *flow, __u8 mode)
{
	if (mode == MODE_NAT)
		return rewrite_nat(ctx, ETH_HLEN, p->l4, p->v6, p->udp, 0, flow, 1);
	return lower_ttl(ctx, ETH_HLEN, p->v6);
}

/* What rewrite_nat() does with an entry to a client's packet without source NAT, from the destination alone. */
inline_ int rewrite_to(ctx_t *ctx, const struct plain *p, const struct dest *dest)
{
	__be32 old = p->key.dst.q[1] >> 32, address = dest->addr.q[1] >> 32;
	__be16 port = dest->port ? dest->port : p->key.dport;
	__u16 delta = fold((__u64)address + (__be32)~old);
	struct iphdr *ip;
	__be16 *ports;

	adjust_transport(ctx, p->l4 + checksum_offset(p->udp), p->udp, delta, fold((__u64)delta + port + (__be16)~p->key.dport));
	ports = at(ctx, p->l4, 2 * sizeof(*ports));
	ip = at(ctx, ETH_HLEN, sizeof(*ip));
	if (!ports || !ip)
		return -1;
	ports[1] = port;
	ip->daddr = address;
	ip->ttl--;
	ip->check = adjusted(ip->check, delta + TTL_DELTA);
	return 0;
}

inline_ int by_shortcut(ctx_t *ctx, const struct plain *p, __u64 rest, const struct settings *settings, __u32 now)
{
	__u32 id = shortcut_dest(rest);
	struct dest *dest = dest_at(id);
	const struct hop *hop;
	struct stats *counted;

	if (!dest || !is_incarnation(rest, dest->incarnation) || !is_serving(dest) || segment(ctx))
		return SLOW;
	hop = hop_of_dest(id, settings, now);
	counted = stats_at(id);
	if (!counted || !is_way_out(hop, p))
		return SLOW;
	counted->packets_in++;
	counted->bytes_in += p->length;
	if (dest->mode == MODE_NAT ? rewrite_to(ctx, p, dest) : lower_ttl(ctx, ETH_HLEN, 0))
		return DROP;
	return fast_send(ctx, hop);
}

/* The next packets of this flow need not look at it before the term ends. */
inline_ int may_be_cut_short(const struct flow *flow, const struct settings *settings, __u32 now)
{
	return !(flow->flags & FLOW_SNAT) && !is_past(end_of_term(settings, now), flow->renew);
}

inline_ int by_flow(ctx_t *ctx, const struct plain *p, const struct shortcut_query *query, __u64 hash,
		    const struct settings *settings, __u32 now)
{
	const struct hop *hop;
	struct stats *counted;
	struct dest *dest;
	struct flow *flow;
	int absent = 0;
	__u32 id;

	flow = fast_find(&p->key, hash, &absent);
	if (absent && !is_vip_bit(settings, &p->key.dst))
		return PASS; /* ssh, layer 7, what is routed through */
	if (!flow || !is_settled(flow, now) || segment(ctx))
		return SLOW;
	id = flow->dest;
	dest = dest_at(id);
	if (!dest || dest->incarnation != flow->incarnation || !is_serving(dest))
		return SLOW;
	hop = flow->flags & FLOW_REPLY ? hop_of_reply(flow, settings, now) : hop_of_dest(id, settings, now);
	counted = stats_at(id);
	if (!counted || !is_way_out(hop, p))
		return SLOW;
	if (flow->flags & FLOW_REPLY) {
		counted->packets_out++;
		counted->bytes_out += p->length;
	} else {
		counted->packets_in++;
		counted->bytes_in += p->length;
		if (!p->v6 && may_be_cut_short(flow, settings, now))
			shortcut_make(query, id, flow->incarnation);
	}
	return fast_rewrite(ctx, p, flow, dest->mode) ? DROP : fast_send(ctx, hop);
}

inline_ int fast_forward(ctx_t *ctx, const struct plain *p, const struct settings *settings)
{
	__u64 hash = hash_table(&p->key, settings->flow_seed), rest;
	__u32 now = bpf_jiffies64();
	struct shortcut_query query = shortcut_query(&p->key, hash, settings, now);

	rest = p->v6 ? 0 : shortcut_find(&query);
	return rest ? by_shortcut(ctx, p, rest, settings, now) : by_flow(ctx, p, &query, hash, settings, now);
}

inline_ int is_for_us(ctx_t *ctx, const struct settings *settings, const struct ethhdr *eth, int *verdict)
{
	int state;

	if (is_for_interface(ctx) || is_in_slot(ctx, settings, eth))
		return 1;
	state = look_mac_up(ctx);
	*verdict = state == MAC_STANDBY ? STAND_BY : PASS;
	return state == MAC_OURS;
}

inline_ int fast(ctx_t *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct settings *settings = get_settings();
	struct ethhdr *eth = data;
	struct plain p = {};
	int verdict = PASS;

	if (!settings || data + sizeof(*eth) > end)
		return PASS;
	if (!is_for_us(ctx, settings, eth, &verdict))
		return verdict;
	if (settings->sample_mask != ~0u || tags_beside(ctx))
		return SLOW;
	if (eth->h_proto == bpf_htons(ETH_P_IP)) {
		if (fast_ipv4(data, end, &p))
			return SLOW;
		return fast_forward(ctx, &p, settings);
	}
	if (eth->h_proto == bpf_htons(ETH_P_IPV6)) {
		if (fast_ipv6(data, end, &p))
			return SLOW;
		return fast_forward(ctx, &p, settings);
	}
	return SLOW;
}

#endif

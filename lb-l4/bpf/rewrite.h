/* Changes to a packet on its way: addresses, ports, checksums, TTL, MACs, tags, and encapsulation. */
#ifndef LB_REWRITE_H
#define LB_REWRITE_H

#include "hop.h"

#define TUNNEL_TTL 64
#define TTL_DELTA ((__u16)~bpf_htons(0x0100)) /* one less in the high byte of a word */

/* A checksum over data that has grown by `delta` (RFC 1624, equation 3). */
inline_ __u16 adjusted(__u16 check, __u32 delta)
{
	__u32 sum = (__u16)~check + delta;

	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

inline_ __u32 minus(__u16 total, __u16 part)
{
	return fold((__u32)total + (__u16)~part);
}

#ifdef HOOK_XDP
inline_ void adjust_transport(ctx_t *ctx, __u32 offset, int udp, __u16 addresses, __u16 total)
{
	__u16 *check = at(ctx, offset, sizeof(*check)), sum;

	(void)addresses;
	if (!check || (udp && !*check)) /* there is none (RFC 768, RFC 6935) */
		return;
	sum = adjusted(*check, total);
	*check = udp && !sum ? 0xffff : sum;
}
#else
/* The checksum may still be the device's to make; then only the addresses are in it (CHECKSUM_PARTIAL). */
inline_ void adjust_transport(ctx_t *ctx, __u32 offset, int udp, __u16 addresses, __u16 total)
{
	__u64 zero = udp ? BPF_F_MARK_MANGLED_0 : 0;
	__u16 *check = at(ctx, offset, sizeof(*check));

	if (!check || (udp && !*check))
		return;
	bpf_l4_csum_replace(ctx, offset, 0, addresses, BPF_F_PSEUDO_HDR | zero);
	bpf_l4_csum_replace(ctx, offset, 0, minus(total, addresses), zero);
}
#endif

inline_ __u32 checksum_offset(int udp)
{
	return udp ? offsetof(struct udphdr, check) : offsetof(struct tcphdr, check);
}

inline_ void write_ipv4(struct iphdr *ip, const struct flow *flow, int ttl)
{
	ip->saddr = flow->new_src.q[1] >> 32;
	ip->daddr = flow->new_dst.q[1] >> 32;
	ip->ttl -= ttl;
	ip->check = adjusted(ip->check, flow->addr_delta + (ttl ? TTL_DELTA : 0));
}

inline_ void write_ipv6(struct ipv6hdr *ip, const struct flow *flow, int ttl)
{
	__u64 *addresses = (__u64 *)&ip->saddr;

	addresses[0] = flow->new_src.q[0];
	addresses[1] = flow->new_src.q[1];
	addresses[2] = flow->new_dst.q[0];
	addresses[3] = flow->new_dst.q[1];
	ip->hop_limit -= ttl;
}

/* Addresses, ports and checksums as the flow says; `ttl` is what is taken from the TTL (0 or 1).
 * A later fragment has no transport header. Inlined with constants on the fast path. */
inline_ int rewrite_nat(ctx_t *ctx, __u32 l3, __u32 l4, int v6, int udp, int later, const struct flow *flow, int ttl)
{
	__be32 *ports;
	void *ip;

	if (!later) {
		adjust_transport(ctx, l4 + checksum_offset(udp), udp, flow->addr_delta, flow->total_delta);
		ports = at(ctx, l4, sizeof(*ports));
		if (!ports)
			return -1;
		*ports = *(const __be32 *)&flow->new_sport;
	}
	ip = at(ctx, l3, v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));
	if (!ip)
		return -1;
	if (v6)
		write_ipv6(ip, flow, ttl);
	else
		write_ipv4(ip, flow, ttl);
	return 0;
}

inline_ int lower_ttl(ctx_t *ctx, __u32 l3, int v6)
{
	struct ipv6hdr *ip6;
	struct iphdr *ip4;

	if (v6) {
		ip6 = at(ctx, l3, sizeof(*ip6));
		if (!ip6)
			return -1;
		ip6->hop_limit--;
		return 0;
	}
	ip4 = at(ctx, l3, sizeof(*ip4));
	if (!ip4)
		return -1;
	ip4->ttl--;
	ip4->check = adjusted(ip4->check, TTL_DELTA);
	return 0;
}

inline_ int write_macs(ctx_t *ctx, const struct hop *hop)
{
	__u32 *frame = at(ctx, 0, ETH_HLEN);
	const __u32 *macs = (const __u32 *)hop->dmac;

	if (!frame)
		return -1;
	frame[0] = macs[0];
	frame[1] = macs[1];
	frame[2] = macs[2];
	return 0;
}

/* The frame leaves with the tag of its hop; without one it keeps its own where it came in. */
inline_ long fit_tags(ctx_t *ctx, const struct work *work)
{
	if (work->hop.vlan || (work->p.tags && work->hop.ifindex != ingress(ctx)))
		return retag(ctx, work->hop.vlan, work->p.tags);
	return 0;
}

/* Everything about layer 3 is done. */
function int depart(ctx_t *ctx, struct work *work)
{
	if (!work || fit_tags(ctx, work) || write_macs(ctx, &work->hop))
		return work ? drop(work, DROP_HEADROOM) : DROP;
	return send(ctx, work->hop.ifindex);
}

/* Internet checksum over what is in work->buffer, from an even offset; bytes behind `bytes` are 0. */
inline_ __u16 checksum(const void *from, __u32 bytes, __u64 sum)
{
	return ~fold((__u32)bpf_csum_diff(0, 0, (__be32 *)from, bytes, 0) + sum);
}

inline_ void write_outer_ipv4(struct iphdr *outer, const struct work *work, const struct dest *dest)
{
	outer->version = 4;
	outer->ihl = 5;
	outer->tos = work->p.tos;
	outer->tot_len = bpf_htons(work->p.length + sizeof(*outer));
	outer->frag_off = IP_DF;
	outer->ttl = TUNNEL_TTL;
	outer->protocol = IPPROTO_IPIP;
	outer->saddr = dest->tunnel_src.q[1] >> 32;
	outer->daddr = dest->addr.q[1] >> 32;
	outer->check = checksum(outer, sizeof(*outer), 0);
}

inline_ void write_outer_ipv6(struct ipv6hdr *outer, const struct work *work, const struct dest *dest, __be32 inner)
{
	*(__be32 *)outer = inner; /* version, traffic class, flow label */
	outer->payload_len = bpf_htons(work->p.length);
	outer->nexthdr = IPPROTO_IPV6;
	outer->hop_limit = TUNNEL_TTL;
	__builtin_memcpy(&outer->saddr, &dest->tunnel_src, 16);
	__builtin_memcpy(&outer->daddr, &dest->addr, 16);
}

/* An outer header in front (RFC 2003, RFC 2473), and away to work->dest. */
function int encapsulate(ctx_t *ctx, struct work *work)
{
	struct dest *dest;
	__be32 *first;
	__u32 l3;

	if (!work || !(dest = dest_at(work->dest)))
		return DROP;
	l3 = work->p.l3;
	first = at(ctx, l3, sizeof(*first));
	if (!first || lower_ttl(ctx, l3, work->p.v6))
		return drop(work, DROP_HEADROOM);
	first = at(ctx, l3, sizeof(*first));
	if (!first)
		return drop(work, DROP_HEADROOM);
	__builtin_memset(work->buffer, 0, 64);
	if (work->p.v6)
		write_outer_ipv6((void *)work->buffer, work, dest, *first);
	else
		write_outer_ipv4((void *)work->buffer, work, dest);
	if (grow(ctx, work->p.v6 ? 40 : 20, work->p.v6, work->buffer + 64, l3))
		return drop(work, DROP_HEADROOM);
	if (work->p.v6 ? store(ctx, l3, work->buffer, 40) : store(ctx, l3, work->buffer, 20))
		return drop(work, DROP_HEADROOM);
	return depart(ctx, work);
}

#define TCP_OPTIONS 20 /* offset of the options in the header */
#define MSS_KIND 2

/* Offset of the value of the maximum segment size option of a SYN; 0: there is none. */
inline_ __u32 find_mss(ctx_t *ctx, __u32 l4)
{
	struct tcphdr *tcp = at(ctx, l4, sizeof(*tcp));
	__u32 end, offset = TCP_OPTIONS;
	__u8 *option;

	if (!tcp)
		return 0;
	end = tcp->doff * 4;
	for (int i = 0; i < 10 && offset + 4 <= end; i++) {
		option = at(ctx, l4 + offset, 4);
		if (!option || option[0] == 0)
			return 0;
		if (option[0] == MSS_KIND && option[1] == 4)
			return l4 + offset + 2;
		if (option[0] == 1)
			offset += 1;
		else if (option[1] < 2)
			return 0;
		else
			offset += option[1];
	}
	return 0;
}

/* Segments of that size fit into the tunnel. */
function int clamp_mss(ctx_t *ctx, struct work *work, __u32 mtu)
{
	__u32 offset, mss, old, check, delta;
	__be16 *value;

	if (!work)
		return 0;
	mss = mtu - (work->p.v6 ? 60 : 40);
	offset = find_mss(ctx, work->p.l4);
	value = offset ? at(ctx, offset, sizeof(*value)) : NULL;
	if (!value || mtu < 100 || bpf_ntohs(*value) <= mss)
		return 0;
	old = *value;
	*value = bpf_htons(mss);
	delta = fold((__u32)bpf_htons(mss) + (__u16)~old);
	if ((offset - work->p.l4) & 1) /* the words of the sum straddle it */
		delta = (delta >> 8 | delta << 8) & 0xffff;
	check = work->p.l4 + offsetof(struct tcphdr, check);
	adjust_transport(ctx, check, 0, 0, delta);
	return 0;
}

#endif

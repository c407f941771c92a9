/* Packets that lb makes itself, out of the one that came: ICMP errors, resets, echo replies. */
#ifndef LB_ANSWER_H
#define LB_ANSWER_H

#include "rewrite.h"

#define ANSWER_TTL 64
#define MIN_MTU6 1280
#define QUOTE4 128 /* RFC 1812, 4.3.2.3: as much as is reasonable */
#define QUOTE6 224 /* RFC 4443, 2.4 (c): at most 1,280 with all headers */

inline_ __u8 *transport_of(struct work *work)
{
	return work->buffer + (work->p.v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));
}

/* Header of an answer with `bytes` behind it. */
inline_ void write_ip(struct work *work, const struct addr *src, const struct addr *dst, __u8 proto, __u32 bytes)
{
	struct ipv6hdr *ip6 = (void *)work->buffer;
	struct iphdr *ip4 = (void *)work->buffer;

	if (work->p.v6) {
		ip6->version = 6;
		ip6->payload_len = bpf_htons(bytes);
		ip6->nexthdr = proto;
		ip6->hop_limit = ANSWER_TTL;
		__builtin_memcpy(&ip6->saddr, src, 16);
		__builtin_memcpy(&ip6->daddr, dst, 16);
		return;
	}
	ip4->version = 4;
	ip4->ihl = 5;
	ip4->tot_len = bpf_htons(sizeof(*ip4) + bytes);
	ip4->frag_off = IP_DF;
	ip4->ttl = ANSWER_TTL;
	ip4->protocol = proto;
	ip4->saddr = src->q[1] >> 32;
	ip4->daddr = dst->q[1] >> 32;
	ip4->check = checksum(ip4, sizeof(*ip4), 0);
}

/* Sum of the pseudo-header (RFC 9293, 3.1; RFC 8200, 8.1). The mapped prefix of IPv4 is taken off again. */
inline_ __u64 pseudo(const struct addr *src, const struct addr *dst, __u8 proto, __u32 bytes, int v6)
{
	__u64 sum = (__u32)bpf_csum_diff(0, 0, (__be32 *)src, 16, 0);

	sum += (__u32)bpf_csum_diff(0, 0, (__be32 *)dst, 16, 0);
	sum += bpf_htons(bytes) + bpf_htons(proto);
	return v6 ? sum : sum + 2 * (__u16)~0xffff;
}

/* The largest answer is one about a packet of IPv6. */
_Static_assert(sizeof(struct ipv6hdr) + sizeof(struct icmphdr) + QUOTE6 <= sizeof(struct iphdr) + 255, "replace_packet()");

/* work->buffer becomes layer 3 of the frame. */
inline_ int replace_packet(ctx_t *ctx, struct work *work, __u32 bytes)
{
	__u32 l3 = work->p.l3;

	bytes = bounded(bytes, sizeof(struct iphdr), 255);
	if (resize(ctx, l3 + bytes, l3, work->p.l4))
		return -1;
	return store(ctx, l3, work->buffer, bytes);
}

inline_ int swap_macs(ctx_t *ctx)
{
	struct ethhdr *eth = at(ctx, 0, sizeof(*eth));
	__u8 mac[ETH_ALEN];

	if (!eth)
		return -1;
	__builtin_memcpy(mac, eth->h_dest, ETH_ALEN);
	__builtin_memcpy(eth->h_dest, eth->h_source, ETH_ALEN);
	__builtin_memcpy(eth->h_source, mac, ETH_ALEN);
	return 0;
}

/* An ICMP error about the packet at `from` in the frame, of `length` bytes, in work->buffer. Its size, or 0. */
inline_ __u32 write_error(ctx_t *ctx, struct work *work, __u32 from, __u32 length, const struct flow_key *key, __u8 type, __u8 code,
			  __u32 mtu)
{
	__u32 header = work->p.v6 ? 40 : 20, most = work->p.v6 ? QUOTE6 : QUOTE4;
	__u32 quote = bounded(length < most ? length : most, 1, 255);
	struct icmphdr *icmp;
	__u64 sum = 0;

	__builtin_memset(work->buffer, 0, sizeof(work->buffer));
	if (length < 8 || load(ctx, from, work->buffer + header + 8, quote))
		return 0;
	icmp = (void *)transport_of(work);
	icmp->type = type;
	icmp->code = code;
	if (work->p.v6) {
		icmp->un.gateway = bpf_htonl(mtu); /* RFC 4443, 3.2 */
		sum = pseudo(&key->dst, &key->src, IPPROTO_ICMPV6, 8 + quote, 1);
		icmp->checksum = checksum(icmp, 8 + QUOTE6, sum);
	} else {
		icmp->un.frag.mtu = bpf_htons(mtu); /* RFC 1191, 4 */
		icmp->checksum = checksum(icmp, 8 + QUOTE4, 0);
	}
	write_ip(work, &key->dst, &key->src, work->p.v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP, 8 + quote);
	return header + 8 + quote;
}

inline_ int is_icmp(const struct packet *p)
{
	return p->key.proto != IPPROTO_TCP && p->key.proto != IPPROTO_UDP;
}

/* Tells the sender of this packet, and drops it. */
function int answer_error(ctx_t *ctx, struct work *work, __u32 what, __u32 mtu, __u32 why)
{
	__u32 bytes;

	if (!work)
		return DROP;
	/* RFC 1122, 3.2.2: none about an error, nor about a fragment other than the first. */
	if (is_icmp(&work->p) || (work->p.fragment == LATER && !work->p.v6))
		return drop(work, why);
	drop(work, why);
	if (!may_answer(work))
		return DROP;
	bytes = write_error(ctx, work, work->p.l3, work->p.length, &work->p.key, what >> 8, what, mtu);
	if (!bytes || replace_packet(ctx, work, bytes) || swap_macs(ctx))
		return DROP;
	count(COUNT_ICMP_SENT);
	return send_back(ctx);
}

inline_ int answer_time_exceeded(ctx_t *ctx, struct work *work)
{
	__u32 what = work->p.v6 ? ICMPV6_TIME_EXCEED << 8 : ICMP_TIME_EXCEEDED << 8;

	return answer_error(ctx, work, what, 0, DROP_TTL);
}

/* Nobody is told to send less than IPv6 has to carry (RFC 8200, 5): he would not heed it (RFC 8201, 4). What a tunnel
 * leaves of the least MTU is less; there only the segment size of new connections helps, see clamp_mss(). */
inline_ __u32 told_mtu(const struct packet *p, __u32 mtu)
{
	return p->v6 && mtu < MIN_MTU6 ? MIN_MTU6 : mtu;
}

inline_ int answer_too_big(ctx_t *ctx, struct work *work, __u32 mtu)
{
	__u32 what = work->p.v6 ? ICMPV6_PKT_TOOBIG << 8 : ICMP_DEST_UNREACH << 8 | ICMP_FRAG_NEEDED;

	return answer_error(ctx, work, what, told_mtu(&work->p, mtu), DROP_TOO_BIG);
}

/* RFC 9293, 3.10.7.1: the answer to a segment that belongs to no connection. */
inline_ void write_reset(const struct tcphdr *came, struct tcphdr *reset, __u32 segment)
{
	reset->source = came->dest;
	reset->dest = came->source;
	reset->doff = 5;
	reset->rst = 1;
	if (came->ack) {
		reset->seq = came->ack_seq;
		return;
	}
	reset->ack = 1;
	reset->ack_seq = bpf_htonl(bpf_ntohl(came->seq) + segment);
}

/* Ends the client's connection. */
function int answer_reset(ctx_t *ctx, struct work *work)
{
	__u32 segment, header;
	struct tcphdr *reset;
	struct flow_key *key;
	struct tcphdr *came;
	__u64 sum;

	if (!work || !may_answer(work) || !(came = at(ctx, work->p.l4, sizeof(*came))))
		return DROP;
	key = &work->p.key;
	header = work->p.v6 ? 40 : 20;
	segment = work->p.length - (work->p.l4 - work->p.l3) - came->doff * 4 + came->syn + came->fin;
	__builtin_memset(work->buffer, 0, 80);
	reset = (void *)transport_of(work);
	write_reset(came, reset, segment);
	sum = pseudo(&key->dst, &key->src, IPPROTO_TCP, sizeof(*reset), work->p.v6);
	reset->check = checksum(reset, sizeof(*reset), sum);
	write_ip(work, &key->dst, &key->src, IPPROTO_TCP, sizeof(*reset));
	if (replace_packet(ctx, work, header + sizeof(*reset)) || swap_macs(ctx))
		return DROP;
	count(COUNT_RESET_SENT);
	return send_back(ctx);
}

/* The header of the answer to a packet that stays where it is. */
inline_ int turn_ip(ctx_t *ctx, const struct packet *p)
{
	struct ipv6hdr *ip6;
	struct iphdr *ip4;

	if (p->v6) {
		ip6 = at(ctx, p->l3, sizeof(*ip6));
		if (!ip6)
			return -1;
		__builtin_memcpy(&ip6->saddr, &p->key.dst, 16);
		__builtin_memcpy(&ip6->daddr, &p->key.src, 16);
		ip6->hop_limit = ANSWER_TTL;
		return 0;
	}
	ip4 = at(ctx, p->l3, sizeof(*ip4));
	if (!ip4)
		return -1;
	ip4->saddr = p->key.dst.q[1] >> 32;
	ip4->daddr = p->key.src.q[1] >> 32;
	ip4->check = adjusted(ip4->check, (__u16)~bpf_htons(ip4->ttl << 8) + bpf_htons(ANSWER_TTL << 8));
	ip4->ttl = ANSWER_TTL;
	return 0;
}

/* Turns an echo request round where it stands. */
function int answer_echo(ctx_t *ctx, struct work *work)
{
	struct icmphdr *icmp;

	if (!work)
		return DROP;
	icmp = at(ctx, work->p.l4, sizeof(*icmp));
	if (!icmp)
		return PASS;
	/* The type is the high byte of its word: 8 becomes 0, 128 becomes 129. */
	icmp->type = work->p.v6 ? ICMPV6_ECHO_REPLY : ICMP_ECHOREPLY;
	icmp->checksum = adjusted(icmp->checksum, work->p.v6 ? bpf_htons(0x0100) : (__u16)~bpf_htons(0x0800));
	if (!icmp->checksum) /* minus zero is right for any message, zero is not for one of zeroes (RFC 1624, 3) */
		icmp->checksum = 0xffff;
	if (turn_ip(ctx, &work->p) || swap_macs(ctx))
		return DROP;
	count(COUNT_ECHO);
	return send_back(ctx);
}

#endif

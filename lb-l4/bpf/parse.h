/* From a frame to a struct packet: any layout that lb knows. */
#ifndef LB_PARSE_H
#define LB_PARSE_H

#include <stddef.h>
#include <linux/icmpv6.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>

#include "hash.h"

#define IP_DF bpf_htons(0x4000)
#define IP_MF bpf_htons(0x2000)
#define IP_OFFSET bpf_htons(0x1fff)

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10
#define TCP_FLAGS 13 /* offset of the flags in the header */

#define MAX_EXTENSIONS 6
/* Furthest start of a transport header: Ethernet, two tags, IPv6 and its extensions. */
#define MAX_L4 0x3a0

/* linux/icmp.h wants the C library. RFC 792. */
struct icmphdr {
	__u8 type;
	__u8 code;
	__u16 checksum;
	union {
		__be32 gateway;
		struct {
			__be16 unused;
			__be16 mtu;
		} frag;
	} un;
};

enum icmp_type {
	ICMP_ECHOREPLY = 0,
	ICMP_DEST_UNREACH = 3,
	ICMP_ECHO = 8,
	ICMP_TIME_EXCEEDED = 11,
	ICMP_PARAMETERPROB = 12,
};

#define ICMP_FRAG_NEEDED 4 /* code of ICMP_DEST_UNREACH */

enum fragment {
	WHOLE = 0,
	FIRST = 1, /* has the ports */
	LATER = 2,
};

/* A packet as it came. */
struct packet {
	struct flow_key key; /* of ICMP: ports 0 */
	__u16 l3;
	__u16 l4;
	__u16 length; /* of layer 3, by its own header */
	__u32 id;     /* of fragments */
	__u8 v6;
	__u8 tags;
	__u8 fragment;
	__u8 ttl;
	__u8 flags; /* TCP */
	__u8 type;  /* ICMP */
	__u8 dont_fragment;
	__u8 tos;
};

enum parsed {
	PARSED = 0,
	UNKNOWN = 1,   /* not ours to judge */
	TRUNCATED = 2, /* ours, if the address is */
};

struct vlan_header {
	__be16 tci;
	__be16 proto;
};

inline_ struct addr mapped(__be32 v4)
{
	/* ::ffff:a.b.c.d */
	return (struct addr){.q = {0, (__u64)v4 << 32 | 0xffff0000u}};
}

inline_ int is_tag(__be16 proto)
{
	return proto == bpf_htons(ETH_P_8021Q) || proto == bpf_htons(ETH_P_8021AD);
}

/* Ethernet and tags; the ethertype behind them, or 0. */
inline_ __be16 parse_link(ctx_t *ctx, struct packet *p)
{
	struct ethhdr *eth = at(ctx, 0, sizeof(*eth));
	struct vlan_header *tag;
	__be16 proto;

	if (!eth)
		return 0;
	proto = eth->h_proto;
	p->l3 = sizeof(*eth);
	p->tags = tags_beside(ctx);
	for (int i = 0; i < 2 && is_tag(proto); i++) {
		tag = at(ctx, p->l3, sizeof(*tag));
		if (!tag)
			return 0;
		proto = tag->proto;
		p->l3 += sizeof(*tag);
		p->tags++;
	}
	return proto;
}

inline_ enum parsed parse_ipv4(ctx_t *ctx, struct packet *p)
{
	struct iphdr *ip = at(ctx, p->l3, sizeof(*ip));
	__u32 header;

	if (!ip || ip->version != 4 || ip->ihl < 5)
		return UNKNOWN;
	header = ip->ihl * 4;
	p->v6 = 0;
	p->length = bpf_ntohs(ip->tot_len);
	p->l4 = p->l3 + header;
	p->ttl = ip->ttl;
	p->tos = ip->tos;
	p->id = ip->id;
	p->dont_fragment = !!(ip->frag_off & IP_DF);
	p->fragment = ip->frag_off & IP_OFFSET ? LATER : ip->frag_off & IP_MF ? FIRST : WHOLE;
	p->key.src = mapped(ip->saddr);
	p->key.dst = mapped(ip->daddr);
	p->key.proto = ip->protocol;
	return p->length < header ? UNKNOWN : PARSED;
}

inline_ int is_extension(__u8 proto)
{
	return proto == IPPROTO_HOPOPTS || proto == IPPROTO_ROUTING || proto == IPPROTO_DSTOPTS || proto == IPPROTO_FRAGMENT;
}

struct fragment_header {
	__u8 next;
	__u8 reserved;
	__be16 offset; /* in units of 8 bytes, above 3 bits of flags */
	__be32 id;
};

/* Steps over one extension header (RFC 8200, section 4). */
inline_ enum parsed parse_extension(ctx_t *ctx, struct packet *p)
{
	struct fragment_header *header = at(ctx, p->l4, sizeof(*header));
	__u8 proto = p->key.proto;

	if (!header)
		return UNKNOWN;
	p->key.proto = header->next;
	if (proto != IPPROTO_FRAGMENT) {
		p->l4 += (header->reserved + 1) * 8;
		return p->l4 < MAX_L4 ? PARSED : UNKNOWN;
	}
	p->l4 += sizeof(*header);
	p->id = header->id;
	if (header->offset & bpf_htons(0xfff8))
		p->fragment = LATER;
	else if (header->offset & bpf_htons(1))
		p->fragment = FIRST;
	return p->l4 < MAX_L4 ? PARSED : UNKNOWN;
}

inline_ enum parsed parse_ipv6(ctx_t *ctx, struct packet *p)
{
	struct ipv6hdr *ip = at(ctx, p->l3, sizeof(*ip));

	if (!ip || ip->version != 6)
		return UNKNOWN;
	if (bpf_ntohs(ip->payload_len) > 0xffff - sizeof(*ip))
		return UNKNOWN;
	p->v6 = 1;
	p->length = bpf_ntohs(ip->payload_len) + sizeof(*ip);
	p->l4 = p->l3 + sizeof(*ip);
	p->ttl = ip->hop_limit;
	p->tos = ip->priority << 4 | ip->flow_lbl[0] >> 4;
	p->dont_fragment = 1;
	p->fragment = WHOLE;
	__builtin_memcpy(&p->key.src, &ip->saddr, sizeof(p->key.src));
	__builtin_memcpy(&p->key.dst, &ip->daddr, sizeof(p->key.dst));
	if (is_mapped(&p->key.src) || is_mapped(&p->key.dst))
		return UNKNOWN; /* or it would pass for IPv4 */
	p->key.proto = ip->nexthdr;
	for (int i = 0; i < MAX_EXTENSIONS && p->fragment != LATER; i++) {
		if (!is_extension(p->key.proto))
			break;
		if (parse_extension(ctx, p) != PARSED)
			return UNKNOWN;
	}
	return p->l4 - p->l3 > p->length ? UNKNOWN : PARSED;
}

inline_ enum parsed parse_tcp(ctx_t *ctx, struct packet *p, __u32 left)
{
	struct tcphdr *tcp = at(ctx, p->l4, sizeof(*tcp));

	if (!tcp || left < sizeof(*tcp))
		return TRUNCATED;
	if (tcp->doff < 5 || tcp->doff * 4u > left)
		return TRUNCATED;
	p->flags = ((__u8 *)tcp)[TCP_FLAGS];
	p->key.sport = tcp->source;
	p->key.dport = tcp->dest;
	return PARSED;
}

inline_ enum parsed parse_udp(ctx_t *ctx, struct packet *p, __u32 left)
{
	struct udphdr *udp = at(ctx, p->l4, sizeof(*udp));

	if (!udp || left < sizeof(*udp) || bpf_ntohs(udp->len) < sizeof(*udp))
		return TRUNCATED;
	if (p->fragment == WHOLE && bpf_ntohs(udp->len) > left)
		return TRUNCATED;
	p->key.sport = udp->source;
	p->key.dport = udp->dest;
	return PARSED;
}

inline_ enum parsed parse_icmp(ctx_t *ctx, struct packet *p, __u32 left)
{
	struct icmphdr *icmp = at(ctx, p->l4, sizeof(*icmp));

	if (!icmp || left < sizeof(*icmp) || p->fragment != WHOLE)
		return UNKNOWN;
	p->type = icmp->type;
	return PARSED;
}

/* Nobody may forward what says that it comes from there: this network, loopback, multicast, broadcast. The kernel
 * drops it as martian (RFC 1122, 3.2.1.3). */
inline_ int is_nobody4(const struct addr *addr)
{
	__u32 v4 = bpf_ntohl(addr->q[1] >> 32);

	return v4 >> 24 == 0 || v4 >> 24 == 127 || v4 >> 28 == 0xe || v4 == ~0u;
}

/* Unspecified, loopback, link-local, multicast (RFC 4291, 2.5 to 2.7). */
inline_ int is_nobody6(const struct addr *addr)
{
	__u32 first = bpf_ntohl((__u32)addr->q[0]);

	if (!addr->q[0])
		return !(addr->q[1] & ~bpf_cpu_to_be64(1));
	return first >> 24 == 0xff || first >> 22 == 0xfe80 >> 6;
}

inline_ enum parsed parse_transport(ctx_t *ctx, struct packet *p)
{
	__u32 left = p->length - (p->l4 - p->l3);

	if (p->key.proto != IPPROTO_TCP && p->key.proto != IPPROTO_UDP)
		return parse_icmp(ctx, p, left);
	if (p->v6 ? is_nobody6(&p->key.src) : is_nobody4(&p->key.src))
		return UNKNOWN;
	if (p->fragment == LATER)
		return PARSED;
	return p->key.proto == IPPROTO_TCP ? parse_tcp(ctx, p, left) : parse_udp(ctx, p, left);
}

inline_ int is_known(const struct packet *p)
{
	__u8 proto = p->key.proto;

	return proto == IPPROTO_TCP || proto == IPPROTO_UDP || proto == (p->v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
}

inline_ enum parsed parse(ctx_t *ctx, struct packet *p)
{
	enum parsed parsed = UNKNOWN;
	__be16 proto;

	linearize(ctx, 192);
	__builtin_memset(p, 0, sizeof(*p));
	proto = parse_link(ctx, p);
	if (proto == bpf_htons(ETH_P_IP))
		parsed = parse_ipv4(ctx, p);
	else if (proto == bpf_htons(ETH_P_IPV6))
		parsed = parse_ipv6(ctx, p);
	if (parsed != PARSED || !is_known(p) || p->l3 + p->length > frame_length(ctx))
		return UNKNOWN;
	return parse_transport(ctx, p);
}

#endif

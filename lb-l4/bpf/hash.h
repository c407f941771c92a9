/* Hashes. lb-l4/src/hash.rs is the twin of the ring's. */
#ifndef LB_HASH_H
#define LB_HASH_H

#include "hook.h"

/* ::ffff:a.b.c.d, which stands for IPv4 in keys, and for nothing on the wire (RFC 4291, 2.5.5.2). */
inline_ int is_mapped(const struct addr *addr)
{
	return !addr->q[0] && (__u32)addr->q[1] == 0xffff0000u;
}

inline_ __u64 mix(__u64 hash, __u64 word)
{
	hash ^= word;
	hash *= 0x9E3779B97F4A7C15ull; /* 2^64 / golden ratio */
	return hash ^ hash >> 32;
}

/* The last step of MurmurHash3's finalizer. */
inline_ __u64 finish(__u64 hash)
{
	hash ^= hash >> 33;
	hash *= 0xFF51AFD7ED558CCDull;
	return hash ^ hash >> 33;
}

inline_ __u64 tail(const struct flow_key *key)
{
	return *(const __u64 *)&key->sport;
}

/* Of a 5-tuple, the same on every node with the same seed. */
inline_ __u64 hash_flow(const struct flow_key *key, __u64 seed)
{
	seed = mix(seed, key->src.q[0]);
	seed = mix(seed, key->src.q[1]);
	seed = mix(seed, key->dst.q[0]);
	seed = mix(seed, key->dst.q[1]);
	return finish(mix(seed, tail(key)));
}

inline_ __u64 hash_addr(const struct addr *addr, __u64 seed)
{
	return finish(mix(mix(seed, addr->q[0]), addr->q[1]));
}

/* Where in the flow table; secret, so that nobody can aim at one bucket. The high half of an
 * IPv4 address's second word is all of it, so two rounds do for IPv4. */
inline_ __u64 hash_table(const struct flow_key *key, __u64 seed)
{
	seed = mix(seed, key->src.q[1] ^ key->dst.q[1] >> 32);
	if (key->src.q[0]) {
		seed = mix(seed, key->src.q[0]);
		seed = mix(seed, key->dst.q[0]);
		seed = mix(seed, key->dst.q[1]);
	}
	return finish(mix(seed, tail(key)));
}

/* A hash as an index below `size`, without a division. */
inline_ __u32 below(__u64 hash, __u32 size)
{
	return (hash >> 32) * size >> 32;
}

inline_ int is_vip_bit(const struct settings *settings, const struct addr *addr)
{
	__u32 bit = hash_addr(addr, 0) & 4095;

	return settings->vip_bits[bit >> 6] >> (bit & 63) & 1;
}

#endif

/* Short cuts: where the packets of a client's flow go, in 16 bytes in place of the 128 of its entry, so that those of
 * 65,536 flows lie in the second-level cache when the entries do not.
 *
 * A short cut says what the flow's entry would say, and nothing else: it is made of an entry that is established and
 * need not be looked at before the end of the term (`renew`), and is good until then. Whoever takes a flow out of that
 * state, or away, forgets its short cut. Nobody evicts one: with more flows than fit, the others are found in the table.
 *
 * For IPv4 without source NAT, towards backends that need no encapsulation. */
#ifndef LB_SHORTCUT_H
#define LB_SHORTCUT_H

#include "parse.h"

#define TERM_SHIFT 3 /* a term is about eight seconds */

/* `rest` of a short cut, from the low end: ports, is it UDP, incarnation (7 bits), dest (16), term (8). */
#define REST_UDP 32
#define REST_INCARNATION 33
#define REST_DEST 40
#define REST_TERM 56
#define REST_KEY (0xffull << REST_TERM | ((1ull << REST_INCARNATION) - 1))
#define REST_INCARNATIONS 0x7f
#define REST_DESTS 0xffff

/* What is looked for, and where. */
struct shortcut_query {
	struct shortcut_line *line;
	__u64 addrs;
	__u64 key; /* those bits of `rest` */
	__u64 seed;
	__u32 home;
};

inline_ __u32 term_of(const struct settings *settings, __u32 now)
{
	return now >> settings->tick_shift >> TERM_SHIFT;
}

inline_ __u32 end_of_term(const struct settings *settings, __u32 now)
{
	return (term_of(settings, now) + 1) << TERM_SHIFT << settings->tick_shift;
}

inline_ int has_shortcuts(const struct flow_key *key)
{
	return is_mapped(&key->dst);
}

inline_ struct shortcut_query shortcut_query(const struct flow_key *key, __u64 hash, const struct settings *settings, __u32 now)
{
	__u32 index = (hash >> 16) % SHORTCUT_LINES, term = term_of(settings, now);
	__u64 udp = key->proto == IPPROTO_UDP;

	return (struct shortcut_query){
		.line = bpf_map_lookup_elem(&shortcuts, &index),
		.addrs = (key->src.q[1] & ~0xffffffffull) | key->dst.q[1] >> 32,
		.key = *(const __u32 *)&key->sport | udp << REST_UDP | (__u64)term << REST_TERM,
		.seed = settings->flow_seed ^ term,
		.home = hash >> 30,
	};
}

/* Half of another entry, or one of an earlier term, does not agree with it: entries are read and written by all CPUs
 * without a lock, one word at a time. */
inline_ __u64 seal(const struct shortcut_query *query, __u64 rest)
{
	return query->addrs ^ mix(query->seed, rest);
}

/* `rest` of the short cut, or 0. */
inline_ __u64 shortcut_find(const struct shortcut_query *query)
{
	volatile struct shortcut *way;
	__u64 rest;

	if (!query->line)
		return 0;
#pragma unroll
	for (__u32 i = 0; i < SHORTCUT_WAYS; i++) {
		way = &query->line->ways[(query->home + i) % SHORTCUT_WAYS];
		rest = way->rest;
		if (!((rest ^ query->key) & REST_KEY) && way->addrs == seal(query, rest))
			return rest;
	}
	return 0;
}

/* In place of one of another term, if there is any. */
inline_ void shortcut_make(const struct shortcut_query *query, __u32 dest, __u16 incarnation)
{
	__u64 rest = query->key | (__u64)(incarnation & REST_INCARNATIONS) << REST_INCARNATION | (__u64)dest << REST_DEST;
	volatile struct shortcut *way;

	if (!query->line || dest > REST_DESTS)
		return;
	for (__u32 i = 0; i < SHORTCUT_WAYS; i++) {
		way = &query->line->ways[(query->home + i) % SHORTCUT_WAYS];
		if (way->rest && way->rest >> REST_TERM == rest >> REST_TERM)
			continue;
		way->addrs = seal(query, rest);
		way->rest = rest;
		return;
	}
}

/* A packet that is on its way on another CPU may make it anew; but those of one direction come by one queue. */
inline_ void shortcut_forget(const struct flow_key *key, __u64 hash, const struct settings *settings)
{
	struct shortcut_query query = shortcut_query(key, hash, settings, bpf_jiffies64());
	volatile struct shortcut *way;
	__u64 rest;

	if (!query.line || !has_shortcuts(key))
		return;
	for (__u32 i = 0; i < SHORTCUT_WAYS; i++) {
		way = &query.line->ways[i];
		rest = way->rest;
		if (!((rest ^ query.key) & REST_KEY) && way->addrs == seal(&query, rest))
			way->rest = 0;
	}
}

inline_ __u32 shortcut_dest(__u64 rest)
{
	return rest >> REST_DEST & REST_DESTS;
}

inline_ int is_incarnation(__u64 rest, __u16 incarnation)
{
	return !((rest >> REST_INCARNATION ^ incarnation) & REST_INCARNATIONS);
}

#endif

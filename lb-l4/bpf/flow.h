/* The flow table: find, make and forget flows. types.h has its layout. */
#ifndef LB_FLOW_H
#define LB_FLOW_H

#include "shortcut.h"

const volatile __u32 bucket_mask = 1023; /* set by the loader: entries of `flows` - 1 */

#define LOCK_TRIES 64

/* What a packet carries through the functions that do not fit on one stack. */
struct work {
	struct packet p;
	struct flow entry; /* about to be made */
	struct flow_key key; /* of a quoted packet */
	struct bpf_fib_lookup fib;
	struct hop hop;
	__u32 now;
	__u32 frontend; /* of a new flow, see has_frontend() */
	__u32 asked; /* for it */
	__u32 found;
	__u32 dest;     /* where this packet goes or comes from */
	__u32 place;    /* + 1, of its flow; 0: none */
	__u32 why;      /* enum counter, where dropped */
	__u32 reply;    /* from the backend */
	__u32 budget_tick;
	__u32 budget_used; /* new flows in that tick */
	__u32 answers;     /* ICMP errors and resets in that tick */
	struct sample sample;
	__u8 buffer[320]; /* headers and answers that are being made */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct work);
} scratch SEC(".maps");

inline_ struct work *get_work(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&scratch, &zero);
}

inline_ void begin(struct work *work)
{
	work->now = bpf_jiffies64();
	work->why = COUNT_END;
	work->dest = ~0u;
	work->place = 0;
	work->asked = 0;
	work->reply = 0;
}

inline_ int drop(struct work *work, __u32 why)
{
	work->why = why;
	count(why);
	return DROP;
}

inline_ struct settings *get_settings(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&settings, &zero);
}

inline_ int is_past(__u32 now, __u32 time)
{
	return (__s32)(now - time) >= 0;
}

inline_ int same_key(const struct flow_key *a, const struct flow_key *b)
{
	return a->src.q[1] == b->src.q[1] && a->dst.q[1] == b->dst.q[1] && tail(a) == tail(b) &&
	       a->src.q[0] == b->src.q[0] && a->dst.q[0] == b->dst.q[0];
}

inline_ __u32 tag_of(__u64 hash)
{
	return hash >> 32 | 1;
}

/* The way that a flow takes where it is free. A look-up may fetch it before the tags have arrived: for a table that is
 * larger than the caches, that is half of its time. */
inline_ __u32 home_of(__u32 tag)
{
	return tag >> 29;
}

inline_ __u32 first_of(__u64 hash)
{
	return (__u32)hash & bucket_mask;
}

inline_ __u32 second_of(__u32 first, __u32 tag)
{
	__u32 second = (first ^ tag * 0x5bd1e995u) & bucket_mask;

	return second == first ? (first ^ 1) & bucket_mask : second;
}

inline_ struct bucket *bucket_at(__u32 index)
{
	return bpf_map_lookup_elem(&flows, &index);
}

/* Place + 1 of a key in one bucket, or 0. */
inline_ __u32 search(struct bucket *bucket, __u32 index, __u32 tag, const struct flow_key *key)
{
	for (__u32 way = 0; way < LB_WAYS; way++)
		if (bucket->tags[way] == tag && same_key(&bucket->ways[way].key, key))
			return index * LB_WAYS + way + 1;
	return 0;
}

/* The entry at place + 1, whatever stands there. */
inline_ struct flow *flow_at(__u32 place)
{
	struct bucket *bucket = bucket_at((place - 1) / LB_WAYS);

	return bucket && place ? &bucket->ways[(place - 1) % LB_WAYS] : NULL;
}

/* Fetches both lines of an entry, without waiting for them. */
inline_ void touch(const struct flow *flow)
{
	__u32 first = *(const volatile __u32 *)&flow->expires, second = *(const volatile __u32 *)&flow->epoch;

	asm volatile("" : : "r"(first), "r"(second));
}

/* All that an insertion of that key will want, where it finds its way free. */
inline_ void flow_fetch(const struct flow_key *key, const struct settings *settings)
{
	__u64 hash = hash_table(key, settings->flow_seed);
	struct bucket *bucket = bucket_at(first_of(hash));
	__u32 head;

	if (!bucket)
		return;
	head = *(volatile __u32 *)&bucket->lock;
	asm volatile("" : : "r"(head));
	touch(&bucket->ways[home_of(tag_of(hash))]);
}

/* Place + 1 of a flow, expired or not; 0: there is none. */
function __u32 flow_find(const struct flow_key *key)
{
	struct settings *settings = get_settings();
	struct bucket *bucket;
	__u32 first, tag, place;
	__u64 hash;

	if (!settings || !key)
		return 0;
	hash = hash_table(key, settings->flow_seed);
	first = first_of(hash);
	tag = tag_of(hash);
	bucket = bucket_at(first);
	if (!bucket)
		return 0;
	touch(&bucket->ways[home_of(tag)]); /* a new flow will stand there */
	place = search(bucket, first, tag, key);
	if (place || !bucket->overflow)
		return place;
	first = second_of(first, tag);
	bucket = bucket_at(first);
	return bucket ? search(bucket, first, tag, key) : 0;
}

inline_ int take_lock(struct bucket *bucket, __u32 now, __u32 hz)
{
	__u32 seen;

	for (int i = 0; i < LOCK_TRIES; i++) {
		seen = __sync_val_compare_and_swap(&bucket->lock, 0, now | 1);
		if (!seen)
			return 1;
		/* Who holds it has died in user space. */
		if ((__s32)(now - seen) > (__s32)hz && __sync_val_compare_and_swap(&bucket->lock, seen, now | 1) == seen)
			return 1;
	}
	count(COUNT_LOCK_BUSY);
	return 0;
}

inline_ void release_lock(struct bucket *bucket)
{
	__sync_lock_test_and_set(&bucket->lock, 0);
}

inline_ void count_load(__u32 dest, __u8 flags, __u32 by)
{
	struct load *load = bpf_map_lookup_elem(&loads, &dest);

	if (!load || flags & FLOW_REPLY)
		return;
	__sync_fetch_and_add(flags & FLOW_COUNTED ? &load->active : &load->inactive, by);
}

/* Takes the tag of an entry back: it is gone. Whoever is quickest takes it off the count. */
inline_ void take_back(const struct flow *flow, __u32 place, const struct settings *settings)
{
	__u64 hash = hash_table(&flow->key, settings->flow_seed);
	__u32 tag = tag_of(hash), dest = flow->dest;
	struct bucket *bucket = bucket_at((place - 1) / LB_WAYS);
	__u8 flags = flow->flags;

	if (bucket && __sync_val_compare_and_swap(&bucket->tags[(place - 1) % LB_WAYS], tag, 0) == tag)
		count_load(dest, flags, -1);
	if (flags & FLOW_COUNTED && !(flags & FLOW_REPLY))
		shortcut_forget(&flow->key, hash, settings);
}

/* The other direction of a flow. It may have been replaced; then it does not point back. */
inline_ void forget_peer(const struct flow *flow, __u32 place)
{
	struct settings *settings = get_settings();
	struct flow *peer = flow_at(flow->peer);

	if (!settings || !peer || peer->peer != place)
		return;
	take_back(peer, flow->peer, settings);
}

/* Both directions. */
function int flow_forget(__u32 place)
{
	struct settings *settings = get_settings();
	struct flow *flow = flow_at(place);

	if (!flow || !settings)
		return 0;
	forget_peer(flow, place);
	take_back(flow, place, settings);
	return 0;
}

/* How much must happen before a way is given to a new flow. */
enum worth {
	FREE = 0, /* empty or expired */
	HALF_OPEN = 1,
	CLOSING = 2,
	KEPT = 3,
};

inline_ enum worth worth_of(__u8 state)
{
	if (state == FLOW_SYN || state == FLOW_SYN_RECV || state == FLOW_UDP_NEW)
		return HALF_OPEN;
	if (state == FLOW_FIN || state == FLOW_TIME_WAIT || state == FLOW_CLOSED)
		return CLOSING;
	return KEPT;
}

inline_ enum worth worth_of_way(const struct bucket *bucket, __u32 way, __u32 now)
{
	const struct flow *flow = &bucket->ways[way];

	if (!bucket->tags[way] || is_past(now, flow->expires))
		return FREE;
	return worth_of(flow->state);
}

/* The way to give away at that price, or LB_WAYS. Of several, the one that expires first; never `spared`. */
inline_ __u32 choose_way(const struct bucket *bucket, __u32 tag, enum worth price, __u32 now, __u32 spared)
{
	__u32 best = LB_WAYS, sooner = 0, left;

	if (!bucket->tags[home_of(tag)])
		return home_of(tag);
	for (__u32 way = 0; way < LB_WAYS; way++) {
		if (!bucket->tags[way])
			return way;
		if (way == spared || worth_of_way(bucket, way, now) > price)
			continue;
		left = bucket->ways[way].expires - now;
		if (best == LB_WAYS || (__s32)(left - sooner) < 0) {
			best = way;
			sooner = left;
		}
	}
	return best;
}

inline_ void count_eviction(enum worth worth)
{
	count(worth == FREE ? COUNT_EVICT_EXPIRED : worth == HALF_OPEN ? COUNT_EVICT_HALF_OPEN : COUNT_EVICT_CLOSING);
}

#define TAKEN (~0u)

/* Puts work->entry into a bucket if that costs no more than `price`. Place + 1, or 0; TAKEN: another CPU was quicker
 * with the same key. */
function __u32 put(struct work *work, __u32 index, __u32 tag, __u32 price)
{
	struct settings *settings = get_settings();
	struct bucket *bucket = bucket_at(index);
	struct flow *flow;
	__u32 way, place;

	if (!work || !bucket || !settings || !take_lock(bucket, work->now, settings->hz))
		return 0;
	if (search(bucket, index, tag, &work->entry.key)) {
		release_lock(bucket);
		return TAKEN;
	}
	/* The reply direction of the same flow may stand in this bucket, half open as it is. */
	way = choose_way(bucket, tag, price, work->now, work->entry.peer - 1 - index * LB_WAYS);
	if (way >= LB_WAYS) {
		release_lock(bucket);
		return 0;
	}
	flow = &bucket->ways[way];
	place = index * LB_WAYS + way + 1;
	if (bucket->tags[way]) {
		count_eviction(worth_of_way(bucket, way, work->now));
		forget_peer(flow, place);
		count_load(flow->dest, flow->flags, -1);
		__sync_lock_test_and_set(&bucket->tags[way], 0);
	}
	*flow = work->entry;
	count_load(flow->dest, flow->flags, 1);
	__sync_lock_test_and_set(&bucket->tags[way], tag);
	release_lock(bucket);
	return place;
}

/* Puts work->entry into the table. Place + 1; 0: everything that it might replace is in use. */
function __u32 flow_insert(struct work *work)
{
	struct settings *settings = get_settings();
	__u32 first, second, tag, place;
	struct bucket *bucket;
	__u64 hash;

	if (!work || !settings)
		return 0;
	hash = hash_table(&work->entry.key, settings->flow_seed);
	first = first_of(hash);
	tag = tag_of(hash);
	second = second_of(first, tag);
	if ((place = put(work, first, tag, FREE)))
		return place == TAKEN ? 0 : place;
	bucket = bucket_at(first);
	if (!bucket)
		return 0;
	__sync_fetch_and_add(&bucket->overflow, 1);
	if ((place = put(work, second, tag, FREE)) || (place = put(work, first, tag, HALF_OPEN)) ||
	    (place = put(work, second, tag, HALF_OPEN)) || (place = put(work, first, tag, CLOSING)))
		return place == TAKEN ? 0 : place;
	return 0;
}

#endif

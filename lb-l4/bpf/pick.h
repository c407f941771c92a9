/* New flows: the frontend, the backend, and the entries. */
#ifndef LB_PICK_H
#define LB_PICK_H

#include "state.h"

#define NONE (~0u)
#define RING_RETRIES 16  /* entries that follow one whose destination takes no new flows */
#define LEAST_MAX 1024   /* destinations that least-connections looks at */
#define SNAT_TRIES 128   /* ports that are tried */
#define PICK_TRIES 4     /* destinations that are tried for one flow */
#define EVERY_PORT 0

/* Most that is not ours is told by one bit. */
inline_ __u32 *find_vip(const struct vip_key *vip)
{
	struct settings *settings = get_settings();

	return settings && is_vip_bit(settings, &vip->addr) ? bpf_map_lookup_elem(&vips, vip) : NULL;
}

inline_ int find_frontend(const struct flow_key *key, __u32 *id)
{
	struct vip_key vip = {.addr = key->dst, .port = key->dport, .proto = key->proto};
	__u32 *found = find_vip(&vip);

	if (!found) {
		vip.port = EVERY_PORT;
		found = find_vip(&vip);
	}
	if (found)
		*id = *found;
	return !!found;
}

/* Is the packet for a frontend? work->frontend. */
inline_ int has_frontend(struct work *work)
{
	if (!work->asked)
		work->found = find_frontend(&work->p.key, &work->frontend);
	work->asked = 1;
	return work->found;
}

/* Is it an address of a frontend? Each has the key of its echo in `vips`. */
inline_ int is_vip(const struct packet *p)
{
	struct vip_key vip = {.addr = p->key.dst, .port = EVERY_PORT, .proto = p->v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP};

	return !!find_vip(&vip);
}

/* Look-ups by a copy on the stack: Linux 6.1 takes no key out of memory that a function was given. */

inline_ struct frontend *frontend_at(__u32 id)
{
	return bpf_map_lookup_elem(&frontends, &id);
}

inline_ struct dest *dest_at(__u32 id)
{
	return bpf_map_lookup_elem(&dests, &id);
}

inline_ struct dest_hop *hops_at(__u32 id)
{
	return bpf_map_lookup_elem(&hops, &id);
}

inline_ struct stats *stats_at(__u32 id)
{
	return bpf_map_lookup_elem(&stats, &id);
}

inline_ __u32 ring_entry(__u32 index)
{
	__u32 pair = index >> 1;
	__u64 *entries = bpf_map_lookup_elem(&rings, &pair);

	if (!entries)
		return NONE;
	return index & 1 ? *entries >> 32 : *entries;
}

inline_ int takes_flows(__u32 dest)
{
	struct dest *found = dest_at(dest);

	return found && found->state == DEST_READY;
}

inline_ __u32 next_turn(__u32 frontend, __u32 size, int take)
{
	__u32 *turn = bpf_map_lookup_elem(&turns, &frontend), now;

	if (!turn)
		return 0;
	now = *turn < size ? *turn : 0;
	if (take)
		*turn = now + 1;
	return now;
}

/* The ring's entry at `index`, or the next one whose destination takes new flows. */
function __u32 walk_ring(__u64 ring, __u32 index)
{
	__u32 base = ring >> 32, size = ring, dest;

	for (int i = 0; i <= RING_RETRIES && size; i++) {
		if (index >= size)
			index = 0;
		dest = ring_entry(base + index);
		if (takes_flows(dest))
			return dest;
		index++;
	}
	return NONE;
}

/* Active connections weigh 256 times as much as idle ones, as in IPVS (ip_vs_lc.c). */
function __u64 cost(__u32 dest)
{
	struct load *load = bpf_map_lookup_elem(&loads, &dest);

	if (!load)
		return 0;
	/* CPUs that count the end of one flow at once may leave it below zero for a while. */
	return (__u64)((__s32)load->active < 0 ? 0 : load->active) * 256 + ((__s32)load->inactive < 0 ? 0 : load->inactive);
}

/* Least connections for the weight; the first of equals. */
function __u32 least(__u64 ring)
{
	__u32 base = ring >> 32, size = ring, best = NONE, weight = 1, id;
	__u64 lowest = 0, mine;
	struct dest *dest;

	for (__u32 i = 0; i < LEAST_MAX && i < size; i++) {
		id = ring_entry(base + i);
		dest = dest_at(id);
		if (!dest || dest->state != DEST_READY || !dest->weight)
			continue;
		mine = cost(id);
		if (best == NONE || mine * weight < lowest * dest->weight) {
			best = id;
			lowest = mine;
			weight = dest->weight;
		}
	}
	return best;
}

/* Whose turn it is, or the entry that the hash says. */
inline_ __u32 ring_index(const struct work *work, const struct frontend *frontend, const struct settings *settings,
			 __u32 size, int take)
{
	if (frontend->scheduler == SCHED_ROUND_ROBIN)
		return next_turn(work->frontend, size, take);
	if (frontend->scheduler == SCHED_SOURCE)
		return below(hash_addr(&work->p.key.src, settings->ring_seed), size);
	return below(hash_flow(&work->p.key, settings->ring_seed), size);
}

/* `attempt`: that many entries further on. */
inline_ __u32 turn_to(struct work *work, const struct frontend *frontend, __u32 attempt)
{
	struct settings *settings = get_settings();
	__u64 ring = *(volatile const __u64 *)&frontend->ring;
	__u32 size = ring, index;

	if (!settings || !size)
		return NONE;
	if (frontend->scheduler == SCHED_LEAST)
		return attempt ? walk_ring(ring, attempt - 1) : least(ring);
	index = ring_index(work, frontend, settings, size, 1);
	return walk_ring(ring, frontend->scheduler == SCHED_ROUND_ROBIN ? index : index + attempt);
}

/* What turn_to() will say, most likely. */
inline_ struct dest *likely_dest(const struct work *work, const struct frontend *frontend, const struct settings *settings)
{
	__u64 ring = *(volatile const __u64 *)&frontend->ring;

	if (!(__u32)ring || frontend->scheduler == SCHED_LEAST)
		return NULL;
	return dest_at(ring_entry((ring >> 32) + ring_index(work, frontend, settings, ring, 0)));
}

/* The first `bits` of 64, in network order. */
inline_ __u64 prefix_mask(__u32 bits)
{
	if (bits >= 64)
		return ~0ull;
	return bits ? bpf_cpu_to_be64(~0ull << (64 - bits)) : 0;
}

inline_ struct persist_key persist_key_of(const struct work *work, const struct frontend *frontend)
{
	__u32 bits = work->p.v6 ? frontend->prefix6 : 96 + frontend->prefix4;
	struct persist_key key = {.client = work->p.key.src, .frontend = work->frontend};

	key.client.q[0] &= prefix_mask(bits);
	key.client.q[1] &= bits > 64 ? prefix_mask(bits - 64) : 0;
	return key;
}

inline_ int is_persistent(const struct frontend *frontend)
{
	return frontend->flags & FRONTEND_PERSIST;
}

/* Where this client went before, if it may go there again. */
inline_ __u32 recall(struct work *work, const struct frontend *frontend)
{
	struct persist_key key = persist_key_of(work, frontend);
	struct persist *entry = bpf_map_lookup_elem(&persistence, &key);
	struct dest *dest;

	if (!entry || is_past(work->now, entry->expires))
		return NONE;
	dest = dest_at(entry->dest);
	if (!dest || dest->state != DEST_READY || dest->incarnation != entry->incarnation)
		return NONE;
	return entry->dest;
}

inline_ void remember(struct work *work, const struct frontend *frontend, __u32 dest)
{
	struct persist_key key = persist_key_of(work, frontend);
	struct persist entry = {.dest = dest, .expires = work->now + frontend->persist};
	struct dest *found = dest_at(dest);

	if (!found)
		return;
	entry.incarnation = found->incarnation;
	bpf_map_update_elem(&persistence, &key, &entry, BPF_ANY);
}

/* A destination for a new flow, or NONE. */
function __u32 pick(struct work *work, __u32 attempt)
{
	struct frontend *frontend;
	__u32 dest = NONE;

	if (!work || !(frontend = frontend_at(work->frontend)))
		return NONE;
	if (!is_persistent(frontend))
		return turn_to(work, frontend, attempt);
	if (!attempt)
		dest = recall(work, frontend);
	if (dest == NONE)
		dest = turn_to(work, frontend, attempt);
	if (dest != NONE)
		remember(work, frontend, dest);
	return dest;
}

/* Can a packet in the middle of a connection find its backend without an entry? */
inline_ int is_deterministic(const struct frontend *frontend)
{
	return frontend->scheduler == SCHED_SOURCE || frontend->scheduler == SCHED_FLOW;
}

inline_ int knows_client(struct work *work, const struct frontend *frontend)
{
	return is_persistent(frontend) && recall(work, frontend) != NONE;
}

inline_ __u16 fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

/* What the rewrite of this entry adds to checksums (RFC 1624). */
inline_ void set_deltas(struct flow *flow)
{
	__u64 sum = (__u32)bpf_csum_diff((__be32 *)&flow->key.src, 32, (__be32 *)&flow->new_src, 32, 0);

	flow->addr_delta = fold(sum);
	sum += (__u16)~flow->key.sport + (__u16)~flow->key.dport + flow->new_sport + flow->new_dport;
	flow->total_delta = fold(sum);
}

/* As a reply comes from the backend, before source NAT. */
inline_ void set_reply_key(struct flow_key *reply, const struct flow_key *key, const struct dest *dest)
{
	reply->src = dest->addr;
	reply->dst = key->src;
	reply->sport = dest->port ? dest->port : key->dport;
	reply->dport = key->sport;
	*(__u32 *)&reply->proto = key->proto;
}

/* Fetches where the replies of a new flow will have their entry, while the client's own is looked up: for a large table
 * that is a fifth of its time. */
function int foresee(struct work *work)
{
	struct settings *settings = get_settings();
	struct frontend *frontend;
	struct flow_key reply;
	struct dest *dest;

	if (!work || !settings || !has_frontend(work) || !(frontend = frontend_at(work->frontend)))
		return 0;
	if (frontend->mode != MODE_NAT || frontend->flags & FRONTEND_SNAT)
		return 0;
	dest = likely_dest(work, frontend, settings);
	if (!dest)
		return 0;
	set_reply_key(&reply, &work->p.key, dest);
	flow_fetch(&reply, settings);
	return 0;
}

inline_ void begin_entry(struct work *work, const struct frontend *frontend, const struct dest *dest, __u8 flags)
{
	struct flow *entry = &work->entry;

	__builtin_memset(entry, 0, sizeof(*entry));
	entry->dest = work->dest;
	entry->incarnation = dest->incarnation;
	entry->state = first_state(&work->p);
	entry->flags = flags | (is_active(entry->state) ? FLOW_COUNTED : 0);
	if (entry->state == FLOW_FIN)
		entry->flags |= FLOW_FIN_FWD;
	entry->created = work->now;
	set_times(entry, timeout_of(frontend, entry->state), work->now);
}

inline_ void begin_reply(struct work *work, const struct frontend *frontend, const struct dest *dest)
{
	const struct flow_key *key = &work->p.key;
	struct flow *entry = &work->entry;

	begin_entry(work, frontend, dest, FLOW_REPLY);
	set_reply_key(&entry->key, key, dest);
	entry->new_src = key->dst;
	entry->new_dst = key->src;
	entry->new_sport = key->dport;
	entry->new_dport = key->sport;
	entry->hop = work->hop; /* the way back, until a look-up finds it */
}

/* Is work->entry.key free? What stands there and is worth little gives way. */
function int is_free(struct work *work)
{
	struct flow *flow;
	__u32 place;

	if (!work)
		return 0;
	place = flow_find(&work->entry.key);
	flow = flow_at(place);
	if (!flow)
		return 1;
	if (!is_past(work->now, flow->expires) && (worth_of(flow->state) == KEPT || work->entry.flags & FLOW_SNAT))
		return 0;
	flow_forget(place);
	return 1;
}

/* Finds an address and a port of ours under which the backend has no flow yet. */
function int find_port(struct work *work)
{
	struct settings *settings = get_settings();
	struct frontend *frontend;
	__u32 ports, all, start, n, index;
	struct addr *addr;
	struct dest *dest;
	int own;

	if (!work || !settings || !(frontend = frontend_at(work->frontend)) || !(dest = dest_at(work->dest)))
		return 0;
	own = dest->tunnel_src.q[1] != 0;
	ports = settings->snat_last - settings->snat_first + 1;
	all = own ? ports : ports * frontend->snat_count;
	if (!all || !ports)
		return 0;
	work->entry.flags |= FLOW_SNAT;
	start = (__u32)(hash_flow(&work->p.key, settings->flow_seed) >> 16) % all;
	for (int i = 0; i < SNAT_TRIES; i++) {
		n = (start + i) % all;
		index = frontend->snat_base + n / ports;
		addr = own ? &dest->tunnel_src : bpf_map_lookup_elem(&snat, &index);
		if (!addr)
			return 0;
		work->entry.key.dst = *addr;
		work->entry.key.dport = bpf_htons(settings->snat_first + n % ports);
		if (is_free(work))
			return 1;
	}
	return 0;
}

/* The entry of the client's direction, after that of the replies stands at place + 1 `reply`. */
inline_ __u32 insert_forward(struct work *work, const struct frontend *frontend, const struct dest *dest, __u32 reply)
{
	struct flow *entry = &work->entry, *other = flow_at(reply);

	begin_entry(work, frontend, dest, other ? other->flags & FLOW_SNAT : 0);
	entry->key = work->p.key;
	entry->peer = reply;
	entry->new_src = other ? other->key.dst : entry->key.src;
	entry->new_sport = other ? other->key.dport : entry->key.sport;
	entry->new_dst = other ? other->key.src : entry->key.dst;
	entry->new_dport = other ? other->key.sport : entry->key.dport;
	set_deltas(entry);
	return flow_insert(work);
}

/* Makes both entries of a nat flow, for which work->entry has the key of the replies. Place + 1 of the forward one. */
inline_ __u32 enter_nat(struct work *work, const struct frontend *frontend, const struct dest *dest)
{
	__u32 reply, forward;
	struct flow *other;

	work->why = DROP_TABLE_FULL;
	set_deltas(&work->entry);
	reply = flow_insert(work);
	if (!reply)
		return 0;
	forward = insert_forward(work, frontend, dest, reply);
	other = flow_at(reply);
	if (!forward)
		flow_forget(reply);
	else if (other)
		other->peer = forward;
	return forward;
}

/* A new nat flow. Place + 1 of its forward entry. */
function __u32 make_nat(struct work *work)
{
	struct frontend *frontend;
	struct dest *dest;

	if (!work || !(frontend = frontend_at(work->frontend)) || !(dest = dest_at(work->dest)))
		return 0;
	work->why = DROP_SNAT_EXHAUSTED;
	begin_reply(work, frontend, dest);
	if (!(frontend->flags & FRONTEND_SNAT ? find_port(work) : is_free(work)))
		return 0;
	return enter_nat(work, frontend, dest);
}

/* dr and tunnel: the backend answers the client by itself. */
function __u32 make_one_sided(struct work *work)
{
	struct frontend *frontend;
	struct dest *dest;

	if (!work || !(frontend = frontend_at(work->frontend)) || !(dest = dest_at(work->dest)))
		return 0;
	work->why = DROP_TABLE_FULL;
	return insert_forward(work, frontend, dest, 0);
}

inline_ void begin_tick(struct work *work, const struct settings *settings)
{
	__u32 tick = work->now >> settings->tick_shift;

	if (work->budget_tick == tick)
		return;
	work->budget_tick = tick;
	work->budget_used = 0;
	work->answers = 0;
}

/* More new flows in this tick than this CPU shall enter into the table? */
inline_ int is_over_budget(struct work *work)
{
	struct settings *settings = get_settings();

	if (!settings || !settings->new_flows)
		return 0;
	begin_tick(work, settings);
	return work->budget_used++ >= settings->new_flows;
}

/* What strangers can make lb say has a limit. */
inline_ int may_answer(struct work *work)
{
	struct settings *settings = get_settings();

	if (!settings || !settings->answers)
		return !!settings;
	begin_tick(work, settings);
	return work->answers++ < settings->answers;
}

#endif

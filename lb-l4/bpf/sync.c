/* Enters flows of other nodes into the table, by the functions that enter our own. It is run by BPF_PROG_TEST_RUN
 * alone, over an array of `struct import` in place of a frame, and never attached. */
#include "pick.h"

/* More do not fit into the page of a test run without fragments. */
#define IMPORTS 40
/* Jiffies that may get lost between two nodes whose jiffies differ. */
#define ROUNDING 2

/* The one that is being entered. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct import);
} incoming SEC(".maps");

inline_ struct import *get_incoming(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&incoming, &zero);
}

/* When the timeout of a flow began anew. */
inline_ __u32 touched(const struct flow *flow)
{
	if (flow->flags & FLOW_SYNCED)
		return flow->renew;
	return flow->renew - (flow->expires - flow->renew) / 8; /* set_times() */
}

/* What this node has seen by itself is worth more than what it is told of the same time, the more so if that was passed
 * on: each passage makes it seem younger by the time that it takes. What it has only heard gives way to the word of who
 * has seen it, which comes in order: a tenth of a second is the way of the one before. */
inline_ int is_newer(const struct flow *flow, const struct import *import, __u32 now, __u32 hz)
{
	__s32 later = now - import->age - touched(flow);

	if (flow->flags & FLOW_SYNCED)
		return later >= -(__s32)(import->flags & FLOW_SYNCED ? ROUNDING : hz / 10);
	return later > (__s32)(import->flags & FLOW_SYNCED ? hz : ROUNDING);
}

inline_ int same_addr(const struct addr *a, const struct addr *b)
{
	return a->q[0] == b->q[0] && a->q[1] == b->q[1];
}

inline_ int has_snat(const struct import *import)
{
	return import->snat.q[1] || import->snat.q[0];
}

/* Does it go the same way: to the same backend, and as from the same client? */
inline_ int goes_same_way(const struct flow *flow, const struct import *import)
{
	if (flow->dest != import->dest || flow->incarnation != import->incarnation)
		return 0;
	if (!has_snat(import))
		return !(flow->flags & FLOW_SNAT);
	return flow->flags & FLOW_SNAT && same_addr(&flow->new_src, &import->snat) && flow->new_sport == import->snat_port;
}

/* The entry at place + 1 becomes what the other node says, and its other direction too. The next packet takes the
 * long way, and makes it ours. */
inline_ void settle(struct flow *flow, __u32 place, const struct import *import, __u32 timeout, __u32 now)
{
	const __u8 closed = FLOW_FIN_FWD | FLOW_FIN_BACK;

	flow->state = import->state;
	flow->flags = (flow->flags & ~closed) | (import->flags & closed) | FLOW_SYNCED;
	set_times(flow, timeout, now - import->age);
	flow->renew = now - import->age;
	flow->created = now - import->lived;
	count_active(flow);
	tell_peer(flow, place);
	forget_shortcut(flow);
	mark(flow, place); /* what was told of it by this node is no longer what holds */
}

/* Like make_nat(), but the client goes by the name that the other node has given it. */
inline_ __u32 import_nat(struct work *work, const struct import *import, const struct frontend *frontend,
			 const struct dest *dest)
{
	work->why = DROP_SNAT_EXHAUSTED;
	__builtin_memset(&work->hop, 0, sizeof(work->hop)); /* no packet of it has come here */
	begin_reply(work, frontend, dest);
	if (has_snat(import)) {
		work->entry.flags |= FLOW_SNAT;
		work->entry.key.dst = import->snat;
		work->entry.key.dport = import->snat_port;
	}
	return is_free(work) ? enter_nat(work, frontend, dest) : 0;
}

/* A flow that this node does not know. */
inline_ int make(struct work *work, const struct import *import, const struct frontend *frontend,
		 const struct dest *dest, __u32 timeout)
{
	struct flow *flow;
	__u32 place;

	if (worth_of(import->state) == CLOSING && import->state != FLOW_FIN)
		return IMPORT_OVER;
	work->p.flags = TCP_ACK;
	place = frontend->mode == MODE_NAT ? import_nat(work, import, frontend, dest) : make_one_sided(work);
	flow = flow_at(place);
	if (!flow)
		return work->why == DROP_SNAT_EXHAUSTED ? IMPORT_TAKEN : IMPORT_FULL;
	settle(flow, place, import, timeout, work->now);
	if (is_persistent(frontend))
		remember(work, frontend, work->dest);
	return IMPORT_MADE;
}

/* The flow in `incoming`. */
function int import_flow(struct work *work)
{
	struct settings *settings = get_settings();
	struct import *import = get_incoming();
	struct frontend *frontend;
	struct dest *dest;
	struct flow *flow;
	__u32 timeout;

	if (!work || !import || !settings)
		return IMPORT_NONE;
	work->dest = import->dest;
	if (!(dest = dest_at(import->dest)) || dest->state == DEST_UNUSED || dest->incarnation != import->incarnation)
		return IMPORT_GONE;
	work->frontend = dest->frontend;
	if (!(frontend = frontend_at(dest->frontend)))
		return IMPORT_GONE;
	timeout = timeout_of(frontend, import->state);
	if (import->age >= timeout)
		return IMPORT_OVER;
	work->p.key = import->key;
	work->p.v6 = !is_mapped(&import->key.src);
	work->place = flow_find(&work->p.key);
	flow = flow_at(work->place);
	if (flow && !is_past(work->now, flow->expires)) {
		if (flow->flags & FLOW_REPLY)
			return IMPORT_TAKEN;
		if (!is_newer(flow, import, work->now, settings->hz))
			return IMPORT_OLDER;
		if (goes_same_way(flow, import)) {
			settle(flow, work->place, import, timeout, work->now);
			return IMPORT_CHANGED;
		}
	}
	if (flow)
		flow_forget(work->place);
	return make(work, import, frontend, dest, timeout);
}

SEC("xdp")
int lb_import(struct xdp_md *ctx)
{
	struct import *import = get_incoming();
	struct work *work = get_work();
	__u32 at;

	if (!work || !import)
		return XDP_ABORTED;
	begin(work);
	for (__u32 i = 0; i < IMPORTS; i++) {
		at = i * sizeof(struct import);
		if (bpf_xdp_load_bytes(ctx, at, import, sizeof(*import)))
			break;
		import->result = import_flow(work);
		bpf_xdp_store_bytes(ctx, at, import, sizeof(*import));
	}
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";

/* The data plane of layer 4, from packet to verdict.
 *
 * fast()        is the frame for us? An established flow, nothing unusual: four look-ups, and away
 * slow()        everything else, from the start:
 *   judge()       what is it? known() a flow that exists, unknown() none, icmp() an error or an echo
 *   schedule()    a new flow: pick a backend, make the entries
 *   forward()     out, by the mode
 *
 * parse.h -> shortcut.h, flow.h (the table), state.h, pick.h (scheduling), hop.h (next hops), rewrite.h, answer.h,
 * forward.h, icmp.h, sample.h, mac.h (whom a frame is for), fast.h; hook.h holds what differs between XDP and tc.
 */
#include "fast.h"

inline_ int is_first_syn(const struct packet *p)
{
	return p->key.proto == IPPROTO_TCP && (p->flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_SYN;
}

/* Would every packet of the flow find the same backend without an entry? */
inline_ int is_stateless(const struct frontend *frontend)
{
	return frontend->mode != MODE_NAT && is_deterministic(frontend) && !is_persistent(frontend);
}

/* Picks a destination and makes the entries: work->place, or 0 (work->why). */
inline_ void make_flow(struct work *work, const struct frontend *frontend)
{
	work->place = 0;
	for (__u32 attempt = 0; attempt < PICK_TRIES && !work->place; attempt++) {
		work->dest = pick(work, attempt);
		work->why = work->dest == NONE ? DROP_NO_BACKEND : DROP_TABLE_FULL;
		if (work->dest == NONE)
			return;
		if (frontend->mode != MODE_NAT) {
			if (!is_stateless(frontend) || !is_over_budget(work))
				work->place = make_one_sided(work);
			return;
		}
		work->place = make_nat(work);
		if (work->why == DROP_TABLE_FULL || frontend->flags & FRONTEND_SNAT)
			return;
	}
}

/* A new flow to work->frontend. */
function int schedule(ctx_t *ctx, struct work *work)
{
	struct frontend *frontend;
	struct stats *counted;

	if (!work || !(frontend = frontend_at(work->frontend)))
		return DROP;
	if (frontend->mode == MODE_NAT)
		note_way_back(ctx, work);
	make_flow(work, frontend);
	if (!work->place && (work->dest == NONE || !is_stateless(frontend)))
		return drop(work, work->why);
	work->why = COUNT_END;
	counted = stats_at(work->dest);
	if (!work->place)
		count(COUNT_STATELESS);
	else if (counted)
		counted->flows++;
	return FORWARD;
}

/* No flow. */
function int unknown(ctx_t *ctx, struct work *work)
{
	struct frontend *frontend;

	if (!work)
		return PASS;
	if (work->p.fragment == LATER)
		return drop(work, DROP_FRAGMENT);
	if (!has_frontend(work) || !(frontend = frontend_at(work->frontend)))
		return PASS;
	if (work->p.ttl <= 1)
		return answer_time_exceeded(ctx, work);
	if (work->p.key.proto != IPPROTO_TCP || is_first_syn(&work->p))
		return SCHEDULE;
	if (work->p.flags & (TCP_RST | TCP_SYN))
		return drop(work, DROP_NO_FLOW);
	if (!is_deterministic(frontend) && !knows_client(work, frontend))
		return drop(work, DROP_NO_FLOW);
	count(COUNT_ADOPTED);
	return SCHEDULE;
}

/* The backend is gone: the client is told, and its next packet begins anew. */
inline_ int end_flow(ctx_t *ctx, struct work *work)
{
	flow_forget(work->place);
	drop(work, DROP_BACKEND_DOWN);
	if (work->p.key.proto != IPPROTO_TCP || work->p.fragment == LATER || work->p.flags & TCP_RST)
		return DROP;
	return answer_reset(ctx, work);
}

/* The backend is gone: the flow goes to another one, in the middle as it may be. */
inline_ int rebind(ctx_t *ctx, struct work *work)
{
	flow_forget(work->place);
	if (work->p.fragment == LATER)
		return drop(work, DROP_FRAGMENT);
	if (!has_frontend(work))
		return drop(work, DROP_BACKEND_DOWN);
	if (work->p.ttl <= 1)
		return answer_time_exceeded(ctx, work);
	if (work->p.flags & (TCP_RST | TCP_SYN) && !is_first_syn(&work->p))
		return drop(work, DROP_NO_FLOW);
	count(COUNT_REBOUND);
	return SCHEDULE;
}

/* What the frontend wants for a flow whose backend is gone; a slot in new hands knows nothing of the old. */
inline_ __u8 fate(const struct flow *flow, const struct dest *dest)
{
	if (dest->incarnation != flow->incarnation)
		return DOWN_REBIND;
	return dest->state == DEST_UNUSED || dest->state == DEST_DOWN ? dest->on_down : DOWN_KEEP;
}

/* A flow at work->place. */
function int known(ctx_t *ctx, struct work *work)
{
	struct flow *flow;
	struct dest *dest;
	__u8 on_down;

	if (!work || !(flow = flow_at(work->place)) || !(dest = dest_at(flow->dest)))
		return PASS;
	work->dest = flow->dest;
	work->reply = flow->flags & FLOW_REPLY;
	on_down = work->reply ? DOWN_KEEP : fate(flow, dest);
	if (on_down == DOWN_REBIND || (on_down == DOWN_RESET && is_first_syn(&work->p)))
		return rebind(ctx, work);
	if (on_down == DOWN_RESET)
		return end_flow(ctx, work);
	if (work->p.fragment == LATER)
		return FORWARD;
	if (!work->reply && is_first_syn(&work->p) && (worth_of(flow->state) == CLOSING || dest->state == DEST_DRAIN)) {
		flow_forget(work->place); /* the client uses the port for a new connection */
		return unknown(ctx, work);
	}
	if (flow->flags & FLOW_SYNCED && !work->reply)
		learn_way_back(ctx, work, flow, work->place);
	advance(work, work->place);
	return FORWARD;
}

function int judge(ctx_t *ctx, struct work *work)
{
	enum parsed parsed;
	struct flow *flow;

	if (!work)
		return PASS;
	parsed = parse(ctx, &work->p);
	if (parsed == UNKNOWN)
		return PASS;
	if (parsed == TRUNCATED)
		return is_vip(&work->p) ? drop(work, DROP_MALFORMED) : PASS;
	if (work->p.key.proto != IPPROTO_TCP && work->p.key.proto != IPPROTO_UDP)
		return icmp(ctx, work);
	if (work->p.fragment == LATER && recall_ports(&work->p))
		return is_vip(&work->p) ? drop(work, DROP_FRAGMENT) : PASS;
	if (is_first_syn(&work->p))
		foresee(work);
	work->place = flow_find(&work->p.key);
	flow = flow_at(work->place);
	if (!flow)
		return unknown(ctx, work);
	if (!is_past(work->now, flow->expires))
		return known(ctx, work);
	flow_forget(work->place);
	return unknown(ctx, work);
}

function int slow(ctx_t *ctx)
{
	struct settings *settings = get_settings();
	struct work *work = get_work();
	int next, sampled;

	if (!work || !settings)
		return PASS;
	begin(work);
	sampled = is_sampled(settings);
	if (sampled)
		take_sample(ctx, work);
	next = judge(ctx, work);
	if (next == SCHEDULE)
		next = schedule(ctx, work);
	if (next == FORWARD)
		next = forward(ctx, work, work->place);
	if (sampled)
		give_sample(settings, work, next);
	return next;
}

SEC(SECTION)
int lb(ctx_t *ctx)
{
	int verdict = fast(ctx);

	if (verdict == SLOW)
		return slow(ctx);
	return verdict == STAND_BY ? stand_by(ctx) : verdict;
}

char LICENSE[] SEC("license") = "GPL";

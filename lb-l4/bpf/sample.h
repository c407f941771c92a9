/* Samples of packets for `lb flows --sample`: what XDP sends is invisible to tcpdump. */
#ifndef LB_SAMPLE_H
#define LB_SAMPLE_H

#include "icmp.h"

inline_ int is_sampled(const struct settings *settings)
{
	return settings->sample_mask != ~0u && !(bpf_get_prandom_u32() & settings->sample_mask);
}

/* As it came, before anything is rewritten. */
inline_ void take_sample(ctx_t *ctx, struct work *work)
{
	struct sample *sample = &work->sample;
	__u32 length = frame_length(ctx), bytes = bounded(length < SAMPLE_BYTES ? length : SAMPLE_BYTES, 1, SAMPLE_BYTES - 1);

	__builtin_memset(sample, 0, sizeof(*sample));
	sample->time_ns = bpf_ktime_get_ns();
	sample->ifindex = ingress(ctx);
	sample->length = length;
	if (length >= ETH_HLEN && !load(ctx, 0, sample->bytes, bytes))
		sample->captured = bytes;
}

inline_ int is_of_frontend(__u32 dest, __u32 frontend)
{
	struct dest *found = dest_at(dest);

	return frontend == ~0u || (found && found->frontend == frontend);
}

/* As struct sample counts them. An echo is answered for no destination. */
inline_ __u8 sample_verdict(const struct work *work, int verdict)
{
	if (work->why < DROP_END)
		return verdict == DROP ? 3 : 2;
	if (verdict == PASS || verdict == PASS_UP)
		return 0;
	return work->dest == NONE ? 2 : 1;
}

/* What became of it; nothing, where it was none of ours. */
inline_ void give_sample(const struct settings *settings, struct work *work, int verdict)
{
	struct sample *sample = &work->sample;

	if (verdict == PASS && work->dest == NONE)
		return;
	if (!is_of_frontend(work->dest, settings->sample_frontend))
		return;
	sample->dest = work->dest;
	sample->verdict = sample_verdict(work, verdict);
	sample->reason = work->why;
	sample->reply = work->reply;
	bpf_ringbuf_output(&samples, sample, sizeof(*sample), 0);
}

#endif

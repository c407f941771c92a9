/* Makes packets, and counts what arrives.
 *
 * `generate4` and `generate6` write a whole header, whatever the buffer holds, and call what stands in `next`: the
 * product, or `nothing`, whose cost is then subtracted. With an empty slot they send the frame back out of the
 * interface that the run names: so they are the generator of live frames as well. */
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <linux/udp.h>

/* What to write; src/plan.rs has its twin. The head has zeros where the client and the backend vary, and the sums are
 * those of the checksums without these parts. */
struct plan {
	__u32 turn;     /* advanced by one with every packet */
	__u32 mask;     /* flows - 1 */
	__u32 step;     /* odd: the order of the flows */
	__u32 backends; /* backends - 1, in replies; else 0 */
	__u32 ip_sum;
	__u32 transport_sum;
	__u32 reply;
	__u32 proto;
	__u32 length; /* of the frame */
	__u32 zero;
	__u64 head[10];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct plan);
} plans SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} next SEC(".maps");

#ifdef HOOK_XDP
#define CONTEXT struct xdp_md
#define HOOK "xdp.frags" /* as the product: else it could not be called */
#define SEND XDP_TX
#define PASS XDP_PASS
#define DROP XDP_DROP
#else
#define CONTEXT struct __sk_buff
#define HOOK "classifier"
#define SEND 0
#define PASS TC_ACT_OK
#define DROP TC_ACT_SHOT
#endif

#define CLIENT_PORTS 15 /* bits of a flow's number that are in its port, above CLIENT_PORT */
#define CLIENT_PORT 0x4000

struct frame4 {
	struct ethhdr eth;
	struct iphdr ip;
	union {
		struct tcphdr tcp;
		struct udphdr udp;
	};
} __attribute__((packed));

struct frame6 {
	struct ethhdr eth;
	struct ipv6hdr ip;
	union {
		struct tcphdr tcp;
		struct udphdr udp;
	};
} __attribute__((packed));

static __always_inline struct plan *the_plan(void)
{
	__u32 zero = 0;
	return bpf_map_lookup_elem(&plans, &zero);
}

static __always_inline __u16 fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

/* 54 or 74 bytes: as many as both structs above have. */
static __always_inline void write_head(void *frame, struct plan *plan, int words)
{
	for (int i = 0; i < words; i++)
		((__u64 *)frame)[i] = plan->head[i];
}

/* The product may have put a header before the frame. */
static __always_inline void shrink(CONTEXT *ctx, struct plan *plan)
{
#ifdef HOOK_XDP
	int more = (long)ctx->data_end - (long)ctx->data - plan->length;
	if (more)
		bpf_xdp_adjust_head(ctx, more);
#else
	(void)ctx, (void)plan;
#endif
}

static __always_inline __u32 next_flow(struct plan *plan)
{
	return (plan->turn++ * plan->step) & plan->mask;
}

static __always_inline int go_on(CONTEXT *ctx)
{
	bpf_tail_call_static(ctx, &next, 0);
	return SEND;
}

SEC(HOOK)
int generate4(CONTEXT *ctx)
{
	struct plan *plan = the_plan();
	if (!plan)
		return 0;
	shrink(ctx, plan);
	struct frame4 *frame = (void *)(long)ctx->data;
	if ((void *)(frame + 1) > (void *)(long)ctx->data_end)
		return 0;
	__u32 flow = next_flow(plan);
	__be32 client = bpf_htonl(flow >> CLIENT_PORTS), backend = bpf_htonl(flow & plan->backends);
	__be16 port = bpf_htons(CLIENT_PORT | (flow & ((1 << CLIENT_PORTS) - 1)));
	__u32 sum = (client & 0xffff) + (client >> 16) + (backend >> 16);

	write_head(frame, plan, 6);
	((__u32 *)frame)[12] = plan->head[6];
	((__u16 *)frame)[26] = plan->head[6] >> 32;
	if (plan->reply) {
		frame->ip.daddr |= client;
		frame->ip.saddr |= backend;
		frame->tcp.dest = port;
	} else {
		frame->ip.saddr |= client;
		frame->tcp.source = port;
	}
	frame->ip.check = fold(plan->ip_sum + sum);
	if (plan->proto == IPPROTO_TCP)
		frame->tcp.check = fold(plan->transport_sum + sum + port);
	else
		frame->udp.check = fold(plan->transport_sum + sum + port);
	return go_on(ctx);
}

SEC(HOOK)
int generate6(CONTEXT *ctx)
{
	struct plan *plan = the_plan();
	if (!plan)
		return 0;
	shrink(ctx, plan);
	struct frame6 *frame = (void *)(long)ctx->data;
	if ((void *)(frame + 1) > (void *)(long)ctx->data_end)
		return 0;
	__u32 flow = next_flow(plan);
	__be32 client = bpf_htonl(flow >> CLIENT_PORTS), backend = bpf_htonl(flow & plan->backends);
	__be16 port = bpf_htons(CLIENT_PORT | (flow & ((1 << CLIENT_PORTS) - 1)));
	__u32 sum = (client & 0xffff) + (client >> 16) + (backend >> 16);

	write_head(frame, plan, 9);
	((__u16 *)frame)[36] = plan->head[9];
	if (plan->reply) {
		frame->ip.daddr.in6_u.u6_addr32[3] |= client;
		frame->ip.saddr.in6_u.u6_addr32[3] |= backend;
		frame->tcp.dest = port;
	} else {
		frame->ip.saddr.in6_u.u6_addr32[3] |= client;
		frame->tcp.source = port;
	}
	if (plan->proto == IPPROTO_TCP)
		frame->tcp.check = fold(plan->transport_sum + sum + port);
	else
		frame->udp.check = fold(plan->transport_sum + sum + port);
	return go_on(ctx);
}

SEC(HOOK)
int nothing(CONTEXT *ctx)
{
	(void)ctx;
	return SEND;
}

/* What came in, and one of a thousand to look at. */
struct seen {
	__be32 address; /* where it should go to */
	__be32 netmask;
	__u64 answers; /* a SYN is answered as a server does */
	__u64 right;
	__u64 wrong;
	__u64 last[7];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct seen);
} arrivals SEC(".maps");

/* Turns a SYN, which acknowledges nothing, into the SYN-ACK to it. Exchanged addresses and ports leave the sums as they
 * are. */
static __always_inline int answer(CONTEXT *ctx, struct frame4 *frame)
{
	struct frame4 syn = *frame;
	__builtin_memcpy(frame->eth.h_dest, syn.eth.h_source, ETH_ALEN);
	__builtin_memcpy(frame->eth.h_source, syn.eth.h_dest, ETH_ALEN);
	frame->ip.saddr = syn.ip.daddr;
	frame->ip.daddr = syn.ip.saddr;
	frame->tcp.source = syn.tcp.dest;
	frame->tcp.dest = syn.tcp.source;
	frame->tcp.ack = 1;
	frame->tcp.ack_seq = bpf_htonl(bpf_ntohl(syn.tcp.seq) + 1);
	__u32 more = bpf_htons(0x0010) + (frame->tcp.ack_seq & 0xffff) + (frame->tcp.ack_seq >> 16);
	frame->tcp.check = fold((__u16)~syn.tcp.check + more);
	/* Not XDP_TX: veth wakes the other end for it only where that has an XDP program, too. */
	return bpf_redirect(ctx->ingress_ifindex, 0);
}

/* It takes packets in the form in which they come: frames by XDP, socket buffers by tc. */
SEC(HOOK)
int sink(CONTEXT *ctx)
{
	struct frame4 *frame = (void *)(long)ctx->data;
	__u32 zero = 0;
	struct seen *seen = bpf_map_lookup_elem(&arrivals, &zero);
	/* What is shorter or of another protocol, ARP above all, the host may want. */
	if (!seen || (void *)(frame + 1) > (void *)(long)ctx->data_end || frame->eth.h_proto != bpf_htons(ETH_P_IP))
		return PASS;
	if ((frame->ip.daddr & seen->netmask) != seen->address) {
		seen->wrong++;
		return DROP;
	}
	seen->right++;
	if (seen->answers && frame->ip.protocol == IPPROTO_TCP && frame->tcp.syn && !frame->tcp.ack)
		return answer(ctx, frame);
	if ((seen->right - 1) & 1023)
		return DROP;
	for (int i = 0; i < 6; i++)
		seen->last[i] = ((__u64 *)frame)[i];
	seen->last[6] = *(__u32 *)((void *)frame + 48) | (__u64)*(__u16 *)((void *)frame + 52) << 32;
	return DROP;
}

#ifdef HOOK_XDP

SEC("xdp.frags")
int pass(struct xdp_md *ctx)
{
	(void)ctx;
	return XDP_PASS;
}

#endif

char LICENSE[] SEC("license") = "GPL";

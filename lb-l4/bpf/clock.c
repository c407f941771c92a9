/* Tells the control plane what time it is for the data plane: jiffies, and the clock beside them. It is
 * run by BPF_PROG_TEST_RUN alone, and never attached. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct reading {
	__u64 jiffies;
	__u64 ns; /* CLOCK_MONOTONIC */
};

SEC("xdp")
int lb_clock(struct xdp_md *ctx)
{
	struct reading *reading = (void *)(long)ctx->data;
	if ((void *)(reading + 1) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	reading->jiffies = bpf_jiffies64();
	reading->ns = bpf_ktime_get_ns();
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";

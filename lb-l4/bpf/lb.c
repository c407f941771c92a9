/* The data plane of layer 4, from packet to verdict. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "maps.h"

#ifdef HOOK_XDP
SEC("xdp")
int lb(struct xdp_md *ctx)
{
	(void)ctx;
	return XDP_PASS;
}
#else
SEC("classifier")
int lb(struct __sk_buff *ctx)
{
	(void)ctx;
	return -1;
}
#endif

char LICENSE[] SEC("license") = "GPL";

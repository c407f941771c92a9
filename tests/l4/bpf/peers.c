#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

static int sums_up(const __u16 *words)
{
	__u32 sum = 0;
	for (int i = 0; i < 10; i++)
		sum += words[i];
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum == 0xffff;
}

// What a backend of `mode: tunnel` does with IPIP and IP6IP6, for kernels that have no such devices: takes the
// outer header off as the packet comes in. An outer IPv4 header with a wrong checksum stays on.
SEC("classifier")
int decap(struct __sk_buff *skb)
{
	int outer = 0;

	bpf_skb_pull_data(skb, sizeof(struct ethhdr) + sizeof(struct ipv6hdr));
	struct ethhdr *eth = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;
	if ((void *)(eth + 1) > end)
		return TC_ACT_UNSPEC;
	if (eth->h_proto == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = (void *)(eth + 1);
		if ((void *)(ip + 1) <= end && ip->protocol == 4 && ip->ihl == 5 && sums_up((void *)ip))
			outer = sizeof(*ip);
	} else if (eth->h_proto == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip = (void *)(eth + 1);
		if ((void *)(ip + 1) <= end && ip->nexthdr == 41)
			outer = sizeof(*ip);
	}
	if (outer)
		bpf_skb_adjust_room(skb, -outer, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO);
	return TC_ACT_UNSPEC;
}

char LICENSE[] SEC("license") = "GPL";

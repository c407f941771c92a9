/* Who writes, who reads: ARCHITECTURE.md has the table. Sizes marked (l) are set by the loader. */
#ifndef LB_MAPS_H
#define LB_MAPS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "types.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct settings);
	__uint(map_flags, BPF_F_MMAPABLE);
} settings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1024); /* (l) a power of two */
	__type(key, __u32);
	__type(value, struct bucket);
	__uint(map_flags, BPF_F_MMAPABLE);
} flows SEC(".maps");

/* Mappable, for then a line begins at a cache line. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SHORTCUT_LINES);
	__type(key, __u32);
	__type(value, struct shortcut_line);
	__uint(map_flags, BPF_F_MMAPABLE);
} shortcuts SEC(".maps");

/* A byte for each bucket: 1, a flow in it has changed so that other nodes should know. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 128); /* (l) an eighth of `flows` */
	__type(key, __u32);
	__type(value, __u64);
	__uint(map_flags, BPF_F_MMAPABLE);
} marks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192); /* (l) */
	__type(key, struct vip_key);
	__type(value, __u32);
} vips SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4096); /* (l) */
	__type(key, __u32);
	__type(value, struct frontend);
	__uint(map_flags, BPF_F_MMAPABLE);
} frontends SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 65536); /* (l) */
	__type(key, __u32);
	__type(value, struct dest);
	__uint(map_flags, BPF_F_MMAPABLE);
} dests SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 65536); /* (l) as dests */
	__type(key, __u32);
	__type(value, struct dest_hop);
	__uint(map_flags, BPF_F_MMAPABLE);
} hops SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 65536); /* (l) as dests */
	__type(key, __u32);
	__type(value, struct load);
	__uint(map_flags, BPF_F_MMAPABLE);
} loads SEC(".maps");

/* Two entries (indexes of dests) to an element: even entries in the low half. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1048576); /* (l) */
	__type(key, __u32);
	__type(value, __u64);
	__uint(map_flags, BPF_F_MMAPABLE);
} rings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, struct addr);
} snat SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 65536); /* (l) as dests */
	__type(key, __u32);
	__type(value, struct stats);
} stats SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNT_END);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

/* Turns of round-robin; by frontend. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 4096); /* (l) as frontends */
	__type(key, __u32);
	__type(value, __u32);
} turns SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct persist_key);
	__type(value, struct persist);
} persistence SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct frag_key);
	__type(value, struct frag);
} fragments SEC(".maps");

/* Interfaces that XDP may send to. */
struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP_HASH);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, __u32);
} egress SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct vlan);
} vlans SEC(".maps");

/* Next hops that the kernel does not know, and clients' own addresses among next hops. The control plane takes them out
 * and has the kernel resolve them; while it is full, nothing more is asked for. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, struct neighbour);
	__type(value, __u32);
} neighbours SEC(".maps");

/* This host's addresses on the interfaces that the program is on: enum mac_state. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct mac_key);
	__type(value, __u32);
} macs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 262144);
} samples SEC(".maps");

#endif

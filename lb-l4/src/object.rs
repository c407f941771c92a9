//! The data plane as build.rs compiled it from `bpf/lb.c`, once for each hook.

/// For native XDP.
pub const XDP: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/lb_xdp.o"));
/// For tc (tcx), where offloads, GSO and checksums are the kernel's business.
pub const TC: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/lb_tc.o"));
/// Name of the program in both.
pub const PROGRAM: &str = "lb";
/// What [`crate::clock`] runs.
pub const CLOCK: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/lb_clock.o"));
pub const CLOCK_PROGRAM: &str = "lb_clock";
/// What [`crate::sync`] enters flows of other nodes by.
pub const SYNC: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/lb_sync.o"));
pub const SYNC_PROGRAM: &str = "lb_import";

//! The twin of `bpf/types.h`: names, order and sizes are the same, and explained there.

use std::net::{IpAddr, Ipv6Addr};

/// Raised with every change that another version could not read.
pub const LAYOUT: u32 = 4;
pub const WAYS: usize = 8;
pub const SAMPLE_BYTES: usize = 128;
pub const MAC_SLOTS: usize = 64;

/// Network order; IPv4 as `::ffff:a.b.c.d`.
#[repr(C, align(8))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Addr(pub [u8; 16]);

impl From<IpAddr> for Addr {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(v4) => Self(v4.to_ipv6_mapped().octets()),
            IpAddr::V6(v6) => Self(v6.octets()),
        }
    }
}

impl From<Addr> for IpAddr {
    fn from(addr: Addr) -> Self {
        let v6 = Ipv6Addr::from(addr.0);
        v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4)
    }
}

/// Ports as on the wire.
#[repr(transparent)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Port(u16);

impl From<u16> for Port {
    fn from(port: u16) -> Self {
        Self(port.to_be())
    }
}

impl From<Port> for u16 {
    fn from(port: Port) -> Self {
        u16::from_be(port.0)
    }
}

#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct FlowKey {
    pub src: Addr,
    pub dst: Addr,
    pub sport: Port,
    pub dport: Port,
    pub proto: u8,
    pub zero: [u8; 3],
}

/// `enum flow_state`
pub mod flow_state {
    pub const NONE: u8 = 0;
    pub const SYN: u8 = 1;
    pub const SYN_RECV: u8 = 2;
    pub const ESTABLISHED: u8 = 3;
    pub const FIN: u8 = 4;
    pub const TIME_WAIT: u8 = 5;
    pub const CLOSED: u8 = 6;
    pub const UDP_NEW: u8 = 7;
    pub const UDP: u8 = 8;
    pub const COUNT: usize = 9;
}

/// `enum flow_flag`
pub mod flow_flag {
    pub const REPLY: u8 = 1;
    pub const SNAT: u8 = 2;
    pub const FIN_FWD: u8 = 4;
    pub const FIN_BACK: u8 = 8;
    pub const COUNTED: u8 = 16;
    pub const SYNCED: u8 = 32;
}

#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hop {
    pub ifindex: u32,
    pub dmac: [u8; 6],
    pub smac: [u8; 6],
    pub vlan: Port,
    pub mtu: u16,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flow {
    pub key: FlowKey,
    pub expires: u32,
    pub dest: u32,
    pub incarnation: u16,
    pub state: u8,
    pub flags: u8,
    pub peer: u32,
    pub renew: u32,
    pub created: u32,
    pub new_src: Addr,
    pub new_dst: Addr,
    pub new_sport: Port,
    pub new_dport: Port,
    pub hop: Hop,
    pub epoch: u32,
    pub addr_delta: u16,
    pub total_delta: u16,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Bucket {
    pub lock: u32,
    pub overflow: u32,
    pub tags: [u32; WAYS],
    pub zero: [u32; 6],
    pub ways: [Flow; WAYS],
}

pub const SHORTCUT_LINES: u32 = 16_384;
pub const SHORTCUT_WAYS: usize = 4;

#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shortcut {
    pub addrs: u64,
    pub rest: u64,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ShortcutLine {
    pub ways: [Shortcut; SHORTCUT_WAYS],
}

/// `enum mode`
pub mod mode {
    pub const NAT: u8 = 1;
    pub const DR: u8 = 2;
    pub const TUNNEL: u8 = 3;
}

/// `enum scheduler`
pub mod scheduler {
    pub const ROUND_ROBIN: u8 = 1;
    pub const LEAST: u8 = 2;
    pub const SOURCE: u8 = 3;
    pub const FLOW: u8 = 4;
}

/// `enum dest_state`
pub mod dest_state {
    pub const UNUSED: u8 = 0;
    pub const READY: u8 = 1;
    pub const DRAIN: u8 = 2;
    pub const DOWN: u8 = 3;
}

/// `enum on_down`
pub mod on_down {
    pub const REBIND: u8 = 0;
    pub const RESET: u8 = 1;
    pub const KEEP: u8 = 2;
}

#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dest {
    pub addr: Addr,
    pub tunnel_src: Addr,
    pub frontend: u32,
    pub weight: u32,
    pub port: Port,
    pub incarnation: u16,
    pub state: u8,
    pub on_down: u8,
    pub mode: u8,
    pub zero: [u8; 17],
}

/// `enum frontend_flag`
pub mod frontend_flag {
    pub const PERSIST: u8 = 1;
    pub const SNAT: u8 = 2;
}

#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Frontend {
    pub ring: u64,
    pub mode: u8,
    pub scheduler: u8,
    pub flags: u8,
    pub on_down: u8,
    pub prefix4: u8,
    pub prefix6: u8,
    pub proto: u8,
    pub used: u8,
    pub established: u32,
    pub syn: u32,
    pub fin: u32,
    pub close: u32,
    pub udp: u32,
    pub persist: u32,
    pub snat_base: u32,
    pub snat_count: u32,
    pub addr: Addr,
    pub port: Port,
    pub zero: [u8; 6],
}

#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct VipKey {
    pub addr: Addr,
    pub port: Port,
    pub proto: u8,
    pub zero: [u8; 5],
}

#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    pub active: u32,
    pub inactive: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DestHop {
    pub hops: [Hop; 2],
    pub current: u32,
    pub checked: u32,
    pub epoch: u32,
    pub path_mtu: u16,
    pub zero: u16,
    pub path_mtu_until: u32,
    pub none: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    pub packets_in: u64,
    pub bytes_in: u64,
    pub packets_out: u64,
    pub bytes_out: u64,
    pub flows: u64,
}

/// `enum counter`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Counter {
    NoBackend = 0,
    NoRoute,
    NoNeighbour,
    TableFull,
    SnatExhausted,
    BackendDown,
    Malformed,
    Fragment,
    Ttl,
    TooBig,
    NoFlow,
    Egress,
    Headroom,
    Standby,
    EvictExpired = 16,
    EvictHalfOpen,
    EvictClosing,
    Stateless,
    Adopted,
    Rebound,
    ResetSent,
    IcmpSent,
    IcmpForwarded,
    Echo,
    PassedUp,
    LockBusy,
}

impl Counter {
    /// Packets that were dropped, by reason.
    pub const DROPS: [Self; 14] = [
        Self::NoBackend,
        Self::NoRoute,
        Self::NoNeighbour,
        Self::TableFull,
        Self::SnatExhausted,
        Self::BackendDown,
        Self::Malformed,
        Self::Fragment,
        Self::Ttl,
        Self::TooBig,
        Self::NoFlow,
        Self::Egress,
        Self::Headroom,
        Self::Standby,
    ];
    /// Flows that gave way.
    pub const EVICTIONS: [Self; 3] = [Self::EvictExpired, Self::EvictHalfOpen, Self::EvictClosing];
    /// What else happened.
    pub const EVENTS: [Self; 9] = [
        Self::Stateless,
        Self::Adopted,
        Self::Rebound,
        Self::ResetSent,
        Self::IcmpSent,
        Self::IcmpForwarded,
        Self::Echo,
        Self::PassedUp,
        Self::LockBusy,
    ];

    /// The metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoBackend => "no_backend",
            Self::NoRoute => "no_route",
            Self::NoNeighbour => "no_neighbour",
            Self::TableFull => "table_full",
            Self::SnatExhausted => "snat_exhausted",
            Self::BackendDown => "backend_down",
            Self::Malformed => "malformed",
            Self::Fragment => "fragment",
            Self::Ttl => "ttl",
            Self::TooBig => "too_big",
            Self::NoFlow => "no_flow",
            Self::Egress => "egress",
            Self::Headroom => "headroom",
            Self::Standby => "standby",
            Self::EvictExpired => "expired",
            Self::EvictHalfOpen => "half_open",
            Self::EvictClosing => "closing",
            Self::Stateless => "stateless",
            Self::Adopted => "adopted",
            Self::Rebound => "rebound",
            Self::ResetSent => "reset_sent",
            Self::IcmpSent => "icmp_sent",
            Self::IcmpForwarded => "icmp_forwarded",
            Self::Echo => "echo",
            Self::PassedUp => "passed_up",
            Self::LockBusy => "lock_busy",
        }
    }
}

/// Entries of the map of counters.
pub const COUNTERS: usize = Counter::LockBusy as usize + 1;

#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    pub flow_seed: u64,
    pub ring_seed: u64,
    pub hz: u32,
    pub tick_shift: u32,
    pub epoch: u32,
    pub new_flows: u32,
    pub sample_mask: u32,
    pub sample_frontend: u32,
    pub snat_first: u16,
    pub snat_last: u16,
    pub answers: u32,
    pub mac_factor: u64,
    pub macs: [u64; MAC_SLOTS],
    pub vip_bits: [u64; 64],
}

#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MacKey {
    pub ifindex: u32,
    pub mac: [u8; 6],
    pub zero: u16,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Neighbour {
    pub addr: Addr,
    pub ifindex: u32,
    pub zero: u32,
}

/// `enum mac_state`
pub mod mac_state {
    pub const NONE: u32 = 0;
    pub const OURS: u32 = 1;
    pub const STANDBY: u32 = 2;
}

#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct PersistKey {
    pub client: Addr,
    pub frontend: u32,
    pub zero: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Persist {
    pub dest: u32,
    pub expires: u32,
    pub incarnation: u16,
    pub zero: u16,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct FragKey {
    pub src: Addr,
    pub dst: Addr,
    pub id: u32,
    pub proto: u8,
    pub zero: [u8; 3],
}

#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Frag {
    pub sport: Port,
    pub dport: Port,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Vlan {
    pub parent: u32,
    pub tci: Port,
    pub zero: u16,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    pub time_ns: u64,
    pub ifindex: u32,
    pub dest: u32,
    pub length: u32,
    pub verdict: u8,
    pub reason: u8,
    pub reply: u8,
    pub captured: u8,
    pub bytes: [u8; SAMPLE_BYTES],
}

#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Import {
    pub key: FlowKey,
    pub snat: Addr,
    pub snat_port: Port,
    pub incarnation: u16,
    pub dest: u32,
    pub age: u32,
    pub lived: u32,
    pub state: u8,
    pub flags: u8,
    pub result: u8,
    pub zero: [u8; 5],
}

/// `enum imported`
pub mod imported {
    pub const NONE: u8 = 0;
    pub const MADE: u8 = 1;
    pub const CHANGED: u8 = 2;
    pub const OLDER: u8 = 3;
    pub const OVER: u8 = 4;
    pub const GONE: u8 = 5;
    pub const TAKEN: u8 = 6;
    pub const FULL: u8 = 7;
    pub const COUNT: usize = 8;
}

/// As `sizeof` in C; the test beside the object's BTF compares every offset too.
const _: () = {
    assert!(size_of::<FlowKey>() == 40);
    assert!(size_of::<Hop>() == 20);
    assert!(size_of::<Flow>() == 128);
    assert!(size_of::<Bucket>() == 1088);
    assert!(size_of::<Dest>() == 64);
    assert!(size_of::<Frontend>() == 72);
    assert!(size_of::<VipKey>() == 24);
    assert!(size_of::<DestHop>() == 64);
    assert!(size_of::<Neighbour>() == 24);
    assert!(size_of::<Stats>() == 40);
    assert!(size_of::<Settings>() == 1080);
    assert!(size_of::<PersistKey>() == 24);
    assert!(size_of::<Persist>() == 12);
    assert!(size_of::<FragKey>() == 40);
    assert!(size_of::<Sample>() == 152);
    assert!(size_of::<Import>() == 80);
};

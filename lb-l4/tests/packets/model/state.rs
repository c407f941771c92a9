//! What the control plane has written, and what packets change.

use std::collections::{HashMap, HashSet};
use std::fmt;

use lb_l4::abi::{
    Addr, COUNTERS, Dest, FlowKey, Frag, FragKey, Frontend, Hop, Load, Persist, PersistKey, Port, Settings, Stats,
    VipKey, Vlan,
};

use lb_l4::macs::Macs;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    Xdp,
    Tc,
}

/// What the kernel's routing table says about an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    Via(Hop),
    NoNeighbour,
    Unreachable,
    /// One of the node's own, or forwarding is off.
    NotForwarded,
}

#[derive(Clone)]
pub struct Config {
    pub hook: Hook,
    pub settings: Settings,
    pub vips: HashMap<VipKey, u32>,
    pub frontends: Vec<Frontend>,
    pub dests: Vec<Dest>,
    pub rings: Vec<u32>,
    pub snat: Vec<Addr>,
    pub egress: HashSet<u32>,
    pub vlans: HashMap<u32, Vlan>,
    pub macs: Macs,
    pub route: fn(Addr) -> Route,
    /// Interface and address of the next hop, whether it is resolved or not.
    pub next_hop: fn(Addr) -> Option<(u32, Addr)>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    pub flows: HashMap<FlowKey, Entry>,
    pub fragments: HashMap<FragKey, Frag>,
    pub persistence: HashMap<PersistKey, Persist>,
    /// By destination, as are `loads` and `stats`.
    pub hops: Vec<HopState>,
    pub loads: Vec<Load>,
    pub stats: Vec<Stats>,
    pub counters: Vec<u64>,
    /// Next hops that the control plane is to have resolved.
    pub asked: HashSet<(u32, Addr)>,
    /// By frontend.
    pub turns: Vec<u32>,
    pub tick: u32,
    /// Flows made in this tick.
    pub new_flows: u32,
    /// Errors and resets sent in it.
    pub answers: u32,
}

impl State {
    pub fn new(config: &Config) -> Self {
        let dests = config.dests.len();
        Self {
            hops: vec![HopState::default(); dests],
            loads: vec![Load::default(); dests],
            stats: vec![Stats::default(); dests],
            counters: vec![0; COUNTERS],
            turns: vec![0; config.frontends.len()],
            ..Self::default()
        }
    }
}

/// One direction of a flow.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    pub dest: u32,
    pub incarnation: u16,
    pub state: u8,
    pub flags: u8,
    pub expires: u32,
    /// The first packet from then on sets `expires` anew.
    pub renew: u32,
    pub peer: Option<FlowKey>,
    pub new_src: Addr,
    pub new_dst: Addr,
    pub new_sport: Port,
    pub new_dport: Port,
    /// Of replies.
    pub hop: Option<Hop>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HopState {
    pub hop: Option<Hop>,
    pub checked: u32,
    pub epoch: u32,
    /// 0: none.
    pub path_mtu: u16,
    pub path_mtu_until: u32,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { dest, incarnation, state, flags, expires, renew, hop, .. } = self;
        let end = |addr: Addr, port: Port| format!("{} {}", std::net::IpAddr::from(addr), u16::from(port));
        write!(
            f,
            "dest {dest}.{incarnation} state {state} flags {flags:#x} expires {expires} renew {renew} hop {hop:?} "
        )?;
        write!(f, "to {} from {}", end(self.new_dst, self.new_dport), end(self.new_src, self.new_sport))
    }
}

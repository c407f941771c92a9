//! What the control plane would have written: frontends of every kind, told apart by their port.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use lb_l4::abi::{
    Addr, Dest, Frontend, MAC_SLOTS, Port, Settings, VipKey, Vlan, dest_state, frontend_flag, mode, on_down, scheduler,
};
use lb_l4::hash;
use lb_l4::macs::Slots;

use super::net::{self, BACKENDS, CLIENTS, SMALL, TAG, TAGGED};
use crate::model::{Config, Hook, ICMP, ICMP6, TCP, UDP};

/// Frontends by port.
pub mod port {
    pub const NAT: u16 = 80;
    pub const SNAT: u16 = 81;
    pub const DR: u16 = 82;
    pub const TUNNEL: u16 = 83;
    pub const NAT_SOURCE: u16 = 84;
    pub const DR_ROUND_ROBIN: u16 = 85;
    pub const NAT_LEAST: u16 = 86;
    pub const NAT_PERSIST: u16 = 87;
    pub const NAT_SMALL: u16 = 88;
    pub const TUNNEL_SMALL: u16 = 89;
    pub const DR_SMALL: u16 = 90;
    pub const NAT_SILENT: u16 = 91;
    pub const DR_SILENT: u16 = 92;
    pub const TUNNEL_SILENT: u16 = 93;
    pub const NAT_NOWHERE: u16 = 94;
    pub const DR_NOWHERE: u16 = 95;
    pub const NAT_LOCAL: u16 = 96;
    pub const DR_LOCAL: u16 = 97;
    pub const NAT_ELSEWHERE: u16 = 98;
    pub const DR_ELSEWHERE: u16 = 99;
    pub const NAT_TAGGED: u16 = 100;
    pub const DR_TAGGED: u16 = 101;
    pub const NAT_ONE_ARM: u16 = 102;
    pub const DR_ONE_ARM: u16 = 103;
    pub const TUNNEL_ONE_ARM: u16 = 104;
    pub const EMPTY: u16 = 105;
    pub const NAT_RESET: u16 = 106;
    pub const NAT_KEEP: u16 = 107;
    pub const NAT_REBIND: u16 = 108;
    pub const DR_RESET: u16 = 109;
    pub const DR_FLOW: u16 = 110;
    pub const DR_PERSIST: u16 = 111;
    pub const SNAT_LEAST: u16 = 112;
    /// With the address of each backend's own network.
    pub const SNAT_AUTO: u16 = 113;
    /// The same, where we have none.
    pub const SNAT_NONE: u16 = 114;
    /// Every port of `vip_all`.
    pub const ALL: u16 = 0;
}

/// What backends of NAT listen on.
pub const BACKEND_PORT: u16 = 8080;
pub const SNAT_PORTS: (u16, u16) = (20000, 20003);
/// In jiffies; further apart than a test takes.
pub const ESTABLISHED: u32 = 8_000_000;
pub const SYN: u32 = 600_000;
pub const FIN: u32 = 1_200_000;
pub const CLOSE: u32 = 100_000;
pub const DATAGRAM: u32 = 3_000_000;
pub const PERSIST: u32 = 5_000_000;
pub const HZ: u32 = 250;

struct Spec {
    port: u16,
    mode: u8,
    scheduler: u8,
    flags: u8,
    on_down: u8,
    /// Network and host number.
    backends: &'static [(u8, u8)],
}

const ONE: &[(u8, u8)] = &[(2, 11)];
const TWO: &[(u8, u8)] = &[(2, 11), (2, 12)];
const TWO_NETWORKS: &[(u8, u8)] = &[(2, 11), (3, 11)];
const THREE: &[(u8, u8)] = &[(2, 11), (2, 12), (2, 13)];

const fn spec(port: u16, mode: u8, scheduler: u8, backends: &'static [(u8, u8)]) -> Spec {
    Spec { port, mode, scheduler, flags: 0, on_down: on_down::REBIND, backends }
}

const fn flagged(spec: Spec, flags: u8) -> Spec {
    Spec { flags, ..spec }
}

const fn on_down(spec: Spec, on_down: u8) -> Spec {
    Spec { on_down, ..spec }
}

use mode::{DR, NAT, TUNNEL};
use scheduler::{FLOW, LEAST, ROUND_ROBIN, SOURCE};

const SPECS: [Spec; 36] = [
    spec(port::NAT, NAT, ROUND_ROBIN, ONE),
    flagged(spec(port::SNAT, NAT, ROUND_ROBIN, ONE), frontend_flag::SNAT),
    spec(port::DR, DR, SOURCE, ONE),
    spec(port::TUNNEL, TUNNEL, FLOW, ONE),
    spec(port::NAT_SOURCE, NAT, SOURCE, TWO),
    spec(port::DR_ROUND_ROBIN, DR, ROUND_ROBIN, TWO),
    spec(port::NAT_LEAST, NAT, LEAST, THREE),
    flagged(spec(port::NAT_PERSIST, NAT, ROUND_ROBIN, TWO), frontend_flag::PERSIST),
    spec(port::NAT_SMALL, NAT, FLOW, &[(3, 11)]),
    spec(port::TUNNEL_SMALL, TUNNEL, FLOW, &[(3, 11)]),
    spec(port::DR_SMALL, DR, FLOW, &[(3, 11)]),
    spec(port::NAT_SILENT, NAT, FLOW, &[(2, net::SILENT)]),
    spec(port::DR_SILENT, DR, FLOW, &[(2, net::SILENT)]),
    spec(port::TUNNEL_SILENT, TUNNEL, FLOW, &[(2, net::SILENT)]),
    spec(port::NAT_NOWHERE, NAT, FLOW, &[(9, 11)]),
    spec(port::DR_NOWHERE, DR, FLOW, &[(9, 11)]),
    spec(port::NAT_LOCAL, NAT, FLOW, &[(2, 1)]),
    spec(port::DR_LOCAL, DR, FLOW, &[(2, 1)]),
    spec(port::NAT_ELSEWHERE, NAT, FLOW, &[(5, 11)]),
    spec(port::DR_ELSEWHERE, DR, FLOW, &[(5, 11)]),
    spec(port::NAT_TAGGED, NAT, FLOW, &[(4, 11)]),
    spec(port::DR_TAGGED, DR, FLOW, &[(4, 11)]),
    spec(port::NAT_ONE_ARM, NAT, FLOW, &[(1, 11)]),
    spec(port::DR_ONE_ARM, DR, FLOW, &[(1, 11)]),
    spec(port::TUNNEL_ONE_ARM, TUNNEL, FLOW, &[(1, 11)]),
    spec(port::EMPTY, NAT, ROUND_ROBIN, &[]),
    on_down(spec(port::NAT_RESET, NAT, ROUND_ROBIN, TWO), on_down::RESET),
    on_down(spec(port::NAT_KEEP, NAT, ROUND_ROBIN, TWO), on_down::KEEP),
    spec(port::NAT_REBIND, NAT, ROUND_ROBIN, TWO),
    on_down(spec(port::DR_RESET, DR, FLOW, TWO), on_down::RESET),
    spec(port::DR_FLOW, DR, FLOW, THREE),
    flagged(spec(port::DR_PERSIST, DR, ROUND_ROBIN, TWO), frontend_flag::PERSIST),
    flagged(spec(port::SNAT_LEAST, NAT, LEAST, TWO), frontend_flag::SNAT),
    flagged(spec(port::SNAT_AUTO, NAT, ROUND_ROBIN, TWO_NETWORKS), frontend_flag::SNAT),
    flagged(spec(port::SNAT_NONE, NAT, ROUND_ROBIN, ONE), frontend_flag::SNAT),
    spec(port::ALL, NAT, ROUND_ROBIN, ONE),
];

pub fn ports() -> impl Iterator<Item = u16> {
    SPECS.iter().map(|spec| spec.port)
}

pub fn vip(v6: bool) -> IpAddr {
    if v6 { "2001:db8:203::1" } else { "203.0.113.1" }.parse().expect("an address")
}

/// Forwarded on every port.
pub fn vip_all(v6: bool) -> IpAddr {
    if v6 { "2001:db8:203::2" } else { "203.0.113.2" }.parse().expect("an address")
}

pub fn tunnel_src(v6: bool) -> IpAddr {
    if v6 { "2001:db8:203::9" } else { "203.0.113.9" }.parse().expect("an address")
}

/// Ours on a network of backends.
pub fn own(v6: bool, net: u8) -> IpAddr {
    net::backend(v6, net, 210)
}

pub fn snat(v6: bool, n: u32) -> IpAddr {
    if v6 { format!("fd02::20{n}") } else { format!("10.2.0.20{n}") }.parse().expect("an address")
}

/// Index of a frontend.
pub fn frontend(port: u16, v6: bool, proto: u8) -> u32 {
    let at = SPECS.iter().position(|spec| spec.port == port).expect("a frontend on that port");
    (at * 4 + usize::from(v6) * 2 + usize::from(proto == UDP)) as u32
}

pub fn config(hook: Hook) -> Config {
    let mut config = Config {
        hook,
        settings: settings(),
        vips: HashMap::new(),
        frontends: Vec::new(),
        dests: Vec::new(),
        rings: Vec::new(),
        snat: [false, true].into_iter().flat_map(|v6| (0..2).map(move |n| snat(v6, n).into())).collect(),
        egress: HashSet::from([CLIENTS, BACKENDS, SMALL]),
        vlans: HashMap::from([(TAGGED, Vlan { parent: BACKENDS, tci: TAG.into(), zero: 0 })]),
        macs: net::macs(),
        route: net::route,
        next_hop: net::next_hop,
    };
    for spec in &SPECS {
        for (v6, proto) in [(false, TCP), (false, UDP), (true, TCP), (true, UDP)] {
            add(&mut config, spec, v6, proto);
        }
    }
    for (v6, proto) in [(false, ICMP), (true, ICMP6)] {
        config.vips.insert(key(vip(v6).into(), 0, proto), frontend(port::ALL, v6, TCP));
    }
    for addr in config.vips.keys().map(|key| key.addr).collect::<HashSet<Addr>>() {
        let bit = hash::addr_bit(&addr);
        config.settings.vip_bits[bit >> 6] |= 1 << (bit & 63);
    }
    find_macs_by_slot(&mut config);
    config
}

/// As the control plane does it after each change.
pub fn find_macs_by_slot(config: &mut Config) {
    let slots = Slots::of(&config.macs);
    (config.settings.mac_factor, config.settings.macs) = (slots.factor, slots.words);
}

fn settings() -> Settings {
    Settings {
        flow_seed: 0x0123_4567_89AB_CDEF,
        ring_seed: 0xFEDC_BA98_7654_3210,
        hz: HZ,
        tick_shift: 30, // one tick for a whole run
        epoch: 1,
        new_flows: 0,
        sample_mask: u32::MAX,
        sample_frontend: u32::MAX,
        snat_first: SNAT_PORTS.0,
        snat_last: SNAT_PORTS.1,
        answers: 0,
        mac_factor: 1,
        macs: [0; MAC_SLOTS],
        vip_bits: [0; 64],
    }
}

fn add(config: &mut Config, spec: &Spec, v6: bool, proto: u8) {
    let id = config.frontends.len() as u32;
    let addr: Addr = if spec.port == port::ALL { vip_all(v6) } else { vip(v6) }.into();
    let base = config.rings.len() as u64;
    for (net, host) in spec.backends {
        config.rings.push(config.dests.len() as u32);
        config.dests.push(dest(spec, id, v6, *net, *host));
    }
    config.vips.insert(key(addr, spec.port, proto), id);
    config.frontends.push(Frontend {
        ring: base << 32 | spec.backends.len() as u64,
        mode: spec.mode,
        scheduler: spec.scheduler,
        flags: spec.flags,
        on_down: spec.on_down,
        prefix4: 24,
        prefix6: 64,
        proto,
        used: 1,
        established: ESTABLISHED,
        syn: SYN,
        fin: FIN,
        close: CLOSE,
        udp: DATAGRAM,
        persist: PERSIST,
        snat_base: if v6 { 2 } else { 0 },
        snat_count: if matches!(spec.port, port::SNAT_AUTO | port::SNAT_NONE) { 0 } else { 2 },
        addr,
        port: spec.port.into(),
        zero: [0; 6],
    });
}

fn dest(spec: &Spec, frontend: u32, v6: bool, net: u8, host: u8) -> Dest {
    Dest {
        addr: net::backend(v6, net, host).into(),
        tunnel_src: match spec.port {
            port::SNAT_AUTO => own(v6, net).into(),
            _ if spec.mode == TUNNEL => tunnel_src(v6).into(),
            _ => Addr::default(),
        },
        frontend,
        weight: if host == 13 { 2 } else { 1 },
        port: Port::from(if spec.mode == NAT && spec.port != port::ALL { BACKEND_PORT } else { 0 }),
        incarnation: 1,
        state: dest_state::READY,
        on_down: spec.on_down,
        mode: spec.mode,
        zero: [0; 17],
    }
}

pub fn key(addr: Addr, port: u16, proto: u8) -> VipKey {
    VipKey { addr, port: port.into(), proto, zero: [0; 5] }
}

//! A table that is full: what gives way, what never does, and that nothing is left half behind. The
//! model has no capacity, so the program is asked alone, and its table is audited.

use std::collections::HashMap;
use std::net::IpAddr;

use lb_l4::abi::{Counter, FlowKey, Load, WAYS, flow_flag, flow_state};

use crate::harness::bench::{Bench, Story};
use crate::harness::net::{self, BACKENDS, CLIENTS};
use crate::harness::world::{self, BACKEND_PORT, port};
use crate::model::{Entry, flags};
use crate::packet::Build;

const SYN_ACK: u8 = flags::SYN | flags::ACK;

/// In turn, each from an empty table of 64 buckets.
pub const CASES: &[Story] = &[
    ("a SYN flood leaves established flows alone", |t| {
        let kept: Vec<Build> = (0..200).map(|n| establish_dr(t, n)).collect();
        flood(t, port::DR, 3 * 64 * WAYS as u32);
        for packet in &kept {
            assert!(leaves(t, packet), "an established flow is forwarded");
        }
        let flows = audit(t);
        assert_eq!(flows.values().filter(|entry| entry.state == flow_state::ESTABLISHED).count(), kept.len());
        assert!(counter(t, Counter::EvictHalfOpen) > 500, "{}", counter(t, Counter::EvictHalfOpen));
    }),
    ("a SYN flood leaves established flows of nat alone, in both directions", |t| {
        let kept: Vec<u32> = (0..80).inspect(|&n| establish_nat(t, n)).collect();
        flood(t, port::NAT, 3 * 64 * WAYS as u32);
        for n in kept {
            assert!(leaves(t, &nat(n, flags::ACK)), "what the client sends is forwarded");
            assert!(leaves(t, &reply(n, flags::ACK)), "what the backend sends is forwarded");
        }
        audit(t);
    }),
    ("a SYN flood finds a place for everybody who answers", |t| {
        flood(t, port::DR, 3 * 64 * WAYS as u32);
        for n in 0..20 {
            establish_dr(t, n);
        }
        let established = audit(t).values().filter(|entry| entry.state == flow_state::ESTABLISHED).count();
        assert_eq!(established, 20);
    }),
    ("a table full of established flows: a hash goes on without an entry", |t| {
        let full = fill(t);
        let before = counter(t, Counter::Stateless);
        for n in 0..100 {
            assert!(leaves(t, &client(90_000 + n, port::DR_FLOW, flags::SYN)));
        }
        assert_eq!(counter(t, Counter::Stateless), before + 100);
        assert_eq!(audit(t), full);
    }),
    ("a table full of established flows: turns and nat cannot go on", |t| {
        let full = fill(t);
        for port in [port::DR_ROUND_ROBIN, port::NAT, port::SNAT, port::NAT_SOURCE, port::DR_PERSIST] {
            assert!(!leaves(t, &client(90_000, port, flags::SYN)), "port {port}");
        }
        assert_eq!(counter(t, Counter::TableFull), 5);
        assert_eq!(audit(t), full);
    }),
    ("expired flows give way first", |t| {
        flood(t, port::DR, 400);
        t.age(world::SYN * 2);
        let half_open = counter(t, Counter::EvictHalfOpen);
        for n in 0..40 {
            establish_dr(t, n);
        }
        assert_eq!(counter(t, Counter::EvictHalfOpen), half_open);
        assert!(counter(t, Counter::EvictExpired) > 0);
        audit(t);
    }),
    ("half open flows give way before closing ones, closing ones before established ones", |t| {
        fill_with(t, |t, n| {
            establish_dr(t, n);
            if n % 2 == 0 {
                t.run(CLIENTS, &client(n, port::DR, flags::FIN | flags::ACK).frame());
            }
        });
        let states = |t: &Bench| {
            let mut seen = [0_usize; flow_state::COUNT];
            audit(t).values().for_each(|entry| seen[entry.state as usize] += 1);
            seen
        };
        let (before, closing) = (states(t), counter(t, Counter::EvictClosing));
        flood(t, port::DR, 300);
        let after = states(t);
        assert_eq!(after[flow_state::ESTABLISHED as usize], before[flow_state::ESTABLISHED as usize]);
        let gone = before[flow_state::FIN as usize] - after[flow_state::FIN as usize];
        assert_eq!(counter(t, Counter::EvictClosing) - closing, gone as u64);
        assert!(gone > 0 && counter(t, Counter::EvictHalfOpen) > 0);
    }),
    ("a flow whose peer gave way is gone as a whole", |t| {
        for n in 0..2000 {
            t.run(CLIENTS, &nat(n, flags::SYN).frame());
            if n % 100 == 0 {
                audit(t);
            }
        }
        let flows = audit(t);
        assert!(flows.values().all(|entry| entry.peer.is_some_and(|peer| flows.contains_key(&peer))));
    }),
    ("ports of ours come back with flows that give way", |t| {
        for n in 0..2000 {
            t.run(CLIENTS, &client(n, port::SNAT, flags::SYN).frame());
        }
        let (addresses, ports) = (2, u64::from(world::SNAT_PORTS.1 - world::SNAT_PORTS.0) + 1);
        assert_eq!(audit(t).len() as u64, 2 * addresses * ports);
        assert_eq!(counter(t, Counter::SnatExhausted), 2000 - addresses * ports);
    }),
];

/// Every entry stands where it belongs (compare.rs sees to that), pairs point at each other, and loads are
/// what the entries add up to.
fn audit(t: &Bench) -> HashMap<FlowKey, Entry> {
    let state = t.program_state();
    let mut loads = vec![Load::default(); state.loads.len()];
    for (key, entry) in &state.flows {
        if let Some(peer) = entry.peer {
            assert_eq!(state.flows[&peer].peer, Some(*key), "{peer:?} points back");
        }
        match entry.flags & (flow_flag::REPLY | flow_flag::COUNTED) {
            0 => loads[entry.dest as usize].inactive += 1,
            flow_flag::COUNTED => loads[entry.dest as usize].active += 1,
            _ => {}
        }
    }
    assert_eq!(loads, state.loads);
    // Not the same in two readings, as time goes on.
    state.flows.into_iter().map(|(key, entry)| (key, Entry { expires: 0, renew: 0, ..entry })).collect()
}

fn counter(t: &Bench, counter: Counter) -> u64 {
    t.program_state().counters[counter as usize]
}

/// The nth of many clients, each with an address and a port of its own.
fn client(n: u32, port: u16, tcp: u8) -> Build {
    let [_, a, b, c] = n.to_be_bytes();
    Build::tcp(([100, a, b, c].into(), 1024 + (n % 50_000) as u16), (world::vip(false), port), tcp)
}

fn nat(n: u32, tcp: u8) -> Build {
    client(n, port::NAT, tcp)
}

fn reply(n: u32, tcp: u8) -> Build {
    let to = client(n, port::NAT, 0);
    Build::tcp((backend(), BACKEND_PORT), (to.src, 1024 + (n % 50_000) as u16), tcp)
}

fn backend() -> IpAddr {
    net::backend(false, 2, 11)
}

fn establish_dr(t: &mut Bench, n: u32) -> Build {
    t.run(CLIENTS, &client(n, port::DR, flags::SYN).frame());
    let packet = client(n, port::DR, flags::ACK);
    t.run(CLIENTS, &packet.frame());
    packet
}

fn establish_nat(t: &mut Bench, n: u32) {
    t.run(CLIENTS, &nat(n, flags::SYN).frame());
    t.run(BACKENDS, &reply(n, SYN_ACK).frame());
    t.run(CLIENTS, &nat(n, flags::ACK).frame());
}

/// SYNs of clients that are never heard of again.
fn flood(t: &mut Bench, port: u16, count: u32) {
    for n in 0..count {
        t.run(CLIENTS, &client(1_000_000 + n, port, flags::SYN).frame());
    }
}

/// Until every way of every bucket holds an established flow.
fn fill(t: &mut Bench) -> HashMap<FlowKey, Entry> {
    fill_with(t, |t, n| drop(establish_dr(t, n)));
    let full = audit(t);
    assert!(full.values().all(|entry| entry.state == flow_state::ESTABLISHED));
    full
}

fn fill_with(t: &mut Bench, one: impl Fn(&mut Bench, u32)) {
    let mut n = 0;
    while t.program_state().flows.len() < 64 * WAYS {
        (0..200).for_each(|_| {
            one(t, n);
            n += 1;
        });
        assert!(n < 100_000, "the table does not fill");
    }
}

/// Whether a packet is forwarded, be it to the client or to a backend.
fn leaves(t: &mut Bench, packet: &Build) -> bool {
    let ingress = if packet.src == backend() { BACKENDS } else { CLIENTS };
    t.run(ingress, &packet.frame())
}

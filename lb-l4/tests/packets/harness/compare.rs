//! What the program has written into its maps, in the model's terms, and how the two differ.

use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::hash::Hash;

use lb_l4::abi::{DestHop, Flow, FlowKey, Hop, Persist, Stats, WAYS, flow_flag};
use lb_l4::hash::{Place, hash_table};

use super::program::Maps;
use crate::model::{Config, Entry, HopState, State};

/// In jiffies: how long one case may take.
const TOLERANCE: i32 = 20_000;

/// Shifts the program's times so that its `real_now` is the model's `now`.
#[derive(Clone, Copy)]
pub struct Clocks {
    pub real_now: u32,
    pub now: u32,
}

impl Clocks {
    fn shift(self, time: u32) -> u32 {
        time.wrapping_sub(self.real_now).wrapping_add(self.now)
    }
}

pub fn read(maps: &Maps, config: &Config, clocks: Clocks) -> State {
    State {
        flows: flows(maps, config, clocks),
        fragments: maps.fragments.iter().map(|pair| pair.expect("a fragment")).collect(),
        persistence: maps.persistence.iter().map(|pair| persist(pair.expect("a client"), clocks)).collect(),
        hops: maps.hops.read().iter().map(|entry| hop(entry, clocks)).collect(),
        loads: maps.loads.read(),
        stats: maps.stats.sums(sum),
        counters: maps.counters.sums(|cpus| cpus.iter().sum()),
        asked: maps.neighbours.keys().map(|key| key.map(|key| (key.ifindex, key.addr)).expect("a neighbour")).collect(),
        turns: maps.turns.sums(|cpus| cpus.iter().sum()),
        ..State::default()
    }
}

/// Over the CPUs.
fn sum(values: &[Stats]) -> Stats {
    values.iter().fold(Stats::default(), |a, b| Stats {
        packets_in: a.packets_in + b.packets_in,
        bytes_in: a.bytes_in + b.bytes_in,
        packets_out: a.packets_out + b.packets_out,
        bytes_out: a.bytes_out + b.bytes_out,
        flows: a.flows + b.flows,
    })
}

fn flows(maps: &Maps, config: &Config, clocks: Clocks) -> HashMap<FlowKey, Entry> {
    let buckets = maps.flows.read();
    let mut flows = HashMap::new();
    for (index, bucket) in buckets.iter().enumerate() {
        assert_eq!(bucket.lock, 0, "bucket {index} is locked");
        for (way, flow) in bucket.ways.iter().enumerate().filter(|(way, _)| bucket.tags[*way] != 0) {
            let place = Place::new(hash_table(&flow.key, config.settings.flow_seed), buckets.len() as u32 - 1);
            assert_eq!(bucket.tags[way], place.tag, "the tag of {:?}", flow.key);
            assert!([place.first, place.second].contains(&(index as u32)), "the bucket of {:?}", flow.key);
            let peer = flow.peer.checked_sub(1).map(|peer| {
                let bucket = &buckets[peer as usize / WAYS];
                assert_ne!(bucket.tags[peer as usize % WAYS], 0, "the peer of {:?} is gone", flow.key);
                bucket.ways[peer as usize % WAYS].key
            });
            assert_eq!(flows.insert(flow.key, entry(flow, peer, clocks)), None, "{:?} stands there twice", flow.key);
        }
    }
    flows
}

fn entry(flow: &Flow, peer: Option<FlowKey>, clocks: Clocks) -> Entry {
    Entry {
        dest: flow.dest,
        incarnation: flow.incarnation,
        state: flow.state,
        flags: flow.flags,
        expires: clocks.shift(flow.expires),
        renew: clocks.shift(flow.renew),
        peer,
        new_src: flow.new_src,
        new_dst: flow.new_dst,
        new_sport: flow.new_sport,
        new_dport: flow.new_dport,
        hop: known(flow.hop),
    }
}

fn hop(hop: &DestHop, clocks: Clocks) -> HopState {
    HopState {
        hop: known(hop.hops[hop.current as usize & 1]),
        checked: 0,
        epoch: 0,
        path_mtu: hop.path_mtu,
        path_mtu_until: clocks.shift(hop.path_mtu_until),
    }
}

fn known(hop: Hop) -> Option<Hop> {
    (hop.ifindex != 0).then_some(hop)
}

fn persist<K>((key, value): (K, Persist), clocks: Clocks) -> (K, Persist) {
    (key, Persist { expires: clocks.shift(value.expires), ..value })
}

/// One line for each difference; none if they agree.
pub fn differences(model: &State, program: &State) -> Vec<String> {
    let mut lines = Vec::new();
    maps("flow", &model.flows, &program.flows, same_entry, &mut lines);
    maps("fragment", &model.fragments, &program.fragments, |a, b| a == b, &mut lines);
    maps("client", &model.persistence, &program.persistence, same_persist, &mut lines);
    sets("next hop that is asked for", &model.asked, &program.asked, &mut lines);
    arrays("hop", &model.hops, &program.hops, same_hop, &mut lines);
    arrays("load", &model.loads, &program.loads, |a, b| a == b, &mut lines);
    arrays("stats", &model.stats, &program.stats, |a, b| a == b, &mut lines);
    arrays("turn", &model.turns, &program.turns, |a, b| a == b, &mut lines);
    arrays("counter", &model.counters, &program.counters, |a, b| a == b, &mut lines);
    lines
}

fn maps<K: Eq + Hash + Debug, V: Debug>(
    what: &str,
    model: &HashMap<K, V>,
    program: &HashMap<K, V>,
    same: fn(&V, &V) -> bool,
    lines: &mut Vec<String>,
) {
    for (key, value) in model {
        match program.get(key) {
            Some(other) if same(value, other) => {}
            other => lines.push(format!("{what} {key:?}: model {value:?}, program {other:?}")),
        }
    }
    for (key, value) in program.iter().filter(|(key, _)| !model.contains_key(key)) {
        lines.push(format!("{what} {key:?}: model has none, program {value:?}"));
    }
}

fn sets<K: Eq + Hash + Debug>(what: &str, model: &HashSet<K>, program: &HashSet<K>, lines: &mut Vec<String>) {
    lines.extend(model.difference(program).map(|key| format!("{what}: the model alone has {key:?}")));
    lines.extend(program.difference(model).map(|key| format!("{what}: the program alone has {key:?}")));
}

fn arrays<V: Debug>(what: &str, model: &[V], program: &[V], same: fn(&V, &V) -> bool, lines: &mut Vec<String>) {
    for (index, (value, other)) in model.iter().zip(program).enumerate().filter(|(_, (a, b))| !same(a, b)) {
        lines.push(format!("{what} {index}: model {value:?}, program {other:?}"));
    }
}

fn near(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32).abs() < TOLERANCE
}

fn same_entry(model: &Entry, program: &Entry) -> bool {
    let rounded = Entry { expires: model.expires, renew: model.renew, flags: comparable(program), ..*program };
    rounded == Entry { flags: comparable(model), ..*model }
        && near(model.expires, program.expires)
        && near(model.renew, program.renew)
}

/// Only the forward direction is counted.
fn comparable(entry: &Entry) -> u8 {
    match entry.flags & flow_flag::REPLY {
        0 => entry.flags,
        _ => entry.flags & !flow_flag::COUNTED,
    }
}

fn same_persist(model: &Persist, program: &Persist) -> bool {
    Persist { expires: 0, ..*model } == Persist { expires: 0, ..*program } && near(model.expires, program.expires)
}

fn same_hop(model: &HopState, program: &HopState) -> bool {
    let until = model.path_mtu == 0 || near(model.path_mtu_until, program.path_mtu_until);
    until && (model.hop, model.path_mtu) == (program.hop, program.path_mtu)
}

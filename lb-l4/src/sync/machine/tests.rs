//! Nodes with a table each, over a network that loses, delays and reorders, on a virtual clock. What the link does is
//! done here: nothing arrives twice, and a node that is cut off is gone after a while.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::abi::{FlowKey, flow_state};

mod chaos;

const ROOM: usize = 1352;
/// Milliseconds that a flow lives without a packet.
const TIMEOUT: u64 = 900_000;
const BUCKETS: u32 = 400;

/// A flow as a table has it; its bucket is its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Flow {
    state: u8,
    backend: u16,
    touched: u64,
    /// Known by hearsay alone.
    synced: bool,
}

#[derive(Debug, Default)]
struct FakeTable {
    now: u64,
    flows: BTreeMap<u16, Flow>,
    marked: BTreeSet<u16>,
    told: BTreeMap<u16, (u8, u16)>,
    entered: u64,
    /// The next time, flows cannot be entered.
    refuses: bool,
}

impl FakeTable {
    /// A packet of a flow comes here.
    fn packet(&mut self, key: u16, state: u8, backend: u16) {
        self.flows.insert(key, Flow { state, backend, touched: self.now, synced: false });
        self.marked.insert(key);
    }

    fn record(&self, key: u16, flow: &Flow) -> Record {
        let ip = |last: u8| std::net::IpAddr::from([10, 0, 0, last]).into();
        let ends = FlowKey { src: ip(1), dst: ip(2), sport: key.into(), dport: 80.into(), proto: 6, zero: [0; 3] };
        let age_ms = (self.now - flow.touched) as u32;
        let (backend, snat) = ((ip(3), flow.backend.into()), None);
        Record {
            key: ends,
            every_port: false,
            backend,
            snat,
            state: flow.state,
            hearsay: flow.synced,
            closed: 0,
            age_ms,
            lived_ms: age_ms,
        }
    }

    /// What others should know.
    fn view(&self) -> BTreeMap<u16, (u8, u16)> {
        let alive = self.flows.iter().filter(|(_, flow)| flow.state == flow_state::ESTABLISHED);
        alive.map(|(key, flow)| (*key, (flow.state, flow.backend))).collect()
    }
}

impl Table for FakeTable {
    fn changed(&mut self, most: usize) -> Vec<(Place, Record)> {
        let mut all = vec![];
        while all.len() < most
            && let Some(key) = self.marked.pop_first()
        {
            let Some(flow) = self.flows.get(&key).filter(|flow| !flow.synced) else { continue };
            let now = (flow.state, flow.backend);
            if self.told.insert(key, now) != Some(now) {
                all.push((Place::from(key), self.record(key, flow)));
            }
        }
        all
    }

    fn untell(&mut self, places: &[Place]) {
        for place in places {
            self.told.remove(&(*place as u16));
            self.marked.insert(*place as u16);
        }
    }

    fn slice(&mut self, bucket: u32, most: usize, _: bool) -> (Vec<Record>, Option<u32>) {
        let end = BUCKETS.min(bucket.saturating_add(most as u32 / 8));
        let alive = self.flows.iter().filter(|(key, _)| (bucket..end).contains(&u32::from(**key)));
        (alive.map(|(key, flow)| self.record(*key, flow)).collect(), (end < BUCKETS).then_some(end))
    }

    fn enter(&mut self, records: &[Record]) -> bool {
        if std::mem::take(&mut self.refuses) {
            return false;
        }
        for record in records {
            let (key, touched) = (u16::from(record.key.sport), self.now.saturating_sub(u64::from(record.age_ms)));
            let slack = |ours: &Flow| match (ours.synced, record.hearsay) {
                (true, true) => 0,
                (true, false) => -100,
                (false, true) => 1000,
                (false, false) => 1,
            };
            let later = |ours: &Flow| touched as i64 - ours.touched as i64;
            let is_newer = self.flows.get(&key).is_none_or(|ours| later(ours) >= slack(ours));
            if is_newer && self.now - touched < TIMEOUT {
                self.flows
                    .insert(key, Flow { state: record.state, backend: record.backend.1.into(), touched, synced: true });
                self.told.remove(&key);
                self.entered += 1;
            }
        }
        true
    }
}

#[derive(Debug, Clone, Copy)]
struct Weather {
    /// Of 100 datagrams.
    lost: u32,
    /// Milliseconds at most.
    delay: u64,
}

const FINE: Weather = Weather { lost: 0, delay: 1 };

struct World {
    start: Instant,
    now: u64,
    nodes: Vec<(Machine, FakeTable)>,
    /// Due, sender, receiver, session of the sender and of the receiver.
    network: Vec<(u64, usize, usize, Vec<u8>)>,
    weather: Weather,
    /// Milliseconds that every datagram takes on top of that, as where each of four threads waits for its CPU.
    latency: u64,
    /// By node: milliseconds between two moments at which it gets a CPU.
    pace: Vec<u64>,
    /// By node and other node: what that one knew when the dump of it began.
    owed: BTreeMap<(usize, usize), BTreeMap<u16, (u8, u16)>>,
    was_ready: Vec<bool>,
    random: u64,
    datagrams: usize,
}

impl World {
    #[expect(clippy::disallowed_methods, reason = "a virtual clock has to begin somewhere")]
    fn new(nodes: usize, seed: u64) -> Self {
        let start = Instant::now();
        let node = |_| (Machine::new(nodes - 1, ROOM, 0, start), FakeTable::default());
        Self {
            start,
            now: 0,
            nodes: (0..nodes).map(node).collect(),
            network: vec![],
            weather: FINE,
            latency: 0,
            pace: vec![1; nodes],
            owed: BTreeMap::new(),
            was_ready: vec![false; nodes],
            random: seed,
            datagrams: 0,
        }
    }

    fn joined(nodes: usize, seed: u64) -> Self {
        let mut world = Self::new(nodes, seed);
        world.join_all();
        world
    }

    fn join_all(&mut self) {
        for a in 0..self.nodes.len() {
            (0..self.nodes.len()).filter(|b| *b != a).for_each(|b| self.set_joined(a, b, true));
        }
    }

    fn set_joined(&mut self, node: usize, other: usize, is_there: bool) {
        let now = self.instant();
        self.nodes[node].0.handle_peer(id_of(node, other), is_there, now);
        self.owed.remove(&(node, other));
        if is_there {
            self.owed.insert((node, other), self.nodes[other].1.view());
        }
    }

    /// Two nodes lose each other, and what was under way is lost.
    fn part(&mut self, a: usize, b: usize) {
        self.set_joined(a, b, false);
        self.set_joined(b, a, false);
        self.network.retain(|(_, from, to, _)| ![(a, b), (b, a)].contains(&(*from, *to)));
    }

    fn meet(&mut self, a: usize, b: usize) {
        self.set_joined(a, b, true);
        self.set_joined(b, a, true);
    }

    /// With an empty table.
    fn restart(&mut self, node: usize) {
        let others: Vec<usize> = (0..self.nodes.len()).filter(|other| *other != node).collect();
        others.iter().for_each(|other| self.part(node, *other));
        let table = FakeTable { now: self.now, ..FakeTable::default() };
        self.nodes[node] = (Machine::new(others.len(), ROOM, 0, self.instant()), table);
        others.iter().for_each(|other| self.meet(node, *other));
    }

    fn instant(&self) -> Instant {
        self.start + Duration::from_millis(self.now)
    }

    fn chance(&mut self, below: u64) -> u64 {
        self.random = self.random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.random >> 33) % below
    }

    fn run(&mut self, ms: u64) {
        for _ in 0..ms {
            self.now += 1;
            let now = self.instant();
            self.deliver(now);
            for ((machine, table), pace) in self.nodes.iter_mut().zip(&self.pace) {
                table.now = self.now;
                if self.now.is_multiple_of(20.max(*pace)) {
                    machine.handle_turn(table, false, now);
                }
            }
            self.send();
            self.check_readiness();
        }
    }

    fn check_readiness(&mut self) {
        for node in 0..self.nodes.len() {
            let ready = self.is_ready(node);
            if ready && !self.was_ready[node] {
                self.check_what_is_owed_to(node);
            }
            self.was_ready[node] = ready;
        }
    }

    /// Who is ready has everything that those had who are there when it began to ask them, and that they still have.
    fn check_what_is_owed_to(&self, node: usize) {
        for ((_, other), owed) in self.owed.range((node, 0)..(node + 1, 0)) {
            let (flows, theirs) = (&self.nodes[node].1.flows, self.nodes[*other].1.view());
            let missing = owed.keys().find(|key| theirs.contains_key(*key) && !flows.contains_key(*key));
            assert_eq!(missing, None, "{} ms: node {node} is ready without a flow of node {other}", self.now);
        }
    }

    fn send(&mut self) {
        for from in 0..self.nodes.len() {
            while let Some((id, content)) = self.nodes[from].0.poll_output() {
                assert!(content.len() <= ROOM, "{} bytes", content.len());
                self.datagrams += 1;
                let due = self.now + 1 + self.latency + self.chance(self.weather.delay);
                if self.chance(100) >= u64::from(self.weather.lost) {
                    self.network.push((due, from, other(from, id), content));
                }
            }
        }
    }

    fn deliver(&mut self, now: Instant) {
        if self.network.is_empty() {
            return;
        }
        let runs = |node: &usize| self.now.is_multiple_of(self.pace[*node]);
        let (due, later) = self.network.drain(..).partition(|(due, _, to, _)| *due <= self.now && runs(to));
        self.network = later;
        let due: Vec<_> = due;
        for (_, from, to, content) in due {
            let (machine, table) = &mut self.nodes[to];
            machine.handle_message(id_of(to, from), &content, table, now);
        }
    }

    fn is_ready(&self, node: usize) -> bool {
        self.nodes[node].0.is_ready(self.instant())
    }

    fn table(&mut self, node: usize) -> &mut FakeTable {
        &mut self.nodes[node].1
    }

    fn agree(&self) -> bool {
        self.nodes.iter().all(|(_, table)| table.view() == self.nodes[0].1.view())
    }
}

/// The index of `other` among those that are not `node`.
fn id_of(node: usize, other: usize) -> PeerId {
    if other > node { other - 1 } else { other }
}

fn other(node: usize, id: PeerId) -> usize {
    if id >= node { id + 1 } else { id }
}

fn establish(world: &mut World, node: usize, keys: std::ops::Range<u16>) {
    keys.for_each(|key| world.table(node).packet(key, flow_state::ESTABLISHED, key % 3));
}

#[test]
fn what_is_established_is_known_a_moment_later() {
    let mut world = World::joined(2, 1);
    world.run(100);
    establish(&mut world, 0, 0..300);
    world.run(25);
    assert_eq!(world.table(1).view().len(), 300);
    assert!(world.agree());
    (0..300).for_each(|key| world.table(0).packet(key, flow_state::CLOSED, key % 3));
    world.run(25);
    assert!(world.table(1).view().is_empty());
}

#[test]
fn nothing_is_said_while_nothing_happens() {
    let mut world = World::joined(2, 1);
    establish(&mut world, 0, 0..300);
    world.run(1000);
    let before = world.datagrams;
    world.run(10_000);
    assert_eq!(world.datagrams, before);
}

#[test]
fn what_was_lost_is_told_again_even_the_last_word() {
    let mut world = World::joined(2, 2);
    world.run(100);
    world.weather = Weather { lost: 100, delay: 1 };
    establish(&mut world, 0, 0..10);
    world.run(20);
    world.weather = FINE;
    world.run(300);
    assert!(world.agree() && world.table(1).view().len() == 10);
    assert_eq!(world.nodes[1].0.counts().lost, 1);
    assert!(world.nodes[0].0.is_acked());
}

#[test]
fn what_is_told_again_is_not_older_than_what_was_told() {
    let mut world = World::joined(2, 3);
    world.run(100);
    world.weather = Weather { lost: 100, delay: 1 };
    establish(&mut world, 0, 0..1);
    world.run(20);
    world.weather = FINE;
    world.table(0).packet(0, flow_state::CLOSED, 0);
    establish(&mut world, 0, 1..2);
    world.run(300);
    assert_eq!(world.table(1).flows[&0].state, flow_state::CLOSED);
}

#[test]
fn a_node_that_joins_is_told_everything_and_is_ready_then() {
    let mut world = World::new(2, 4);
    establish(&mut world, 0, 0..400);
    assert!(!world.is_ready(1), "it waits for somebody to be there");
    world.join_all();
    assert!(!world.is_ready(1));
    world.run(50);
    assert!(world.agree() && world.table(1).view().len() == 400);
    assert!(world.is_ready(1));
    assert_eq!(world.nodes[1].0.counts().dumps, 1);
}

#[test]
fn a_node_that_is_alone_is_ready_after_a_while() {
    let mut world = World::new(2, 5);
    world.run(4_999);
    assert!(!world.is_ready(0));
    world.run(1);
    assert!(world.is_ready(0));
}

#[test]
fn time_in_which_a_node_could_not_run_is_no_time_alone() {
    let mut world = World::new(2, 5);
    world.run(1000);
    world.now += 8000;
    world.run(3900);
    assert!(!world.is_ready(0));
    world.run(200);
    assert!(world.is_ready(0));
}

#[test]
fn a_dump_of_one_node_does_not_stand_for_that_of_another() {
    let mut world = World::new(3, 5);
    establish(&mut world, 2, 0..100);
    world.meet(0, 1);
    world.run(4_900);
    assert!(!world.is_ready(0), "node 2 may yet be there");
    world.meet(0, 2);
    world.run(100);
    assert!(world.is_ready(0));
    assert_eq!(world.table(0).view().len(), 100);
}

#[test]
fn a_node_that_is_there_and_answers_no_pull_is_asked_on() {
    let mut world = World::new(2, 6);
    establish(&mut world, 1, 0..100);
    world.set_joined(0, 1, true);
    world.run(60_000);
    assert!(!world.is_ready(0));
    assert_eq!(world.nodes[0].0.counts().dumps_failed, 1);
    world.set_joined(1, 0, true);
    world.run(1_100);
    assert!(world.is_ready(0));
    assert_eq!(world.table(0).view().len(), 100);
}

#[test]
fn a_node_that_goes_in_the_middle_of_a_dump_may_come_back() {
    let mut world = World::new(2, 6);
    establish(&mut world, 1, 0..400);
    world.join_all();
    world.run(8);
    let known = world.table(0).view().len();
    assert!(0 < known && known < 400, "{known}");
    world.part(0, 1);
    world.run(29_999);
    assert!(!world.is_ready(0));
    world.run(1);
    assert!(world.is_ready(0), "it is not waited for for ever");
}

#[test]
fn an_answer_that_takes_longer_than_the_next_question_counts() {
    for latency in [100, 700] {
        let mut world = World::new(2, 12);
        establish(&mut world, 1, 0..400);
        world.latency = latency;
        world.join_all();
        world.run(20 * latency);
        assert!(world.is_ready(0), "{latency}");
        assert_eq!(world.table(0).view().len(), 400);
        assert_eq!(world.nodes[0].0.counts().dumps_failed, 0);
    }
}

#[test]
fn what_could_not_be_entered_is_asked_for_again() {
    let mut world = World::new(2, 13);
    establish(&mut world, 1, 0..400);
    world.table(0).refuses = true;
    world.join_all();
    world.run(200);
    assert!(world.is_ready(0));
    assert_eq!(world.table(0).view().len(), 400);
    world.table(0).refuses = true;
    establish(&mut world, 1, 400..410);
    world.run(200);
    assert_eq!(world.table(0).view().len(), 410);
    assert_eq!(world.nodes[0].0.counts().lost, 1);
}

/// A reload that changes layer 4 makes a new machine, and the link between the nodes goes on.
#[test]
fn a_new_machine_in_the_same_session_is_understood() {
    let mut world = World::joined(2, 14);
    world.run(100);
    establish(&mut world, 0, 0..50);
    world.run(100);
    let (sequence, now) = (world.nodes[0].0.sequence() + 1, world.instant());
    let table = FakeTable { now: world.now, ..FakeTable::default() };
    world.nodes[0] = (Machine::new(1, ROOM, sequence, now), table);
    establish(&mut world, 0, 100..110);
    world.set_joined(0, 1, true);
    world.run(300);
    assert!(world.agree());
    assert_eq!(world.table(1).view().len(), 60);
    assert!(world.is_ready(0) && world.is_ready(1) && world.nodes[0].0.is_acked());
}

#[test]
fn what_this_node_has_seen_later_is_not_overwritten_by_a_dump() {
    let mut world = World::joined(2, 7);
    establish(&mut world, 0, 0..100);
    world.run(100);
    // The other one takes over, and the first goes on with what it knew.
    world.part(0, 1);
    (0..100).for_each(|key| world.table(1).packet(key, flow_state::ESTABLISHED, 9));
    world.run(50);
    world.meet(0, 1);
    world.run(200);
    assert!(world.agree());
    assert!(world.table(0).view().values().all(|(_, backend)| *backend == 9));
}

#[test]
fn flows_that_were_idle_all_along_come_back_to_who_made_them() {
    let mut world = World::joined(2, 8);
    establish(&mut world, 0, 0..100);
    world.run(100);
    world.restart(0);
    world.run(100);
    assert_eq!(world.table(0).view().len(), 100);
    assert!(world.is_ready(0));
}

#[test]
fn hearsay_is_not_passed_on() {
    let mut world = World::joined(3, 9);
    world.run(100);
    establish(&mut world, 0, 0..10);
    world.run(1000);
    assert!(world.agree());
    assert_eq!([1, 2].map(|node| world.nodes[node].0.counts().sent), [0, 0]);
    assert_eq!([1, 2].map(|node| world.nodes[node].1.entered), [10, 10]);
}

#[test]
fn noise_changes_nothing() {
    let mut world = World::joined(2, 10);
    world.run(100);
    let now = world.instant();
    let (machine, table) = &mut world.nodes[0];
    for content in [&[][..], &[9], &[1, 0], &[7; 22], &[2, 255, 255, 255, 255, 255, 255, 255, 255]] {
        machine.handle_message(0, content, table, now);
    }
    machine.handle_message(7, &Message::Pull { dump: 1, bucket: 0 }.encode(), table, now);
    let extremes = [Message::Missing { from: 0, to: u64::MAX }, Message::Missing { from: 5, to: 1 }];
    extremes.iter().for_each(|message| machine.handle_message(0, &message.encode(), table, now));
    let flows = Message::Flows { sequence: u64::MAX, records: vec![] }.encode();
    (0..3).for_each(|_| machine.handle_message(0, &flows, table, now));
    assert_eq!(machine.counts().malformed, 4);
    assert!(table.flows.is_empty());
}

#[test]
fn many_gaps_end_in_a_new_dump() {
    let mut world = World::joined(2, 11);
    world.run(100);
    for key in 0..300 {
        world.weather = Weather { lost: if key % 2 == 0 { 100 } else { 0 }, delay: 1 };
        establish(&mut world, 0, key..key + 1);
        world.run(20);
        // Nothing that is asked arrives either.
        world.network.retain(|(_, from, ..)| *from == 0);
    }
    world.weather = FINE;
    world.run(1000);
    assert!(world.agree());
    assert_eq!(world.nodes[1].0.counts().dumps, 2);
}

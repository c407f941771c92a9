use std::net::IpAddr;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::abi::{mode, on_down, scheduler};
use crate::desired::Timeouts;
use crate::hash::addr_bit;
use crate::regions::GRACE;
use crate::rings::{Member, Ring};

const CAPACITY: Capacity = Capacity { frontends: 4, dests: 12, ring_entries: 200, vips: 8, snat: 8 };

/// The maps, as a test sees them.
#[derive(Debug, Clone)]
struct Memory {
    frontends: HashMap<u32, Frontend>,
    dests: HashMap<u32, Dest>,
    rings: Vec<u32>,
    vips: HashMap<VipKey, u32>,
    bits: VipBits,
    snat: Vec<Addr>,
    limits: (SnatPorts, u32),
}

impl Memory {
    fn new() -> Self {
        Self {
            frontends: HashMap::new(),
            dests: HashMap::new(),
            rings: vec![u32::MAX; CAPACITY.ring_entries as usize],
            vips: HashMap::new(),
            bits: [0; 64],
            snat: vec![Addr::default(); CAPACITY.snat as usize],
            limits: (SnatPorts { first: 0, last: 0 }, 0),
        }
    }

    fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::WriteRing { base, entries } => {
                self.rings[*base as usize..][..entries.len()].copy_from_slice(entries);
            }
            Operation::WriteSnat { index, address } => self.snat[*index as usize] = *address,
            Operation::WriteDest { index, dest } => drop(self.dests.insert(*index, *dest)),
            Operation::ClearDest { .. } => {}
            Operation::WriteFrontend { index, frontend } => {
                let ring = self.frontends.get(index).map_or(0, |f| f.ring);
                self.frontends.insert(*index, Frontend { ring, ..*frontend });
            }
            Operation::SetRing { index, ring } => self.frontends.get_mut(index).unwrap().ring = *ring,
            Operation::InsertVip { key, index } => {
                self.vips.insert(*key, *index);
                assert!(self.vips.len() <= CAPACITY.vips as usize, "E2BIG");
            }
            Operation::RemoveVip { key } => drop(self.vips.remove(key)),
            Operation::WriteVipBits(bits) => self.bits = **bits,
            Operation::WriteLimits { ports, new_flows } => self.limits = (*ports, *new_flows),
        }
    }

    fn ring(&self, frontend: &Frontend) -> &[u32] {
        let (base, size) = unpack(frontend.ring);
        &self.rings[base as usize..][..size as usize]
    }

    /// What a packet may meet between any two writes.
    fn is_sound(&self) -> Result<(), TestCaseError> {
        for (key, index) in &self.vips {
            let frontend = self.frontends.get(index);
            prop_assert!(frontend.is_some_and(|f| f.used == 1 && f.addr == key.addr), "{key:?} leads nowhere");
            let bit = addr_bit(&key.addr);
            prop_assert!(self.bits[bit >> 6] & 1 << (bit & 63) != 0, "{key:?} is not looked for");
        }
        for (place, frontend) in self.frontends.iter().filter(|(place, _)| self.vips.values().any(|v| v == *place)) {
            for dest in self.ring(frontend) {
                let owner = self.dests.get(dest).map(|d| d.frontend);
                prop_assert_eq!(owner, Some(*place), "ring of {} holds {}", place, dest);
            }
        }
        Ok(())
    }

    fn holds(&self, desired: &Desired) -> Result<(), TestCaseError> {
        let keys: HashSet<VipKey> = vips::targets(desired).map(|(key, _)| key).collect();
        prop_assert_eq!(self.vips.keys().copied().collect::<HashSet<_>>(), keys);
        for wanted in &desired.frontends {
            let place = self.vips[&wanted.key];
            let there = self.frontends[&place];
            prop_assert_eq!(vip_key(&there), wanted.key);
            let ring: Vec<_> = self.ring(&there).iter().map(|d| self.dests[d].addr).collect();
            let expected: Vec<_> = wanted.ring.entries.iter().map(|i| wanted.dests[*i as usize].addr).collect();
            prop_assert_eq!(ring, expected);
            let snat = there.snat_base as usize..(there.snat_base + there.snat_count) as usize;
            prop_assert_eq!(&self.snat[snat], &wanted.snat[..]);
            for dest in &wanted.dests {
                let same = |d: &&Dest| dest_key(wanted.key, d) == key_of(wanted, dest) && d.frontend == place;
                let alive: Vec<_> = self.dests.values().filter(same).filter(|d| d.state == dest.state).collect();
                prop_assert_eq!(alive.len(), 1, "{:?}", dest.addr);
            }
        }
        let used = self.dests.values().filter(|d| d.state != dest_state::UNUSED).count();
        prop_assert_eq!(used, desired.frontends.iter().map(|f| f.dests.len()).sum::<usize>());
        Ok(())
    }

    fn found(&self) -> Found {
        let used = self.frontends.iter().filter(|(_, f)| f.used != 0);
        Found {
            frontends: self.frontends.iter().map(|(i, f)| (*i, *f)).collect(),
            dests: self.dests.iter().map(|(i, d)| (*i, *d)).collect(),
            vips: self.vips.iter().map(|(k, i)| (*k, *i)).collect(),
            rings: used.map(|(i, f)| (*i, self.ring(f).to_vec())).collect(),
            snat: self.snat.clone(),
            vip_bits: self.bits,
            limits: self.limits,
        }
    }
}

fn address(last: u8) -> Addr {
    IpAddr::from([192, 0, 2, last]).into()
}

fn key(n: u8) -> VipKey {
    VipKey { addr: address(n), port: 80.into(), proto: 6, zero: [0; 5] }
}

/// A frontend with backends of these numbers and states; those that are ready make the ring.
fn frontend(n: u8, backends: &[(u8, u8)], snat: &[u8]) -> DesiredFrontend {
    let ready = (0..).zip(backends).filter(|(_, (_, state))| *state == dest_state::READY);
    let members = ready.map(|(index, _)| Member { index, identity: u64::from(index), weight: 1 }).collect();
    DesiredFrontend {
        name: format!("f{n}").into(),
        pool: "pool".into(),
        key: key(n),
        mode: mode::NAT,
        scheduler: scheduler::ROUND_ROBIN,
        on_down: on_down::REBIND,
        persistence: None,
        timeouts: Timeouts { established: 1, syn: 1, fin: 1, close: 1, udp: 1 },
        replaces_client: !snat.is_empty(),
        snat: snat.iter().map(|n| address(*n)).collect(),
        dests: backends.iter().map(|(n, state)| dest(*n, *state)).collect(),
        ring: Ring::new(scheduler::ROUND_ROBIN, members, None),
    }
}

fn dest(n: u8, state: u8) -> DesiredDest {
    let name = format!("b{n}").into();
    DesiredDest { name, addr: address(100 + n), port: 8080.into(), tunnel_src: Addr::default(), weight: 1, state }
}

fn desired(frontends: Vec<DesiredFrontend>) -> Desired {
    Desired { frontends, ports: SnatPorts { first: 1024, last: 32767 }, new_flows: 1 }
}

#[expect(clippy::disallowed_methods, reason = "a virtual clock has to begin somewhere")]
fn begin() -> Instant {
    Instant::now()
}

const UP: u8 = dest_state::READY;
const DOWN: u8 = dest_state::DOWN;

#[test]
fn nothing_is_written_twice() {
    let mut layout = Layout::empty(CAPACITY);
    let wanted = desired(vec![frontend(1, &[(1, UP), (2, UP)], &[9]), frontend(2, &[(1, UP)], &[])]);
    assert!(!layout.change(&wanted, begin()).operations.is_empty());
    assert_eq!(layout.change(&wanted, begin()).operations, []);
}

#[test]
fn a_restart_changes_nothing() {
    let mut memory = Memory::new();
    let wanted = desired(vec![frontend(1, &[(1, UP), (2, DOWN)], &[9]), frontend(2, &[], &[])]);
    Layout::empty(CAPACITY).change(&wanted, begin()).operations.iter().for_each(|o| memory.apply(o));
    assert_eq!(Layout::restore(CAPACITY, memory.found()).change(&wanted, begin()).operations, []);
}

#[test]
fn a_backend_that_goes_down_is_written_before_the_ring() {
    let mut layout = Layout::empty(CAPACITY);
    layout.change(&desired(vec![frontend(1, &[(1, UP), (2, UP)], &[])]), begin());
    let change = layout.change(&desired(vec![frontend(1, &[(1, UP), (2, DOWN)], &[])]), begin());
    let [Operation::WriteDest { index: 1, dest }, Operation::WriteRing { entries, .. }, Operation::SetRing { .. }] =
        &change.operations[..]
    else {
        panic!("{:?}", change.operations)
    };
    assert_eq!((dest.state, entries), (DOWN, &vec![0]));
}

#[test]
fn who_returns_is_the_one_that_left() {
    let mut layout = Layout::empty(CAPACITY);
    let both = desired(vec![frontend(1, &[(1, UP), (2, UP)], &[])]);
    layout.change(&both, begin());
    let before = layout.dests[&1];
    layout.change(&desired(vec![frontend(1, &[(1, UP)], &[])]), begin());
    assert_eq!(layout.dests[&1].state, dest_state::UNUSED);
    layout.change(&both, begin());
    assert_eq!(layout.dests[&1], before);
}

#[test]
fn a_place_that_goes_to_another_backend_gets_another_incarnation() {
    let mut layout = Layout::empty(Capacity { dests: 1, ..CAPACITY });
    let only = |n| desired(vec![frontend(1, &[(n, UP)], &[])]);
    layout.change(&only(1), begin());
    let before = layout.dests[&0].incarnation;
    layout.change(&only(2), begin());
    assert_eq!(layout.dests[&0].incarnation, before + 1);
}

#[test]
fn a_ring_that_finds_no_room_waits_for_it() {
    let mut layout = Layout::empty(Capacity { ring_entries: 4, ..CAPACITY });
    let now = begin();
    let with = |n| desired(vec![frontend(1, &[(1, UP), (2, UP), (3, UP)][..n], &[])]);
    layout.change(&with(1), now);
    layout.change(&with(2), now);
    assert!(layout.change(&with(1), now).deferred, "one element is in use, and one rests");
    let later = layout.change(&with(1), now + GRACE);
    assert!(!later.deferred);
    assert!(matches!(later.operations[..], [Operation::WriteRing { .. }, Operation::SetRing { .. }]));
}

#[test]
fn too_much_is_said_before_anything_is_written() {
    let layout = Layout::empty(CAPACITY);
    let many: Vec<_> = (0..13).map(|n| (n, UP)).collect();
    let wanted = desired(vec![frontend(1, &many, &[])]);
    assert_eq!(layout.check(&wanted), Err(TooMuch::Dests { wanted: 13, most: 12 }));
    let wanted = desired((0..5).map(|n| frontend(n, &[], &[])).collect());
    assert_eq!(layout.check(&wanted), Err(TooMuch::Frontends { wanted: 5, most: 4 }));
}

#[test]
fn a_thousand_frontends_take_a_moment() {
    let many = |state| {
        let backends: Vec<_> = (0..10).map(|n| (n, state)).collect();
        let of = |n: u16| {
            let key = VipKey { port: n.into(), ..key(1) };
            DesiredFrontend { key, ..frontend(1, &backends, &[]) }
        };
        desired((1..=1000).map(of).collect())
    };
    let mut layout =
        Layout::empty(Capacity { frontends: 4096, dests: 65_536, ring_entries: 1 << 21, vips: 8192, snat: 256 });
    assert_eq!(layout.check(&many(UP)), Ok(()));
    let operations = layout.change(&many(UP), begin()).operations;
    assert_eq!(operations.iter().filter(|o| matches!(o, Operation::InsertVip { .. })).count(), 1001);
    let down = layout.change(&many(DOWN), begin()).operations;
    assert_eq!(down.iter().filter(|o| matches!(o, Operation::WriteDest { .. })).count(), 10_000);
}

fn configurations() -> impl Strategy<Value = Vec<(Desired, u64)>> {
    let state = prop_oneof![Just(UP), Just(DOWN), Just(dest_state::DRAIN)];
    let backends = prop::collection::btree_map(0..5u8, state, 0..4);
    let snat = prop::collection::btree_set(0..3u8, 0..3);
    let frontends = prop::collection::btree_map(0..6u8, (backends, snat), 0..=3);
    let one = (frontends, 0..3000u64).prop_map(|(frontends, wait)| {
        let make = |(n, (backends, snat)): (u8, (BTreeMap<u8, u8>, std::collections::BTreeSet<u8>))| {
            frontend(n, &backends.into_iter().collect::<Vec<_>>(), &snat.into_iter().collect::<Vec<_>>())
        };
        (desired(frontends.into_iter().map(make).collect()), wait)
    });
    prop::collection::vec(one, 1..12)
}

proptest! {
    /// Whatever follows whatever: between any two writes packets find their way, and at the end the maps
    /// hold what was desired, also for a process that starts over in between.
    #[test]
    fn every_change_is_sound_at_every_moment(configurations in configurations(), restarts in any::<u16>()) {
        let mut now = begin();
        let mut layout = Layout::empty(CAPACITY);
        let mut memory = Memory::new();
        for (step, (wanted, wait)) in configurations.into_iter().enumerate() {
            now += Duration::from_millis(wait);
            let change = layout.change(&wanted, now);
            prop_assert!(!change.deferred);
            for operation in &change.operations {
                memory.apply(operation);
                memory.is_sound()?;
            }
            memory.holds(&wanted)?;
            if restarts >> step & 1 == 1 {
                layout = Layout::restore(CAPACITY, memory.found());
                prop_assert_eq!(layout.change(&wanted, now).operations, vec![]);
            }
        }
    }

    /// Killed between two writes: the next process makes it right.
    #[test]
    fn a_change_that_was_cut_short_is_finished_by_the_next(configurations in configurations(), cut in any::<prop::sample::Index>()) {
        let mut layout = Layout::empty(CAPACITY);
        let mut memory = Memory::new();
        for (wanted, _) in &configurations {
            let operations = layout.change(wanted, begin()).operations;
            let done = if operations.is_empty() { 0 } else { cut.index(operations.len()) };
            operations[..done].iter().for_each(|o| memory.apply(o));
            layout = Layout::restore(CAPACITY, memory.found());
            for operation in layout.change(wanted, begin()).operations {
                memory.apply(&operation);
                memory.is_sound()?;
            }
            memory.holds(wanted)?;
        }
    }
}

//! From what the maps hold and what they should hold to the writes in between, in an order in which no
//! packet ever sees half a change.
//!
//! Additions come first: new rings into free room, destinations, then the frontend's `ring` in one
//! store, then `vips`. Removals go the other way round, those from `vips` before it grows. What is
//! unchanged is not written.

mod capacity;
mod change;
mod ring;
mod snat;
#[cfg(test)]
mod tests;
mod vips;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Instant;

use crate::abi::{Addr, Dest, Frontend, Port, VipKey, dest_state};
use crate::desired::{Desired, DesiredDest, DesiredFrontend, SnatPorts};
use crate::ids::Places;
use crate::regions::Regions;
use ring::Written;

pub use capacity::{Capacity, TooMuch, entries_needed};
pub use change::{Change, Operation, VipBits};
pub use ring::unpack;

/// A destination is the same as long as these are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DestKey {
    pub frontend: VipKey,
    pub addr: Addr,
    pub port: Port,
    pub mode: u8,
}

/// The content of the maps as this process knows it, and who has which place.
#[derive(Debug, Clone)]
pub struct Layout {
    capacity: Capacity,
    frontend_places: Places<VipKey>,
    dest_places: Places<DestKey>,
    regions: Regions,
    /// By place.
    frontends: BTreeMap<u32, Frontend>,
    dests: HashMap<u32, Dest>,
    rings: HashMap<u32, Written>,
    vips: HashMap<VipKey, u32>,
    vip_bits: Box<VipBits>,
    snat: Vec<Addr>,
    limits: Option<(SnatPorts, u32)>,
}

/// What was found in pinned maps.
#[derive(Debug, Clone)]
pub struct Found {
    pub frontends: Vec<(u32, Frontend)>,
    pub dests: Vec<(u32, Dest)>,
    pub vips: Vec<(VipKey, u32)>,
    /// By place of the frontend.
    pub rings: Vec<(u32, Vec<u32>)>,
    pub snat: Vec<Addr>,
    pub vip_bits: VipBits,
    pub limits: (SnatPorts, u32),
}

impl Layout {
    /// Of maps that were just made.
    pub fn empty(capacity: Capacity) -> Self {
        Self {
            capacity,
            frontend_places: Places::new(capacity.frontends),
            dest_places: Places::new(capacity.dests),
            regions: Regions::new(capacity.ring_entries / 2),
            frontends: BTreeMap::new(),
            dests: HashMap::new(),
            rings: HashMap::new(),
            vips: HashMap::new(),
            vip_bits: Box::new([0; 64]),
            snat: vec![],
            limits: None,
        }
    }

    /// Of maps that another process left behind. What contradicts itself counts as not there, and is
    /// written anew.
    pub fn restore(capacity: Capacity, found: Found) -> Self {
        let mut layout = Self::empty(capacity);
        for (index, frontend) in found.frontends {
            if layout.frontend_places.restore(index, vip_key(&frontend), frontend.used != 0) {
                layout.frontends.insert(index, frontend);
            }
        }
        for (index, dest) in found.dests {
            let key = layout.frontends.get(&dest.frontend).map(|frontend| dest_key(vip_key(frontend), &dest));
            // What is not taken up is still known by its place: a new owner must differ in incarnation.
            if let Some(key) = key.filter(|key| key.addr != Addr::default()) {
                layout.dest_places.restore(index, key, dest.state != dest_state::UNUSED);
            }
            layout.dests.insert(index, dest);
        }
        for (index, entries) in found.rings {
            layout.restore_ring(index, entries);
        }
        layout.vips = found.vips.into_iter().collect();
        layout.vip_bits = Box::new(found.vip_bits);
        layout.snat = found.snat;
        layout.limits = Some(found.limits);
        layout
    }

    /// The writes that make the maps hold `desired`; from then on this layout counts on them.
    /// Rings for which there is no room yet are left as they are: see [`Change::deferred`].
    pub fn change(&mut self, desired: &Desired, now: Instant) -> Change {
        let mut change = Change::default();
        self.limits(desired, &mut change);
        let wanted: HashSet<VipKey> = desired.frontends.iter().map(|f| f.key).collect();
        let gone: Vec<VipKey> =
            self.frontend_places.all_used().map(|(k, _)| k).filter(|k| !wanted.contains(k)).collect();
        self.retire_all(desired, &gone);
        let snat = self.snat_bases(desired, &mut change);
        let places: Vec<u32> = desired.frontends.iter().map(|f| self.frontend_place(&f.key, &mut change)).collect();
        for (frontend, place) in desired.frontends.iter().zip(&places) {
            self.add(frontend, *place, snat[&frontend.snat], now, &mut change);
        }
        self.insert_vips(desired, &places, &mut change);
        for key in &gone {
            self.unuse_frontend(key, now, &mut change);
        }
        self.unuse_dests(&mut change);
        self.forget_vip_bits(desired, &mut change);
        change
    }

    /// The place of a frontend in use.
    pub fn frontend_place_of(&self, key: &VipKey) -> Option<u32> {
        self.frontend_places.used(key)
    }

    /// The place of a destination in use.
    pub fn dest_place_of(&self, key: &DestKey) -> Option<u32> {
        self.dest_places.used(key)
    }

    /// Place and incarnation of a destination in use, as another node names it.
    pub fn find_dest(&self, frontend: &VipKey, addr: Addr, port: Port) -> Option<(u32, u16)> {
        let mode = self.frontends.get(&self.frontend_place_of(frontend)?)?.mode;
        let index = self.dest_place_of(&DestKey { frontend: *frontend, addr, port, mode })?;
        Some((index, self.dests.get(&index)?.incarnation))
    }

    /// Every place that has or had a destination of the frontend.
    pub fn dest_places_of(&self, frontend: u32) -> impl Iterator<Item = u32> {
        self.dests.iter().filter(move |(_, dest)| dest.frontend == frontend).map(|(index, _)| *index)
    }

    /// No flow names the place: may be forgotten if nobody uses it.
    pub fn forget_dest(&mut self, index: u32) {
        self.dest_places.forget(index);
    }

    /// Places that are retired: flows may still name them.
    pub fn retired_dests(&self) -> Vec<u32> {
        self.dests.keys().copied().filter(|index| self.dest_places.is_retired(*index)).collect()
    }

    fn limits(&mut self, desired: &Desired, change: &mut Change) {
        let limits = (desired.ports, desired.new_flows);
        if self.limits.replace(limits) != Some(limits) {
            change.push(Operation::WriteLimits { ports: limits.0, new_flows: limits.1 });
        }
    }

    /// Before anything new takes a place, so that a full map can be rearranged.
    fn retire_all(&mut self, desired: &Desired, gone: &[VipKey]) {
        let wanted: HashSet<DestKey> =
            desired.frontends.iter().flat_map(|f| f.dests.iter().map(|d| key_of(f, d))).collect();
        let lost: Vec<DestKey> = self.dest_places.all_used().map(|(k, _)| k).filter(|k| !wanted.contains(k)).collect();
        lost.iter().for_each(|key| self.dest_places.retire(key));
        gone.iter().for_each(|key| self.frontend_places.retire(key));
    }

    fn frontend_place(&mut self, key: &VipKey, change: &mut Change) -> u32 {
        // `check` has found that there is a place.
        let index = self.frontend_places.take(*key).unwrap_or(0);
        let newcomer = self.frontends.get(&index).is_some_and(|f| vip_key(f) != *key);
        if newcomer {
            self.close(index, change);
            self.disown(index, change);
        }
        index
    }

    /// Where places are scarce, one that goes to another frontend may still be in use: no packet may find
    /// its way there meanwhile.
    fn close(&mut self, frontend: u32, change: &mut Change) {
        let open: Vec<VipKey> =
            self.vips.iter().filter(|(_, index)| **index == frontend).map(|(key, _)| *key).collect();
        for key in open {
            self.vips.remove(&key);
            change.push(Operation::RemoveVip { key });
        }
    }

    /// Retired destinations of a frontend whose place goes to another one must not pass for its own.
    fn disown(&mut self, frontend: u32, change: &mut Change) {
        let of_it = self.dests.iter().filter(|(_, dest)| dest.frontend == frontend).map(|(index, _)| *index);
        let orphans: Vec<u32> = of_it.filter(|index| self.dest_places.is_retired(*index)).collect();
        for index in orphans {
            self.dest_places.forget(index);
            let incarnation = self.dests[&index].incarnation.wrapping_add(1);
            self.put_dest(index, Dest { incarnation, ..Dest::default() }, change);
        }
    }

    fn add(&mut self, desired: &DesiredFrontend, place: u32, snat: u32, now: Instant, change: &mut Change) {
        let dests: Vec<u32> = desired.dests.iter().map(|dest| self.add_dest(desired, dest, place, change)).collect();
        let ring = self.write_ring(desired, place, &dests, now, change);
        let known = self.frontends.get(&place).copied().unwrap_or_default();
        let frontend = Frontend { ring: known.ring, ..frontend(desired, snat) };
        if frontend != known {
            change.push(Operation::WriteFrontend { index: place, frontend });
        }
        if ring != known.ring {
            change.push(Operation::SetRing { index: place, ring });
        }
        self.frontends.insert(place, Frontend { ring, ..frontend });
    }

    fn add_dest(&mut self, frontend: &DesiredFrontend, desired: &DesiredDest, place: u32, change: &mut Change) -> u32 {
        let key = key_of(frontend, desired);
        let index = self.dest_places.take(key).unwrap_or(0);
        let before = self.dests.get(&index);
        let is_same = before.is_some_and(|d| d.frontend == place && dest_key(frontend.key, d) == key);
        let was = before.map_or(0, |d| d.incarnation);
        if !is_same {
            change.push(Operation::ClearDest { index });
        }
        let dest = Dest {
            addr: desired.addr,
            tunnel_src: desired.tunnel_src,
            frontend: place,
            weight: desired.weight,
            port: desired.port,
            incarnation: if is_same { was } else { was.wrapping_add(1) },
            state: desired.state,
            on_down: frontend.on_down,
            mode: frontend.mode,
            zero: [0; 17],
        };
        self.put_dest(index, dest, change);
        index
    }

    fn put_dest(&mut self, index: u32, dest: Dest, change: &mut Change) {
        if self.dests.insert(index, dest) != Some(dest) {
            change.push(Operation::WriteDest { index, dest });
        }
    }

    fn unuse_frontend(&mut self, key: &VipKey, now: Instant, change: &mut Change) {
        // Its place may have gone to another one by now.
        let Some((index, frontend)) = self.frontends.iter().find(|(_, f)| vip_key(f) == *key && f.used != 0) else {
            return;
        };
        let (index, frontend) = (*index, Frontend { used: 0, ..*frontend });
        change.push(Operation::SetRing { index, ring: 0 });
        change.push(Operation::WriteFrontend { index, frontend });
        self.frontends.insert(index, Frontend { ring: 0, ..frontend });
        if let Some(old) = self.rings.remove(&index) {
            self.release(&old, now);
        }
    }

    /// Retired ones, and what a process that was killed left half done.
    fn unuse_dests(&mut self, change: &mut Change) {
        let used: HashSet<u32> = self.dest_places.all_used().map(|(_, index)| index).collect();
        let over: Vec<u32> = self
            .dests
            .iter()
            .filter(|(i, d)| d.state != dest_state::UNUSED && !used.contains(i))
            .map(|(i, _)| *i)
            .collect();
        for index in over {
            let dest = Dest { state: dest_state::UNUSED, ..self.dests[&index] };
            self.put_dest(index, dest, change);
        }
    }
}

fn frontend(desired: &DesiredFrontend, snat: u32) -> Frontend {
    let persistence = desired.persistence;
    Frontend {
        ring: 0,
        mode: desired.mode,
        scheduler: desired.scheduler,
        flags: desired.flags(),
        on_down: desired.on_down,
        prefix4: persistence.map_or(32, |p| p.prefix4),
        prefix6: persistence.map_or(128, |p| p.prefix6),
        proto: desired.key.proto,
        used: 1,
        established: desired.timeouts.established,
        syn: desired.timeouts.syn,
        fin: desired.timeouts.fin,
        close: desired.timeouts.close,
        udp: desired.timeouts.udp,
        persist: persistence.map_or(0, |p| p.timeout),
        snat_base: snat,
        snat_count: desired.snat.len() as u32,
        addr: desired.key.addr,
        port: desired.key.port,
        zero: [0; 6],
    }
}

pub fn key_of(frontend: &DesiredFrontend, dest: &DesiredDest) -> DestKey {
    DestKey { frontend: frontend.key, addr: dest.addr, port: dest.port, mode: frontend.mode }
}

fn dest_key(frontend: VipKey, dest: &Dest) -> DestKey {
    DestKey { frontend, addr: dest.addr, port: dest.port, mode: dest.mode }
}

fn vip_key(frontend: &Frontend) -> VipKey {
    VipKey { addr: frontend.addr, port: frontend.port, proto: frontend.proto, zero: [0; 5] }
}

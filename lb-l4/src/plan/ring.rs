//! Where the ring of a frontend stands: a changed one is written beside the old one, which rests until no packet can be
//! reading it.

use std::sync::Arc;
use std::time::Instant;

use super::Layout;
use super::change::{Change, Operation};
use crate::desired::DesiredFrontend;

/// The ring of one frontend, as it stands in the map.
#[derive(Debug, Clone)]
pub(super) struct Written {
    base: u32,
    entries: Arc<[u32]>,
}

impl Layout {
    pub(super) fn restore_ring(&mut self, index: u32, entries: Vec<u32>) {
        let Some(frontend) = self.frontends.get(&index) else { return };
        let (base, _) = unpack(frontend.ring);
        if base.is_multiple_of(2) && self.regions.reserve(base / 2, elements(entries.len())) {
            self.rings.insert(index, Written { base, entries: entries.into() });
        }
    }

    /// What `ring` of the frontend shall be.
    pub(super) fn write_ring(
        &mut self,
        desired: &DesiredFrontend,
        place: u32,
        dests: &[u32],
        now: Instant,
        change: &mut Change,
    ) -> u64 {
        let entries: Arc<[u32]> = desired.ring.entries.iter().map(|i| dests[*i as usize]).collect();
        if let Some(written) = self.rings.get(&place).filter(|written| written.entries == entries) {
            return pack(written.base, entries.len());
        }
        let Some(element) = self.regions.allocate(elements(entries.len()), now) else {
            change.deferred = true;
            return self.rings.get(&place).map_or(0, |written| pack(written.base, written.entries.len()));
        };
        let base = element * 2;
        if !entries.is_empty() {
            change.push(Operation::WriteRing { base, entries: entries.to_vec() });
        }
        let ring = pack(base, entries.len());
        if let Some(old) = self.rings.insert(place, Written { base, entries }) {
            self.release(&old, now);
        }
        ring
    }

    pub(super) fn release(&mut self, ring: &Written, now: Instant) {
        self.regions.release(ring.base / 2, elements(ring.entries.len()), now);
    }
}

/// Base and size of a ring, in entries.
pub fn unpack(ring: u64) -> (u32, u32) {
    ((ring >> 32) as u32, ring as u32)
}

fn pack(base: u32, size: usize) -> u64 {
    if size == 0 { 0 } else { u64::from(base) << 32 | size as u64 }
}

fn elements(entries: usize) -> u32 {
    (entries as u32).div_ceil(2)
}

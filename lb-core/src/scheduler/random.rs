//! Random: of two backends drawn by weight, the one with fewer requests in flight per weight.

use std::sync::Arc;

use super::Load;
use super::hash::{mix, scale};
use super::ring::Ring;
use crate::pool::Backend;

/// Draws before the walk over the pool that always finds a usable backend.
const DRAWS: u64 = 8;

pub fn pick(ring: &Ring, backends: &[Arc<Backend>], random: u64, usable: impl Fn(usize) -> bool) -> Option<usize> {
    let mut draws = (0..DRAWS).filter_map(|n| ring.draw(mix(random.wrapping_add(n)))).filter(|i| usable(*i));
    let Some(first) = draws.next() else { return walk(backends.len(), random, usable) };
    match draws.find(|second| *second != first) {
        Some(second) if Load::of(&backends[second]).is_below(Load::of(&backends[first])) => Some(second),
        _ => Some(first),
    }
}

fn walk(backends: usize, random: u64, usable: impl Fn(usize) -> bool) -> Option<usize> {
    let start = scale(mix(random), backends);
    (start..backends).chain(0..start).find(|i| usable(*i))
}

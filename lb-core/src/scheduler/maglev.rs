//! Maglev hashing (Eisenbud et al., NSDI 2016, section 3.4): a lookup table that backends fill in turns,
//! each along its own permutation of the entries. One lookup per choice; shares as even as turns are; a
//! backend that leaves moves its own clients and few of the others'.

use std::sync::Arc;

use super::hash::{mix, name_hash, scale};
use super::ring::Ring;
use super::turns::sequence;
use super::weights;
use crate::pool::Backend;

/// One that a ring is dealt to: what tells it from others wherever it stands in the list
/// ([`super::identity`]), and its weight.
pub type Member = (u64, u16);

/// A table to look clients up in by their hash: positions in `members`, as many as `size`, or as the next
/// prime above it. Every share is true to the weight by less than one entry and what rounding adds. The
/// same members make the same ring, in whatever order; one that leaves moves its own entries and few of
/// the others'. Empty where nobody has a weight.
pub fn ring(members: &[Member], size: usize) -> Vec<u16> {
    let size = prime(size);
    // Turns go by the order of the list, so that it has to be the same everywhere.
    let mut order: Vec<u16> = (0..=u16::MAX).take(members.len()).collect();
    order.sort_unstable_by_key(|position| members[usize::from(*position)]);
    let weights: Vec<u16> = order.iter().map(|position| members[usize::from(*position)].1).collect();
    let turns = sequence(&weights, size);
    let walks = order.iter().map(|position| members[usize::from(*position)].0);
    let mut walks: Vec<Walk> = walks.map(|identity| Walk::new(mix(identity), mix(!identity), size)).collect();
    let table = deal(turns.iter().cycle().map(|turn| usize::from(*turn)), &mut walks, size);
    table.into_iter().map(|turn| order[turn as usize]).collect()
}

/// Everybody in turn takes the next entry of its permutation that is still empty. `turns` have no end,
/// or there are none.
fn deal(turns: impl Iterator<Item = usize>, walks: &mut [Walk], size: usize) -> Vec<u32> {
    let mut turns = turns.take(size).peekable();
    if turns.peek().is_none() {
        return Vec::new();
    }
    let mut table = vec![EMPTY; size];
    for index in turns {
        let entry = walks[index].next_empty(&table);
        table[entry] = index as u32;
    }
    table
}

/// The least prime that is no less.
fn prime(size: usize) -> usize {
    let is_prime =
        |n: &usize| (2..).take_while(|divisor| divisor * divisor <= *n).all(|divisor| !n.is_multiple_of(divisor));
    (size.max(2)..).find(is_prime).unwrap_or(2)
}

#[derive(Debug)]
pub(super) struct Maglev(Box<[u32]>);

/// Lookups before the walk over the pool that always finds a usable backend.
const LOOKUPS: u64 = 16;

const EMPTY: u32 = u32::MAX;

impl Maglev {
    pub fn new(backends: &[Arc<Backend>]) -> Self {
        let turns = Ring::new(&weights(backends));
        let size = table_size(backends.len());
        let walk = |name: &str| Walk::new(name_hash(name, 1), name_hash(name, 2), size);
        let mut walks: Vec<Walk> = backends.iter().map(|b| walk(&b.config.name)).collect();
        let turns = (0..).map_while(|turn| turns.at(turn));
        Self(deal(turns, &mut walks, size).into_boxed_slice())
    }

    /// An unusable backend's clients look again elsewhere in the table, and so spread over the others.
    pub fn pick(&self, client: u64, backends: usize, usable: impl Fn(usize) -> bool) -> Option<usize> {
        let first = *self.0.get(scale(client, self.0.len()))? as usize;
        if usable(first) {
            return Some(first);
        }
        let again = |n| self.0[scale(mix(client.wrapping_add(n)), self.0.len())] as usize;
        (1..=LOOKUPS).map(again).find(|i| usable(*i)).or_else(|| walk(client, backends, usable))
    }
}

fn walk(client: u64, backends: usize, usable: impl Fn(usize) -> bool) -> Option<usize> {
    let start = scale(mix(client), backends);
    (start..backends).chain(0..start).find(|i| usable(*i))
}

/// A prime of at least 64, mostly 100 entries for each backend. Few sizes: a pool that grows past one
/// deals all its clients anew. Small pools get small tables, so that hundreds of them reload quickly.
fn table_size(backends: usize) -> usize {
    match backends {
        0..=64 => 8_191,
        65..=1024 => 65_537,
        _ => 1_048_573,
    }
}

/// One backend's permutation of the entries.
struct Walk {
    next: usize,
    step: usize,
}

impl Walk {
    fn new(start: u64, step: u64, size: usize) -> Self {
        Self { next: scale(start, size), step: scale(step, size - 1) + 1 }
    }

    /// `table` has an empty entry, and a step that a prime size is no multiple of visits every one.
    fn next_empty(&mut self, table: &[u32]) -> usize {
        loop {
            let entry = self.next;
            self.next += self.step;
            if self.next >= table.len() {
                self.next -= table.len();
            }
            if table[entry] == EMPTY {
                return entry;
            }
        }
    }
}

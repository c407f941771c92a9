//! Maglev hashing (Eisenbud et al., NSDI 2016, section 3.4): a lookup table that backends fill in turns,
//! each along its own permutation of the entries. One lookup per choice; shares as even as turns are; a
//! backend that leaves moves its own clients and few of the others'.

use std::sync::Arc;

use super::hash::{mix, name_hash, scale};
use super::ring::Ring;
use super::weights;
use crate::pool::Backend;

#[derive(Debug)]
pub struct Maglev(Box<[u32]>);

/// Lookups before the walk over the pool that always finds a usable backend.
const LOOKUPS: u64 = 16;

const EMPTY: u32 = u32::MAX;

impl Maglev {
    pub fn new(backends: &[Arc<Backend>]) -> Self {
        let turns = Ring::new(&weights(backends));
        let size = table_size(backends.len());
        let mut walks: Vec<Walk> = backends.iter().map(|b| Walk::new(&b.config.name, size)).collect();
        let mut table = vec![EMPTY; size].into_boxed_slice();
        for turn in 0..size {
            let Some(index) = turns.at(turn as u64) else { return Self(Box::default()) };
            table[walks[index].next_empty(&table)] = index as u32;
        }
        Self(table)
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
    fn new(name: &str, size: usize) -> Self {
        Self { next: scale(name_hash(name, 1), size), step: scale(name_hash(name, 2), size - 1) + 1 }
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

//! How a backend is chosen.

use std::sync::Arc;

use crate::config::Scheduler;
use crate::pool::Backend;

/// What can be computed once of a list of backends and their weights.
#[derive(Debug)]
pub struct Table {
    pub scheduler: Scheduler,
}

impl Table {
    pub fn new(scheduler: Scheduler, _backends: &[Arc<Backend>]) -> Self {
        Self { scheduler }
    }
}

/// One worker's own position in one pool's table.
#[derive(Debug, Default)]
pub struct Cursor {
    pub next: u64,
}

/// What a choice may depend on.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Hash of the client's address.
    pub client: u64,
    /// Fresh random bits.
    pub random: u64,
}

impl Table {
    /// Index of the chosen backend, among those for which `usable` holds.
    pub fn pick(
        &self,
        backends: &[Arc<Backend>],
        cursor: &mut Cursor,
        key: Key,
        usable: impl Fn(usize, &Backend) -> bool,
    ) -> Option<usize> {
        let start = cursor.next as usize;
        cursor.next = cursor.next.wrapping_add(1);
        let _ = key;
        (0..backends.len()).map(|i| (start + i) % backends.len()).find(|i| usable(*i, &backends[*i]))
    }
}

//! How a backend is chosen.
//!
//! [`choose()`] is what a request calls: it knows backups, retries and `max_connections`. Beneath it a
//! [`Table`] holds what a scheduler can compute ahead, so that one choice costs no allocation and, but
//! for least-connections and a first ip-hash, no walk over the pool.
//!
//! Layer 4 chooses in the kernel, and needs no more than the tables: [`turns::sequence`] and [`maglev::ring`].

mod choose;
mod hash;
mod least;
pub mod maglev;
mod random;
mod rendezvous;
mod ring;
#[cfg(test)]
mod tests;
pub mod turns;

use std::sync::Arc;

pub use choose::{Choice, PoolCursor, choose, preview};
pub(crate) use hash::name_hash;
pub use hash::{client_hash, identity, mix};

use crate::config::Scheduler;
use crate::pool::Backend;
use maglev::Maglev;
use rendezvous::Rendezvous;
use ring::Ring;

/// What can be computed once of a list of backends and their weights. A clone shares it.
#[derive(Debug, Clone)]
pub struct Table {
    pub scheduler: Scheduler,
    shape: Shape,
}

#[derive(Debug, Clone)]
enum Shape {
    Ring(Arc<Ring>),
    Rendezvous(Arc<Rendezvous>),
    Maglev(Arc<Maglev>),
}

/// One worker's own position in one pool's table.
#[derive(Debug, Clone, Default)]
pub struct Cursor {
    pub next: u64,
}

/// What a choice may depend on.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// [`client_hash`] of the client's address.
    pub client: u64,
    /// Fresh random bits.
    pub random: u64,
}

impl Table {
    pub fn new(scheduler: Scheduler, backends: &[Arc<Backend>]) -> Self {
        let shape = match scheduler {
            Scheduler::RoundRobin | Scheduler::LeastConnections | Scheduler::Random => {
                Shape::Ring(Arc::new(Ring::new(&weights(backends))))
            }
            Scheduler::IpHash => Shape::Rendezvous(Arc::new(Rendezvous::new(backends))),
            Scheduler::Maglev => Shape::Maglev(Arc::new(Maglev::new(backends))),
        };
        Self { scheduler, shape }
    }

    /// As [`Self::new`], but shares `previous` where nothing that it was made of has changed.
    pub fn renew(scheduler: Scheduler, backends: &[Arc<Backend>], previous: Option<(&Table, &[Arc<Backend>])>) -> Self {
        match previous {
            Some((table, old)) if table.scheduler == scheduler && same_shares(old, backends) => table.clone(),
            _ => Self::new(scheduler, backends),
        }
    }

    /// Index of the chosen backend, among those for which `usable` holds. `backends` is the list that
    /// the table was made of. A backend that is not usable is passed over; under the hash schedulers
    /// only its own clients move. Weight 0 is never chosen.
    pub fn pick(
        &self,
        backends: &[Arc<Backend>],
        cursor: &mut Cursor,
        key: Key,
        usable: impl Fn(usize, &Backend) -> bool,
    ) -> Option<usize> {
        let usable = |i: usize| backends.get(i).is_some_and(|b| b.config.weight > 0 && usable(i, b));
        match (&self.shape, self.scheduler) {
            (Shape::Ring(ring), Scheduler::LeastConnections) => least::pick(ring, backends, cursor, usable),
            (Shape::Ring(ring), Scheduler::Random) => random::pick(ring, backends, key.random, usable),
            (Shape::Ring(ring), _) => ring.next(cursor, backends.len(), usable),
            (Shape::Rendezvous(rendezvous), _) => rendezvous.pick(key.client, usable),
            (Shape::Maglev(maglev), _) => maglev.pick(key.client, backends.len(), usable),
        }
    }
}

impl Cursor {
    /// Workers start at different places, so that they do not all begin with the same backend.
    pub fn for_worker(worker: usize) -> Self {
        const PRIME: u64 = 1_000_003;
        Self { next: worker as u64 * PRIME }
    }

    fn advance(&mut self) -> u64 {
        let position = self.next;
        self.next = position.wrapping_add(1);
        position
    }
}

fn weights(backends: &[Arc<Backend>]) -> Vec<u16> {
    backends.iter().map(|b| b.config.weight).collect()
}

fn same_shares(old: &[Arc<Backend>], new: &[Arc<Backend>]) -> bool {
    let same =
        |(a, b): (&Arc<Backend>, &Arc<Backend>)| a.config.weight == b.config.weight && a.config.name == b.config.name;
    old.len() == new.len() && old.iter().zip(new).all(same)
}

/// Requests in flight per weight.
#[derive(Clone, Copy)]
struct Load {
    requests: u64,
    weight: u64,
}

impl Load {
    fn of(backend: &Backend) -> Self {
        Self { requests: backend.load(), weight: u64::from(backend.config.weight) }
    }

    fn is_below(self, other: Self) -> bool {
        self.requests * other.weight < other.requests * self.weight
    }
}

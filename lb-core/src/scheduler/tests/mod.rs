mod choose;
mod distribution;
mod hashing;
mod large;
mod rings;
mod turns;

use std::sync::Arc;

use super::hash::mix;
use super::*;
use crate::fixtures;
use crate::pool::Pool;

const ALL: [Scheduler; 5] =
    [Scheduler::RoundRobin, Scheduler::LeastConnections, Scheduler::IpHash, Scheduler::Maglev, Scheduler::Random];

fn pool(scheduler: Scheduler, weights: &[u16]) -> Arc<Pool> {
    fixtures::serving(fixtures::pool("pool", scheduler, fixtures::backends(weights)))
}

/// Client number `n`, at a moment of its own.
fn key(n: u64) -> Key {
    Key { client: mix(n), random: mix(!n) }
}

fn pick(pool: &Pool, cursor: &mut Cursor, key: Key) -> Option<usize> {
    pool.table.pick(&pool.backends, cursor, key, |_, _| true)
}

/// How often each backend is chosen for clients `0..choices`.
fn counts(pool: &Pool, choices: u64, usable: impl Fn(usize, &Backend) -> bool) -> Vec<u64> {
    let mut counts = vec![0; pool.backends.len()];
    let mut cursor = Cursor::default();
    for n in 0..choices {
        if let Some(i) = pool.table.pick(&pool.backends, &mut cursor, key(n), &usable) {
            counts[i] += 1;
        }
    }
    counts
}

fn set_load(backend: &Backend, requests: i64) {
    let gauge = &backend.live.counters.shard(0).requests_active;
    gauge.add(requests - gauge.get());
}

//! Counters without contention: each worker writes its own cache line, a reader adds them up.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

/// One `T` per worker, each on cache lines of its own.
#[derive(Debug)]
pub struct Sharded<T>(Box<[Padded<T>]>);

#[derive(Debug, Default)]
#[repr(align(128))]
struct Padded<T>(T);

impl<T: Default> Sharded<T> {
    /// `shards` is at least one; the control side may use any shard that it alone writes.
    pub fn new(shards: usize) -> Self {
        Self((0..shards.max(1)).map(|_| Padded::default()).collect())
    }
}

impl<T> Sharded<T> {
    /// The shard of one writer. Indexes beyond the last shard wrap.
    pub fn shard(&self, worker: usize) -> &T {
        let index = if worker < self.0.len() { worker } else { worker % self.0.len() };
        &self.0[index].0
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|padded| &padded.0)
    }

    /// Adds up one counter over all shards.
    pub fn sum(&self, counter: impl Fn(&T) -> &Counter) -> u64 {
        self.iter().map(|shard| counter(shard).get()).sum()
    }

    /// Adds up one gauge over all shards; never below zero.
    pub fn level(&self, gauge: impl Fn(&T) -> &Gauge) -> u64 {
        let sum: i64 = self.iter().map(|shard| gauge(shard).get()).sum();
        sum.max(0) as u64
    }
}

/// Only grows. One thread writes it, any may read it.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn inc(&self) {
        self.add(1);
    }

    /// A load and a store, not a locked addition: a shard has one writer.
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Goes up and down. One thread writes it, any may read it.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    pub fn add(&self, n: i64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    pub fn get(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

/// Upper bounds of the request duration buckets, in microseconds; one more bucket is unbounded.
pub const DURATION_BUCKETS_US: [u64; 14] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000,
];

/// A histogram of durations over [`DURATION_BUCKETS_US`].
#[derive(Debug, Default)]
pub struct Durations {
    /// Not cumulative; the last one is everything above the last bound.
    pub buckets: [Counter; DURATION_BUCKETS_US.len() + 1],
    pub sum_us: Counter,
}

impl Durations {
    pub fn observe_us(&self, us: u64) {
        let bucket = DURATION_BUCKETS_US.partition_point(|bound| *bound < us);
        self.buckets[bucket].inc();
        self.sum_us.add(us);
    }
}

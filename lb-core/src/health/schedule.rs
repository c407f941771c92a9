//! When to check next: spread over time, and never in step.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

/// Share of an interval by which checks are moved at most, either way.
const JITTER: f64 = 0.1;

/// Wait before a backend's first check: somewhere in the interval, always at the same place for the same
/// `hash` of its name, so that the backends of a pool are spread over it.
pub fn first_wait(interval: Duration, hash: u64) -> Duration {
    interval.mul_f64(fraction(hash))
}

/// Wait from the start of one check to the next: the interval, a tenth more or less.
pub fn next_wait(interval: Duration, random: u64) -> Duration {
    interval.mul_f64(1.0 - JITTER + 2.0 * JITTER * fraction(random))
}

/// In [0, 1).
fn fraction(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

/// What is due when.
#[derive(Debug)]
pub struct Timers<T>(BinaryHeap<Reverse<(Instant, T)>>);

impl<T: Ord> Default for Timers<T> {
    fn default() -> Self {
        Self(BinaryHeap::new())
    }
}

impl<T: Ord> Timers<T> {
    pub fn set(&mut self, at: Instant, what: T) {
        self.0.push(Reverse((at, what)));
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        self.0.peek().map(|Reverse((at, _))| *at)
    }

    /// The earliest that is due, if any.
    pub fn pop_due(&mut self, now: Instant) -> Option<T> {
        if self.next_deadline()? > now {
            return None;
        }
        self.0.pop().map(|Reverse((_, what))| what)
    }
}

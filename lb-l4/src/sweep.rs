//! Walks the flow table in steps: counts what lives, and forgets what has expired.

use std::collections::HashMap;
use std::mem::offset_of;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

use crate::abi::{Bucket, Flow, Load, WAYS, flow_flag, flow_state};
use crate::maps::Maps;

/// What one walk has found. A NAT flow has two entries and counts once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// By destination, then state.
    pub dests: HashMap<u32, [u32; flow_state::COUNT]>,
    /// Entries in use, both directions.
    pub entries: u64,
    /// Entries that this walk has freed.
    pub forgotten: u64,
}

impl Tally {
    pub fn flows(&self) -> u64 {
        self.dests.values().flatten().map(|n| u64::from(*n)).sum()
    }

    pub fn by_state(&self) -> [u64; flow_state::COUNT] {
        let mut sum = [0; flow_state::COUNT];
        for states in self.dests.values() {
            sum.iter_mut().zip(states).for_each(|(sum, n)| *sum += u64::from(*n));
        }
        sum
    }
}

/// Where a walk is.
pub struct Sweep {
    maps: Arc<Maps>,
    /// Buckets in one step.
    stride: u32,
    next: u32,
    tally: Tally,
}

impl Sweep {
    /// All of the table is seen in so many steps.
    pub fn new(maps: Arc<Maps>, steps: u32) -> Self {
        let stride = maps.flows.count().div_ceil(steps.max(1)).max(1);
        Self { maps, stride, next: 0, tally: Tally::default() }
    }

    /// The result, where this step was the last one of a walk. `now` in jiffies.
    pub fn step(&mut self, now: u32) -> Option<Tally> {
        let end = self.next.saturating_add(self.stride).min(self.maps.flows.count());
        for bucket in self.next..end {
            self.look(bucket, now);
        }
        self.next = end;
        if end < self.maps.flows.count() {
            return None;
        }
        self.next = 0;
        Some(std::mem::take(&mut self.tally))
    }

    fn look(&mut self, bucket: u32, now: u32) {
        for way in 0..WAYS {
            if tag(&self.maps, bucket, way).load(Acquire) == 0 {
                continue;
            }
            if is_past(now, word(&self.maps, bucket, way, offset_of!(Flow, expires))) {
                self.tally.forgotten += u64::from(forget(&self.maps, bucket, way, now));
                continue;
            }
            self.count(bucket, way);
        }
    }

    fn count(&mut self, bucket: u32, way: usize) {
        self.tally.entries += 1;
        let [_, _, state, flags] = word(&self.maps, bucket, way, offset_of!(Flow, incarnation)).to_ne_bytes();
        if flags & flow_flag::REPLY != 0 {
            return;
        }
        let dest = word(&self.maps, bucket, way, offset_of!(Flow, dest));
        if let Some(count) = self.tally.dests.entry(dest).or_default().get_mut(state as usize) {
            *count += 1;
        }
    }
}

/// Has `time` come? As the program compares.
pub fn is_past(now: u32, time: u32) -> bool {
    now.wrapping_sub(time) as i32 >= 0
}

/// Under the lock of the bucket, as the program does it; a lock that is taken means that somebody is at
/// it, and there will be another walk.
fn forget(maps: &Maps, bucket: u32, way: usize, now: u32) -> bool {
    let lock = maps.flows.word(bucket, offset_of!(Bucket, lock));
    if lock.compare_exchange(0, now | 1, Acquire, Relaxed).is_err() {
        return false;
    }
    let tag = tag(maps, bucket, way);
    let seen = tag.load(Acquire);
    let expired = seen != 0 && is_past(now, word(maps, bucket, way, offset_of!(Flow, expires)));
    let forgotten = expired && tag.compare_exchange(seen, 0, AcqRel, Relaxed).is_ok();
    if forgotten {
        uncount(maps, bucket, way);
    }
    // Whoever took it over has its own mark in it.
    let _ = lock.compare_exchange(now | 1, 0, AcqRel, Relaxed);
    forgotten
}

fn uncount(maps: &Maps, bucket: u32, way: usize) {
    let [_, _, _, flags] = word(maps, bucket, way, offset_of!(Flow, incarnation)).to_ne_bytes();
    let dest = word(maps, bucket, way, offset_of!(Flow, dest));
    if flags & flow_flag::REPLY != 0 || dest >= maps.loads.count() {
        return;
    }
    let counter = if flags & flow_flag::COUNTED != 0 { offset_of!(Load, active) } else { offset_of!(Load, inactive) };
    maps.loads.word(dest, counter).fetch_sub(1, AcqRel);
}

fn tag(maps: &Maps, bucket: u32, way: usize) -> &AtomicU32 {
    maps.flows.word(bucket, offset_of!(Bucket, tags) + way * 4)
}

fn word(maps: &Maps, bucket: u32, way: usize, offset: usize) -> u32 {
    maps.flows.word(bucket, offset_of!(Bucket, ways) + way * size_of::<Flow>() + offset).load(Relaxed)
}

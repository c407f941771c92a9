//! Room for rings within one array. A region that was given back rests before it is written again: a
//! packet may have read its place just before, and still be on its way.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// No packet is under way in the program for so long.
pub const GRACE: Duration = Duration::from_secs(2);

/// In units of the array's elements.
#[derive(Debug, Clone)]
pub struct Regions {
    /// Base to length; neighbours are joined.
    free: BTreeMap<u32, u32>,
    resting: VecDeque<(Instant, u32, u32)>,
}

impl Regions {
    pub fn new(capacity: u32) -> Self {
        Self { free: BTreeMap::from([(0, capacity)]), resting: VecDeque::new() }
    }

    /// A region that is in use already. `false`: not all of it was free, and nothing was done.
    pub fn reserve(&mut self, base: u32, length: u32) -> bool {
        if length == 0 {
            return true;
        }
        let Some((start, size)) = self.free.range(..=base).next_back().map(|(s, l)| (*s, *l)) else { return false };
        let (end, wanted_end) = (start + size, u64::from(base) + u64::from(length));
        if u64::from(end) < wanted_end {
            return false;
        }
        self.free.remove(&start);
        self.insert(start, base - start);
        self.insert(base + length, end - (base + length));
        true
    }

    /// The lowest room there is.
    pub fn allocate(&mut self, length: u32, now: Instant) -> Option<u32> {
        self.wake(now);
        let (base, size) = self.free.iter().find(|(_, size)| **size >= length).map(|(b, s)| (*b, *s))?;
        self.free.remove(&base);
        self.insert(base + length, size - length);
        Some(base)
    }

    pub fn release(&mut self, base: u32, length: u32, now: Instant) {
        if length > 0 {
            self.resting.push_back((now, base, length));
        }
    }

    fn wake(&mut self, now: Instant) {
        while let Some((since, base, length)) = self.resting.front().copied() {
            if now.saturating_duration_since(since) < GRACE {
                return;
            }
            self.resting.pop_front();
            self.join(base, length);
        }
    }

    fn join(&mut self, base: u32, length: u32) {
        let (mut base, mut end) = (base, base + length);
        if let Some((before, size)) = self.free.range(..base).next_back().map(|(b, s)| (*b, *s))
            && before + size == base
        {
            self.free.remove(&before);
            base = before;
        }
        if let Some(size) = self.free.remove(&end) {
            end += size;
        }
        self.free.insert(base, end - base);
    }

    fn insert(&mut self, base: u32, length: u32) {
        if length > 0 {
            self.free.insert(base, length);
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a virtual clock has to begin somewhere")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_was_given_back_rests_before_it_is_used_again() {
        let mut regions = Regions::new(10);
        let now = Instant::now();
        assert_eq!(regions.allocate(8, now), Some(0));
        regions.release(0, 8, now);
        assert_eq!(regions.allocate(8, now + GRACE / 2), None);
        assert_eq!(regions.allocate(8, now + GRACE), Some(0));
    }

    #[test]
    fn a_region_in_use_is_reserved_once() {
        let mut regions = Regions::new(10);
        assert!(regions.reserve(4, 3));
        assert!(!regions.reserve(6, 1));
        assert!(!regions.reserve(9, 2), "beyond the end");
        assert!(regions.reserve(7, 3));
        assert_eq!(regions.allocate(5, Instant::now()), None);
        assert_eq!(regions.allocate(4, Instant::now()), Some(0));
    }

    proptest! {
        #[test]
        fn regions_never_overlap_and_all_room_comes_back(steps in prop::collection::vec((any::<bool>(), 1u32..30, 0u64..1500), 0..100)) {
            let mut regions = Regions::new(100);
            let mut now = Instant::now();
            // Taken, and resting until when.
            let mut taken: Vec<(u32, u32)> = vec![];
            let mut resting: Vec<(Instant, u32, u32)> = vec![];
            for (allocate, number, wait) in steps {
                now += Duration::from_millis(wait);
                resting.retain(|(until, ..)| *until > now);
                if allocate {
                    if let Some(base) = regions.allocate(number, now) {
                        let busy = taken.iter().copied().chain(resting.iter().map(|(_, b, l)| (*b, *l)));
                        for (other, length) in busy {
                            prop_assert!(base + number <= other || other + length <= base);
                        }
                        prop_assert!(base + number <= 100);
                        taken.push((base, number));
                    }
                } else if !taken.is_empty() {
                    let (base, length) = taken.swap_remove(number as usize % taken.len());
                    regions.release(base, length, now);
                    resting.push((now + GRACE, base, length));
                }
            }
            for (base, length) in taken {
                regions.release(base, length, now);
            }
            prop_assert_eq!(regions.allocate(100, now + GRACE), Some(0));
        }
    }
}

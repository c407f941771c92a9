//! What a scheduler gives the program: a table that it only has to index.

use std::sync::Arc;

use lb_core::scheduler::{maglev, turns};

use crate::abi::scheduler;

/// The program looks at no more of a least-connections ring.
const LEAST_MOST: usize = 1024;
/// Turns of a round-robin ring, where the weights do not say fewer.
const LONGEST: usize = 4096;

/// Indexes of destinations, with what they were computed from. A clone shares both.
#[derive(Debug, Clone, Default)]
pub struct Ring {
    members: Arc<[Member]>,
    scheduler: u8,
    pub entries: Arc<[u32]>,
}

/// One that takes new flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    pub index: u32,
    /// Makes its share of a hash ring the same on every node.
    pub identity: u64,
    pub weight: u16,
}

impl Ring {
    /// Shared with `old` where that was made of the same.
    pub fn new(scheduler: u8, members: Vec<Member>, old: Option<&Ring>) -> Self {
        match old {
            Some(old) if old.scheduler == scheduler && *old.members == *members => old.clone(),
            _ => Self { entries: entries(scheduler, &members), members: members.into(), scheduler },
        }
    }
}

fn entries(scheduler: u8, members: &[Member]) -> Arc<[u32]> {
    let index = |position: u16| members[usize::from(position)].index;
    match scheduler {
        scheduler::LEAST => members.iter().take(LEAST_MOST).map(|member| member.index).collect(),
        scheduler::ROUND_ROBIN => {
            let weights: Vec<u16> = members.iter().map(|member| member.weight).collect();
            turns::sequence(&weights, LONGEST.max(members.len() * 8)).into_iter().map(index).collect()
        }
        _ => {
            let shares: Vec<maglev::Member> = members.iter().map(|member| (member.identity, member.weight)).collect();
            maglev::ring(&shares, hash_ring(members.len())).into_iter().map(index).collect()
        }
    }
}

/// At least 128 entries for each, so that shares are even to a percent. Two sizes: a pool that grows
/// past one deals all its clients anew.
fn hash_ring(members: usize) -> usize {
    if members <= 64 { 8191 } else { 65_537 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(weights: &[u16]) -> Vec<Member> {
        (0..).zip(weights).map(|(i, w)| Member { index: i, identity: u64::from(i) * 7919, weight: *w }).collect()
    }

    fn counts(ring: &Ring, n: usize) -> Vec<usize> {
        (0..n as u32).map(|i| ring.entries.iter().filter(|e| **e == i).count()).collect()
    }

    #[test]
    fn each_has_its_weight() {
        for (scheduler, n) in [(scheduler::ROUND_ROBIN, 6), (scheduler::FLOW, 8191), (scheduler::SOURCE, 8191)] {
            let ring = Ring::new(scheduler, members(&[1, 2, 3]), None);
            assert_eq!(ring.entries.len(), n);
            let shares = counts(&ring, 3);
            assert!((1..=3).zip(&shares).all(|(w, n6)| n6.abs_diff(n * w / 6) <= 1), "{shares:?}");
        }
        assert_eq!(*Ring::new(scheduler::LEAST, members(&[5, 1]), None).entries, [0, 1]);
    }

    #[test]
    fn removing_one_of_a_hundred_moves_few_of_the_others() {
        let all = members(&[1; 100]);
        let before = Ring::new(scheduler::FLOW, all.clone(), None);
        let after = Ring::new(scheduler::FLOW, all.into_iter().filter(|m| m.index != 42).collect(), None);
        let pairs = before.entries.iter().zip(&*after.entries).filter(|(old, _)| **old != 42);
        let moved = pairs.filter(|(old, new)| old != new).count();
        assert!(moved * 100 <= before.entries.len() * 2, "{moved} of {}", before.entries.len());
    }

    #[test]
    fn what_was_made_of_the_same_is_shared() {
        let first = Ring::new(scheduler::FLOW, members(&[1, 1]), None);
        let again = Ring::new(scheduler::FLOW, members(&[1, 1]), Some(&first));
        let other = Ring::new(scheduler::FLOW, members(&[1, 2]), Some(&first));
        assert!(Arc::ptr_eq(&first.entries, &again.entries));
        assert!(!Arc::ptr_eq(&first.entries, &other.entries));
    }

    #[test]
    fn nobody_makes_an_empty_ring() {
        for scheduler in [scheduler::ROUND_ROBIN, scheduler::LEAST, scheduler::SOURCE, scheduler::FLOW] {
            assert!(Ring::new(scheduler, vec![], None).entries.is_empty());
        }
    }
}

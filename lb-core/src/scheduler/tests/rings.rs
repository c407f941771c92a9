//! The tables that layer 4 takes into the kernel.

use proptest::prelude::*;

use super::*;
use crate::scheduler::maglev::{Member, ring};
use crate::scheduler::turns::sequence;

const SIZE: usize = 65_537;

/// Backends `0..` with these weights.
fn members(weights: &[u16]) -> Vec<Member> {
    let address = |n: usize| ([10, 0, (n >> 8) as u8, n as u8], 80).into();
    weights.iter().enumerate().map(|(n, weight)| (identity(&format!("b{n}"), address(n)), *weight)).collect()
}

fn shares(ring: &[u16], members: usize) -> Vec<usize> {
    let mut shares = vec![0; members];
    ring.iter().for_each(|position| shares[usize::from(*position)] += 1);
    shares
}

/// How many entries of the others change their backend when the one at `leaves` is not there any more.
fn moved(all: &[Member], leaves: usize) -> (usize, usize) {
    let mut left = all.to_vec();
    left.remove(leaves);
    let before = ring(all, SIZE).into_iter().map(|i| all[usize::from(i)].0);
    let after = ring(&left, SIZE).into_iter().map(|i| left[usize::from(i)].0);
    let others: Vec<_> = before.zip(after).filter(|(old, _)| *old != all[leaves].0).collect();
    (others.iter().filter(|(old, new)| old != new).count(), others.len())
}

#[test]
fn shares_of_a_ring_are_true_to_one_percent() {
    for weights in [vec![1; 10], vec![1; 100], vec![10, 10, 5], (1..=30).collect(), vec![0, 7, 0, 1]] {
        let members = members(&weights);
        let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
        for (share, weight) in shares(&ring(&members, SIZE), weights.len()).into_iter().zip(&weights) {
            let due = SIZE as f64 * f64::from(*weight) / total as f64;
            assert!((share as f64 - due).abs() <= due / 100.0, "{share} instead of {due} in {weights:?}");
        }
    }
}

#[test]
fn one_of_a_hundred_that_leaves_moves_at_most_two_percent_of_the_others() {
    let (even, uneven) = (vec![1; 100], (0..100).map(|n| 1 + n % 3).collect::<Vec<_>>());
    for weights in [even, uneven] {
        let all = members(&weights);
        for leaves in [0, 1, 50, 77, 99] {
            let (moved, others) = moved(&all, leaves);
            assert!(moved * 100 <= others * 2, "{moved} of {others} entries moved without {leaves}");
        }
    }
}

#[test]
fn two_backends_of_one_name_are_told_apart() {
    let [one, two] = ["10.0.0.1:80", "10.0.0.2:80"].map(|address| identity("web", address.parse().unwrap()));
    let other_port = identity("web", "10.0.0.1:81".parse().unwrap());
    assert!(one != two && one != other_port && two != other_port);
}

/// Both nodes of a pair must send a client to the same backend.
#[test]
fn a_ring_is_the_same_everywhere() {
    assert_eq!(identity("web", "10.0.0.1:80".parse().unwrap()), 0x624e_b8cd_0fdc_4924);
    let expected: [u16; 23] = [3, 3, 2, 1, 3, 2, 3, 3, 2, 1, 3, 2, 0, 2, 2, 3, 3, 0, 1, 1, 1, 2, 3];
    assert_eq!(ring(&members(&[1, 2, 3, 4]), 23), expected);
}

#[test]
fn a_ring_has_the_next_prime_of_entries() {
    let size = |wanted| ring(&members(&[1, 1]), wanted).len();
    assert_eq!([0, 2, 4, 1024, 8191, 65_536, SIZE].map(size), [2, 2, 5, 1031, 8191, SIZE, SIZE]);
}

#[test]
fn without_weights_nothing_is_dealt() {
    assert!(ring(&[], SIZE).is_empty() && ring(&members(&[0, 0]), SIZE).is_empty());
    assert!(sequence(&[], 100).is_empty() && sequence(&[0, 0], 100).is_empty());
}

#[test]
fn a_sequence_is_one_period_in_lowest_terms() {
    assert_eq!(sequence(&[10, 10, 10], 1000), [0, 1, 2]);
    assert_eq!(sequence(&[0, 50, 10, 10], 1000), [1, 1, 1, 2, 1, 1, 3]);
    assert_eq!(sequence(&[65_535, 1], 100).len(), 101, "each has a turn at least");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_ring_does_not_depend_on_the_order_of_its_members(
        weights in prop::collection::vec(0_u16..9, 1..30),
        rotate in any::<prop::sample::Index>(),
    ) {
        let all = members(&weights);
        let mut rotated = all.clone();
        rotated.rotate_left(rotate.index(all.len()));
        let names = |ring: Vec<u16>, members: &[Member]| -> Vec<u64> {
            ring.into_iter().map(|i| members[usize::from(i)].0).collect()
        };
        prop_assert_eq!(names(ring(&all, 1021), &all), names(ring(&rotated, 1021), &rotated));
    }

    #[test]
    fn a_ring_is_full_and_true_to_any_weights(weights in prop::collection::vec(0_u16..=u16::MAX, 1..40)) {
        let total: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
        let ring = ring(&members(&weights), 4093);
        prop_assert_eq!(ring.len(), if total > 0.0 { 4093 } else { 0 });
        for (share, weight) in shares(&ring, weights.len()).into_iter().zip(&weights) {
            let due = 4093.0 * f64::from(*weight) / total.max(1.0);
            prop_assert!((share as f64 - due).abs() <= 2.0 + due / 100.0, "{} instead of {}", share, due);
        }
    }

    #[test]
    fn a_sequence_is_no_longer_than_it_may_be(weights in prop::collection::vec(0_u16..=u16::MAX, 1..40)) {
        let turns = sequence(&weights, 1000);
        prop_assert!(turns.len() <= 1000 + weights.len());
        let members = weights.iter().filter(|weight| **weight > 0).count();
        let taken: std::collections::HashSet<_> = turns.iter().collect();
        prop_assert_eq!(taken.len(), members);
    }
}

use std::time::{Duration, Instant};

use proptest::prelude::*;

use crate::fixtures::SECOND;
use crate::health::schedule::{Timers, first_wait, next_wait};
use crate::scheduler::name_hash;

#[test]
fn first_checks_spread_over_the_interval() {
    let mut tenths = [0; 10];
    for n in 0..1000 {
        let wait = first_wait(10 * SECOND, name_hash(&format!("pool/10.0.0.{n}:80"), 0));
        tenths[wait.as_secs() as usize] += 1;
    }
    assert!(tenths.iter().all(|n| (60..140).contains(n)), "{tenths:?}");
}

#[test]
fn waits_differ_by_a_tenth_either_way() {
    assert_eq!(next_wait(10 * SECOND, 0), 9 * SECOND);
    assert_eq!(next_wait(10 * SECOND, 1 << 63), 10 * SECOND);
    let longest = next_wait(10 * SECOND, u64::MAX);
    assert!(longest > Duration::from_millis(10_999) && longest <= 11 * SECOND, "{longest:?}");
}

proptest! {
    #[test]
    #[expect(clippy::disallowed_methods, reason = "an Instant has no other origin; the test only adds to it")]
    fn timers_come_in_order_and_not_before_their_time(mut waits in prop::collection::vec(0_u64..1000, 0..50), at in 0_u64..1000) {
        let start = Instant::now();
        let mut timers = Timers::default();
        for wait in &waits {
            timers.set(start + Duration::from_millis(*wait), *wait);
        }
        let now = start + Duration::from_millis(at);
        let due: Vec<u64> = std::iter::from_fn(|| timers.pop_due(now)).collect();
        waits.sort();
        let (expected, rest) = waits.split_at(waits.partition_point(|wait| *wait <= at));
        prop_assert_eq!(due, expected);
        prop_assert_eq!(timers.next_deadline(), rest.first().map(|wait| start + Duration::from_millis(*wait)));
    }
}

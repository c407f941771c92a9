use proptest::prelude::*;

use crate::scheduler::turns::Turns;

proptest! {
    /// After any number of turns everybody is less than one turn away from the exact share.
    #[test]
    fn no_backend_is_ever_a_whole_turn_off_its_share(weights in prop::collection::vec(0_u64..200, 1..20)) {
        let total: u64 = weights.iter().sum();
        let mut counts = vec![0; weights.len()];
        for (slot, turn) in Turns::new(&weights).take(2 * total as usize).enumerate() {
            counts[turn as usize] += 1;
            for (count, weight) in counts.iter().zip(&weights) {
                let due = (slot as u64 + 1) * weight;
                prop_assert!((count * total).abs_diff(due) < total, "{counts:?} after slot {slot} of {weights:?}");
            }
        }
        prop_assert_eq!(counts, weights.iter().map(|w| 2 * w).collect::<Vec<_>>());
    }

    #[test]
    fn equal_weights_take_turns_in_the_order_of_the_file(n in 1_u32..50, weight in 1_u64..9) {
        let turns: Vec<_> = Turns::new(&vec![weight; n as usize]).take(3 * n as usize).collect();
        prop_assert_eq!(turns, (0..3 * n).map(|i| i % n).collect::<Vec<_>>());
    }
}

#[test]
fn a_heavy_backend_is_interleaved_with_light_ones() {
    let turns: Vec<_> = Turns::new(&[5, 1, 1]).take(7).collect();
    assert_eq!(turns, [0, 0, 0, 1, 0, 0, 2]);
}

#[test]
fn nobody_has_a_turn_where_all_weights_are_zero() {
    assert_eq!(Turns::new(&[0, 0]).next(), None);
    assert_eq!(Turns::new(&[]).next(), None);
}

//! Whatever the scheduler: shares follow weights, and only usable backends are chosen.

use proptest::prelude::*;

use super::*;

#[test]
fn shares_follow_weights() {
    let weights = [1, 2, 3, 4, 10, 0];
    for scheduler in ALL {
        let choices = 40_000;
        let counts = counts(&pool(scheduler, &weights), choices, |_, _| true);
        let total: u64 = weights.iter().map(|w| u64::from(*w)).sum();
        for (count, weight) in counts.iter().zip(weights) {
            let due = choices * u64::from(weight) / total;
            assert!(count.abs_diff(due) <= due / 10, "{scheduler:?}: {counts:?} for {weights:?}");
        }
    }
}

#[test]
fn round_robin_is_exact_over_a_period() {
    assert_eq!(counts(&pool(Scheduler::RoundRobin, &[30, 10, 20]), 60, |_, _| true), [30, 10, 20]);
}

#[test]
fn round_robin_never_chooses_one_of_equals_twice_in_a_row() {
    for n in 2..20 {
        let pool = pool(Scheduler::RoundRobin, &vec![7; n]);
        let mut cursor = Cursor::default();
        let chosen: Vec<_> = (0..100).map(|n| pick(&pool, &mut cursor, key(n))).collect();
        assert!(chosen.windows(2).all(|pair| pair[0] != pair[1]), "{chosen:?}");
    }
}

#[test]
fn round_robin_stays_smooth_without_a_backend() {
    let pool = pool(Scheduler::RoundRobin, &[1, 1, 1]);
    let mut cursor = Cursor::default();
    let without = |cursor: &mut Cursor| pool.table.pick(&pool.backends, cursor, key(0), |i, _| i != 1);
    let chosen: Vec<_> = (0..6).filter_map(|_| without(&mut cursor)).collect();
    assert_eq!(chosen, [0, 2, 0, 2, 0, 2]);
}

#[test]
fn workers_start_at_different_backends() {
    let pool = pool(Scheduler::RoundRobin, &[1; 8]);
    let mut first: Vec<_> = (0..8).map(|worker| pick(&pool, &mut Cursor::for_worker(worker), key(0))).collect();
    first.sort();
    first.dedup();
    assert_eq!(first.len(), 8);
}

#[test]
fn least_connections_takes_the_least_loaded_by_weight() {
    let pool = pool(Scheduler::LeastConnections, &[1, 2, 4]);
    for (backend, load) in pool.backends.iter().zip([2, 3, 7]) {
        set_load(backend, load);
    }
    let mut cursor = Cursor::default();
    assert!((0..10).all(|n| pick(&pool, &mut cursor, key(n)) == Some(1)));
}

#[test]
fn random_prefers_the_idle_one_of_two() {
    let pool = pool(Scheduler::Random, &[1, 1]);
    set_load(&pool.backends[0], 100);
    let counts = counts(&pool, 1000, |_, _| true);
    // The loaded one is taken only when all draws hit it: once in 128 times.
    assert!(counts[0] < 30, "{counts:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn rings_of_any_weights_keep_the_shares(weights in prop::collection::vec(0_u16..=u16::MAX, 1..40)) {
        let total: u64 = weights.iter().map(|w| u64::from(*w)).sum();
        let choices = 8192;
        let counts = counts(&pool(Scheduler::RoundRobin, &weights), choices, |_, _| true);
        for (count, weight) in counts.iter().zip(&weights) {
            let due = choices as f64 * f64::from(*weight) / total.max(1) as f64;
            prop_assert!((*count as f64 - due).abs() < 10.0 + due * 0.02, "{count} instead of {due} for {weight}");
            prop_assert_eq!(*count == 0, *weight == 0);
        }
    }

    #[test]
    fn only_usable_backends_are_chosen_and_one_is_always_found(
        weights in prop::collection::vec(0_u16..5, 0..100),
        usable in prop::collection::vec(prop::bool::weighted(0.1), 100),
        client in any::<u64>(),
    ) {
        for scheduler in ALL {
            let pool = pool(scheduler, &weights);
            let candidates: Vec<_> = (0..weights.len()).filter(|i| usable[*i] && weights[*i] > 0).collect();
            let chosen = pool.table.pick(&pool.backends, &mut Cursor::default(), key(client), |i, _| usable[i]);
            match chosen {
                Some(i) => prop_assert!(candidates.contains(&i), "{scheduler:?}"),
                None => prop_assert!(candidates.is_empty(), "{scheduler:?}"),
            }
        }
    }
}

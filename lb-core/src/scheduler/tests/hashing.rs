//! ip-hash and maglev: who moves when a backend leaves, and that every node agrees.

use std::collections::HashSet;
use std::net::IpAddr;

use proptest::prelude::*;

use super::*;

const CLIENTS: u64 = 4000;

/// The backend's name for each client.
fn assignment(pool: &Pool, usable: impl Fn(usize, &Backend) -> bool) -> Vec<Arc<str>> {
    let chosen = |n| pool.table.pick(&pool.backends, &mut Cursor::default(), key(n), &usable);
    (0..CLIENTS).filter_map(|n| Some(pool.backends[chosen(n)?].config.name.clone())).collect()
}

fn without(pool: &Pool, name: &str) -> Arc<Pool> {
    let left = pool.backends.iter().map(|b| (*b.config).clone()).filter(|b| &*b.name != name).collect();
    fixtures::serving(fixtures::pool("pool", pool.config.scheduler, left))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Also past the size from which winners are remembered, and where only the one that leaves has
    /// another weight than the rest.
    #[test]
    fn ip_hash_moves_only_the_clients_of_the_one_that_leaves(
        weights in prop::collection::vec(1_u16..4, 2..40),
        leaves in any::<prop::sample::Index>(),
    ) {
        let pool = pool(Scheduler::IpHash, &weights);
        let leaves = &pool.backends[leaves.index(weights.len())].config.name;
        let before = assignment(&pool, |_, _| true);
        let after = assignment(&without(&pool, leaves), |_, _| true);
        for (old, new) in before.iter().zip(&after) {
            prop_assert!(old == new || old == leaves);
            prop_assert!(new != leaves);
        }
    }

    #[test]
    fn an_unusable_backend_moves_only_its_own_clients(
        weights in prop::collection::vec(1_u16..4, 2..40),
        down in any::<prop::sample::Index>(),
    ) {
        for scheduler in [Scheduler::IpHash, Scheduler::Maglev] {
            let pool = pool(scheduler, &weights);
            let down = down.index(weights.len());
            let name = &pool.backends[down].config.name;
            let before = assignment(&pool, |_, _| true);
            let after = assignment(&pool, |i, _| i != down);
            prop_assert!(before.iter().zip(&after).all(|(old, new)| old == new || old == name));
        }
    }

    #[test]
    fn a_greater_weight_only_attracts(weight in 1_u16..50, more in 1_u16..50) {
        let before = assignment(&pool(Scheduler::IpHash, &[10, weight, 20]), |_, _| true);
        let after = assignment(&pool(Scheduler::IpHash, &[10, weight + more, 20]), |_, _| true);
        prop_assert!(before.iter().zip(&after).all(|(old, new)| old == new || &**new == "b1"));
    }
}

#[test]
fn an_unusable_backends_clients_spread_over_the_others() {
    for scheduler in [Scheduler::IpHash, Scheduler::Maglev] {
        let pool = pool(scheduler, &[1; 10]);
        let moved: HashSet<_> = (0..CLIENTS)
            .filter(|n| pick(&pool, &mut Cursor::default(), key(*n)) == Some(3))
            .filter_map(|n| pool.table.pick(&pool.backends, &mut Cursor::default(), key(n), |i, _| i != 3))
            .collect();
        assert_eq!(moved.len(), 9, "{scheduler:?}");
    }
}

#[test]
fn maglev_moves_at_most_two_percent_of_the_others_clients() {
    let pool = pool(Scheduler::Maglev, &[1; 100]);
    for leaves in ["b0", "b50", "b99"] {
        let before = assignment(&pool, |_, _| true);
        let after = assignment(&without(&pool, leaves), |_, _| true);
        let others = before.iter().zip(&after).filter(|(old, _)| &***old != leaves);
        let moved = others.clone().filter(|(old, new)| old != new).count();
        assert!(moved * 100 <= others.count() * 2, "{moved} clients moved without {leaves}");
    }
}

#[test]
fn maglev_shares_are_even_to_one_percent() {
    let counts = counts(&pool(Scheduler::Maglev, &[1; 20]), 400_000, |_, _| true);
    assert!(counts.iter().all(|count| count.abs_diff(20_000) < 800), "{counts:?}");
}

/// The two nodes of a pair, and one node before and after a restart, must send a client to the same backend.
#[test]
fn hashes_are_the_same_everywhere() {
    // The first number that splitmix64 gives out for seed 0.
    assert_eq!(mix(0), 0xe220_a839_7b1d_cdaf);
    let client = |text: &str| text.parse::<IpAddr>().map(client_hash).unwrap();
    assert_eq!(client("192.0.2.1"), client("::ffff:192.0.2.1"));
    assert_ne!(client("192.0.2.1"), client("::192.0.2.1"));
    assert_eq!(client("192.0.2.1"), 0x79c1_c84e_2035_28f9);
    assert_eq!(client("2001:db8::1"), 0x4de8_97d9_54fd_23d5);
    for (scheduler, expected) in [
        (Scheduler::IpHash, "b2b2b1b1b2b3b3b3b1b2b3b1b2b1b0b3b3b3b3b2"),
        (Scheduler::Maglev, "b2b1b3b3b0b0b3b2b1b3b2b3b2b2b3b3b3b0b3b3"),
    ] {
        let chosen: String = assignment(&pool(scheduler, &[1, 2, 3, 4]), |_, _| true)[..20].concat();
        assert_eq!(chosen, expected, "{scheduler:?}");
    }
}

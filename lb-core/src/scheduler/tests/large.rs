//! What a choice costs, counted in backends looked at.

use std::cell::Cell;

use super::*;

/// Backends looked at by one choice among 1,000 of many weights; usable are those that `usable` says.
fn looks(scheduler: Scheduler, usable: impl Fn(usize) -> bool) -> (Option<usize>, usize) {
    let pool = pool(scheduler, &(0..1000).map(|i| 1 + i % 29).collect::<Vec<_>>());
    let looked = Cell::new(0);
    let chosen = pool.table.pick(&pool.backends, &mut Cursor::default(), key(1), |i, _| {
        looked.set(looked.get() + 1);
        usable(i)
    });
    (chosen, looked.get())
}

#[test]
fn a_choice_among_a_thousand_usable_backends_looks_at_few() {
    let bounds = [
        (Scheduler::RoundRobin, 1),
        (Scheduler::IpHash, 1),
        (Scheduler::Maglev, 1),
        (Scheduler::Random, 2),
        (Scheduler::LeastConnections, 32),
    ];
    for (scheduler, bound) in bounds {
        let (chosen, looked) = looks(scheduler, |_| true);
        assert!(chosen.is_some() && looked <= bound, "{scheduler:?} looked at {looked}");
    }
}

#[test]
fn the_only_usable_backend_of_a_thousand_is_found() {
    for scheduler in ALL {
        let (chosen, looked) = looks(scheduler, |i| i == 783);
        assert_eq!(chosen, Some(783), "{scheduler:?}");
        assert!(looked <= 3100, "{scheduler:?} looked at {looked}");
    }
}

#[test]
fn a_pool_without_a_usable_backend_is_walked_once() {
    for scheduler in ALL {
        let (chosen, looked) = looks(scheduler, |_| false);
        assert_eq!(chosen, None, "{scheduler:?}");
        assert!(looked <= 1020, "{scheduler:?} looked at {looked}");
    }
}

#[test]
fn a_reload_shares_the_tables_of_unchanged_pools() {
    let shared = |a: &Table, b: &Table| match (&a.shape, &b.shape) {
        (Shape::Ring(a), Shape::Ring(b)) => Arc::ptr_eq(a, b),
        (Shape::Rendezvous(a), Shape::Rendezvous(b)) => Arc::ptr_eq(a, b),
        (Shape::Maglev(a), Shape::Maglev(b)) => Arc::ptr_eq(a, b),
        _ => false,
    };
    for scheduler in ALL {
        let old = pool(scheduler, &[1, 2, 3]);
        let renewed = |new: &Pool| Table::renew(new.config.scheduler, &new.backends, Some((&old.table, &old.backends)));
        assert!(shared(&old.table, &renewed(&pool(scheduler, &[1, 2, 3]))));
        assert!(!shared(&old.table, &renewed(&pool(scheduler, &[1, 2, 4]))));
        assert!(!shared(&old.table, &renewed(&pool(scheduler, &[1, 2]))));
    }
    let ring = pool(Scheduler::RoundRobin, &[1, 2]);
    let maglev = Table::renew(Scheduler::Maglev, &ring.backends, Some((&ring.table, &ring.backends)));
    assert!(matches!(maglev.shape, Shape::Maglev(_)));
}

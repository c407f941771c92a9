//! Primaries, backups, tried ones and slots.

use super::*;
use crate::config::{self, AdminState};
use crate::pool::Health;

/// Two primaries (0 and 1) and two backups (2 and 3).
fn guarded(max_connections: Option<u32>) -> Arc<Pool> {
    let limited = |name| Arc::new(config::Backend { max_connections, ..fixtures::backend(name, 1) });
    let mut pool = fixtures::pool("pool", Scheduler::RoundRobin, vec![]);
    pool.backends = ["a", "b"].map(limited).to_vec();
    pool.backup = ["spare", "other"].map(limited).to_vec();
    fixtures::serving(pool)
}

fn chosen(pool: &Pool, tried: &[usize]) -> Option<usize> {
    place(&choose(pool, &mut PoolCursor::default(), key(0), tried))
}

fn place(choice: &Choice<'_>) -> Option<usize> {
    match choice {
        Choice::Backend { index, .. } => Some(*index),
        _ => None,
    }
}

fn set_health(pool: &Pool, index: usize, health: Health) {
    pool.backend(index).unwrap().live.set_health(health);
}

#[test]
fn backups_serve_only_when_no_primary_is_available() {
    let pool = guarded(None);
    assert_eq!(chosen(&pool, &[]), Some(0));
    set_health(&pool, 0, Health::Down);
    assert_eq!(chosen(&pool, &[]), Some(1));
    pool.backends[1].live.set_admin_override(Some(AdminState::Drain));
    assert_eq!(chosen(&pool, &[]), Some(2));
    set_health(&pool, 0, Health::Up);
    assert_eq!(chosen(&pool, &[]), Some(0));
}

#[test]
fn no_backend_is_available_when_all_are_down() {
    let pool = guarded(None);
    for index in 0..4 {
        set_health(&pool, index, Health::Down);
    }
    assert!(matches!(choose(&pool, &mut PoolCursor::default(), key(0), &[]), Choice::NoneAvailable));
    assert!(matches!(choose(&pool, &mut PoolCursor::default(), key(0), &[1]), Choice::NoneAvailable));
}

#[test]
fn tried_backends_come_last_even_after_backups() {
    let pool = guarded(None);
    assert_eq!(chosen(&pool, &[0]), Some(1));
    assert_eq!(chosen(&pool, &[0, 1]), Some(2));
    assert_eq!(chosen(&pool, &[0, 1, 2]), Some(3));
    assert_eq!(chosen(&pool, &[0, 1, 2, 3]), Some(0));
}

#[test]
fn a_full_backend_is_passed_over_and_a_full_pool_is_full() {
    let pool = guarded(Some(1));
    let mut cursor = PoolCursor::default();
    let mut next = || place(&choose(&pool, &mut cursor, key(0), &[]));
    assert_eq!([next(), next()], [Some(0), Some(1)]);
    assert!(matches!(choose(&pool, &mut PoolCursor::default(), key(0), &[]), Choice::Full));
    pool.backends[1].release_slot();
    assert_eq!(chosen(&pool, &[]), Some(1));
}

#[test]
fn every_slot_of_the_pool_is_found_before_it_is_full() {
    for scheduler in ALL {
        let one = |b: config::Backend| Arc::new(config::Backend { max_connections: Some(1), ..b });
        let backends = fixtures::backends(&[1; 8]).into_iter().map(one).collect();
        let pool = fixtures::serving(config::Pool { backends, ..fixtures::pool("pool", scheduler, vec![]) });
        let mut places: Vec<_> = (0..8).map(|_| chosen(&pool, &[])).collect();
        places.sort();
        assert_eq!(places, (0..8).map(Some).collect::<Vec<_>>(), "{scheduler:?}");
        assert!(matches!(choose(&pool, &mut PoolCursor::default(), key(0), &[]), Choice::Full));
    }
}

/// Another one that is full is worth waiting for; the one that has just failed is not.
#[test]
fn a_retry_waits_rather_than_asking_the_same_backend_again() {
    let pool = guarded(Some(1));
    assert!(pool.backends[1].try_take_slot());
    assert!(matches!(choose(&pool, &mut PoolCursor::default(), key(0), &[0]), Choice::Full));
}

#[test]
fn a_preview_says_what_will_be_chosen_and_takes_nothing() {
    let pool = guarded(Some(1));
    let mut cursor = PoolCursor::default();
    for _ in 0..3 {
        assert_eq!(place(&preview(&pool, &cursor, key(0), &[])), Some(0));
    }
    assert_eq!(place(&choose(&pool, &mut cursor, key(0), &[])), Some(0));
    assert_eq!(place(&preview(&pool, &cursor, key(0), &[])), Some(1));
    assert_eq!(place(&choose(&pool, &mut cursor, key(0), &[])), Some(1));
    assert!(matches!(preview(&pool, &cursor, key(0), &[]), Choice::Full));
}

/// Workers race for the last slots: together they never take more than there are.
#[test]
fn racing_workers_never_exceed_max_connections() {
    let pool = guarded(Some(100));
    let taken: usize = std::thread::scope(|scope| {
        let worker = |worker| {
            let pool = &pool;
            scope.spawn(move || {
                let mut cursor = PoolCursor::for_worker(worker);
                (0..200).filter(|n| place(&choose(pool, &mut cursor, key(*n), &[])).is_some()).count()
            })
        };
        let workers: Vec<_> = (0..4).map(worker).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    });
    assert_eq!(taken, 200);
}

use std::sync::Arc;

use super::*;
use crate::config::Scheduler;
use crate::fixtures;

fn backend(max_connections: Option<u32>, weight: u16, state: AdminState) -> Backend {
    let config = config::Backend { max_connections, state, ..fixtures::backend("b", weight) };
    Backend { pool: "pool".into(), config: Arc::new(config), live: Arc::new(BackendLive::new(2, Health::Unknown)) }
}

#[test]
fn available_is_what_is_not_down_commanded_ready_and_has_weight() {
    for health in [Health::Unknown, Health::Up, Health::Down] {
        for state in [AdminState::Ready, AdminState::Drain, AdminState::Maint] {
            for weight in [0, 1] {
                let backend = backend(None, weight, state);
                backend.live.set_health(health);
                let expected = health != Health::Down && state == AdminState::Ready && weight == 1;
                assert_eq!(backend.is_available(), expected, "{health:?} {state:?} {weight}");
            }
        }
    }
}

#[test]
fn an_override_stands_above_the_file_until_it_is_lifted() {
    let backend = backend(None, 1, AdminState::Drain);
    for state in [AdminState::Ready, AdminState::Drain, AdminState::Maint] {
        backend.live.set_admin_override(Some(state));
        assert_eq!(backend.admin_state(), state);
    }
    backend.live.set_admin_override(None);
    assert_eq!(backend.admin_state(), AdminState::Drain);
}

#[test]
fn slots_are_as_many_as_max_connections() {
    let backend = backend(Some(2), 1, AdminState::Ready);
    assert!(backend.try_take_slot() && backend.has_free_slot());
    assert!(backend.try_take_slot() && !backend.has_free_slot());
    assert!(!backend.try_take_slot());
    backend.release_slot();
    assert!(backend.try_take_slot());
}

#[test]
fn without_a_limit_there_is_always_a_slot() {
    let backend = backend(None, 1, AdminState::Ready);
    assert!((0..100).all(|_| backend.try_take_slot() && backend.has_free_slot()));
}

#[test]
fn a_slot_released_too_often_makes_no_room() {
    let backend = backend(Some(1), 1, AdminState::Ready);
    backend.release_slot();
    assert!(backend.try_take_slot());
    assert!(!backend.try_take_slot());
}

#[test]
fn load_is_the_sum_of_what_workers_count_and_never_negative() {
    let backend = backend(None, 1, AdminState::Ready);
    let count = |worker, n| backend.live.counters.shard(worker).requests_active.add(n);
    count(0, 5);
    count(1, -2);
    assert_eq!(backend.load(), 3);
    count(1, -10);
    assert_eq!(backend.load(), 0);
}

#[test]
fn places_count_primaries_first() {
    let mut config = fixtures::pool("pool", Scheduler::RoundRobin, fixtures::backends(&[1, 1]));
    config.backup = vec![Arc::new(fixtures::backend("spare", 1))];
    let pool = fixtures::serving(config);
    let names: Vec<_> = (0..4).map_while(|i| pool.backend(i)).map(|b| b.id()).collect();
    assert_eq!(names, ["pool/b0", "pool/b1", "pool/spare"]);
}

#[tokio::test]
async fn waking_reaches_everybody_who_waits() {
    let changes = Changes::default();
    let mut listener = changes.listen();
    let live = PoolLive::new(1, changes);
    let (freed, changed) = (live.slot_freed.notified(), live.availability.notified());
    tokio::pin!(freed, changed);
    freed.as_mut().enable();
    changed.as_mut().enable();
    live.availability_changed();
    freed.await;
    changed.await;
    listener.heard().await;
}

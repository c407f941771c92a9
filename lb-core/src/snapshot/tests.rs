//! What lives on over a reload, and what begins anew.

use std::sync::Arc;

use super::*;
use crate::config::{AdminState, Check, InitialHealth, Probe, Scheduler};
use crate::fixtures;
use crate::scheduler::{Cursor, Key};

fn pool(name: &str, backends: &[(&str, u16)]) -> config::Pool {
    let backend = |(name, port): &(&str, u16)| config::Backend {
        address: ([10, 0, 0, 1], *port).into(),
        ..fixtures::backend(name, 1)
    };
    fixtures::pool(name, Scheduler::RoundRobin, backends.iter().map(backend).collect())
}

fn live(snapshot: &Snapshot, pool: &str, backend: &str) -> Arc<BackendLive> {
    let found = snapshot.backends().find(|(_, b)| b.id() == format!("{pool}/{backend}"));
    found.unwrap().1.live.clone()
}

fn same(a: &Snapshot, b: &Snapshot, pool: &str, backend: &str) -> bool {
    Arc::ptr_eq(&live(a, pool, backend), &live(b, pool, backend))
}

#[test]
fn backends_keep_their_live_state_by_pool_name_and_address() {
    let before = fixtures::snapshot(vec![pool("p", &[("a", 1), ("b", 2), ("c", 3)]), pool("q", &[("a", 1)])], None);
    let after = fixtures::snapshot(
        vec![pool("q", &[("a", 1)]), pool("p", &[("c", 3), ("new", 4), ("a", 9), ("b", 2)])],
        Some(&before),
    );
    assert!(same(&before, &after, "p", "b"));
    assert!(same(&before, &after, "p", "c"));
    assert!(same(&before, &after, "q", "a"));
    assert!(!same(&before, &after, "p", "a"), "another address is another server");
}

#[test]
fn a_backend_that_becomes_a_backup_is_still_the_same() {
    let before = fixtures::snapshot(vec![pool("p", &[("a", 1), ("b", 2)])], None);
    let mut moved = pool("p", &[("a", 1), ("b", 2)]);
    moved.backup = vec![moved.backends.remove(0)];
    let after = fixtures::snapshot(vec![moved], Some(&before));
    assert!(same(&before, &after, "p", "a"));
}

#[test]
fn a_pool_keeps_its_live_state_by_name() {
    let before = fixtures::snapshot(vec![pool("p", &[("a", 1)]), pool("q", &[("a", 1)])], None);
    let after = fixtures::snapshot(vec![pool("q", &[("z", 7)]), pool("r", &[("a", 1)])], Some(&before));
    let live = |snapshot: &Snapshot, name| snapshot.pool(name).unwrap().live.clone();
    assert!(Arc::ptr_eq(&live(&before, "q"), &live(&after, "q")));
    assert!(!Arc::ptr_eq(&live(&before, "p"), &live(&after, "r")));
    assert!(after.pool("p").is_none());
    assert_eq!(after.pool_position("r"), Some(1));
}

#[test]
fn what_was_removed_begins_anew_when_it_comes_back() {
    let first = fixtures::snapshot(vec![pool("p", &[("a", 1)])], None);
    live(&first, "p", "a").set_health(Health::Down);
    let second = fixtures::snapshot(vec![pool("p", &[])], Some(&first));
    let third = fixtures::snapshot(vec![pool("p", &[("a", 1)])], Some(&second));
    assert_eq!(live(&third, "p", "a").health(), Health::Unknown);
    assert_eq!((first.generation, second.generation, third.generation), (1, 2, 3));
}

#[test]
fn only_new_backends_begin_with_the_initial_health() {
    let checked = |initial, backends: &[(&str, u16)]| config::Pool {
        check: Some(Check { initial, ..fixtures::check(Probe::Tcp) }),
        ..pool("p", backends)
    };
    let first = fixtures::snapshot(vec![checked(InitialHealth::Up, &[("a", 1)])], None);
    assert_eq!(live(&first, "p", "a").health(), Health::Up);
    let second = fixtures::snapshot(vec![checked(InitialHealth::Down, &[("a", 1), ("b", 2)])], Some(&first));
    assert_eq!(live(&second, "p", "a").health(), Health::Up);
    assert_eq!(live(&second, "p", "b").health(), Health::Down);
}

#[tokio::test]
async fn an_override_holds_until_the_file_gives_that_backend_another_state() {
    let states = |a, b| {
        let mut pool = pool("p", &[("a", 1), ("b", 2)]);
        for (backend, state) in pool.backends.iter_mut().zip([a, b]) {
            *backend = Arc::new(config::Backend { state, ..(**backend).clone() });
        }
        vec![pool]
    };
    let first = fixtures::snapshot(states(AdminState::Ready, AdminState::Ready), None);
    for name in ["a", "b"] {
        live(&first, "p", name).set_admin_override(Some(AdminState::Drain));
    }
    let second = fixtures::snapshot(states(AdminState::Ready, AdminState::Maint), Some(&first));
    assert_eq!(live(&second, "p", "b").admin_override(), Some(AdminState::Drain), "not before it serves");
    let mut changes = first.changes.listen();
    second.settle(&first);
    changes.heard().await;
    assert_eq!(live(&second, "p", "a").admin_override(), Some(AdminState::Drain));
    assert_eq!(live(&second, "p", "b").admin_override(), None);
}

#[test]
fn a_frontend_keeps_its_live_state_by_name() {
    let with = |names: &[&str]| {
        let mut config = (*fixtures::config(vec![])).clone();
        config.frontends = names.iter().map(|name| Arc::new(fixtures::frontend(name))).collect();
        Arc::new(config)
    };
    let before = Snapshot::build(with(&["web", "old"]), "1".into(), 1, None);
    let after = Snapshot::build(with(&["new", "web"]), "2".into(), 1, Some(&before));
    let live = |snapshot: &Snapshot, name| snapshot.frontend(name).map(|f| f.live.clone());
    assert!(Arc::ptr_eq(&live(&before, "web").unwrap(), &live(&after, "web").unwrap()));
    assert!(live(&after, "old").is_none());
}

#[test]
fn layers_are_told_apart() {
    let with = |frontends: Vec<config::Frontend>| {
        let mut config = (*fixtures::config(vec![pool("p", &[("a", 1)])])).clone();
        config.frontends = frontends.into_iter().map(Arc::new).collect();
        Arc::new(config)
    };
    let both = with(vec![fixtures::forward("tcp", "p"), fixtures::frontend("web")]);
    let snapshot = Snapshot::build(both, "1".into(), 1, None);
    let names = |frontend: &Frontend| frontend.config.name.to_string();
    assert_eq!(snapshot.http_frontends().map(|(f, _)| names(f)).collect::<Vec<_>>(), ["web"]);
    assert_eq!(snapshot.forward_frontends().map(|(f, _)| names(f)).collect::<Vec<_>>(), ["tcp"]);
    assert!(snapshot.pools[0].forwarded);
}

/// As requests come to a pool that only layer 4 used, it gets its table.
#[test]
fn a_pool_may_change_its_layer() {
    let with = |frontend: config::Frontend| {
        let mut config = (*fixtures::config(vec![pool("p", &[("a", 1), ("b", 2)])])).clone();
        config.frontends = vec![Arc::new(frontend)];
        Arc::new(config)
    };
    let mut served = fixtures::frontend("web");
    let config::Mode::Http(http) = &mut served.mode else { unreachable!() };
    let everything = config::Route {
        host: None,
        path: None,
        methods: vec![],
        headers: vec![],
        action: config::Action::Pool("p".into()),
    };
    Arc::make_mut(http).routes = vec![everything];
    let chooses = |snapshot: &Snapshot| {
        let pool = &snapshot.pools[0];
        let key = Key { client: 0, random: 0 };
        pool.table.pick(&pool.backends, &mut Cursor::default(), key, |_, _| true).is_some()
    };
    let first = Snapshot::build(with(fixtures::forward("tcp", "p")), "1".into(), 1, None);
    let second = Snapshot::build(with(served), "2".into(), 1, Some(&first));
    let third = Snapshot::build(with(fixtures::forward("tcp", "p")), "3".into(), 1, Some(&second));
    assert_eq!([&first, &second, &third].map(chooses), [false, true, false]);
    assert!(same(&first, &third, "p", "a"));
}

/// Five hundred pools, half of them new: every counter is where it was.
#[test]
fn counters_of_thousands_of_backends_are_carried_over() {
    let pools = |range: std::ops::Range<u32>| {
        let names: Vec<String> = (0..20).map(|i| format!("b{i}")).collect();
        let backends: Vec<_> = names.iter().map(|name| (name.as_str(), 80)).collect();
        range.map(|i| pool(&format!("p{i}"), &backends)).collect()
    };
    let before = fixtures::snapshot(pools(0..500), None);
    for (_, backend) in before.backends() {
        backend.live.counters.shard(0).requests_total.inc();
    }
    let after = fixtures::snapshot(pools(250..750), Some(&before));
    let kept: u64 = after.backends().map(|(_, b)| b.live.counters.sum(|c| &c.requests_total)).sum();
    assert_eq!((after.backends().count(), kept), (10_000, 5_000));
}

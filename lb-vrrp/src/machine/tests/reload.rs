//! A reload keeps role and timers.

use super::*;

#[test]
fn nothing_new_does_nothing() {
    for mut node in [Node::active(settings()), Node::backup(settings())] {
        let (before, role) = (node.patience(), node.role());
        assert!(node.wait(10 * MS).handle(Event::Reconfigured(&settings())).is_empty());
        assert_eq!((node.patience(), node.role()), (before - 10 * MS, role));
    }
}

#[test]
fn another_interval_is_advertised_at_once() {
    let mut node = Node::active(settings());
    let faster = Settings { interval: 10 * MS, ..settings() };
    let shown = Action::Advertise { priority: 100, interval: 10 * MS };
    assert_eq!(node.wait(50 * MS).handle(Event::Reconfigured(&faster)).first(), Some(&shown));
    assert_eq!(node.patience(), 10 * MS);
}

#[test]
fn other_addresses_are_set_and_announced() {
    let mut node = Node::active(settings());
    let more = Settings { addresses: Addresses::from_slice(&[ip("192.0.2.10"), ip("192.0.2.11")]), ..settings() };
    let actions = node.wait(50 * MS).handle(Event::Reconfigured(&more));
    assert_eq!(actions.as_slice(), [advertise(100), Action::AddAddresses, Action::Announce { repeat: 5 }]);
}

#[test]
fn a_backup_keeps_its_timer_and_whom_it_follows() {
    let mut node = Node::backup(settings());
    node.hear_at_interval(HIGH, 200, SECOND);
    let before = node.patience();
    let other = Settings { priority: 120, interval: 10 * MS, preempt: Preempt::Never, ..settings() };
    assert!(node.handle(Event::Reconfigured(&other)).is_empty());
    assert_eq!((node.patience(), node.machine.active_router()), (before, Some((ip(HIGH), 200))));
}

#[test]
fn a_backup_that_becomes_the_owner_claims() {
    let mut node = Node::backup(settings());
    node.hear(HIGH, 200);
    node.handle(Event::Reconfigured(&Settings { priority: 255, ..settings() }));
    assert_eq!(node.role(), Role::Active);
}

#[test]
fn announcements_that_are_switched_off_stop() {
    let mut node = Node::active(settings());
    let garp = Garp { repeat: 1, again: None, refresh: None };
    node.handle(Event::Reconfigured(&Settings { garp, ..settings() }));
    let announced = node.run_for(60 * SECOND).into_iter().filter(|(_, a)| matches!(a, Action::Announce { .. }));
    assert_eq!(announced.count(), 0);
}

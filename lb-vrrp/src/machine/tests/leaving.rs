//! Handing over, asked or at the end.

use super::*;

#[test]
fn yield_says_priority_0_and_keeps_the_addresses_until_a_successor_is_heard() {
    let mut node = Node::active(settings());
    assert_eq!(node.handle(Event::Yield).as_slice(), [advertise(0)]);
    assert!(node.machine.is_leaving());
    assert_eq!(node.role(), Role::Active);
    assert!(node.wait(60 * MS).hear(LOW, 50).is_empty());
    assert_eq!(node.patience(), 200 * MS, "time to add the addresses and announce them");
    let actions = node.run_out();
    assert_eq!(deeds(&actions), [Action::RemoveAddresses, advertise(0)]);
    assert_eq!(reason(&actions), Some(Reason::Yielded { to: ip(LOW) }));
    assert_eq!(node.role(), Role::Backup);
}

#[test]
fn after_a_yield_it_does_not_preempt_but_takes_over_from_a_dead_peer() {
    let mut node = Node::active(settings());
    node.handle(Event::Yield);
    node.hear(LOW, 50);
    node.run_out();
    for _ in 0..1000 {
        node.hear(LOW, 50);
        assert!(node.run_for(100 * MS).is_empty());
    }
    node.run_out();
    assert_eq!(node.role(), Role::Active);
}

#[test]
fn a_yield_to_nobody_changes_nothing() {
    let mut node = Node::active(settings());
    node.handle(Event::Yield);
    assert_eq!(node.patience(), 500 * MS);
    let actions = node.run_out();
    assert_eq!(deeds(&actions), [advertise(100), Action::Announce { repeat: 1 }]);
    assert_eq!(notices(&actions), [Notice::NobodyTookOver]);
    assert_eq!((node.role(), node.machine.is_leaving()), (Role::Active, false));
    node.run_for(SECOND);
    assert_eq!(node.role(), Role::Active);
}

#[test]
fn a_backup_has_nothing_to_yield() {
    assert_eq!(notices(&Node::backup(settings()).handle(Event::Yield)), [Notice::NothingToYield]);
}

#[test]
fn it_announces_nothing_while_a_successor_does() {
    let garp = Garp { again: Some(250 * MS), refresh: Some(100 * MS), ..Garp::default() };
    let mut node = Node::active(Settings { garp, ..settings() });
    node.handle(Event::Yield);
    node.hear(LOW, 50);
    assert!(node.handle(Event::Conflict).is_empty(), "the successor's own announcement");
    assert!(node.run_for(199 * MS).is_empty());
}

#[test]
fn stop_says_priority_0_and_keeps_the_addresses_until_a_successor_has_them() {
    let mut node = Node::active(settings());
    assert_eq!(node.handle(Event::Stop).as_slice(), [advertise(0)]);
    node.wait(60 * MS).hear(LOW, 50);
    let actions = node.run_out();
    assert_eq!(deeds(&actions), [Action::RemoveAddresses, advertise(0), Action::Stopped]);
    assert_eq!((reason(&actions), node.role()), (Some(Reason::Stopped), Role::Initialize));
    assert_eq!(node.machine.next_deadline(), None);
}

#[test]
fn a_stop_without_a_successor_ends_within_half_a_second() {
    let mut node = Node::active(settings());
    node.handle(Event::Stop);
    assert_eq!(node.patience(), 500 * MS);
    assert_eq!(deeds(&node.run_out()), [Action::RemoveAddresses, Action::Stopped]);
}

/// At least as long as the longest skew of a peer.
#[test]
fn a_stop_waits_for_the_skew_of_the_slowest_peer() {
    let patience = |settings| {
        let mut node = Node::active(settings);
        node.handle(Event::Stop);
        node.patience()
    };
    assert_eq!(patience(Settings { interval: 10 * MS, ..settings() }), 50 * MS);
    assert_eq!(patience(Settings { interval: SECOND, ..settings() }), 1250 * MS);
    assert_eq!(patience(Settings { interval: 10 * SECOND, ..settings() }), 12_500 * MS);
    assert_eq!(patience(Settings { interval: 10 * SECOND, version: Version::V2, ..settings() }), 1250 * MS);
}

#[test]
fn a_stop_during_a_yield_ends_it() {
    let mut node = Node::active(settings());
    node.handle(Event::Yield);
    node.hear(LOW, 50);
    assert!(node.handle(Event::Stop).is_empty());
    assert!(node.run_out().contains(&Action::Stopped));
}

#[test]
fn whoever_is_not_active_stops_at_once() {
    for mut node in [Node::new(settings()), Node::backup(settings())] {
        assert!(node.handle(Event::Stop).contains(&Action::Stopped));
        assert_eq!(node.role(), Role::Initialize);
        node.hear(HIGH, 1);
        assert!(node.handle(Event::Timer).is_empty());
    }
}

#[test]
fn a_link_that_goes_down_ends_a_stop() {
    let mut node = Node::active(settings());
    node.handle(Event::Stop);
    let actions = node.handle(Event::Link { up: false });
    assert_eq!(deeds(&actions), [Action::RemoveAddresses, Action::Stopped]);
}

/// The last priority 0 comes when the addresses are gone, so that the successor's announcement is the last.
#[test]
fn the_successor_announces_once_more_when_the_addresses_are_gone() {
    let mut successor = Node::active(settings());
    assert!(successor.wait(10 * MS).hear(HIGH, 0).contains(&Action::Announce { repeat: 1 }));
}

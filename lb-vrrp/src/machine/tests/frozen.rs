//! One's own last advert is older than the peers' patience: step down first, look, then claim.

use super::*;

#[test]
fn a_frozen_active_steps_down_before_anything_else() {
    let mut node = Node::active(settings());
    let actions = node.wait(SECOND).handle(Event::Timer);
    assert_eq!(deeds(&actions), [Action::RemoveAddresses]);
    assert_eq!(reason(&actions), Some(Reason::Frozen(SECOND)));
    assert_eq!(node.role(), Role::Backup);
}

#[test]
fn whatever_wakes_it_makes_it_step_down() {
    let wake: [fn(&mut Node) -> Actions; 4] = [
        |node| node.handle(Event::Woken { gap: SECOND }),
        |node| node.hear(LOW, 50),
        |node| node.handle(Event::Conflict),
        |node| node.handle(Event::Tracked { priority: 90, fault: false }),
    ];
    for wake in wake {
        let mut node = Node::active(settings());
        assert_eq!(deeds(&wake(node.wait(SECOND)))[0], Action::RemoveAddresses);
        assert_eq!(node.role(), Role::Backup);
    }
}

#[test]
fn a_short_delay_is_no_freeze() {
    let mut node = Node::active(settings());
    node.wait(299 * MS).handle(Event::Timer);
    assert_eq!(node.role(), Role::Active);
}

/// At an interval of 10 ms, keepalived changes roles 16 times.
#[test]
fn after_a_freeze_of_1_s_at_10_ms_it_changes_its_role_once() {
    let mut node = Node::active(Settings { interval: 10 * MS, priority: 150, ..settings() });
    node.wait(SECOND);
    let mut changes = 0;
    // What lay in its queue, and then live adverts of the peer that took over.
    for i in 0..300 {
        let mut actions = node.hear(LOW, 100).into_vec();
        if i >= 97 {
            actions.extend(node.run_for(10 * MS).into_iter().map(|(_, action)| action));
        }
        changes += actions.iter().filter(|action| matches!(action, Action::RoleChanged(_))).count();
    }
    assert_eq!((changes, node.role()), (1, Role::Backup));
}

/// Whoever answered for the addresses meanwhile may have taught the network the wrong place.
#[test]
fn after_a_freeze_the_active_peer_is_made_to_announce() {
    let mut node = Node::active(settings());
    node.wait(SECOND).handle(Event::Timer);
    assert_eq!(deeds(&node.hear(LOW, 50)), [advertise(0)], "with its own priority it would claim");
    assert_eq!(deeds(&node.hear(LOW, 50)), [], "once");
}

#[test]
fn after_a_freeze_it_claims_again_when_nobody_has_taken_over() {
    let mut node = Node::active(settings());
    node.wait(SECOND).handle(Event::Timer);
    assert_eq!(node.patience(), 200 * MS);
    let actions = node.run_out();
    let longer = Action::Advertise { priority: 100, interval: 400 * MS };
    assert_eq!(deeds(&actions)[0], longer, "and tells its peers to wait for longer");
    assert_eq!(node.role(), Role::Active);
}

/// A node that was away once may be away again.
#[test]
fn after_a_freeze_it_does_not_preempt_for_10_s() {
    let mut node = Node::active(settings());
    node.wait(SECOND).handle(Event::Timer);
    let woken = node.now;
    while node.role() == Role::Backup {
        node.hear(LOW, 50);
        node.run_for(100 * MS);
    }
    assert!((10 * SECOND..11 * SECOND).contains(&node.now.since(woken)));
}

/// The adverts of the time when it was away are lost, if its host was away as a whole.
#[test]
fn a_frozen_backup_looks_before_it_believes_its_timer() {
    let mut node = Node::backup(settings());
    node.hear(HIGH, 200);
    assert!(node.wait(5 * SECOND).handle(Event::Timer).is_empty());
    assert_eq!(node.patience(), 200 * MS);
    node.wait(50 * MS).hear(HIGH, 200);
    assert_eq!(node.role(), Role::Backup);
}

#[test]
fn a_backup_that_is_always_late_takes_over_nevertheless() {
    let mut node = Node::backup(settings());
    node.hear(HIGH, 200);
    node.wait(5 * SECOND).handle(Event::Timer);
    node.wait(5 * SECOND).handle(Event::Timer);
    assert_eq!(node.role(), Role::Active);
}

#[test]
fn a_backup_that_is_told_of_a_gap_looks_too() {
    let mut node = Node::backup(settings());
    node.hear(HIGH, 200);
    node.wait(330 * MS).handle(Event::Woken { gap: 320 * MS });
    assert_eq!(node.patience(), 200 * MS);
}

//! RFC 9568 section 6.1, RFC 3768 section 6.1.

use super::*;

/// Down is three intervals and the skew: (256 - 100) * 100 ms / 256.
#[test]
fn a_backup_waits_three_intervals_and_its_skew() {
    assert_eq!(Node::backup(settings()).patience(), 300 * MS + 100 * MS * 156 / 256);
}

#[test]
fn the_higher_the_priority_the_shorter_the_skew() {
    let patience = |priority| Node::backup(Settings { priority, ..settings() }).patience();
    assert!(patience(254) < patience(253) && patience(253) < patience(1));
    assert_eq!(patience(254), 300 * MS + 100 * MS * 2 / 256);
}

/// In whole seconds: the skew is a share of one, whatever the interval.
#[test]
fn in_v2_the_skew_is_a_share_of_a_second() {
    let v2 = Settings { version: Version::V2, interval: 2 * SECOND, ..settings() };
    assert_eq!(Node::backup(v2).patience(), 6 * SECOND + SECOND * 156 / 256);
}

#[test]
fn a_backup_adopts_the_interval_of_the_active() {
    let mut node = Node::backup(settings());
    node.hear_at_interval(HIGH, 200, 30 * MS);
    assert_eq!(node.patience(), 90 * MS + 30 * MS * 156 / 256);
    node.hear_at_interval(HIGH, 200, 40 * SECOND);
    assert_eq!(node.patience(), 120 * SECOND + 40 * SECOND * 156 / 256);
}

#[test]
fn as_active_it_sends_at_its_own_interval_again() {
    let mut node = Node::backup(settings());
    node.hear_at_interval(HIGH, 200, 30 * MS);
    node.run_out();
    assert_eq!((node.role(), node.patience()), (Role::Active, 100 * MS));
}

#[test]
fn a_v2_backup_keeps_its_own_interval() {
    let v2 = Settings { version: Version::V2, interval: SECOND, ..settings() };
    let mut node = Node::backup(v2);
    node.wait(SECOND).hear_at_interval(HIGH, 200, 5 * SECOND);
    assert_eq!(node.patience(), 3 * SECOND + SECOND * 156 / 256);
}

/// A timer that comes a little late does not make all later adverts late.
#[test]
fn adverts_keep_to_a_grid() {
    let mut node = Node::active(settings());
    node.wait(107 * MS).handle(Event::Timer);
    assert_eq!(node.patience(), 93 * MS);
    node.wait(250 * MS).handle(Event::Timer);
    assert_eq!(node.patience(), 100 * MS, "too late for the grid");
}

#[test]
fn a_timer_that_comes_too_early_does_nothing() {
    let mut backup = Node::backup(settings());
    assert!(backup.wait(MS).handle(Event::Timer).is_empty());
    let mut active = Node::active(settings());
    assert!(active.wait(MS).handle(Event::Timer).is_empty());
    assert_eq!(active.patience(), 99 * MS);
}

//! RFC 9568 section 6.4.2.

use super::*;

/// The advert comes before the address and before ARP.
#[test]
fn silence_makes_it_active_and_the_advert_comes_first() {
    let mut node = Node::backup(settings());
    let actions = node.run_out();
    assert_eq!(deeds(&actions), [advertise(100), Action::AddAddresses, Action::Announce { repeat: 5 }]);
    assert_eq!(reason(&actions), Some(Reason::Silence(300 * MS + 100 * MS * 156 / 256)));
    assert_eq!(node.role(), Role::Active);
}

#[test]
fn an_active_router_keeps_it_a_backup() {
    for priority in [100, 101, 254, 255] {
        let mut node = Node::backup(settings());
        for _ in 0..100 {
            node.hear(HIGH, priority);
            assert_eq!(node.wait(100 * MS).machine.active_router(), Some((ip(HIGH), priority)));
        }
        assert_eq!(node.role(), Role::Backup);
    }
}

/// A backup yields to an equal priority, whatever the address.
#[test]
fn an_equal_priority_keeps_it_a_backup() {
    let mut node = Node::backup(settings());
    for _ in 0..100 {
        node.hear(LOW, 100);
        node.wait(100 * MS);
    }
    assert_eq!(node.role(), Role::Backup);
}

#[test]
fn priority_0_makes_it_wait_the_skew() {
    let mut node = Node::backup(settings());
    node.hear(HIGH, 200);
    node.wait(20 * MS).hear(HIGH, 0);
    assert_eq!(node.patience(), 100 * MS * 156 / 256);
    assert_eq!(reason(&node.run_out()), Some(Reason::PeerReleased { from: ip(HIGH) }));
}

/// The skew is a share of the active router's interval.
#[test]
fn priority_0_from_a_slower_active_makes_it_wait_a_longer_skew() {
    let mut node = Node::backup(settings());
    node.hear_at_interval(HIGH, 200, SECOND);
    node.hear_at_interval(HIGH, 0, SECOND);
    assert_eq!(node.patience(), SECOND * 156 / 256);
}

#[test]
fn priority_0_said_again_does_not_put_the_end_off() {
    let mut node = Node::backup(settings());
    node.hear(HIGH, 200);
    node.hear(HIGH, 0);
    let patience = node.patience();
    node.wait(50 * MS).hear(HIGH, 0);
    assert_eq!(node.patience(), patience - 50 * MS);
}

/// One that gave in behind a healed cut says farewell; the active router is still there.
#[test]
fn priority_0_from_another_than_the_active_is_no_reason_to_take_over() {
    let mut node = Node::backup(settings());
    node.hear(HIGH, 200);
    let patience = node.patience();
    node.hear(LOW, 0);
    assert_eq!(node.patience(), patience);
}

#[test]
fn a_lower_priority_is_preempted_when_the_timer_runs_out() {
    let mut node = Node::backup(settings());
    let before = node.patience();
    node.wait(100 * MS).hear(HIGH, 50);
    assert_eq!(node.patience(), before - 100 * MS, "discarded");
    assert_eq!(reason(&node.run_out()), Some(Reason::Preempted { from: ip(HIGH), priority: 50 }));
}

#[test]
fn with_preempt_never_a_lower_priority_stays_active() {
    let mut node = Node::backup(Settings { preempt: Preempt::Never, ..settings() });
    for _ in 0..1000 {
        node.hear(HIGH, 1);
        node.wait(100 * MS);
    }
    assert_eq!(node.role(), Role::Backup);
    assert!(matches!(reason(&node.run_out()), Some(Reason::Silence(_))), "but its silence is a reason");
}

#[test]
fn preempt_delay_runs_from_the_first_lower_advert() {
    let mut node = Node::backup(Settings { preempt: Preempt::After(SECOND), ..settings() });
    let mut waited = Duration::ZERO;
    while node.role() == Role::Backup {
        node.hear(HIGH, 50);
        waited += node.run_for(100 * MS).first().map_or(100 * MS, |(at, _)| *at);
        assert!(waited < 2 * SECOND);
    }
    assert!(SECOND + 200 * MS < waited && waited <= SECOND + 400 * MS, "{waited:?}");
}

#[test]
fn preempt_delay_begins_again_when_a_higher_priority_was_active() {
    let mut node = Node::backup(Settings { preempt: Preempt::After(SECOND), ..settings() });
    for i in 0..50 {
        node.hear(HIGH, if i % 9 == 0 { 200 } else { 50 });
        node.wait(100 * MS);
    }
    assert_eq!(node.role(), Role::Backup);
}

#[test]
fn preempt_delay_does_not_delay_a_takeover_from_a_dead_peer() {
    let mut node = Node::backup(Settings { preempt: Preempt::After(30 * SECOND), ..settings() });
    node.hear(HIGH, 50);
    assert!(node.patience() < 400 * MS);
    node.run_out();
    assert_eq!(node.role(), Role::Active);
}

/// Flow sync has not finished: the other one has what we have not.
#[test]
fn one_that_is_not_ready_does_not_preempt_but_takes_over_from_a_dead_peer() {
    let mut node = Node::backup(settings());
    node.handle(Event::Ready(false));
    for _ in 0..100 {
        node.hear(HIGH, 50);
        node.wait(100 * MS);
    }
    assert_eq!(node.role(), Role::Backup);
    let mut ready = node.clone();
    ready.handle(Event::Ready(true));
    for _ in 0..5 {
        ready.hear(HIGH, 50);
        ready.run_for(100 * MS);
    }
    assert_eq!(ready.role(), Role::Active);
    node.run_out();
    assert_eq!(node.role(), Role::Active);
}

#[test]
fn its_own_adverts_that_come_back_are_ignored() {
    let mut node = Node::backup(settings());
    let patience = node.patience();
    node.wait(10 * MS).hear(OWN, 255);
    assert_eq!(node.patience(), patience - 10 * MS);
}

#[test]
fn another_interval_is_reported_once_and_adopted() {
    let mut node = Node::backup(settings());
    let differs = Notice::IntervalDiffers { from: ip(HIGH), ours: 100 * MS, theirs: SECOND };
    assert_eq!(notices(&node.hear_at_interval(HIGH, 200, SECOND)), [differs]);
    assert_eq!(notices(&node.hear_at_interval(HIGH, 200, SECOND)), []);
    node.hear(HIGH, 200);
    assert_eq!(notices(&node.hear_at_interval(HIGH, 200, SECOND)), [differs], "after it had been the same");
}

#[test]
fn other_addresses_are_reported_once_and_do_not_matter() {
    let mut node = Node::backup(settings());
    let Settings { version, vrid, interval, .. } = settings();
    let addresses = Addresses::from_slice(&[ip("192.0.2.99")]);
    let advert = Advert { version, vrid, priority: 200, interval, addresses };
    let event = Event::Advert { from: ip(HIGH), advert: &advert };
    assert_eq!(notices(&node.handle(event)), [Notice::AddressesDiffer { from: ip(HIGH) }]);
    assert_eq!(notices(&node.handle(event)), []);
    assert_eq!(node.machine.active_router(), Some((ip(HIGH), 200)));
}

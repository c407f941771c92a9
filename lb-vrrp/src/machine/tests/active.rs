//! RFC 9568 section 6.4.3.

use super::*;

#[test]
fn it_advertises_at_every_interval() {
    let mut node = Node::active(settings());
    let expected: Vec<_> = (1..=10).map(|i| (i * 100 * MS, advertise(100))).collect();
    assert_eq!(node.run_for(SECOND), expected);
}

#[test]
fn an_owner_is_active_at_once() {
    let mut node = Node::new(Settings { priority: 255, ..settings() });
    let actions = node.handle(Event::Started { link_up: true, source: Some(ip(OWN)), leftovers: false });
    assert_eq!(deeds(&actions), [advertise(255), Action::AddAddresses, Action::Announce { repeat: 5 }]);
    assert_eq!(reason(&actions), Some(Reason::Owner));
}

#[test]
fn a_higher_priority_makes_it_a_backup() {
    let mut node = Node::active(settings());
    let actions = node.wait(10 * MS).hear(LOW, 101);
    assert_eq!(deeds(&actions)[0], Action::RemoveAddresses);
    assert_eq!(reason(&actions), Some(Reason::HigherPriority { from: ip(LOW), priority: 101 }));
    assert_eq!(node.machine.active_router(), Some((ip(LOW), 101)));
}

#[test]
fn it_adopts_the_interval_of_the_one_that_it_gives_in_to() {
    let mut node = Node::active(settings());
    node.hear_at_interval(LOW, 101, SECOND);
    assert_eq!(node.patience(), 3 * SECOND + SECOND * 156 / 256);
}

#[test]
fn an_equal_priority_is_decided_by_the_higher_address() {
    let mut node = Node::active(settings());
    assert_eq!(reason(&node.hear(LOW, 100)), None);
    assert_eq!(reason(&node.hear(HIGH, 100)), Some(Reason::HigherAddress { from: ip(HIGH) }));
}

/// After a healed cut keepalived leaves a black hole here: who gives in tells nobody, so the winner never announces
/// the addresses again.
#[test]
fn who_gives_in_says_that_it_had_the_addresses() {
    let mut loser = Node::active(settings());
    let farewell = deeds(&loser.hear(HIGH, 200));
    assert_eq!(farewell, [Action::RemoveAddresses, advertise(100)]);
    let mut winner = Node::active(Settings { priority: 200, ..settings() });
    assert!(deeds(&winner.wait(10 * MS).hear(LOW, 100)).contains(&Action::Announce { repeat: 1 }));
}

/// Other backups adopt what they hear: at the loser's interval they would not wait for the winner's next advert.
#[test]
fn a_farewell_has_the_interval_of_the_active() {
    let mut loser = Node::active(settings());
    let actions = loser.hear_at_interval(HIGH, 200, SECOND);
    assert_eq!(deeds(&actions)[1], Action::Advertise { priority: 100, interval: SECOND });
}

/// The way to the winner may still be cut.
#[test]
fn a_farewell_is_repeated_ever_more_seldom() {
    let mut loser = Node::active(settings());
    let mut said = Vec::new();
    for round in 0..1000_u32 {
        let farewells = loser.hear(HIGH, 200).into_iter().filter(|action| *action == advertise(100));
        said.extend(farewells.map(|_| round));
        loser.wait(100 * MS);
    }
    assert_eq!(said, [0, 4, 20, 84]);
}

#[test]
fn a_process_that_died_and_left_the_addresses_says_farewell_too() {
    let mut node = Node::new(settings());
    node.handle(Event::Started { link_up: true, source: Some(ip(OWN)), leftovers: true });
    assert_eq!(deeds(&node.hear(HIGH, 200)), [advertise(100)]);
}

/// Lower: advertise at once and send gratuitous ARP.
#[test]
fn a_lower_priority_is_answered_at_once_and_the_addresses_announced() {
    let mut node = Node::active(settings());
    let actions = node.wait(10 * MS).hear(HIGH, 99);
    assert_eq!(deeds(&actions), [advertise(100), Action::Announce { repeat: 1 }]);
    assert_eq!(node.role(), Role::Active);
}

/// One advert may be the farewell of one that gave in.
#[test]
fn a_second_active_router_is_reported_once_when_it_goes_on() {
    let mut node = Node::active(settings());
    let second = Notice::SecondActive { from: ip(HIGH), priority: 99 };
    let reported: Vec<_> = (0..10).map(|_| notices(&node.wait(10 * MS).hear(HIGH, 99))).collect();
    assert_eq!(reported.concat(), [second]);
    assert_eq!(reported[1], [second]);
    assert!(!notices(&node.wait(SECOND).hear(HIGH, 99)).contains(&second));
}

#[test]
fn priority_0_heard_while_active_is_answered_at_once() {
    let mut node = Node::active(settings());
    let actions = node.wait(10 * MS).hear(HIGH, 0);
    assert_eq!(deeds(&actions), [advertise(100), Action::Announce { repeat: 1 }]);
    assert_eq!(notices(&actions), []);
}

/// An answer to every forged advert would make two out of one.
#[test]
fn answers_are_a_millisecond_apart() {
    let mut node = Node::active(settings());
    node.wait(10 * MS);
    let answers = (0..1000).filter(|_| node.hear(HIGH, 1).contains(&advertise(100))).count();
    assert_eq!(answers, 1);
    assert!(node.wait(MS).hear(HIGH, 1).contains(&advertise(100)));
}

/// Erratum 8298 to RFC 9568: it logs, it does not drop.
#[test]
fn a_second_owner_is_reported_and_elections_go_on() {
    let owner = Settings { priority: 255, ..settings() };
    let mut node = Node::active(owner);
    let actions = node.hear(LOW, 255);
    assert!(notices(&actions).contains(&Notice::SecondOwner { from: ip(LOW) }));
    assert_eq!(node.role(), Role::Active);
    node.hear(HIGH, 255);
    assert_eq!(node.role(), Role::Backup, "the higher address");
}

#[test]
fn preempt_never_does_not_keep_two_active() {
    let mut node = Node::active(Settings { preempt: Preempt::Never, ..settings() });
    node.hear(HIGH, 101);
    assert_eq!(node.role(), Role::Backup);
}

#[test]
fn a_change_of_priority_is_advertised_at_once() {
    let mut node = Node::active(settings());
    let actions = node.wait(10 * MS).handle(Event::Tracked { priority: 40, fault: false });
    assert_eq!(deeds(&actions), [advertise(40)]);
    assert_eq!(node.handle(Event::Tracked { priority: 40, fault: false }).len(), 0, "no change");
}

/// It cannot assert itself, and the other one can be heard.
#[test]
fn one_that_cannot_send_gives_in_to_whoever_can() {
    let mut node = Node::active(settings());
    node.run_out();
    node.handle(Event::SendFailed);
    let actions = node.wait(MS).hear(LOW, 1);
    assert_eq!(reason(&actions), Some(Reason::CannotSend { from: ip(LOW) }));
    assert_eq!(node.role(), Role::Backup);
}

#[test]
fn one_that_cannot_send_stays_active_while_nobody_is_heard() {
    let mut node = Node::active(settings());
    for _ in 0..100 {
        node.run_out();
        node.handle(Event::SendFailed);
    }
    assert_eq!(node.role(), Role::Active);
}

//! Gratuitous ARP and neighbour advertisements: when.

use super::*;

fn announcements(node: &mut Node, time: Duration) -> Vec<(Duration, u8)> {
    let announce = |(at, action)| if let Action::Announce { repeat } = action { Some((at, repeat)) } else { None };
    node.run_for(time).into_iter().filter_map(announce).collect()
}

#[test]
fn five_at_once_and_five_again_after_5_s() {
    let mut node = Node::backup(settings());
    assert!(node.run_out().contains(&Action::Announce { repeat: 5 }));
    assert_eq!(announcements(&mut node, 60 * SECOND), [(5 * SECOND, 5)]);
}

#[test]
fn refresh_repeats_one() {
    let garp = Garp { repeat: 3, again: None, refresh: Some(20 * SECOND) };
    let mut node = Node::active(Settings { garp, ..settings() });
    assert_eq!(announcements(&mut node, 60 * SECOND), [(20 * SECOND, 1), (40 * SECOND, 1), (60 * SECOND, 1)]);
}

/// Whenever a peer may have been active: at once, when it has fallen silent, and after 5 s.
#[test]
fn again_when_a_peer_that_was_active_has_fallen_silent() {
    let mut node = Node::active(settings());
    announcements(&mut node, 10 * SECOND);
    assert!(node.hear(LOW, 50).contains(&Action::Announce { repeat: 1 }));
    assert_eq!(announcements(&mut node, 20 * SECOND), [(200 * MS, 5), (5200 * MS, 5)]);
}

/// The last word counts: however long the other one goes on, it is followed by an announcement.
#[test]
fn answers_are_limited_and_the_last_word_is_ours() {
    let mut node = Node::active(Settings { interval: 10 * MS, ..settings() });
    node.run_for(10 * SECOND);
    let mut answers = 0;
    for _ in 0..100 {
        answers += node.hear(LOW, 50).iter().filter(|action| matches!(action, Action::Announce { .. })).count();
        node.run_for(10 * MS);
    }
    assert!((5..=9).contains(&answers), "{answers} in a second");
    assert_eq!(announcements(&mut node, SECOND), [(10 * MS, 5)]);
}

/// After any gap in one's own adverts.
#[test]
fn again_after_a_gap_in_its_own_adverts() {
    let mut node = Node::active(settings());
    node.run_for(10 * SECOND);
    node.wait(210 * MS);
    let actions = node.handle(Event::Timer);
    let longer = Action::Advertise { priority: 100, interval: 210 * MS };
    assert_eq!(deeds(&actions), [longer, Action::Announce { repeat: 1 }]);
    assert!(node.wait(100 * MS).handle(Event::Timer).contains(&longer), "and peers are told to wait for longer");
}

#[test]
fn again_when_adverts_could_not_be_sent_for_a_while() {
    let mut node = Node::active(settings());
    node.run_for(10 * SECOND);
    for _ in 0..10 {
        node.run_out();
        node.handle(Event::SendFailed);
    }
    assert_eq!(announcements(&mut node, SECOND).last(), Some(&(300 * MS, 5)));
}

#[test]
fn another_host_that_announces_the_address_is_reported_and_overruled() {
    let mut node = Node::active(settings());
    let actions = node.handle(Event::Conflict);
    assert_eq!(actions.as_slice(), [Action::Notice(Notice::Conflict), Action::Announce { repeat: 1 }]);
    assert_eq!(notices(&node.wait(MS).handle(Event::Conflict)), [], "reported once");
    assert!(Node::backup(settings()).handle(Event::Conflict).is_empty(), "a backup has no address to lose");
}

#[test]
fn an_address_that_someone_removes_by_hand_comes_back() {
    let mut node = Node::active(settings());
    let actions = node.handle(Event::AddressGone);
    assert_eq!(deeds(&actions), [Action::AddAddresses, Action::Announce { repeat: 1 }]);
    assert_eq!(notices(&actions), [Notice::AddressRemoved]);
    assert!(Node::backup(settings()).handle(Event::AddressGone).is_empty());
}

/// A program that removes it whenever it sees it.
#[test]
fn an_address_that_is_removed_again_and_again_comes_back_ever_more_seldom() {
    let mut node = Node::active(settings());
    let returns = |actions: &[Action]| actions.iter().filter(|action| **action == Action::AddAddresses).count();
    let mut times = Vec::new();
    let begun = node.now;
    for _ in 0..3000 {
        if returns(&node.handle(Event::AddressGone)) > 0 {
            times.push(node.now.since(begun));
        }
        let actions: Vec<Action> = node.run_for(100 * MS).into_iter().map(|(_, action)| action).collect();
        times.extend((0..returns(&actions)).map(|_| node.now.since(begun)));
    }
    assert!(times[9] <= SECOND, "ten times at once: {times:?}");
    assert!((20..45).contains(&times.len()), "{} in five minutes", times.len());
    let last = times.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).next_back();
    assert!(last.is_some_and(|wait| (16 * SECOND..17 * SECOND).contains(&wait)), "{last:?}");
    // When it has been left alone for a while, all is as before.
    node.run_for(90 * SECOND);
    assert_eq!(returns(&node.handle(Event::AddressGone)), 1);
}

#[test]
fn a_backup_announces_nothing() {
    let mut node = Node::active(settings());
    node.hear(HIGH, 200);
    for _ in 0..100 {
        node.hear(HIGH, 200);
        assert_eq!(announcements(&mut node, 100 * MS), []);
    }
}

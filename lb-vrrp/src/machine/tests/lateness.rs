//! A host that is starved: what is late again and again changes its role ever more seldom.

use super::*;

/// Stepping down again and again, with a peer of lower priority that takes over each time: how long it leaves that so.
fn hold(node: &mut Node) -> Duration {
    node.wait(3 * SECOND).handle(Event::Timer);
    let begun = node.now;
    while node.role() == Role::Backup {
        node.hear(LOW, 50);
        node.run_for(100 * MS);
    }
    assert_eq!(node.role(), Role::Active);
    node.now.since(begun)
}

#[test]
fn each_time_that_it_was_late_it_stays_a_backup_for_longer() {
    let mut node = Node::active(settings());
    let holds: Vec<u64> = (0..8).map(|_| hold(&mut node).as_secs()).collect();
    for (hold, expected) in holds.iter().zip([10, 20, 40, 80]) {
        assert!((expected..=expected + 1).contains(hold), "{holds:?}");
    }
    assert!(holds.iter().all(|hold| *hold <= 301), "bounded: {holds:?}");
    node.run_for(1800 * SECOND);
    assert_eq!(hold(&mut node).as_secs(), 10, "forgotten after half an hour on time");
}

#[test]
fn why_is_told_each_time() {
    let mut node = Node::active(settings());
    let told = |node: &mut Node| notices(&node.wait(SECOND).handle(Event::Timer));
    assert_eq!(told(&mut node), [Notice::Late { times: 1, hold: 10 * SECOND }]);
    node.run_out();
    let second = notices(&node.wait(2 * SECOND).handle(Event::Timer));
    assert_eq!(second, [Notice::Late { times: 2, hold: 20 * SECOND }]);
}

/// However late it was.
#[test]
fn where_nobody_is_active_it_takes_over_nevertheless() {
    let mut node = Node::active(settings());
    for _ in 0..10 {
        hold(&mut node);
    }
    node.wait(3 * SECOND).handle(Event::Timer);
    node.hear(LOW, 50);
    let begun = node.now;
    while node.role() == Role::Backup {
        node.run_out();
    }
    assert!(node.now.since(begun) <= 1400 * MS, "{:?}", node.now.since(begun));
}

/// Peers derive their patience from the interval in adverts.
#[test]
fn an_active_router_that_is_late_tells_its_peers_to_wait_for_longer_until_it_is_on_time() {
    let told = |node: &mut Node| {
        node.run_out()
            .iter()
            .find_map(|a| if let Action::Advertise { interval, .. } = a { Some(*interval) } else { None })
    };
    let mut node = Node::active(settings());
    assert_eq!(told(&mut node), Some(100 * MS));
    node.wait(255 * MS).handle(Event::Timer);
    assert_eq!(told(&mut node), Some(260 * MS));
    // Its peers have been told, so this is no freeze.
    node.wait(700 * MS).handle(Event::Timer);
    assert_eq!((node.role(), told(&mut node)), (Role::Active, Some(400 * MS)));
    node.run_for(119 * SECOND);
    assert_eq!(told(&mut node), Some(400 * MS));
    node.run_for(2 * SECOND);
    assert_eq!(told(&mut node), Some(100 * MS));
    // A v2 router has no such thing, and one of a second is patient enough.
    for settings in
        [Settings { version: Version::V2, interval: SECOND, ..settings() }, Settings { interval: SECOND, ..settings() }]
    {
        let mut node = Node::active(settings);
        node.wait(2500 * MS).handle(Event::Timer);
        assert_eq!(told(&mut node), Some(SECOND));
    }
}

/// A starved backup of one that was there all along.
#[test]
fn who_took_over_in_vain_looks_for_longer_the_next_time() {
    let mut node = Node::backup(settings());
    let mut waits = Vec::new();
    for _ in 0..3 {
        node.hear(HIGH, 200);
        let begun = node.now;
        while node.role() == Role::Backup {
            node.run_out();
        }
        waits.push(node.now.since(begun));
        let actions = node.wait(10 * MS).hear(HIGH, 200);
        assert_eq!(notices(&actions), [Notice::TookOverInVain { from: ip(HIGH) }]);
    }
    let first = waits[0];
    assert_eq!(waits, [first, first + 200 * MS, first + 400 * MS]);
}

/// Silence proves little to who was late; priority 0 is no silence.
#[test]
fn who_is_let_go_takes_over_at_once_however_late_it_was() {
    let mut node = Node::active(settings());
    for _ in 0..10 {
        hold(&mut node);
    }
    node.wait(3 * SECOND).handle(Event::Timer);
    node.hear(HIGH, 200);
    node.hear(HIGH, 0);
    let begun = node.now;
    node.run_out();
    assert_eq!(node.role(), Role::Active);
    assert!(node.now.since(begun) <= 100 * MS, "{:?}", node.now.since(begun));
}

/// It may not have got our priority 0, and then it has to miss adverts of the interval that it was told.
#[test]
fn a_successor_that_was_told_to_wait_for_longer_is_waited_for_longer() {
    let mut node = Node::active(settings());
    node.wait(255 * MS).handle(Event::Timer);
    node.handle(Event::Yield);
    assert_eq!(node.patience(), 1300 * MS);
}

/// Neither was late: each started where nobody was active.
#[test]
fn two_nodes_that_start_at_once_have_nothing_to_forgive() {
    let mut node = Node::backup(settings());
    node.run_out();
    assert_eq!(node.role(), Role::Active);
    assert_eq!(notices(&node.wait(10 * MS).hear(HIGH, 200)), []);
    assert_eq!(node.role(), Role::Backup);
}

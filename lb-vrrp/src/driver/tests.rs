//! A node over a kernel of the tests' own.

mod scene;

use std::collections::BTreeSet;
use std::time::Duration;

use lb_core::config::{Track, Tracked};
use nix::errno::Errno;

use self::scene::{INTERVAL, Scene, THERE, address, desired, ip, link, net};
use super::desired::Desired;
use super::letters::{Command, Entry};
use super::node::Known;
use crate::machine::Role;
use crate::net::{Address, Change, Link};

#[test]
fn who_hears_nobody_takes_the_addresses_and_announces_them() {
    let mut scene = Scene::running(desired(100, 3));
    assert_eq!(scene.role(), Role::Backup);
    scene.pass(INTERVAL * 5);
    assert_eq!(scene.role(), Role::Active);
    assert_eq!((scene.kernel().held.len(), scene.kernel().announced), (3, 2 * 3));
    assert!(scene.sent().iter().all(|sent| *sent == (ip(THERE), 100)));
    assert_eq!(scene.board.counters.adverts_sent.get(), scene.sent().len() as u64);
}

#[test]
fn who_hears_a_higher_priority_lets_go_and_says_who_is_active() {
    let mut scene = Scene::active(desired(100, 3));
    assert_eq!(scene.hear(THERE, 150), Known::Ours);
    assert_eq!(scene.role(), Role::Backup);
    assert!(scene.kernel().held.is_empty());
    assert_eq!(scene.board.shown().active_router, Some((ip(THERE), 150)));
}

/// Adverts go on meanwhile; and what is taken away goes at once.
#[test]
fn announcements_keep_their_distance() {
    let spaced = |spacing| Desired { spacing, ..desired(200, 100) };
    let mut scene = Scene::running(spaced(Duration::from_millis(10)));
    scene.pass(INTERVAL * 4);
    assert_eq!(scene.role(), Role::Active);
    let first = scene.kernel().announced;
    assert!((1..100).contains(&first), "{first}");
    let sent = scene.sent().len();
    scene.pass(Duration::from_millis(500));
    assert_eq!(scene.kernel().announced, first + 50);
    assert!(scene.sent().len() > sent);
    scene.pass(Duration::from_secs(2));
    assert_eq!(scene.kernel().announced, 200, "twice each");
    scene.apply(spaced(Duration::from_secs(1)));
    scene.change(Change::Address { index: 2, address: Address { ours: true, ..address(net(1)) }, added: false });
    assert_eq!(scene.hear(THERE, 250), Known::Ours);
    assert!(scene.kernel().held.is_empty());
}

#[test]
fn a_thousand_addresses_delay_no_advert() {
    let mut scene = Scene::running(desired(100, 1000));
    scene.now += INTERVAL * 4;
    scene.node.begin(scene.now);
    scene.node.expire();
    assert_eq!(scene.sent().len(), 1, "before any address");
    // Adverts go on, whatever keeps the hands.
    for _ in 0..10 {
        scene.now += INTERVAL;
        scene.node.begin(scene.now);
        scene.node.expire();
    }
    assert_eq!((scene.sent().len(), scene.kernel().held.len()), (11, 0));
    scene.settle();
    assert_eq!((scene.kernel().held.len(), scene.kernel().announced), (1000, 2000));
    assert!(scene.kernel().slices.iter().all(|slice| *slice <= super::slices::SLICE));
}

#[test]
fn who_lets_go_while_the_addresses_are_being_added_ends_without_them() {
    let mut scene = Scene::running(desired(100, 1000));
    scene.now += INTERVAL * 4;
    scene.node.begin(scene.now);
    scene.node.expire();
    scene.exchange();
    scene.hands.settle();
    assert_eq!(scene.kernel().held.len(), super::slices::SLICE);
    scene.hear(THERE, 200);
    assert_eq!((scene.role(), scene.kernel().held.len(), scene.kernel().announced), (Role::Backup, 0, 0));
}

#[test]
fn an_address_that_somebody_removes_comes_back() {
    let mut scene = Scene::active(desired(100, 2));
    scene.kernel().held.remove(&net(1));
    let announced = scene.kernel().announced;
    scene.change(Change::Address { index: 2, address: Address { ours: true, ..address(net(1)) }, added: false });
    assert!(scene.kernel().held.contains(&net(1)));
    assert!(scene.kernel().announced > announced);
    // By now it is there again, so there is nothing to put back.
    let slices = scene.kernel().slices.len();
    scene.change(Change::Address { index: 2, address: Address { ours: true, ..address(net(1)) }, added: false });
    assert_eq!(scene.kernel().slices.len(), slices);
    assert!(scene.board.counters.report().notices.contains(&("address_removed".to_owned(), 1)));
}

#[test]
fn the_node_goes_on_under_its_address_while_that_is_missing_for_a_moment() {
    let mut scene = Scene::active(desired(100, 1));
    let own = std::mem::take(&mut scene.kernel().own);
    scene.change(Change::Address { index: 2, address: own[0].1, added: false });
    let sent = scene.sent().len();
    scene.pass(INTERVAL * 3);
    assert_eq!((scene.role(), scene.sent().len()), (Role::Active, sent + 3));
    assert_eq!(scene.board.shown().source, None);
    scene.kernel().own = own.clone();
    scene.change(Change::Address { index: 2, address: own[0].1, added: true });
    scene.pass(INTERVAL * 20);
    assert_eq!((scene.role(), scene.board.shown().source), (Role::Active, Some(ip("10.0.0.2"))));
    assert_eq!((scene.kernel().opened.len(), scene.kernel().closed), (1, 0), "the socket stays");
    scene.kernel().own.clear();
    scene.change(Change::Address { index: 2, address: own[0].1, added: false });
    scene.pass(INTERVAL * 20);
    assert_eq!((scene.role(), scene.kernel().held.len()), (Role::Waiting, 0));
    assert_eq!(scene.sent().last(), Some(&(ip(THERE), 0)));
}

#[test]
fn a_node_address_on_another_interface_is_waited_for_there() {
    let mut scene = Scene::new();
    scene.kernel().own[0].0 = 3;
    scene.apply(desired(100, 1));
    scene.pass(INTERVAL * 5);
    let own = std::mem::take(&mut scene.kernel().own);
    scene.change(Change::Address { index: 3, address: own[0].1, added: false });
    scene.pass(INTERVAL);
    assert_eq!((scene.role(), scene.kernel().opened.clone()), (Role::Active, vec![3]));
}

/// What systemd-networkd makes of an interface: the virtual address came first there, and is the primary one now.
#[test]
fn an_own_address_that_comes_back_is_the_first_one_again() {
    let mut vip = desired(100, 1);
    vip.addresses = vec!["10.0.0.100/24".parse().unwrap()];
    let mut scene = Scene::active(vip);
    let slices = scene.kernel().slices.len();
    scene.kernel().own[0].1.secondary = true;
    let own = scene.kernel().own[0].1;
    scene.change(Change::Address { index: 2, address: own, added: true });
    assert_eq!(scene.kernel().slices.len(), slices + 2, "removed and added");
    assert_eq!((scene.kernel().held.len(), scene.role()), (1, Role::Active));
    assert!(scene.board.counters.report().notices.contains(&("address_removed".to_owned(), 0)));
}

#[test]
fn what_a_dead_process_left_is_told_to_who_is_active() {
    let mut scene = Scene::new();
    scene.kernel().left = vec![net(0)];
    scene.apply(desired(100, 2));
    assert_eq!(scene.role(), Role::Backup);
    let sent = scene.sent().len();
    scene.hear(THERE, 150);
    assert!(scene.sent().len() > sent, "the one that is active must announce itself");
}

#[test]
fn the_interface_is_followed_by_its_name() {
    let mut scene = Scene::active(desired(100, 2));
    scene.kernel().links.clear();
    scene.kernel().held.clear();
    scene.change(Change::LinkGone { index: 2, name: "eth0".to_owned() });
    assert_eq!((scene.role(), scene.kernel().closed), (Role::Fault, 1));
    scene.kernel().links.push(link("eth0", 9));
    scene.kernel().own[0].0 = 9;
    scene.change(Change::Link(link("eth0", 9)));
    scene.pass(INTERVAL * 5);
    assert_eq!((scene.role(), scene.kernel().held.len()), (Role::Active, 2));
    assert_eq!(scene.kernel().opened, [2, 9]);
}

#[test]
fn a_link_that_goes_down_is_a_fault_until_it_is_up() {
    let mut scene = Scene::active(desired(100, 2));
    scene.change(Change::Link(Link { up: false, ..link("eth0", 2) }));
    assert_eq!((scene.role(), scene.kernel().held.len()), (Role::Fault, 0));
    scene.change(Change::Link(link("eth0", 2)));
    scene.pass(INTERVAL * 5);
    assert_eq!(scene.role(), Role::Active);
}

#[test]
fn without_an_address_to_send_from_it_waits() {
    let mut scene = Scene::new();
    let own = std::mem::take(&mut scene.kernel().own);
    scene.apply(desired(100, 1));
    assert_eq!(scene.role(), Role::Waiting);
    scene.kernel().own = own.clone();
    scene.change(Change::Address { index: 2, address: own[0].1, added: true });
    assert_eq!(scene.role(), Role::Backup);
}

#[test]
fn a_reload_applies_the_difference_of_addresses_and_keeps_the_role() {
    let mut scene = Scene::active(desired(100, 3));
    let (sent, announced) = (scene.sent().len(), scene.kernel().announced);
    let mut changed = desired(100, 4);
    changed.addresses.remove(0);
    changed.settings.addresses.remove(0);
    scene.apply(changed);
    assert_eq!(scene.role(), Role::Active);
    assert_eq!(scene.kernel().held, BTreeSet::from([net(1), net(2), net(3)]));
    assert!(scene.sent().len() > sent && scene.kernel().announced > announced);
    assert_eq!(scene.board.counters.report().transitions.iter().map(|(_, n)| n).sum::<u64>(), 2);
}

#[test]
fn a_reload_without_it_hands_over_and_takes_everything_away() {
    let mut scene = Scene::active(desired(100, 2));
    scene.command(Command::Apply(Vec::new()));
    assert_eq!(scene.sent().last(), Some(&(ip(THERE), 0)));
    assert_eq!(scene.kernel().held.len(), 2, "until a successor is heard");
    scene.hear(THERE, 50);
    scene.pass(Duration::from_secs(1));
    assert_eq!((scene.role(), scene.kernel().held.len(), scene.kernel().closed), (Role::Initialize, 0, 1));
    assert!(scene.kernel().overhears.is_empty());
    assert!(!scene.node.has_ended());
}

#[test]
fn to_stop_is_to_end() {
    let mut scene = Scene::active(desired(100, 2));
    scene.command(Command::Stop);
    scene.pass(Duration::from_secs(2));
    assert!(scene.node.has_ended());
    assert!(scene.kernel().held.is_empty());
}

#[test]
fn to_abandon_leaves_nothing_behind_and_says_so() {
    let mut scene = Scene::active(desired(100, 200));
    scene.command(Command::Abandon);
    assert!(scene.node.has_ended());
    assert!(scene.kernel().held.is_empty());
    assert_eq!(scene.sent().last(), Some(&(ip(THERE), 0)));
}

#[test]
fn what_is_tracked_has_its_weight() {
    let mut tracking = desired(100, 1);
    tracking.track = vec![
        Track { what: Tracked::Interface("eth1".to_owned()), weight: None },
        Track { what: Tracked::Pool { pool: "web".into(), below: 1 }, weight: Some(-30) },
    ];
    let mut scene = Scene::active(tracking.clone());
    scene.command(Command::Observe { id: 1, index: 1, is_up: false });
    assert_eq!((scene.board.shown().priority, scene.role()), (70, Role::Active));
    scene.apply(tracking);
    assert_eq!(scene.board.shown().priority, 70, "a reload forgets nothing");
    scene.change(Change::Link(Link { up: false, ..link("eth1", 3) }));
    assert_eq!(scene.role(), Role::Fault);
    assert_eq!(scene.board.shown().tracked.as_slice(), [false, false]);
}

#[test]
fn packets_that_are_dropped_are_counted_and_the_first_is_told() {
    let mut scene = Scene::running(desired(100, 1));
    while scene.journal.take().is_some() {}
    for _ in 0..3 {
        assert_eq!(scene.hear_bytes(THERE, &[0x31, 51, 200]), Known::Ours);
    }
    assert_eq!(scene.hear_bytes(THERE, &[0x31, 99, 200]), Known::Stranger);
    let counts = scene.board.counters.report();
    assert!(counts.advert_errors.contains(&("short".to_owned(), 3)));
    assert!(matches!(scene.journal.take(), Some(Entry::Dropped { id: 1, .. })));
    assert!(scene.journal.take().is_none());
    assert_eq!(scene.role(), Role::Backup);
}

#[test]
fn an_advert_that_cannot_be_sent_is_counted_and_told_once() {
    let mut scene = Scene::active(desired(100, 1));
    while scene.journal.take().is_some() {}
    scene.node.network.is_deaf = true;
    scene.pass(INTERVAL * 4);
    assert_eq!(scene.board.counters.send_failures.get(), 4);
    assert!(matches!(scene.journal.take(), Some(Entry::Trouble { id: 1, errno: Errno::EPERM, .. })));
    assert!(scene.journal.take().is_none());
}

#[test]
fn another_host_with_one_of_the_addresses_is_answered() {
    let mut scene = Scene::active(desired(100, 1));
    assert_eq!(scene.kernel().overhears, [(1, 1)]);
    let announced = scene.kernel().announced;
    scene.hands.contested(1);
    scene.settle();
    assert!(scene.kernel().announced > announced);
    assert!(scene.board.counters.report().notices.contains(&("conflict".to_owned(), 1)));
}

#[test]
fn a_handover_is_told_to_who_asked() {
    let mut scene = Scene::active(desired(100, 1));
    while scene.journal.take().is_some() {}
    scene.command(Command::Yield(1));
    scene.hear(THERE, 50);
    scene.pass(INTERVAL * 3);
    let told = std::iter::from_fn(|| scene.journal.take()).find_map(|entry| match entry {
        Entry::RoleChanged { change, .. } => Some(change.to),
        _ => None,
    });
    assert_eq!(told, Some(Role::Backup));
}

#[test]
fn with_a_virtual_mac_the_addresses_stand_on_an_interface_that_is_up_for_as_long() {
    let mut with_mac = desired(100, 2);
    with_mac.place.virtual_mac = true;
    let mut scene = Scene::running(with_mac);
    assert!(!scene.kernel().virtual_is_up, "a backup must not be heard from there");
    scene.pass(INTERVAL * 5);
    assert_eq!((scene.role(), scene.kernel().virtual_is_up, scene.kernel().held.len()), (Role::Active, true, 2));
    assert!(scene.node.network.watched.contains(&1000));
    scene.hear(THERE, 150);
    assert_eq!((scene.role(), scene.kernel().virtual_is_up), (Role::Backup, false));
    assert!(!scene.node.network.watched.contains(&1000));
    scene.command(Command::Stop);
    assert!(scene.node.has_ended());
    assert_eq!(scene.kernel().links.len(), 2, "without the one that was made");
}

#[test]
fn an_interface_with_a_virtual_mac_that_somebody_removes_is_made_again() {
    let mut with_mac = desired(100, 2);
    with_mac.place.virtual_mac = true;
    let mut scene = Scene::active(with_mac);
    scene.kernel().held.clear();
    scene.kernel().links.retain(|link| link.index != 7);
    scene.kernel().virtual_is_up = false;
    scene.change(Change::LinkGone { index: 7, name: "lb51.eth0".to_owned() });
    scene.pass(INTERVAL * 5);
    assert_eq!((scene.role(), scene.kernel().virtual_is_up, scene.kernel().held.len()), (Role::Active, true, 2));
    assert_eq!(scene.kernel().links.len(), 3);
    assert!(scene.board.counters.report().transitions.contains(&("active".to_owned(), 1)));
}

#[test]
fn what_accepts_nothing_is_filtered_until_a_reload_accepts_it() {
    let mut closed = desired(100, 2);
    closed.accept = false;
    let mut scene = Scene::running(closed);
    assert_eq!(scene.kernel().refused, [net(0).addr(), net(1).addr()]);
    scene.apply(desired(100, 2));
    assert!(scene.kernel().refused.is_empty());
}

#[test]
fn adverts_leave_where_the_address_of_the_node_is() {
    let mut scene = Scene::new();
    scene.kernel().own[0].0 = 3;
    scene.apply(desired(100, 1));
    assert_eq!((scene.role(), scene.kernel().opened.clone()), (Role::Backup, vec![3]));
}

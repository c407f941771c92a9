//! Fault and Waiting.

use super::*;

fn roles(actions: &[Action]) -> Vec<(Role, Role)> {
    let change = |action: &Action| if let Action::RoleChanged(c) = action { Some((c.from, c.to)) } else { None };
    actions.iter().filter_map(change).collect()
}

#[test]
fn nothing_happens_before_it_is_started() {
    let mut node = Node::new(settings());
    assert!(node.hear(HIGH, 1).is_empty());
    assert!(node.handle(Event::Timer).is_empty());
    assert!(node.handle(Event::Link { up: true }).is_empty());
    assert_eq!((node.role(), node.machine.next_deadline()), (Role::Initialize, None));
}

#[test]
fn it_starts_as_a_backup() {
    let mut node = Node::new(settings());
    let actions = node.handle(Event::Started { link_up: true, source: Some(ip(OWN)), leftovers: false });
    assert_eq!(roles(&actions), [(Role::Initialize, Role::Backup)]);
    assert_eq!(deeds(&actions), []);
}

/// A state of its own, not Fault.
#[test]
fn ipv6_waits_for_a_usable_link_local_address() {
    let v6 = Settings { family: Family::V6, ..settings() };
    let mut node = Node::new(v6);
    let actions = node.handle(Event::Started { link_up: true, source: None, leftovers: false });
    assert_eq!(roles(&actions), [(Role::Initialize, Role::Waiting)]);
    assert_eq!(node.machine.next_deadline(), None);
    let actions = node.handle(Event::Source(Some(ip("fe80::2"))));
    assert_eq!(roles(&actions), [(Role::Waiting, Role::Backup)]);
}

#[test]
fn a_link_that_is_down_is_a_fault_and_nothing_is_sent() {
    let mut node = Node::active(settings());
    let actions = node.handle(Event::Link { up: false });
    assert_eq!(deeds(&actions), [Action::RemoveAddresses]);
    assert_eq!(roles(&actions), [(Role::Active, Role::Fault)]);
    assert_eq!(reason(&actions), Some(Reason::LinkDown));
    let actions = node.handle(Event::Link { up: true });
    assert_eq!(roles(&actions), [(Role::Fault, Role::Backup)]);
    assert_eq!(reason(&actions), Some(Reason::LinkUp));
    assert!(node.patience() > 300 * MS, "as after a start");
}

#[test]
fn something_tracked_that_is_down_is_a_fault_and_peers_are_told() {
    let mut node = Node::active(settings());
    let actions = node.handle(Event::Tracked { priority: 100, fault: true });
    assert_eq!(deeds(&actions), [advertise(0), Action::RemoveAddresses]);
    assert_eq!(reason(&actions), Some(Reason::TrackedDown));
    let actions = node.handle(Event::Tracked { priority: 100, fault: false });
    assert_eq!(reason(&actions), Some(Reason::TrackedUp));
}

#[test]
fn it_stays_in_fault_until_the_last_reason_is_gone() {
    let mut node = Node::backup(settings());
    node.handle(Event::Link { up: false });
    node.handle(Event::Tracked { priority: 100, fault: true });
    node.handle(Event::Link { up: true });
    assert_eq!(node.role(), Role::Fault);
    assert_eq!(node.hear(HIGH, 1).len(), 0);
    node.handle(Event::Tracked { priority: 100, fault: false });
    assert_eq!(node.role(), Role::Backup);
}

#[test]
fn an_owner_is_active_again_as_soon_as_its_link_is_up() {
    let mut node = Node::active(Settings { priority: 255, ..settings() });
    node.handle(Event::Link { up: false });
    node.handle(Event::Link { up: true });
    assert_eq!(node.role(), Role::Active);
}

#[test]
fn without_an_address_to_send_from_it_lets_go_and_waits() {
    let mut node = Node::active(settings());
    node.handle(Event::Source(None));
    node.run_for(SECOND);
    assert_eq!(node.role(), Role::Waiting);
    assert_eq!(roles(&node.handle(Event::Link { up: false })), [(Role::Waiting, Role::Fault)]);
    assert_eq!(roles(&node.handle(Event::Link { up: true })), [(Role::Fault, Role::Waiting)]);
}

#[test]
fn what_is_learned_before_the_start_counts() {
    let mut node = Node::new(settings());
    node.handle(Event::Tracked { priority: 30, fault: true });
    node.handle(Event::Started { link_up: true, source: Some(ip(OWN)), leftovers: false });
    assert_eq!(node.role(), Role::Fault);
    node.handle(Event::Tracked { priority: 30, fault: false });
    assert_eq!((node.role(), node.machine.settings().priority), (Role::Backup, 30));
}

//! The address that adverts are sent from goes, and comes back or not.

use super::*;

const GRACE: Duration = crate::machine::source::GRACE;

/// Whoever configures the interface anew puts it back in a moment.
#[test]
fn an_address_that_comes_back_soon_changes_no_role() {
    let mut node = Node::active(settings());
    let actions = node.handle(Event::Source(None));
    assert_eq!(actions.as_slice(), [Action::Notice(Notice::SourceMissing { address: ip(OWN) })]);
    let adverts = node.run_for(GRACE - MS);
    assert_eq!(adverts.iter().filter(|(_, action)| *action == advertise(100)).count(), 9, "peers notice nothing");
    assert_eq!(node.machine.source(), Some(ip(OWN)), "they come from where they always came from");
    assert!(node.handle(Event::Source(Some(ip(OWN)))).is_empty());
    let later = node.run_for(3 * GRACE);
    assert!(later.iter().all(|(_, action)| !matches!(action, Action::RoleChanged(_))));
    assert_eq!(node.role(), Role::Active);
}

#[test]
fn an_address_that_stays_away_ends_the_role_with_a_farewell() {
    let mut node = Node::active(settings());
    node.handle(Event::Source(None));
    node.run_for(GRACE - MS);
    // Told again: the time does not begin anew.
    assert!(node.handle(Event::Source(None)).is_empty());
    let actions: Vec<Action> = node.run_for(MS).into_iter().map(|(_, action)| action).collect();
    assert_eq!(deeds(&actions), [advertise(0), Action::RemoveAddresses]);
    assert_eq!((reason(&actions), node.role()), (Some(Reason::NoSource), Role::Waiting));
    assert_eq!(reason(&node.handle(Event::Source(Some(ip(OWN))))), Some(Reason::HasSource));
    assert_eq!(node.role(), Role::Backup);
}

/// Peers that hear nothing take over after three intervals and their skew.
#[test]
fn an_address_without_which_nothing_can_be_sent_is_given_up_before_a_peer_takes_over() {
    let mut node = Node::active(settings());
    node.handle(Event::Source(None));
    let begun = node.now;
    while node.role() == Role::Active {
        let sends = node.run_out().iter().any(|action| matches!(action, Action::Advertise { .. }));
        if sends {
            node.handle(Event::SendFailed);
        }
    }
    assert_eq!((node.role(), node.now.since(begun)), (Role::Waiting, 200 * MS));
}

/// A link that is down is not waited for, whatever else is missing.
#[test]
fn a_link_that_goes_down_with_it_is_a_fault_at_once() {
    let mut node = Node::active(settings());
    node.handle(Event::Source(None));
    let actions = node.handle(Event::Link { up: false });
    assert_eq!((deeds(&actions), node.role()), (vec![Action::RemoveAddresses], Role::Fault));
    assert_eq!(node.machine.next_deadline(), None);
    assert_eq!(reason(&node.handle(Event::Link { up: true })), Some(Reason::NoSource));
    assert_eq!(node.role(), Role::Waiting);
}

/// It may be deaf, so silence proves nothing to it.
#[test]
fn a_backup_does_not_wait_for_it() {
    let mut node = Node::backup(settings());
    node.hear(HIGH, 200);
    assert_eq!(reason(&node.handle(Event::Source(None))), Some(Reason::NoSource));
    assert_eq!((node.role(), node.machine.next_deadline()), (Role::Waiting, None));
}

#[test]
fn who_lets_go_meanwhile_waits_as_any_other() {
    let mut node = Node::active(settings());
    node.handle(Event::Source(None));
    let actions = node.hear(HIGH, 200);
    let to = actions.iter().filter_map(|a| if let Action::RoleChanged(c) = a { Some(c.to) } else { None });
    assert_eq!(to.collect::<Vec<_>>(), [Role::Backup, Role::Waiting]);
}

#[test]
fn another_address_does_as_well() {
    let mut node = Node::active(settings());
    node.handle(Event::Source(Some(ip(LOW))));
    assert_eq!((node.role(), node.machine.source()), (Role::Active, Some(ip(LOW))));
    // Of the same priority, the higher address wins.
    assert_eq!(reason(&node.hear(OWN, 100)), Some(Reason::HigherAddress { from: ip(OWN) }));
}

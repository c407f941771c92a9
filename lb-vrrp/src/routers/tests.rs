//! Sync groups, and virtual routers that have nothing to do with each other.

use std::net::IpAddr;
use std::time::Duration;

use super::*;
use crate::machine::{Garp, Preempt};
use crate::packet::{Addresses, Family, Version};

const MS: Duration = Duration::from_millis(1);
const PEER: [u8; 4] = [10, 0, 0, 3];

fn settings(vrid: u8) -> Settings {
    Settings {
        version: Version::V3,
        family: Family::V4,
        vrid,
        priority: 100,
        interval: 100 * MS,
        preempt: Preempt::After(Duration::ZERO),
        garp: Garp::default(),
        addresses: Addresses::from_slice(&[[192, 0, 2, vrid].into()]),
    }
}

/// Two virtual routers, 1 and 2.
struct Node {
    routers: Routers,
    now: Time,
}

impl Node {
    fn new(group: Option<GroupId>) -> Self {
        let mut routers = Routers::default();
        [1, 2].into_iter().for_each(|id| routers.insert(id, group, settings(id as u8)));
        let mut node = Self { routers, now: Time::ZERO + Duration::from_secs(1000) };
        let source = Some([10, 0, 0, 2].into());
        node.routers.handle_all(node.now, Event::Started { link_up: true, source, leftovers: false });
        node
    }

    fn active(group: Option<GroupId>) -> Self {
        let mut node = Self::new(group);
        node.run_for(400 * MS);
        assert_eq!(node.roles(), [Role::Active; 2]);
        node
    }

    fn roles(&self) -> [Role; 2] {
        [1, 2].map(|id| self.routers.get(id).map_or(Role::Initialize, Machine::role))
    }

    fn run_for(&mut self, time: Duration) -> Vec<(RouterId, Action)> {
        let end = self.now + time;
        let mut done = Vec::new();
        while let Some(deadline) = self.routers.next_deadline().filter(|deadline| *deadline <= end) {
            self.now = deadline;
            done.extend(self.routers.expire(self.now));
        }
        self.now = end;
        done
    }

    fn hear(&mut self, id: RouterId, priority: u8) -> Outputs {
        let advert = settings(id as u8).advert(priority, 100 * MS);
        self.routers.handle(self.now, id, Event::Advert { from: IpAddr::from(PEER), advert: &advert })
    }

    fn tell(&mut self, id: RouterId, event: Event<'_>) -> Outputs {
        self.routers.handle(self.now, id, event)
    }
}

fn advertises(out: &[(RouterId, Action)], id: RouterId, with: u8) -> bool {
    out.iter()
        .any(|(of, action)| *of == id && matches!(action, Action::Advertise { priority, .. } if *priority == with))
}

#[test]
fn without_a_group_each_goes_its_own_way() {
    let mut node = Node::active(None);
    node.hear(2, 200);
    assert_eq!(node.roles(), [Role::Active, Role::Backup]);
    node.tell(1, Event::Link { up: false });
    assert_eq!(node.roles(), [Role::Fault, Role::Backup]);
}

#[test]
fn a_group_becomes_active_together() {
    let mut node = Node::new(Some(7));
    for _ in 0..20 {
        node.hear(2, 200);
        node.run_for(100 * MS);
        assert_eq!(node.roles(), [Role::Backup; 2], "one of them hears an active router");
    }
    node.run_for(400 * MS);
    assert_eq!(node.roles(), [Role::Active; 2]);
}

#[test]
fn a_group_gives_in_together_and_says_so() {
    let mut node = Node::active(Some(7));
    let out = node.hear(1, 200);
    assert_eq!(node.roles(), [Role::Backup; 2]);
    assert!(advertises(&out, 2, 0), "somebody has to take it over");
    assert!(out.contains(&(2, Action::RemoveAddresses)));
}

#[test]
fn a_fault_of_one_is_a_fault_of_all_until_it_is_over() {
    let mut node = Node::active(Some(7));
    let out = node.tell(1, Event::Link { up: false });
    assert_eq!(node.roles(), [Role::Fault; 2]);
    assert!(advertises(&out, 2, 0));
    node.tell(1, Event::Link { up: true });
    assert_eq!(node.roles(), [Role::Backup; 2]);
    node.run_for(400 * MS);
    assert_eq!(node.roles(), [Role::Active; 2]);
}

#[test]
fn two_faults_do_not_hold_each_other() {
    let mut node = Node::active(Some(7));
    node.tell(1, Event::Link { up: false });
    node.tell(2, Event::Link { up: false });
    node.tell(1, Event::Link { up: true });
    assert_eq!(node.roles(), [Role::Fault; 2]);
    node.tell(2, Event::Link { up: true });
    assert_eq!(node.roles(), [Role::Backup; 2]);
}

#[test]
fn a_group_yields_together() {
    let mut node = Node::active(Some(7));
    node.routers.handle_all(node.now, Event::Yield);
    for id in [1, 2] {
        node.hear(id, 50);
    }
    node.run_for(250 * MS);
    assert_eq!(node.roles(), [Role::Backup; 2]);
}

#[test]
fn a_yield_that_only_one_peer_takes_is_a_yield_of_all() {
    let mut node = Node::active(Some(7));
    node.routers.handle_all(node.now, Event::Yield);
    node.hear(1, 50);
    node.run_for(550 * MS);
    assert_eq!(node.roles(), [Role::Backup; 2]);
}

#[test]
fn one_that_has_stopped_holds_nobody_up() {
    let mut node = Node::new(Some(7));
    let out = node.tell(2, Event::Stop);
    assert!(out.contains(&(2, Action::Stopped)));
    node.routers.remove(2);
    node.run_for(400 * MS);
    assert_eq!(node.roles(), [Role::Active, Role::Initialize]);
}

#[test]
fn a_member_that_a_reload_adds_does_not_stop_the_others() {
    let mut node = Node::active(Some(7));
    node.routers.insert(3, Some(7), settings(3));
    let source = Some([10, 0, 0, 2].into());
    node.tell(3, Event::Started { link_up: true, source, leftovers: false });
    assert_eq!(node.roles(), [Role::Active; 2]);
    node.run_for(400 * MS);
    assert_eq!(node.routers.get(3).map(Machine::role), Some(Role::Active));
}

#[test]
fn one_that_leaves_its_group_stops_waiting_for_it() {
    let mut node = Node::new(Some(7));
    for _ in 0..20 {
        node.hear(2, 200);
        node.run_for(100 * MS);
    }
    node.routers.set_group(1, None);
    node.run_for(Duration::ZERO);
    assert_eq!(node.roles(), [Role::Active, Role::Backup]);
}

#[test]
fn the_next_deadline_is_the_earliest() {
    let mut node = Node::active(None);
    let both = node.routers.next_deadline();
    node.tell(1, Event::Link { up: false });
    assert_eq!(node.routers.next_deadline(), both, "the other one's");
    node.tell(2, Event::Link { up: false });
    assert_eq!(node.routers.next_deadline(), None);
}

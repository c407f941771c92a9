//! A node over a kernel of the tests' own.

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use lb_core::config::{Track, Tracked};
use nix::errno::Errno;

use super::board::Board;
use super::desired::{Desired, Place};
use super::hands::Hands;
use super::journal;
use super::kernel::{Kernel, Network};
use super::letters::{Assigned, Command, Door, Entry, Order};
use super::mailbox::Mailbox;
use super::node::{Known, Node};
use crate::machine::{Garp, Preempt, Role, Settings};
use crate::net::{Address, Change, Kind, Link};
use crate::packet::{Advert, Auth, Codec, Family, Frame, Mac, Peers, Received, Version, Wire, advertised};
use crate::routers::RouterId;
use crate::time::Time;

const INTERVAL: Duration = Duration::from_millis(100);
const HERE: &str = "10.0.0.2";
const THERE: &str = "10.0.0.3";
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// What a host would do, and what it was asked for.
#[derive(Default)]
struct Bench {
    links: Vec<Link>,
    /// Somebody else's.
    own: Vec<(u32, Address)>,
    held: BTreeSet<IpNet>,
    left: Vec<IpNet>,
    announced: usize,
    opened: Vec<u32>,
    closed: usize,
    slices: Vec<usize>,
    overhears: Vec<(RouterId, usize)>,
    refused: Vec<IpAddr>,
    virtual_is_up: bool,
}

/// The network of the head.
#[derive(Default)]
struct Net {
    sent: Vec<(IpAddr, u8)>,
    is_deaf: bool,
    orders: VecDeque<Order>,
    watched: Vec<u32>,
}

impl Network for Net {
    type Socket = u32;

    fn send(&mut self, _socket: &u32, payload: &[u8], _source: IpAddr, to: IpAddr) -> Result<(), Errno> {
        if self.is_deaf {
            return Err(Errno::EPERM);
        }
        self.sent.push((to, payload[2]));
        Ok(())
    }

    fn send_disguised(&mut self, socket: &u32, payload: &[u8], source: IpAddr, _from: Mac) -> Result<(), Errno> {
        let group = Family::of(source).group();
        self.send(socket, payload, source, group)
    }

    fn watch(&mut self, door: &Door<u32>) -> Result<(), Errno> {
        self.watched.push(door.number);
        Ok(())
    }

    fn unwatch(&mut self, door: &Door<u32>) {
        self.watched.retain(|number| *number != door.number);
    }

    fn order(&mut self, order: Order) {
        self.orders.push_back(order);
    }

    fn utc(&self) -> Duration {
        Duration::from_secs(1)
    }
}

impl Kernel for Bench {
    type Socket = u32;

    fn link(&mut self, name: &str) -> Result<Option<Link>, Errno> {
        Ok(self.links.iter().find(|link| link.name == name).cloned())
    }

    fn link_with(&mut self, address: IpAddr) -> Result<Option<Link>, Errno> {
        let found = self.own.iter().find(|(_, known)| known.ip.addr() == address);
        Ok(found.and_then(|(index, _)| self.links.iter().find(|link| link.index == *index)).cloned())
    }

    fn addresses(&mut self, index: u32) -> Result<Vec<Address>, Errno> {
        Ok(self.own.iter().filter(|(at, _)| *at == index).map(|(_, address)| *address).collect())
    }

    fn add(&mut self, _index: u32, addresses: &[IpNet]) -> Result<(), Errno> {
        self.slices.push(addresses.len());
        self.held.extend(addresses);
        Ok(())
    }

    fn remove(&mut self, _index: u32, addresses: &[IpNet]) -> Result<(), Errno> {
        self.slices.push(addresses.len());
        self.held.retain(|ip| !addresses.contains(ip));
        Ok(())
    }

    fn was_left(&self, address: &IpNet) -> bool {
        self.left.contains(address)
    }

    fn enter(&mut self, _link: &Link, _family: Family) -> Result<(), Errno> {
        Ok(())
    }

    fn leave(&mut self, _link: &Link) {}

    fn open(&mut self, link: &Link, _place: &Place) -> Result<Door<u32>, Errno> {
        self.opened.push(link.index);
        Ok(Door { number: self.opened.len() as u32, socket: 0 })
    }

    fn close(&mut self, _door: &Door<u32>) {
        self.closed += 1;
    }

    fn eavesdrop(&mut self, id: RouterId, _link: &Link, addresses: &[IpAddr]) -> Result<(), Errno> {
        self.ignore(id);
        self.overhears.push((id, addresses.len()));
        Ok(())
    }

    fn ignore(&mut self, id: RouterId) {
        self.overhears.retain(|(known, _)| *known != id);
    }

    fn announce(&mut self, _link: &Link, frames: &[Frame]) -> Result<usize, Errno> {
        self.announced += frames.len();
        Ok(frames.len())
    }

    fn forwards(&mut self, _link: &Link, _family: Family) -> bool {
        false
    }

    fn make_virtual(&mut self, _id: RouterId, _parent: &Link, _place: &Place) -> Result<Link, Errno> {
        self.links.push(link("lb51.eth0", 7));
        Ok(link("lb51.eth0", 7))
    }

    fn raise_virtual(&mut self, _id: RouterId, _place: &Place) -> Result<Door<u32>, Errno> {
        self.virtual_is_up = true;
        Ok(Door { number: 1000, socket: 0 })
    }

    fn lower_virtual(&mut self, _id: RouterId) -> Result<(), Errno> {
        assert!(self.held.is_empty(), "the addresses go first");
        self.virtual_is_up = false;
        Ok(())
    }

    fn remove_virtual(&mut self, _id: RouterId) -> Result<(), Errno> {
        self.links.retain(|link| link.index != 7);
        Ok(())
    }

    fn refuse(&mut self, addresses: &[IpAddr]) -> Result<(), Errno> {
        self.refused = addresses.to_vec();
        Ok(())
    }
}

fn address(ip: IpNet) -> Address {
    Address { ip, tentative: false, dad_failed: false, deprecated: false, secondary: false, ours: false }
}

fn link(name: &str, index: u32) -> Link {
    Link { index, name: name.to_owned(), up: true, mac: Some(MAC), kind: Kind::Device, parent: None }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn net(n: usize) -> IpNet {
    format!("203.0.{}.{}/24", n / 200, 1 + n % 200).parse().unwrap()
}

/// With so many addresses.
fn desired(priority: u8, count: usize) -> Desired {
    let addresses: Vec<IpNet> = (0..count).map(net).collect();
    let listed: Vec<IpAddr> = addresses.iter().map(IpNet::addr).collect();
    let (version, family, vrid) = (Version::V3, Family::V4, 51);
    let place = Place { interface: "eth0".to_owned(), family, vrid, version, multicast: false, virtual_mac: false };
    let peers = Peers::Unicast(vec![ip(THERE)]);
    Desired {
        name: "public".into(),
        group: None,
        place,
        accept: true,
        settings: Settings {
            version,
            family,
            vrid,
            priority,
            interval: INTERVAL,
            preempt: Preempt::After(Duration::ZERO),
            garp: Garp { repeat: 2, again: None, refresh: None },
            addresses: advertised(&listed, family),
        },
        wire: Wire { version, family, vrid, interval: INTERVAL, peers, auth: Auth::None, pseudo_header: true },
        source: Some(ip(HERE)),
        addresses,
        spacing: Duration::ZERO,
        track: Vec::new(),
    }
}

struct Scene {
    node: Node<Net>,
    hands: Hands<Bench>,
    board: Arc<Board>,
    journal: Arc<Mailbox<Entry>>,
    now: Time,
}

impl Scene {
    fn new() -> Self {
        let journal = Arc::new(Mailbox::new(journal::SIZE, false).unwrap());
        let own = vec![(2, address(format!("{HERE}/24").parse().unwrap()))];
        let bench = Bench { links: vec![link("eth0", 2), link("eth1", 3)], own, ..Bench::default() };
        let (node, hands) = (Node::new(Net::default(), journal.clone()), Hands::new(bench, journal.clone()));
        Self { node, hands, board: Arc::default(), journal, now: Time::ZERO }
    }

    fn running(desired: Desired) -> Self {
        let mut scene = Self::new();
        scene.apply(desired);
        scene
    }

    fn active(desired: Desired) -> Self {
        let mut scene = Self::running(desired);
        scene.pass(INTERVAL * 5);
        assert_eq!(scene.role(), Role::Active);
        scene
    }

    fn apply(&mut self, desired: Desired) {
        self.command(Command::Apply(vec![Assigned { id: 1, desired, board: self.board.clone() }]));
    }

    fn command(&mut self, command: Command) {
        self.node.begin(self.now);
        self.node.command(command);
        self.settle();
    }

    fn change(&mut self, change: Change) {
        self.hands.begin(self.now);
        self.hands.changed(change);
        self.settle();
    }

    /// Until nobody has anything to do.
    fn settle(&mut self) {
        loop {
            self.exchange();
            self.hands.settle();
            let is_quiet = self.node.network.orders.is_empty() && self.hands.findings.is_empty();
            if is_quiet && self.hands.next_work().is_none_or(|work| work > self.now) {
                return self.node.show();
            }
        }
    }

    fn exchange(&mut self) {
        self.node.begin(self.now);
        self.hands.begin(self.now);
        for order in std::mem::take(&mut self.node.network.orders) {
            self.hands.obey(order);
        }
        for finding in std::mem::take(&mut self.hands.findings) {
            self.node.found(finding);
        }
    }

    /// Everything that is due, when it is due.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        let next = |scene: &Self| scene.node.next_deadline().into_iter().chain(scene.hands.next_work()).min();
        while let Some(deadline) = next(self).filter(|deadline| *deadline <= end) {
            self.now = self.now.max(deadline);
            self.node.begin(self.now);
            self.node.expire();
            self.settle();
        }
        self.now = end;
    }

    fn hear(&mut self, from: &str, priority: u8) -> Known {
        let desired = desired(100, 1);
        let mut codec = Codec::new(desired.wire.clone());
        let advert = Advert { priority, ..desired.settings.advert(priority, INTERVAL) };
        let mut payload = Vec::new();
        codec.encode(&advert, ip(from), ip(HERE), Duration::ZERO, &mut payload);
        self.hear_bytes(from, &payload)
    }

    fn hear_bytes(&mut self, from: &str, payload: &[u8]) -> Known {
        let received = Received { source: ip(from), destination: ip(HERE), ttl: 255, payload };
        self.node.begin(self.now);
        let door = self.kernel().opened.len() as u32;
        let known = self.node.receive(door, &received);
        self.settle();
        known
    }

    fn role(&self) -> Role {
        self.board.shown().role
    }

    fn kernel(&mut self) -> &mut Bench {
        &mut self.hands.kernel
    }

    fn sent(&self) -> &[(IpAddr, u8)] {
        &self.node.network.sent
    }
}

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
    scene.now += INTERVAL * 5;
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
    scene.now += INTERVAL * 5;
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

//! A stage for the tests: a head and its hands, on a host and a network that only write down what is asked of them.

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use nix::errno::Errno;

use crate::driver::board::Board;
use crate::driver::desired::{Desired, Place};
use crate::driver::hands::Hands;
use crate::driver::journal;
use crate::driver::kernel::{Kernel, Network};
use crate::driver::letters::{Assigned, Command, Door, Entry, Order};
use crate::driver::mailbox::Mailbox;
use crate::driver::node::{Known, Node};
use crate::machine::{Garp, Preempt, Role, Settings};
use crate::net::{Address, Change, Kind, Link};
use crate::packet::{Advert, Auth, Codec, Family, Frame, Mac, Peers, Received, Version, Wire, advertised};
use crate::routers::RouterId;
use crate::time::Time;

pub const INTERVAL: Duration = Duration::from_millis(100);
const HERE: &str = "10.0.0.2";
pub const THERE: &str = "10.0.0.3";
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// What a host would do, and what it was asked for.
#[derive(Default)]
pub struct Bench {
    pub links: Vec<Link>,
    /// Somebody else's.
    pub own: Vec<(u32, Address)>,
    pub held: BTreeSet<IpNet>,
    pub left: Vec<IpNet>,
    pub announced: usize,
    pub opened: Vec<u32>,
    pub closed: usize,
    pub slices: Vec<usize>,
    pub overhears: Vec<(RouterId, usize)>,
    pub refused: Vec<IpAddr>,
    pub virtual_is_up: bool,
}

/// The network of the head.
#[derive(Default)]
pub struct Net {
    pub sent: Vec<(IpAddr, u8)>,
    pub is_deaf: bool,
    pub orders: VecDeque<Order>,
    pub watched: Vec<u32>,
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
        let own = self.own.iter().filter(|(at, _)| *at == index).map(|(_, address)| *address);
        let held = self.held.iter().map(|ip| Address { ours: true, ..address(*ip) });
        Ok(own.chain(held).collect())
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

    fn keeps_secondaries(&mut self, _link: &Link) -> bool {
        true
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

pub fn address(ip: IpNet) -> Address {
    Address { ip, tentative: false, dad_failed: false, deprecated: false, secondary: false, ours: false }
}

pub fn link(name: &str, index: u32) -> Link {
    Link { index, name: name.to_owned(), up: true, mac: Some(MAC), kind: Kind::Device, parent: None }
}

pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub fn net(n: usize) -> IpNet {
    format!("203.0.{}.{}/24", n / 200, 1 + n % 200).parse().unwrap()
}

/// With so many addresses.
pub fn desired(priority: u8, count: usize) -> Desired {
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

pub struct Scene {
    pub node: Node<Net>,
    pub hands: Hands<Bench>,
    pub board: Arc<Board>,
    pub journal: Arc<Mailbox<Entry>>,
    pub now: Time,
}

impl Scene {
    pub fn new() -> Self {
        let journal = Arc::new(Mailbox::new(journal::SIZE, false).unwrap());
        let own = vec![(2, address(format!("{HERE}/24").parse().unwrap()))];
        let bench = Bench { links: vec![link("eth0", 2), link("eth1", 3)], own, ..Bench::default() };
        let (node, hands) = (Node::new(Net::default(), journal.clone()), Hands::new(bench, journal.clone()));
        Self { node, hands, board: Arc::default(), journal, now: Time::ZERO }
    }

    pub fn running(desired: Desired) -> Self {
        let mut scene = Self::new();
        scene.apply(desired);
        scene
    }

    pub fn active(desired: Desired) -> Self {
        let mut scene = Self::running(desired);
        scene.pass(INTERVAL * 5);
        assert_eq!(scene.role(), Role::Active);
        scene
    }

    pub fn apply(&mut self, desired: Desired) {
        self.command(Command::Apply(vec![Assigned { id: 1, desired, board: self.board.clone() }]));
    }

    pub fn command(&mut self, command: Command) {
        self.node.begin(self.now);
        self.node.command(command);
        self.settle();
    }

    pub fn change(&mut self, change: Change) {
        self.hands.begin(self.now);
        self.hands.changed(change);
        self.settle();
    }

    /// Until nobody has anything to do.
    pub fn settle(&mut self) {
        loop {
            self.exchange();
            self.hands.settle();
            let is_quiet = self.node.network.orders.is_empty() && self.hands.findings.is_empty();
            if is_quiet && self.hands.next_work().is_none_or(|work| work > self.now) {
                return self.node.show();
            }
        }
    }

    pub fn exchange(&mut self) {
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
    pub fn pass(&mut self, time: Duration) {
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

    pub fn hear(&mut self, from: &str, priority: u8) -> Known {
        let desired = desired(100, 1);
        let mut codec = Codec::new(desired.wire.clone());
        let advert = Advert { priority, ..desired.settings.advert(priority, INTERVAL) };
        let mut payload = Vec::new();
        codec.encode(&advert, ip(from), ip(HERE), Duration::ZERO, &mut payload);
        self.hear_bytes(from, &payload)
    }

    pub fn hear_bytes(&mut self, from: &str, payload: &[u8]) -> Known {
        let received = Received { source: ip(from), destination: ip(HERE), ttl: 255, payload };
        self.node.begin(self.now);
        let door = self.kernel().opened.len() as u32;
        let known = self.node.receive(door, &received);
        self.settle();
        known
    }

    pub fn role(&self) -> Role {
        self.board.shown().role
    }

    pub fn kernel(&mut self) -> &mut Bench {
        &mut self.hands.kernel
    }

    pub fn sent(&self) -> &[(IpAddr, u8)] {
        &self.node.network.sent
    }
}

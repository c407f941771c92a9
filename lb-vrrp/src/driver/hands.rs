//! What is done with interfaces and addresses. The kernel makes everybody who changes or lists them wait for one lock,
//! which others hold for as long as they want; so this has a thread of its own, and adverts go on meanwhile.

use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ipnet::IpNet;
use nix::errno::Errno;

use super::holding::Holding;
use super::kernel::Kernel;
use super::letters::{Charge, Doing, Entry, Finding, Order, View};
use super::mailbox::Mailbox;
use super::slices::{SLICE, Slice};
use crate::net::{Address, Change, Link};
use crate::packet::{Frame, announcement};
use crate::routers::RouterId;
use crate::time::Time;

/// How long the queue of an interface that is full is left alone.
const FULL: Duration = Duration::from_millis(5);

pub struct Hands<K: Kernel> {
    pub kernel: K,
    holdings: Vec<Holding<K::Socket>>,
    journal: Arc<Mailbox<Entry>>,
    /// What the head is to be told.
    pub findings: Vec<Finding<K::Socket>>,
    /// Interfaces whose addresses somebody else changed.
    touched: Vec<u32>,
    /// Whose addresses are worked on next.
    turn: usize,
    now: Time,
    has_ended: bool,
}

/// What happens.
impl<K: Kernel> Hands<K> {
    /// Everything up to the next call happens now.
    pub fn begin(&mut self, now: Time) {
        self.now = now;
    }

    pub fn obey(&mut self, order: Order) {
        match order {
            Order::Keep(charge) => self.keep(*charge),
            Order::Hold(id) => self.hold(id),
            Order::LetGo(id) => self.let_go(id),
            Order::Announce { id, repeat } => {
                if let Some(holding) = self.holding(id) {
                    holding.pending.announce(repeat);
                }
            }
            Order::Release(id) => {
                if let Some(holding) = self.holding(id) {
                    holding.is_released = true;
                }
            }
            Order::End => self.has_ended = true,
        }
    }

    pub fn changed(&mut self, change: Change) {
        match change {
            Change::Link(link) => self.follow_link(&link),
            Change::LinkGone { index, name } => self.follow_loss(index, &name),
            Change::Address { index, address, added } => self.follow_address(index, &address, added),
            Change::Overrun => self.look_at_everything(),
        }
    }

    /// Another host announces an address of a virtual router.
    pub fn contested(&mut self, id: RouterId) {
        if self.holding(id).is_some_and(|holding| holding.holds) {
            self.findings.push(Finding::Contested(id));
        }
    }

    /// After everything else: what was learned of addresses, and a slice of the work.
    pub fn settle(&mut self) {
        self.look_where_touched();
        self.work();
        self.release();
    }

    /// Without orders: whoever gives them is gone.
    pub fn abandon(&mut self) {
        let all: Vec<RouterId> = self.holdings.iter().map(|holding| holding.charge.id).collect();
        for id in all {
            self.let_go(id);
            self.obey(Order::Release(id));
        }
        while !self.holdings.is_empty() {
            self.settle();
        }
    }
}

impl<K: Kernel> Hands<K> {
    pub fn new(kernel: K, journal: Arc<Mailbox<Entry>>) -> Self {
        Self {
            kernel,
            holdings: Vec::new(),
            journal,
            findings: Vec::new(),
            touched: Vec::new(),
            turn: 0,
            now: Time::ZERO,
            has_ended: false,
        }
    }

    /// When there is something to do, and be it at once.
    pub fn next_work(&self) -> Option<Time> {
        self.holdings.iter().filter_map(Holding::next_work).min()
    }

    pub fn now(&self) -> Time {
        self.now
    }

    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    fn holding(&mut self, id: RouterId) -> Option<&mut Holding<K::Socket>> {
        self.holdings.iter_mut().find(|holding| holding.charge.id == id)
    }

    /// What goes wrong again and again is told once in a while.
    fn check<T>(&mut self, id: RouterId, doing: Doing, done: Result<T, Errno>) -> Option<T> {
        let now = self.now;
        match done {
            Ok(value) => Some(value),
            Err(errno) => {
                if self.holding(id).is_some_and(|holding| holding.complaints.may(now, doing)) {
                    // One that does not fit is counted by the mailbox.
                    let _ = self.journal.put(Entry::Trouble { id, doing, errno });
                }
                None
            }
        }
    }
}

/// Orders.
impl<K: Kernel> Hands<K> {
    fn keep(&mut self, charge: Charge) {
        let id = charge.id;
        self.tell_interfaces(&charge.tracked);
        let is_new = self.holding(id).is_none();
        if is_new {
            self.holdings.push(Holding::new(charge));
        } else {
            self.change(charge);
        }
        self.filter(id);
        self.look(id);
        if is_new {
            let charge = self.holding(id).map(|holding| holding.charge.addresses.clone()).unwrap_or_default();
            let leftovers = charge.iter().any(|address| self.kernel.was_left(address));
            self.findings.push(Finding::Looked { id, leftovers });
        }
    }

    fn change(&mut self, charge: Charge) {
        let id = charge.id;
        let Some(holding) = self.holding(id) else { return };
        if holding.replace(charge) {
            self.eavesdrop(id);
        }
    }

    fn filter(&mut self, id: RouterId) {
        let refused = self.holdings.iter().filter(|holding| !holding.charge.accept);
        let refused: Vec<IpAddr> = refused.flat_map(|holding| &holding.charge.addresses).map(IpNet::addr).collect();
        let done = self.kernel.refuse(&refused);
        self.check(id, Doing::Filter, done);
    }

    fn hold(&mut self, id: RouterId) {
        let Some(holding) = self.holding(id) else { return };
        holding.holds = true;
        holding.pending.add();
        self.raise(id);
    }

    /// The interface with the virtual MAC is up only while its addresses are there.
    fn raise(&mut self, id: RouterId) {
        let Some(holding) = self.holdings.iter().find(|holding| holding.charge.id == id) else { return };
        if holding.virtual_link.is_some() && holding.view.virtual_door.is_none() {
            let raised = self.kernel.raise_virtual(id, &holding.charge.place);
            let door = self.check(id, Doing::VirtualMac, raised);
            self.show(id, |view| view.virtual_door = door);
        }
    }

    fn let_go(&mut self, id: RouterId) {
        if let Some(holding) = self.holding(id) {
            holding.holds = false;
            holding.pending.remove();
        }
    }

    /// Of those that have ended, and have nothing left.
    fn release(&mut self) {
        while let Some(at) = self.holdings.iter().position(Holding::is_gone) {
            let id = self.holdings[at].charge.id;
            self.detach(id);
            let holding = self.holdings.remove(at);
            if !holding.charge.accept {
                self.filter(id);
            }
            self.findings.push(Finding::Released(id));
        }
    }
}

/// Addresses, a slice at a time.
impl<K: Kernel> Hands<K> {
    fn work(&mut self) {
        let count = self.holdings.len();
        let mut order = (0..count).map(|step| (self.turn + step) % count);
        let may_work = |at: &usize| self.holdings[*at].next_work().is_some_and(|work| work <= self.now);
        if let Some(at) = order.find(may_work) {
            self.turn = at + 1;
            self.work_on(at);
        }
    }

    fn work_on(&mut self, at: usize) {
        let holding = &mut self.holdings[at];
        holding.pause = None;
        let Some(link) = holding.ground().cloned() else {
            // With the interface, its addresses are gone.
            return holding.forget_work();
        };
        let id = holding.charge.id;
        if !holding.dropped.is_empty() {
            let rest = holding.dropped.split_off(holding.dropped.len().min(SLICE));
            let slice = std::mem::replace(&mut holding.dropped, rest);
            let done = self.kernel.remove(link.index, &slice);
            self.check(id, Doing::Remove, done);
            return;
        }
        match holding.pending.next(holding.charge.addresses.len()) {
            Some(Slice::Add(range)) => {
                let done = self.kernel.add(link.index, &holding.charge.addresses[range]);
                self.check(id, Doing::Add, done);
            }
            Some(Slice::Remove(range)) => {
                let done = self.kernel.remove(link.index, &holding.charge.addresses[range]);
                self.check(id, Doing::Remove, done);
                self.lower(id);
            }
            Some(Slice::Announce(range)) => self.announce(at, &link, range),
            None => {}
        }
    }

    /// When all addresses are gone.
    fn lower(&mut self, id: RouterId) {
        let is_done = |holding: &mut Holding<K::Socket>| !holding.holds && holding.pending.is_empty();
        if self.holding(id).is_some_and(|holding| is_done(holding) && holding.view.virtual_door.is_some()) {
            let done = self.kernel.lower_virtual(id);
            self.check(id, Doing::VirtualMac, done);
            self.show(id, |view| view.virtual_door = None);
        }
    }

    fn announce(&mut self, at: usize, link: &Link, range: Range<usize>) {
        let holding = &mut self.holdings[at];
        let (Some(mac), family) = (link.mac, holding.charge.place.family) else { return };
        if !holding.charge.board.are_ours.load(Ordering::Acquire) {
            return;
        }
        let forwards = self.kernel.forwards(link, family);
        let addresses = holding.charge.addresses.get(range.clone()).unwrap_or_default();
        let frames: Vec<Frame> = addresses.iter().map(|ip| announcement(ip.addr(), mac, forwards)).collect();
        match self.kernel.announce(link, &frames) {
            Ok(sent) => {
                holding.charge.board.counters.announcements.add(sent as u64);
                if sent < frames.len() {
                    holding.pending.announce_from(range.start + sent);
                    holding.pause = Some(self.now + FULL);
                }
            }
            Err(errno) => {
                let id = holding.charge.id;
                self.check::<()>(id, Doing::Announce, Err(errno));
            }
        }
    }
}

/// Interfaces, and what stands on them.
impl<K: Kernel> Hands<K> {
    /// At everything anew.
    fn look(&mut self, id: RouterId) {
        let Some(name) = self.holding(id).map(|holding| holding.charge.place.interface.clone()) else { return };
        let found = self.kernel.link(&name);
        let link = self.check(id, Doing::Look, found).flatten();
        self.attach(id, link);
        self.look_for_source(id);
        self.show(id, |_| {});
    }

    /// To the interface as it is now. One that went away and came back is another one.
    fn attach(&mut self, id: RouterId, link: Option<Link>) {
        let Some(holding) = self.holding(id) else { return };
        let index = |link: &Option<Link>| link.as_ref().map(|link| link.index);
        let mac = |link: &Option<Link>| link.as_ref().and_then(|link| link.mac);
        let is_same = index(&holding.link) == index(&link);
        let sounds_same = mac(&holding.link) == mac(&link);
        if !is_same {
            self.detach(id);
        }
        let Some(holding) = self.holding(id) else { return };
        holding.view.up = link.as_ref().is_some_and(|link| link.up);
        holding.link.clone_from(&link);
        match link {
            Some(link) if !is_same => self.arrive(id, &link),
            Some(_) if !sounds_same => self.eavesdrop(id),
            Some(_) | None => {}
        }
    }

    fn arrive(&mut self, id: RouterId, link: &Link) {
        let Some(place) = self.holding(id).map(|holding| holding.charge.place.clone()) else { return };
        let done = self.kernel.enter(link, place.family);
        self.check(id, Doing::Open, done);
        if place.virtual_mac {
            let made = self.kernel.make_virtual(id, link, &place);
            let virtual_link = self.check(id, Doing::VirtualMac, made);
            if let Some(holding) = self.holding(id) {
                holding.virtual_link = virtual_link;
            }
        }
        self.eavesdrop(id);
    }

    /// From the interface, which may be gone.
    fn detach(&mut self, id: RouterId) {
        let Some(holding) = self.holding(id) else { return };
        let (link, virtual_link, door) = holding.leave();
        if virtual_link.is_some() {
            let done = self.kernel.remove_virtual(id);
            self.check(id, Doing::VirtualMac, done);
        }
        self.kernel.ignore(id);
        door.into_iter().for_each(|door| self.kernel.close(&door));
        link.into_iter().for_each(|link| self.kernel.leave(&link));
    }

    fn eavesdrop(&mut self, id: RouterId) {
        let Some(holding) = self.holdings.iter().find(|holding| holding.charge.id == id) else { return };
        if let Some(link) = holding.ground() {
            let addresses: Vec<IpAddr> = holding.charge.addresses.iter().map(IpNet::addr).collect();
            let done = self.kernel.eavesdrop(id, link, &addresses);
            self.check(id, Doing::Open, done);
        }
    }

    /// Adverts go out where the address is that they are sent from, which between nodes may be another interface.
    fn look_for_source(&mut self, id: RouterId) {
        let Some(holding) = self.holdings.iter().find(|holding| holding.charge.id == id) else { return };
        let Some(link) = holding.link.clone() else { return };
        let wanted = holding.charge.source;
        let elsewhere = match wanted.map(|source| self.kernel.link_with(source)) {
            Some(found) => self.check(id, Doing::Look, found).flatten(),
            None => None,
        };
        let way = elsewhere.unwrap_or(link);
        let addresses = self.kernel.addresses(way.index);
        let addresses = self.check(id, Doing::Look, addresses).unwrap_or_default();
        let Some(holding) = self.holding(id) else { return };
        holding.view.source = holding.find_source(&addresses);
        self.open(id, way);
    }

    fn open(&mut self, id: RouterId, way: Link) {
        let Some(holding) = self.holding(id) else { return };
        if holding.view.door.is_some() && holding.way.as_ref().is_some_and(|known| known.index == way.index) {
            return;
        }
        let old = holding.view.door.take();
        let place = holding.charge.place.clone();
        old.into_iter().for_each(|door| self.kernel.close(&door));
        let opened = self.kernel.open(&way, &place);
        let door = self.check(id, Doing::Open, opened);
        if let Some(holding) = self.holding(id) {
            holding.view.door = door;
            holding.way = Some(way);
        }
    }

    /// Changes what the head sees.
    fn show(&mut self, id: RouterId, change: impl FnOnce(&mut View<K::Socket>)) {
        let Some(holding) = self.holdings.iter_mut().find(|holding| holding.charge.id == id) else { return };
        change(&mut holding.view);
        let view = View {
            up: holding.view.up,
            source: holding.view.source,
            door: holding.view.door.clone(),
            virtual_door: holding.view.virtual_door.clone(),
        };
        self.findings.push(Finding::Seen { id, view });
    }

    fn tell_interfaces(&mut self, names: &[String]) {
        for name in names {
            let up = matches!(self.kernel.link(name), Ok(Some(link)) if link.up);
            self.findings.push(Finding::Interface { name: name.clone(), up });
        }
    }

    fn look_at_everything(&mut self) {
        let all: Vec<RouterId> = self.holdings.iter().map(|holding| holding.charge.id).collect();
        for id in all {
            self.look(id);
            let names = self.holding(id).map(|holding| holding.charge.tracked.clone()).unwrap_or_default();
            self.tell_interfaces(&names);
            self.findings.push(Finding::Robbed(id));
        }
    }

    fn is_tracked(&self, name: &str) -> bool {
        self.holdings.iter().any(|holding| holding.charge.tracked.iter().any(|tracked| tracked == name))
    }

    fn follow_link(&mut self, link: &Link) {
        if self.is_tracked(&link.name) {
            self.findings.push(Finding::Interface { name: link.name.clone(), up: link.up });
        }
        for at in 0..self.holdings.len() {
            let holding = &self.holdings[at];
            let (id, known) = (holding.charge.id, holding.link.as_ref());
            let is_known = known.is_some_and(|known| known.index == link.index);
            match holding.charge.place.interface == link.name {
                // It was renamed, which for us is gone.
                false if is_known => self.lose(id),
                false => {}
                true if !is_known => self.look(id),
                true if known == Some(link) => {}
                true => {
                    self.attach(id, Some(link.clone()));
                    self.touched.push(link.index);
                    self.show(id, |_| {});
                }
            }
        }
    }

    fn follow_loss(&mut self, index: u32, name: &str) {
        if self.is_tracked(name) {
            self.findings.push(Finding::Interface { name: name.to_owned(), up: false });
        }
        let is_lost = |holding: &&Holding<K::Socket>| holding.link.as_ref().is_some_and(|link| link.index == index);
        let lost: Vec<RouterId> = self.holdings.iter().filter(is_lost).map(|holding| holding.charge.id).collect();
        for id in lost {
            self.lose(id);
        }
    }

    fn lose(&mut self, id: RouterId) {
        self.attach(id, None);
        self.show(id, |_| {});
    }

    fn follow_address(&mut self, index: u32, address: &Address, added: bool) {
        if !address.ours {
            self.touched.push(index);
        }
        let is_robbed = |holding: &&Holding<K::Socket>| {
            holding.holds
                && holding.ground().is_some_and(|link| link.index == index)
                && holding.charge.addresses.contains(&address.ip)
        };
        if !added {
            let robbed = self.holdings.iter().filter(is_robbed).map(|holding| Finding::Robbed(holding.charge.id));
            self.findings.extend(robbed);
        }
    }

    /// Once for all that happened in this turn.
    fn look_where_touched(&mut self) {
        let touched = std::mem::take(&mut self.touched);
        let concerned = self.holdings.iter().filter(|holding| touched.iter().any(|index| holding.depends_on(*index)));
        let concerned: Vec<RouterId> = concerned.map(|holding| holding.charge.id).collect();
        for id in concerned {
            let before = self.holding(id).map(|holding| holding.view.source);
            self.look_for_source(id);
            if self.holding(id).map(|holding| holding.view.source) != before {
                self.show(id, |_| {});
            }
        }
    }
}

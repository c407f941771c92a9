//! All virtual routers of this node between the kernel and their machines. It does not wait: [`super::thread`] does,
//! and says what happened.

use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use lb_core::config::Tracked;
use nix::errno::Errno;
use smallvec::SmallVec;

use super::kernel::{Door, Kernel};
use super::letters::{Assigned, Command, Doing, Entry};
use super::mailbox::Mailbox;
use super::router::Router;
use super::slices::{SLICE, Slice};
use crate::machine::{Action, Event};
use crate::net::{Address, Change, Link};
use crate::packet::{Frame, Received, announcement, vrid};
use crate::routers::{GroupId, Outputs, RouterId, Routers};
use crate::time::Time;

/// How long the queue of an interface that is full is left alone.
const FULL: Duration = Duration::from_millis(5);

pub struct Node<K> {
    pub kernel: K,
    /// When this turn began.
    now: Time,
    machines: Routers,
    routers: Vec<Router>,
    groups: Vec<Arc<str>>,
    journal: Arc<Mailbox<Entry>>,
    is_ready: bool,
    is_stopping: bool,
    /// Whose addresses are worked on next.
    turn: usize,
    /// Interfaces whose addresses somebody else changed.
    touched: Vec<u32>,
    payload: Vec<u8>,
}

/// What happens.
impl<K: Kernel> Node<K> {
    /// Everything up to the next call happens now.
    pub fn begin(&mut self, now: Time) {
        self.now = now;
    }

    pub fn command(&mut self, command: Command) {
        match command {
            Command::Apply(assigned) => self.apply(assigned),
            Command::Observe { id, index, is_up } => self.observe(id, index, is_up),
            Command::Ready(is_ready) => {
                self.is_ready = is_ready;
                self.tell_all(Event::Ready(is_ready));
            }
            Command::Yield(id) => self.tell(id, Event::Yield),
            Command::Stop => {
                self.is_stopping = true;
                self.tell_all(Event::Stop);
            }
            Command::Abandon => self.let_go(),
        }
    }

    /// It could not run for so long.
    pub fn woken(&mut self, gap: Duration) {
        self.tell_all(Event::Woken { gap });
    }

    pub fn receive(&mut self, door: Door, received: &Received<'_>) -> Known {
        let id = vrid(received.payload);
        let now = self.now;
        let at = self.routers.iter().position(|router| {
            router.door == Some(door) && Some(router.desired.place.vrid) == id && !router.has_stopped
        });
        let Some(router) = at.and_then(|at| self.routers.get_mut(at)) else { return Known::Stranger };
        match router.codec.decode(received, self.kernel.utc()) {
            Ok(advert) => {
                router.board.counters.adverts_received.inc();
                let id = router.id;
                self.tell(id, Event::Advert { from: received.source, advert: &advert });
            }
            Err(error) => {
                if router.count_error(now, &error) {
                    let entry = Entry::Dropped { id: router.id, from: received.source, error };
                    self.note(entry);
                }
            }
        }
        Known::Ours
    }

    /// Another host announces an address of a virtual router.
    pub fn contested(&mut self, id: RouterId) {
        if self.router(id).is_some_and(|router| router.holds) {
            self.tell(id, Event::Conflict);
        }
    }

    pub fn changed(&mut self, change: Change) {
        match change {
            Change::Link(link) => self.follow_link(link),
            Change::LinkGone { index, name } => self.follow_loss(index, &name),
            Change::Address { index, address, added } => self.follow_address(index, address, added),
            Change::Overrun => self.look_at_everything(),
        }
    }

    /// It is [`Node::next_deadline`] or later.
    pub fn expire(&mut self) {
        let outputs = self.machines.expire(self.now);
        self.carry_out(outputs);
    }

    /// After everything else: what was learned of addresses, a slice of the work, and what status shows.
    pub fn settle(&mut self) {
        self.look_where_touched();
        self.work();
        self.bury();
        for router in &mut self.routers {
            if let Some(machine) = self.machines.get(router.id) {
                router.show(machine);
            }
        }
    }
}

/// Whether somebody here speaks for the number in a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    Ours,
    Stranger,
}

impl<K: Kernel> Node<K> {
    pub fn new(kernel: K, journal: Arc<Mailbox<Entry>>) -> Self {
        Self {
            kernel,
            now: Time::ZERO,
            machines: Routers::default(),
            routers: Vec::new(),
            groups: Vec::new(),
            journal,
            is_ready: true,
            is_stopping: false,
            turn: 0,
            touched: Vec::new(),
            payload: Vec::with_capacity(2048),
        }
    }

    pub fn now(&self) -> Time {
        self.now
    }

    /// Of the machines.
    pub fn next_deadline(&self) -> Option<Time> {
        self.machines.next_deadline()
    }

    /// When there is something to do, and be it at once.
    pub fn next_work(&self) -> Option<Time> {
        let work = self.routers.iter().filter(|router| router.has_work());
        work.map(|router| router.pause.unwrap_or(Time::ZERO)).min()
    }

    /// Everything is handed over and taken away.
    pub fn has_ended(&self) -> bool {
        self.is_stopping && self.routers.is_empty()
    }

    fn router(&mut self, id: RouterId) -> Option<&mut Router> {
        self.routers.iter_mut().find(|router| router.id == id)
    }

    fn note(&self, entry: Entry) {
        // One that does not fit is counted by the mailbox.
        let _ = self.journal.put(entry);
    }

    /// What goes wrong again and again is told once in a while.
    fn check<T>(&mut self, id: RouterId, doing: Doing, done: Result<T, Errno>) -> Option<T> {
        let now = self.now;
        match done {
            Ok(value) => Some(value),
            Err(errno) => {
                if self.router(id).is_some_and(|router| router.may_complain(now, doing)) {
                    self.note(Entry::Trouble { id, doing, errno });
                }
                None
            }
        }
    }
}

/// Machines and their actions.
impl<K: Kernel> Node<K> {
    fn tell(&mut self, id: RouterId, event: Event<'_>) {
        let outputs = self.machines.handle(self.now, id, event);
        self.carry_out(outputs);
    }

    fn tell_all(&mut self, event: Event<'_>) {
        let outputs = self.machines.handle_all(self.now, event);
        self.carry_out(outputs);
    }

    fn carry_out(&mut self, outputs: Outputs) {
        let mut silent: SmallVec<[RouterId; 2]> = SmallVec::new();
        for (id, action) in outputs {
            match action {
                Action::Advertise { priority, interval } => {
                    if !self.advertise(id, priority, interval) {
                        silent.push(id);
                    }
                }
                _ => self.act(id, action),
            }
        }
        for id in silent {
            let outputs = self.machines.handle(self.now, id, Event::SendFailed);
            debug_assert!(outputs.is_empty(), "nothing is to be done about an advert that cannot be sent");
        }
    }

    fn act(&mut self, id: RouterId, action: Action) {
        let (journal, utc) = (self.journal.clone(), self.kernel.utc());
        let Some(router) = self.router(id) else { return };
        match action {
            Action::Advertise { .. } => {}
            Action::AddAddresses => {
                router.holds = true;
                router.pending.add();
            }
            Action::RemoveAddresses => {
                router.holds = false;
                router.pending.remove();
            }
            Action::Announce { repeat } => router.pending.announce(repeat),
            Action::RoleChanged(change) => {
                router.board.counters.count_role(change.to);
                router.note_role(change, utc);
                let priority = router.tracking.effective().priority;
                let _ = journal.put(Entry::RoleChanged { id, change, priority });
            }
            Action::Notice(notice) => {
                router.board.counters.count_notice(notice);
                let _ = journal.put(Entry::Notice { id, notice });
            }
            Action::Stopped => router.has_stopped = true,
        }
    }

    /// To the group, or to every peer; `false`: nobody could be sent it.
    fn advertise(&mut self, id: RouterId, priority: u8, interval: Duration) -> bool {
        let Self { kernel, machines, routers, payload, .. } = self;
        let Some(router) = routers.iter_mut().find(|router| router.id == id) else { return false };
        let (Some(machine), Some(source), Some(door)) = (machines.get(id), router.source, router.door) else {
            return false;
        };
        let advert = machine.settings().advert(priority, interval);
        let mut failed = Errno::ENOTCONN;
        let mut sent = false;
        for destination in router.desired.destinations() {
            router.codec.encode(&advert, source, destination, kernel.utc(), payload);
            match kernel.send(door, payload, source, destination) {
                Ok(()) => sent = true,
                Err(errno) => failed = errno,
            }
        }
        if sent {
            router.board.counters.adverts_sent.inc();
        } else {
            router.board.counters.send_failures.inc();
            self.check::<()>(id, Doing::Send, Err(failed));
        }
        sent
    }
}

/// Addresses, a slice at a time.
impl<K: Kernel> Node<K> {
    fn work(&mut self) {
        let count = self.routers.len();
        for step in 0..count {
            let at = (self.turn + step) % count;
            if self.routers.get(at).is_some_and(|router| router.may_work(self.now)) {
                self.turn = at + 1;
                return self.work_on(at);
            }
        }
    }

    fn work_on(&mut self, at: usize) {
        let Some(router) = self.routers.get_mut(at) else { return };
        let id = router.id;
        router.pause = None;
        let Some(link) = router.link.clone() else {
            // With the interface, its addresses are gone.
            router.pending.clear();
            router.dropped.clear();
            return;
        };
        if !router.dropped.is_empty() {
            let rest = router.dropped.split_off(router.dropped.len().min(SLICE));
            let slice = std::mem::replace(&mut router.dropped, rest);
            let done = self.kernel.remove(link.index, &slice);
            self.check(id, Doing::Remove, done);
            return;
        }
        match router.pending.next(router.desired.addresses.len()) {
            Some(Slice::Add(range)) => {
                let done = self.kernel.add(link.index, &router.desired.addresses[range]);
                self.check(id, Doing::Add, done);
            }
            Some(Slice::Remove(range)) => {
                let done = self.kernel.remove(link.index, &router.desired.addresses[range]);
                self.check(id, Doing::Remove, done);
            }
            Some(Slice::Announce(range)) => self.announce(at, &link, range),
            None => {}
        }
    }

    fn announce(&mut self, at: usize, link: &Link, range: Range<usize>) {
        let (Some(mac), Some(router)) = (link.mac, self.routers.get_mut(at)) else { return };
        let Some(door) = router.door else { return };
        let forwards = self.kernel.forwards(link, router.desired.place.family);
        let addresses = router.desired.addresses.get(range.clone()).unwrap_or_default();
        let frames: Vec<Frame> = addresses.iter().map(|ip| announcement(ip.addr(), mac, forwards)).collect();
        match self.kernel.announce(door, &frames) {
            Ok(sent) => {
                router.board.counters.announcements.add(sent as u64);
                if sent < frames.len() {
                    router.pending.announce_from(range.start + sent);
                    router.pause = Some(self.now + FULL);
                }
            }
            Err(errno) => {
                let id = router.id;
                self.check::<()>(id, Doing::Announce, Err(errno));
            }
        }
    }

    /// Everything at once, slices or not.
    pub fn abandon(&mut self) {
        self.let_go();
        while self.next_work().is_some() {
            self.work();
        }
        self.bury();
    }

    /// Without a word to the machines: nobody takes over in an orderly way.
    fn let_go(&mut self) {
        self.is_stopping = true;
        let held: Vec<(RouterId, Duration)> = (self.routers.iter().filter(|router| router.holds))
            .map(|router| (router.id, router.desired.settings.interval))
            .collect();
        for (id, interval) in held {
            self.advertise(id, 0, interval);
            self.act(id, Action::RemoveAddresses);
        }
        for router in &mut self.routers {
            router.has_stopped = true;
        }
    }

    /// Those that have ended, and have nothing left.
    fn bury(&mut self) {
        while let Some(at) = self.routers.iter().position(Router::is_gone) {
            let router = self.routers.remove(at);
            self.machines.remove(router.id);
            if let Some(door) = router.door {
                self.kernel.close(door);
            }
            self.kernel.ignore(router.id);
            router.board.show(super::board::Shown::default());
            self.note(Entry::Stopped { id: router.id });
        }
    }
}

/// Reloads.
impl<K: Kernel> Node<K> {
    fn apply(&mut self, assigned: Vec<Assigned>) {
        let removed: Vec<RouterId> = (self.routers.iter().map(|router| router.id))
            .filter(|id| !assigned.iter().any(|assigned| assigned.id == *id))
            .collect();
        for id in removed {
            self.tell(id, Event::Stop);
        }
        // All are there before the first one starts: members of a group start as one.
        let mut new = Vec::new();
        for assigned in assigned {
            if self.router(assigned.id).is_some() {
                self.reconfigure(assigned);
            } else {
                new.push(assigned.id);
                self.insert(assigned);
            }
        }
        for id in new {
            self.start(id);
        }
    }

    fn group(&mut self, name: Option<&Arc<str>>) -> Option<GroupId> {
        let name = name?;
        let known = self.groups.iter().position(|group| group == name);
        let at = known.unwrap_or_else(|| {
            self.groups.push(name.clone());
            self.groups.len() - 1
        });
        GroupId::try_from(at).ok()
    }

    fn insert(&mut self, assigned: Assigned) {
        let group = self.group(assigned.desired.group.as_ref());
        let settings = assigned.desired.settings.clone();
        self.machines.insert(assigned.id, group, settings);
        self.routers.push(Router::new(assigned));
    }

    fn start(&mut self, id: RouterId) {
        let leftovers = self.look(id);
        self.look_at_tracked(id);
        self.tell(id, Event::Ready(self.is_ready));
        self.tell_effect(id);
        if let Some(router) = self.router(id) {
            let (link_up, source) = (router.is_up(), router.source);
            self.tell(id, Event::Started { link_up, source, leftovers });
        }
    }

    fn reconfigure(&mut self, assigned: Assigned) {
        let (id, desired) = (assigned.id, assigned.desired);
        let group = self.group(desired.group.as_ref());
        self.machines.set_group(id, group);
        let Some(router) = self.router(id) else { return };
        let before = std::mem::take(&mut router.desired.addresses);
        router.reconfigure(desired);
        let has_changed = before != router.desired.addresses;
        if router.holds && has_changed {
            let is_gone = |ip: &IpNet| !router.desired.addresses.contains(ip);
            router.dropped.extend(before.into_iter().filter(is_gone));
            router.pending.add();
            router.pending.announce(router.desired.settings.garp.repeat);
        }
        if has_changed {
            self.eavesdrop(id);
        }
        self.look_at_tracked(id);
        let Some(router) = self.router(id) else { return };
        let mut settings = router.desired.settings.clone();
        settings.priority = router.tracking.effective().priority;
        self.tell(id, Event::Reconfigured(&settings));
        self.tell_effect(id);
        self.look_and_tell(id);
    }

    fn observe(&mut self, id: RouterId, index: usize, is_up: bool) {
        let has_effect = self.router(id).is_some_and(|router| router.tracking.observe(index, is_up).is_some());
        if has_effect {
            self.tell_effect(id);
        }
    }

    fn tell_effect(&mut self, id: RouterId) {
        if let Some(router) = self.router(id) {
            let effective = router.tracking.effective();
            self.tell(id, Event::Tracked { priority: effective.priority, fault: effective.fault });
        }
    }
}

/// Interfaces and what stands on them.
impl<K: Kernel> Node<K> {
    /// Finds the interface, opens the way for adverts, and removes what a dead process has left of the addresses.
    fn look(&mut self, id: RouterId) -> bool {
        let Some(place) = self.router(id).map(|router| router.desired.place.clone()) else { return false };
        let found = self.kernel.link(&place.interface);
        let link = self.check(id, Doing::Look, found).flatten();
        self.attach(id, link);
        let Some(index) = self.router(id).and_then(|router| router.link.as_ref()).map(|link| link.index) else {
            return false;
        };
        let addresses = self.kernel.addresses(index);
        let addresses = self.check(id, Doing::Look, addresses).unwrap_or_default();
        let Some(router) = self.router(id) else { return false };
        router.source = router.find_source(&addresses);
        if router.holds {
            return false;
        }
        let wanted = &router.desired.addresses;
        let left: Vec<IpNet> =
            addresses.iter().filter(|a| a.ours && wanted.contains(&a.ip)).map(|address| address.ip).collect();
        if !left.is_empty() {
            let done = self.kernel.remove(index, &left);
            self.check(id, Doing::Remove, done);
        }
        !left.is_empty()
    }

    /// To the interface as it is now. One that went away and came back is another one.
    fn attach(&mut self, id: RouterId, link: Option<Link>) {
        let Some(router) = self.routers.iter_mut().find(|router| router.id == id) else { return };
        let who = |link: &Option<Link>| link.as_ref().map(|link| (link.index, link.mac));
        let is_same = who(&router.link) == who(&link);
        router.link = link.clone();
        if is_same && router.door.is_some() {
            return;
        }
        router.source = None;
        if let Some(door) = router.door.take() {
            self.kernel.close(door);
        }
        self.kernel.ignore(id);
        if let Some(link) = link {
            let opened = self.kernel.open(&link, &router.desired.place);
            let door = self.check(id, Doing::Open, opened);
            if let Some(router) = self.router(id) {
                router.door = door;
            }
            self.eavesdrop(id);
        }
    }

    fn eavesdrop(&mut self, id: RouterId) {
        let Some(router) = self.routers.iter().find(|router| router.id == id) else { return };
        if let Some(link) = &router.link {
            let addresses: Vec<IpAddr> = router.desired.addresses.iter().map(IpNet::addr).collect();
            let done = self.kernel.eavesdrop(id, link, &addresses);
            self.check(id, Doing::Open, done);
        }
    }

    fn look_and_tell(&mut self, id: RouterId) {
        self.look(id);
        let Some(router) = self.router(id) else { return };
        let (up, source) = (router.is_up(), router.source);
        self.tell(id, Event::Source(source));
        self.tell(id, Event::Link { up });
    }

    fn look_at_everything(&mut self) {
        let all: Vec<RouterId> = self.routers.iter().map(|router| router.id).collect();
        for id in all {
            self.look_and_tell(id);
            self.look_at_tracked(id);
            self.tell_effect(id);
            self.tell(id, Event::AddressGone);
        }
    }

    fn look_at_tracked(&mut self, id: RouterId) {
        let Some(router) = self.router(id) else { return };
        let names: Vec<String> = router
            .desired
            .track
            .iter()
            .filter_map(|track| match &track.what {
                Tracked::Interface(name) => Some(name.clone()),
                Tracked::Pool { .. } | Tracked::Script(_) => None,
            })
            .collect();
        for name in names {
            let found = self.kernel.link(&name);
            let is_up = self.check(id, Doing::Look, found).flatten().is_some_and(|link| link.up);
            if let Some(router) = self.router(id) {
                router.observe_interface(&name, is_up);
            }
        }
    }

    fn follow_link(&mut self, link: Link) {
        self.observe_interface(&link.name, link.up);
        for at in 0..self.routers.len() {
            let Some(router) = self.routers.get(at) else { return };
            let (id, known) = (router.id, router.link.as_ref());
            if router.desired.place.interface != link.name {
                // It was renamed, which for us is gone.
                if known.is_some_and(|known| known.index == link.index) {
                    self.lose(id);
                }
                continue;
            }
            if known.map(|known| known.index) != Some(link.index) {
                self.look_and_tell(id);
            } else if known != Some(&link) {
                self.attach(id, Some(link.clone()));
                self.touched.push(link.index);
                self.tell(id, Event::Link { up: link.up });
            }
        }
    }

    fn follow_loss(&mut self, index: u32, name: &str) {
        self.observe_interface(name, false);
        let lost: Vec<RouterId> = (self.routers.iter())
            .filter(|router| router.link.as_ref().is_some_and(|link| link.index == index))
            .map(|router| router.id)
            .collect();
        for id in lost {
            self.lose(id);
        }
    }

    fn lose(&mut self, id: RouterId) {
        self.attach(id, None);
        self.tell(id, Event::Link { up: false });
        self.tell(id, Event::Source(None));
    }

    fn observe_interface(&mut self, name: &str, is_up: bool) {
        let concerned: Vec<RouterId> = (self.routers.iter_mut())
            .filter_map(|router| router.observe_interface(name, is_up).then_some(router.id))
            .collect();
        for id in concerned {
            self.tell_effect(id);
        }
    }

    fn follow_address(&mut self, index: u32, address: Address, added: bool) {
        if !address.ours {
            self.touched.push(index);
        }
        if added {
            return;
        }
        let robbed: SmallVec<[RouterId; 2]> = (self.routers.iter())
            .filter(|router| router.holds && router.link.as_ref().is_some_and(|link| link.index == index))
            .filter(|router| router.desired.addresses.contains(&address.ip))
            .map(|router| router.id)
            .collect();
        for id in robbed {
            self.tell(id, Event::AddressGone);
        }
    }

    /// Once for all that happened in this turn.
    fn look_where_touched(&mut self) {
        let mut touched = std::mem::take(&mut self.touched);
        touched.sort_unstable();
        touched.dedup();
        for index in touched.drain(..) {
            let Ok(addresses) = self.kernel.addresses(index) else { continue };
            self.learn_addresses(index, &addresses);
        }
        self.touched = touched;
    }

    fn learn_addresses(&mut self, index: u32, addresses: &[Address]) {
        for at in 0..self.routers.len() {
            let Some(router) = self.routers.get_mut(at) else { return };
            if router.link.as_ref().is_none_or(|link| link.index != index) {
                continue;
            }
            let (id, source) = (router.id, router.find_source(addresses));
            if source != router.source {
                router.source = source;
                self.tell(id, Event::Source(source));
            }
        }
    }
}

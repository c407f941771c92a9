//! All virtual routers of this node between the network and their machines. It does not wait: [`super::head`] does, and
//! says what happened.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use nix::errno::Errno;
use smallvec::SmallVec;

use super::kernel::Network;
use super::letters::{Assigned, Command, Doing, Entry, Finding, Order, View};
use super::mailbox::Mailbox;
use super::router::Router;
use crate::machine::{Action, Event, Notice, Role};
use crate::packet::{Received, virtual_mac, vrid};
use crate::routers::{GroupId, Outputs, RouterId, Routers};
use crate::time::Time;

pub struct Node<N: Network> {
    pub network: N,
    /// When this turn began.
    now: Time,
    machines: Routers,
    routers: Vec<Router<N::Socket>>,
    groups: Vec<Arc<str>>,
    journal: Arc<Mailbox<Entry>>,
    is_ready: bool,
    is_stopping: bool,
    payload: Vec<u8>,
}

/// Whether somebody here speaks for the number in a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    Ours,
    Stranger,
}

/// What happens.
impl<N: Network> Node<N> {
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
            Command::Abandon => self.abandon(),
        }
    }

    /// It could not run for so long.
    pub fn woken(&mut self, gap: Duration) {
        self.tell_all(Event::Woken { gap });
    }

    pub fn receive(&mut self, door: u32, received: &Received<'_>) -> Known {
        let (now, utc, number) = (self.now, self.network.utc(), vrid(received.payload));
        let is_meant = |router: &&mut Router<N::Socket>| {
            Some(router.desired.place.vrid) == number && router.hears(door).is_some() && !router.has_stopped
        };
        let Some(router) = self.routers.iter_mut().find(is_meant) else { return Known::Stranger };
        let id = router.id;
        match router.codec.decode(received, utc) {
            Ok(advert) => {
                router.board.counters.adverts_received.inc();
                self.tell(id, Event::Advert { from: received.source, advert: &advert });
            }
            Err(error) => {
                if router.count_error(now, &error) {
                    self.note(Entry::Dropped { id, from: received.source, error });
                }
            }
        }
        Known::Ours
    }

    pub fn found(&mut self, finding: Finding<N::Socket>) {
        match finding {
            Finding::Interface { name, up } => self.observe_interface(&name, up),
            Finding::Seen { id, view } => self.see(id, view),
            Finding::Looked { id, leftovers } => self.start(id, leftovers),
            Finding::Robbed(id) => self.tell(id, Event::AddressGone),
            Finding::Contested(id) => self.tell(id, Event::Conflict),
            Finding::Released(id) => self.bury(id),
        }
    }

    /// It is [`Node::next_deadline`] or later.
    pub fn expire(&mut self) {
        let outputs = self.machines.expire(self.now);
        self.carry_out(outputs);
    }

    /// After everything else: what status shows.
    pub fn show(&mut self) {
        for router in &mut self.routers {
            if let Some(machine) = self.machines.get(router.id) {
                router.show(machine);
            }
        }
    }
}

impl<N: Network> Node<N> {
    pub fn new(network: N, journal: Arc<Mailbox<Entry>>) -> Self {
        Self {
            network,
            now: Time::ZERO,
            machines: Routers::default(),
            routers: Vec::new(),
            groups: Vec::new(),
            journal,
            is_ready: true,
            is_stopping: false,
            payload: Vec::with_capacity(2048),
        }
    }

    pub fn next_deadline(&self) -> Option<Time> {
        self.machines.next_deadline()
    }

    /// Everything is handed over and taken away.
    pub fn has_ended(&self) -> bool {
        self.is_stopping && self.routers.is_empty()
    }

    pub fn socket(&self, door: u32) -> Option<&N::Socket> {
        self.routers.iter().find_map(|router| router.hears(door)).map(|door| &door.socket)
    }

    fn router(&mut self, id: RouterId) -> Option<&mut Router<N::Socket>> {
        self.routers.iter_mut().find(|router| router.id == id)
    }

    fn note(&self, entry: Entry) {
        // One that does not fit is counted by the mailbox.
        let _ = self.journal.put(entry);
    }
}

/// Machines and their actions.
impl<N: Network> Node<N> {
    fn tell(&mut self, id: RouterId, event: Event<'_>) {
        let outputs = self.machines.handle(self.now, id, event);
        self.carry_out(outputs);
    }

    fn tell_all(&mut self, event: Event<'_>) {
        let outputs = self.machines.handle_all(self.now, event);
        self.carry_out(outputs);
    }

    fn carry_out(&mut self, outputs: Outputs) {
        for (id, action) in outputs {
            match action {
                Action::Advertise { priority, interval } => {
                    if !self.advertise(id, priority, interval) {
                        // Nothing is to be done about it but to know.
                        self.machines.handle(self.now, id, Event::SendFailed);
                    }
                }
                Action::AddAddresses => self.hold(id, true),
                Action::RemoveAddresses => self.hold(id, false),
                Action::Announce { repeat } => self.network.order(Order::Announce { id, repeat }),
                Action::RoleChanged(change) => {
                    let utc = self.network.utc();
                    let Some(router) = self.router(id) else { continue };
                    router.board.counters.count_role(change.to);
                    router.note_role(change, utc);
                    let priority = router.tracking.effective().priority;
                    self.note(Entry::RoleChanged { id, change, priority });
                }
                Action::Notice(notice) => {
                    let (now, utc) = (self.now, self.network.utc());
                    let Some(router) = self.router(id) else { continue };
                    if let Notice::Late { hold, .. } = notice {
                        router.note_hold(hold, utc);
                    }
                    if router.count_notice(now, notice) {
                        self.note(Entry::Notice { id, notice });
                    }
                }
                Action::Stopped => self.release(id),
            }
        }
    }

    fn hold(&mut self, id: RouterId, holds: bool) {
        self.router(id).into_iter().for_each(|router| router.board.are_ours.store(holds, Ordering::Release));
        self.network.order(if holds { Order::Hold(id) } else { Order::LetGo(id) });
    }

    /// To the group, or to every peer; `false`: nobody could be sent it.
    fn advertise(&mut self, id: RouterId, priority: u8, interval: Duration) -> bool {
        let Self { network, machines, routers, payload, .. } = self;
        let Some(router) = routers.iter_mut().find(|router| router.id == id) else { return false };
        let Some(machine) = machines.get(id) else { return false };
        let advert = machine.settings().advert(priority, interval);
        let View { door, virtual_door, .. } = &router.view;
        // RFC 9568 section 7.2: all adverts of an active router come from the virtual MAC, the first one too.
        let place = &router.desired.place;
        let is_bare = place.virtual_mac && virtual_door.is_none() && machine.role() == Role::Active;
        let disguise = is_bare.then(|| virtual_mac(place.family.group(), place.vrid));
        let mut done = Err(Errno::ENOTCONN);
        if let (Some(source), Some(door)) = (machine.source(), virtual_door.as_ref().or(door.as_ref())) {
            for destination in router.desired.destinations() {
                router.codec.encode(&advert, source, destination, network.utc(), payload);
                let sent = match disguise.filter(|_| destination.is_multicast()) {
                    Some(mac) => network.send_disguised(&door.socket, payload, source, mac),
                    None => network.send(&door.socket, payload, source, destination),
                };
                if done.is_err() {
                    done = sent;
                }
            }
        }
        self.count_advert(id, done)
    }

    fn count_advert(&mut self, id: RouterId, done: Result<(), Errno>) -> bool {
        let now = self.now;
        let Some(router) = self.router(id) else { return false };
        let counters = &router.board.counters;
        if done.is_ok() {
            counters.adverts_sent.inc()
        } else {
            counters.send_failures.inc()
        }
        if let Err(errno) = done
            && router.complaints.may(now, Doing::Send)
        {
            self.note(Entry::Trouble { id, doing: Doing::Send, errno });
        }
        done.is_ok()
    }

    fn release(&mut self, id: RouterId) {
        self.router(id).into_iter().for_each(|router| router.has_stopped = true);
        self.network.order(Order::Release(id));
    }

    /// Without a word to the machines: nobody takes over in an orderly way.
    pub fn abandon(&mut self) {
        self.is_stopping = true;
        let all: Vec<(RouterId, Duration)> =
            self.routers.iter().map(|router| (router.id, router.desired.settings.interval)).collect();
        for (id, interval) in all {
            if self.machines.get(id).is_some_and(|machine| machine.role() == crate::machine::Role::Active) {
                self.advertise(id, 0, interval);
                self.hold(id, false);
            }
            self.release(id);
            self.machines.remove(id);
        }
    }

    /// Nothing of it is left.
    fn bury(&mut self, id: RouterId) {
        let Some(at) = self.routers.iter().position(|router| router.id == id) else { return };
        self.change_view(id, View::default());
        let router = self.routers.remove(at);
        self.machines.remove(id);
        router.board.show(super::board::Shown::default());
        self.note(Entry::Stopped { id });
    }
}

/// Reloads.
impl<N: Network> Node<N> {
    fn apply(&mut self, assigned: Vec<Assigned>) {
        let removed: Vec<RouterId> = (self.routers.iter().map(|router| router.id))
            .filter(|id| !assigned.iter().any(|assigned| assigned.id == *id))
            .collect();
        for id in removed {
            self.tell(id, Event::Stop);
        }
        for assigned in assigned {
            match self.router(assigned.id).is_some() {
                true => self.reconfigure(assigned),
                false => self.insert(assigned),
            }
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

    /// It starts when the hands have looked at its interface.
    fn insert(&mut self, assigned: Assigned) {
        let group = self.group(assigned.desired.group.as_ref());
        self.machines.insert(assigned.id, group, assigned.desired.settings.clone());
        let router = Router::new(assigned);
        self.network.order(Order::Keep(Box::new(router.charge())));
        self.routers.push(router);
    }

    fn start(&mut self, id: RouterId, leftovers: bool) {
        self.tell(id, Event::Ready(self.is_ready));
        self.tell_effect(id);
        let Some(router) = self.router(id) else { return };
        let (link_up, source) = (router.view.up, router.view.source);
        self.tell(id, Event::Started { link_up, source, leftovers });
    }

    fn reconfigure(&mut self, assigned: Assigned) {
        let (id, desired) = (assigned.id, assigned.desired);
        let group = self.group(desired.group.as_ref());
        self.machines.set_group(id, group);
        let Some(router) = self.router(id) else { return };
        router.reconfigure(desired);
        let charge = router.charge();
        let mut settings = router.desired.settings.clone();
        settings.priority = router.tracking.effective().priority;
        // Before what the machine wants done with the addresses.
        self.network.order(Order::Keep(Box::new(charge)));
        self.tell(id, Event::Reconfigured(&settings));
        self.tell_effect(id);
    }
}

/// What is seen.
impl<N: Network> Node<N> {
    fn see(&mut self, id: RouterId, view: View<N::Socket>) {
        let (up, source) = (view.up, view.source);
        self.change_view(id, view);
        // An interface that is down comes before what goes with it, and one that is up after what comes with it.
        let mut events = [Event::Source(source), Event::Link { up }];
        if !up {
            events.reverse();
        }
        events.into_iter().for_each(|event| self.tell(id, event));
    }

    /// Listens at each door once, however many virtual routers share it.
    fn change_view(&mut self, id: RouterId, view: View<N::Socket>) {
        for door in view.doors() {
            if self.socket(door.number).is_none()
                && let Err(errno) = self.network.watch(door)
            {
                self.note(Entry::Trouble { id, doing: Doing::Open, errno });
            }
        }
        let Some(router) = self.router(id) else { return };
        let before = std::mem::replace(&mut router.view, view);
        for door in before.doors().filter(|door| self.routers.iter().all(|router| router.hears(door.number).is_none()))
        {
            self.network.unwatch(door);
        }
    }

    fn observe(&mut self, id: RouterId, index: usize, is_up: bool) {
        let effect = self.router(id).and_then(|router| router.tracking.observe(index, is_up));
        if let Some(effect) = effect {
            self.note(Entry::Tracked { id, index, is_up, effect });
            self.tell_effect(id);
        }
    }

    fn observe_interface(&mut self, name: &str, is_up: bool) {
        let concerned = self.routers.iter().filter_map(|router| Some((router.id, router.tracks_interface(name)?)));
        let concerned: SmallVec<[(RouterId, usize); 4]> = concerned.collect();
        for (id, index) in concerned {
            self.observe(id, index, is_up);
        }
    }

    fn tell_effect(&mut self, id: RouterId) {
        if let Some(router) = self.router(id) {
            let effective = router.tracking.effective();
            self.tell(id, Event::Tracked { priority: effective.priority, fault: effective.fault });
        }
    }
}

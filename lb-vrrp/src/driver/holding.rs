//! One virtual router, as the hands know it: an interface, addresses, and what is still to be done with them.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::letters::{Charge, Doing, Door, View};
use super::slices::Pending;
use crate::net::{Address, Link};
use crate::packet::Family;
use crate::time::Time;

/// One line about what goes wrong in so long.
const QUIET: Duration = Duration::from_secs(60);

pub struct Holding<S> {
    pub charge: Charge,
    /// The interface that the file names, while it is there.
    pub link: Option<Link>,
    /// The one on it with the virtual MAC, where there is one.
    pub virtual_link: Option<Link>,
    /// What adverts leave by.
    pub way: Option<Link>,
    pub view: View<S>,
    /// The last address that there was to send from.
    pub known_source: Option<IpAddr>,
    /// The addresses are to be there.
    pub holds: bool,
    pub pending: Pending,
    /// A reload took them out, and they are still there.
    pub dropped: Vec<IpNet>,
    /// Nothing is announced before: frames are to be spaced, or the queue of the interface was full.
    pub pause: Option<Time>,
    /// Ends when nothing is left.
    pub is_released: bool,
    pub complaints: Complaints,
}

/// What went wrong last, so that it is not told again and again.
#[derive(Debug, Default)]
pub struct Complaints(Option<(Doing, Time)>);

impl Complaints {
    pub fn may(&mut self, now: Time, doing: Doing) -> bool {
        let is_repeated = self.0.is_some_and(|(what, at)| what == doing && now.since(at) < QUIET);
        if !is_repeated {
            self.0 = Some((doing, now));
        }
        !is_repeated
    }
}

impl<S> Holding<S> {
    pub fn new(charge: Charge) -> Self {
        Self {
            charge,
            link: None,
            virtual_link: None,
            way: None,
            view: View::default(),
            known_source: None,
            holds: false,
            pending: Pending::default(),
            dropped: Vec::new(),
            pause: None,
            is_released: false,
            complaints: Complaints::default(),
        }
    }

    /// Where the addresses stand.
    pub fn ground(&self) -> Option<&Link> {
        if self.charge.place.virtual_mac { self.virtual_link.as_ref() } else { self.link.as_ref() }
    }

    /// When it has something to do, and be it at once.
    pub fn next_work(&self) -> Option<Time> {
        if self.pending.changes() || !self.dropped.is_empty() {
            return Some(Time::ZERO);
        }
        (!self.pending.is_empty()).then(|| self.pause.unwrap_or(Time::ZERO))
    }

    pub fn forget_work(&mut self) {
        self.pending.clear();
        self.dropped.clear();
    }

    pub fn is_gone(&self) -> bool {
        self.is_released && self.next_work().is_none()
    }

    /// `true`: the addresses are others than before.
    pub fn replace(&mut self, charge: Charge) -> bool {
        let before = std::mem::replace(&mut self.charge, charge);
        let has_changed = before.addresses != self.charge.addresses;
        if self.holds && has_changed {
            let is_gone = |ip: &IpNet| !self.charge.addresses.contains(ip);
            self.dropped.extend(before.addresses.into_iter().filter(is_gone));
            self.pending.add();
            self.pending.announce(self.charge.repeat);
        }
        has_changed
    }

    /// Forgets the interface; gives back what was used of it.
    pub fn leave(&mut self) -> (Option<Link>, Option<Link>, Option<Door<S>>) {
        self.view.up = false;
        self.view.source = None;
        self.known_source = None;
        self.view.virtual_door = None;
        self.way = None;
        self.forget_work();
        (self.link.take(), self.virtual_link.take(), self.view.door.take())
    }

    /// The node's own address where the file names it; else the interface's primary one, or for IPv6 the link-local one
    /// (RFC 9568 section 5.1.2.1). None that is still probed for duplicates, but the one that was there before.
    pub fn find_source(&self, addresses: &[Address]) -> Option<IpAddr> {
        let v6 = self.charge.place.family == Family::V6;
        let is_back = |address: &Address| Some(address.ip.addr()) == self.known_source && !address.dad_failed;
        let is_usable = |a: &&Address| a.ip.addr().is_ipv6() == v6 && !a.ours && (a.is_usable() || is_back(a));
        let mut usable = addresses.iter().filter(is_usable);
        let found = match self.charge.source {
            Some(source) => usable.find(|address| address.ip.addr() == source),
            None if v6 => usable.find(|address| address.is_link_local()),
            // One that came after a virtual address of its network is secondary.
            None => usable.clone().find(|address| !address.secondary).or_else(|| usable.next()),
        };
        found.map(|address| address.ip.addr())
    }

    /// As seen now.
    pub fn see_source(&mut self, addresses: &[Address]) {
        self.view.source = self.find_source(addresses);
        self.known_source = self.view.source.or(self.known_source);
    }

    /// Whether addresses of that interface matter. While the one to send from is nowhere, it may come anywhere.
    pub fn depends_on(&self, index: u32) -> bool {
        let is = |link: &Option<Link>| link.as_ref().is_some_and(|link| link.index == index);
        is(&self.link) || is(&self.way) || self.charge.source.is_some() && self.view.source.is_none()
    }
}

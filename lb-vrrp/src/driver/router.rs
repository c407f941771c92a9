//! One virtual router, as the thread keeps it: all but its machine.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use lb_core::config::Tracked;

use super::board::{Board, Shown};
use super::desired::Desired;
use super::kernel::Door;
use super::letters::{Assigned, Doing};
use super::slices::Pending;
use crate::machine::Machine;
use crate::net::{Address, Link};
use crate::packet::{Codec, Family, PacketError};
use crate::priority::Tracking;
use crate::routers::RouterId;
use crate::time::Time;

/// One line about packets of a kind in so long.
const QUIET: Duration = Duration::from_secs(60);

pub struct Router {
    pub id: RouterId,
    pub board: Arc<Board>,
    pub desired: Desired,
    pub codec: Codec,
    pub tracking: Tracking,
    /// The interface of its addresses, while it is there.
    pub link: Option<Link>,
    pub door: Option<Door>,
    /// What adverts are sent from.
    pub source: Option<IpAddr>,
    /// The addresses are to be on the interface.
    pub holds: bool,
    pub pending: Pending,
    /// The queue of its interface was full: work goes on then.
    pub pause: Option<Time>,
    /// A reload took them out, and they are still there.
    pub dropped: Vec<IpNet>,
    /// Its machine has ended.
    pub has_stopped: bool,
    shown: Shown,
    reported: [Option<Time>; PacketError::LABELS.len()],
    complained: Option<(Doing, Time)>,
}

impl Router {
    pub fn new(assigned: Assigned) -> Self {
        let Assigned { id, desired, board } = assigned;
        Self {
            id,
            board,
            codec: Codec::new(desired.wire.clone()),
            tracking: desired.tracking(),
            desired,
            link: None,
            door: None,
            source: None,
            holds: false,
            pending: Pending::default(),
            pause: None,
            dropped: Vec::new(),
            has_stopped: false,
            shown: Shown::default(),
            reported: Default::default(),
            complained: None,
        }
    }

    pub fn has_work(&self) -> bool {
        !self.pending.is_empty() || !self.dropped.is_empty()
    }

    pub fn may_work(&self, now: Time) -> bool {
        self.has_work() && self.pause.is_none_or(|pause| pause <= now)
    }

    /// Ended, and nothing of it is left.
    pub fn is_gone(&self) -> bool {
        self.has_stopped && !self.has_work()
    }

    pub fn is_up(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.up)
    }

    /// What adverts can be sent from: the node's own address where the file names it; else the interface's primary one,
    /// or for IPv6 the link-local one (RFC 9568 section 5.1.2.1). None that is still probed for duplicates.
    pub fn find_source(&self, addresses: &[Address]) -> Option<IpAddr> {
        let v6 = self.desired.place.family == Family::V6;
        let mut usable = addresses.iter().filter(|a| a.ip.addr().is_ipv6() == v6 && !a.ours && a.is_usable());
        let found = match self.desired.source {
            Some(source) => usable.find(|address| address.ip.addr() == source),
            None if v6 => usable.find(|address| address.is_link_local()),
            None => usable.find(|address| !address.secondary),
        };
        found.map(|address| address.ip.addr())
    }

    /// `true`: the state of that interface matters to it.
    pub fn observe_interface(&mut self, name: &str, is_up: bool) -> bool {
        let mut changed = false;
        for (index, track) in self.desired.track.iter().enumerate() {
            if matches!(&track.what, Tracked::Interface(tracked) if tracked == name) {
                changed |= self.tracking.observe(index, is_up).is_some();
            }
        }
        changed
    }

    /// What was seen of the things that a reload keeps is still so.
    pub fn reconfigure(&mut self, desired: Desired) {
        let mut tracking = desired.tracking();
        for (index, track) in desired.track.iter().enumerate() {
            let before = self.desired.track.iter().position(|known| known.what == track.what);
            if let Some(known) = before.and_then(|before| self.tracking.trackers().get(before)) {
                tracking.observe(index, known.is_up);
            }
        }
        self.tracking = tracking;
        self.codec.reconfigure(desired.wire.clone());
        self.desired = desired;
    }

    /// Counts a packet that is dropped; `true`: the first of its kind in a while.
    pub fn count_error(&mut self, now: Time, error: &PacketError) -> bool {
        self.board.counters.count_error(error);
        let label = error.label();
        let Some(at) = PacketError::LABELS.iter().position(|known| *known == label) else { return false };
        let is_news = self.reported[at].is_none_or(|reported| now.since(reported) >= QUIET);
        if is_news {
            self.reported[at] = Some(now);
        }
        is_news
    }

    /// Whether something that goes wrong may be told now.
    pub fn may_complain(&mut self, now: Time, doing: Doing) -> bool {
        let is_repeated = self.complained.is_some_and(|(what, at)| what == doing && now.since(at) < QUIET);
        if !is_repeated {
            self.complained = Some((doing, now));
        }
        !is_repeated
    }

    /// Why its role is what it is.
    pub fn note_role(&mut self, change: crate::machine::RoleChange, utc: Duration) {
        self.shown.since = utc;
        self.shown.reason = Some(change.reason);
    }

    /// Shows what has changed. A role that changed more than once since shows where it ended.
    pub fn show(&mut self, machine: &Machine) {
        let new = Shown {
            role: machine.role(),
            is_leaving: machine.is_leaving(),
            priority: machine.settings().priority,
            active_router: machine.active_router(),
            source: self.source,
            since: self.shown.since,
            reason: self.shown.reason,
            tracked: self.tracking.trackers().iter().map(|tracker| tracker.is_up).collect(),
        };
        if new != *self.board.shown() {
            self.board.show(new.clone());
            self.shown = new;
        }
    }
}

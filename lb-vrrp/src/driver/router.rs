//! One virtual router, as the head keeps it beside its machine.

use std::sync::Arc;
use std::time::Duration;

use lb_core::config::Tracked;
use smallvec::SmallVec;

use super::board::{Board, Shown};
use super::desired::Desired;
use super::holding::Complaints;
use super::letters::{Assigned, Charge, Door, View};
use crate::machine::{Machine, Notice, Role, RoleChange};
use crate::packet::{Codec, PacketError};
use crate::priority::Tracking;
use crate::routers::RouterId;
use crate::time::Time;

/// One line about things of a kind in so long.
const QUIET: Duration = Duration::from_secs(60);

/// What the log has been told, and when.
#[derive(Debug, Default)]
struct Told(SmallVec<[(&'static str, Time); 4]>);

impl Told {
    /// Labels are few, so the list is short.
    fn is_news(&mut self, now: Time, label: &'static str) -> bool {
        self.0.retain(|(_, at)| now.since(*at) < QUIET);
        let is_known = self.0.iter().any(|(known, _)| *known == label);
        if !is_known {
            self.0.push((label, now));
        }
        !is_known
    }
}

pub struct Router<S> {
    pub id: RouterId,
    pub board: Arc<Board>,
    pub desired: Desired,
    pub codec: Codec,
    pub tracking: Tracking,
    pub view: View<S>,
    /// Its machine has ended.
    pub has_stopped: bool,
    pub complaints: Complaints,
    shown: Shown,
    told: Told,
}

impl<S> Router<S> {
    pub fn new(assigned: Assigned) -> Self {
        let Assigned { id, desired, board } = assigned;
        Self {
            id,
            board,
            codec: Codec::new(desired.wire.clone()),
            tracking: desired.tracking(),
            desired,
            view: View::default(),
            has_stopped: false,
            complaints: Complaints::default(),
            shown: Shown::default(),
            told: Told::default(),
        }
    }

    pub fn charge(&self) -> Charge {
        let Desired { place, accept, source, addresses, spacing, settings, track, .. } = &self.desired;
        let tracked = track.iter().filter_map(|track| match &track.what {
            Tracked::Interface(name) => Some(name.clone()),
            Tracked::Pool { .. } | Tracked::Script(_) => None,
        });
        Charge {
            id: self.id,
            place: place.clone(),
            accept: *accept,
            source: *source,
            addresses: addresses.clone(),
            repeat: settings.garp.repeat,
            spacing: *spacing,
            tracked: tracked.collect(),
            board: self.board.clone(),
        }
    }

    pub fn hears(&self, door: u32) -> Option<&Door<S>> {
        self.view.doors().find(|known| known.number == door)
    }

    /// Where it stands among what is tracked.
    pub fn tracks_interface(&self, name: &str) -> Option<usize> {
        let is_it = |what: &Tracked| matches!(what, Tracked::Interface(tracked) if tracked == name);
        self.desired.track.iter().position(|track| is_it(&track.what))
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
        self.told.is_news(now, error.label())
    }

    /// The same for what is odd. What ends a handover is always news.
    pub fn count_notice(&mut self, now: Time, notice: Notice) -> bool {
        self.board.counters.count_notice(notice);
        matches!(notice, Notice::NobodyTookOver | Notice::NothingToYield) || self.told.is_news(now, notice.label())
    }

    /// When and why its role is what it is.
    pub fn note_role(&mut self, change: RoleChange, utc: Duration) {
        self.shown.since = utc;
        self.shown.reason = Some(change.reason);
        if change.to == Role::Active {
            self.shown.held_until = None;
        }
    }

    /// How long it does not take over from who is active.
    pub fn note_hold(&mut self, hold: Duration, utc: Duration) {
        self.shown.held_until = Some(utc + hold);
    }

    /// Shows what has changed.
    pub fn show(&mut self, machine: &Machine) {
        let new = Shown {
            role: machine.role(),
            is_leaving: machine.is_leaving(),
            priority: machine.settings().priority,
            active_router: machine.active_router(),
            source: self.view.source,
            since: self.shown.since,
            reason: self.shown.reason,
            held_until: self.shown.held_until,
            tracked: self.tracking.trackers().iter().map(|tracker| tracker.is_up).collect(),
        };
        if new != *self.board.shown() {
            self.board.show(new.clone());
            self.shown = new;
        }
    }
}

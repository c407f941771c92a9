//! The address that adverts are sent from.
//!
//! Whoever configures an interface anew (systemd-networkd, NetworkManager, a DHCP client that renews its lease) takes
//! its addresses away and puts them back, a fraction of a second apart. A router that gave up its role for that would
//! hand everything over for nothing; so an active one goes on for a while, and sends from the address that it had. Its
//! peers notice nothing, and nobody else takes the addresses meanwhile.

use std::net::IpAddr;
use std::time::Duration;

use super::{Action, Actions, Machine, Notice, Reason, State};
use crate::time::Time;

/// How long an active router goes on without its address. Without one it may be deaf to its peers (to unicast), so no
/// longer than a person would wait.
pub const GRACE: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Source {
    /// The last one there was.
    address: Option<IpAddr>,
    presence: Presence,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Presence {
    Present,
    /// It may come back before this.
    Missing(Time),
    Gone,
}

impl Machine {
    pub(super) fn see_source(&mut self, now: Time, source: Option<IpAddr>, out: &mut Actions) {
        let is_missing = self.conditions.source.see(now, source);
        if let (true, State::Active(_), Some(address)) = (is_missing, &self.state, self.source()) {
            out.push(Action::Notice(Notice::SourceMissing { address }));
        }
        self.follow_conditions(now, Reason::HasSource, out);
    }

    pub(super) fn give_source_up(&mut self, now: Time, out: &mut Actions) {
        if self.conditions.source.give_up() {
            self.follow_conditions(now, Reason::HasSource, out);
        }
    }

    /// Who is not active has nothing to hand over, and without an address it may be deaf: it takes no part.
    pub(super) fn wait_only_while_active(&mut self, now: Time, out: &mut Actions) {
        if !matches!(self.state, State::Active(_)) {
            self.give_source_up(now, out);
        }
    }
}

impl Source {
    pub fn none() -> Self {
        Self { address: None, presence: Presence::Gone }
    }

    /// To send from, be it there or not.
    pub fn address(&self) -> Option<IpAddr> {
        self.address
    }

    pub fn is_gone(&self) -> bool {
        self.presence == Presence::Gone
    }

    pub fn deadline(&self) -> Option<Time> {
        if let Presence::Missing(until) = self.presence { Some(until) } else { None }
    }

    /// As seen on the interface. `true`: it is missing from now on.
    pub fn see(&mut self, now: Time, found: Option<IpAddr>) -> bool {
        match (found, &self.presence) {
            (Some(address), _) => *self = Self { address: Some(address), presence: Presence::Present },
            (None, Presence::Present) => {
                self.presence = Presence::Missing(now + GRACE);
                return true;
            }
            (None, Presence::Missing(_) | Presence::Gone) => {}
        }
        false
    }

    /// Peers do not hear of us: before they can have taken over, it is to be given up.
    pub fn hurry(&mut self, now: Time) {
        if let Presence::Missing(until) = &mut self.presence {
            *until = (*until).min(now);
        }
    }

    /// Nobody waits for it (any longer); `true`: it was missing.
    pub fn give_up(&mut self) -> bool {
        let was_missing = matches!(self.presence, Presence::Missing(_));
        if was_missing {
            self.presence = Presence::Gone;
        }
        was_missing
    }
}

#[cfg(test)]
impl Source {
    pub fn time(&mut self) -> Option<&mut Time> {
        if let Presence::Missing(until) = &mut self.presence { Some(until) } else { None }
    }
}

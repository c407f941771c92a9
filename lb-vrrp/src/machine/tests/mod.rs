//! One test for each rule, named after it.

mod active;
mod announce;
mod backup;
mod conditions;
mod frozen;
mod lateness;
mod leaving;
mod model;
mod reload;
mod source;
mod timers;

use std::net::IpAddr;
use std::time::Duration;

use super::*;
use crate::packet::{Addresses, Family, Version};

pub const MS: Duration = Duration::from_millis(1);
pub const SECOND: Duration = Duration::from_secs(1);
/// Ours is 10.0.0.2.
pub const LOW: &str = "10.0.0.1";
pub const OWN: &str = "10.0.0.2";
pub const HIGH: &str = "10.0.0.3";

pub fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address in a test")
}

/// v3 over IPv4, priority 100, every 100 ms, preempting at once.
pub fn settings() -> Settings {
    Settings {
        version: Version::V3,
        family: Family::V4,
        vrid: 51,
        priority: 100,
        interval: 100 * MS,
        preempt: Preempt::After(Duration::ZERO),
        garp: Garp::default(),
        addresses: Addresses::from_slice(&[ip("192.0.2.10")]),
    }
}

/// A machine and its clock.
#[derive(Clone)]
pub struct Node {
    pub machine: Machine,
    pub now: Time,
}

impl Node {
    pub fn new(settings: Settings) -> Self {
        Self { machine: Machine::new(settings), now: Time::ZERO + 1000 * SECOND }
    }

    /// Started on a link that is up.
    pub fn backup(settings: Settings) -> Self {
        let mut node = Self::new(settings);
        node.handle(Event::Started { link_up: true, source: Some(ip(OWN)), leftovers: false });
        node
    }

    /// Active after hearing nothing.
    pub fn active(settings: Settings) -> Self {
        let mut node = Self::backup(settings);
        node.run_out();
        assert_eq!(node.machine.role(), Role::Active);
        node
    }

    pub fn handle(&mut self, event: Event<'_>) -> Actions {
        self.machine.handle(self.now, event)
    }

    /// An advert at the interval that the machine has.
    pub fn hear(&mut self, from: &str, priority: u8) -> Actions {
        let interval = self.machine.settings().interval;
        self.hear_at_interval(from, priority, interval)
    }

    pub fn hear_at_interval(&mut self, from: &str, priority: u8, interval: Duration) -> Actions {
        let advert = self.machine.settings().advert(priority, interval);
        self.handle(Event::Advert { from: ip(from), advert: &advert })
    }

    pub fn wait(&mut self, time: Duration) -> &mut Self {
        self.now += time;
        self
    }

    /// Until the machine wants to be called, and call it.
    pub fn run_out(&mut self) -> Actions {
        self.now = self.now.max(self.machine.next_deadline().expect("something to wait for"));
        self.handle(Event::Timer)
    }

    /// All that it does until then, in time.
    pub fn run_for(&mut self, time: Duration) -> Vec<(Duration, Action)> {
        let (begin, end) = (self.now, self.now + time);
        let mut done = Vec::new();
        while let Some(deadline) = self.machine.next_deadline().filter(|deadline| *deadline <= end) {
            self.now = deadline.max(self.now);
            done.extend(self.handle(Event::Timer).into_iter().map(|action| (self.now.since(begin), action)));
        }
        self.now = end;
        done
    }

    /// How long until the machine wants to be called.
    pub fn patience(&self) -> Duration {
        self.machine.next_deadline().expect("something to wait for").since(self.now)
    }

    pub fn role(&self) -> Role {
        self.machine.role()
    }
}

/// At the interval of `settings()`.
pub fn advertise(priority: u8) -> Action {
    Action::Advertise { priority, interval: 100 * MS }
}

/// Why the role changed, if it did.
pub fn reason(actions: &[Action]) -> Option<Reason> {
    actions.iter().find_map(|action| match action {
        Action::RoleChanged(change) => Some(change.reason),
        _ => None,
    })
}

pub fn notices(actions: &[Action]) -> Vec<Notice> {
    let notice = |action: &Action| if let Action::Notice(notice) = action { Some(*notice) } else { None };
    actions.iter().filter_map(notice).collect()
}

/// All but notices and role changes.
pub fn deeds(actions: &[Action]) -> Vec<Action> {
    let is_deed = |action: &&Action| !matches!(action, Action::Notice(_) | Action::RoleChanged(_));
    actions.iter().filter(is_deed).copied().collect()
}

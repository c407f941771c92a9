//! One virtual router on this node.
//!
//! ```text
//!                       +------------+
//!            +--------->| Initialize |<--------------+
//!            |          +------------+               |
//!            | stop       |  started            stop |
//!            |            |                          |
//!            |    link down, tracked down            |
//!            |  +---> Fault    Waiting <--- no address to send from
//!            |  |        |        |                  |
//!            |  |        v        v     owner        |
//!        +----------+ <-----------------------> +----------+
//!        |  Backup  |---- silence, preempt ---->|  Active  |
//!        +----------+<--- higher, frozen, ------+----------+
//!                         yield
//! ```
//!
//! RFC 9568 section 6.3 has Initialize, Backup and Active. Fault and Waiting are parts of its Initialize that a person
//! wants to see by name.
//!
//! | file | what it does |
//! |---|---|
//! | `event.rs` | what can happen to it |
//! | `action.rs` | what it wants done |
//! | `settings.rs`, `timers.rs` | what it is configured to do, and how long that makes it wait |
//! | `backup.rs`, `active.rs` | the two roles of RFC 9568 sections 6.4.2 and 6.4.3 |
//! | `leaving.rs` | handing over |
//! | `farewell.rs` | what is said when the addresses are gone |
//! | `noticed.rs` | what is odd about the others |
//! | `announcer.rs` | when gratuitous ARP is due |
//! | `source.rs` | the address that adverts are sent from, and how long an active router waits for it |
//! | `lateness.rs` | how late this node has been, and how that is damped |
//! | `restorer.rs` | putting addresses back that somebody takes away |

mod action;
mod active;
mod announcer;
mod backup;
mod event;
mod farewell;
mod lateness;
mod leaving;
mod noticed;
mod restorer;
mod settings;
mod source;
#[cfg(test)]
mod tests;
mod timers;

use std::net::IpAddr;

pub use action::{Action, Actions, Notice, Reason, Role, RoleChange};
pub use event::Event;
pub use settings::{Garp, Preempt, Settings};

use self::active::Active;
use self::backup::Backup;
use self::farewell::Farewell;
use self::lateness::Lateness;
use self::leaving::Cause;
use self::noticed::Noticed;
use self::source::Source;
use crate::packet::Advert;
use crate::time::Time;

/// The state of one virtual router. Pure: what it wants done comes back from [`Machine::handle`], and it wants to be
/// called again at [`Machine::next_deadline`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Machine {
    settings: Settings,
    conditions: Conditions,
    /// Claims only when its sync group says so.
    is_grouped: bool,
    noticed: Noticed,
    farewell: Option<Farewell>,
    lateness: Lateness,
    state: State,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum State {
    Initialize,
    Waiting,
    Fault,
    Backup(Backup),
    Active(Active),
}

/// What has to be so before there is an election to take part in.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Conditions {
    link_up: bool,
    tracked_down: bool,
    group_fault: bool,
    source: Source,
    /// Not needed to take part, but to preempt.
    is_ready: bool,
}

/// Getters.
impl Machine {
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub fn role(&self) -> Role {
        match &self.state {
            State::Initialize => Role::Initialize,
            State::Waiting => Role::Waiting,
            State::Fault => Role::Fault,
            State::Backup(_) => Role::Backup,
            State::Active(_) => Role::Active,
        }
    }

    /// Who is active as far as this node knows, and with which priority; `None` where it is this node or nobody.
    pub fn active_router(&self) -> Option<(IpAddr, u8)> {
        match &self.state {
            State::Backup(backup) => backup.active_router(),
            _ => None,
        }
    }

    /// What adverts are to be sent from. An active router may have to do with the address that it had.
    pub fn source(&self) -> Option<IpAddr> {
        self.conditions.source.address()
    }

    /// Whether it is handing over, and still serves.
    pub fn is_leaving(&self) -> bool {
        matches!(&self.state, State::Active(active) if active.is_leaving())
    }

    /// Whether it would take over if its sync group let it.
    pub fn wants(&self) -> bool {
        matches!(&self.state, State::Backup(backup) if backup.wants())
    }

    /// A fault of its own, whatever its sync group has.
    pub fn has_fault(&self) -> bool {
        !matches!(self.state, State::Initialize) && self.conditions.has_fault()
    }

    /// Held up by another member of its sync group.
    pub fn has_group_fault(&self) -> bool {
        self.conditions.group_fault
    }

    pub fn next_deadline(&self) -> Option<Time> {
        match &self.state {
            State::Initialize | State::Waiting | State::Fault => None,
            State::Backup(backup) => backup.next_deadline(),
            State::Active(active) => active.next_deadline().into_iter().chain(self.conditions.source.deadline()).min(),
        }
    }
}

impl Machine {
    pub fn new(settings: Settings) -> Self {
        let source = Source::none();
        let conditions = Conditions { link_up: false, tracked_down: false, group_fault: false, source, is_ready: true };
        let (noticed, lateness, state) = (Noticed::default(), Lateness::none(), State::Initialize);
        Self { settings, conditions, is_grouped: false, noticed, farewell: None, lateness, state }
    }

    /// One that belongs to a sync group.
    pub fn grouped(settings: Settings) -> Self {
        Self { is_grouped: true, ..Self::new(settings) }
    }

    /// A reload put it into a sync group, or took it out of one.
    pub fn set_grouped(&mut self, is_grouped: bool) {
        self.is_grouped = is_grouped;
        if let State::Backup(backup) = &mut self.state
            && !is_grouped
        {
            backup.stop_asking();
        }
    }

    /// `now` never goes back.
    pub fn handle(&mut self, now: Time, event: Event<'_>) -> Actions {
        let mut out = Actions::new();
        self.step_down_if_frozen(now, &mut out);
        match event {
            Event::Started { link_up, source, leftovers } => {
                self.conditions.link_up = link_up;
                self.conditions.source.see(now, source);
                self.start(now, leftovers, &mut out);
            }
            Event::Advert { from, advert } => self.receive(now, from, advert, &mut out),
            Event::Timer => self.expire(now, &mut out),
            Event::Yield => self.yield_role(now, &mut out),
            Event::Stop => self.stop(now, &mut out),
            Event::Reconfigured(settings) => self.reconfigure(now, settings, &mut out),
            Event::Woken { gap } => self.look_after(now, gap, &mut out),
            Event::SendFailed => self.send_failed(now),
            Event::Conflict => self.contested_by_host(now, &mut out),
            Event::AddressGone => self.restore_addresses(now, &mut out),
            Event::GroupClaim => self.claim_for_group(now, &mut out),
            Event::GroupRelease => self.release_for_group(now, &mut out),
            Event::Ready(is_ready) => self.conditions.is_ready = is_ready,
            Event::Source(source) => self.see_source(now, source, &mut out),
            Event::Link { .. } | Event::Tracked { .. } | Event::GroupFault(_) => self.learn(now, event, &mut out),
        }
        self.wait_only_while_active(now, &mut out);
        out
    }

    fn start(&mut self, now: Time, leftovers: bool, out: &mut Actions) {
        if self.state != State::Initialize {
            return;
        }
        if leftovers {
            self.owe_farewell(now, false);
        }
        match self.conditions.obstacle() {
            Some((state, reason)) => self.change(state, reason, out),
            None => self.take_part(now, Reason::Started, out),
        }
    }

    fn receive(&mut self, now: Time, from: IpAddr, advert: &Advert, out: &mut Actions) {
        // Our own, come back from a network that loops.
        if Some(from) == self.conditions.source.address() {
            return;
        }
        match self.state {
            State::Backup(_) => self.receive_as_backup(now, from, advert, out),
            State::Active(_) => self.receive_as_active(now, from, advert, out),
            State::Initialize | State::Waiting | State::Fault => return,
        }
        self.noticed.compare(&self.settings, from, advert, out);
    }

    fn expire(&mut self, now: Time, out: &mut Actions) {
        if self.conditions.source.deadline().is_some_and(|deadline| deadline <= now) {
            return self.give_source_up(now, out);
        }
        match self.state {
            State::Backup(_) => self.expire_as_backup(now, out),
            State::Active(_) => self.expire_as_active(now, out),
            State::Initialize | State::Waiting | State::Fault => {}
        }
    }

    /// RFC 9568 section 6.4.2 (185) and 6.4.3 (605): shutdown.
    fn stop(&mut self, now: Time, out: &mut Actions) {
        match self.state {
            State::Active(_) => self.leave(now, Cause::Stop, out),
            _ => self.end(out),
        }
    }

    fn end(&mut self, out: &mut Actions) {
        self.change(State::Initialize, Reason::Stopped, out);
        out.push(Action::Stopped);
    }

    fn reconfigure(&mut self, now: Time, settings: &Settings, out: &mut Actions) {
        let old = std::mem::replace(&mut self.settings, settings.clone());
        self.noticed = Noticed::default();
        match &mut self.state {
            State::Active(active) => {
                active.reconfigure(now, &old, settings);
                self.show_settings(now, &old, out);
            }
            State::Backup(_) if !old.is_owner() => self.claim_if_owner(now, out),
            State::Backup(_) => {}
            State::Initialize | State::Waiting | State::Fault => {}
        }
    }

    /// Conditions and priority.
    fn learn(&mut self, now: Time, event: Event<'_>, out: &mut Actions) {
        let recovery = match event {
            Event::Link { up } => {
                self.conditions.link_up = up;
                Reason::LinkUp
            }
            Event::GroupFault(fault) => {
                self.conditions.group_fault = fault;
                Reason::Group
            }
            Event::Tracked { priority, fault } => {
                self.conditions.tracked_down = fault;
                self.set_priority(now, priority, out);
                Reason::TrackedUp
            }
            _ => return,
        };
        self.follow_conditions(now, recovery, out);
    }

    fn set_priority(&mut self, now: Time, priority: u8, out: &mut Actions) {
        let old = std::mem::replace(&mut self.settings.priority, priority);
        // The peers are to decide by the new one, and not only after the rest of an interval.
        if old != priority && !self.conditions.has_fault() {
            self.advertise_if_active(now, out);
            self.claim_if_owner(now, out);
        }
    }

    fn follow_conditions(&mut self, now: Time, recovery: Reason, out: &mut Actions) {
        if self.state == State::Initialize {
            return;
        }
        let is_held_up = matches!(self.state, State::Fault | State::Waiting);
        match self.conditions.obstacle() {
            Some((state, reason)) => self.hold_up(now, state, reason, out),
            None if is_held_up => self.take_part(now, recovery, out),
            None => {}
        }
    }

    fn hold_up(&mut self, now: Time, state: State, reason: Reason, out: &mut Actions) {
        if let State::Active(active) = &self.state {
            let is_stopping = active.is_stopping();
            self.owe_farewell(now, self.conditions.can_send());
            if self.conditions.can_send() {
                out.push(self.settings.advertise(0));
            }
            out.push(Action::RemoveAddresses);
            if is_stopping {
                return self.end(out);
            }
        }
        self.change(state, reason, out);
    }
}

impl Machine {
    /// Takes part in elections from now on. RFC 9568 section 6.4.1: an owner is active at once, any other begins as
    /// a backup.
    fn take_part(&mut self, now: Time, reason: Reason, out: &mut Actions) {
        let down = now + self.settings.down_interval(self.settings.interval);
        let backup = State::Backup(Backup::new(now, down, self.settings.interval));
        if !self.settings.is_owner() {
            return self.change(backup, reason, out);
        }
        if self.is_grouped {
            self.change(backup, reason, out);
        }
        self.claim_when_allowed(now, Reason::Owner, out);
    }

    fn change(&mut self, state: State, reason: Reason, out: &mut Actions) {
        let from = self.role();
        self.state = state;
        let to = self.role();
        if from != to {
            out.push(Action::RoleChanged(RoleChange { from, to, reason }));
        }
    }
}

impl Conditions {
    fn has_fault(&self) -> bool {
        !self.link_up || self.tracked_down
    }

    fn can_send(&self) -> bool {
        self.link_up && self.source.address().is_some()
    }

    /// What keeps it from taking part, and what it is meanwhile.
    fn obstacle(&self) -> Option<(State, Reason)> {
        if !self.link_up {
            Some((State::Fault, Reason::LinkDown))
        } else if self.tracked_down {
            Some((State::Fault, Reason::TrackedDown))
        } else if self.group_fault {
            Some((State::Fault, Reason::Group))
        } else if self.source.is_gone() {
            Some((State::Waiting, Reason::NoSource))
        } else {
            None
        }
    }
}

/// For the model checker, which has to tell different states from those that only look different.
#[cfg(test)]
impl Machine {
    /// What decides nothing. Of a farewell only the first is kept, which can come at any time.
    fn forget(&mut self, now: Time) {
        match &mut self.state {
            State::Backup(backup) => backup.forget(now),
            State::Active(active) => active.forget(now, &self.settings),
            _ => {}
        }
        self.farewell.take_if(|farewell| *farewell.time() > now);
        self.lateness = Lateness::none();
        self.noticed = Noticed::default();
    }

    /// All moments that decide something.
    fn times(&mut self) -> impl Iterator<Item = &mut Time> {
        let (backup, active) = match &mut self.state {
            State::Backup(backup) => (Some(backup.times()), None),
            State::Active(active) => (None, Some(active.times())),
            _ => (None, None),
        };
        let farewell = self.farewell.as_mut().map(Farewell::time);
        let source = self.conditions.source.time();
        backup.into_iter().flatten().chain(active.into_iter().flatten()).chain(farewell).chain(source)
    }
}

//! Handing over: nothing is taken away before somebody else has it.
//!
//! RFC 9568 section 6.4.3 (605) sends priority 0 and ends at once; the addresses are then nowhere until a backup's
//! skew has passed. Here they stay until the successor is heard and has had time to announce them.

use std::net::IpAddr;

use super::backup::Backup;
use super::{Action, Actions, Active, Machine, Notice, Reason, Settings, State, timers};
use crate::packet::Advert;
use crate::time::Time;

/// Priority 0 is out, and the addresses still here: until a successor is heard and has had time to announce them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Leaving {
    cause: Cause,
    successor: Option<IpAddr>,
    /// End of the wait: for a successor to show up, or for the one there is to announce itself.
    until: Time,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Cause {
    Yield,
    Stop,
}

impl Machine {
    pub(super) fn yield_role(&mut self, now: Time, out: &mut Actions) {
        match self.state {
            State::Active(_) => self.leave(now, Cause::Yield, out),
            _ => out.push(Action::Notice(Notice::NothingToYield)),
        }
    }

    pub(super) fn leave(&mut self, now: Time, cause: Cause, out: &mut Actions) {
        let State::Active(active) = &mut self.state else { return };
        let patience = match cause {
            Cause::Yield => timers::yield_patience(active.told()),
            Cause::Stop => self.settings.stop_patience(active.told()),
        };
        match &mut active.leaving {
            // On its way already. To stop is final, to yield is not.
            Some(leaving) if cause == Cause::Stop => leaving.cause = Cause::Stop,
            Some(_) => {}
            None => {
                out.push(self.settings.advertise(0));
                active.leaving = Some(Leaving { cause, successor: None, until: now + patience });
            }
        }
    }

    pub(super) fn expire_as_leaving(&mut self, now: Time, out: &mut Actions) {
        let State::Active(Active { leaving: Some(leaving), .. }) = &self.state else { return };
        if now < leaving.until {
            return;
        }
        match (leaving.cause, leaving.successor) {
            (Cause::Yield, Some(to)) => self.hand_over(now, to, out),
            (Cause::Yield, None) => self.stay(now, out),
            (Cause::Stop, successor) => {
                out.push(Action::RemoveAddresses);
                // Once more: whoever was served from here while both had the addresses has to learn of the other.
                out.extend(successor.map(|_| self.settings.advertise(0)));
                self.end(out);
            }
        }
    }

    fn hand_over(&mut self, now: Time, to: IpAddr, out: &mut Actions) {
        out.push(Action::RemoveAddresses);
        out.push(self.settings.advertise(0));
        self.owe_farewell(now, true);
        let down = now + self.settings.down_interval(self.settings.interval);
        let backup = Backup::new(now, down, self.settings.interval).yielded();
        self.change(State::Backup(backup), Reason::Yielded { to }, out);
    }

    fn stay(&mut self, now: Time, out: &mut Actions) {
        let State::Active(active) = &mut self.state else { return };
        active.leaving = None;
        active.resume(now);
        out.push(Action::Notice(Notice::NobodyTookOver));
        active.assert(now, &self.settings, &mut self.lateness, out);
    }
}

impl Leaving {
    pub fn is_stopping(&self) -> bool {
        self.cause == Cause::Stop
    }

    pub fn next_deadline(&self) -> Time {
        self.until
    }

    pub fn hear(&mut self, now: Time, from: IpAddr, advert: &Advert, settings: &Settings) {
        if advert.priority != 0 && self.successor.is_none() {
            self.successor = Some(from);
            self.until = now + settings.linger();
        }
    }
}

#[cfg(test)]
impl Leaving {
    pub fn time(&mut self) -> &mut Time {
        &mut self.until
    }
}

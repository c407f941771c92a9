//! Telling the active router that we had the addresses too.
//!
//! The network's tables may lead to us still, and only the active router's announcement can put that right; but
//! VRRP does not let it know. keepalived leaves a black hole after a healed cut: the router that gives in falls
//! silent, the one that stays has noticed nothing. An advert that the active router beats makes it answer, and
//! announce (RFC 9568 section 6.4.3 (740)).

use std::net::IpAddr;
use std::time::Duration;

use super::active::beaten_by;
use super::{Action, Actions, Machine};
use crate::packet::Advert;
use crate::time::Time;

/// It may not arrive: what was cut both ways may heal one way first. So it is said again, ever more seldom.
const FIRST_WAIT: u32 = 4;
const LAST_WAIT: u32 = 64;

/// What is still to be said.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Farewell {
    next: Time,
    /// From the next to the one after it.
    wait: Duration,
}

impl Machine {
    /// The addresses are no longer here. `has_said`: and an advert with that news is on its way.
    pub(super) fn owe_farewell(&mut self, now: Time, has_said: bool) {
        let wait = FIRST_WAIT * self.settings.interval;
        self.farewell = Some(if has_said {
            Farewell { next: now + wait, wait: FIRST_WAIT * wait }
        } else {
            Farewell { next: now, wait }
        });
    }

    /// An active router was heard.
    pub(super) fn say_farewell(&mut self, now: Time, from: IpAddr, advert: &Advert, out: &mut Actions) {
        let Some(farewell) = self.farewell.as_mut().filter(|farewell| farewell.next <= now) else { return };
        let wait = farewell.wait;
        *farewell = Farewell { next: now + wait, wait: FIRST_WAIT * wait };
        if wait > LAST_WAIT * self.settings.interval {
            self.farewell = None;
        }
        // One that would beat it must not look like a claim.
        let is_beaten = beaten_by(&self.settings, self.conditions.source.address(), from, advert).is_some();
        let priority = if is_beaten { self.settings.priority } else { 0 };
        // Other backups may adopt the interval, and must not wait for less than the active router's next advert.
        out.push(Action::Advertise { priority, interval: advert.interval });
    }
}

#[cfg(test)]
impl Farewell {
    pub fn time(&mut self) -> &mut Time {
        &mut self.next
    }
}

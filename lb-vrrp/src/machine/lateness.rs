//! How late this node has been, and what follows from that.
//!
//! A host that is starved of CPU lets a node miss its own timers, and each time a peer takes over, or this node takes
//! over from one that was there all along; a moment later the role goes back. What ends it:
//!
//! * A node that was late stays a backup of whoever is active, each time for longer ([`Lateness::hold`]).
//! * One that is damped looks before it believes its timer, each time for longer ([`Lateness::looks`]). Where really
//!   nobody is active it still takes over.
//! * An active one whose adverts are late tells its peers to wait for longer ([`Lateness::interval`]). That is the
//!   interval in an advert (RFC 9568 section 5.2.7), from which a backup derives its patience; v2 has no such thing.
//!
//! All of it is bounded, and forgotten bit by bit while the node is on time.

use std::time::Duration;

use super::Settings;
use crate::packet::Version;
use crate::time::Time;

/// Each time that this node was on time for so long, one time that it was not is forgotten.
const FORGET: Duration = Duration::from_secs(120);
const FIRST_HOLD: Duration = Duration::from_secs(10);
const LONGEST_HOLD: Duration = Duration::from_secs(300);
const MOST_LOOKS: u32 = 5;
/// From there on nothing gets longer, and so nothing more has to be forgotten.
const MOST_TIMES: u8 = 6;
/// What peers are told is at most so many times the interval, and at most this.
const MOST_INTERVALS: u32 = 4;
const LONGEST_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Lateness {
    /// How often a peer may have taken over, or was taken over from in vain.
    times: u8,
    /// The longest gap between two adverts of ours.
    gap: Duration,
    last: Time,
}

impl Lateness {
    pub fn none() -> Self {
        Self { times: 0, gap: Duration::ZERO, last: Time::ZERO }
    }

    /// Adverts were late, but not so late that a peer has to have taken over.
    pub fn note_gap(&mut self, now: Time, gap: Duration) {
        self.forget(now);
        self.gap = self.gap.max(gap);
        self.last = now;
    }

    /// A peer may have taken over, or this node took over in vain.
    pub fn note(&mut self, now: Time) {
        self.forget(now);
        self.times = (self.times + 1).min(MOST_TIMES);
        self.last = now;
    }

    pub fn times(&self) -> u8 {
        self.times
    }

    /// How long it does not take over from who is active.
    pub fn hold(&self) -> Duration {
        let doublings = u32::from(self.times).saturating_sub(1).min(5);
        (FIRST_HOLD * 2_u32.pow(doublings)).min(LONGEST_HOLD)
    }

    /// How many looks it takes before a timer is believed; zero: none.
    pub fn looks(&mut self, now: Time) -> u32 {
        self.forget(now);
        u32::from(self.times).min(MOST_LOOKS)
    }

    /// What adverts tell as their interval.
    pub fn interval(&mut self, now: Time, settings: &Settings) -> Duration {
        self.forget(now);
        let interval = settings.interval;
        match settings.version {
            Version::V2 => interval,
            Version::V3 => {
                let most = (interval * MOST_INTERVALS).min(LONGEST_INTERVAL).max(interval);
                in_centiseconds(self.gap).clamp(interval, most)
            }
        }
    }

    fn forget(&mut self, now: Time) {
        while now.since(self.last) >= FORGET && (self.times > 0 || !self.gap.is_zero()) {
            self.times = self.times.saturating_sub(1);
            self.last += FORGET;
            if self.times == 0 {
                self.gap = Duration::ZERO;
            }
        }
    }
}

/// As adverts have it, and not less.
fn in_centiseconds(time: Duration) -> Duration {
    let centis = time.as_millis().div_ceil(10);
    Duration::from_millis(u64::try_from(centis.saturating_mul(10)).unwrap_or(u64::MAX))
}

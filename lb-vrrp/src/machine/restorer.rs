//! Putting addresses back that somebody else on this host takes away.
//!
//! Who configures the interface anew does so once, or a few times in a row, and the addresses come back at once. A
//! program that takes them away whenever it sees them would make that an endless fight, on the network too, where each
//! return is announced; so from some point on they come back ever more seldom, until it has been quiet for a while.

use std::time::Duration;

use crate::time::Time;

/// So often at once.
const AT_ONCE: u8 = 10;
/// Then after this, and each time after twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(16);
/// So long without a removal, and all is forgotten.
const QUIET: Duration = Duration::from_secs(60);

/// Of an active router.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Restorer {
    /// How often they may be put back at once.
    left: u8,
    wait: Duration,
    /// When they are to be put back.
    next: Option<Time>,
    robbed: Time,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    AtOnce,
    After(Duration),
    /// They are to be put back soon anyway.
    Known,
}

impl Restorer {
    pub fn new(now: Time) -> Self {
        Self { left: AT_ONCE, wait: FIRST_WAIT, next: None, robbed: now }
    }

    /// One is not there any more.
    pub fn robbed(&mut self, now: Time) -> Verdict {
        if self.next.is_some() {
            return Verdict::Known;
        }
        if now.since(self.robbed) >= QUIET {
            *self = Self::new(now);
        }
        self.robbed = now;
        if self.left > 0 {
            self.left -= 1;
            return Verdict::AtOnce;
        }
        let wait = self.wait;
        self.wait = (2 * wait).min(LONGEST_WAIT);
        self.next = Some(now + wait);
        Verdict::After(wait)
    }

    pub fn next_deadline(&self) -> Option<Time> {
        self.next
    }

    /// `true`: put them back now.
    pub fn is_due(&mut self, now: Time) -> bool {
        self.next.take_if(|next| *next <= now).is_some()
    }
}

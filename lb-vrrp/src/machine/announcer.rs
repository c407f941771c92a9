//! When the addresses are announced: at once, again, ever so often; and whenever somebody else may have done so.

use std::time::Duration;

use super::Garp;
use crate::time::Time;

/// Announcements in answer to others, one after the other, and how soon there may be another: two nodes that cannot
/// agree must not flood the network with ARP.
const BURST: u8 = 3;
const REFILL: Duration = Duration::from_millis(200);
const SHORTEST_SETTLE: Duration = Duration::from_millis(20);

/// Of an active router.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Announcer {
    again: Option<Time>,
    refresh: Option<Time>,
    /// When those who contest the addresses will have been silent for long enough.
    settle: Option<Time>,
    /// Answers that may be given now, as of `refilled`.
    tokens: u8,
    refilled: Time,
}

impl Announcer {
    /// The caller has just announced.
    pub fn new(now: Time, garp: Garp) -> Self {
        Self {
            again: garp.again.map(|wait| now + wait),
            refresh: garp.refresh.map(|wait| now + wait),
            settle: None,
            tokens: BURST,
            refilled: now,
        }
    }

    pub fn reconfigure(&mut self, now: Time, garp: Garp) {
        self.refresh = garp.refresh.map(|wait| now + wait);
        if garp.again.is_none() {
            self.again = None;
        }
    }

    /// Whether somebody has contested the addresses, and may not have stopped yet.
    pub fn is_contested(&self) -> bool {
        self.settle.is_some()
    }

    /// Somebody else announced the addresses, or may have. `true`: announce now. In any case once more when it has
    /// been quiet for two intervals, since the last word counts.
    pub fn contested(&mut self, now: Time, interval: Duration) -> bool {
        self.settle = Some(now + (2 * interval).max(SHORTEST_SETTLE));
        self.refill(now);
        let may = self.tokens > 0;
        self.tokens = self.tokens.saturating_sub(1);
        may
    }

    fn refill(&mut self, now: Time) {
        let rounds = now.since(self.refilled).as_nanos() / REFILL.as_nanos();
        if rounds > 0 {
            self.tokens = self.tokens.saturating_add(u8::try_from(rounds).unwrap_or(u8::MAX)).min(BURST);
            self.refilled = now;
        }
    }

    pub fn next_deadline(&self) -> Option<Time> {
        [self.again, self.refresh, self.settle].into_iter().flatten().min()
    }

    /// Frames for each address that are due.
    pub fn due(&mut self, now: Time, garp: Garp) -> Option<u8> {
        let is_due = |at: &Option<Time>| at.is_some_and(|at| at <= now);
        let (settled, again, refresh) = (is_due(&self.settle), is_due(&self.again), is_due(&self.refresh));
        if refresh {
            self.refresh = garp.refresh.map(|wait| now + wait);
        }
        if settled {
            self.settle = None;
            self.again = garp.again.map(|wait| now + wait);
        } else if again {
            self.again = None;
        }
        match (settled || again, refresh) {
            (true, _) => Some(garp.repeat),
            (false, true) => Some(1),
            (false, false) => None,
        }
    }
}

//! One backend's health: how many results in a row it takes to change one's mind.
//!
//! ```text
//!             first result decides
//!   Unknown ───────────────────────> Up or Down
//!      ^                   fall failures in a row
//!      │              Up ───────────────────────────> Down
//!      └── reset         <───────────────────────────
//!        (Maint)            rise successes in a row
//! ```

use std::time::{Duration, Instant};

use crate::config::Check;
use crate::pool::Health;

#[derive(Debug, Clone)]
pub struct Machine {
    thresholds: Thresholds,
    health: Health,
    /// Results in a row that speak against `health`.
    against: u32,
    since: Instant,
}

/// Results in a row; each at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    pub rise: u32,
    pub fall: u32,
}

/// A change of health, to be logged and counted once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    pub from: Health,
    pub to: Health,
    /// Results in a row that brought it about; 0 for a reset.
    pub results: u32,
    /// How long `from` had held.
    pub lasted: Duration,
}

impl Machine {
    pub fn new(now: Instant, thresholds: Thresholds, health: Health) -> Self {
        Self { thresholds, health, against: 0, since: now }
    }

    /// Takes the result of one check.
    pub fn observe(&mut self, now: Instant, success: bool) -> Option<Transition> {
        let (verdict, needed) = match (self.health, success) {
            (Health::Unknown, true) => (Health::Up, 1),
            (Health::Unknown, false) => (Health::Down, 1),
            (_, true) => (Health::Up, self.thresholds.rise),
            (_, false) => (Health::Down, self.thresholds.fall),
        };
        if verdict == self.health {
            self.against = 0;
            return None;
        }
        self.against += 1;
        if self.against < needed { None } else { self.change(now, verdict) }
    }

    /// Forgets all results: the backend is no longer checked, or starts afresh.
    pub fn reset(&mut self, now: Instant, health: Health) -> Option<Transition> {
        self.against = 0;
        if health == self.health { None } else { self.change(now, health) }
    }

    /// Other check settings: health stays, counting restarts.
    pub fn restart(&mut self, thresholds: Thresholds) {
        self.thresholds = thresholds;
        self.against = 0;
    }

    fn change(&mut self, now: Instant, to: Health) -> Option<Transition> {
        let lasted = now.saturating_duration_since(self.since);
        let transition = Transition { from: self.health, to, results: self.against, lasted };
        *self = Self::new(now, self.thresholds, to);
        Some(transition)
    }
}

impl From<&Check> for Thresholds {
    fn from(check: &Check) -> Self {
        Self { rise: check.rise, fall: check.fall }
    }
}

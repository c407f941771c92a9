//! One backend under check: its machine, and how what it says reaches the pool, the log and the counters.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::machine::{Machine, Thresholds, Transition};
use super::target::Target;
use super::{CheckReport, Outcome};
use crate::config::AdminState;
use crate::pool::Health;

pub struct Checked {
    pub target: Arc<Target>,
    /// Of the wait or the probe that is under way.
    pub ticket: u64,
    /// In Maint: not checked.
    pub held: bool,
    machine: Machine,
    changed_at: Option<SystemTime>,
}

/// Both clocks: one to count with, one to tell people.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    pub instant: Instant,
    pub wall: SystemTime,
}

impl Now {
    #[expect(clippy::disallowed_methods, reason = "the checker's driver; its machine gets the time from here")]
    pub fn read() -> Self {
        Self { instant: tokio::time::Instant::now().into_std(), wall: SystemTime::now() }
    }
}

impl Checked {
    pub fn new(target: Arc<Target>, now: Now) -> Self {
        let health = target.backend.live.health();
        let machine = Machine::new(now.instant, Thresholds::from(&target.check), health);
        Self { target, ticket: 0, held: false, machine, changed_at: None }
    }

    /// The backend as the new configuration has it. Is it checked in another way now? Then counting restarts.
    pub fn retarget(&mut self, target: Arc<Target>) -> bool {
        let differs = !self.target.same_check(&target);
        if differs {
            self.machine.restart(Thresholds::from(&target.check));
        }
        self.target = target;
        differs
    }

    /// Maint: what was known is forgotten, and the backend starts afresh when it comes back.
    pub fn hold(&mut self, now: Now) {
        self.held = true;
        if let Some(transition) = self.machine.reset(now.instant, self.target.check.initial.into()) {
            self.announce(transition, "maintenance", now);
        }
    }

    pub fn record(&mut self, outcome: &Outcome, took: Duration, now: Now) {
        self.count(outcome, took);
        if let Some(success) = outcome.verdict()
            && self.target.backend.admin_state() != AdminState::Maint
            && let Some(transition) = self.machine.observe(now.instant, success)
        {
            self.announce(transition, outcome.text(), now);
        }
        let report = CheckReport { at: now.wall, took, outcome: outcome.clone(), changed_at: self.changed_at };
        self.target.backend.live.set_check_report(report);
    }

    fn count(&self, outcome: &Outcome, took: Duration) {
        let checks = &self.target.backend.live.checks;
        if outcome.verdict().is_some() {
            checks.durations.observe_us(took.as_micros() as u64);
        }
        if let Outcome::Failure(reason, _) = outcome {
            checks.failures[*reason as usize].inc();
        }
    }

    fn announce(&mut self, transition: Transition, reason: &str, now: Now) {
        let live = &self.target.backend.live;
        live.set_health(transition.to);
        live.checks.transitions.inc();
        self.changed_at = Some(now.wall);
        // Whoever waits for a slot here has to look elsewhere, or finds one here now.
        self.target.pool.live.availability_changed();
        self.log(transition, reason);
    }

    fn log(&self, transition: Transition, reason: &str) {
        let Transition { from, to, results, lasted } = transition;
        let (pool, backend) = (&*self.target.backend.pool, &*self.target.backend.config.name);
        let (from, lasted, available) =
            (from.as_str(), format_args!("{:.1}s", lasted.as_secs_f32()), self.target.pool.available());
        macro_rules! say {
            ($level:ident, $what:literal) => {
                tracing::$level!(pool, backend, from, to = to.as_str(), reason, results, %lasted, available, $what)
            };
        }
        match (to, available) {
            (Health::Down, 0) => say!(error, "backend is down, and no other of its pool is available"),
            (Health::Down, _) => say!(warn, "backend is down"),
            _ => say!(info, "backend health changed"),
        }
    }
}

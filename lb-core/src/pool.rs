//! Pools and backends as they serve: what the file says, joined to live state that survives a reload.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::changes::Changes;
use crate::config;
use crate::config::{AdminState, InitialHealth};
use crate::counters::{Counter, Durations, Gauge, Sharded};
use crate::health::CheckReport;
use crate::scheduler::Table;

#[cfg(test)]
mod tests;

/// A named set of backends with a scheduler and a health check.
#[derive(Debug)]
pub struct Pool {
    pub config: Arc<config::Pool>,
    /// Only frontends of layer 4 use it: no request ever comes to it.
    pub forwarded: bool,
    /// In the order of the file.
    pub backends: Vec<Arc<Backend>>,
    /// Used when no primary backend is available.
    pub backup: Vec<Arc<Backend>>,
    /// What the scheduler computed of `backends` and their weights; of nothing where no request needs it.
    pub table: Table,
    /// The same of `backup`.
    pub backup_table: Table,
    pub live: Arc<PoolLive>,
}

/// Survives every reload that keeps the pool's name.
#[derive(Debug)]
pub struct PoolLive {
    /// Woken once for each slot that becomes free while somebody waits.
    pub slot_freed: tokio::sync::Notify,
    /// Woken when a backend may have become unavailable, so that nobody goes on waiting for it.
    pub availability: tokio::sync::Notify,
    /// Requests that wait for a slot.
    pub queued: AtomicUsize,
    pub counters: Sharded<PoolCounters>,
    changes: Changes,
}

#[derive(Debug, Default)]
pub struct PoolCounters {
    pub requests: Counter,
    pub retries: Counter,
    pub retries_refused: Counter,
    pub queue_timeouts: Counter,
    pub queue_overflows: Counter,
    pub no_backend: Counter,
}

/// One server of a pool.
#[derive(Debug)]
pub struct Backend {
    pub pool: Arc<str>,
    pub config: Arc<config::Backend>,
    pub live: Arc<BackendLive>,
}

/// Survives every reload that keeps the backend's pool, name and address.
#[derive(Debug)]
pub struct BackendLive {
    health: AtomicU8,
    /// 0: none; else the commanded state plus one. Set by `lb backend`.
    admin_override: AtomicU8,
    /// Requests in flight over all workers; kept only where `max_connections` is set.
    slots: AtomicU32,
    pub counters: Sharded<BackendCounters>,
    pub checks: CheckCounters,
    check_report: Mutex<Option<CheckReport>>,
}

#[derive(Debug, Default)]
pub struct BackendCounters {
    /// Open connections, pooled ones included.
    pub connections_active: Gauge,
    pub connections_total: Counter,
    /// Requests in flight.
    pub requests_active: Gauge,
    pub requests_total: Counter,
    /// Responses by class; index 0 is 1xx.
    pub responses: [Counter; 5],
    pub connect_failures: Counter,
    /// Connections lost, answers that broke the protocol, timeouts.
    pub response_failures: Counter,
    pub bytes_sent: Counter,
    pub bytes_received: Counter,
}

/// Written by the health task alone.
#[derive(Debug, Default)]
pub struct CheckCounters {
    pub durations: Durations,
    /// By [`crate::health::FailureReason`].
    pub failures: [Counter; crate::health::FailureReason::COUNT],
    pub transitions: Counter,
}

/// What was observed; never what an operator commanded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Health {
    /// Not checked, or no result yet.
    Unknown = 0,
    Up = 1,
    Down = 2,
}

impl Pool {
    /// By its place: primaries first, then backups.
    pub fn backend(&self, index: usize) -> Option<&Arc<Backend>> {
        self.backends.iter().chain(&self.backup).nth(index)
    }

    /// How many may be given new requests, backups included.
    pub fn available(&self) -> usize {
        self.backends.iter().chain(&self.backup).filter(|backend| backend.is_available()).count()
    }
}

impl Backend {
    /// May it be given new requests, as far as health and the operator are concerned?
    pub fn is_available(&self) -> bool {
        self.live.health() != Health::Down && self.admin_state() == AdminState::Ready && self.config.weight > 0
    }

    /// The operator's override, else what the file says.
    pub fn admin_state(&self) -> AdminState {
        self.live.admin_override().unwrap_or(self.config.state)
    }

    /// `POOL/BACKEND`, as the command line names it.
    pub fn id(&self) -> String {
        format!("{}/{}", self.pool, self.config.name)
    }

    /// Takes a slot under `max_connections`; `false` when all are taken. Always succeeds without a limit.
    pub fn try_take_slot(&self) -> bool {
        let Some(limit) = self.config.max_connections else { return true };
        self.live
            .slots
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |taken| (taken < limit).then_some(taken + 1))
            .is_ok()
    }

    /// Would [`Self::try_take_slot`] succeed now?
    pub fn has_free_slot(&self) -> bool {
        self.config.max_connections.is_none_or(|limit| self.live.slots.load(Ordering::Relaxed) < limit)
    }

    /// Gives back what [`Self::try_take_slot`] took.
    pub fn release_slot(&self) {
        if self.config.max_connections.is_some() {
            // A reload may have switched the limit on while requests were in flight without a slot.
            let _ = self.live.slots.fetch_update(Ordering::AcqRel, Ordering::Acquire, |taken| taken.checked_sub(1));
        }
    }

    /// Requests in flight, over all workers.
    pub fn load(&self) -> u64 {
        self.live.counters.level(|c| &c.requests_active)
    }
}

impl BackendLive {
    pub fn new(workers: usize, health: Health) -> Self {
        Self {
            health: AtomicU8::new(health as u8),
            admin_override: AtomicU8::new(0),
            slots: AtomicU32::new(0),
            counters: Sharded::new(workers),
            checks: CheckCounters::default(),
            check_report: Mutex::new(None),
        }
    }

    pub fn health(&self) -> Health {
        match self.health.load(Ordering::Relaxed) {
            1 => Health::Up,
            2 => Health::Down,
            _ => Health::Unknown,
        }
    }

    pub fn set_health(&self, health: Health) {
        self.health.store(health as u8, Ordering::Relaxed);
    }

    /// The latest check; `None` before the first.
    pub fn check_report(&self) -> Option<CheckReport> {
        self.check_report.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set_check_report(&self, report: CheckReport) {
        *self.check_report.lock().unwrap_or_else(PoisonError::into_inner) = Some(report);
    }

    pub fn admin_override(&self) -> Option<AdminState> {
        match self.admin_override.load(Ordering::Relaxed) {
            1 => Some(AdminState::Ready),
            2 => Some(AdminState::Drain),
            3 => Some(AdminState::Maint),
            _ => None,
        }
    }

    pub fn set_admin_override(&self, state: Option<AdminState>) {
        let value = match state {
            None => 0,
            Some(AdminState::Ready) => 1,
            Some(AdminState::Drain) => 2,
            Some(AdminState::Maint) => 3,
        };
        self.admin_override.store(value, Ordering::Relaxed);
    }
}

impl Health {
    pub fn as_str(self) -> &'static str {
        match self {
            Health::Unknown => "unknown",
            Health::Up => "up",
            Health::Down => "down",
        }
    }
}

impl From<InitialHealth> for Health {
    fn from(initial: InitialHealth) -> Self {
        match initial {
            InitialHealth::Unknown => Health::Unknown,
            InitialHealth::Up => Health::Up,
            InitialHealth::Down => Health::Down,
        }
    }
}

impl PoolLive {
    /// Health or an operator has changed something: makes everybody who waits for a backend of this pool
    /// look again, and rings for those who computed ahead.
    pub fn availability_changed(&self) {
        self.slot_freed.notify_waiters();
        self.availability.notify_waiters();
        self.changes.ring();
    }

    pub fn new(workers: usize, changes: Changes) -> Self {
        Self {
            slot_freed: tokio::sync::Notify::new(),
            availability: tokio::sync::Notify::new(),
            queued: AtomicUsize::new(0),
            counters: Sharded::new(workers),
            changes,
        }
    }
}

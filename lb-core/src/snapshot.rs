//! One immutable view of everything that serves. A request takes it once and keeps it to its end.

use std::collections::HashMap;
use std::sync::Arc;

use crate::changes::Changes;
use crate::config::{self, Config};
use crate::counters::{Counter, Durations, Gauge, Sharded};
use crate::pool::{Backend, BackendLive, Health, Pool, PoolLive};
use crate::scheduler::Table;

#[cfg(test)]
mod tests;

#[derive(Debug)]
pub struct Snapshot {
    pub config: Arc<Config>,
    /// Hex SHA-256 of the file that it came from.
    pub config_sha256: String,
    /// 1 at start, one more with each reload.
    pub generation: u64,
    /// Shards of every counter.
    pub workers: usize,
    /// In the order of the file.
    pub frontends: Vec<Arc<Frontend>>,
    /// In the order of the file.
    pub pools: Vec<Arc<Pool>>,
    /// Rings for every snapshot of this process.
    pub changes: Changes,
    pool_index: HashMap<Arc<str>, usize>,
}

#[derive(Debug)]
pub struct Frontend {
    pub config: Arc<config::Frontend>,
    pub live: Arc<FrontendLive>,
}

/// Survives every reload that keeps the frontend's name.
#[derive(Debug)]
pub struct FrontendLive {
    pub counters: Sharded<FrontendCounters>,
}

#[derive(Debug, Default)]
pub struct FrontendCounters {
    pub connections_active: Gauge,
    pub connections_total: Counter,
    /// By [`Refusal`].
    pub connections_refused: [Counter; Refusal::COUNT],
    /// Responses by class; index 0 is 1xx.
    pub requests: [Counter; 5],
    pub durations: Durations,
    pub bytes_received: Counter,
    pub bytes_sent: Counter,
    /// Requests that broke the protocol.
    pub bad_requests: Counter,
    pub tls_handshakes: Counter,
    pub tls_handshakes_resumed: Counter,
    pub tls_failures: Counter,
}

/// Why a client connection was closed before it was served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    ClientLimit = 0,
    Descriptors = 1,
}

impl Refusal {
    pub const COUNT: usize = 2;
    pub const ALL: [Refusal; Self::COUNT] = [Refusal::ClientLimit, Refusal::Descriptors];

    /// The metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Refusal::ClientLimit => "client_limit",
            Refusal::Descriptors => "descriptors",
        }
    }
}

impl Snapshot {
    /// The first snapshot of a process, or (`previous`) the one that follows: live state of every
    /// frontend, pool and backend that is still there is carried over.
    pub fn build(config: Arc<Config>, config_sha256: String, workers: usize, previous: Option<&Snapshot>) -> Self {
        let frontends = config.frontends.iter().map(|f| build_frontend(f, workers, previous)).collect();
        let changes = previous.map(|p| p.changes.clone()).unwrap_or_default();
        let forwarded = config.forwarded_pools();
        let pools = config.pools.iter().map(|pool| {
            let old = previous.and_then(|p| p.pool(&pool.name));
            Arc::new(build_pool(pool, forwarded.contains(&*pool.name), workers, &changes, old))
        });
        let pools: Vec<_> = pools.collect();
        let pool_index = pools.iter().enumerate().map(|(i, p)| (p.config.name.clone(), i)).collect();
        let generation = previous.map_or(1, |p| p.generation + 1);
        Self { config, config_sha256, generation, workers, frontends, pools, changes, pool_index }
    }

    pub fn pool(&self, name: &str) -> Option<&Arc<Pool>> {
        self.pool_position(name).map(|i| &self.pools[i])
    }

    /// Index into [`Self::pools`].
    pub fn pool_position(&self, name: &str) -> Option<usize> {
        self.pool_index.get(name).copied()
    }

    /// Called once this snapshot serves: an override by `lb backend` holds until the file itself
    /// gives that backend another state.
    pub fn settle(&self, previous: &Snapshot) {
        let was: HashMap<_, _> = previous.backends().map(|(_, b)| (Arc::as_ptr(&b.live), b.config.state)).collect();
        for (pool, backend) in self.backends() {
            if was.get(&Arc::as_ptr(&backend.live)).is_some_and(|state| *state != backend.config.state) {
                backend.live.set_admin_override(None);
                pool.live.availability_changed();
            }
        }
    }

    pub fn frontend(&self, name: &str) -> Option<&Arc<Frontend>> {
        self.frontends.iter().find(|f| &*f.config.name == name)
    }

    /// Those of layer 7, in the order of the file.
    pub fn http_frontends(&self) -> impl Iterator<Item = (&Arc<Frontend>, &Arc<config::Http>)> {
        self.frontends.iter().filter_map(|f| f.config.http().map(|http| (f, http)))
    }

    /// Those of layer 4, in the order of the file.
    pub fn forward_frontends(&self) -> impl Iterator<Item = (&Arc<Frontend>, &Arc<config::Forward>)> {
        self.frontends.iter().filter_map(|f| f.config.forward().map(|forward| (f, forward)))
    }

    /// Primary and backup backends of all pools.
    pub fn backends(&self) -> impl Iterator<Item = (&Arc<Pool>, &Arc<Backend>)> {
        self.pools.iter().flat_map(|p| p.backends.iter().chain(&p.backup).map(move |b| (p, b)))
    }
}

fn build_frontend(config: &Arc<config::Frontend>, workers: usize, previous: Option<&Snapshot>) -> Arc<Frontend> {
    let live = previous
        .and_then(|p| p.frontend(&config.name))
        .map_or_else(|| Arc::new(FrontendLive { counters: Sharded::new(workers) }), |f| f.live.clone());
    Arc::new(Frontend { config: config.clone(), live })
}

fn build_pool(
    config: &Arc<config::Pool>,
    forwarded: bool,
    workers: usize,
    changes: &Changes,
    old: Option<&Arc<Pool>>,
) -> Pool {
    let known: HashMap<_, _> = old
        .iter()
        .flat_map(|p| p.backends.iter().chain(&p.backup))
        .map(|b| ((b.config.name.clone(), b.config.address), b))
        .collect();
    let join = |backend: &Arc<config::Backend>| {
        let live = known
            .get(&(backend.name.clone(), backend.address))
            .map_or_else(|| Arc::new(BackendLive::new(workers, initial_health(config))), |b| b.live.clone());
        Arc::new(Backend { pool: config.name.clone(), config: backend.clone(), live })
    };
    let backends: Vec<_> = config.backends.iter().map(join).collect();
    let backup: Vec<_> = config.backup.iter().map(join).collect();
    let table = |backends, old| Table::renew(config.scheduler, chosen_from(backends, forwarded), old);
    let old_tables = old.map(|p| {
        let tables = [(&p.table, &p.backends), (&p.backup_table, &p.backup)];
        tables.map(|(table, backends)| (table, chosen_from(backends, p.forwarded)))
    });
    Pool {
        table: table(&backends, old_tables.map(|tables| tables[0])),
        backup_table: table(&backup, old_tables.map(|tables| tables[1])),
        live: old.map_or_else(|| Arc::new(PoolLive::new(workers, changes.clone())), |p| p.live.clone()),
        config: config.clone(),
        forwarded,
        backends,
        backup,
    }
}

/// What a scheduler's table is made of: layer 4 makes tables of its own.
fn chosen_from(backends: &[Arc<Backend>], forwarded: bool) -> &[Arc<Backend>] {
    if forwarded { &[] } else { backends }
}

fn initial_health(pool: &config::Pool) -> Health {
    pool.check.as_ref().map_or(Health::Unknown, |check| check.initial.into())
}

//! What `lb status` shows, read from the counters of the current snapshot.

use std::sync::atomic::Ordering;

use lb_core::config::{Http, Mode};
use lb_core::pool::{Backend, Pool};
use lb_core::snapshot::{Frontend, FrontendLive, Refusal};
use lb_l4::Report;
use lb_l4::report::Traffic;

use super::start::Supervisor;
use crate::admin::messages::{
    BackendStatus, ConfigStatus, ForwardStatus, FrontendStatus, HttpStatus, LastCheck, PoolStatus, Served, Status,
};

impl Supervisor {
    pub fn status(&self) -> Status {
        let snapshot = self.snapshot();
        let layer4 = self.forwarder.report();
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            phase: self.phase(),
            uptime_seconds: self.started.elapsed().as_secs(),
            config: ConfigStatus {
                path: self.path.display().to_string(),
                sha256: snapshot.config_sha256.clone(),
                generation: snapshot.generation,
                last_reload: self.reloads.shown(),
            },
            frontends: snapshot.frontends.iter().map(|f| frontend(f)).collect(),
            pools: snapshot.pools.iter().map(|p| pool(p, layer4.as_ref())).collect(),
            layer4,
            virtual_routers: self.vrrp.report(),
            peers: self.peers.status(),
        }
    }
}

fn frontend(frontend: &Frontend) -> FrontendStatus {
    let config = &frontend.config;
    FrontendStatus {
        name: config.name.to_string(),
        listen: config.listen_text(),
        mode: config.mode.as_str().to_owned(),
        served: match &config.mode {
            Mode::Http(mode) => Served::Http(http(mode, &frontend.live)),
            Mode::Forward(mode) => Served::Forward(ForwardStatus { pool: mode.pool.to_string() }),
        },
    }
}

fn http(config: &Http, live: &FrontendLive) -> HttpStatus {
    let counters = &live.counters;
    let refused = Refusal::ALL.iter().map(|r| counters.sum(|c| &c.connections_refused[*r as usize])).sum();
    HttpStatus {
        tls: config.tls.is_some(),
        connections_active: counters.level(|c| &c.connections_active),
        connections_total: counters.sum(|c| &c.connections_total),
        connections_refused: refused,
        requests_total: (0..5).map(|class| counters.sum(|c| &c.requests[class])).sum(),
        errors_total: counters.sum(|c| &c.requests[4]),
        bad_requests_total: counters.sum(|c| &c.bad_requests),
    }
}

fn pool(pool: &Pool, layer4: Option<&Report>) -> PoolStatus {
    let primary = pool.backends.iter().map(|b| backend(pool, b, false, layer4));
    let backup = pool.backup.iter().map(|b| backend(pool, b, true, layer4));
    let backends: Vec<_> = primary.chain(backup).collect();
    PoolStatus {
        name: pool.config.name.to_string(),
        scheduler: word(&pool.config.scheduler),
        available: pool.available(),
        queued: pool.live.queued.load(Ordering::Relaxed),
        backends,
    }
}

pub(super) fn backend(pool: &Pool, backend: &Backend, backup: bool, layer4: Option<&Report>) -> BackendStatus {
    let flows = layer4.map(|report| forwarded(report, pool, backend)).unwrap_or_default();
    let counters = &backend.live.counters;
    let state = backend.admin_state();
    BackendStatus {
        name: backend.config.name.to_string(),
        address: backend.config.address_text(),
        backup,
        weight: backend.config.weight,
        health: backend.live.health(),
        state,
        overridden: backend.live.admin_override().is_some(),
        available: backend.is_available(),
        checked: pool.config.check.is_some() && state != lb_core::config::AdminState::Maint,
        flows_active: flows.flows_active,
        flows_total: flows.flows_total,
        requests_active: backend.load(),
        requests_total: counters.sum(|c| &c.requests_total),
        connections_active: counters.level(|c| &c.connections_active),
        failures_total: counters.sum(|c| &c.connect_failures) + counters.sum(|c| &c.response_failures),
        last_check: last_check(backend),
    }
}

/// Several frontends may share a pool.
fn forwarded(report: &Report, pool: &Pool, backend: &Backend) -> Traffic {
    let frontends = report.frontends.iter().filter(|frontend| *frontend.pool == *pool.config.name);
    let backends = frontends.flat_map(|frontend| &frontend.backends);
    backends.filter(|to| *to.name == *backend.config.name).map(|to| to.traffic).sum()
}

fn last_check(backend: &Backend) -> Option<LastCheck> {
    let report = backend.live.check_report()?;
    let ms_ago = report.at.elapsed().map_or(0, |age| age.as_millis() as u64);
    Some(LastCheck {
        ok: report.outcome.verdict(),
        text: report.outcome.text().to_owned(),
        took_ms: report.took.as_micros() as f64 / 1e3,
        ms_ago,
    })
}

/// As the file writes it.
fn word(scheduler: &lb_core::config::Scheduler) -> String {
    match serde_json::to_value(scheduler) {
        Ok(serde_json::Value::String(word)) => word,
        _ => format!("{scheduler:?}"),
    }
}

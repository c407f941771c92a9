//! Configurations, pools and snapshots for unit tests.

use std::sync::Arc;
use std::time::Duration;

use crate::config::{
    self, Admin, AdminState, Attach, Check, Config, FlowTimeouts, Forward, FrontendTimeouts, Http, InitialHealth, L4,
    Limits, Log, LogFormat, LogLevel, Method, Mode, OnBackendDown, PoolTimeouts, Probe, Protocol, Reload, Retry,
    Scheduler, Transport,
};
use crate::pool::Pool;
use crate::snapshot::Snapshot;

pub fn backend(name: &str, weight: u16) -> config::Backend {
    config::Backend {
        name: name.into(),
        address: ([127, 0, 0, 1], 80).into(),
        weight,
        max_connections: None,
        state: AdminState::Ready,
    }
}

/// `b0`, `b1`, ... with these weights.
pub fn backends(weights: &[u16]) -> Vec<config::Backend> {
    weights.iter().enumerate().map(|(i, weight)| backend(&format!("b{i}"), *weight)).collect()
}

pub fn pool(name: &str, scheduler: Scheduler, backends: Vec<config::Backend>) -> config::Pool {
    config::Pool {
        name: name.into(),
        scheduler,
        protocol: Protocol::Http1,
        tls: None,
        check: None,
        timeouts: PoolTimeouts { connect: SECOND, response: SECOND, queue: SECOND, idle: SECOND },
        retry: Retry { attempts: 1, budget_percent: 20 },
        max_queue: 10,
        max_idle: 10,
        via: true,
        backends: backends.into_iter().map(Arc::new).collect(),
        backup: vec![],
    }
}

/// Every ten seconds, within one; up after two, down after three.
pub fn check(probe: Probe) -> Check {
    Check {
        probe,
        port: None,
        frontend_port: None,
        interval: 10 * SECOND,
        timeout: SECOND,
        rise: 2,
        fall: 3,
        initial: InitialHealth::Unknown,
    }
}

pub fn config(pools: Vec<config::Pool>) -> Arc<Config> {
    Arc::new(Config {
        workers: None,
        frontends: vec![],
        pools: pools.into_iter().map(Arc::new).collect(),
        l4: l4(),
        nodes: Vec::new(),
        this_node: None,
        vrrp: Vec::new(),
        sync: config::Sync::default(),
        reload: Reload { drain_timeout: SECOND, watch: false },
        metrics: None,
        admin: Admin { socket: "/nonexistent".into() },
        log: Log { level: LogLevel::Info, format: LogFormat::Text, access: None },
    })
}

pub fn l4() -> L4 {
    L4 {
        attach: Attach::Auto,
        interfaces: None,
        flows: 1000,
        new_flows_per_second: 1000,
        snat_ports: 1024..=32767,
        timeouts: FlowTimeouts { established: SECOND, syn: SECOND, fin: SECOND, close: SECOND, udp: SECOND },
    }
}

/// Of layer 7, without routes.
pub fn frontend(name: &str) -> config::Frontend {
    let http = Http {
        tls: None,
        routes: vec![],
        timeouts: FrontendTimeouts { header: SECOND, request: SECOND, idle: SECOND, tunnel: SECOND },
        limits: Limits {
            header_bytes: 1,
            header_count: 1,
            uri_length: 1,
            body_bytes: None,
            connections: None,
            connections_per_client: None,
            h2_streams: 1,
            h2_resets: 1,
        },
        trusted_proxies: vec![],
    };
    config::Frontend { name: name.into(), listen: ([127, 0, 0, 1], 80).into(), mode: Mode::Http(Arc::new(http)) }
}

/// Of layer 4: dr, TCP.
pub fn forward(name: &str, pool: &str) -> config::Frontend {
    let forward = Forward {
        method: Method::Dr,
        protocol: Transport::Tcp,
        pool: pool.into(),
        timeouts: l4().timeouts,
        on_backend_down: OnBackendDown::Rebind,
        persistence: None,
    };
    config::Frontend { name: name.into(), listen: ([192, 0, 2, 1], 80).into(), mode: Mode::Forward(Arc::new(forward)) }
}

pub fn snapshot(pools: Vec<config::Pool>, previous: Option<&Snapshot>) -> Arc<Snapshot> {
    Arc::new(Snapshot::build(config(pools), "sha".into(), 1, previous))
}

/// As it serves.
pub fn serving(pool: config::Pool) -> Arc<Pool> {
    snapshot(vec![pool], None).pools[0].clone()
}

pub const SECOND: Duration = Duration::from_secs(1);

//! Reads the counters of everything that the current snapshot names.

use std::sync::Arc;

use prometheus::core::Collector;
use prometheus::proto::MetricFamily;

use super::family::{Histogram, Sample, alone, family, seconds};
use super::names::{self, Metric};
use super::scraped::scraped;
use crate::counters::{Counter, Gauge};
use crate::health::FailureReason;
use crate::pool::{Backend, BackendCounters, Health, Pool, PoolCounters};
use crate::snapshot::{Frontend, FrontendCounters, Refusal, Snapshot};

const CODE_CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Frontends, pools and backends of whatever `current` gives at the moment of a scrape.
pub fn snapshot_collector(
    current: impl Fn() -> Arc<Snapshot> + Send + Sync + 'static,
) -> prometheus::Result<Box<dyn Collector>> {
    scraped(METRICS, move || {
        let snapshot = current();
        [config, frontends, pools, backends].iter().flat_map(|part| part(&snapshot)).collect()
    })
}

const METRICS: &[Metric] = &[
    names::CONFIG_INFO,
    names::CONFIG_GENERATION,
    names::FRONTEND_CONNECTIONS_ACTIVE,
    names::FRONTEND_CONNECTIONS,
    names::FRONTEND_CONNECTIONS_REFUSED,
    names::FRONTEND_BYTES,
    names::FRONTEND_HTTP_REQUESTS,
    names::FRONTEND_HTTP_REQUEST_DURATION,
    names::FRONTEND_BAD_REQUESTS,
    names::FRONTEND_TLS_HANDSHAKES,
    names::FRONTEND_TLS_FAILURES,
    names::POOL_BACKENDS,
    names::POOL_BACKENDS_AVAILABLE,
    names::POOL_REQUESTS,
    names::POOL_RETRIES,
    names::POOL_RETRIES_REFUSED,
    names::POOL_QUEUED,
    names::POOL_QUEUE_TIMEOUTS,
    names::POOL_QUEUE_OVERFLOWS,
    names::POOL_NO_BACKEND,
    names::BACKEND_UP,
    names::BACKEND_AVAILABLE,
    names::BACKEND_WEIGHT,
    names::BACKEND_CONNECTIONS_ACTIVE,
    names::BACKEND_CONNECTIONS,
    names::BACKEND_REQUESTS_ACTIVE,
    names::BACKEND_REQUESTS,
    names::BACKEND_HTTP_RESPONSES,
    names::BACKEND_CONNECT_FAILURES,
    names::BACKEND_RESPONSE_FAILURES,
    names::BACKEND_BYTES,
    names::BACKEND_CHECK_DURATION,
    names::BACKEND_CHECK_FAILURES,
    names::BACKEND_HEALTH_TRANSITIONS,
];

fn config(snapshot: &Snapshot) -> Vec<MetricFamily> {
    let info = ([snapshot.config_sha256.clone()], 1);
    vec![family(&names::CONFIG_INFO, std::iter::once(info)), alone(&names::CONFIG_GENERATION, snapshot.generation)]
}

/// Those of layer 7; what layer 4 forwards is counted in the kernel.
fn frontends(snapshot: &Snapshot) -> Vec<MetricFamily> {
    let each = || snapshot.http_frontends().map(|(f, _)| &**f);
    let speak_tls = || snapshot.http_frontends().filter(|(_, http)| http.tls.is_some()).map(|(f, _)| &**f);
    let sum = |metric: &Metric, counter: fn(&FrontendCounters) -> &Counter| {
        family(metric, each().map(|f| ([name(f)], f.live.counters.sum(counter))))
    };
    let level = |metric: &Metric, gauge: fn(&FrontendCounters) -> &Gauge| {
        family(metric, each().map(|f| ([name(f)], f.live.counters.level(gauge))))
    };
    vec![
        level(&names::FRONTEND_CONNECTIONS_ACTIVE, |c| &c.connections_active),
        sum(&names::FRONTEND_CONNECTIONS, |c| &c.connections_total),
        family(&names::FRONTEND_CONNECTIONS_REFUSED, each().flat_map(refusals)),
        family(&names::FRONTEND_BYTES, each().flat_map(frontend_bytes)),
        family(&names::FRONTEND_HTTP_REQUESTS, each().flat_map(frontend_codes)),
        family(&names::FRONTEND_HTTP_REQUEST_DURATION, each().map(request_durations)),
        sum(&names::FRONTEND_BAD_REQUESTS, |c| &c.bad_requests),
        family(&names::FRONTEND_TLS_HANDSHAKES, speak_tls().flat_map(handshakes)),
        sum(&names::FRONTEND_TLS_FAILURES, |c| &c.tls_failures),
    ]
}

fn refusals(frontend: &Frontend) -> impl Iterator<Item = ([String; 2], u64)> {
    Refusal::ALL.into_iter().map(|reason| {
        let count = frontend.live.counters.sum(|c| &c.connections_refused[reason as usize]);
        ([name(frontend), reason.as_str().to_owned()], count)
    })
}

fn frontend_bytes(frontend: &Frontend) -> [([String; 2], u64); 2] {
    let counters = &frontend.live.counters;
    [("in", counters.sum(|c| &c.bytes_received)), ("out", counters.sum(|c| &c.bytes_sent))]
        .map(|(direction, bytes)| ([name(frontend), direction.to_owned()], bytes))
}

fn frontend_codes(frontend: &Frontend) -> impl Iterator<Item = ([String; 2], u64)> {
    CODE_CLASSES.iter().enumerate().map(|(class, code)| {
        let count = frontend.live.counters.sum(|c| &c.requests[class]);
        ([name(frontend), (*code).to_owned()], count)
    })
}

fn request_durations(frontend: &Frontend) -> ([String; 1], Sample) {
    let durations = Histogram::add_up(frontend.live.counters.iter().map(|c| &c.durations));
    ([name(frontend)], Sample::Histogram(durations))
}

fn handshakes(frontend: &Frontend) -> [([String; 2], u64); 2] {
    let all = frontend.live.counters.sum(|c| &c.tls_handshakes);
    let resumed = frontend.live.counters.sum(|c| &c.tls_handshakes_resumed);
    [("true", resumed), ("false", all.saturating_sub(resumed))]
        .map(|(label, count)| ([name(frontend), label.to_owned()], count))
}

fn pools(snapshot: &Snapshot) -> Vec<MetricFamily> {
    let each = || snapshot.pools.iter().map(|p| &**p);
    let with_requests = || each().filter(|p| !p.forwarded);
    let sum = |metric: &Metric, counter: fn(&PoolCounters) -> &Counter| {
        family(metric, with_requests().map(|p| ([p.config.name.to_string()], p.live.counters.sum(counter))))
    };
    let queued = |p: &Pool| p.live.queued.load(std::sync::atomic::Ordering::Relaxed) as u64;
    vec![
        family(&names::POOL_BACKENDS, each().flat_map(|p| by_role(p, |_| true))),
        family(&names::POOL_BACKENDS_AVAILABLE, each().flat_map(|p| by_role(p, Backend::is_available))),
        sum(&names::POOL_REQUESTS, |c| &c.requests),
        sum(&names::POOL_RETRIES, |c| &c.retries),
        sum(&names::POOL_RETRIES_REFUSED, |c| &c.retries_refused),
        family(&names::POOL_QUEUED, with_requests().map(|p| ([p.config.name.to_string()], queued(p)))),
        sum(&names::POOL_QUEUE_TIMEOUTS, |c| &c.queue_timeouts),
        sum(&names::POOL_QUEUE_OVERFLOWS, |c| &c.queue_overflows),
        sum(&names::POOL_NO_BACKEND, |c| &c.no_backend),
    ]
}

fn by_role(pool: &Pool, counts: fn(&Backend) -> bool) -> [([String; 2], u64); 2] {
    [("primary", &pool.backends), ("backup", &pool.backup)].map(|(role, backends)| {
        let count = backends.iter().filter(|b| counts(b)).count();
        ([pool.config.name.to_string(), role.to_owned()], count as u64)
    })
}

/// Requests and connections only of those that get any.
fn backends(snapshot: &Snapshot) -> Vec<MetricFamily> {
    let each = || snapshot.backends().map(|(_, b)| &**b);
    let with_requests = || snapshot.backends().filter(|(p, _)| !p.forwarded).map(|(_, b)| &**b);
    let value = |metric: &Metric, value: fn(&Backend) -> u64| family(metric, each().map(|b| (labels(b), value(b))));
    let level =
        |metric: &Metric, level: fn(&Backend) -> u64| family(metric, with_requests().map(|b| (labels(b), level(b))));
    let sum = |metric: &Metric, counter: fn(&BackendCounters) -> &Counter| {
        family(metric, with_requests().map(|b| (labels(b), b.live.counters.sum(counter))))
    };
    vec![
        value(&names::BACKEND_UP, |b| u64::from(b.live.health() != Health::Down)),
        value(&names::BACKEND_AVAILABLE, |b| u64::from(b.is_available())),
        value(&names::BACKEND_WEIGHT, |b| u64::from(b.config.weight)),
        level(&names::BACKEND_CONNECTIONS_ACTIVE, |b| b.live.counters.level(|c| &c.connections_active)),
        sum(&names::BACKEND_CONNECTIONS, |c| &c.connections_total),
        level(&names::BACKEND_REQUESTS_ACTIVE, Backend::load),
        sum(&names::BACKEND_REQUESTS, |c| &c.requests_total),
        family(&names::BACKEND_HTTP_RESPONSES, with_requests().flat_map(backend_codes)),
        sum(&names::BACKEND_CONNECT_FAILURES, |c| &c.connect_failures),
        sum(&names::BACKEND_RESPONSE_FAILURES, |c| &c.response_failures),
        family(&names::BACKEND_BYTES, with_requests().flat_map(backend_bytes)),
        checks(snapshot, &names::BACKEND_CHECK_DURATION, check_durations),
        family(&names::BACKEND_CHECK_FAILURES, each().flat_map(check_failures)),
        checks(snapshot, &names::BACKEND_HEALTH_TRANSITIONS, |b| b.live.checks.transitions.get().into()),
    ]
}

/// Only of backends that are checked.
fn checks(snapshot: &Snapshot, metric: &Metric, sample: fn(&Backend) -> Sample) -> MetricFamily {
    let checked = snapshot.backends().filter(|(pool, _)| pool.config.check.is_some());
    family(metric, checked.map(|(_, b)| (labels(b), sample(b))))
}

fn backend_codes(backend: &Backend) -> impl Iterator<Item = ([String; 3], u64)> {
    CODE_CLASSES.iter().enumerate().filter_map(|(class, code)| {
        let count = backend.live.counters.sum(|c| &c.responses[class]);
        (count > 0).then(|| (with(backend, code), count))
    })
}

fn backend_bytes(backend: &Backend) -> [([String; 3], u64); 2] {
    let counters = &backend.live.counters;
    [("in", counters.sum(|c| &c.bytes_received)), ("out", counters.sum(|c| &c.bytes_sent))]
        .map(|(direction, bytes)| (with(backend, direction), bytes))
}

fn check_durations(backend: &Backend) -> Sample {
    let durations = &backend.live.checks.durations;
    let count = durations.buckets.iter().map(Counter::get).sum();
    Sample::Summary { sum: seconds(durations.sum_us.get()), count }
}

fn check_failures(backend: &Backend) -> impl Iterator<Item = ([String; 3], u64)> {
    FailureReason::ALL.into_iter().filter_map(|reason| {
        let count = backend.live.checks.failures[reason as usize].get();
        (count > 0).then(|| (with(backend, reason.as_str()), count))
    })
}

fn name(frontend: &Frontend) -> String {
    frontend.config.name.to_string()
}

fn labels(backend: &Backend) -> [String; 2] {
    [backend.pool.to_string(), backend.config.name.to_string()]
}

fn with(backend: &Backend, third: &str) -> [String; 3] {
    let [pool, name] = labels(backend);
    [pool, name, third.to_owned()]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use prometheus::{Encoder, Registry, TextEncoder};

    use super::*;
    use crate::config::{self, AdminState, Config};
    use crate::fixtures;

    #[test]
    fn a_scrape_adds_up_the_shards() {
        let snapshot = Arc::new(snapshot(&["web"], &["web/a", "web/b"], None));
        let counters = &snapshot.frontends[0].live.counters;
        for worker in 0..2 {
            counters.shard(worker).connections_total.add(3);
            counters.shard(worker).requests[1].inc();
            counters.shard(worker).durations.observe_us(2_000);
        }
        snapshot.pools[0].backends[1].live.set_health(Health::Down);

        let text = scrape(&snapshot);
        assert_has(&text, "lb_frontend_connections_total{frontend=\"web\"} 6");
        assert_has(&text, "lb_frontend_http_requests_total{frontend=\"web\",code=\"2xx\"} 2");
        assert_has(&text, "lb_frontend_http_request_duration_seconds_bucket{frontend=\"web\",le=\"0.001\"} 0");
        assert_has(&text, "lb_frontend_http_request_duration_seconds_bucket{frontend=\"web\",le=\"0.0025\"} 2");
        assert_has(&text, "lb_frontend_http_request_duration_seconds_sum{frontend=\"web\"} 0.004");
        assert_has(&text, "lb_backend_up{pool=\"web\",backend=\"a\"} 1");
        assert_has(&text, "lb_backend_up{pool=\"web\",backend=\"b\"} 0");
        assert_has(&text, "lb_pool_backends_available{pool=\"web\",role=\"primary\"} 1");
    }

    #[test]
    fn what_a_reload_removes_is_gone_and_the_rest_goes_on() {
        let old = snapshot(&["web", "old"], &["web/a", "web/b"], None);
        old.frontends[0].live.counters.shard(0).connections_total.add(5);
        let new = Arc::new(snapshot(&["web"], &["web/a"], Some(&old)));

        let text = scrape(&new);
        assert_has(&text, "lb_frontend_connections_total{frontend=\"web\"} 5");
        assert!(!text.contains("frontend=\"old\""), "{text}");
        assert!(!text.contains("backend=\"b\""), "{text}");
    }

    /// Layer 4 has a collector of its own.
    #[test]
    fn what_is_only_forwarded_has_no_requests() {
        let mut frontends = vec![fixtures::frontend("web"), fixtures::forward("tcp", "web")];
        let text = scrape(&Arc::new(serving(frontends.clone(), &["web/a"], None)));
        assert!(!text.contains("frontend=\"tcp\""), "{text}");
        assert!(!text.contains("lb_backend_requests_total"), "no route leads to the pool\n{text}");
        assert!(!text.contains("lb_pool_requests_total"), "{text}");
        assert_has(&text, "lb_frontend_connections_total{frontend=\"web\"} 0");
        assert_has(&text, "lb_backend_up{pool=\"web\",backend=\"a\"} 1");
        assert_has(&text, "lb_pool_backends_available{pool=\"web\",role=\"primary\"} 1");
        frontends.remove(1);
        let text = scrape(&Arc::new(serving(frontends, &["web/a"], None)));
        assert_has(&text, "lb_backend_requests_total{pool=\"web\",backend=\"a\"} 0");
    }

    #[test]
    fn yields_exactly_what_it_announces() {
        let snapshot = Arc::new(snapshot(&["web"], &["web/a"], None));
        let source = snapshot.clone();
        let collector = snapshot_collector(move || source.clone()).unwrap();
        let yielded: Vec<_> = collector.collect().iter().map(|f| f.name().to_owned()).collect();
        let announced: Vec<_> = METRICS.iter().map(|m| m.name.to_owned()).collect();
        assert_eq!(yielded, announced);
        assert!(METRICS.iter().all(|m| names::ALL.contains(m)));
    }

    fn scrape(snapshot: &Arc<Snapshot>) -> String {
        let source = snapshot.clone();
        let registry = Registry::new();
        registry.register(snapshot_collector(move || source.clone()).unwrap()).unwrap();
        let mut text = Vec::new();
        TextEncoder::new().encode(&registry.gather(), &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    fn assert_has(text: &str, line: &str) {
        assert!(text.lines().any(|l| l == line), "no `{line}` in\n{text}");
    }

    /// Frontends by name; backends as `POOL/BACKEND`, all of one pool.
    fn snapshot(frontends: &[&str], backends: &[&str], previous: Option<&Snapshot>) -> Snapshot {
        serving(frontends.iter().map(|name| fixtures::frontend(name)).collect(), backends, previous)
    }

    fn serving(frontends: Vec<config::Frontend>, backends: &[&str], previous: Option<&Snapshot>) -> Snapshot {
        let config = Config {
            workers: Some(2),
            frontends: frontends.into_iter().map(Arc::new).collect(),
            pools: vec![Arc::new(pool(backends))],
            l4: fixtures::l4(),
            nodes: Vec::new(),
            this_node: None,
            vrrp: Vec::new(),
            sync: config::Sync::default(),
            reload: config::Reload { drain_timeout: Duration::from_secs(1), watch: false },
            metrics: None,
            admin: config::Admin { socket: "admin.sock".into() },
            log: config::Log { level: config::LogLevel::Info, format: config::LogFormat::Text, access: None },
        };
        Snapshot::build(Arc::new(config), "ab12".to_owned(), 2, previous)
    }

    fn pool(backends: &[&str]) -> config::Pool {
        let second = Duration::from_secs(1);
        let (pool, _) = backends[0].split_once('/').unwrap();
        config::Pool {
            name: pool.into(),
            scheduler: config::Scheduler::RoundRobin,
            protocol: config::Protocol::Http1,
            tls: None,
            check: None,
            timeouts: config::PoolTimeouts { connect: second, response: second, queue: second, idle: second },
            retry: config::Retry { attempts: 1, budget_percent: 20 },
            max_queue: 1,
            max_idle: 1,
            via: true,
            backends: backends.iter().map(|id| Arc::new(backend(id))).collect(),
            backup: Vec::new(),
        }
    }

    fn backend(id: &str) -> config::Backend {
        config::Backend {
            name: id.split_once('/').unwrap().1.into(),
            address: ([127, 0, 0, 1], 8080).into(),
            weight: 1,
            max_connections: None,
            state: AdminState::Ready,
        }
    }
}

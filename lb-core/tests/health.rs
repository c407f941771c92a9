//! Health checks over real sockets and processes on loopback, steered as the program steers them: a
//! configuration, a snapshot, a checker.

#![expect(clippy::unwrap_used, reason = "a test")]

#[path = "health/http.rs"]
mod http;
#[path = "health/script.rs"]
mod script;
#[path = "health/servers.rs"]
mod servers;
#[path = "health/tls.rs"]
mod tls;
#[path = "health/transport.rs"]
mod transport;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lb_core::health::{Checker, FailureReason, Outcome};
use lb_core::pool::{Backend, Health};
use lb_core::snapshot::Snapshot;

/// A snapshot with one pool `app` of one backend, and the checker that looks at it.
struct Watched {
    snapshot: Arc<Snapshot>,
    _checker: Checker,
}

/// `check` is the inside of the check's mapping, `more` further lines of the pool.
fn watch(address: SocketAddr, check: &str, more: &str) -> Watched {
    let yaml = format!(
        "frontends:\n  web: {{ mode: http, listen: '127.0.0.1:1', pool: app }}\n\
         pools:\n  app:\n    backends: [{{ name: one, address: '{address}' }}]\n\
         \u{20}   check: {{ {check}, interval: 1s, timeout: 900ms, rise: 1, fall: 1 }}\n{more}"
    );
    watch_file(yaml)
}

fn watch_file(yaml: String) -> Watched {
    let loaded = lb_core::config::load(yaml, Path::new("test"), &|_| None).unwrap_or_else(|e| panic!("{e}"));
    let snapshot = Arc::new(Snapshot::build(Arc::new(loaded.config), loaded.sha256, 1, None));
    Watched { _checker: Checker::start(snapshot.clone()), snapshot }
}

impl Watched {
    fn backend(&self) -> &Backend {
        &self.snapshot.pools[0].backends[0]
    }

    /// What the next check finds.
    async fn outcome(&self) -> Outcome {
        self.until(|| self.backend().live.check_report().map(|report| report.outcome)).await
    }

    async fn becomes(&self, health: Health) {
        self.until(|| (self.backend().live.health() == health).then_some(())).await;
    }

    async fn until<T>(&self, found: impl Fn() -> Option<T>) -> T {
        for _ in 0..1500 {
            if let Some(found) = found() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("not within 15 s; the latest check: {:?}", self.backend().live.check_report());
    }
}

/// The first check of a server at `address` passes.
async fn assert_passes(address: SocketAddr, check: &str, more: &str) {
    let watched = watch(address, check, more);
    let outcome = watched.outcome().await;
    assert!(matches!(outcome, Outcome::Success(_)), "{outcome:?}");
    watched.becomes(Health::Up).await;
}

/// The first check fails for this reason, and its text says so in these words.
async fn assert_fails(address: SocketAddr, check: &str, more: &str, reason: FailureReason, words: &str) {
    let watched = watch(address, check, more);
    let outcome = watched.outcome().await;
    match &outcome {
        Outcome::Failure(found, text) => assert!(*found == reason && text.contains(words), "{outcome:?}"),
        _ => panic!("{outcome:?}"),
    }
    watched.becomes(Health::Down).await;
    assert!(watched.backend().live.checks.failures[reason as usize].get() > 0);
}

//! Metrics of the process itself, and the scrape of all.

use std::iter::once;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use arc_swap::ArcSwap;
use lb_core::metrics::{Metric, alone, family, names, scraped, snapshot_collector};
use lb_l7::Plan;
use prometheus::proto::MetricFamily;
use prometheus::{Registry, TextEncoder};
use tracing::error;

use super::peers::{self, Peers};
use super::reload::Reloads;
use super::start::Supervisor;
use crate::admin::messages::{Phase, ReloadResult};
use crate::logging::Logging;
use crate::metrics;

/// What this process knows and no counter in a snapshot does.
struct Own {
    plans: Arc<ArcSwap<Plan>>,
    logging: Arc<Logging>,
    reloads: Arc<Reloads>,
}

const METRICS: &[Metric] = &[
    names::BUILD_INFO,
    names::CONFIG_RELOADS,
    names::CONFIG_LAST_RELOAD_SUCCESSFUL,
    names::CONFIG_LAST_RELOAD_DURATION,
    names::CONFIG_LAST_RELOAD_TIMESTAMP,
    names::LOG_DROPPED,
    names::ACCESS_LOG_DROPPED,
    names::TLS_CERTIFICATE_NOT_AFTER,
];

pub fn registry(
    plans: &Arc<ArcSwap<Plan>>,
    forwarder: &Arc<lb_l4::Tier>,
    vrrp: &Arc<lb_vrrp::Tier>,
    peers: &Arc<Peers>,
    logging: &Arc<Logging>,
    reloads: &Arc<Reloads>,
) -> prometheus::Result<Registry> {
    let registry = Registry::new();
    let source = plans.clone();
    registry.register(snapshot_collector(move || source.load().snapshot.clone())?)?;
    registry.register(lb_l4::collector(forwarder.clone())?)?;
    registry.register(lb_vrrp::collector(vrrp.clone())?)?;
    registry.register(peers::collector(peers.clone())?)?;
    let own = Own { plans: plans.clone(), logging: logging.clone(), reloads: reloads.clone() };
    registry.register(scraped(METRICS.iter().chain(metrics::PROCESS), move || own.families())?)?;
    Ok(registry)
}

impl metrics::Source for Supervisor {
    fn scrape(&self) -> Vec<u8> {
        let mut text = String::new();
        if let Err(error) = TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text) {
            error!(%error, "a scrape is not complete");
        }
        text.into_bytes()
    }

    /// A load balancer without healthy backends is still ready: it answers, with 503. Who wants to
    /// act on that looks at `lb_pool_backends_available`.
    fn ready(&self) -> Result<(), &'static str> {
        match self.phase() {
            Phase::Serving => Ok(()),
            phase => Err(phase.as_str()),
        }
    }
}

impl Own {
    fn families(&self) -> Vec<MetricFamily> {
        let plan = self.plans.load();
        let dropped = plan.access_log.as_ref().map_or(0, |log| log.dropped());
        let version = [env!("CARGO_PKG_VERSION").to_owned()];
        let mut families = vec![
            family(&names::BUILD_INFO, once((version, 1))),
            family(&names::CONFIG_RELOADS, self.reload_counts()),
            alone(&names::LOG_DROPPED, self.logging.dropped()),
            alone(&names::ACCESS_LOG_DROPPED, dropped),
            family(&names::TLS_CERTIFICATE_NOT_AFTER, certificates(&plan)),
        ];
        families.extend(self.last_reload());
        families.extend(metrics::process_families());
        families
    }

    fn reload_counts(&self) -> impl Iterator<Item = ([String; 1], u64)> {
        [ReloadResult::Applied, ReloadResult::Refused]
            .map(|result| ([result.as_str().to_owned()], self.reloads.count(result)))
            .into_iter()
    }

    /// The start counts as the first one.
    fn last_reload(&self) -> [MetricFamily; 3] {
        let last = self.reloads.last();
        let since_epoch = last.at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        [
            alone(&names::CONFIG_LAST_RELOAD_SUCCESSFUL, last.result == ReloadResult::Applied),
            alone(&names::CONFIG_LAST_RELOAD_DURATION, last.took.as_secs_f64()),
            alone(&names::CONFIG_LAST_RELOAD_TIMESTAMP, since_epoch.as_secs_f64()),
        ]
    }
}

fn certificates(plan: &Plan) -> impl Iterator<Item = ([String; 2], f64)> {
    let served = plan.frontends.iter().flat_map(|f| f.tls.iter().map(move |tls| (f, tls)));
    served.flat_map(|(frontend, tls)| {
        tls.certificates().iter().map(|certificate| {
            let labels = [frontend.frontend.config.name.to_string(), certificate.path.display().to_string()];
            (labels, certificate.not_after_unix as f64)
        })
    })
}

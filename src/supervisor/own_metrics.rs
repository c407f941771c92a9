//! Metrics of the process itself, and the scrape of all.

use std::iter::once;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use arc_swap::ArcSwap;
use lb_core::metrics::{Metric, Sample, SnapshotCollector, desc, family, names};
use lb_l7::Plan;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Registry, TextEncoder};
use tracing::error;

use super::peers::{Peers, PeersCollector};
use super::reload::Reloads;
use super::start::Supervisor;
use crate::admin::messages::{Phase, ReloadResult};
use crate::logging::Logging;
use crate::metrics;

/// What this process knows and no counter in a snapshot does.
struct OwnCollector {
    plans: Arc<ArcSwap<Plan>>,
    logging: Arc<Logging>,
    reloads: Arc<Reloads>,
    descs: Vec<Desc>,
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
    registry.register(Box::new(SnapshotCollector::new(move || source.load().snapshot.clone())?))?;
    registry.register(Box::new(lb_l4::L4Collector::new(forwarder.clone())?))?;
    registry.register(Box::new(lb_vrrp::VrrpCollector::new(vrrp.clone())?))?;
    registry.register(Box::new(PeersCollector::new(peers.clone())?))?;
    let descs = METRICS.iter().chain(metrics::PROCESS).map(desc).collect::<Result<_, _>>()?;
    let (plans, logging, reloads) = (plans.clone(), logging.clone(), reloads.clone());
    registry.register(Box::new(OwnCollector { plans, logging, reloads, descs }))?;
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

impl Collector for OwnCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let plan = self.plans.load();
        let dropped = plan.access_log.as_ref().map_or(0, |log| log.dropped());
        let version = [env!("CARGO_PKG_VERSION").to_owned()];
        let mut families = vec![
            family(&names::BUILD_INFO, once((version, Sample::Number(1.0)))),
            family(&names::CONFIG_RELOADS, self.reload_counts()),
            alone(&names::LOG_DROPPED, self.logging.dropped() as f64),
            alone(&names::ACCESS_LOG_DROPPED, dropped as f64),
            family(&names::TLS_CERTIFICATE_NOT_AFTER, certificates(&plan)),
        ];
        families.extend(self.last_reload());
        families.extend(metrics::process_families());
        families
    }
}

impl OwnCollector {
    fn reload_counts(&self) -> impl Iterator<Item = ([String; 1], Sample)> {
        [ReloadResult::Applied, ReloadResult::Refused]
            .map(|result| ([result.as_str().to_owned()], Sample::Number(self.reloads.count(result) as f64)))
            .into_iter()
    }

    /// The start counts as the first one.
    fn last_reload(&self) -> [MetricFamily; 3] {
        let last = self.reloads.last();
        let since_epoch = last.at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        [
            alone(&names::CONFIG_LAST_RELOAD_SUCCESSFUL, f64::from(last.result == ReloadResult::Applied)),
            alone(&names::CONFIG_LAST_RELOAD_DURATION, last.took.as_secs_f64()),
            alone(&names::CONFIG_LAST_RELOAD_TIMESTAMP, since_epoch.as_secs_f64()),
        ]
    }
}

fn alone(metric: &Metric, value: f64) -> MetricFamily {
    family(metric, once(([], Sample::Number(value))))
}

fn certificates(plan: &Plan) -> impl Iterator<Item = ([String; 2], Sample)> {
    let served = plan.frontends.iter().flat_map(|f| f.tls.iter().map(move |tls| (f, tls)));
    served.flat_map(|(frontend, tls)| {
        tls.certificates().iter().map(|certificate| {
            let labels = [frontend.frontend.config.name.to_string(), certificate.path.display().to_string()];
            (labels, Sample::Number(certificate.not_after_unix as f64))
        })
    })
}

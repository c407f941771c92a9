//! What Prometheus sees of the virtual routers: read from their boards at scrape time.

use std::iter::once;
use std::sync::Arc;

use lb_core::metrics::{Metric, Sample, desc, durations, family, names};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

use crate::machine::Role;
use crate::report::{Counts, RouterReport};
use crate::tier::Tier;

/// Yields nothing while there is no virtual router.
pub struct VrrpCollector {
    tier: Arc<Tier>,
    descs: Vec<Desc>,
}

const METRICS: &[Metric] = &[
    names::VRRP_ACTIVE,
    names::VRRP_EFFECTIVE_PRIORITY,
    names::VRRP_TRANSITIONS,
    names::VRRP_ADVERTS_SENT,
    names::VRRP_ADVERTS_RECEIVED,
    names::VRRP_ADVERT_ERRORS,
    names::VRRP_SEND_FAILURES,
    names::VRRP_ANNOUNCEMENTS,
    names::VRRP_NOTICES,
    names::VRRP_STRANGERS,
    names::VRRP_LATENESS,
];

impl VrrpCollector {
    pub fn new(tier: Arc<Tier>) -> prometheus::Result<Self> {
        let descs = METRICS.iter().map(desc).collect::<Result<_, _>>()?;
        Ok(Self { tier, descs })
    }
}

impl Collector for VrrpCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let routers = self.tier.report();
        if routers.is_empty() {
            return vec![];
        }
        let mut families = of_routers(&routers);
        families.extend(self.of_thread());
        families
    }
}

impl VrrpCollector {
    fn of_thread(&self) -> Vec<MetricFamily> {
        let families = self.tier.with_punctuality(|lateness, strangers| {
            vec![
                family(&names::VRRP_STRANGERS, once(([], number(strangers)))),
                family(&names::VRRP_LATENESS, once(([], durations(lateness)))),
            ]
        });
        families.unwrap_or_default()
    }
}

fn of_routers(routers: &[RouterReport]) -> Vec<MetricFamily> {
    let each = |metric: &Metric, value: fn(&RouterReport) -> u64| {
        family(metric, routers.iter().map(|router| ([router.name.clone()], number(value(router)))))
    };
    let by = |metric: &Metric, counts: fn(&Counts) -> &[(String, u64)]| {
        let all = routers.iter().flat_map(|router| counts(&router.counts).iter().map(move |count| (router, count)));
        family(metric, all.map(|(router, (label, n))| ([router.name.clone(), label.clone()], number(*n))))
    };
    vec![
        each(&names::VRRP_ACTIVE, |router| u64::from(router.role == Role::Active.label())),
        each(&names::VRRP_EFFECTIVE_PRIORITY, |router| router.effective_priority.into()),
        by(&names::VRRP_TRANSITIONS, |counts| &counts.transitions),
        each(&names::VRRP_ADVERTS_SENT, |router| router.counts.adverts_sent),
        each(&names::VRRP_ADVERTS_RECEIVED, |router| router.counts.adverts_received),
        by(&names::VRRP_ADVERT_ERRORS, |counts| &counts.advert_errors),
        each(&names::VRRP_SEND_FAILURES, |router| router.counts.send_failures),
        each(&names::VRRP_ANNOUNCEMENTS, |router| router.counts.announcements),
        by(&names::VRRP_NOTICES, |counts| &counts.notices),
    ]
}

fn number(value: u64) -> Sample {
    Sample::Number(value as f64)
}

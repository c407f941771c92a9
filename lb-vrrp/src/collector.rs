//! What Prometheus sees of the virtual routers: read from their boards at scrape time.

use std::sync::Arc;

use lb_core::metrics::{Metric, alone, durations, family, names, scraped};
use prometheus::core::Collector;
use prometheus::proto::MetricFamily;

use crate::machine::Role;
use crate::report::{Counts, RouterReport};
use crate::tier::Tier;

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

/// Yields nothing while there is no virtual router.
pub fn collector(tier: Arc<Tier>) -> prometheus::Result<Box<dyn Collector>> {
    scraped(METRICS, move || match tier.report().as_slice() {
        [] => vec![],
        routers => of_routers(routers).into_iter().chain(of_thread(&tier)).collect(),
    })
}

fn of_thread(tier: &Tier) -> Vec<MetricFamily> {
    let families = tier.with_punctuality(|lateness, strangers| {
        vec![alone(&names::VRRP_STRANGERS, strangers), alone(&names::VRRP_LATENESS, durations(lateness))]
    });
    families.unwrap_or_default()
}

fn of_routers(routers: &[RouterReport]) -> Vec<MetricFamily> {
    let each = |metric: &Metric, value: fn(&RouterReport) -> u64| {
        family(metric, routers.iter().map(|router| ([router.name.clone()], value(router))))
    };
    let by = |metric: &Metric, counts: fn(&Counts) -> &[(String, u64)]| {
        let all = routers.iter().flat_map(|router| counts(&router.counts).iter().map(move |count| (router, count)));
        family(metric, all.map(|(router, (label, n))| ([router.name.clone(), label.clone()], *n)))
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

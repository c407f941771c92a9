//! What Prometheus sees of layer 4: read from the maps at scrape time.

use std::collections::BTreeMap;
use std::iter::once;
use std::sync::Arc;

use lb_core::metrics::{Metric, alone, family, names, scraped};
use prometheus::core::Collector;
use prometheus::proto::MetricFamily;

use crate::report::{Report, Traffic};
use crate::tier::Tier;

/// `lb_frontend_bytes_total` is announced by the collector of layer 7, whose series stand beside ours.
const METRICS: &[Metric] = &[
    names::FRONTEND_FLOWS_ACTIVE,
    names::FRONTEND_FLOWS,
    names::FRONTEND_PACKETS,
    names::BACKEND_FLOWS_ACTIVE,
    names::BACKEND_FLOWS,
    names::BACKEND_PACKETS,
    names::BACKEND_FORWARDED_BYTES,
    names::L4_FLOWS,
    names::L4_FLOWS_CAPACITY,
    names::L4_FLOW_EVICTIONS,
    names::L4_FLOWS_BY_STATE,
    names::L4_DROPS,
    names::L4_EVENTS,
];

/// Yields nothing while there is no layer-4 frontend.
pub fn collector(tier: Arc<Tier>) -> prometheus::Result<Box<dyn Collector>> {
    scraped(METRICS, move || {
        let report = tier.report();
        report
            .iter()
            .flat_map(|report| [frontends, backends, table].into_iter().flat_map(|part| part(report)))
            .collect()
    })
}

fn frontends(report: &Report) -> Vec<MetricFamily> {
    let each = || report.frontends.iter().map(|f| ([f.name.clone()], f.traffic));
    vec![
        family(&names::FRONTEND_FLOWS_ACTIVE, each().map(|(labels, t)| (labels, in_table(t)))),
        family(&names::FRONTEND_FLOWS, each().map(|(labels, t)| (labels, t.flows_total))),
        family(&names::FRONTEND_PACKETS, each().flat_map(|(l, t)| both::<1, 2>(&l, t.packets_in, t.packets_out))),
        family(&names::FRONTEND_BYTES, each().flat_map(|(l, t)| both::<1, 2>(&l, t.bytes_in, t.bytes_out))),
    ]
}

/// Several frontends may share a pool. Seen from a backend, what it gets is out.
fn backends(report: &Report) -> Vec<MetricFamily> {
    let mut sums: BTreeMap<[String; 2], Traffic> = BTreeMap::new();
    for (frontend, backend) in report.frontends.iter().flat_map(|f| f.backends.iter().map(move |b| (f, b))) {
        let sum = sums.entry([frontend.pool.clone(), backend.name.clone()]).or_default();
        *sum = [*sum, backend.traffic].into_iter().sum();
    }
    let each = || sums.iter().map(|(labels, traffic)| (labels.clone(), *traffic));
    vec![
        family(&names::BACKEND_FLOWS_ACTIVE, each().map(|(labels, t)| (labels, in_table(t)))),
        family(&names::BACKEND_FLOWS, each().map(|(labels, t)| (labels, t.flows_total))),
        family(&names::BACKEND_PACKETS, each().flat_map(|(l, t)| both::<2, 3>(&l, t.packets_out, t.packets_in))),
        family(&names::BACKEND_FORWARDED_BYTES, each().flat_map(|(l, t)| both::<2, 3>(&l, t.bytes_out, t.bytes_in))),
    ]
}

fn table(report: &Report) -> Vec<MetricFamily> {
    let by = |metric: &Metric, all: &[(String, u64)]| family(metric, all.iter().map(|(word, n)| ([word.clone()], *n)));
    vec![
        alone(&names::L4_FLOWS, report.table.entries),
        alone(&names::L4_FLOWS_CAPACITY, report.table.capacity),
        by(&names::L4_FLOW_EVICTIONS, &report.table.evictions),
        by(&names::L4_FLOWS_BY_STATE, &report.table.states),
        by(&names::L4_DROPS, &report.drops),
        by(&names::L4_EVENTS, &report.events),
    ]
}

fn in_table(traffic: Traffic) -> u64 {
    traffic.flows_active + traffic.flows_inactive
}

/// The two directions of what has `labels`.
fn both<const N: usize, const M: usize>(labels: &[String; N], incoming: u64, outgoing: u64) -> [([String; M], u64); 2] {
    [("in", incoming), ("out", outgoing)].map(|(direction, n)| {
        let mut all = labels.iter().cloned().chain(once(direction.to_owned()));
        (std::array::from_fn(|_| all.next().unwrap_or_default()), n)
    })
}
